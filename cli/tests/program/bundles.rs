//! Bundles: out of a repository, into another one, and what is no bundle.

use std::fs::{self, File};
use std::io::Read as _;

use formats::object::ObjectId;

use crate::bench::{Bench, RUN_JSON};

impl Bench {
    /// A bundle beside the repository, as the arguments say.
    fn exported(&self, args: &[&str], name: &str) -> String {
        let file = self.top().join(name).to_str().unwrap().to_owned();
        self.ok(&[&["export"], args, &[&file]].concat());
        file
    }
}

fn members(tar: impl std::io::Read) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(tar);
    let member = |entry: std::io::Result<tar::Entry<'_, _>>| {
        let mut entry = entry.unwrap();
        let header = entry.header();
        assert_eq!((header.mode().unwrap(), header.mtime().unwrap(), header.uid().unwrap()), (0o644, 0, 0));
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (name, bytes)
    };
    archive.entries().unwrap().map(member).collect()
}

#[test]
fn what_goes_out_comes_in_elsewhere_however_it_is_packed() {
    let bench = Bench::with_web();
    for name in ["a.tar", "a.tgz", "a.tar.gz", "a.tar.zst", "a"] {
        let file = bench.exported(&[], name);
        let other = Bench::new();
        let said = other.ok(&["import", &file]);
        assert!(
            said.stdout.contains("A web/run.json\n") && said.stderr.contains("2 objects fetched"),
            "{}",
            said.stderr
        );
        assert_eq!(other.read(".pvr/json"), bench.read(".pvr/json"));
        other.ok(&["reset"]);
        assert_eq!(other.bytes("web/root.squashfs"), b"not a real image");
        assert_eq!(other.ok(&["import", &file]).stderr, "nothing new\n");
        assert_eq!(bench.ok(&["inspect", "-c", &file]).stdout, bench.read(".pvr/json"));
    }
    let cloned =
        bench.command(&["clone", &bench.exported(&[], "device.tgz")]).current_dir(bench.top()).output().unwrap();
    assert!(cloned.status.success(), "{}", String::from_utf8_lossy(&cloned.stderr));
    assert_eq!(fs::read(bench.top().join("device/web/root.squashfs")).unwrap(), b"not a real image");
}

#[test]
fn equal_states_are_equal_files_that_others_read() {
    let bench = Bench::with_web();
    let [first, second] = ["a.tgz", "b.tgz"].map(|name| fs::read(bench.exported(&[], name)).unwrap());
    assert_eq!(first, second);
    let plain = members(flate2::read::GzDecoder::new(first.as_slice()));
    let names: Vec<&str> = plain.iter().map(|(name, _)| name.as_str()).collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!((names[0], names.len(), &names), ("json", 3, &sorted));
    assert_eq!(plain[0].1, bench.bytes(".pvr/json"));
    for (name, bytes) in &plain[1..] {
        assert_eq!(name, &format!("objects/{}", ObjectId::of(bytes)));
    }
    let piped = bench.command(&["export", "-"]).output().unwrap();
    assert_eq!(members(piped.stdout.as_slice()), plain);
}

#[test]
fn the_bytes_of_a_bundle_are_fixed() {
    let bench = Bench::with_golden("es256.json");
    let bytes = fs::read(bench.exported(&[], "golden.tar")).unwrap();
    assert_eq!(
        (bytes.len(), ObjectId::of(&bytes).to_string().as_str()),
        (20_992, "9b2106854c1922ea6761c6af538c9c65a8c6117c12386e216d8f76acc5dfd1e7")
    );
}

#[test]
fn parts_go_alone_and_what_belongs_to_them_is_named() {
    let bench = Bench::with_web();
    bench.write("db/run.json", RUN_JSON.replace("\"web\"", "\"db\""));
    bench.write("db/lxc.container.conf", "lxc.init.cmd = /bin/db\n");
    bench.ok(&["add"]);
    bench.ok(&["commit"]);
    let file = bench.top().join("web.tgz");
    let said = bench.ok(&["export", "-p", "web,-web/src.json", file.to_str().unwrap()]).stderr;
    assert!(said.contains("_sigs/web.json stays behind"), "{said}");
    let file = bench.exported(&["--parts", "web,_sigs/web.json"], "web.tgz");
    let names: Vec<_> = members(flate2::read::GzDecoder::new(File::open(&file).unwrap())).into_iter().collect();
    assert!(!String::from_utf8_lossy(&names[0].1).contains("db/run.json") && names.len() == 3);
    let other = Bench::new();
    other.write("own/run.json", RUN_JSON.replace("\"web\"", "\"own\""));
    other.write("own/lxc.container.conf", "lxc.init.cmd = /bin/own\n");
    other.ok(&["add"]);
    other.ok(&["commit"]);
    other.ok(&["import", &format!("{file}#web")]);
    let state = other.read(".pvr/json");
    assert!(state.contains("\"own/run.json\"") && state.contains("\"web/run.json\""), "{state}");
    assert!(!state.contains("_sigs/web.json"), "{state}");
    bench.refused(&["export", "-p", "none", "x.tgz"], &["no part \"none\""]);
    assert!(!bench.path("x.tgz").exists());
}

