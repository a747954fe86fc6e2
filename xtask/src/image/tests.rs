//! What an image is made of, looked at with the tools of the distribution.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use boards_api::board::{Content, Layout, Media, Partition, Role};
use boards_api::cell::{OneSector, RawPair};
use boards_api::codecs::{Grub, Raw};
use boards_api::env::CellEnv;
use boards_api::provision::{self, At, New, Piece};
use boards_api::slots::Places;
use boards_api::{Board, TrialKind};
use formats::bootenv::Error;

use super::build::{build, map_path};
use super::cells::{self, Place};
use super::map::Map;
use super::source::{Blob, Filling, From, ImageSource, Item};
use super::table::{self, Gpt, Kind, SECTOR};

const fn partition(role: Role, label: &'static str, size_kib: Option<u32>, content: Content) -> Partition {
    Partition { role, label, start_kib: None, size_kib, content }
}

/// Cells in raw partitions, a first-stage loader at 8 KiB.
pub(crate) struct Sunny;

impl Board for Sunny {
    const NAME: &'static str = "test-sunny";
    const LAYOUT: Layout = Layout {
        partitions: &[
            partition(Role::Firmware, "firmware", Some(8 * 1024), Content::Fat),
            partition(Role::Wanted, "wanted", Some(1024), Content::Raw),
            partition(Role::Spent, "spent", Some(1024), Content::Raw),
            partition(Role::Journal, "journal", Some(1024), Content::Raw),
            partition(Role::Recovery, "recovery", Some(8 * 1024), Content::Fat),
            partition(Role::Store, "storage", None, Content::Ext4),
        ],
    };
    const TRIAL: TrialKind = TrialKind::Counted;
    const PLACES: Places = Places::Trails;
    type Env<M: Media> = CellEnv<RawPair<M::Sectors, Raw<true>>, OneSector<M::Sectors>, Raw<true>>;

    fn boot_env<M: Media>(media: &mut M) -> Option<Self::Env<M>> {
        let (wanted, spent) = (media.sectors(Role::Wanted)?, media.sectors(Role::Spent)?);
        Some(CellEnv::new(RawPair::new(wanted, [0, 512 * 1024]), OneSector::new(spent, 0, 512)))
    }

    fn provision(new: &New<'_>, put: &mut dyn FnMut(Piece<'_>)) -> Result<(), Error> {
        provision::raw_cells::<true>(new, &[At::Byte(0), At::Byte(512 * 1024)], At::Byte(0), put)
    }
}

/// Cells in files of a FAT.
struct Grubby;

impl Board for Grubby {
    const NAME: &'static str = "test-grubby";
    const LAYOUT: Layout = Layout {
        partitions: &[
            partition(Role::Firmware, "firmware", Some(48 * 1024), Content::Fat),
            partition(Role::Journal, "journal", Some(1024), Content::Raw),
            partition(Role::Store, "storage", None, Content::Ext4),
        ],
    };
    const TRIAL: TrialKind = TrialKind::Counted;
    const PLACES: Places = Places::Trails;
    const PREALLOCATED: &'static [(Role, &'static str)] =
        &[(Role::Wanted, "cairn/wanted"), (Role::Spent, "cairn/spent")];
    type Env<M: Media> = CellEnv<OneSector<M::Sectors>, OneSector<M::Sectors>, Grub>;

    fn boot_env<M: Media>(media: &mut M) -> Option<Self::Env<M>> {
        let (wanted, spent) = (media.sectors(Role::Wanted)?, media.sectors(Role::Spent)?);
        Some(CellEnv::new(OneSector::new(wanted, 0, 1024), OneSector::new(spent, 0, 1024)))
    }

    fn provision(new: &New<'_>, put: &mut dyn FnMut(Piece<'_>)) -> Result<(), Error> {
        provision::grub_cells(new, At::Byte(0), At::Byte(0), put)
    }
}

