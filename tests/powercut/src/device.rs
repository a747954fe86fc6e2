//! A whole device on simulated media: journal, boot cells, boot files, and a firmware that reads all of it unreplayed.
//!
//! The journal is `runtime/store`'s, the cells are those of `boards/api`, the encodings those of `formats`, and the
//! firmware decides with `statemachine::boot::pick`. What differs from a real device is the media and the kernels, which
//! are short texts that say whose they are.

use boards_api::cell::{Cell, ExchangedFile, OneSector, RawPair, SectorFile};
use boards_api::codecs::{Grub, Raw};
use boards_api::env::Codec;
use boards_api::media::{Files, SECTOR, Sectors};
use formats::bootenv::uboot::Head;
use formats::bootenv::{grub, raw};
use formats::journal::{self, Version};
use init::driver::Flash;
use sim::block::SimBlock;
use sim::fs::SimFs;
use sim::nor::{SimNor, Writes};
use sim::{Fuel, Tear};
use statemachine::boot::{Choice, Note, Spent, TrialKind, Wanted, pick};
use statemachine::ids::{Digest, RevisionId};
use statemachine::journal::{Journal, Known};
use statemachine::limits::Limits;
use store::journal::Error;

use crate::places::{Mirrored, PAGES, REGION_SECTORS, encoded, numbered};

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
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::UbootNor, Self::UbootCard, Self::Grub, Self::Files];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::UbootNor => "uboot-nor",
            Self::UbootCard => "uboot-card",
            Self::Grub => "grub-disk",
            Self::Files => "files-disk",
        }
    }

    /// The ways in which this device's media lose an interrupted operation.
    pub(crate) fn tears(self) -> &'static [Tear] {
        match self {
            Self::UbootNor | Self::UbootCard => &Tear::ALL,
            // Their cells rest on the promise of whole sectors, and say so.
            Self::Grub | Self::Files => &Tear::ATOMIC,
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
    /// The file system with the boot files of all revisions and, on one kind, the cells.
    pub(crate) files: SimFs,
}

