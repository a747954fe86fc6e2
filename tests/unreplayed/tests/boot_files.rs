//! What GRUB and debugfs see after each step of writing a boot file: with the barrier, without it, and in place.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test stops where it fails")]

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use boards_api::cell::{Cell, ExchangedFile, SectorFile};
use boards_api::codecs::Grub;
use boards_api::env::Codec;
use boards_api::media::{Files, SECTOR, Sectors};
use media::barrier::Means;
use media::directory::Directory;
use media::error::Fault;
use statemachine::boot::Wanted;
use statemachine::ids::RevisionId;
use store::file::FileSectors;
use unreplayed::{Image, Recipe};

const OLD: &[u8] = &[b'o'; 2 * SECTOR];
const NEW: &[u8] = &[b'n'; 2 * SECTOR];

fn image(name: &str) -> Image {
    Image::mounted(name, Recipe::default()).unwrap()
}

/// Whether both readers see exactly these bytes.
fn sees(image: &Image, name: &str, bytes: &[u8]) -> bool {
    image.unreplayed(name).unwrap() == bytes
}

/// Everything that POSIX asks for when a file is replaced: a temporary file synced, renamed, the directory synced.
fn replace_as_usual(directory: &Path, name: &str, with: &[u8]) {
    let temporary = directory.join("temporary");
    let mut file = File::create(&temporary).unwrap();
    file.write_all(with).unwrap();
    file.sync_all().unwrap();
    fs::rename(&temporary, directory.join(name)).unwrap();
    File::open(directory).unwrap().sync_all().unwrap();
}

/// Replaces `cell` as usual until the readers still see what it was: somebody else's `sync` may come in between.
fn replaced_but_unseen(image: &Image) -> (Vec<u8>, Vec<u8>) {
    for round in 0..5_u8 {
        let before = image.unreplayed("cell").unwrap();
        let new = vec![b'0' + round; 2 * SECTOR];
        replace_as_usual(image.directory(), "cell", &new);
        if image.unreplayed("cell").unwrap() == before {
            assert_ne!(before, new);
            return (before, new);
        }
    }
    panic!("this kernel brings a rename home without a barrier, so this proves nothing about the barrier");
}

#[test]
fn without_a_barrier_a_synced_rename_is_not_seen_and_with_it_it_is() {
    let image = image("rename");
    let mut directory = Directory::open(image.directory()).unwrap();
    directory.create("cell", OLD).unwrap();
    assert!(sees(&image, "cell", OLD));
    let (before, new) = replaced_but_unseen(&image);
    // Linux sees the new one all the while.
    assert_eq!(fs::read(image.directory().join("cell")).unwrap(), new);
    assert!(sees(&image, "cell", &before));
    directory.checkpoint().unwrap();
    assert!(sees(&image, "cell", &new));
}

#[test]
fn each_means_brings_a_synced_rename_home_by_itself() {
    for means in [Means::Checkpoint, Means::Freeze] {
        let image = image(&format!("means-{means:?}"));
        let directory = File::open(image.directory()).unwrap();
        replace_as_usual(image.directory(), "cell", OLD);
        means.apply(&directory).unwrap();
        assert!(sees(&image, "cell", OLD), "{means:?}");
        let (_, new) = replaced_but_unseen(&image);
        means.apply(&directory).unwrap();
        assert!(sees(&image, "cell", &new), "{means:?}");
        // Thawed again: a write comes through.
        fs::write(image.directory().join("after"), b"x").unwrap();
    }
}

#[test]
fn the_barrier_also_brings_what_nobody_has_synced() {
    let image = image("unsynced");
    let mut directory = Directory::open(image.directory()).unwrap();
    fs::write(image.directory().join("kernel"), NEW).unwrap();
    directory.checkpoint().unwrap();
    assert!(sees(&image, "kernel", NEW));
}

