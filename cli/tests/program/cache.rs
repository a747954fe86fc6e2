//! What is kept of images, and that it is believed only where a digest says so.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Instant;

use crate::bench::Bench;
use crate::images::{Image, Layer, Packed};
use crate::registry::{Fault, Registry};

/// Contents that do not get small, and are others for each seed.
fn noise(seed: u32, len: u32) -> String {
    let letter = |number: u32| char::from(b'a' + ((number ^ seed).wrapping_mul(2_654_435_761) >> 27) as u8 % 26);
    (0..len).map(letter).collect()
}

fn image() -> Image {
    let book = "root:x:0:0::/root:/bin/sh\nweb:x:7:8::/:/bin/sh\n";
    let config = r#"{"User":"web","Cmd":["web"],"Env":["PATH=/usr/bin:/bin"]}"#;
    Image::new(config)
        .layer(Layer::new().file("bin/web", &noise(1, 20_000)).file("etc/passwd", book), Packed::Plain)
        .layer(Layer::new().file("srv/a", &noise(2, 20_000)), Packed::Gzip)
        .layer(Layer::new().file("srv/b", &noise(3, 20_000)), Packed::Zstd)
}

fn serving(bench: &Bench, fault: Fault) -> (Registry, String) {
    let registry = Registry::serve(bench.layout("image", &[image()]), fault);
    let from = format!("{}/a/b", registry.address);
    (registry, from)
}

/// Every file of a container but where it came from.
fn container(bench: &Bench, name: &str) -> Vec<Vec<u8>> {
    ["root.squashfs", "lxc.container.conf", "seccomp.bpf", "root.squashfs.docker-digest"]
        .map(|file| fs::read(bench.path(name).join(file)).unwrap())
        .into()
}

fn blobs(bench: &Bench) -> Vec<PathBuf> {
    let mut found: Vec<_> =
        fs::read_dir(bench.top().join(".cache/pvr/blobs")).unwrap().map(|it| it.unwrap().path()).collect();
    found.sort();
    found
}

