//! Images of the tool that everybody writes them with, read here.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::contents::medium::Span;
use crate::contents::{ContentsError, Image, Kind};
use crate::image::Limits;
use crate::image::tar::{self, Writer};

/// Files of every shape: none, a tail, whole blocks, blocks and a tail, holes, and many in one directory.
fn tree(root: &Path) {
    fs::create_dir_all(root.join("usr/bin")).unwrap();
    fs::create_dir_all(root.join("many")).unwrap();
    fs::write(root.join("empty"), "").unwrap();
    fs::write(root.join("small"), "tail").unwrap();
    fs::write(root.join("blocks"), vec![7; 3 * 128 * 1024]).unwrap();
    let mixed: Vec<u8> = (0..300_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    fs::write(root.join("usr/bin/mixed"), mixed).unwrap();
    let hole = fs::File::create(root.join("hole")).unwrap();
    hole.set_len(1_000_000).unwrap();
    for number in 0..600 {
        fs::write(root.join(format!("many/{number:03}")), format!("{number}\n")).unwrap();
    }
    symlink("usr/bin", root.join("bin")).unwrap();
    symlink("/bin/mixed", root.join("link")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
}

fn pack(root: &Path, image: &Path, options: &[&str]) {
    let mut tool = Command::new("mksquashfs");
    tool.arg(root).arg(image).args(["-noappend", "-quiet", "-no-progress"]).args(options);
    assert!(tool.output().unwrap().status.success());
}

#[test]
fn what_was_packed_by_any_means_is_read_as_it_was() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("root");
    tree(&root);
    for options in [
        "-comp gzip",
        "-comp xz",
        "-comp xz -Xbcj x86,arm",
        "-comp zstd",
        "-comp lz4",
        "-comp lz4 -Xhc",
        "-comp gzip -noI -noD -noF -b 4096",
        "-comp zstd -no-fragments -b 1M",
        "-comp xz -always-use-fragments -all-root",
    ] {
        let file = scratch.path().join("image");
        pack(&root, &file, &options.split(' ').collect::<Vec<_>>());
        let image = Image::open(Span::open(&file).unwrap(), Limits::DEFAULT).unwrap().unwrap();
        let mut files = 0;
        for (path, entry) in image.entries().iter().filter(|(_, entry)| entry.kind == Kind::File) {
            let is = fs::read(root.join(str::from_utf8(path).unwrap())).unwrap();
            assert!(image.read(entry, u64::MAX).unwrap() == is, "{options}: {}", String::from_utf8_lossy(path));
            files += 1;
        }
        assert_eq!((files, image.entries().len()), (605, 612), "{options}");
        assert_eq!(image.entries()[b"bin".as_slice()].kind, Kind::Symlink(b"usr/bin".to_vec()));
        assert_eq!(image.find(b"/bin/./mixed").unwrap().0, b"usr/bin/mixed");
        assert_eq!(image.find(b"link").unwrap().0, b"usr/bin/mixed");
        assert_eq!(image.find(b"../small").unwrap().0, b"small");
        for nowhere in ["loop", "small/x", "nothing", "link/x"] {
            assert!(image.find(nowhere.as_bytes()).is_none(), "{nowhere}");
        }
    }
}

#[test]
fn owners_modes_and_devices_are_those_of_the_image() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("root");
    fs::create_dir_all(&root).unwrap();
    fs::write(root.join("ping"), "x").unwrap();
    let pseudo = [
        "-p",
        "ping m 4755 12 34",
        "-p",
        "sda b 660 0 6 8 70000",
        "-p",
        "tty c 620 0 5 4 1",
        "-p",
        "pipe i 600 0 0 f",
        "-p",
        "socket i 600 0 0 s",
        "-comp",
        "xz",
    ];
    let file = scratch.path().join("image");
    pack(&root, &file, &pseudo);
    let image = Image::open(Span::open(&file).unwrap(), Limits::DEFAULT).unwrap().unwrap();
    let of = |name: &str| image.entries()[name.as_bytes()].clone();
    let ping = of("ping");
    assert_eq!((ping.mode, ping.uid, ping.gid, ping.size), (0o4755, 12, 34, 1));
    assert_eq!(of("sda").kind, Kind::Device { block: true, major: 8, minor: 70000 });
    assert_eq!(of("tty").kind, Kind::Device { block: false, major: 4, minor: 1 });
    assert_eq!((of("pipe").kind, of("socket").kind), (Kind::Fifo, Kind::Socket));
}

