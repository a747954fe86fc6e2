//! What is said once, or before the command, about servers and the way to them.

use std::fs;

use crate::bench::Bench;
use crate::device::Device;

fn device(bench: &Bench) -> Device {
    let objects = fs::read_dir(bench.path(".pvr/objects")).unwrap();
    Device::running(&bench.read(".pvr/json"), objects.map(|entry| fs::read(entry.unwrap().path()).unwrap()))
}

#[test]
fn a_short_address_is_below_what_is_configured() {
    let bench = Bench::with_web();
    bench.refused(&["clone", "me/box", "../copy"], &["no hub is configured", "RepoBaseUrl"]);
    bench.ok(&["global-config", "RepoBaseUrl=http://127.0.0.1:1/trails"]);
    let ran = bench.run(&["clone", "me/box", "../copy"]);
    assert_eq!(ran.code, 4, "{}", ran.stderr);
    assert!(ran.stderr.contains("127.0.0.1:1"), "{}", ran.stderr);
    let device = device(&bench);
    // What is said on the command line wins.
    let ran = bench.run(&["--repo-baseurl", &device.url(), "clone", "cgi-bin/pvr", "../copy"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let shown = bench.ok(&["global-config"]).stdout;
    assert!(shown.contains("\"RepoBaseUrl\": \"http://127.0.0.1:1/trails\""), "{shown}");
    bench.ok(&["global-config", "RepoBaseUrl="]);
    bench.refused(&["clone", "me/box", "../copy2"], &["no hub is configured"]);
    bench.refused(&["global-config", "Color=red"], &["no key \"Color\"", "RepoBaseUrl"]);
}

#[test]
fn a_token_that_is_given_is_shown_and_never_told() {
    let bench = Bench::with_web();
    let device = device(&bench);
    device.store().tokens = Some(vec!["s3cret".into()]);
    let ran = bench.run(&["clone", &device.url(), "../copy"]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    let ran = bench.run(&["--debug", "--access-token", "s3cret", "clone", &device.url(), "../copy"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains(&format!("GET {}/.pvrremote: 200", device.url())), "{}", ran.stderr);
    assert!(ran.stderr.contains("/blob: 200") && !ran.stderr.contains("s3cret"), "{}", ran.stderr);
    let ran = bench.command(&["clone", &device.url(), "../copy2"]).env("PVR_ACCESSTOKEN", "other").output().unwrap();
    assert_eq!(ran.status.code(), Some(3));
    bench.refused(&["-a", "two words", "clone", &device.url(), "../copy3"], &["characters that no token has"]);
}

#[test]
fn a_proxy_and_authorities_are_what_is_said() {
    let bench = Bench::with_web();
    let device = device(&bench);
    let ran = bench.run(&["--http-proxy", "http://127.0.0.1:1", "clone", &device.url(), "../copy"]);
    assert_eq!(ran.code, 4, "{}", ran.stderr);
    assert!(ran.stderr.contains("through the proxy 127.0.0.1"), "{}", ran.stderr);
    let through = |args: &[&str]| {
        let output = bench.command(args).env("http_proxy", "http://127.0.0.1:1").output().unwrap();
        output.status.code()
    };
    assert_eq!(through(&["clone", &device.url(), "../copy"]), Some(4));
    assert_eq!(through(&["--http-proxy", "no", "clone", &device.url(), "../copy"]), Some(0));
    bench.write("empty.pem", "");
    bench.refused(&["--cacert", "empty.pem", "clone", &device.url(), "../copy2"], &["empty.pem", "no certificate"]);
    bench.refused(&["--cacert", "none.pem", "clone", &device.url(), "../copy2"], &["none.pem"]);
    let ran = bench.ok(&["--insecure", "clone", &device.url(), "../copy2"]);
    assert!(ran.stderr.contains("certificates are not checked"), "{}", ran.stderr);
    assert_eq!(bench.run(&["--http-proxy", "maybe", "status"]).code, 2);
}

#[test]
fn a_configuration_that_cannot_be_understood_stops_what_needs_it() {
    let bench = Bench::with_web();
    let directory = bench.top().join(".config/pvr");
    fs::write(directory.join("config.json"), "{").unwrap();
    bench.refused(&["clone", "10.0.0.5"], &["config.json", "line 1"]);
    bench.ok(&["status"]);
}