#[test]
fn an_image_that_was_here_costs_one_question_for_its_manifest() {
    let bench = Bench::new();
    let (registry, from) = serving(&bench, Fault::None);
    bench.app(&["add", "web", "--from", &from]);
    let before = registry.asked().len();
    bench.app(&["add", "again", "--from", &from]);
    assert_eq!(registry.asked()[before..], ["/v2/a/b/manifests/latest"]);
    // A second container of the same image is told apart by its name alone.
    let (web, again) = (container(&bench, "web"), container(&bench, "again"));
    assert!(web[0] == again[0] && web[2..] == again[2..]);
    assert_eq!(
        bench.read("web/lxc.container.conf").replace("web", ""),
        bench.read("again/lxc.container.conf").replace("web", "").replace("again", "")
    );
    assert!(bench.read("again/lxc.container.conf").contains("= 7"), "the user of the image's own book");
    // Packed otherwise it is another file of the same layers.
    bench.app(&["add", "small", "--from", &from, "-o", "-comp gzip"]);
    assert_eq!(registry.asked()[before + 1..], ["/v2/a/b/manifests/latest"]);
    assert!(container(&bench, "small")[0] != web[0]);
    // And without a cache the same comes out.
    let ran = bench.with(&[("PVR_CACHE_MAX", "0")], &["app", "add", "bare", "--from", &from]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(container(&bench, "bare")[0] == web[0]);
    assert!(registry.asked().len() > before + 5);
}

#[test]
fn what_was_damaged_in_the_cache_is_fetched_and_made_anew() {
    let bench = Bench::new();
    let (registry, from) = serving(&bench, Fault::None);
    bench.app(&["add", "web", "--from", &from]);
    let (first, all) = (registry.asked().len(), blobs(&bench));
    for path in &all {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    }
    bench.app(&["add", "again", "--from", &from]);
    assert_eq!(registry.asked().len(), first * 2, "all of it was asked for again");
    assert!(container(&bench, "web")[0] == container(&bench, "again")[0]);
    assert_eq!(blobs(&bench), all);
    // Notes that are nonsense, and a file where a directory should be.
    for note in fs::read_dir(bench.top().join(".cache/pvr/notes")).unwrap() {
        fs::write(note.unwrap().path(), r#"{"root":"../../x","outline":1}"#).unwrap();
    }
    bench.app(&["add", "third", "--from", &from]);
    assert!(container(&bench, "web")[0] == container(&bench, "third")[0]);
}

#[test]
fn what_had_come_before_a_break_is_not_asked_for_in_the_next_run() {
    let bench = Bench::new();
    let layout = bench.layout("image", &[image()]);
    let dead = Registry::serve(layout, Fault::Dies);
    let from = format!("{}/a/b", dead.address);
    bench.nothing(4, &[], &["web", "--from", &from], &["it breaks off"]);
    let parts = blobs(&bench).into_iter().filter(|path| path.extension().is_some_and(|it| it == "part")).count();
    assert!(parts > 0, "what has come is kept");
    let layout = bench.layout("image", &[image()]);
    let well = Registry::serve(layout, Fault::BreaksOff { ranges: true });
    bench.app(&["add", "web", "--from", &format!("{}/a/b", well.address)]);
    let asked = well.asked();
    assert!(asked.iter().filter(|line| line.contains("/blobs/")).all(|line| !line.ends_with("bytes=0-")), "{asked:?}");
    let begun = asked.iter().find(|line| line.contains("/blobs/") && line.contains("bytes=")).unwrap();
    assert!(!begun.contains("bytes=0-"), "{begun}");
    // What the server has called by a name is asked for by that name.
    assert!(asked.iter().any(|line| line.contains("bytes=") && line.contains(" \"sha256:")), "{asked:?}");
    bench.app(&["add", "same", "--from", "oci:../image"]);
    assert!(container(&bench, "web")[0] == container(&bench, "same")[0]);
}

#[test]
fn a_busy_registry_is_left_alone_for_as_long_as_it_asks() {
    let bench = Bench::new();
    let (registry, from) = serving(&bench, Fault::Limited { seconds: 1 });
    let start = Instant::now();
    bench.app(&["add", "web", "--from", &from]);
    assert!(start.elapsed().as_secs() >= 3, "once for the manifest, once for the configuration, once for the layers");
    assert!(registry.asked().len() >= 8);
    // Nobody waits for hours, and nobody asks again and again meanwhile.
    let bench = Bench::new();
    let (registry, from) = serving(&bench, Fault::Limited { seconds: 20_000 });
    bench.nothing(4, &[], &["web", "--from", &from], &["429 Too Many Requests", "it asks to wait 20000 s"]);
    assert_eq!(registry.asked().len(), 1);
    bench.ok(&["status"]);
}

#[test]
fn many_at_once_fetch_each_blob_once() {
    let bench = Bench::new();
    let (registry, from) = serving(&bench, Fault::None);
    let path = std::env::var_os("PATH").unwrap_or_default();
    // One repository is changed by one at a time; a cache is not.
    let repos = ["a", "b", "c"].map(|name| {
        bench.ok(&["init", &format!("../{name}")]);
        bench.top().join(name)
    });
    let add = |repo: &PathBuf| {
        let mut command = bench.command(&["app", "add", "web", "--from", &from]);
        command.env("PATH", &path).current_dir(repo).stderr(Stdio::piped()).spawn().unwrap()
    };
    for child in repos.iter().map(add).collect::<Vec<_>>() {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let mut layers: Vec<_> = registry.asked().into_iter().filter(|line| line.contains("/blobs/")).collect();
    layers.sort();
    let mut once = layers.clone();
    once.dedup();
    // A configuration is a kilobyte, and not worth waiting for.
    assert!(layers.len() - once.len() <= 2, "{layers:?}");
    let [a, b, c] = repos.map(|repo| fs::read(repo.join("web/root.squashfs")).unwrap());
    assert!(a == b && b == c);
}

#[test]
fn the_cache_is_listed_bounded_and_cleared() {
    let bench = Bench::new();
    let (_registry, from) = serving(&bench, Fault::None);
    bench.app(&["add", "web", "--from", &from]);
    let all = bench.ok(&["cache", "ls", "--json"]).stdout;
    assert!(all.contains("\"kind\": \"note\"") && all.contains("\"limit\": 4294967296"), "{all}");
    assert_eq!(bench.ok(&["cache", "dir"]).stdout.trim(), bench.top().join(".cache/pvr").to_str().unwrap());
    let listed = bench.ok(&["cache", "ls"]);
    assert_eq!(listed.stdout.lines().count(), blobs(&bench).len());
    assert!(listed.stderr.contains("of at most 4.2 GB"), "{}", listed.stderr);
    // A limit that holds nothing of it: it works all the same, and nothing stays.
    let ran = bench.with(&[("PVR_CACHE_MAX", "1")], &["app", "add", "other", "--from", &from]);
    assert_eq!((ran.code, blobs(&bench).len()), (0, 0), "{}", ran.stderr);
    bench.app(&["add", "third", "--from", &from]);
    assert!(bench.ok(&["cache", "clean", "--max", "1G"]).stderr.contains("Removed 0 files"));
    assert!(bench.ok(&["cache", "clean"]).stderr.contains("Removed"));
    assert_eq!(bench.ok(&["cache", "ls"]).stdout, "");
    for (name, value, part) in
        [("PVR_CACHE_MAX", "much", "\"much\" is no size"), ("PVR_CACHE_DIR", "x", "name it from the root")]
    {
        let ran = bench.with(&[(name, value)], &["cache", "ls"]);
        assert!(ran.code == 1 && ran.stderr.contains(part), "{}", ran.stderr);
    }
}

#[test]
fn progress_is_told_to_programs_and_to_nobody_who_does_not_want_it() {
    let bench = Bench::new();
    let (_registry, from) = serving(&bench, Fault::None);
    let said = bench.app(&["add", "web", "--from", &from, "--progress", "json"]).stderr;
    let lines: Vec<_> = said.lines().filter(|line| line.starts_with("{\"progress\":\"downloading\"")).collect();
    assert!(lines.first().unwrap().contains("\"done\":0,") && lines.len() >= 2, "{said}");
    let total = |line: &str| line.split_once("\"total\":").unwrap().1.split([',', '}']).next().unwrap().to_owned();
    let done = format!("\"done\":{},", total(lines[0]));
    assert!(lines.last().unwrap().contains(&done), "the last one has all of it: {said}");
    assert!(said.contains("\"progress\":\"packing\""));
    for mode in ["auto", "plain", "none"] {
        let ran = bench.with(&[("PVR_PROGRESS", mode)], &["app", "add", mode, "--from", &from, "-o", "-comp gzip"]);
        assert!(ran.code == 0 && !ran.stderr.contains("downloading"), "{}", ran.stderr);
    }
}
