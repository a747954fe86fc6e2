//! Images as umoci unpacks them, and as pvr does: the same files, name by name.
//!
//! ```text
//!              ┌─▶ umoci unpack ────────────────────────▶ rootfs ─┐
//!   OCI layout ┤                                                  ├ the same names, types, contents, modes, owners, links,
//!              └─▶ pull ─┬─▶ squashfs ─▶ unsquashfs ───▶ files  ─┤ attributes, devices, times
//!                        └─▶ EROFS ────▶ mount ────────▶ files  ─┘
//! ```
//!
//! It runs as root, because owners, devices and capabilities are part of an image. The root directory is left out: of it
//! a file system gets mode 0755 and owner 0, whatever an image says.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test stops where it fails")]

mod cases;
mod daemon;
#[path = "../program/images.rs"]
#[allow(dead_code, reason = "the tests of the program build more kinds of images")]
mod images;
mod packing;
mod snapshot;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use cli::error::Error;
use cli::image::layout::Layout as Source;
use cli::image::manifest::Platform;
use cli::image::pack::{self, Format, Times};
use cli::image::source::Choice;
use cli::image::{Image as Pulled, Limits, difference, pull};
use cli::watch::Unwatched;
use tempfile::TempDir;

use crate::images::{Image, Layout};
use crate::snapshot::Snapshot;

fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; `cargo xtask setup` installs it"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?} ends with {}: {said}", output.status);
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// As umoci unpacks it. It knows no zstd, so that skopeo packs layers anew first.
fn theirs(layout: &Layout, scratch: &Path) -> PathBuf {
    let gzipped = scratch.join("gzipped");
    let (from, to) = (format!("oci:{}:amd64", text(&layout.0)), format!("oci:{}:amd64", text(&gzipped)));
    // Without a policy of signatures it copies nothing, and the one of the distribution is not always there.
    let policy = ["--insecure-policy", "copy", "--quiet", "--dest-compress-format", "gzip", "--dest-compress"];
    run("skopeo", &[&policy[..], &[&from, &to]].concat());
    let bundle = scratch.join("bundle");
    run("umoci", &["unpack", "--image", &format!("{}:amd64", text(&gzipped)), text(&bundle)]);
    bundle.join("rootfs")
}

fn pulled(layout: &Layout, scratch: &Path) -> Pulled {
    let choice = Choice(vec![Platform::parse("linux/amd64").unwrap()]);
    let source = Source::directory(&layout.0, Some("amd64"), Limits::DEFAULT);
    pull(&source, &choice, scratch, Limits::DEFAULT, &Unwatched).unwrap()
}

fn packed(image: &Pulled, format: Format, file: &Path, options: &[&str]) -> Result<(), Error> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap();
    pack::write(image, format, file, Times { made: None, now }, options, &Unwatched)
}

/// What the tools of squashfs unpack of a file.
fn unpacked(file: &Path) -> Snapshot {
    let files = tempfile::tempdir_in(file.parent().unwrap()).unwrap();
    run("unsquashfs", &["-quiet", "-no-progress", "-force", "-dest", text(files.path()), text(file)]);
    Snapshot::of(files.path())
}

/// A mount, until it is dropped.
struct Mount(TempDir);

impl Mount {
    fn of(kind: &str, options: &str, what: &str, beside: &Path) -> Self {
        let place = tempfile::tempdir_in(beside.parent().unwrap()).unwrap();
        run("mount", &["-t", kind, "-o", options, what, text(place.path())]);
        Self(place)
    }

    fn file(kind: &str, file: &Path) -> Self {
        Self::of(kind, "ro,loop", text(file), file)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        run("umount", &[text(self.0.path())]);
    }
}

/// What the kernel sees in a file.
fn mounted(file: &Path) -> Snapshot {
    Snapshot::of(Mount::file("erofs", file).0.path())
}

/// Whether the tool of this machine can do it: older ones read no tar.
fn has_erofs() -> bool {
    let help = Command::new("mkfs.erofs").arg("--help").output();
    let help = help.unwrap_or_else(|error| panic!("mkfs.erofs: {error}; `cargo xtask setup` installs it"));
    [help.stdout, help.stderr].iter().any(|text| String::from_utf8_lossy(text).contains("--tar"))
}

