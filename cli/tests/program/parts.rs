//! Containers and base systems of another state: taken, renamed, taken again.

use std::fs;

use formats::json;

use crate::bench::Bench;
use crate::images::{Image, Layer, Packed};

/// A repository with a container that has configuration of its own, and a base system.
fn theirs() -> Bench {
    let bench = Bench::new();
    let image = Image::new(r#"{"Cmd":["/bin/gps"],"Volumes":{"/data":{}}}"#);
    bench.layout("image", &[image.layer(Layer::new().file("bin/gps", "1"), Packed::Plain)]);
    bench.app(&["add", "gps", "--from", "oci:../image", "--arg", "PV_DEBUG_MODE=yes"]);
    bench.write("gps/deep/more", "x");
    bench.write("_config/gps/etc/gps", "y");
    bench.write("bsp/run.json", r#"{"addons":[],"initrd":"cairn","linux":"kernel.img"}"#);
    bench.write("bsp/kernel.img", "kernel 1");
    bench.write("bsp/cairn", "cairn 1");
    commit(&bench);
    bench
}

fn commit(bench: &Bench) {
    bench.ok(&["add"]);
    bench.ok(&["commit"]);
}

fn from(theirs: &Bench, parts: &str) -> String {
    format!("{}#{parts}", theirs.repo().display())
}

fn refused(bench: &Bench, args: &[&str], parts: &[&str]) {
    // Objects that came stay in the pool: they are what they are called, and a next time is faster.
    let there = || bench.everything().into_iter().filter(|path| !path.contains("/objects/")).collect::<Vec<_>>();
    let before = there();
    bench.refused(&[&["app"], args].concat(), parts);
    assert_eq!(there(), before, "{args:?} left something behind");
}

#[test]
fn a_container_of_another_state_has_its_files_and_the_new_name_in_its_documents() {
    let (theirs, bench) = (theirs(), Bench::new());
    let all = from(&theirs, "gps,_config/gps,_sigs/gps.json");
    let said = bench.ok(&["app", "add", "nav", "--type", "pvr", "--from", &all]).stderr;
    assert!(said.contains("_sigs/gps.json stays where it is: it signs gps"), "{said}");
    assert_eq!(bench.read("nav/deep/more"), "x");
    assert_eq!(bench.read("_config/nav/etc/gps"), "y");
    assert!(!bench.path("gps").exists() && !bench.path("_sigs").exists() && !bench.path("_config/gps").exists());
    assert!(bench.read("nav/run.json").contains("\"name\": \"nav\""));
    let config = bench.read("nav/lxc.container.conf");
    assert!(!config.contains("/gps/") && !config.contains("gps.log"), "{config}");
    for line in ["/volumes/nav/root.squashfs:/volumes/nav/lxc-overlay", "/pv/logs/nav.log", "/volumes/nav/docker--data"]
    {
        assert!(config.contains(line), "{line}: {config}");
    }
    assert_eq!(bench.bytes("nav/root.squashfs"), theirs.bytes("gps/root.squashfs"));
    let src = bench.read("nav/src.json");
    assert!(src.contains(&format!("\"pvr\": \"{all}\"")) && src.contains("\"docker_name\": \"oci:../image\""), "{src}");
    assert!(bench.ok(&["app", "info", "nav"]).stdout.contains(&format!("source      {all}\n")));
    commit(&bench);
    bench.strict().unwrap();
    // What it was made of there is enough to make it here.
    bench.app(&["install", "nav"]);
    assert_eq!(bench.read("nav/lxc.container.conf"), config);
}

#[test]
fn with_its_own_name_it_is_what_was_signed_there() {
    let (theirs, bench) = (theirs(), Bench::new());
    bench.ok(&["app", "add", "--type", "pvr", "--from", &from(&theirs, "gps,_config/gps,_sigs/gps.json")]);
    for file in ["gps/lxc.container.conf", "gps/root.squashfs", "gps/seccomp.bpf"] {
        assert_eq!(bench.bytes(file), theirs.bytes(file), "{file}");
    }
    let signature = |bench: &Bench| {
        let text = bench.read("_sigs/gps.json");
        json::parse(text.as_bytes(), json::Limits::STATE).unwrap().to_json().canonical()
    };
    commit(&bench);
    assert_eq!(signature(&bench), signature(&theirs), "it had to be signed anew");
}

#[test]
fn it_is_taken_again_when_it_is_another_and_what_was_changed_here_is_not_lost() {
    let (theirs, bench) = (theirs(), Bench::new());
    let all = from(&theirs, "gps,_config/gps");
    bench.ok(&["app", "add", "nav", "-t", "pvr", "--from", &all]);
    commit(&bench);
    let said = bench.ok(&["app", "update", "nav"]).stderr;
    assert!(said.contains("nav is up to date"), "{said}");
    // Written otherwise it is the same.
    fs::remove_dir_all(bench.path("nav")).unwrap();
    bench.ok(&["reset", "--canonical"]);
    theirs.write("gps/deep/more", "z");
    commit(&theirs);
    bench.write("nav/deep/mine", "precious");
    refused(&bench, &["update", "nav"], &["nav was changed since it came from", "--force"]);
    assert_eq!(bench.read("nav/deep/more"), "x");
    fs::remove_file(bench.path("nav/deep/mine")).unwrap();
    let src = bench.read("nav/src.json");
    bench.write("nav/src.json", src.replacen('{', "{\"mine\": 1,", 1));
    let said = bench.ok(&["app", "update", "nav"]).stderr;
    assert!(said.contains("Updating nav from"), "{said}");
    assert_eq!(bench.read("nav/deep/more"), "z");
    assert!(bench.read("nav/src.json").contains("\"mine\": 1"));
    bench.write("nav/deep/mine", "not so precious");
    theirs.write("_config/gps/etc/gps", "yy");
    commit(&theirs);
    bench.ok(&["app", "update", "nav", "--force"]);
    assert!(!bench.path("nav/deep/mine").exists());
    assert_eq!(bench.read("_config/nav/etc/gps"), "yy");
    // From elsewhere: a bundle.
    bench.run(&["app", "update", "nav"]);
    theirs.write("gps/deep/more", "bundled");
    commit(&theirs);
    let bundle = bench.top().join("gps.tgz").display().to_string();
    theirs.ok(&["export", &bundle]);
    bench.ok(&["app", "update", "nav", "--from", &format!("{bundle}#gps,_config/gps")]);
    assert_eq!(bench.read("nav/deep/more"), "bundled");
    assert!(bench.read("nav/src.json").contains(&bundle));
}

#[test]
fn the_base_system_is_updated_from_where_its_src_json_says() {
    let (theirs, bench) = (theirs(), Bench::new());
    let parts = from(&theirs, "bsp,_sigs/bsp.json");
    bench.write("bsp/src.json", format!(r##"{{"#spec":"bsp-manifest-src@1","pvr":"{parts}"}}"##));
    bench.ok(&["app", "update", "bsp", "--force"]);
    assert_eq!(bench.read("bsp/kernel.img"), "kernel 1");
    assert!(bench.path("_sigs/bsp.json").exists());
    let src = bench.read("bsp/src.json");
    assert!(src.contains("\"#spec\": \"bsp-manifest-src@1\"") && src.contains(&parts), "{src}");
    assert!(bench.ok(&["app", "update", "bsp"]).stderr.contains("bsp is up to date"));
    theirs.write("bsp/kernel.img", "kernel 2");
    commit(&theirs);
    bench.ok(&["app", "update", "bsp"]);
    assert_eq!(bench.read("bsp/kernel.img"), "kernel 2");
    refused(&bench, &["add", "web", "-t", "pvr", "--from", &from(&theirs, "bsp")], &["bsp cannot become web"]);
    refused(&bench, &["install", "bsp"], &["nothing is made of its src.json", "pvr app update bsp"]);
}

#[test]
fn what_is_no_part_of_another_state_changes_nothing_here() {
    let (theirs, bench) = (theirs(), Bench::new());
    for (name, parts, why) in [
        ("a", "", "does not say which part is meant"),
        ("a", "none", "has no part \"none\""),
        ("a", "gps,_config/none", "has no part \"_config/none\""),
        ("a", "_config/gps", "_config/gps is no container"),
        ("a b", "gps", "cannot be called \"a b\""),
        ("bsp", "gps", "gps cannot become bsp"),
    ] {
        refused(&bench, &["add", name, "-t", "pvr", "--from", &from(&theirs, parts)], &[why]);
    }
    let gps = from(&theirs, "gps");
    refused(&bench, &["add", "a", "-t", "pvr", "--from", &gps, "--group", "app"], &["comes as it is there"]);
    bench.write("_config/a/x", "mine");
    let both = from(&theirs, "gps,_config/gps");
    refused(&bench, &["add", "a", "-t", "pvr", "--from", &both], &["there is a _config/a already", "--force"]);
    bench.write("a/x", "mine");
    refused(&bench, &["add", "a", "-t", "pvr", "--from", &gps], &["there is a a already"]);
    bench.layout("image", &[Image::small("{}")]);
    bench.app(&["add", "web", "--from", "oci:../image"]);
    refused(&bench, &["update", "web", "-t", "pvr", "--from", &gps], &["web is made of an image"]);
    bench.ok(&["app", "add", "b", "-t", "pvr", "--from", &gps]);
    refused(&bench, &["update", "b", "-t", "docker", "--from", "oci:../image"], &["b is a part of another state"]);
}
