//! `pvr fastcopy` between devices, directories and bundles, and what `get`, `put` and `post` can be told besides.

use std::fs;

use formats::json::{Limits, parse};

use crate::bench::{Bench, Ran};
use crate::device::{Device, Fault};

/// A repository with a container, a device that runs it, and a device that runs another state and has no objects of this one.
fn three() -> (Bench, Device, Device) {
    let bench = Bench::with_web();
    let objects = fs::read_dir(bench.path(".pvr/objects")).unwrap();
    let objects: Vec<_> = objects.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
    let full = Device::running(&bench.read(".pvr/json"), objects);
    let other = Device::running(r##"{"#spec":"pantavisor-service-system@1","_hostconfig/x.json":{"a":1}}"##, []);
    (bench, full, other)
}

fn posted(device: &Device) -> String {
    let store = device.store();
    let body = parse(store.posted.last().unwrap().as_bytes(), Limits::STATE).unwrap().to_json();
    body.get("state").unwrap().canonical()
}

fn done(ran: Ran) -> Ran {
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    ran
}

#[test]
fn a_state_goes_from_device_to_device_and_an_object_only_once() {
    let (bench, full, other) = three();
    let ran = done(bench.run(&["fastcopy", &full.url(), &other.url(), "-m", "all of it"]));
    assert!(ran.stdout.contains("A web/run.json\n") && ran.stdout.contains("D _hostconfig/x.json\n"), "{}", ran.stdout);
    assert!(ran.stderr.contains("Successfully posted Revision locals/made-1"), "{}", ran.stderr);
    assert_eq!(posted(&other), full.store().state);
    assert!(other.store().posted.last().unwrap().contains(r#""commit-msg":"all of it""#));
    assert_eq!(full.count("/blob"), 2, "each object travelled once");
    full.store().log.clear();
    done(bench.run(&["fastcopy", &full.url(), &other.url(), "--rev", "locals/again"]));
    assert_eq!(full.count("/blob"), 0, "what the other device has is not moved");
    assert!(other.store().posted.last().unwrap().contains(r#""commit-msg":"copied from http"#));
}

#[test]
fn a_part_goes_with_its_neighbours_left_alone() {
    let (bench, full, other) = three();
    let from = format!("{}#web,_sigs/web.json", full.url());
    done(bench.run(&["fastcopy", &from, &other.url()]));
    let state = posted(&other);
    assert!(state.contains("_hostconfig/x.json") && state.contains("web/run.json"), "{state}");
    let merged = done(bench.run(&["fastcopy", "--merge", &full.url(), &other.url()]));
    assert!(!merged.stdout.contains("D "), "{}", merged.stdout);
}

#[test]
fn a_directory_and_a_bundle_are_places_too() {
    let (bench, full, other) = three();
    bench.ok(&["export", "../web.tgz"]);
    done(bench.run(&["fastcopy", "../web.tgz", &other.url()]));
    assert_eq!(posted(&other), full.store().state);
    bench.ok(&["init", "../second"]);
    done(bench.run(&["fastcopy", &full.url(), "../second"]));
    assert_eq!(fs::read_to_string(bench.top().join("second/.pvr/json")).unwrap(), full.store().state);
    let reset: Ran = bench.command(&["reset"]).current_dir(bench.top().join("second")).output().unwrap().into();
    done(reset);
    assert_eq!(fs::read(bench.top().join("second/web/root.squashfs")).unwrap(), b"not a real image");
    done(bench.run(&["fastcopy", ".", &other.url()]));
}

#[test]
fn what_cannot_be_copied_is_said_and_nothing_is_posted() {
    let (bench, full, other) = three();
    let url = full.url();
    bench.refused(&["fastcopy", &url, &url], &["the same"]);
    bench.refused(&["fastcopy", &format!("{url}#nothing"), &other.url()], &["has no part \"nothing\""]);
    bench.refused(&["fastcopy", &url, &format!("{}#web", other.url())], &["0 parts", "1 of the destination"]);
    // A container under another name whose manifest still has the old one.
    bench.refused(&["fastcopy", &format!("{url}#web"), &format!("{}#shop", other.url())], &["shop/run.json"]);
    bench.ok(&["export", "../web.tgz"]);
    bench.refused(&["fastcopy", &url, "../web.tgz"], &["is a file", "pvr export"]);
    full.fails("GET /cgi-bin/pvr/objects/", &[Fault::Answer(404, "", "gone".into())]);
    let ran = bench.run(&["fastcopy", &url, &other.url()]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(other.store().posted.is_empty());
}

#[test]
fn get_can_be_told_to_delete_nothing() {
    let (bench, _, other) = three();
    let ran = bench.ok(&["get", "--no-delete", &other.url()]);
    assert_eq!(ran.stdout, "A _hostconfig/x.json\n");
    let ran = bench.run(&["get", "--force", &other.url()]);
    assert!(ran.stdout.contains("D web/run.json\n"), "{}{}", ran.stdout, ran.stderr);
}

#[test]
fn what_the_state_there_names_is_offered_if_that_is_forced() {
    let (bench, full, _) = three();
    bench.ok(&["post", &full.url()]);
    assert_eq!(full.count("POST /cgi-bin/pvr/objects/"), 0);
    bench.ok(&["post", "--force", &full.url()]);
    assert_eq!(full.count("POST /cgi-bin/pvr/objects/"), 2);
}

#[test]
fn a_reset_with_hard_links_can_be_asked_for_in_the_old_way() {
    let bench = Bench::with_web();
    bench.ok(&["reset", "-hl"]);
    use std::os::unix::fs::MetadataExt as _;
    assert_eq!(fs::metadata(bench.path("web/root.squashfs")).unwrap().nlink(), 2);
}

#[test]
fn a_tree_can_be_made_clean() {
    let bench = Bench::with_web();
    bench.write("web/stray/deep/x", "1");
    bench.write("notes", "1");
    fs::remove_file(bench.path("web/run.json")).unwrap();
    bench.ok(&["reset"]);
    assert!(bench.path("notes").exists());
    let said = bench.ok(&["reset", "--clean"]).stderr;
    assert_eq!(said, "Removing notes\nRemoving web/stray/deep/x\n");
    assert!(!bench.path("web/stray").exists() && bench.path("web/run.json").exists());
    assert_eq!(bench.ok(&["status"]).stdout, "");
}
