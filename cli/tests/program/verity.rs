//! `pvr dm`: trees of hashes beside those of a real veritysetup, and what becomes of a work tree.

use std::fs;
use std::process::Command;

use crate::bench::Bench;

const RUN: &str = r##"{"#spec":"service-manifest-run@1","name":"web","type":"lxc","config":"lxc.container.conf","group":"app",
"root-volume":"root.squashfs","volumes":["more.squashfs","notes.data"]}"##;

/// Bytes that differ from block to block.
fn image(blocks: usize) -> Vec<u8> {
    (0..blocks).flat_map(|number| [number as u8, (number >> 8) as u8].repeat(2048)).collect()
}

/// A container with images of so many blocks.
fn container(blocks: usize) -> Bench {
    let bench = Bench::with_web();
    bench.write("web/run.json", RUN);
    bench.write("web/root.squashfs", image(blocks));
    bench.write("web/more.squashfs", image(3));
    bench.write("web/notes.data/x", "");
    bench
}

fn member(bench: &Bench, path: &str, name: &str) -> String {
    let value = formats::json::parse(bench.read(path).as_bytes(), formats::json::Limits::DOCUMENT).unwrap().to_json();
    value.get(name).unwrap().as_str().unwrap().to_owned()
}

#[test]
fn trees_are_those_of_veritysetup_byte_for_byte() {
    for blocks in [1, 2, 127, 128, 129, 16_384, 16_385] {
        let bench = container(blocks);
        bench.ok(&["dm", "convert", "web"]);
        let table = "web/_dm/root.squashfs.json";
        let (salt, uuid) = (member(&bench, table, "salt"), member(&bench, table, "uuid"));
        let theirs = bench.top().join("theirs");
        let ran = Command::new("veritysetup")
            .arg("format")
            .args([bench.path("web/root.squashfs"), theirs.clone()])
            .args(["--salt", &salt, "--uuid", &uuid])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
        let root = member(&bench, table, "root_hash");
        assert!(said.contains(&root), "{blocks} blocks: {root} is not in {said}");
        assert!(fs::read(theirs).unwrap() == bench.bytes("web/root.squashfs.hash"), "{blocks} blocks: another tree");
    }
}

#[test]
fn a_converted_container_names_what_is_checked_and_equal_images_have_equal_trees() {
    let bench = container(5);
    let ran = bench.ok(&["dm", "convert"]);
    assert!(
        ran.stdout.starts_with("web/root.squashfs ") && ran.stdout.contains("\nweb/more.squashfs "),
        "{}",
        ran.stdout
    );
    assert!(ran.stderr.contains("this version of Cairn is one of them"), "{}", ran.stderr);
    let run = bench.read("web/run.json");
    assert!(
        run.contains(r#""root-volume":"dm:root.squashfs""#) && run.contains(r#"["dm:more.squashfs","notes.data"]"#),
        "{run}"
    );
    let src = bench.read("web/src.json");
    assert!(src.contains("\"dm_enabled\"") && src.contains("\"more.squashfs\": true"), "{src}");
    let (table, tree) = (bench.read("web/_dm/root.squashfs.json"), bench.bytes("web/root.squashfs.hash"));
    bench.ok(&["add", "."]);
    bench.ok(&["commit"]);
    let again = container(5);
    again.ok(&["dm-convert", "web"]);
    assert_eq!((again.read("web/_dm/root.squashfs.json"), again.bytes("web/root.squashfs.hash")), (table, tree));
    assert_eq!(again.ok(&["dm", "ls"]).stdout.lines().count(), 2);
    again.ok(&["dmc"]);
    assert_eq!(again.read("web/run.json"), run, "it is converted already");
}

#[test]
fn what_does_not_belong_together_is_told_and_made_again() {
    let bench = container(200);
    bench.ok(&["dm", "convert"]);
    let salt = member(&bench, "web/_dm/root.squashfs.json", "salt");
    bench.ok(&["dm", "verify"]);
    bench.write("web/root.squashfs", image(201));
    let ran = bench.refused(&["dm", "verify"], &["1 of 2 volumes", "pvr dm apply"]);
    assert!(ran.stdout.contains("web/root.squashfs: the root of root.squashfs is "), "{}", ran.stdout);
    assert!(ran.stdout.contains("web/more.squashfs: fits"), "{}", ran.stdout);
    bench.ok(&["dm-apply", "web/_dm/root"]);
    bench.ok(&["dm", "verify", "web"]);
    assert_eq!(member(&bench, "web/_dm/root.squashfs.json", "salt"), salt, "the salt stays");
    let mut tree = bench.bytes("web/more.squashfs.hash");
    *tree.last_mut().unwrap() ^= 1;
    bench.write("web/more.squashfs.hash", tree);
    let ran = bench.refused(&["dm", "verify", "--json"], &["1 of 2"]);
    assert!(ran.stdout.contains("more.squashfs.hash has other hashes than the image"), "{}", ran.stdout);
}

#[test]
fn a_table_of_older_tools_has_its_salt_in_the_tree() {
    let bench = container(9);
    bench.ok(&["dm", "convert"]);
    let root = member(&bench, "web/_dm/root.squashfs.json", "root_hash");
    let old = format!(
        r#"{{"data_device":"root.squashfs","hash_device":"root.squashfs.hash","root_hash":"{root}","type":"dm-verity"}}"#
    );
    bench.write("web/_dm/root.squashfs.json", &old);
    bench.ok(&["dm", "verify"]);
    let tree = bench.bytes("web/root.squashfs.hash");
    bench.ok(&["dm", "apply"]);
    assert_eq!(bench.bytes("web/root.squashfs.hash"), tree);
    assert_eq!(member(&bench, "web/_dm/root.squashfs.json", "root_hash"), root);
}

#[test]
fn what_cannot_be_checked_is_refused_and_the_manifest_stays() {
    let bench = container(5);
    bench.write("web/root.squashfs", vec![1; 4097]);
    bench.refused(&["dm", "convert"], &["web/root.squashfs has 4097 bytes", "padding"]);
    assert_eq!(bench.read("web/run.json"), RUN);
    bench.refused(&["dm", "convert", "none"], &["there is no none/run.json"]);
    bench.refused(&["dm", "convert", "../x"], &["../x"]);
    bench.refused(&["dm", "verify", "web"], &["no table"]);
    bench.write("web/_dm/root.squashfs.json", r#"{"type":"dm-verity","data_device":"../../etc/passwd"}"#);
    bench.refused(&["dm", "apply"], &["web/_dm/root.squashfs.json: root_hash"]);
    let left = fs::read_dir(bench.path(".pvr")).unwrap().flatten();
    assert_eq!(left.filter(|entry| entry.file_name().to_str().unwrap().starts_with("new.")).count(), 0);
}