#[test]
fn the_barrier_leaves_nothing_to_replay() {
    // Waiting for a `sync` is not enough: it may bring a name home too, but promises to empty no journal.
    let image = image("empty");
    let mut directory = Directory::open(image.directory()).unwrap();
    replace_as_usual(image.directory(), "cell", NEW);
    rustix::fs::syncfs(File::open(image.directory()).unwrap()).unwrap();
    assert!(!image.has_empty_journal().unwrap());
    directory.checkpoint().unwrap();
    assert!(image.has_empty_journal().unwrap());
}

#[test]
fn without_a_journal_writing_through_is_the_barrier() {
    let image = Image::mounted("plain", Recipe { make: &["-O", "^has_journal"], ..Recipe::default() }).unwrap();
    let mut directory = Directory::open(image.directory()).unwrap();
    assert_eq!(directory.means(), Means::WriteThrough);
    replace_as_usual(image.directory(), "cell", NEW);
    directory.checkpoint().unwrap();
    assert!(sees(&image, "cell", NEW));
    directory.overwrite("cell", OLD).unwrap();
    assert!(sees(&image, "cell", OLD));
}

fn wanted(nonce: u32, trial: &str) -> Vec<u8> {
    let trial = statemachine::boot::Trial { revision: RevisionId::parse(trial).unwrap(), max: 3, issued: 0 };
    let wanted = Wanted {
        nonce,
        default: RevisionId::parse("7").unwrap(),
        previous: None,
        factory: Some(RevisionId::factory()),
        trial: Some(trial),
    };
    let mut bytes = [0; 2 * SECTOR];
    let length = Grub::encode_wanted(&wanted, &mut bytes).unwrap();
    bytes[..length].to_vec()
}

#[test]
fn a_cell_in_a_sector_of_a_file_is_seen_at_once() {
    let image = image("sector");
    let mut directory = Directory::open(image.directory()).unwrap();
    directory.create("grubenv", &wanted(1, "8")).unwrap();
    for nonce in 2..10 {
        let new = wanted(nonce, "locals/next");
        SectorFile::new(&mut directory, "grubenv").replace(&new).unwrap();
        assert!(sees(&image, "grubenv", &new));
        let mut read = [0; 2 * SECTOR];
        assert_eq!(SectorFile::new(&mut directory, "grubenv").read(&mut read), Ok(new.len()));
        assert_eq!(read[..], new);
    }
}

#[test]
fn a_cell_of_two_exchanged_files_is_seen_when_replacing_returns() {
    let image = image("exchanged");
    let mut directory = Directory::open(image.directory()).unwrap();
    directory.create("uboot.txt", OLD).unwrap();
    directory.create("uboot.txt.spare", OLD).unwrap();
    for byte in b'a'..=b'h' {
        let new = [byte; 2 * SECTOR];
        ExchangedFile::new(&mut directory, "uboot.txt", "uboot.txt.spare").replace(&new).unwrap();
        assert!(sees(&image, "uboot.txt", &new));
    }
}

#[test]
fn a_preallocated_file_of_sectors_is_seen_at_once() {
    let image = image("preallocated");
    let path = image.directory().join("journal");
    let mut sectors = FileSectors::create(&path, 4096).unwrap();
    Directory::open(image.directory()).unwrap().checkpoint().unwrap();
    for byte in 0..8_u8 {
        sectors.write(1024, &[byte; SECTOR]).unwrap();
        assert_eq!(image.unreplayed("journal").unwrap()[1024..1536], [byte; SECTOR]);
    }
}

#[test]
fn a_file_that_would_have_to_move_is_not_overwritten() {
    let image = image("moving");
    let mut directory = Directory::open(image.directory()).unwrap();
    let length = 4096_u64;
    let hole = File::create(image.directory().join("hole")).unwrap();
    hole.set_len(length).unwrap();
    let reserved = File::create(image.directory().join("reserved")).unwrap();
    rustix::fs::fallocate(&reserved, rustix::fs::FallocateFlags::empty(), 0, length).unwrap();
    for name in ["hole", "reserved"] {
        let error = directory.overwrite(name, &[1; 4096]).unwrap_err();
        assert_eq!(error.fault, Fault::Blocks, "{name}");
        assert_eq!(fs::read(image.directory().join(name)).unwrap(), [0; 4096]);
    }
    let error = directory.overwrite("reserved", &[1; 512]).unwrap_err();
    assert_eq!(error.fault, Fault::Length { there: length, wanted: 512 });
    assert!(directory.overwrite("absent", &[1; 512]).unwrap_err().is_absent());
    assert_eq!(
        directory.create("hole", &[1; 512]).unwrap_err().fault,
        Fault::Os { call: "open", errno: rustix::io::Errno::EXIST }
    );
}

