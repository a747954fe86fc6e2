//! Layers written by another crate, laid over each other, and what is there then, name by name.

use std::io::Cursor;

use super::*;
use crate::image::tree::PathTooLong;

/// A layer that is being written.
struct Layer(tar::Builder<Vec<u8>>);

impl Layer {
    fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    fn entry(mut self, path: &str, kind: tar::EntryType, link: &str, contents: &[u8]) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(contents.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(5);
        // Names as they are, also those that the other crate would not write.
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        self.0.append(&header, contents).unwrap();
        self
    }

    fn file(self, path: &str, contents: &str) -> Self {
        self.entry(path, tar::EntryType::Regular, "", contents.as_bytes())
    }

    fn dir(self, path: &str) -> Self {
        self.entry(path, tar::EntryType::Directory, "", b"")
    }

    fn link(self, path: &str, to: &str) -> Self {
        self.entry(path, tar::EntryType::Symlink, to, b"")
    }

    fn hard(self, path: &str, to: &str) -> Self {
        self.entry(path, tar::EntryType::Link, to, b"")
    }

    fn done(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

fn tree(layers: Vec<Layer>) -> Result<(Tree, Vec<Vec<u8>>), FlattenError> {
    let layers: Vec<_> = layers.into_iter().map(Layer::done).collect();
    Ok((flatten(layers.iter().map(Cursor::new), Limits::DEFAULT)?, layers))
}

/// Every name with what it is: `a/` a directory, `a=text` a file, `a->to` a link, `a==b` another name of b.
fn shown(layers: Vec<Layer>) -> Vec<String> {
    let (tree, layers) = tree(layers).unwrap();
    let mut names = Vec::new();
    tree.walk(|path, id, earlier| {
        let path = String::from_utf8(path.to_vec()).unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        names.push(match (earlier, &tree.inode(id).node) {
            (Some(earlier), _) => format!("{path}=={}", text(earlier)),
            (None, Node::Directory(_)) => format!("{path}/"),
            (None, Node::File(it)) => {
                format!("{path}={}", text(&layers[it.layer][it.offset as usize..][..it.len as usize]))
            }
            (None, Node::Symlink(to)) => format!("{path}->{}", text(to)),
            (None, _) => format!("{path}?"),
        });
        Ok::<_, PathTooLong>(())
    })
    .unwrap();
    names
}

fn wrong(layers: Vec<Layer>) -> (usize, String, Wrong) {
    let error = tree(layers).unwrap_err();
    (error.layer.unwrap(), String::from_utf8(error.entry.unwrap_or_default()).unwrap(), error.wrong)
}

#[test]
fn a_whiteout_takes_away_what_lies_below_and_not_what_its_own_layer_brings() {
    let below = Layer::new().file("d/a", "1").file("d/b", "1").file("e/x/y", "1").file("f", "1");
    let above =
        Layer::new().file("d/a", "2").file("d/.wh.a", "").file(".wh.e", "").file(".wh.none", "").file("d/.wh.b", "");
    assert_eq!(shown(vec![below, above]), ["d/", "d/a=2", "f=1"]);
}

#[test]
fn an_opaque_directory_forgets_what_lies_below_wherever_the_mark_stands() {
    let below = || Layer::new().file("d/a", "1").file("d/s/b", "1");
    let first = Layer::new().file("d/.wh..wh..opq", "").file("d/c", "2");
    let last = Layer::new().file("d/c", "2").file("d/.wh..wh..opq", "");
    assert_eq!(shown(vec![below(), first]), ["d/", "d/c=2"]);
    assert_eq!(shown(vec![below(), last]), ["d/", "d/c=2"]);
}

#[test]
fn books_of_a_storage_driver_are_no_files_and_take_nothing_away() {
    let below = Layer::new().file("wh.plnk", "1");
    let above = Layer::new().dir(".wh..wh.plnk").file(".wh..wh.plnk/1.2", "x").file(".wh..wh.aufs", "x");
    assert_eq!(shown(vec![below, above]), ["wh.plnk=1"]);
}

#[test]
fn a_later_entry_replaces_and_a_directory_keeps_what_is_in_it() {
    let below = Layer::new().file("d/a", "1").file("f/x", "1").file("g", "1").link("l", "d");
    let above = Layer::new().dir("d").file("f", "2").dir("g").file("l", "2");
    assert_eq!(shown(vec![below, above]), ["d/", "d/a=1", "f=2", "g/", "l=2"]);
    let (tree, _) = tree(vec![Layer::new().file("d/a", "1"), Layer::new().dir("d")]).unwrap();
    let directory = tree.find(b"d").unwrap();
    assert_eq!((tree.inode(directory).attributes.mode, tree.inode(directory).attributes.mtime), (0o644, 5));
}

#[test]
fn hard_links_also_name_files_of_lower_layers_and_survive_their_first_name() {
    let below = Layer::new().file("a", "1").link("s", "nowhere").link("d", "e").file("e/f", "2");
    let above = Layer::new().hard("b", "a").hard("c", "./s").hard("g", "d/f");
    let names = ["a=1", "b==a", "c->nowhere", "d->e", "e/", "e/f=2", "g==e/f", "s==c"];
    assert_eq!(shown(vec![below, above]), names);
    let layers = vec![Layer::new().file("a", "1").hard("b", "a"), Layer::new().file(".wh.a", "")];
    assert_eq!(shown(layers), ["b=1"]);
}

#[test]
fn a_hard_link_may_name_what_its_own_layer_takes_away_further_down() {
    let below = || Layer::new().file("d/a", "1");
    let above = Layer::new().hard("b", "d/a").file("d/.wh.a", "");
    assert_eq!(shown(vec![below(), above]), ["b=1", "d/"]);
    // What the layer brings under this name itself is nearer than what lies below.
    let above = Layer::new().file("d/a", "2").hard("b", "d/a").file("d/.wh.a", "");
    assert_eq!(shown(vec![below(), above]), ["b=2", "d/", "d/a==b"]);
    let late = Layer::new().file("d/.wh.a", "").hard("b", "d/a");
    assert_eq!(wrong(vec![below(), late]).2, Wrong::NoTarget(b"d/a".to_vec()));
}

#[test]
fn a_name_through_a_link_lies_where_the_link_leads_inside_the_image() {
    let below = Layer::new().dir("usr/lib").link("lib", "usr/lib").link("out", "../../../etc").link("abs", "/opt/x");
    let above = Layer::new().file("lib/a", "1").file("out/passwd", "2").file("abs/b", "3").file("out/.wh.none", "");
    assert_eq!(
        shown(vec![below, above]),
        [
            "abs->/opt/x",
            "etc/",
            "etc/passwd=2",
            "lib->usr/lib",
            "opt/",
            "opt/x/",
            "opt/x/b=3",
            "out->../../../etc",
            "usr/",
            "usr/lib/",
            "usr/lib/a=1"
        ]
    );
}

#[test]
fn names_that_lead_out_are_refused_with_layer_and_entry() {
    for (path, why) in [("/etc/x", Wrong::Absolute), ("../x", Wrong::Climbs), ("a/../../x", Wrong::Climbs)] {
        assert_eq!(wrong(vec![Layer::new().file("a", ""), Layer::new().file(path, "")]), (1, path.into(), why.clone()));
        assert_eq!(wrong(vec![Layer::new().file(&format!("{path}/.wh.y"), "")]).2, why);
    }
    let error = tree(vec![Layer::new().file("../x", "")]).unwrap_err();
    assert_eq!(error.to_string(), "layer 1: \"../x\": the name holds `..`; it would lead out of the image");
}

#[test]
fn what_no_file_system_could_hold_is_refused() {
    for (layer, why) in [
        (Layer::new().file("a", "").file("a/b", ""), Wrong::NoDirectory),
        (Layer::new().link("a", "b").link("b", "a").file("a/x", ""), Wrong::Loop),
        (Layer::new().link("a", "a").file("a/x", ""), Wrong::Loop),
        (Layer::new().hard("a", "none"), Wrong::NoTarget(b"none".to_vec())),
        (Layer::new().dir("d").hard("a", "d/"), Wrong::Target(b"d".to_vec())),
        (Layer::new().file("d/.wh.", ""), Wrong::Whiteout),
        (Layer::new().file(".wh...", ""), Wrong::Whiteout),
        (Layer::new().link("a", ""), Wrong::Link),
        (Layer::new().file(".", ""), Wrong::Name),
        (Layer::new().file("d/.wh.x/y", ""), Wrong::Whiteout),
        (Layer::new().link("a", ".wh.x").file("a/y", ""), Wrong::Whiteout),
    ] {
        let found = wrong(vec![layer]).2;
        let same = std::mem::discriminant(&found) == std::mem::discriminant(&why);
        assert!(same, "{found:?} and not {why:?}");
    }
}

#[test]
fn a_hard_link_cannot_reach_out_either() {
    let layer = Layer::new().file("etc/passwd", "inside").hard("a", "../../etc/passwd").hard("b", "/etc/passwd");
    assert_eq!(shown(vec![layer]), ["a=inside", "b==a", "etc/", "etc/passwd==a"]);
}

#[test]
fn attributes_that_squashfs_holds_are_kept_and_those_of_an_overlay_are_not() {
    let mut builder = tar::Builder::new(Vec::new());
    let (mine, overlay) = ("SCHILY.xattr.security.capability", "SCHILY.xattr.trusted.overlay.redirect");
    let list = "SCHILY.xattr.system.posix_acl_access";
    builder.append_pax_extensions([(mine, &b"\x01\n"[..]), (overlay, b"/secret"), (list, b"\x02")]).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_path("d").unwrap();
    header.set_size(0);
    header.set_cksum();
    builder.append(&header, &b""[..]).unwrap();
    let layer = builder.into_inner().unwrap();
    let tree = flatten([Cursor::new(&layer)], Limits::DEFAULT).unwrap();
    let xattrs = &tree.inode(tree.find(b"d").unwrap()).attributes.xattrs;
    assert_eq!(xattrs.iter().collect::<Vec<_>>(), [(&b"security.capability".to_vec(), &b"\x01\n".to_vec())]);
}

#[test]
fn bounds_hold_before_memory_is_used() {
    let layer = || Layer::new().file("a/b/c/d", "").done();
    let few = Limits { entries: 3, ..Limits::DEFAULT };
    let error = flatten([Cursor::new(layer())], few).unwrap_err();
    assert_eq!(error.wrong, Wrong::Entries(3));
    let short = Limits { names: 2, ..Limits::DEFAULT };
    assert_eq!(flatten([Cursor::new(layer())], short).unwrap_err().wrong, Wrong::Names(2));
    let one = Limits { entries: 1, ..Limits::DEFAULT };
    let two = Layer::new().file(".wh.a", "").file(".wh.b", "").done();
    assert_eq!(flatten([Cursor::new(two)], one).unwrap_err().wrong, Wrong::Tar(TarError::Entries(1)));
}

#[test]
fn directories_that_nobody_describes_are_there_and_found() {
    let (mut tree, _) = tree(vec![Layer::new().file("a/b", "1").link("var", "a")]).unwrap();
    tree.ensure_directory(b"var/run").unwrap();
    assert!(tree.find(b"a/run").is_some());
    tree.remove_file(b"a/run");
    assert!(tree.find(b"a/run").is_some(), "a directory is no file");
    tree.remove_file(b"var/b");
    assert!(tree.find(b"a/b").is_none());
    assert!(tree.ensure_directory(b"var/run/../x").is_ok());
}
