//! Pairing with a device that lets nobody in without it, and who gets to see a token.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use crate::bench::{Bench, Ran};
use crate::device::{Device, Fault};

/// A bench with a container, and a device that runs it and wants a token.
fn both() -> (Bench, Device) {
    let bench = Bench::with_web();
    let device = running(&bench);
    device.store().tokens = Some(Vec::new());
    device.store().code = Some("ABCD2345".into());
    (bench, device)
}

fn running(bench: &Bench) -> Device {
    let objects = fs::read_dir(bench.path(".pvr/objects")).unwrap();
    Device::running(&bench.read(".pvr/json"), objects.map(|entry| fs::read(entry.unwrap().path()).unwrap()))
}

fn login(bench: &Bench, device: &Device, code: &str) -> Ran {
    bench.run(&["login", &device.url(), "--code", code, "--name", "me@here"])
}

fn fails(ran: &Ran, code: i32, parts: &[&str]) {
    assert_eq!(ran.code, code, "{}", ran.stderr);
    for part in parts {
        assert!(ran.stderr.contains(part), "should say {part:?}: {}", ran.stderr);
    }
}

fn files(bench: &Bench) -> Vec<PathBuf> {
    let found = fs::read_dir(bench.top().join(".config/pvr/tokens")).into_iter().flatten();
    found.map(|entry| entry.unwrap().path()).collect()
}

/// Requests that came with a token, and those that came without.
fn shown(device: &Device) -> (Vec<String>, Vec<String>) {
    let shown = device.store().shown.clone();
    let (with, without): (Vec<_>, Vec<_>) = shown.into_iter().partition(|(_, token)| token.is_some());
    let lines = |list: Vec<(String, Option<String>)>| list.into_iter().map(|(line, _)| line).collect();
    (lines(with), lines(without))
}

#[test]
fn a_device_that_wants_to_know_who_asks_says_how_and_then_lets_us_in() {
    let (bench, device) = both();
    let server = device.url();
    let hint = format!("run `pvcontrol pair` on the device, then here: pvr login {server}");
    fails(&bench.run(&["post", &server]), 3, &["does not let us in", "pair first", &hint]);
    fails(&bench.run(&["clone", &server, "../copy"]), 3, &[&hint]);
    fails(&login(&bench, &device, "WRNG2345"), 3, &["this is not the code; 4 more"]);
    assert_eq!(files(&bench).len(), 0);

    let ran = login(&bench, &device, "ABCD2345");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{}", ran.stderr);
    assert!(ran.stderr.contains(&format!("paired with {server} as me@here (")) && !ran.stderr.contains("t0ken"));
    assert_eq!(device.store().names, ["me@here"]);
    let [file] = &files(&bench)[..] else { panic!("one token") };
    assert_eq!(fs::read_to_string(file).unwrap(), "t0ken-1\n");
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);

    device.store().shown.clear();
    assert_eq!(bench.run(&["clone", &server, "../copy"]).code, 0);
    bench.write("web/root.squashfs", "2");
    bench.ok(&["commit"]);
    bench.ok(&["post", &server, "--rev", "locals/x"]);
    assert_eq!(device.store().posted.len(), 1);
    let (with, without) = shown(&device);
    assert!(with.iter().any(|line| line.starts_with("PUT /cgi-bin/pvr/up/")), "{with:?}");
    assert!(without.iter().all(|line| line.ends_with("/.pvrremote")), "{without:?}");
}

#[test]
fn the_code_is_asked_for_where_somebody_can_answer_only() {
    let (bench, device) = both();
    fails(&bench.run(&["login", &device.url()]), 1, &["nobody to be asked", "--code CODE"]);
    fails(&bench.run(&["login", &device.url(), "--code", "x", "--name", "a b"]), 1, &["no name for a device's list"]);
    fails(&bench.run(&["login", ".", "--code", "x"]), 1, &["is a directory"]);
    assert_eq!(device.count("POST"), 0);
    let ran = bench.run(&["login", &device.url(), "--code", " abcd2345\n"]);
    fails(&ran, 3, &["not the code"]);
    assert_eq!(device.store().names.len(), 0, "a code is the device's to read");
}