/// A tree as `pvr deploy` makes it, as far as a file system sees: hard links, an executable file. Its files are made in
/// one order or the other, with modes of this or that umask.
fn tree(dir: &Path, backwards: bool) -> PathBuf {
    let tree = dir.join(if backwards { "backwards" } else { "forwards" });
    let mut names = ["one", "two", "three", "four", "five"];
    if backwards {
        names.reverse();
    }
    fs::create_dir_all(tree.join("objects")).unwrap();
    for name in names {
        let object = tree.join("objects").join(name);
        fs::write(&object, name.repeat(3000)).unwrap();
        fs::create_dir_all(tree.join("trails/0").join(name)).unwrap();
        fs::hard_link(&object, tree.join("trails/0").join(name).join("file")).unwrap();
        fs::set_permissions(&object, fs::Permissions::from_mode(if backwards { 0o600 } else { 0o664 })).unwrap();
    }
    fs::write(tree.join("run"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(tree.join("run"), fs::Permissions::from_mode(0o700)).unwrap();
    tree
}

/// The image of a device with raw cells and a loader at 8 KiB.
pub(crate) fn sunny(storage: PathBuf) -> ImageSource {
    let mut source = ImageSource::of::<Sunny>(Kind::Gpt).unwrap();
    source.add(Role::Firmware, Item::new("boot.scr", From::Bytes(b"script".to_vec()))).unwrap();
    source.add(Role::Recovery, Item::new("kernel", From::Bytes(vec![0x5A; 300_000]))).unwrap();
    source.fill("storage", Filling::Tree(storage)).unwrap();
    source.blobs.push(Blob { at: 8192, from: From::Bytes(vec![0xEE; 700_000]) });
    source
}

/// The image of a device that GRUB starts.
fn grubby(storage: PathBuf) -> ImageSource {
    let mut source = ImageSource::of::<Grubby>(Kind::Gpt).unwrap();
    let loader = Item::new("EFI/BOOT/BOOTX64.EFI", From::Bytes(vec![0xC3; 900_000]));
    source.add(Role::Firmware, loader).unwrap();
    source.fill("storage", Filling::Tree(storage)).unwrap();
    source
}

/// Runs a tool of the distribution; what it says if it is content.
fn tool(program: &str, args: &[&str]) -> String {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap());
    let output = Command::new(program).args(args).env("PATH", path).env("LC_ALL", "C").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {said}");
    said
}

/// A partition of an image as a file of its own.
fn extract(image: &Path, label: &str, into: &Path) -> Vec<u8> {
    let disk = fs::read(image).unwrap();
    let table = tool("sfdisk", &["--json", image.to_str().unwrap()]);
    let table: serde_json::Value = serde_json::from_str(&table).unwrap();
    let partitions = table["partitiontable"]["partitions"].as_array().unwrap();
    let partition = partitions.iter().find(|partition| partition["name"] == label).unwrap();
    let start = usize::try_from(partition["start"].as_u64().unwrap()).unwrap() * 512;
    let bytes = disk[start..start + usize::try_from(partition["size"].as_u64().unwrap()).unwrap() * 512].to_vec();
    fs::write(into, &bytes).unwrap();
    bytes
}

#[test]
fn the_same_files_give_the_same_bytes_whoever_made_them_and_when() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one.img"), dir.path().join("two.img"));
    build(&sunny(tree(dir.path(), false)), &one).unwrap();
    // Times of files are in seconds.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    build(&sunny(tree(dir.path(), true)), &two).unwrap();
    assert!(fs::read(&one).unwrap() == fs::read(&two).unwrap());
    assert_eq!(fs::read(map_path(&one)).unwrap(), fs::read(map_path(&two)).unwrap());
    assert!(!dir.path().join("one.img.part").exists());
}

#[test]
fn the_tools_of_the_distribution_find_nothing_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let tree = tree(dir.path(), false);
    for (name, source) in [("sunny", sunny(tree.clone())), ("grubby", grubby(tree))] {
        let image = dir.path().join(format!("{name}.img"));
        build(&source, &image).unwrap();
        let said = tool("sfdisk", &["--verify", image.to_str().unwrap()]);
        assert!(said.contains("No errors detected."), "{said}");
        let part = dir.path().join("part");
        extract(&image, "firmware", &part);
        tool("fsck.vfat", &["-n", part.to_str().unwrap()]);
        extract(&image, "storage", &part);
        tool("e2fsck", &["-f", "-n", part.to_str().unwrap()]);
    }
}

#[test]
fn a_first_stage_loader_at_eight_kibibytes_leaves_room_for_fifty_six_partitions() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    let built = build(&sunny(tree(dir.path(), false)), &image).unwrap();
    let disk = fs::read(&image).unwrap();
    assert!(disk[8192..708_192].iter().all(|byte| *byte == 0xEE));
    let said = tool("sfdisk", &["--dump", image.to_str().unwrap()]);
    assert!(said.contains("table-length: 56") && said.contains("first-lba: 16"), "{said}");
    let labels: Vec<_> = said.lines().filter_map(|line| line.split("name=\"").nth(1)?.split('"').next()).collect();
    assert_eq!(labels, ["firmware", "wanted", "spent", "journal", "recovery", "storage"]);
    assert!(built.bytes.is_power_of_two());
}