/// The bytes of a revision's kernel: longer than a sector, and different in each one.
fn kernel(revision: &RevisionId) -> Vec<u8> {
    format!("kernel of {revision}; ").into_bytes().iter().copied().cycle().take(3 * SECTOR).collect()
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
    /// A device as it leaves the factory with revision 0, which has come to run 1 as its default. `version`: the shape of
    /// the journal's body that it was written with.
    pub(crate) fn new(kind: Kind, planted: Planted, version: Version) -> Self {
        let fuel = Fuel::unlimited();
        let nor = || SimNor::erased(PAGES, Writes::Once, &fuel);
        let card = || SimBlock::filled(REGION_SECTORS, 0xFF, &fuel);
        let mut device = Self {
            kind,
            fuel: fuel.clone(),
            planted,
            journal: match kind {
                Kind::UbootNor => JournalMedium::Nor(Mirrored::new(nor(), nor())),
                Kind::UbootCard | Kind::Grub | Kind::Files => JournalMedium::Card(Mirrored::new(card(), card())),
            },
            cells: SimBlock::filled(32, 0, &fuel),
            files: SimFs::empty(&fuel),
        };
        let wanted = Wanted {
            nonce: 5,
            default: numbered(1),
            previous: Some(numbered(0)),
            factory: Some(numbered(0)),
            trial: None,
        };
        if let Err(why) = device.make(&wanted, version) {
            panic!("a device cannot be made: {why}");
        }
        device
    }

    fn make(&mut self, wanted: &Wanted, version: Version) -> Result<(), String> {
        for revision in [0, 1] {
            self.files.create(&kernel_name(&numbered(revision)), &kernel(&numbered(revision)));
        }
        let (block, note) = (encoded_for(self.kind, wanted), encoded_note(self.kind, Spent { nonce: 5, boots: 0 }));
        match self.kind {
            Kind::Files => {
                self.files.create(WANTED, &block);
                self.files.create(SPARE, &block);
                self.files.create(SPENT, &note);
            }
            Kind::UbootNor | Kind::UbootCard | Kind::Grub => {
                PAIR.iter().for_each(|at| self.cells.damage(usize::try_from(*at).unwrap_or(0), &block));
                self.cells.damage(usize::try_from(NOTE).unwrap_or(0), &note);
            }
        }
        self.files.fsync().and_then(|()| self.files.checkpoint()).map_err(text)?;
        let mut bytes = [0; journal::MAX_LEN];
        let length = journal::encode_as(&Journal::factory(known(1)), version, &mut bytes).map_err(text)?;
        self.write_record(&bytes[..length])
    }

    /// Where the copies of the raw pair lie.
    fn pair(&self) -> [u64; 2] {
        match self.planted {
            Planted::OneCopy => [0, 0],
            Planted::Nothing | Planted::NoBarrier | Planted::ReplayedCell => PAIR,
        }
    }

    /// Power is back, everywhere.
    pub(crate) fn power_on(&mut self, fuel: &Fuel) {
        self.fuel = fuel.clone();
        self.cells.power_on(fuel);
        self.files.power_on(fuel);
        match &mut self.journal {
            JournalMedium::Nor(journal) => journal.power_on_both(fuel),
            JournalMedium::Card(journal) => journal.power_on_both(fuel),
        }
    }

    /// Power-on to jump: reads the cells, decides, notes, and loads the kernel. `None`: power has gone.
    ///
    /// # Errors
    /// What would leave the device dead, or anywhere but at an old or new revision.
    pub(crate) fn firmware(&mut self) -> Result<Option<RevisionId>, String> {
        let wanted = self.unreplayed_wanted();
        let note = self.unreplayed_note();
        let pick = pick(TrialKind::Counted, wanted.as_ref().ok(), &note, false, Limits::FIELD.chain);
        if let Some(spent) = pick.note {
            let written = self.write_note(spent);
            if self.fuel.is_out() {
                return Ok(None);
            }
            written?;
        }
        let revision = match (pick.choice, wanted) {
            (Choice::Revision(revision), _) => revision,
            (Choice::Factory | Choice::FirstSlot, wanted) => {
                return Err(format!("the firmware cannot read what is wanted: {wanted:?}"));
            }
            (Choice::Recovery, wanted) => return Err(format!("the firmware is at the end of its list: {wanted:?}")),
        };
        match self.files.read_unreplayed(&kernel_name(&revision)) {
            Some(bytes) if bytes == kernel(&revision) => Ok(Some(revision)),
            Some(_) => Err(format!("the kernel of {revision} is not whole")),
            None => Err(format!("the firmware finds no kernel of {revision}")),
        }
    }

    pub(crate) fn unreplayed_wanted(&mut self) -> Result<Wanted, String> {
        if self.kind == Kind::Files {
            let bytes = self.files.read_unreplayed(WANTED).ok_or("a name without its file")?;
            return Grub::decode_wanted(bytes).map_err(text);
        }
        self.wanted()
    }

    pub(crate) fn unreplayed_note(&mut self) -> Note {
        let mut bytes = [0; 2 * SECTOR];
        match self.kind {
            Kind::Files => self.files.read_unreplayed(SPENT).map_or(Note::Unreadable, grub::note),
            Kind::Grub => match self.cells.read(NOTE, &mut bytes) {
                Ok(()) => grub::note(&bytes),
                Err(_) => Note::Unreadable,
            },
            Kind::UbootNor | Kind::UbootCard => match self.cells.read(NOTE, &mut bytes[..SECTOR]) {
                Ok(()) => raw::note(&bytes[..SECTOR], Head::Plain),
                Err(_) => Note::Unreadable,
            },
        }
    }

    fn write_note(&mut self, spent: Spent) -> Result<(), String> {
        let bytes = encoded_note(self.kind, spent);
        match self.kind {
            Kind::Files => self.files.overwrite(SPENT, &bytes).map_err(text),
            Kind::UbootNor | Kind::UbootCard | Kind::Grub => self.cells.write(NOTE, &bytes).map_err(text),
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
        scrubbed.map(drop)
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
        Kind::UbootNor | Kind::UbootCard => encoded::<Raw<false>>(wanted),
        Kind::Grub | Kind::Files => encoded::<Grub>(wanted),
    }
}

fn encoded_note(kind: Kind, spent: Spent) -> Vec<u8> {
    let encoded = match kind {
        Kind::UbootNor | Kind::UbootCard => raw::encode_spent(&spent, Head::Plain).map(|bytes| bytes.to_vec()),
        Kind::Grub | Kind::Files => grub::encode_spent(&spent).map(|bytes| bytes.to_vec()),
    };
    encoded.unwrap_or_else(|error| panic!("{spent:?} has no encoding: {error}"))
}

impl Flash for Device {
    type Error = String;

    fn persist(&mut self, journal: &Journal) -> Result<(), String> {
        let mut bytes = [0; journal::MAX_LEN];
        let length = journal::encode(journal, &mut bytes).map_err(text)?;
        self.write_record(&bytes[..length])
    }

    fn store(&mut self, wanted: &Wanted) -> Result<(), String> {
        let (bytes, pair) = (encoded_for(self.kind, wanted), self.pair());
        match self.kind {
            Kind::UbootNor | Kind::UbootCard => {
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
            Planted::Nothing | Planted::OneCopy | Planted::ReplayedCell => self.files.checkpoint().map_err(text),
        }
    }

    fn journal(&mut self) -> Result<Journal, String> {
        let decoded = journal::decode(&self.read_record()?).map_err(text)?;
        decoded.into_journal().ok_or_else(|| "the journal's body is from a newer version".to_owned())
    }

    fn wanted(&mut self) -> Result<Wanted, String> {
        let mut bytes = [0; 2 * SECTOR];
        match self.kind {
            Kind::UbootNor | Kind::UbootCard => {
                let pair = self.pair();
                let length = RawPair::<_, Raw<false>>::new(&mut self.cells, pair).read(&mut bytes).map_err(text)?;
                Raw::<false>::decode_wanted(&bytes[..length]).map_err(text)
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