#[test]
fn a_device_that_pairs_nobody_is_not_asked_twice() {
    let (bench, device) = both();
    device.store().tokens = None;
    fails(&login(&bench, &device, "ABCD2345"), 3, &["knows no pairing"]);
    device.fails("POST /pair", &[Fault::Answer(200, "", r#"{"token":"a\r\nb"}"#.into())]);
    fails(&login(&bench, &device, "ABCD2345"), 4, &["it has no token"]);
    assert_eq!(files(&bench).len(), 0);
}

#[test]
fn a_second_login_gives_the_first_token_up() {
    let (bench, device) = both();
    assert_eq!(login(&bench, &device, "ABCD2345").code, 0);
    device.store().code = Some("ABCD2345".into());
    assert_eq!(login(&bench, &device, "ABCD2345").code, 0);
    assert_eq!(device.store().tokens, Some(vec!["t0ken-2".into()]));
    assert_eq!(fs::read_to_string(&files(&bench)[0]).unwrap(), "t0ken-2\n");
}

#[test]
fn a_logout_forgets_the_token_on_both_sides_or_says_on_which_it_is_left() {
    let (bench, device) = both();
    fails(&bench.run(&["logout", &device.url()]), 1, &["is not paired with"]);
    assert_eq!(login(&bench, &device, "ABCD2345").code, 0);
    assert!(bench.ok(&["logout", &device.url()]).stderr.contains("no longer paired"));
    assert_eq!((files(&bench).len(), device.store().tokens.clone()), (0, Some(vec![])));

    device.store().code = Some("ABCD2345".into());
    assert_eq!(login(&bench, &device, "ABCD2345").code, 0);
    device.fails("DELETE ", &[Fault::Answer(500, "", "no".into())]);
    let ran = bench.ok(&["logout", &device.url()]);
    assert!(ran.stderr.contains("still lets it in") && ran.stderr.contains("pvcontrol pair rm "), "{}", ran.stderr);
    assert_eq!(files(&bench).len(), 0);
}

#[test]
fn a_token_goes_to_its_own_server_and_nowhere_else() {
    let (bench, device) = both();
    let elsewhere = running(&bench);
    assert_eq!(login(&bench, &device, "ABCD2345").code, 0);
    let id = formats::object::ObjectId::of(b"not a real image");
    // A record that leads away, and a redirect, each to a server that would take a token if it got one.
    let there = format!("{}/cgi-bin/pvr/objects/{id}/blob", elsewhere.url());
    let record = format!(r#"{{"sha256sum":"{id}","size":"16","signed-geturl":"{there}"}}"#);
    let away: &'static str = Box::leak(format!("Location: {there}\r\n").into_boxed_str());
    let faults = [
        (format!("GET /cgi-bin/pvr/objects/{id}"), Fault::Answer(200, "", record)),
        (format!("GET /cgi-bin/pvr/objects/{id}/blob"), Fault::Answer(302, away, String::new())),
    ];
    for (number, (request, fault)) in faults.into_iter().enumerate() {
        device.fails(&request, &[fault, Fault::Works]);
        let ran = bench.run(&["clone", &device.url(), &format!("../copy{number}")]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    let (with, without) = shown(&elsewhere);
    assert_eq!((with.len(), without.len()), (0, 2), "{with:?} {without:?}");
    // The other address of the same device is another server, and nobody is logged in there.
    let port = device.url().rsplit(':').next().unwrap().to_owned();
    let before = shown(&device).0.len();
    fails(&bench.run(&["clone", &format!("http://localhost:{port}"), "../copy"]), 3, &["pair first"]);
    assert_eq!(shown(&device).0.len(), before);
}

#[test]
fn a_token_that_others_can_read_is_not_used() {
    let (bench, device) = both();
    assert_eq!(login(&bench, &device, "ABCD2345").code, 0);
    fs::set_permissions(&files(&bench)[0], fs::Permissions::from_mode(0o644)).unwrap();
    fails(&bench.run(&["clone", &device.url(), "../copy"]), 1, &["can be read by others", "chmod 600"]);
    // A new one takes its place.
    device.store().code = Some("ABCD2345".into());
    assert_eq!(login(&bench, &device, "ABCD2345").code, 0);
    assert_eq!(bench.run(&["clone", &device.url(), "../copy"]).code, 0);
}