#[test]
fn a_file_whose_own_data_goes_through_the_journal_is_not_overwritten_in_place() {
    // `chattr +j` takes a capability of its own, so the flag is written below: extents and journalled data.
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let write = format!("write {manifest} cell");
    let recipe = Recipe { edit: &[&write, "set_inode_field /cell flags 0x84000"], ..Recipe::default() };
    let image = Image::mounted("flag", recipe).unwrap();
    let held = fs::read(manifest).unwrap();
    assert_eq!(fs::read(image.directory().join("cell")).unwrap(), held);
    let mut directory = Directory::open(image.directory()).unwrap();
    assert_eq!(directory.overwrite("cell", &held).unwrap_err().fault, Fault::DataInJournal);
}

#[test]
fn where_data_goes_through_the_journal_nothing_is_overwritten_in_place() {
    // As an option, and as the default of the file system, of which the list of mounts does not tell.
    let option = Recipe { options: "data=journal", ..Recipe::default() };
    let default = Recipe { tune: &["-o", "journal_data"], ..Recipe::default() };
    for (name, recipe) in [("option", option), ("default", default)] {
        let image = Image::mounted(name, recipe).unwrap();
        let mut directory = Directory::open(image.directory()).unwrap();
        directory.create("cell", OLD).unwrap();
        assert_eq!(directory.overwrite("cell", NEW).unwrap_err().fault, Fault::DataInJournal, "{name}");
        assert!(sees(&image, "cell", OLD), "{name}");
    }
}

/// Changes bytes of a file behind the back of the file system that holds it.
fn change_below(image: &Image, from: &[u8], to: &[u8]) {
    let bytes = fs::read(image.image()).unwrap();
    let places: Vec<_> = bytes.chunks(SECTOR).enumerate().filter(|(_, sector)| *sector == from).collect();
    assert_eq!(places.len(), 1, "the sector is there once");
    let mut below = File::options().write(true).open(image.image()).unwrap();
    below.seek(SeekFrom::Start((places[0].0 * SECTOR) as u64)).unwrap();
    below.write_all(to).unwrap();
    below.sync_all().unwrap();
}

#[test]
fn what_is_read_back_comes_from_the_medium_and_not_from_the_page_cache() {
    let image = image("medium");
    let (there, below) = ([b'c'; SECTOR], [b'm'; SECTOR]);
    let mut directory = Directory::open(image.directory()).unwrap();
    directory.create("cell", &there).unwrap();
    let cell = image.directory().join("cell");
    assert_eq!(fs::read(&cell).unwrap(), there);
    change_below(&image, &there, &below);
    // The control: whoever asks the page cache is told of what is gone.
    assert_eq!(fs::read(&cell).unwrap(), there);
    let mut read = [0; SECTOR];
    assert_eq!(directory.read("cell", &mut read), Ok(SECTOR));
    assert_eq!(read, below);

    let journal = image.directory().join("journal");
    let mut sectors = FileSectors::create(&journal, 8192).unwrap();
    sectors.read(SECTOR as u64, &mut read).unwrap();
    sectors.write(SECTOR as u64, &[b'j'; SECTOR]).unwrap();
    change_below(&image, &[b'j'; SECTOR], &[b'k'; SECTOR]);
    assert_eq!(fs::read(&journal).unwrap()[SECTOR..2 * SECTOR], [b'j'; SECTOR]);
    sectors.read(SECTOR as u64, &mut read).unwrap();
    assert_eq!(read, [b'k'; SECTOR]);
}