#[test]
fn what_was_committed_here_is_not_lost_to_a_file() {
    let bench = Bench::with_web();
    let file = bench.exported(&[], "a.tgz");
    let other = Bench::with_web();
    other.write("web/lxc.container.conf", "lxc.init.cmd = /bin/other\n");
    other.ok(&["commit"]);
    let books = other.books();
    other.refused(&["import", &file], &["web/lxc.container.conf", "would be lost", "--force"]);
    assert!(other.books() == books);
    other.ok(&["import", "--force", &file]);
    assert_eq!(other.read(".pvr/json"), bench.read(".pvr/json"));
}

/// Name and bytes of what is in a bundle.
type Member<'a> = (&'a str, &'a [u8]);

/// Writes a bundle with these members, as anybody could.
fn made(bench: &Bench, name: &str, members: &[Member<'_>]) -> String {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, bytes) in members {
        let mut header = tar::Header::new_ustar();
        // The name as it is: the library has its own opinion of `..`.
        let name = header.as_old_mut().name.iter_mut();
        name.zip(path.bytes()).for_each(|(place, byte)| *place = byte);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        header.set_cksum();
        builder.append(&header, *bytes).unwrap();
    }
    let file = bench.top().join(name);
    fs::write(&file, builder.into_inner().unwrap()).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn what_is_no_good_bundle_changes_nothing_and_is_said() {
    let bench = Bench::with_web();
    let books = bench.books();
    let id = ObjectId::of(b"right");
    let object = format!("objects/{id}");
    let state = format!(r##"{{"#spec":"pantavisor-service-system@1","x/file":"{id}"}}"##);
    let text = state.as_bytes();
    let cases: [(&str, &[Member<'_>], &[&str]); 8] = [
        ("wrong", &[("json", text), (&object, b"wrong")], &["other bytes than its name says", "x/file"]),
        ("missing", &[("json", text)], &["x/file", "neither in"]),
        ("outside", &[("json", text), ("../evil", b"x")], &["\"../evil\" cannot be in a bundle"]),
        ("absolute", &[("/json", text)], &["\"/json\" cannot be in a bundle"]),
        ("twice", &[("json", text), ("./json", b"{}")], &["./json is in it twice"]),
        ("none", &[("other", b"x")], &["no member `json`"]),
        ("key", &[("json", br##"{"#spec":"pantavisor-service-system@1","../x":"y"}"##)], &["the key \"../x\""]),
        ("spec", &[("json", br#"{"a":"b"}"#)], &["#spec"]),
    ];
    for (name, members, parts) in cases {
        let file = made(&bench, name, members);
        bench.refused(&["import", "--force", &file], parts);
    }
    let whole = fs::read(bench.exported(&[], "whole.tgz")).unwrap();
    for (name, bytes) in [("short.tgz", &whole[..whole.len() / 2]), ("text", b"not a tar at all"), ("empty", b"")] {
        let file = bench.top().join(name);
        fs::write(&file, bytes).unwrap();
        bench.refused(&["import", file.to_str().unwrap()], &[name]);
    }
    assert!(bench.books() == books);
    bench.refused(&["import", "."], &["is no file"]);
    bench.refused(&["post", bench.exported(&[], "a.tgz").as_str()], &["no revisions"]);
    bench.refused(&["put", bench.exported(&[], "a.tgz").as_str()], &["is a file", "pvr export"]);
}

#[test]
fn a_damaged_pool_is_found_before_a_file_is_there() {
    let bench = Bench::with_web();
    let id = ObjectId::of(b"not a real image");
    bench.write(&format!(".pvr/objects/{id}"), "changed");
    bench.refused(&["export", "a.tgz"], &["web/root.squashfs", "does not have the bytes"]);
    fs::remove_file(bench.path(&format!(".pvr/objects/{id}"))).unwrap();
    bench.refused(&["export", "a.tgz"], &["web/root.squashfs", "is not in the pool"]);
    assert!(!bench.path("a.tgz").exists());
}
