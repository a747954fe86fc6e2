//! Trees and their differences, laid over each other as the kernel does it, by the rules and not by this code.

use std::fs::File;
use std::io::{Read as _, Write as _};

use proptest::prelude::*;

use super::*;
use crate::image::Limits;
use crate::image::digest::Digest;
use crate::image::flatten::flatten;
use crate::image::manifest::Config;

/// One entry of a layer.
#[derive(Clone, Debug)]
enum Op {
    Directory(String, u32),
    File(String, u8, u32),
    Link(String, String),
    Hard(String, String),
    Pipe(String),
    Whiteout(String),
    Opaque(String),
}

/// Names that meet each other often.
fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4).prop_map(|parts| parts.join("/"))
}

fn op() -> impl Strategy<Value = Op> {
    let mode = prop::sample::select(vec![0o644, 0o755, 0o4755]);
    prop_oneof![
        3 => (path(), mode.clone()).prop_map(|(path, mode)| Op::Directory(path, mode)),
        4 => (path(), 0..3_u8, mode).prop_map(|(path, text, mode)| Op::File(path, text, mode)),
        1 => (path(), path()).prop_map(|(path, to)| Op::Link(path, to)),
        2 => (path(), path()).prop_map(|(path, to)| Op::Hard(path, to)),
        1 => path().prop_map(Op::Pipe),
        3 => path().prop_map(Op::Whiteout),
        1 => path().prop_map(Op::Opaque),
    ]
}

fn layer(ops: &[Op]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for op in ops {
        let mut header = tar::Header::new_gnu();
        header.set_mtime(1);
        header.set_size(0);
        header.set_mode(0o644);
        let marked = |path: &str, mark: &str| match path.rsplit_once('/') {
            Some((parent, name)) => format!("{parent}/{mark}{name}"),
            None => format!("{mark}{path}"),
        };
        match op {
            Op::Directory(path, mode) => {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(*mode);
                builder.append_data(&mut header, path, &b""[..]).unwrap();
            }
            Op::File(path, text, mode) => {
                let text = vec![*text; 5];
                header.set_size(5);
                header.set_mode(*mode);
                builder.append_data(&mut header, path, text.as_slice()).unwrap();
            }
            Op::Link(path, to) => {
                header.set_entry_type(tar::EntryType::Symlink);
                builder.append_link(&mut header, path, to).unwrap();
            }
            Op::Hard(path, to) => {
                header.set_entry_type(tar::EntryType::Link);
                builder.append_link(&mut header, path, to).unwrap();
            }
            Op::Pipe(path) => {
                header.set_entry_type(tar::EntryType::Fifo);
                builder.append_data(&mut header, path, &b""[..]).unwrap();
            }
            Op::Whiteout(path) => builder.append_data(&mut header, marked(path, ".wh."), &b""[..]).unwrap(),
            Op::Opaque(path) => {
                builder.append_data(&mut header, format!("{path}/.wh..wh..opq"), &b""[..]).unwrap();
            }
        }
    }
    builder.into_inner().unwrap()
}

/// An image of these layers, unless they are none: a link to nothing, a file where a directory has to be.
fn image(layers: &[&[Op]]) -> Option<Image> {
    let files: Vec<File> = layers
        .iter()
        .map(|ops| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&layer(ops)).unwrap();
            file
        })
        .collect();
    let tree = flatten(&files, Limits::DEFAULT).ok()?;
    Some(Image::of(Digest::of(b""), Config::none(), tree, files))
}

/// All there is to see of a name. The last is what its other names are.
type Seen = (Attributes, String, BTreeSet<Vec<u8>>);

fn shown(image: &Image) -> BTreeMap<Vec<u8>, Seen> {
    let groups = names(&image.tree).unwrap();
    let mut all = BTreeMap::new();
    image
        .tree
        .walk(|path, id, _| {
            let inode = image.tree.inode(id);
            let what = match &inode.node {
                Node::Directory(_) => "directory".to_owned(),
                Node::File(it) => {
                    let mut bytes = Vec::new();
                    image.contents(*it).unwrap().read_to_end(&mut bytes).unwrap();
                    format!("{bytes:?}")
                }
                node => format!("{node:?}"),
            };
            all.insert(path.to_vec(), (inode.attributes.clone(), what, groups.get(&id).cloned().unwrap_or_default()));
            Ok::<_, PathTooLong>(())
        })
        .unwrap();
    all
}

