//! Filters of system calls.

use formats::seccomp::{Action, Arch, Call, Filter};

/// The input is a program. What it is asked about comes from its own bytes: there stand the numbers that it looks for.
pub(crate) fn filter(bytes: &[u8]) {
    let Ok(filter) = Filter::parse(bytes) else { return };
    assert_eq!(filter.to_bytes(), bytes);
    let mut call = Call::default();
    for step in filter.steps().iter().take(16) {
        for arch in Arch::ALL {
            // It ends, whatever it is asked; and says the same again.
            call = Call { arch: arch.audit(), number: step.k, pointer: call.args[0], ..call };
            call.args.rotate_left(1);
            call.args[5] = u64::from(step.k) << (step.jt & 31);
            assert_eq!(filter.decide(&call), filter.decide(&call));
        }
        call.arch = step.k;
    }
    for arch in Arch::ALL {
        let _ = filter.serves(arch);
    }
}

/// The input is a text in LXC's language.
pub(crate) fn profile(bytes: &[u8]) {
    for arch in [Arch::I386, Arch::Arm, Arch::Riscv64] {
        let Ok(compiled) = cli::seccomp::of_profile(bytes, arch) else { return };
        assert_eq!(Filter::parse(&compiled.to_bytes()).as_ref(), Ok(&compiled), "a device reads what is written");
        // Whatever a profile says, calls under another convention are no way around it.
        let foreign = Call { arch: 0, ..Call::default() };
        let x32 = Call { arch: Arch::X86_64.audit(), number: 0x4000_0000, ..Call::default() };
        assert!(![foreign, x32].iter().any(|call| compiled.decide(call) == Action::Allow));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_has_filters_that_are_read() {
        let golden: [&[u8]; 2] = [
            include_bytes!("../../../formats/golden/seccomp-x86_64.bpf"),
            include_bytes!("../../corpus/seccomp/memory.bpf"),
        ];
        assert!(golden.iter().all(|bytes| Filter::parse(bytes).is_ok()));
    }
}
