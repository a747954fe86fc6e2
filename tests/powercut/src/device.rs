//! A whole device on simulated media: journal, boot cells, boot files, and a firmware that reads all of it unreplayed.
//!
//! The journal is `runtime/store`'s, the cells are those of `boards/api`, the encodings those of `formats`, and the
//! firmware decides with `statemachine::boot::pick`. What differs from a real device is the media and the kernels, which
//! are short texts that say whose they are.

mod firmware;
mod versions;

use boards_api::cell::{Cell, ExchangedFile, OneSector, RawPair, SectorFile};
use boards_api::codecs::{Grub, Raw};
use boards_api::env::{BootEnv as _, Codec};
use boards_api::media::{Files, SECTOR, Sectors};
use boards_api::takeover::{Env, UbootTxt};
use formats::bootenv::uboot::Head;
use formats::bootenv::{grub, raw};
use init::driver::Flash;
use sim::block::SimBlock;
use sim::fs::SimFs;
use sim::nor::{SimNor, Writes};
use sim::{Fuel, Tear};
use statemachine::boot::{Note, Spent, TrialKind, Wanted};
use statemachine::ids::{Digest, RevisionId};
use statemachine::journal::{Journal, Known, Transition};
use statemachine::update::{Evicts, Plan};
use store::journal::Error;

use crate::cairns::{self, Cairn, Read};
use crate::places::{Mirrored, PAGES, REGION_SECTORS, encoded, numbered};
use crate::slots::Slots;
use crate::stories::Story;
use crate::txt;

/// Which media and encodings a device has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Journal in NOR flash, cells as a raw pair for U-Boot, no promise of whole sectors.
    UbootNor,
    /// Journal and raw pair on a card that tears sectors.
    UbootCard,
    /// GRUB: cells in preallocated FAT sectors.
    Grub,
    /// A loader that reads cells in files of a journalling file system, without replay.
    Files,
    /// As `UbootCard`, but kernels lie in two raw slots.
    Slots,
    /// The reference's `uboot.txt`, and its firmware that tries every second boot.
    Reference,
    /// A firmware that tries once, when asked at the reboot. The reference's text in a FAT sector, which has a place
    /// for the attempts that Linux issues, stands in for a codec of its own.
    OneShot,
}

impl Kind {
    pub(crate) const ALL: [Self; 7] =
        [Self::UbootNor, Self::UbootCard, Self::Grub, Self::Files, Self::Slots, Self::Reference, Self::OneShot];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::UbootNor => "uboot-nor",
            Self::UbootCard => "uboot-card",
            Self::Grub => "grub-disk",
            Self::Files => "files-disk",
            Self::Slots => "uboot-slots",
            Self::Reference => "reference-txt",
            Self::OneShot => "one-shot",
        }
    }

    /// How its firmware counts.
    pub(crate) fn trial(self) -> TrialKind {
        match self {
            Self::UbootNor | Self::UbootCard | Self::Grub | Self::Files | Self::Slots => TrialKind::Counted,
            Self::Reference => TrialKind::Toggling,
            Self::OneShot => TrialKind::OneShot,
        }
    }

    /// The ways in which this device's media lose an interrupted operation.
    pub(crate) fn tears(self) -> &'static [Tear] {
        match self {
            Self::UbootNor | Self::UbootCard | Self::Slots => &Tear::ALL,
            // Their cells rest on the promise of whole sectors, and say so.
            Self::Grub | Self::Files | Self::Reference | Self::OneShot => &Tear::ATOMIC,
        }
    }
}

/// A fault planted on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Planted {
    /// None.
    Nothing,
    /// The barrier reports success and does nothing.
    NoBarrier,
    /// Both copies of the raw pair lie in one sector.
    OneCopy,
    /// A cell in a file is replaced by an exchange of names, so that firmware and Linux can read two values.
    ReplayedCell,
    /// A slot is written while the cells still name what it holds.
    NoVacating,
    /// Nobody tells the next boot that the one before it left a mark.
    MarkUnseen,
    /// A toggling firmware jumps without noting what it tries.
    TryingUnnoted,
    /// The request to a one-shot firmware survives a power cut.
    AskedKept,
    /// A body that this Cairn cannot read is replaced like any other.
    NewerReplaced,
    /// The newest body is written while an older Cairn is still the default or previous.
    NewerTooEarly,
}

