//! Filters of system calls: from a file of the revision into the launch, or refused.

use formats::seccomp::Arch;

use super::*;

/// A filter that lets programs of one architecture start: load the architecture; if it is that one, allow, else kill.
fn filter_for(arch: Arch) -> Vec<u8> {
    let steps = [(0x20_u16, 0, 4), (0x15, 1, arch.audit()), (0x06, 0, 0x8000_0000), (0x06, 0, 0x7fff_0000)];
    let bytes = steps.into_iter().flat_map(|(code, jt, k): (u16, u8, u32)| {
        let ([a, b], [c, d, e, f]) = (code.to_le_bytes(), k.to_le_bytes());
        [a, b, jt, 0, c, d, e, f]
    });
    bytes.collect()
}

/// What is assembled of a container with a line about its filter, and with these bytes in that file.
fn filtered(filter: Option<Vec<u8>>) -> Result<Option<Vec<u8>>, String> {
    let lines = template("web") + "lxc.seccomp.profile = seccomp.bpf\n";
    let state = State::new().container("web", "", &lines).object("web/seccomp.bpf");
    let assembly = Assembly::of(&state.revision(), &Settings::default(), |key| match key {
        "web/seccomp.bpf" => filter.clone(),
        key => state.files.get(key).map(|text| text.clone().into_bytes()),
    });
    let assembly = assembly.map_err(|error| error.to_string())?;
    Ok(assembly.get("web").unwrap().program.as_ref().unwrap().launch.process.seccomp.clone())
}

#[test]
fn a_filter_is_a_file_of_the_container_and_without_the_line_there_is_none() {
    let filter = filter_for(Arch::NATIVE);
    assert_eq!(filtered(Some(filter.clone())), Ok(Some(filter)));
    assert_eq!(program("", "").unwrap().launch.process.seccomp, None);
}

#[test]
fn a_filter_that_makes_a_launch_too_large_is_refused_when_it_is_staged() {
    let variables = |from: u32, bytes: usize| {
        (from..from + 14).map(|at| format!("lxc.environment = V{at}={}\n", "x".repeat(bytes))).collect::<String>()
    };
    // 56 variables, in files that are each short enough.
    let assembled = |bytes: usize| {
        let lines: String = ["a", "b", "c", "d"].map(|file| format!("lxc.include = {file}\n")).concat();
        let config = template("web") + &lines + "lxc.seccomp.profile = seccomp.bpf\n";
        let mut state = State::new().container("web", "", &config).object("web/seccomp.bpf");
        for (at, file) in (0..).zip(["a", "b", "c", "d"]) {
            state.files.insert(format!("web/{file}"), variables(at * 14, bytes));
        }
        // `ld nr` as often as a filter has room, then `ret allow`.
        let load: [u8; 8] = [0x20, 0, 0, 0, 0, 0, 0, 0];
        let filter = [load.repeat(4095), vec![0x06, 0, 0, 0, 0, 0, 0xff, 0x7f]].concat();
        let read = |key: &str| match key {
            "web/seccomp.bpf" => Some(filter.clone()),
            key => state.files.get(key).map(|text| text.clone().into_bytes()),
        };
        Assembly::of(&state.revision(), &Settings::default(), read).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(assembled(3900), Ok(()));
    let said = assembled(4094).unwrap_err();
    assert!(said.contains("lxc.seccomp.profile: the launch has") && said.contains("at most 262144 fit"), "{said}");
}

#[test]
fn a_filter_that_would_not_do_here_is_refused_with_its_line_and_the_reason() {
    let line = template("web").lines().count() + 1;
    let place = format!("web/lxc.container.conf: line {line}: lxc.seccomp.profile: ");
    let other = if Arch::NATIVE == Arch::Riscv64 { Arch::Arm } else { Arch::Riscv64 };
    for (filter, why) in [
        (None, "web/seccomp.bpf is not in the revision; add the file, or remove the line".to_owned()),
        (Some(b"2\nallowlist\n".to_vec()), "12 bytes are no compiled filter".to_owned()),
        (Some(vec![0; 8]), "instruction 0 is the last and decides nothing".to_owned()),
        (Some(filter_for(other)), format!("for another machine ({other}); compile one for {}", Arch::NATIVE)),
    ] {
        let said = filtered(filter).unwrap_err();
        assert!(said.starts_with(&place) && said.contains(&why), "{said}");
    }
}
