//! Ten images, each of another shape.
//!
//! Every directory that a file lies in is described, as builders of images do: of those that nobody describes umoci takes
//! the time of the clock.

use tar::{EntryType, Header};

use crate::images::{Image, Layer, Packed};

const ROOT: (u64, u64) = (0, 0);

impl Layer {
    fn dir(self, path: &str) -> Self {
        self.put(EntryType::Directory, path, 0o755, ROOT, "")
    }

    fn symlink(self, path: &str, to: &str) -> Self {
        self.put(EntryType::Symlink, path, 0o777, ROOT, to)
    }

    fn hard(self, path: &str, to: &str) -> Self {
        self.put(EntryType::Link, path, 0o755, ROOT, to)
    }

    fn header(mut self, header: &Header, contents: &[u8]) -> Self {
        self.0.append(header, contents).unwrap();
        self
    }
}

fn of(layers: impl IntoIterator<Item = Layer>) -> Image {
    layers.into_iter().fold(Image::new("{}"), |image, layer| image.layer(layer, Packed::Gzip))
}

pub(crate) fn whiteouts_take_away_what_lies_below() -> Image {
    let below = Layer::new()
        .dir("d")
        .file("d/gone", "1")
        .file("d/stays", "2")
        .dir("d/deep")
        .dir("d/deep/deeper")
        .file("d/deep/deeper/x", "3")
        .symlink("link", "d/stays")
        .symlink("dangling", "nowhere")
        .file("again", "old");
    let above = Layer::new()
        .file("d/.wh.gone", "")
        .file("d/.wh.deep", "")
        .file(".wh.dangling", "")
        .file(".wh.link", "")
        .file(".wh.again", "")
        .file(".wh.never-was", "");
    let top = Layer::new().file("again", "new").dir("d/deep").file("d/deep/y", "4");
    of([below, above, top])
}

pub(crate) fn opaque_directories_forget_what_lies_below() -> Image {
    let below = Layer::new()
        .dir("a")
        .file("a/1", "1")
        .dir("a/sub")
        .file("a/sub/2", "2")
        .dir("b")
        .file("b/3", "3")
        .dir("c")
        .file("c/4", "4");
    let above = Layer::new()
        .dir("a")
        .file("a/.wh..wh..opq", "")
        .file("a/5", "5")
        .dir("a/sub")
        .file("a/sub/6", "6")
        // Before the mark, which takes away nothing of its own layer.
        .dir("b")
        .file("b/7", "7")
        .file("b/.wh..wh..opq", "")
        .file("c/.wh..wh..opq", "");
    of([below, above])
}

pub(crate) fn hard_links_reach_across_layers() -> Image {
    let below = Layer::new()
        .dir("d")
        .file("d/first", "contents")
        .hard("d/second", "d/first")
        .file("replaced", "old")
        .hard("keeps-old", "replaced")
        .symlink("soft", "d/first")
        .file("with-capability", "x");
    let above = Layer::new()
        .hard("third", "d/first")
        .file("d/.wh.first", "")
        .file("replaced", "new")
        .hard("same-layer", "replaced")
        .hard("hard-to-soft", "soft");
    let top = Layer::new().hard("fourth", "third").hard("d/first", "fourth");
    of([below, above, top])
}

pub(crate) fn a_directory_becomes_a_file_and_a_link_and_a_directory_again() -> Image {
    let one = Layer::new()
        .dir("to-file")
        .file("to-file/inside", "1")
        .dir("to-link")
        .file("to-link/inside", "1")
        .dir("target")
        .file("target/t", "t")
        .dir("round")
        .file("round/1", "1")
        .file("from-file", "f")
        .symlink("from-link", "target");
    let two = Layer::new()
        .file("to-file", "now a file")
        .symlink("to-link", "target")
        .file("round", "2")
        .dir("from-file")
        .file("from-file/inside", "2")
        .dir("from-link")
        .file("from-link/inside", "not in target");
    let three = Layer::new().symlink("round", "target").file("to-link/through", "lies in target");
    let four = Layer::new().dir("round").file("round/4", "4");
    of([one, two, three, four])
}

pub(crate) fn modes_have_twelve_bits_and_owners_thirty_two() -> Image {
    let file = |layer: Layer, path: &str, mode, owner| layer.put(EntryType::Regular, path, mode, owner, path);
    let mut layer = Layer::new();
    for (number, mode) in [0o4755, 0o2755, 0o1644, 0o6711, 0o7777, 0o000, 0o400, 0o666].into_iter().enumerate() {
        layer = file(layer, &format!("mode-{mode:o}"), mode, (number as u64, 1000 + number as u64));
    }
    layer = layer.put(EntryType::Directory, "tmp", 0o1777, ROOT, "").put(
        EntryType::Directory,
        "shared",
        0o2775,
        (0, 50),
        "",
    );
    for (number, owner) in [(65_534, 65_534), (100_000, 165_536), (2_097_151, 2_097_152)].into_iter().enumerate() {
        layer = file(layer, &format!("owner-{number}"), 0o644, owner);
    }
    let layer = layer.put(EntryType::Symlink, "link", 0o777, (33, 44), "mode-0");
    // A directory is described once more, with what is in it left alone.
    let above = Layer::new().put(EntryType::Directory, "shared", 0o700, (7, 8), "");
    of([layer, above])
}