/// What an overlay shows: <https://docs.kernel.org/filesystems/overlayfs.html>, on names and nothing else.
fn overlaid(base: &Image, over: &Image) -> BTreeMap<Vec<u8>, Seen> {
    let (lower, upper) = (shown(base), shown(over));
    let parents = |path: &[u8]| -> Vec<Vec<u8>> {
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        slashes.map(|(at, _)| path[..at].to_vec()).chain([path.to_vec()]).collect()
    };
    let mut all = BTreeMap::new();
    for (path, seen) in lower {
        let hidden = parents(&path).iter().any(|at| match upper.get(at) {
            None => false,
            Some((attributes, what, _)) => {
                let is_above = *at != path;
                let is_merged = what == "directory" && !(is_above && attributes.xattrs.contains_key(OPAQUE));
                !(is_merged && (is_above || seen.1 == "directory"))
            }
        });
        if !hidden {
            all.insert(path, seen);
        }
    }
    for (path, mut seen) in upper {
        if seen.1 == format!("{WHITEOUT:?}") {
            continue;
        }
        seen.0.xattrs.remove(OPAQUE);
        all.insert(path, seen);
    }
    // A name of a layer that another layer hides is no name any more.
    let there: BTreeSet<_> = all.keys().cloned().collect();
    for (_, _, group) in all.values_mut() {
        group.retain(|name| there.contains(name));
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_base_under_its_difference_is_the_new_one(
        below in prop::collection::vec(op(), 0..24),
        above in prop::collection::vec(op(), 0..12),
    ) {
        let (Some(base), Some(new)) = (image(&[&below]), image(&[&below, &above])) else { return Ok(()) };
        let over = difference(&base, &new).unwrap();
        prop_assert_eq!(overlaid(&base, &over), shown(&new));
    }

    #[test]
    fn strangers_differ_too(
        one in prop::collection::vec(op(), 0..16),
        other in prop::collection::vec(op(), 0..16),
    ) {
        let (Some(base), Some(new)) = (image(&[&one]), image(&[&other])) else { return Ok(()) };
        prop_assert_eq!(overlaid(&base, &difference(&base, &new).unwrap()), shown(&new));
        prop_assert!(shown(&difference(&new, &new).unwrap()).is_empty());
    }
}

fn file(path: &str, text: u8) -> Op {
    Op::File(path.into(), text, 0o644)
}

fn paths(below: &[Op], above: &[Op]) -> Vec<String> {
    let (base, new) = (image(&[below]).unwrap(), image(&[below, above]).unwrap());
    let over = shown(&difference(&base, &new).unwrap());
    let mark = |(attributes, what, _): &Seen| match what.as_str() {
        "directory" if attributes.xattrs.contains_key(OPAQUE) => "/ opaque",
        "directory" => "/",
        what if what == format!("{WHITEOUT:?}") => " gone",
        _ => "",
    };
    over.iter().map(|(path, seen)| format!("{}{}", String::from_utf8_lossy(path), mark(seen))).collect()
}

#[test]
fn only_what_differs_is_there() {
    let below = [file("a/1", 1), file("a/2", 1), file("b/3", 1), file("c", 1)];
    assert_eq!(paths(&below, &[file("a/1", 2)]), ["a/", "a/1"]);
    assert_eq!(paths(&below, &[Op::Whiteout("a/1".into())]), ["a/", "a/1 gone"]);
    assert_eq!(paths(&below, &[Op::Whiteout("b".into())]), ["b gone"]);
    assert_eq!(paths(&below, &[Op::Directory("b".into(), 0o700)]), ["b/"]);
    assert_eq!(paths(&below, &[]), Vec::<String>::new());
    // The same bytes with the same attributes, written again.
    assert_eq!(paths(&below, &[file("c", 1)]), Vec::<String>::new());
}

#[test]
fn a_directory_of_which_nothing_is_left_is_opaque() {
    let below = [file("a/1", 1), file("a/2", 1)];
    let above = [Op::Opaque("a".into()), file("a/3", 1)];
    assert_eq!(paths(&below, &above), ["a/ opaque", "a/3"]);
    // What is replaced name by name needs no mark.
    assert_eq!(paths(&below, &[file("a/1", 2), file("a/2", 2)]), ["a/", "a/1", "a/2"]);
    let above = [file("a/3", 1), Op::Whiteout("a/1".into())];
    assert_eq!(paths(&below, &above), ["a/", "a/1 gone", "a/3"]);
}

#[test]
fn a_file_with_several_names_is_brought_with_all_of_them() {
    let below = [file("a/1", 1), Op::Hard("a/2".into(), "a/1".into()), file("x", 1)];
    let above = [Op::Hard("b".into(), "a/1".into())];
    assert_eq!(paths(&below, &above), ["a/", "a/1", "a/2", "b"]);
}

#[test]
fn what_an_overlay_cannot_show_is_refused() {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Char);
    header.set_size(0);
    header.set_device_major(0).unwrap();
    header.set_device_minor(0).unwrap();
    builder.append_data(&mut header, "dev/zero-zero", &b""[..]).unwrap();
    let mut archive = tempfile::tempfile().unwrap();
    archive.write_all(&builder.into_inner().unwrap()).unwrap();
    let tree = flatten([&archive], Limits::DEFAULT).unwrap();
    let new = Image::of(Digest::of(b""), Config::none(), tree, vec![archive]);
    let error = difference(&image(&[]).unwrap(), &new).unwrap_err();
    assert!(error.message.contains("dev/zero-zero") && error.hint.is_some(), "{error}");
}
