//! What a container is granted when it is made: told, written, and nothing besides.

use crate::bench::Bench;
use crate::images::{Image, Layer, Packed};

fn bench() -> Bench {
    let bench = Bench::new();
    bench.layout("image", &[Image::new("{}").layer(Layer::new().file("sbin/init", ""), Packed::Plain)]);
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
            "lxc.cap.keep = chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service net_raw \
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