pub(crate) fn attributes_stay_with_their_files() -> Image {
    // cap_net_bind_service, permitted and effective: revision 2.
    let capability = b"\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    let below = Layer::new()
        .dir("bin")
        .xattr("security.capability", capability)
        .file("bin/ping", "ping")
        .hard("bin/ping4", "bin/ping")
        .xattr("user.note", b"a value with = and \n in it")
        .file("noted", "x")
        .xattr("user.binary", &[0, 1, 2, 255])
        .file("binary", "x")
        .xattr("trusted.of-the-system", b"t")
        .dir("attributed")
        .xattr("user.old", b"1")
        .file("changed", "x");
    let above = Layer::new()
        .xattr("user.new", b"2")
        .file("changed", "y")
        .xattr("user.more", b"on a directory that was there")
        .dir("attributed");
    of([below, above])
}

pub(crate) fn devices_and_pipes_are_files_too() -> Image {
    let below = Layer::new()
        .dir("dev")
        .put(EntryType::Char, "dev/null", 0o666, ROOT, "1:3")
        .put(EntryType::Char, "dev/ttyS7", 0o620, (0, 5), "4:71")
        .put(EntryType::Block, "dev/loop300", 0o660, (0, 6), "7:300")
        .put(EntryType::Char, "dev/far", 0o600, ROOT, "511:70000")
        .put(EntryType::Fifo, "dev/initctl", 0o600, (1, 2), "")
        .file("was-file", "x");
    let above = Layer::new()
        .put(EntryType::Char, "was-file", 0o600, ROOT, "1:5")
        .hard("dev/null-again", "dev/null")
        .file("dev/.wh.ttyS7", "");
    of([below, above])
}

pub(crate) fn names_are_long_and_in_any_language() -> Image {
    let long = "n".repeat(255);
    let mut layer = Layer::new().file(&long, "the longest name");
    // Five hundred bytes and more, of directories that are all described.
    let mut path = String::new();
    for number in 0..5 {
        path.push_str(&format!("{}{number}", "d".repeat(100)));
        layer = layer.dir(&path);
        path.push('/');
    }
    let layer = layer
        .file(&format!("{path}file"), "deep")
        .symlink("far", &format!("{path}file"))
        .hard("hard", &format!("{path}file"))
        .symlink("to-nowhere", &"x".repeat(3000))
        .file("grüße-日本語-🚲", "utf-8")
        .pax("path", "päx/wins".as_bytes())
        .file("not-this-name", "x")
        .dir("päx")
        .file(" leading and trailing ", "blanks")
        .file("new\nline", "x")
        .file("back\\slash", "x")
        .file("-dash", "x")
        .file("*", "x")
        .file("quote'\"", "x");
    let above = Layer::new().file("grüße-日本語-🚲", "changed").file(&format!(".wh.{}", &long[..251]), "");
    of([layer, above])
}

pub(crate) fn layers_may_be_empty_and_packed_in_any_way() -> Image {
    Image::new("{}")
        .layer(Layer::new().dir("d").file("d/1", "one"), Packed::Zstd)
        .layer(Layer::new(), Packed::Gzip)
        .layer(Layer::new().file("d/2", &"two".repeat(100_000)), Packed::Plain)
        .layer(Layer::new(), Packed::Zstd)
        .layer(Layer::new().file("empty", "").file("d/.wh.1", ""), Packed::Zstd)
        .layer(Layer::new().dir("d").file("d/3", "three"), Packed::Gzip)
}

/// Headers from before POSIX, numbers in binary, times with fractions and before 1970.
pub(crate) fn headers_may_be_as_old_as_tar() -> Image {
    let filled = |mut header: Header, path: &[u8], size: u64| {
        header.as_mut_bytes()[..path.len()].copy_from_slice(path);
        header.set_mode(0o640);
        header.set_uid(3);
        header.set_gid(4);
        header.set_mtime(1_000_000_000);
        header.set_size(size);
        header.set_cksum();
        header
    };
    let mut old = filled(Header::new_old(), b"old", 3);
    old.as_mut_bytes()[156] = 0;
    old.set_cksum();
    let mut directory = filled(Header::new_old(), b"slash/", 0);
    directory.as_mut_bytes()[156] = 0;
    directory.set_mode(0o750);
    directory.set_cksum();
    let mut prefixed = filled(Header::new_ustar(), b"name", 1);
    prefixed.as_mut_bytes()[345..350].copy_from_slice(b"slash");
    prefixed.set_cksum();
    let mut binary = filled(Header::new_gnu(), b"binary", 1);
    for (at, len) in [(108, 8), (116, 8)] {
        binary.as_mut_bytes()[at..at + len].copy_from_slice(&[0x80, 0, 0, 0, 0, 0x30, 0, 1]);
    }
    binary.set_cksum();
    let layer = Layer::new()
        .header(&old, b"old")
        .header(&directory, b"")
        .header(&prefixed, b"p")
        .header(&binary, b"b")
        .pax("mtime", b"1234567890.987654321")
        .file("fraction", "x")
        .pax("uid", b"3000000000")
        .file("far-owner", "x")
        .header(&filled(Header::new_ustar(), b"./dotted", 1), b"d")
        .header(&filled(Header::new_ustar(), b"slash//doubled", 1), b"d");
    of([layer])
}