fn same(name: &str, image: Image) {
    assert!(rustix::process::geteuid().is_root(), "files of any owner are made: run it as root");
    let scratch = tempfile::tempdir().unwrap();
    let layout = Layout::of(&scratch.path().join("layout"), &[&image]);
    let theirs = Snapshot::of(&theirs(&layout, scratch.path()));
    assert!(!theirs.is_empty(), "{name}: nothing was compared");
    let image = pulled(&layout, scratch.path());
    let compare = |format: Format, ours: Snapshot| {
        let differences = theirs.differences(&ours);
        assert!(differences.is_empty(), "{name} in {format}, umoci and then pvr:\n{}", differences.join("\n"));
    };
    let file = scratch.path().join("root.squashfs");
    packed(&image, Format::Squashfs, &file, Format::Squashfs.packed()).unwrap();
    compare(Format::Squashfs, unpacked(&file));
    let file = scratch.path().join("root.erofs");
    let done = packed(&image, Format::Erofs, &file, Format::Erofs.packed());
    if has_erofs() {
        done.unwrap();
        compare(Format::Erofs, mounted(&file));
    } else {
        assert!(done.unwrap_err().message.contains("mkfs.erofs is too old"));
    }
}

/// The lowest layer as squashfs, the difference to it as squashfs, and both as the kernel lays them over each other.
fn overlaid(name: &str, mut image: Image) {
    let scratch = tempfile::tempdir().unwrap();
    let file = |name: &str| scratch.path().join(name);
    let whole = pulled(&Layout::of(&file("whole"), &[&image]), scratch.path());
    image.layers.truncate(1);
    let base = pulled(&Layout::of(&file("base"), &[&image]), scratch.path());
    let over = difference(&base, &whole).unwrap();
    for (image, file) in [(&whole, &file("new.img")), (&base, &file("base.img")), (&over, &file("over.img"))] {
        packed(image, Format::Squashfs, file, Format::Squashfs.packed()).unwrap();
    }
    let [whole, base, over] = ["new.img", "base.img", "over.img"].map(|one| Mount::file("squashfs", &file(one)));
    let layers = format!("ro,lowerdir={}:{}", text(over.0.path()), text(base.0.path()));
    let merged = Mount::of("overlay", &layers, "overlay", &file("merged"));
    let differences = Snapshot::of(whole.0.path()).differences(&Snapshot::of(merged.0.path()));
    assert!(differences.is_empty(), "{name}, whole and then laid over its base:\n{}", differences.join("\n"));
    // The mount on top has to go first.
    drop(merged);
}

macro_rules! the_same {
    ($($case:ident),+ $(,)?) => {
        $(#[test]
        fn $case() {
            same(stringify!($case), cases::$case());
        })+

        /// Every image over its own lowest layer, in the kernel's overlay.
        #[test]
        fn a_difference_over_its_base_is_the_whole_in_an_overlay() {
            $(overlaid(stringify!($case), cases::$case());)+
        }
    };
}

the_same!(
    whiteouts_take_away_what_lies_below,
    opaque_directories_forget_what_lies_below,
    hard_links_reach_across_layers,
    a_directory_becomes_a_file_and_a_link_and_a_directory_again,
    modes_have_twelve_bits_and_owners_thirty_two,
    attributes_stay_with_their_files,
    devices_and_pipes_are_files_too,
    names_are_long_and_in_any_language,
    layers_may_be_empty_and_packed_in_any_way,
    headers_may_be_as_old_as_tar,
);

#[test]
fn what_differs_is_found() {
    let scratch = tempfile::tempdir().unwrap();
    let (one, other) = (scratch.path().join("one"), scratch.path().join("other"));
    for directory in [&one, &other] {
        std::fs::create_dir_all(directory.join("d")).unwrap();
        std::fs::write(directory.join("d/f"), "same").unwrap();
        run("touch", &["--date", "@5", text(&directory.join("d/f")), text(&directory.join("d"))]);
    }
    let found = || Snapshot::of(&one).differences(&Snapshot::of(&other));
    assert_eq!(found(), Vec::<String>::new());
    let (file, directory) = (other.join("d/f"), other.join("d"));
    let (file, directory) = (text(&file), text(&directory));
    for (program, args) in [
        ("chmod", ["4644", file]),
        ("chown", ["1:2", file]),
        ("touch", ["--date=@6", file]),
        ("touch", ["--date=@7", directory]),
    ] {
        let before = found();
        run(program, &args);
        assert_ne!(found(), before, "{program} {args:?}");
    }
    let before = found();
    rustix::fs::lsetxattr(file, "user.a", b"", rustix::fs::XattrFlags::CREATE).unwrap();
    assert_ne!(found(), before, "an attribute");
    std::fs::hard_link(other.join("d/f"), other.join("g")).unwrap();
    assert!(found().iter().any(|line| line.contains("\"g\"")));
}
