//! The flash of a device made of real parts, through the durable steps of one update, read by GRUB after each.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops where it fails")]

use std::fs::{self, File};
use std::io::Write;

use boards_api::cell::SectorFile;
use boards_api::codecs::Grub;
use boards_api::env::{CellEnv, Codec};
use formats::bootenv::grub;
use init::driver::Flash;
use init::flash::{DeviceFlash, Started};
use media::directory::Directory;
use statemachine::boot::{Spent, Trial, TrialKind, Wanted};
use statemachine::ids::{Digest, RevisionId};
use statemachine::journal::{Journal, Known, Record, Transition};
use statemachine::recover::Boot;
use statemachine::update::Running;
use store::file::FileSectors;
use store::nor::SectorNor;
use unreplayed::{Image, Recipe};

type Cell = SectorFile<'static, Directory>;
type Device = DeviceFlash<SectorNor<FileSectors>, CellEnv<Cell, Cell, Grub>, Directory>;

const REGION: u64 = 4 * 4096;

fn revision(name: &str) -> RevisionId {
    RevisionId::parse(name).unwrap()
}

fn directory(image: &Image) -> Directory {
    Directory::open(image.directory()).unwrap()
}

fn wanted(nonce: u32, trial: Option<Trial>) -> Wanted {
    Wanted { nonce, default: revision("7"), previous: None, factory: Some(revision("0")), trial }
}

/// What a device is flashed with: both regions of the journal, and both cells.
fn flashed(image: &Image) {
    for name in ["journal.a", "journal.b"] {
        FileSectors::create(&image.directory().join(name), REGION).unwrap();
    }
    let mut bytes = [0; grub::BLOCK];
    let length = Grub::encode_wanted(&wanted(5, None), &mut bytes).unwrap();
    directory(image).create("grubenv", &bytes[..length]).unwrap();
    directory(image).create("spent", &grub::encode_spent(&Spent { nonce: 5, boots: 1 }).unwrap()).unwrap();
}

fn opened(image: &Image) -> Device {
    let region = |name| SectorNor::new(FileSectors::open(&image.directory().join(name)).unwrap()).unwrap();
    let journal = store::journal::Journal::new(region("journal.a"), region("journal.b")).unwrap();
    let cells = CellEnv::new(SectorFile::new(directory(image), "grubenv"), SectorFile::new(directory(image), "spent"));
    DeviceFlash::new(journal, cells, directory(image))
}

fn booted(device: &mut Device) -> Boot {
    let running = Running::Revision(revision("7"));
    let started = Started { kind: TrialKind::Counted, running, marked: false, factory: None };
    device.read_boot(started, |_| false, &mut |report| eprintln!("{report}"))
}

fn stage(image: &Image, kernel: &str, bytes: &[u8]) {
    let mut file = File::create(image.directory().join("new")).unwrap();
    file.write_all(bytes).unwrap();
    file.sync_all().unwrap();
    fs::rename(image.directory().join("new"), image.directory().join(kernel)).unwrap();
    File::open(image.directory()).unwrap().sync_all().unwrap();
}

#[test]
fn what_the_cells_name_is_there_for_the_bootloader_and_for_the_boot_after_a_cut() {
    let image = Image::mounted("device", Recipe::default()).unwrap();
    flashed(&image);
    let mut device = opened(&image);
    let boot = booted(&mut device);
    assert_eq!((boot.journal, boot.wanted), (None, Some(wanted(5, None))));

    // Staged, synced, renamed, synced: and the bootloader does not know of it. Somebody's `sync` may come in between.
    let unseen = (0..5).map(|round| format!("kernel-{round}")).find(|name| {
        stage(&image, name, b"the kernel of revision 8");
        image.unreplayed(name).is_err()
    });
    let kernel = unseen.expect("no kernel was hidden from the bootloader, so the barrier has nothing to do");
    device.sync().unwrap();
    assert_eq!(image.unreplayed(&kernel).unwrap(), b"the kernel of revision 8");

    let mut journal = Journal::factory(Known { revision: revision("7"), digest: Some(Digest([7; 32])) });
    let what = Known { revision: revision("8"), digest: Some(Digest([8; 32])) };
    journal.body.record = Record::Trying { what, by: Transition::Reboot };
    device.persist(&journal).unwrap();
    let armed = wanted(6, Some(Trial { revision: revision("8"), max: 3, issued: 0 }));
    device.store(&armed).unwrap();
    assert_eq!(Grub::decode_wanted(&image.unreplayed("grubenv").unwrap()), Ok(armed.clone()));
    assert_eq!((device.journal(), device.wanted()), (Ok(journal.clone()), Ok(armed.clone())));

    let later = image.after_a_cut("device-later").unwrap();
    let boot = booted(&mut opened(&later));
    assert_eq!((boot.journal, boot.wanted), (Some(journal), Some(armed)));
}
