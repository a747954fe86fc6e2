//! Apps in networks of the device: what is asked for stands in the manifest, and what no device would take makes none.

use formats::path::ContainerName;
use formats::run_json::Manifest;

use crate::bench::Bench;
use crate::images::{Image, Layer, Packed};

const CONFIG: &str = r#"{"Entrypoint":["/bin/web"],"ExposedPorts":{"80/tcp":{},"53/udp":{}}}"#;

fn bench() -> Bench {
    let bench = Bench::new();
    bench.layout("image", &[Image::new(CONFIG).layer(Layer::new().file("bin/web", "#!/bin/sh\n"), Packed::Zstd)]);
    bench
}

#[test]
fn an_app_says_which_ports_it_expects_until_some_are_published() {
    let bench = bench();
    let said = bench.app(&["add", "web", "--from", "oci:../image"]).stderr;
    assert!(said.contains("reached at 80/tcp, 53/udp; with --pool POOL --publish DEVICE:CONTAINER"), "{said}");
    assert!(bench.read("web/lxc.container.conf").contains("lxc.namespace.keep = user net\n"));
    let network = ["--pool", "apps", "--ip", "10.0.3.9", "--mac", "02:00:0a:00:03:09", "--hostname", "shop"];
    let ports = ["--publish", "8080:80", "--publish", "53:53/udp"];
    let said = bench.app(&[&["add", "shop", "--from", "oci:../image"], &network[..], &ports].concat()).stderr;
    assert!(!said.contains("expects to be reached"), "{said}");
    let text = bench.read("shop/run.json");
    let manifest = Manifest::parse(&ContainerName::parse("shop").unwrap(), &text, &mut Vec::new()).unwrap();
    let network = manifest.network.unwrap();
    let interface = network.interfaces.first().unwrap();
    assert_eq!((interface.pool.as_str(), network.hostname.as_deref()), ("apps", Some("shop")));
    assert_eq!((interface.ip, interface.mac), (Some([10, 0, 3, 9].into()), Some([2, 0, 10, 0, 3, 9])));
    assert_eq!(manifest.ports.iter().map(ToString::to_string).collect::<Vec<_>>(), ["8080:80", "53:53/udp"]);
    assert!(bench.read("shop/lxc.container.conf").contains("lxc.namespace.keep = user\n"));
    let src = bench.read("shop/src.json");
    assert!(src.contains("\"PV_NETWORK_POOL\": \"apps\"") && src.contains("\"PV_NETWORK_IP\": \"10.0.3.9\""), "{src}");
    let info = bench.app(&["info", "shop"]).stdout;
    assert!(info.contains("network     pool apps, 10.0.3.9, 02:00:0a:00:03:09\n"), "{info}");
    assert!(info.contains("            publishes 8080:80\n"), "{info}");
}

#[test]
fn a_network_that_no_device_would_read_makes_no_container() {
    let bench = bench();
    for (args, why) in [
        (["--ip", "10.0.3"], "web/run.json: network.ip: \"10.0.3\" is not"),
        (["--publish", "80"], "web/run.json: ports[0]: \"80\" is not DEVICE:CONTAINER"),
        (["--mac", "x"], "web/run.json: network.mac"),
    ] {
        let args = [&["web", "--from", "oci:../image", "--pool", "apps"], &args[..]].concat();
        bench.nothing(1, &[], &args, &["would be refused by a device", why]);
    }
}