#[test]
fn the_tree_belongs_to_root_and_hard_links_stay_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let (image, part) = (dir.path().join("image"), dir.path().join("part"));
    build(&sunny(tree(dir.path(), true)), &image).unwrap();
    extract(&image, "storage", &part);
    let stat = |path: &str| tool("debugfs", &["-R", &format!("stat {path}"), part.to_str().unwrap()]);
    let inode =
        |said: &str| said.lines().find_map(|line| line.strip_prefix("Inode: ")?.split(' ').next().map(str::to_owned));
    let (object, trail, run) = (stat("/objects/one"), stat("/trails/0/one/file"), stat("/run"));
    assert_eq!(inode(&object).unwrap(), inode(&trail).unwrap());
    assert!(object.contains("Links: 2") && object.contains("Mode:  0644"), "{object}");
    assert!(run.contains("Mode:  0755") && run.contains("User:     0   Group:     0"), "{run}");
    for time in ["ctime", "atime", "mtime", "crtime"] {
        let line = run.lines().find(|line| line.trim_start().starts_with(time)).unwrap();
        assert!(line.contains("0x12cea600:00000000"), "{line}");
    }
    let features = tool("dumpe2fs", &["-h", part.to_str().unwrap()]);
    assert!(!features.contains("metadata_csum") && !features.contains("orphan_file"));
    assert!(features.contains("Filesystem volume name:   storage"));
}

#[test]
fn the_cells_lie_in_one_piece_before_every_other_file() {
    let dir = tempfile::tempdir().unwrap();
    let (image, part) = (dir.path().join("image"), dir.path().join("part"));
    build(&grubby(tree(dir.path(), false)), &image).unwrap();
    let fat = extract(&image, "firmware", &part);
    let cells = cells::factory::<Grubby>().unwrap();
    let cell = |name| &cells.iter().find(|(place, _)| *place == Place::File(name)).unwrap().1;
    let (wanted, spent) = (cell("cairn/wanted"), cell("cairn/spent"));
    let place = |bytes: &[u8]| fat.chunks(512).position(|sector| sector == &bytes[..512]).unwrap();
    for cell in [wanted, spent] {
        let at = place(cell) * 512;
        assert_eq!(&fat[at..at + 1024], &cell[..]);
    }
    assert!(place(wanted) < place(spent) && place(spent) < place(&[0xC3; 512]));
    let copied = tool("mtype", &["-i", part.to_str().unwrap(), "::/cairn/wanted"]);
    assert!(copied.contains("cairn_default=0\n") && copied.contains("cairn_nonce=1\n"), "{copied}");
}

#[test]
fn a_device_leaves_the_factory_with_revision_0_in_both_copies_and_an_erased_journal() {
    let dir = tempfile::tempdir().unwrap();
    let (image, part) = (dir.path().join("image"), dir.path().join("part"));
    build(&sunny(tree(dir.path(), false)), &image).unwrap();
    let wanted = extract(&image, "wanted", &part);
    let pair = formats::bootenv::raw::decode_pair(
        &wanted[..512],
        &wanted[512 * 1024..][..512],
        formats::bootenv::uboot::Head::Flagged,
    );
    let pair = pair.unwrap();
    assert_eq!((pair.wanted.default.as_str(), pair.repair), ("0", None));
    assert!(extract(&image, "journal", &part).iter().all(|byte| *byte == 0xFF));
}

#[test]
fn what_the_map_leaves_out_may_hold_anything() {
    let dir = tempfile::tempdir().unwrap();
    let (image, part) = (dir.path().join("image"), dir.path().join("part"));
    let built = build(&sunny(tree(dir.path(), false)), &image).unwrap();
    assert!(built.map.bytes() < built.bytes / 2, "{} of {}", built.map.bytes(), built.bytes);
    let disk = fs::read(&image).unwrap();
    // The disk of an earlier life: nothing on it is zero.
    let mut dirty = vec![0xA5; disk.len()];
    for summed in &built.map.ranges {
        let range = usize::try_from(summed.range.start).unwrap()..usize::try_from(summed.range.end).unwrap();
        dirty[range.clone()].copy_from_slice(&disk[range]);
    }
    let flashed = dir.path().join("flashed");
    fs::write(&flashed, dirty).unwrap();
    assert!(tool("sfdisk", &["--verify", flashed.to_str().unwrap()]).contains("No errors detected."));
    for (label, fsck) in [("firmware", "fsck.vfat"), ("recovery", "fsck.vfat"), ("storage", "e2fsck")] {
        extract(&flashed, label, &part);
        tool(fsck, &["-n", part.to_str().unwrap()]);
    }
    extract(&flashed, "storage", &part);
    tool("e2fsck", &["-f", "-n", part.to_str().unwrap()]);
    let read = tool("debugfs", &["-R", "cat /trails/0/two/file", part.to_str().unwrap()]);
    assert!(read.contains(&"two".repeat(3000)));
    let journal = tool("debugfs", &["-R", "logdump -S", part.to_str().unwrap()]);
    assert!(!journal.contains("magic number"), "{journal}");
}