#[derive(Clone)]
enum JournalMedium {
    Nor(Mirrored<SimNor<32, 4096>>),
    Card(Mirrored<SimBlock>),
}

/// Where the raw pair and the note lie, in bytes.
const PAIR: [u64; 2] = [0, 8 * SECTOR as u64];
const NOTE: u64 = 16 * SECTOR as u64;

const WANTED: &str = "wanted";
const SPARE: &str = "wanted.spare";
const SPENT: &str = "spent";

/// A device.
#[derive(Clone)]
pub(crate) struct Device {
    pub(crate) kind: Kind,
    pub(crate) fuel: Fuel,
    planted: Planted,
    journal: JournalMedium,
    /// Cells on sectors; unused where they are files.
    cells: SimBlock,
    /// The file system with the boot files of all revisions and, on some kinds, the cells.
    pub(crate) files: SimFs,
    slots: Slots,
    cairns: [Cairn; 4],
    /// What the firmware has jumped into.
    running: RevisionId,
    /// At the reboot a one-shot firmware was asked for the trial; power takes it along.
    pub(crate) asked: bool,
    /// The boot before this one left a mark.
    pub(crate) marked: bool,
    /// Newer bodies that may stand in the journal: the last acknowledged one, and one in flight. Empty: none must.
    newer: Vec<Vec<u8>>,
    /// Jumps into a trial that the journal had given up before.
    relapses: u8,
}

/// A digest that was found bad before the stories begin, and is never forgotten.
pub(crate) fn condemned() -> Digest {
    Digest([0xBA; 32])
}

/// The bytes of a revision's kernel: longer than a sector, and different in each one.
fn kernel(revision: &RevisionId) -> Vec<u8> {
    let mut bytes = format!("kernel of {revision}; ").into_bytes().repeat(SECTOR / 4);
    bytes.truncate(3 * SECTOR);
    bytes
}

fn kernel_name(revision: &RevisionId) -> String {
    format!("trails/{revision}/kernel")
}

