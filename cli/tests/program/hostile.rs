//! Images and objects that mean harm or are damaged: a named error, nothing half done, and a repository that works on.

use std::fs;
use std::io::Write as _;

use tar::EntryType;

use crate::bench::Bench;
use crate::images::{Image, Layer, Packed};

/// An image with one layer of these bytes.
fn refused(bench: &Bench, name: &str, layer: Vec<u8>, packed: Packed, more: &[&str], parts: &[&str]) {
    bench.layout(name, &[Image::new("{}").bytes(layer, packed)]);
    let from = format!("oci:../{name}");
    bench.nothing(1, &[], &[&["web", "--from", &from], more].concat(), parts);
    works_on(bench);
}

/// Whatever was refused, the next container can be made and committed.
fn works_on(bench: &Bench) {
    bench.layout("good", &[Image::small("{}")]);
    bench.app(&["add", "good", "--force", "--from", "oci:../good"]);
    bench.ok(&["add", "."]);
    bench.ok(&["commit", "-m", "good"]);
    assert_eq!(bench.ok(&["status"]).stdout, "");
}

#[test]
fn links_of_a_layer_lead_nowhere_but_into_the_image() {
    let bench = Bench::new();
    fs::write(bench.top().join("secret"), "of the host").unwrap();
    let up = "../../../../../../../../../..";
    let target = format!("{up}{}/secret", bench.top().display());
    // A link that leads out, and a file that is written through it.
    let through = Layer::new()
        .put(EntryType::Symlink, "out", 0o777, (0, 0), &format!("{up}{}", bench.top().display()))
        .put(EntryType::Symlink, "root", 0o777, (0, 0), "/")
        .file("bin/web", "#!/bin/sh\n")
        .file("root/written", "through a link to the root");
    bench.layout("through", &[Image::new("{}").layer(through, Packed::Gzip)]);
    bench.app(&["add", "web", "--from", "oci:../through"]);
    let list = bench.list("web");
    bench.app(&["rm", "web"]);
    assert!(list.contains("squashfs-root/written"), "it is in the image: {list}");
    assert!(!std::path::Path::new("/written").exists() && !bench.top().join("written").exists());
    // A hard link to a file of the host, by its name and by climbing.
    for (name, to) in [("climbs", target.as_str()), ("absolute", "/etc/passwd"), ("none", "etc/none")] {
        let layer = Layer::new().file("bin/web", "#!/bin/sh\n").put(EntryType::Link, "copy", 0o644, (0, 0), to);
        refused(&bench, name, layer.done(), Packed::Gzip, &[], &["layer 1", "copy"]);
    }
}

#[test]
fn a_bomb_goes_off_at_the_limit() {
    let bench = Bench::new();
    // 256 MB of zeros, a thousand times as small on the way.
    let layer = Layer::new().file("zeros", &"\0".repeat(256 << 20)).done();
    let limit = ["--max-bytes", "16000000"];
    for (name, packed) in [("gzip", Packed::Gzip), ("zstd", Packed::Zstd)] {
        refused(&bench, name, layer.clone(), packed, &limit, &["layer 1", "more than 16000000 bytes", "--max-bytes"]);
        let sent = fs::metadata(crate::images::Layout(bench.top().join(name)).layer()).unwrap().len();
        assert!(sent * 900 < layer.len() as u64, "{name}: {sent} bytes travel");
    }
}

#[test]
fn a_million_files_are_too_many() {
    let bench = Bench::new();
    // Written by hand: what differs is eight digits and the checksum over them.
    let mut tar = Vec::with_capacity(513 << 20);
    for number in 0..=1_000_000_u32 {
        let mut header = tar::Header::new_ustar();
        header.set_path(format!("{number:08}")).unwrap();
        header.set_mode(0o644);
        header.set_size(0);
        header.set_cksum();
        tar.write_all(header.as_bytes()).unwrap();
    }
    tar.write_all(&[0; 1024]).unwrap();
    refused(&bench, "many", tar, Packed::Zstd, &[], &["layer 1", "more than 1000000 entries"]);
}

#[test]
fn a_damaged_object_is_named_by_whoever_needs_it() {
    let bench = Bench::with_web();
    let id = sha(&bench, "web/root.squashfs");
    let object = bench.path(".pvr/objects").join(&id);
    let good = fs::read(&object).unwrap();
    let mut bad = good.clone();
    if let Some(byte) = bad.first_mut() {
        *byte ^= 1;
    }
    fs::write(&object, &bad).unwrap();
    let parts = ["web/root.squashfs", id.as_str(), "does not have the bytes that its name says", "hint: remove it"];
    bench.refused(&["deploy", "../trail"], &parts);
    bench.refused(&["export", "../all.tgz"], &parts);
    assert!(!bench.top().join("trail").exists() || fs::read_dir(bench.top().join("trail")).unwrap().count() == 0);
    fs::remove_file(bench.path("web/root.squashfs")).unwrap();
    bench.refused(&["reset"], &parts);
    assert!(!bench.path("web/root.squashfs").exists(), "nothing wrong was put in its place");
    // As the hint says.
    fs::remove_file(&object).unwrap();
    fs::write(bench.path("web/root.squashfs"), &good).unwrap();
    bench.ok(&["add", "."]);
    bench.run(&["commit", "-m", "again"]);
    assert_eq!(bench.ok(&["status"]).stdout, "");
    works_on(&bench);
}

/// The object that a path of the committed state names.
fn sha(bench: &Bench, path: &str) -> String {
    let state = bench.read(".pvr/json");
    let (_, rest) = state.split_once(&format!("\"{path}\":\"")).unwrap();
    rest.split('"').next().unwrap().to_owned()
}

impl Bench {
    /// The names in the root image of a container.
    fn list(&self, name: &str) -> String {
        let image = self.path(name).join("root.squashfs");
        let output = std::process::Command::new("unsquashfs").args(["-d", "squashfs-root", "-l"]).arg(image).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    }
}
