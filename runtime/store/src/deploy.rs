//! A trail that is written by a tool, in any directory: for images of disks, and for devices that are not running.
//!
//! ```text
//!   .DIR.new   built and synced          cut: swept by the next call
//!      │ exchange of the two names       DIR is the old one or the new one, never neither
//!   DIR.bak    the old one, removed      cut: swept by the next call
//! ```
//!
//! Where a file system cannot exchange names, the old one becomes `DIR.bak` before the new one becomes `DIR`; a power cut
//! between the two leaves no DIR, and [`recover`] puts the old one back. Other than a trail of PID 1 it has every key of
//! its state, signatures among them: whoever made the state finds all of it again.

use std::collections::BTreeSet;

use formats::json::Json;
use formats::state::{Class, Revision};
use rustix::fs::RenameFlags;
use rustix::io::Errno;
use statemachine::ids::RevisionId;

use crate::dir::{Dir, DirError, failure};
use crate::objects::Objects;
use crate::trails::{Content, File, TrailError, files, sync};
use crate::tree;

/// Writes the trail of a state into `leaf` of `parent`, in place of what is there. Every object is read and compared with
/// its name first.
///
/// # Errors
/// [`TrailError`] names the file; `leaf` is then what it was.
pub fn deploy(revision: &Revision, objects: &Objects, parent: &Dir, leaf: &str) -> Result<(), Box<TrailError>> {
    recover(parent, leaf)?;
    let done = attempt(revision, objects, parent, leaf, true, || {});
    if done.is_err() {
        // The first failure is the one to report; what is left is swept by the next call.
        let _ = recover(parent, leaf);
    }
    done
}

/// Brings a directory into order after a call that was cut short: the old trail or the new one is there, whole, and
/// nothing else is.
///
/// # Errors
/// The storage.
pub fn recover(parent: &Dir, leaf: &str) -> Result<(), DirError> {
    let (draft, backup) = (draft(leaf), backup(leaf));
    if parent.stat(leaf)?.is_none() && parent.stat(&backup)?.is_some() {
        parent.rename(&backup, leaf)?;
        parent.sync()?;
    }
    for left in [&backup, &draft] {
        if parent.stat(left)?.is_some() {
            tree::remove(parent, left)?;
        }
    }
    Ok(())
}

fn draft(leaf: &str) -> String {
    format!(".{leaf}.new")
}

fn backup(leaf: &str) -> String {
    format!("{leaf}.bak")
}

/// Does it; `exchanges`: by an exchange of names, where that can be done. `step` is called before each change that a later reader could find; a test ends the work there, as a power cut
/// would.
fn attempt(
    revision: &Revision,
    objects: &Objects,
    parent: &Dir,
    leaf: &str,
    exchanges: bool,
    step: impl Fn(),
) -> Result<(), Box<TrailError>> {
    // A link would be swapped for what it leads to.
    drop(parent.sub_if_any(leaf)?);
    let draft = draft(leaf);
    build(revision, objects, parent, leaf, &draft, &step)?;
    Ok(publish(parent, leaf, &draft, exchanges, &step)?)
}

/// Writes the new trail beside its place.
fn build(
    revision: &Revision,
    objects: &Objects,
    parent: &Dir,
    leaf: &str,
    draft: &str,
    step: &impl Fn(),
) -> Result<(), Box<TrailError>> {
    let id = name(leaf);
    let files = every_file(revision, &id)?;
    let mut read = BTreeSet::new();
    for file in &files {
        if let Content::Link(object) = file.content
            && read.insert(object)
        {
            objects.verify(object).map_err(file.object_error(&id))?;
        }
    }
    step();
    let trail = parent.make(draft)?;
    for file in &files {
        step();
        file.write(&trail, &id, objects)?;
    }
    step();
    let config = Json::object().with("ObjectsDir", objects.path()).compact();
    trail.make(".pvr")?.write_new("config", config.as_bytes())?;
    trail.make(".pv")?;
    step();
    trail.write_new(".pvr/json", revision.text().as_bytes())?;
    step();
    sync(&trail, files.iter().map(|file| file.path.as_str()).chain([".pvr/json", ".pv/x"]))?;
    Ok(())
}

/// Puts it in its place.
fn publish(parent: &Dir, leaf: &str, draft: &str, exchanges: bool, step: &impl Fn()) -> Result<(), DirError> {
    let backup = backup(leaf);
    let is_there = parent.stat(leaf)?.is_some();
    step();
    if is_there && exchanges && exchange(parent, draft, leaf)? {
        step();
        parent.rename(draft, &backup)?;
    } else {
        if is_there {
            parent.rename(leaf, &backup)?;
        }
        step();
        parent.rename(draft, leaf)?;
    }
    step();
    parent.sync()?;
    step();
    recover(parent, leaf)
}