#[test]
fn attributes_are_read_also_where_several_files_share_a_value() {
    let long = vec![b'v'; 5000];
    let mut archive = Writer::new(Vec::new());
    for name in ["a", "b"] {
        let xattrs = BTreeMap::from([
            (b"security.capability".to_vec(), vec![1, 0, 0, 2, 2]),
            (format!("user.of-{name}").into_bytes(), long.clone()),
        ]);
        let kind = tar::Kind::File { offset: 0, len: 1 };
        let entry = tar::Entry { path: name.into(), kind, mode: 0o755, uid: 0, gid: 0, mtime: 0, xattrs };
        archive.append(&entry, &mut &b"x"[..]).unwrap();
    }
    let scratch = tempfile::tempdir().unwrap();
    let (input, file) = (scratch.path().join("tar"), scratch.path().join("image"));
    fs::write(&input, archive.finish().unwrap()).unwrap();
    let mut tool = Command::new("sqfstar");
    tool.args(["-comp", "zstd", "-quiet", "-no-progress"]).arg(&file).stdin(fs::File::open(&input).unwrap());
    assert!(tool.output().unwrap().status.success());
    let image = Image::open(Span::open(&file).unwrap(), Limits::DEFAULT).unwrap().unwrap();
    for name in ["a", "b"] {
        let xattrs = &image.entries()[name.as_bytes()].xattrs;
        assert_eq!(xattrs.len(), 2);
        assert_eq!(xattrs[b"security.capability".as_slice()], [1, 0, 0, 2, 2]);
        assert_eq!(xattrs[format!("user.of-{name}").as_bytes()], long);
    }
}

#[test]
fn a_bound_is_met_before_what_it_bounds_is_held() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("root");
    tree(&root);
    let file = scratch.path().join("image");
    pack(&root, &file, &["-comp", "zstd"]);
    let open = |limits| Image::open(Span::open(&file).unwrap(), limits);
    let few = open(Limits { entries: 100, ..Limits::DEFAULT }).unwrap_err();
    assert_eq!(few, ContentsError::TooMuch { what: "names", most: 100 });
    let short = open(Limits { names: 1000, ..Limits::DEFAULT }).unwrap_err();
    assert!(matches!(short, ContentsError::TooMuch { most: 1000, .. }), "{short:?}");
    let image = open(Limits { bytes: 1_500_000, ..Limits::DEFAULT }).unwrap().unwrap();
    let hole = &image.entries()[b"hole".as_slice()];
    assert!(image.sha256(hole).is_ok());
    assert_eq!(image.sha256(hole), Err(ContentsError::TooMuch { what: "bytes of contents", most: 1_500_000 }));
    assert!(matches!(image.read(hole, 10), Err(ContentsError::TooMuch { most: 10, .. })));
}

#[test]
fn what_is_no_image_or_a_part_of_one_is_told_apart() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("root");
    tree(&root);
    let file = scratch.path().join("image");
    pack(&root, &file, &["-comp", "gzip"]);
    let whole = fs::read(&file).unwrap();
    assert!(Image::open(&b"\x7fELF"[..], Limits::DEFAULT).unwrap().is_none());
    assert!(Image::open(&b""[..], Limits::DEFAULT).unwrap().is_none());
    for end in [4, 95, 96, whole.len() / 2] {
        let error = Image::open(&whole[..end], Limits::DEFAULT).unwrap_err();
        assert!(matches!(error, ContentsError::Damaged(_)), "{end}: {error}");
    }
    let erofs = scratch.path().join("erofs");
    let mut tool = Command::new("mkfs.erofs");
    assert!(tool.arg(&erofs).arg(&root).output().unwrap().status.success());
    let error = Image::open(Span::open(&erofs).unwrap(), Limits::DEFAULT).unwrap_err();
    assert_eq!(error.to_string(), "it is EROFS, and only squashfs is read here");
    let mut lzo = whole.clone();
    lzo[20] = 3;
    assert!(matches!(Image::open(lzo.as_slice(), Limits::DEFAULT), Err(ContentsError::Unknown(_))));
}
