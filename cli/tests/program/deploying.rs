//! What a trail holds, file by file.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::bench::{Bench, golden, noted};
use formats::state::{Class, Revision};

/// Path, mode and inode of every file below a directory.
fn files(root: &Path) -> BTreeMap<String, (u32, u64)> {
    let mut all = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            if metadata.is_dir() {
                open.push(path);
            } else {
                let relative = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                all.insert(relative, (metadata.mode() & 0o777, metadata.ino()));
            }
        }
    }
    all
}

#[test]
fn a_trail_holds_the_state_its_files_and_what_a_bootloader_reads() {
    let bench = Bench::with_golden("es256.json");
    bench.ok(&["deploy", "../storage/trails/0"]);
    let (trail, pool) = (bench.top().join("storage/trails/0"), bench.top().join("storage/objects"));
    let mut found = files(&trail);
    let text = fs::read(golden("es256.json")).unwrap();
    assert_eq!(fs::read(trail.join(".pvr/json")).unwrap(), text);
    let config = fs::read_to_string(trail.join(".pvr/config")).unwrap();
    assert!(config.contains("\t\"ObjectsDir\": \"/storage/objects\""), "{config}");
    assert_eq!((found.remove(".pvr/json").is_some(), found.remove(".pvr/config").is_some()), (true, true));
    for (link, file) in [("pv-kernel.img", "kernel.img"), ("pv-initrd.img", "pantavisor")] {
        let inode = found.remove(&format!(".pv/{link}")).unwrap().1;
        assert_eq!(inode, found.get(&format!("bsp/{file}")).unwrap().1);
    }
    let revision = Revision::parse(&text).unwrap();
    for entry in revision.entries().filter(|entry| entry.class != Class::Spec) {
        let (mode, inode) = found.remove(entry.key).unwrap_or_else(|| unreachable!("{}", entry.key));
        match entry.object_id() {
            Some(id) => {
                let object = fs::metadata(pool.join(id.to_string())).unwrap();
                assert_eq!((mode, inode), (0o444, object.ino()), "{}", entry.key);
            }
            None => assert_eq!(fs::read_to_string(trail.join(entry.key)).unwrap(), entry.raw),
        }
    }
    assert_eq!(found, BTreeMap::new(), "and nothing else");
    let beside: Vec<_> = fs::read_dir(bench.top().join("storage/trails")).unwrap().collect();
    assert_eq!(beside.len(), 1);
}

#[test]
fn a_trail_is_a_repository() {
    let bench = Bench::with_golden("es256.json");
    bench.ok(&["deploy", "../trail"]);
    let status = bench.command(&["status"]).current_dir(bench.top().join("trail")).output().unwrap();
    assert_eq!((status.status.code(), status.stdout.as_slice()), (Some(0), &b""[..]));
    assert!(bench.top().join("trail/.pvr/objects").is_dir());
}

#[test]
fn a_trail_replaces_a_trail_and_nothing_else() {
    let bench = Bench::with_web();
    let said = bench.ok(&["deploy", "../trail"]).stderr;
    assert!(said.contains("warning: the state has no bsp/run.json"), "{said}");
    bench.refused(&["deploy", "../trail"], &["is not empty", "--force"]);
    bench.write("web/root.squashfs", "2");
    bench.ok(&["commit"]);
    bench.ok(&["deploy", "--force", "../trail"]);
    assert_eq!(fs::read_to_string(bench.top().join("trail/web/root.squashfs")).unwrap(), "2");
    fs::create_dir(bench.top().join("precious")).unwrap();
    fs::write(bench.top().join("precious/x"), "1").unwrap();
    bench.refused(&["deploy", "--force", "../precious"], &["is not empty"]);
    assert_eq!(fs::read_dir(bench.top()).unwrap().count(), 4, "repo, .config, trail, precious");
}

#[test]
fn what_cannot_be_deployed_leaves_nothing_behind() {
    let bench = Bench::with_golden("es256.json");
    let id = formats::object::ObjectId::of(b"not a real kernel\n");
    fs::write(bench.path(&format!(".pvr/objects/{id}")), "another kernel").unwrap();
    bench.refused(&["deploy", "../trail"], &["bsp/kernel.img: the object", "does not have the bytes"]);
    fs::remove_file(bench.path(&format!(".pvr/objects/{id}"))).unwrap();
    bench.refused(&["deploy", "../trail"], &["bsp/kernel.img: its object", "is not in the pool"]);
    assert_eq!(fs::read_dir(bench.top()).unwrap().count(), 1, "only the repository");
}

#[test]
fn what_a_killed_deploy_left_is_swept_and_what_is_being_built_is_not() {
    let bench = Bench::with_web();
    for left in [".trail.new.1", ".trail.new.2", ".other.new.3"] {
        fs::create_dir(bench.top().join(left)).unwrap();
        fs::write(bench.top().join(left).join("half"), "").unwrap();
    }
    let alive = fs::File::open(bench.top().join(".trail.new.2")).unwrap();
    rustix::fs::flock(&alive, rustix::fs::FlockOperation::LockExclusive).unwrap();
    bench.ok(&["deploy", "../trail"]);
    let left = [".trail.new.1", ".trail.new.2", ".other.new.3"].map(|left| bench.top().join(left).exists());
    assert_eq!(left, [false, true, true]);
}

#[test]
fn a_trail_is_made_of_bundles_too_and_a_bad_one_leaves_nothing() {
    let bench = Bench::with_golden("es256.json");
    bench.ok(&["export", "../whole.tgz"]);
    bench.ok(&["export", "-p", "web", "../web.tgz"]);
    let beside = |args: &[&str]| -> crate::bench::Ran {
        let scratch = bench.top().join("elsewhere");
        fs::create_dir_all(&scratch).unwrap();
        noted(args, bench.command(args).current_dir(scratch).output().unwrap().into())
    };
    let text = fs::read(golden("es256.json")).unwrap();
    for (name, sources) in [("0", &["../whole.tgz"][..]), ("1", &["../whole.tgz", "../web.tgz#web"])] {
        let trail = format!("../storage/trails/{name}");
        let ran = beside(&[&["deploy", trail.as_str()], sources].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert_eq!(fs::read(bench.top().join(format!("storage/trails/{name}/.pvr/json"))).unwrap(), text);
    }
    let ran = beside(&["deploy", "../storage/trails/2", "../whole.tgz", "../whole.tgz#none"]);
    assert!(ran.code == 1 && ran.stderr.contains("has a part \"none\""), "{}", ran.stderr);
    let left: Vec<_> = fs::read_dir(bench.top().join("storage/trails")).unwrap().collect();
    assert_eq!(left.len(), 2, "{left:?}");
    let ran = beside(&["deploy", "-n", "../storage/trails/3"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
}