pub(crate) fn known(number: u32) -> Known {
    let mut digest = [0; 32];
    digest[..4].copy_from_slice(&number.to_le_bytes());
    Known { revision: numbered(number), digest: Some(Digest(digest)) }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Device {
    /// A device as it leaves the factory with revision 0, which has come to run 1 as its default.
    pub(crate) fn new(kind: Kind, planted: Planted, story: &Story) -> Self {
        let fuel = Fuel::unlimited();
        let nor = || SimNor::erased(PAGES, Writes::Once, &fuel);
        let card = || SimBlock::filled(REGION_SECTORS, 0xFF, &fuel);
        let mut device = Self {
            kind,
            fuel: fuel.clone(),
            planted,
            journal: match kind {
                Kind::UbootNor => JournalMedium::Nor(Mirrored::new(nor(), nor())),
                _ => JournalMedium::Card(Mirrored::new(card(), card())),
            },
            cells: SimBlock::filled(32, 0, &fuel),
            files: SimFs::empty(&fuel),
            slots: Slots::made(kernel),
            cairns: story.cairns,
            running: numbered(1),
            asked: false,
            marked: false,
            newer: Vec::new(),
            relapses: 0,
        };
        let wanted = Wanted {
            nonce: 5,
            default: numbered(1),
            previous: Some(numbered(0)),
            factory: Some(numbered(0)),
            trial: None,
        };
        if let Err(why) = device.make(&wanted, story.shape) {
            panic!("a device cannot be made: {why}");
        }
        device
    }

    fn make(&mut self, wanted: &Wanted, shape: u8) -> Result<(), String> {
        for revision in [0, 1] {
            self.files.create(&kernel_name(&numbered(revision)), &kernel(&numbered(revision)));
        }
        let note = encoded_note(self.kind, Spent { nonce: 5, boots: 0 });
        match self.kind {
            Kind::Files => {
                let block = encoded_for(self.kind, wanted);
                self.files.create(WANTED, &block);
                self.files.create(SPARE, &block);
                self.files.create(SPENT, &note);
            }
            // Its bootloader finds an empty `pv.env`.
            Kind::Reference => self.files.create(txt::NAME, &txt::made(wanted)?),
            Kind::OneShot => self.cells.damage(0, &txt::made(wanted)?),
            Kind::UbootNor | Kind::UbootCard | Kind::Slots | Kind::Grub => {
                let block = encoded_for(self.kind, wanted);
                PAIR.iter().for_each(|at| self.cells.damage(usize::try_from(*at).unwrap_or(0), &block));
                self.cells.damage(usize::try_from(NOTE).unwrap_or(0), &note);
            }
        }
        self.files.fsync().and_then(|()| self.files.checkpoint()).map_err(text)?;
        let mut journal = Journal::factory(known(1));
        journal.header.condemned.add(condemned());
        let record = cairns::encode(&journal, shape).map_err(text)?;
        if shape == cairns::FUTURE {
            self.newer = vec![cairns::body(&record)];
        }
        self.write_record(&record)
    }

    /// Where the copies of the raw pair lie.
    fn pair(&self) -> [u64; 2] {
        match self.planted {
            Planted::OneCopy => [0, 0],
            _ => PAIR,
        }
    }

    /// Power is back, everywhere.
    pub(crate) fn power_on(&mut self, fuel: &Fuel) {
        self.fuel = fuel.clone();
        self.asked &= self.planted == Planted::AskedKept;
        self.cells.power_on(fuel);
        self.slots.power_on(fuel);
        self.files.power_on(fuel);
        match &mut self.journal {
            JournalMedium::Nor(journal) => journal.power_on_both(fuel),
            JournalMedium::Card(journal) => journal.power_on_both(fuel),
        }
    }

    pub(crate) fn unreplayed_wanted(&mut self) -> Result<Wanted, String> {
        let file = |name| self.files.read_unreplayed(name).ok_or("a name without its file");
        match self.kind {
            Kind::Files => Grub::decode_wanted(file(WANTED)?).map_err(text),
            Kind::Reference => txt::wanted(file(txt::NAME)?),
            _ => self.wanted(),
        }
    }

    pub(crate) fn unreplayed_note(&mut self) -> Note {
        let mut bytes = [0; 2 * SECTOR];
        match self.kind {
            Kind::Files => self.files.read_unreplayed(SPENT).map_or(Note::Unreadable, grub::note),
            Kind::Reference => match (self.unreplayed_wanted(), self.cells.read(NOTE, &mut bytes[..SECTOR])) {
                (Ok(wanted), Ok(())) => txt::tried(&wanted, &bytes[..SECTOR]),
                _ => Note::Unreadable,
            },
            // It writes none, and nobody looks for one.
            Kind::OneShot => Note::Read(Spent::default()),
            Kind::Grub => match self.cells.read(NOTE, &mut bytes) {
                Ok(()) => grub::note(&bytes),
                Err(_) => Note::Unreadable,
            },
            Kind::UbootNor | Kind::UbootCard | Kind::Slots => match self.cells.read(NOTE, &mut bytes[..SECTOR]) {
                Ok(()) => raw::note(&bytes[..SECTOR], Head::Plain),
                Err(_) => Note::Unreadable,
            },
        }
    }

    /// The first thing that Linux does: mounts, and makes both regions of the journal agree.
    pub(crate) fn mount(&mut self) -> Result<(), String> {
        self.files.mount().map_err(text)?;
        let scrubbed = match &mut self.journal {
            JournalMedium::Nor(journal) => {
                journal.with(|journal| journal.scrub().map_err(|error| format!("{error:?}")))
            }
            JournalMedium::Card(journal) => {
                journal.with(|journal| journal.scrub().map_err(|error| format!("{error:?}")))
            }
        };
        scrubbed.map(drop)?;
        self.versions_agree()
    }

    /// What running boot is told of the end of the one before.
    pub(crate) fn told_of_mark(&mut self) -> bool {
        std::mem::take(&mut self.marked) && self.planted != Planted::MarkUnseen
    }

    /// The last thing that Linux does before an ordered reboot: unmounts, which brings everything home.
    pub(crate) fn unmount(&mut self) -> Result<(), String> {
        self.files.checkpoint().map_err(text)
    }

    /// Writes the trail of a revision, as the store does: durable for whoever replays, and for nobody else.
    pub(crate) fn stage(&mut self, revision: &RevisionId) -> Result<(), String> {
        self.files.create(&kernel_name(revision), &kernel(revision));
        self.files.fsync().map_err(text)
    }

    /// Whether the board holds the boot files of a revision.
    pub(crate) fn holds(&mut self, revision: &RevisionId) -> bool {
        self.kind != Kind::Slots || self.slots.held().iter().any(|held| held.contains(revision))
    }

    /// The names that have to go before a revision is placed; one that changes over in place is held by then.
    pub(crate) fn prepare(&mut self, plan: &Plan, wanted: &Wanted) -> Result<Evicts, String> {
        let revision = &plan.what.revision;
        if self.kind != Kind::Slots {
            return Ok(Evicts::default());
        }
        if plan.by == Transition::InPlace {
            return self.slots.share(revision, &self.running, wanted).map(|()| Evicts::default()).map_err(text);
        }
        let evicts = self.slots.evicts(revision, &self.running, wanted, &kernel(revision)).map_err(text)?;
        Ok(if self.planted == Planted::NoVacating { Evicts::default() } else { evicts })
    }

    /// Writes the kernel where the firmware looks. Where it reads trails, staging has put it there.
    pub(crate) fn place(&mut self, revision: &RevisionId, wanted: &Wanted) -> Result<(), String> {
        if self.kind != Kind::Slots {
            return Ok(());
        }
        let mut wanted = wanted.clone();
        if self.planted == Planted::NoVacating {
            // Who forgets to withdraw a name does not look whether one stands there either.
            (wanted.previous, wanted.factory) = (None, None);
        }
        self.slots.place(revision, &self.running, &wanted, &kernel(revision)).map_err(text)
    }

    fn write_record(&mut self, bytes: &[u8]) -> Result<(), String> {
        fn write<F: embedded_storage_async::nor_flash::NorFlash>(
            journal: &mut store::journal::Journal<F>,
            bytes: &[u8],
        ) -> Result<(), String> {
            match journal.write(bytes) {
                Ok(_) => Ok(()),
                // Whoever persists has decided that what was there is lost.
                Err(Error::Unreadable) => {
                    journal.reset().map_err(|error| format!("{error:?}"))?;
                    journal.write(bytes).map(drop).map_err(|error| format!("{error:?}"))
                }
                Err(error) => Err(format!("{error:?}")),
            }
        }
        match &mut self.journal {
            JournalMedium::Nor(journal) => journal.with(|journal| write(journal, bytes)),
            JournalMedium::Card(journal) => journal.with(|journal| write(journal, bytes)),
        }
    }

    fn read_record(&mut self) -> Result<Vec<u8>, String> {
        let stored = match &mut self.journal {
            JournalMedium::Nor(journal) => journal.with(|journal| journal.read().map_err(|error| format!("{error:?}"))),
            JournalMedium::Card(journal) => {
                journal.with(|journal| journal.read().map_err(|error| format!("{error:?}")))
            }
        };
        stored?.map(|stored| stored.bytes).ok_or_else(|| "the journal is empty".to_owned())
    }
}

fn encoded_for(kind: Kind, wanted: &Wanted) -> Vec<u8> {
    match kind {
        Kind::UbootNor | Kind::UbootCard | Kind::Slots => encoded::<Raw<false>>(wanted),
        Kind::Grub | Kind::Files => encoded::<Grub>(wanted),
        // Their bytes depend on what stands there.
        Kind::Reference | Kind::OneShot => Vec::new(),
    }
}

fn encoded_note(kind: Kind, spent: Spent) -> Vec<u8> {
    let encoded = match kind {
        Kind::UbootNor | Kind::UbootCard | Kind::Slots => {
            raw::encode_spent(&spent, Head::Plain).map(|bytes| bytes.to_vec())
        }
        Kind::Grub | Kind::Files | Kind::OneShot | Kind::Reference => {
            grub::encode_spent(&spent).map(|bytes| bytes.to_vec())
        }
    };
    encoded.unwrap_or_else(|error| panic!("{spent:?} has no encoding: {error}"))
}

impl Flash for Device {
    type Error = String;

    fn persist(&mut self, journal: &Journal) -> Result<(), String> {
        let record = self.record(journal)?;
        self.write_record(&record)?;
        // Acknowledged: only the latest counts.
        self.newer.drain(..self.newer.len().saturating_sub(1));
        Ok(())
    }

    fn store(&mut self, wanted: &Wanted) -> Result<(), String> {
        let (bytes, pair) = (encoded_for(self.kind, wanted), self.pair());
        match self.kind {
            Kind::Reference => Env::<_, UbootTxt>::new(&mut self.files).store(wanted).map_err(text),
            Kind::OneShot => txt::store(OneSector::new(&mut self.cells, 0, txt::LENGTH), wanted),
            Kind::UbootNor | Kind::UbootCard | Kind::Slots => {
                RawPair::<_, Raw<false>>::new(&mut self.cells, pair).replace(&bytes).map_err(text)
            }
            Kind::Grub => OneSector::new(&mut self.cells, 0, bytes.len()).replace(&bytes).map_err(text),
            Kind::Files if self.planted == Planted::ReplayedCell => {
                ExchangedFile::new(&mut self.files, WANTED, SPARE).replace(&bytes).map_err(text)
            }
            Kind::Files => SectorFile::new(&mut self.files, WANTED).replace(&bytes).map_err(text),
        }
    }

    fn sync(&mut self) -> Result<(), String> {
        match self.planted {
            Planted::NoBarrier => Ok(()),
            _ => self.files.checkpoint().map_err(text),
        }
    }

    fn journal(&mut self) -> Result<Journal, String> {
        match cairns::read(&self.read_record()?, self.cairn(&self.running))? {
            Read::Whole(journal) => Ok(*journal),
            Read::Head(_) => Err("the journal's body is from a newer version".to_owned()),
        }
    }

    fn wanted(&mut self) -> Result<Wanted, String> {
        let mut bytes = [0; 2 * SECTOR];
        match self.kind {
            Kind::Reference => {
                let length = Files::read(&mut self.files, txt::NAME, &mut bytes).map_err(text)?;
                txt::wanted(&bytes[..length])
            }
            Kind::UbootNor | Kind::UbootCard | Kind::Slots => {
                let pair = self.pair();
                let length = RawPair::<_, Raw<false>>::new(&mut self.cells, pair).read(&mut bytes).map_err(text)?;
                Raw::<false>::decode_wanted(&bytes[..length]).map_err(text)
            }
            Kind::OneShot => {
                OneSector::new(&mut self.cells, 0, txt::LENGTH).read(&mut bytes).map_err(text)?;
                txt::wanted(&bytes)
            }
            Kind::Grub => {
                OneSector::new(&mut self.cells, 0, 2 * SECTOR).read(&mut bytes).map_err(text)?;
                Grub::decode_wanted(&bytes).map_err(text)
            }
            Kind::Files => {
                let length = Files::read(&mut self.files, WANTED, &mut bytes).map_err(text)?;
                Grub::decode_wanted(&bytes[..length]).map_err(text)
            }
        }
    }
}
