//! What a container is granted when it is made: told, written, and nothing besides.

use crate::bench::Bench;
use crate::images::{Image, Layer, Packed};

fn bench() -> Bench {
    let bench = Bench::new();
    // No init: a whole system has more of its own.
    let image = Image::new(r#"{"Cmd":["/bin/gps"]}"#);
    bench.layout("image", &[image.layer(Layer::new().file("bin/gps", ""), Packed::Plain)]);
    bench
}

#[test]
fn a_grant_is_lines_of_the_configuration_and_of_what_the_container_may_do() {
    let bench = bench();
    bench.app(&["add", "plain", "--from", "oci:../image"]);
    let plain = bench.read("plain/lxc.container.conf").replace("plain", "gps");
    let more = ["--device", "/dev/ttyUSB0", "--device", "/dev/gpiochip0=c 254:0 rw", "--cap", "sys_time"];
    let mounts = ["--mount", "/etc/gps:/etc/gps", "--mount", "/run/gps.sock:/run/gps.sock:rw,file,optional"];
    bench.app(&[&["add", "gps", "--from", "oci:../image"], &more[..], &mounts[..]].concat());
    let written = bench.read("gps/lxc.container.conf");
    let added: Vec<_> = written.lines().filter(|line| !plain.lines().any(|other| other == *line)).collect();
    assert_eq!(
        added,
        [
            "lxc.cgroup.devices.allow = c 188:0 rw",
            "lxc.cgroup.devices.allow = c 254:0 rw",
            "lxc.mount.entry = /dev/ttyUSB0 dev/ttyUSB0 none bind,rw,create=file 0 0",
            "lxc.mount.entry = /dev/gpiochip0 dev/gpiochip0 none bind,rw,create=file 0 0",
            "lxc.mount.entry = /etc/gps etc/gps none bind,ro,create=dir 0 0",
            "lxc.mount.entry = /run/gps.sock run/gps.sock none bind,rw,create=file,optional 0 0",
            "lxc.cap.keep = chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service \
             sys_chroot sys_time audit_write setfcap",
        ]
    );
    assert_ne!(bench.bytes("plain/seccomp.bpf"), bench.bytes("gps/seccomp.bpf"), "clock_settime needs the capability");
    let said = bench.ok(&["app", "info", "gps"]).stdout;
    for part in
        ["the device nodes c 188:0 rw\n", "the device nodes c 254:0 rw\n", "writes to /dev/ttyUSB0 of the device"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!bench.ok(&["app", "info", "plain"]).stdout.contains("device node"));
    assert!(!said.contains("mdev.json"));
    bench.write("gps/mdev.json", r#"{"rules":[".* 0:0 666"]}"#);
    assert!(
        bench.ok(&["app", "info", "gps"]).stdout.contains("nodes in /dev as mdev.json says, of the devices above\n")
    );
    let src = bench.read("gps/src.json");
    for part in ["PV_CONFINED_DEVICES", "/dev/ttyUSB0=c 188:0 rw", "PV_CONFINED_CAPS", "/etc/gps:/etc/gps:ro"] {
        assert!(src.contains(part), "{part}: {src}");
    }
}

#[test]
fn a_wide_grant_is_the_line_of_existing_tools_in_both_templates() {
    let bench = bench();
    let line = "lxc.mount.entry = /storage storage none bind,rw,create=dir 0 0\n";
    for (name, template) in [("a", "confined"), ("b", "builtin-lxc-docker")] {
        bench.app(&["add", name, "--from", "oci:../image", "--template", template, "--grant", "storage"]);
        assert!(bench.read(&format!("{name}/lxc.container.conf")).contains(line), "{template}");
        assert!(bench.read(&format!("{name}/src.json")).contains("\"PV_SECURITY_WITH_STORAGE\": \"yes\""));
    }
    bench.app(&["add", "c", "--from", "oci:../image", "--grant", "full-dev"]);
    let written = bench.read("c/lxc.container.conf");
    assert!(written.contains("lxc.cgroup.devices.allow = a\n") && !written.contains("devices.deny"), "{written}");
    assert!(bench.ok(&["app", "info", "c"]).stdout.contains("every device node\n"));
}

#[test]
fn in_the_network_of_the_device_raw_sockets_are_a_grant_and_in_a_pool_they_are_not() {
    let bench = bench();
    let keeps = |name: &str, more: &[&str]| {
        bench.app(&[&["add", name, "--from", "oci:../image"], more].concat());
        bench.read(&format!("{name}/lxc.container.conf")).contains("net_raw")
    };
    assert!(!keeps("plain", &[]));
    assert!(!keeps("own-users", &["--users", "own"]));
    assert!(keeps("granted", &["--cap", "net_raw"]));
    assert!(keeps("pool", &["--pool", "apps"]));
    bench.ok(&["add", "plain", "granted"]);
    let said = bench.ok(&["commit"]).stderr;
    let told = "granted is new and has more than a confined container: hears and forges all traffic of the device\n";
    assert!(said.contains(told) && !said.contains("plain is new"), "{said}");
}

#[test]
fn how_many_processes_it_can_have_is_a_line_and_an_argument() {
    let bench = bench();
    let line = |name: &str, more: &[&str]| {
        bench.app(&[&["add", name, "--from", "oci:../image"], more].concat());
        let config = bench.read(&format!("{name}/lxc.container.conf"));
        let line = config.lines().find(|line| line.starts_with("lxc.cgroup2.pids.max")).map(str::to_owned);
        (line, bench.read(&format!("{name}/src.json")).contains("PV_CONFINED_TASKS"))
    };
    assert_eq!(line("a", &[]), (Some("lxc.cgroup2.pids.max = 1024".into()), false));
    assert_eq!(line("b", &["--tasks", "64"]), (Some("lxc.cgroup2.pids.max = 64".into()), true));
    assert_eq!(line("c", &["--tasks", "max"]), (Some("lxc.cgroup2.pids.max = max".into()), true));
    assert_eq!(line("d", &["--template", "builtin-lxc-docker"]), (None, false));
    bench.nothing(1, &[], &["x", "--from", "oci:../image", "--tasks", "0"], &["no number of processes", "or max"]);
    let other = ["x", "--from", "oci:../image", "--template", "builtin-lxc-docker", "--tasks", "64"];
    bench.nothing(1, &[], &other, &["as many processes as the device can", "--template confined"]);
}

#[test]
fn a_grant_that_cannot_be_understood_makes_nothing() {
    let bench = bench();
    for (grant, why) in [
        (["--device", "/dev/gpiochip0"], "its numbers are not the same everywhere"),
        (["--device", "ttyS0"], "does not begin with /dev/"),
        (["--cap", "time"], "no capability like sys_time"),
        (["--mount", "/a"], "SOURCE:TARGET"),
    ] {
        bench.nothing(1, &[], &[&["x", "--from", "oci:../image"], &grant[..]].concat(), &[why]);
    }
    let all = ["x", "--from", "oci:../image", "--template", "builtin-lxc-docker", "--cap", "sys_time"];
    bench.nothing(1, &[], &all, &["has all devices and capabilities", "--template confined"]);
}

#[test]
fn a_commit_tells_who_gains_rights_and_who_loses_some() {
    let bench = bench();
    let commit = || {
        bench.ok(&["add"]);
        bench.ok(&["commit"]).stderr
    };
    bench.app(&["add", "gps", "--from", "oci:../image"]);
    bench.app(&["add", "old", "--from", "oci:../image", "--template", "builtin-lxc-docker"]);
    let said = commit();
    assert!(!said.contains("gps is new"), "a confined container has nothing to tell: {said}");
    assert!(said.contains("old is new and has more than a confined container: all other capabilities; "), "{said}");
    for part in ["shares with the device ipc", "programs can gain privileges", "every system call", "every device node"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    // What it grants lies in a file that the configuration includes.
    let config = bench.read("gps/lxc.container.conf");
    bench.write("gps/lxc.container.conf", format!("{config}lxc.include = more\n"));
    bench.write("gps/more", "lxc.cap.keep = sys_time\nlxc.cgroup.devices.allow = c 188:0 rw\n");
    let said = commit();
    assert!(said.contains("gps gains: the capability sys_time; the device nodes c 188:0 rw\n"), "{said}");
    assert!(!said.contains("old"), "{said}");
    bench.write("gps/more", "lxc.cap.keep = sys_time\nlxc.cgroup.devices.allow = c 188:0 r\nlxc.no_new_privs = 0\n");
    let said = commit();
    assert!(
        said.contains("gps gains: programs can gain privileges\ngps loses: the device nodes c 188:0 rw\n"),
        "{said}"
    );
    bench.write("gps/more", "lxc.environment = A=b\n");
    assert!(commit().contains("gps loses: the capability sys_time; programs can gain privileges; the device nodes"));
    bench.ok(&["app", "seccomp", "--platform", "linux/amd64", "--keep", "sys_time", "-o", "gps/seccomp.bpf"]);
    assert!(commit().contains("gps has another filter of system calls: gps/seccomp.bpf\n"));
    // Objects that the pool has lost.
    for object in std::fs::read_dir(bench.path(".pvr/objects")).unwrap() {
        std::fs::remove_file(object.unwrap().path()).unwrap();
    }
    bench.write("gps/more", "lxc.cap.keep = sys_time\n");
    let said = commit();
    assert!(said.contains("gps has, and nothing here says what it had: the capability sys_time\n"), "{said}");
}

#[test]
fn what_a_manifest_asks_for_is_a_right() {
    let bench = bench();
    bench.app(&["add", "gps", "--from", "oci:../image"]);
    bench.ok(&["add"]);
    bench.ok(&["commit"]);
    let run = bench.read("gps/run.json").replacen('{', "{\"roles\": [\"mgmt\"],", 1);
    bench.write("gps/run.json", &run);
    assert!(bench.ok(&["commit"]).stderr.contains("gps gains: manages the device\n"));
    let asks = r#"{"network": {"pool": "apps"}, "ports": ["8080:80"],"#;
    bench.write("gps/run.json", run.replacen('{', asks, 1).replace("\"manual\": []", "\"manual\": [\"wifi\"]"));
    bench.write(
        "device.json",
        r#"{"network":{"pools":{"apps":{"type":"bridge","bridge":"br0","subnet":"10.0.3.0/24"}}}}"#,
    );
    bench.ok(&["add"]);
    let said = bench.ok(&["commit"]).stderr;
    let told = "gps gains: is in the pool apps; publishes 8080/tcp of the device; loads the driver wifi\n";
    assert!(said.contains(told) && said.contains("gps loses: shares with the device net"), "{said}");
}