#[test]
fn a_map_is_read_as_it_was_written_and_a_damaged_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    let built = build(&sunny(tree(dir.path(), false)), &image).unwrap();
    let text = fs::read_to_string(map_path(&image)).unwrap();
    assert_eq!(Map::read(&text).unwrap(), built.map);
    let damaged = text.replacen("<Range chksum=\"", "<Range chksum=\"0", 1);
    assert!(Map::read(&damaged).unwrap_err().to_string().contains("its own sum"));
    assert!(Map::read("").is_err());
}

#[test]
fn an_mbr_has_four_partitions_and_no_fifth() {
    const FOUR: Layout = Layout {
        partitions: &[
            partition(Role::Firmware, "firmware", Some(8 * 1024), Content::Fat),
            partition(Role::Wanted, "wanted", Some(1024), Content::Raw),
            partition(Role::Spent, "spent", Some(1024), Content::Raw),
            partition(Role::Store, "storage", None, Content::Ext4),
        ],
    };
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    let mut source = sunny(tree(dir.path(), false));
    source.table = Kind::Mbr;
    let error = build(&source, &image).err().unwrap();
    assert!(format!("{error:#}").contains("four partitions"), "{error:#}");
    assert!(!image.exists());
    source.layout = FOUR;
    source.fillings.retain(|(label, _)| !matches!(*label, "journal" | "recovery"));
    source.patches.clear();
    build(&source, &image).unwrap();
    let said = tool("sfdisk", &["--dump", image.to_str().unwrap()]);
    assert!(said.contains("label: dos") && said.contains("type=c, bootable"), "{said}");
    assert!(tool("sfdisk", &["--verify", image.to_str().unwrap()]).contains("No errors detected."));
}

#[test]
fn a_table_moves_to_the_end_of_a_larger_disk_and_a_smaller_one_is_refused() {
    let disk = 131_072;
    let placed = table::place(&Sunny::LAYOUT, Kind::Gpt, disk).unwrap();
    let gpt = Gpt::new("test", &placed, None).unwrap();
    let bytes = gpt.on(disk).unwrap();
    assert_eq!(Gpt::read(&bytes.head), Some(gpt.clone()));
    assert!(gpt.on(gpt.least()).is_ok() && gpt.on(gpt.least() - 1).is_err());
    let mut torn = bytes.head.clone();
    torn[1024] ^= 1;
    assert_eq!(Gpt::read(&torn), None);
    let dir = tempfile::tempdir().unwrap();
    let larger = dir.path().join("larger");
    let sectors = disk * 3;
    let bytes = gpt.on(sectors).unwrap();
    let mut all = bytes.head.clone();
    all.resize(usize::try_from(sectors * SECTOR).unwrap() - bytes.tail.len(), 0);
    all.extend(&bytes.tail);
    fs::write(&larger, all).unwrap();
    let said = tool("sfdisk", &["--verify", larger.to_str().unwrap()]);
    assert!(said.contains("No errors detected.") && !said.contains("backup"), "{said}");
}

#[test]
fn what_does_not_fit_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    let wrong = |change: &dyn Fn(&mut ImageSource)| {
        let mut source = sunny(dir.path().join("forwards"));
        change(&mut source);
        let error = format!("{:#}", build(&source, &image).err().unwrap());
        assert!(!image.exists() && !dir.path().join("image.part").exists());
        error
    };
    tree(dir.path(), false);
    let error = wrong(&|source| source.size = Some(16 << 20));
    assert!(error.contains("no room for partition"), "{error}");
    let large = |path: &str| Item::new(path, From::Bytes(vec![1; 9 << 20]));
    let error = wrong(&|source| source.add(Role::Firmware, large("huge")).unwrap());
    assert!(error.contains("huge"), "{error}");
    let error = wrong(&|source| source.blobs.push(Blob { at: 1024, from: From::Bytes(vec![1; 512]) }));
    assert!(error.contains("entries of a GPT") || error.contains("partition table"), "{error}");
    let error = wrong(&|source| source.blobs.push(Blob { at: 1 << 20, from: From::Bytes(vec![1; 512]) }));
    assert!(error.contains("partition firmware"), "{error}");
    let error = wrong(&|source| source.fillings.push(("nowhere", Filling::Erased)));
    assert!(error.contains("no partition nowhere"), "{error}");
}