/// Exchanges two names; `false`: that cannot be done here.
fn exchange(parent: &Dir, one: &str, other: &str) -> Result<bool, DirError> {
    match rustix::fs::renameat_with(parent, one, parent, other, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(true),
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => Ok(false),
        Err(errno) => Err(failure("exchange", parent.name(other), errno)),
    }
}

/// What a trail in this directory is called in messages.
fn name(leaf: &str) -> RevisionId {
    let local = || RevisionId::parse(&format!("locals/{leaf}"));
    RevisionId::parse(leaf).or_else(|_| local()).unwrap_or_else(|_| RevisionId::factory())
}

/// The files of a trail of PID 1, and those that only tools read.
fn every_file<'r>(revision: &'r Revision, id: &RevisionId) -> Result<Vec<File<'r>>, Box<TrailError>> {
    let mut all = files(revision, id)?;
    all.extend(revision.entries().filter(|entry| entry.class == Class::Ignored).map(|entry| {
        let content = entry.object_id().map_or(Content::Text(entry.raw), Content::Link);
        File { path: entry.key.to_owned(), content }
    }));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeMap;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
    use std::path::Path;

    use formats::object::ObjectId;

    use super::*;
    use crate::testing::{Scratch, revision};

    /// Does it until power goes, before this step. `false`: it came to its end.
    fn is_cut(cut: u32, attempt: impl FnOnce(&dyn Fn()) -> Result<(), Box<TrailError>>) -> bool {
        let count = Cell::new(0);
        let step = || {
            count.set(count.get() + 1);
            if count.get() > cut {
                // Without a word on the error output of the test.
                resume_unwind(Box::new("power has gone"));
            }
        };
        match catch_unwind(AssertUnwindSafe(|| attempt(&step))) {
            Ok(done) => done.map(|()| false).unwrap(),
            Err(_) => true,
        }
    }

    fn device(scratch: &Scratch, root: &[u8]) -> formats::verify::Verified<Revision> {
        let [kernel, initrd, source] = [&b"kernel"[..], b"initrd", b"source"].map(|bytes| scratch.put(bytes));
        let root = scratch.put(root);
        revision(&format!(
            r##""bsp/run.json":{{"linux":"kernel.img","initrd":"pantavisor"}},"bsp/kernel.img":"{kernel}",
            "bsp/pantavisor":"{initrd}","web/run.json":{{ "name" : "web" }},"web/root.squashfs":"{root}",
            "web/src.json":{{"a":1}},"bsp/build.json":"{source}","_sigs/web.json":{{"#spec":"pvs@2"}}"##
        ))
    }

    /// Every file below a directory, with its bytes.
    fn tree(path: &Path) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut left = vec![path.to_owned()];
        while let Some(dir) = left.pop() {
            for entry in std::fs::read_dir(&dir).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_dir() {
                    left.push(entry.path());
                } else {
                    let name = entry.path().strip_prefix(path).unwrap().to_string_lossy().into_owned();
                    found.insert(name, std::fs::read(entry.path()).unwrap());
                }
            }
        }
        found
    }

    fn place(scratch: &Scratch) -> Dir {
        scratch.dir().make("trails").unwrap()
    }

    #[test]
    fn a_deployed_trail_has_every_key_and_what_boot_scripts_look_for() {
        let scratch = Scratch::new();
        let revision = device(&scratch, b"root");
        deploy(&revision, &scratch.objects(), &place(&scratch), "0").unwrap();
        let at = |rel: &str| scratch.text(&format!("trails/0/{rel}"));
        assert_eq!(at(".pvr/json"), revision.text());
        assert_eq!(at(".pvr/config"), format!(r#"{{"ObjectsDir":"{}/objects"}}"#, scratch.path().display()));
        assert_eq!((at(".pv/pv-kernel.img"), at(".pv/pv-initrd.img")), ("kernel".into(), "initrd".into()));
        assert_eq!((at("web/run.json"), at("web/src.json")), (r#"{ "name" : "web" }"#.into(), r#"{"a":1}"#.into()));
        assert_eq!((at("bsp/build.json"), at("_sigs/web.json")), ("source".into(), r##"{"#spec":"pvs@2"}"##.into()));
        let inode = |rel: &str| std::os::unix::fs::MetadataExt::ino(&scratch.path().join(rel).metadata().unwrap());
        let object = format!("objects/{}", ObjectId::of(b"root"));
        assert_eq!(inode("trails/0/web/root.squashfs"), inode(&object));
        assert_eq!(scratch.names("trails"), ["0"]);
    }

    #[test]
    fn power_that_goes_before_any_step_leaves_the_old_trail_or_the_new_one_and_the_next_call_cleans_up() {
        for exchanges in [true, false] {
            let scratch = Scratch::new();
            let (old, new) = (device(&scratch, b"old"), device(&scratch, b"new"));
            let (objects, parent) = (scratch.objects(), place(&scratch));
            deploy(&old, &objects, &parent, "0").unwrap();
            let was = tree(&scratch.path().join("trails/0"));
            deploy(&new, &objects, &parent, "new").unwrap();
            let will = tree(&scratch.path().join("trails/new"));
            assert_ne!(was, will);
            let (mut cut, mut seen) = (0, [0, 0, 0]);
            loop {
                deploy(&old, &objects, &parent, "0").unwrap();
                let is_cut = is_cut(cut, |step| attempt(&new, &objects, &parent, "0", exchanges, step));
                let there = scratch.has("trails/0").then(|| tree(&scratch.path().join("trails/0")));
                match &there {
                    // Only where names cannot be exchanged, and then the old one is whole beside it.
                    None => assert_eq!((exchanges, tree(&scratch.path().join("trails/0.bak"))), (false, was.clone())),
                    Some(there) => assert!(*there == was || *there == will, "cut {cut}"),
                }
                recover(&parent, "0").unwrap();
                let after = tree(&scratch.path().join("trails/0"));
                assert!(after == was || after == will, "cut {cut}");
                assert!(there.is_none_or(|there| there == after), "what was there whole is not changed by cleaning up");
                assert_eq!(scratch.names("trails"), ["0", "new"]);
                let kind = if is_cut { usize::from(after == will) } else { 2 };
                seen[kind] += 1;
                if !is_cut {
                    assert_eq!(after, will);
                    break;
                }
                cut += 1;
            }
            assert!(seen[0] > 10 && seen[1] > 0 && seen[2] == 1, "{exchanges}: {seen:?}");
        }
    }

    #[test]
    fn a_first_deployment_that_is_cut_leaves_nothing_or_all_of_it() {
        let scratch = Scratch::new();
        let (revision, parent) = (device(&scratch, b"root"), place(&scratch));
        for cut in 0.. {
            let is_cut = is_cut(cut, |step| attempt(&revision, &scratch.objects(), &parent, "0", true, step));
            recover(&parent, "0").unwrap();
            if scratch.has("trails/0") {
                assert_eq!(scratch.text("trails/0/.pvr/json"), revision.text());
                tree::remove(&parent, "0").unwrap();
            } else {
                assert!(is_cut && scratch.names("trails").is_empty());
            }
            if !is_cut {
                assert!(cut > 10);
                break;
            }
        }
    }

    #[test]
    fn an_object_that_is_missing_or_damaged_leaves_the_old_trail() {
        let scratch = Scratch::new();
        let (objects, parent) = (scratch.objects(), place(&scratch));
        deploy(&device(&scratch, b"old"), &objects, &parent, "0").unwrap();
        let was = tree(&scratch.path().join("trails/0"));
        let new = device(&scratch, b"new");
        let object = scratch.path().join(format!("objects/{}", ObjectId::of(b"new")));
        std::fs::remove_file(&object).unwrap();
        let error = deploy(&new, &objects, &parent, "0").unwrap_err().to_string();
        assert!(error.contains("web/root.squashfs"), "{error}");
        std::fs::write(&object, "other").unwrap();
        let error = deploy(&new, &objects, &parent, "0").unwrap_err().to_string();
        assert!(error.contains("damaged"), "{error}");
        assert_eq!((tree(&scratch.path().join("trails/0")), scratch.names("trails")), (was, vec!["0".into()]));
    }

    #[test]
    fn a_link_or_a_file_in_place_of_the_trail_is_left_alone() {
        let scratch = Scratch::new();
        let (revision, parent) = (device(&scratch, b"root"), place(&scratch));
        std::fs::create_dir(scratch.path().join("else")).unwrap();
        std::os::unix::fs::symlink("../else", scratch.path().join("trails/0")).unwrap();
        std::fs::write(scratch.path().join("trails/1"), "x").unwrap();
        for leaf in ["0", "1"] {
            assert!(deploy(&revision, &scratch.objects(), &parent, leaf).is_err(), "{leaf}");
        }
        assert_eq!((scratch.names("trails"), scratch.names("else")), (vec!["0".into(), "1".into()], vec![]));
    }
}
