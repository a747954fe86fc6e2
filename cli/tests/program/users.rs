//! Users of a container's own: which lines are written, and what is told of them.

use crate::bench::Bench;
use crate::images::{Image, Layer, Packed};

#[test]
fn users_of_its_own_are_a_range_that_no_other_container_of_the_work_tree_has() {
    let bench = Bench::new();
    let image = Image::new(r#"{"ExposedPorts":{"8080/tcp":{},"80/tcp":{}}}"#);
    bench.layout("image", &[image.layer(Layer::new().file("sbin/init", ""), Packed::Plain)]);
    let line = |name: &str| {
        let config = bench.read(&format!("{name}/lxc.container.conf"));
        assert!(config.contains("lxc.namespace.keep = net\n"), "{config}");
        let lines: Vec<_> = config.lines().filter(|line| line.starts_with("lxc.idmap")).map(str::to_owned).collect();
        assert_eq!(lines[0].replace(" = u ", " = g "), lines[1]);
        lines[0].clone()
    };
    let said = bench.app(&["add", "web", "--from", "oci:../image", "--users", "own"]).stderr;
    assert!(said.contains("listens on port 80"), "{said}");
    let web = line("web");
    assert!(bench.read("web/src.json").contains(r#""PV_USERS": "own""#));
    let said = bench.ok(&["app", "info", "web"]).stdout;
    let first = web.split(' ').nth(4).unwrap();
    assert!(said.contains(&format!("users of its own; its root is number {first} of the device")), "{said}");
    // The same again, and another one that asks for the same range gets the next.
    bench.app(&["add", "web", "--from", "oci:../image", "--users", "own", "--force"]);
    assert_eq!(line("web"), web);
    bench.app(&["add", "other", "--from", "oci:../image"]);
    assert!(!bench.read("other/lxc.container.conf").contains("lxc.idmap"));
    bench.write("other/lxc.container.conf", format!("{web}\n"));
    bench.app(&["add", "web", "--from", "oci:../image", "--users", "own", "--force"]);
    assert_ne!(line("web"), web);
    // In a pool every namespace is its own, and with it every port. What is granted of the device is a stranger's.
    let more = ["--users", "own", "--pool", "apps", "--device", "/dev/ttyUSB0", "--cap", "sys_time"];
    let said = bench.app(&[&["add", "pooled", "--from", "oci:../image"], &more[..]].concat()).stderr;
    assert!(!said.contains("listens on port") && said.contains("/dev/ttyUSB0 is of the device"), "{said}");
    assert!(said.contains("the capability sys_time is of the device"), "{said}");
    let config = bench.read("pooled/lxc.container.conf");
    assert!(!config.contains("lxc.namespace.") && config.contains("lxc.idmap = u 0 "), "{config}");
    bench.nothing(
        1,
        &[],
        &["third", "--from", "oci:../image", "--users", "own", "--template", "builtin-lxc-docker"],
        &["shares the users of the device"],
    );
}
