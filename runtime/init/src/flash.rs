//! The flash of a device: the store's journal, a board's boot environment, and a barrier, as the driver wants them.
//!
//! | the driver says | here |
//! |---|---|
//! | persist | encode in the current version, replace the record in both regions |
//! | store | the board's environment: its cells are durable when they return |
//! | sync | the barrier of the file system that the firmware reads kernels from |
//! | journal, wanted | read anew, from the medium: the media below drop what the page cache holds of it |
//!
//! What a journal that cannot be used costs:
//!
//! | found at boot | the machine is told | what the first persist does |
//! |---|---|---|
//! | nothing: both regions are erased | no journal | writes |
//! | no region is readable | no journal | erases both, writes: the machine has decided that it is lost |
//! | a record that is no journal | no journal | replaces it |
//! | a body of a newer version | its head | keeps the body, changes the head ([`rehead`]) |
//!
//! A region that becomes unreadable *after* it was read is not erased: that is an error, and the machine reads back. And a
//! newer body goes only when what runs becomes the default itself.

use std::fmt;

use boards_api::env::BootEnv;
use boards_api::media::Files;
use embedded_storage_async::nor_flash::NorFlash;
use formats::journal::{Body, Decoded, MAX_LEN, decode, encode, rehead};
use statemachine::boot::{TrialKind, Wanted};
use statemachine::ids::RevisionId;
use statemachine::journal::Journal;
use statemachine::recover::Boot;
use statemachine::update::Running;
use store::journal::{Copies, Error};

use crate::driver::Flash;

/// What the board and the boot before tell, which no flash holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Started {
    /// How this firmware counts.
    pub kind: TrialKind,
    /// What it started.
    pub running: Running,
    /// Whether the boot before left a mark: panic, watchdog, death of PID 1.
    pub marked: bool,
    /// The factory revision, while the board holds it.
    pub factory: Option<RevisionId>,
}

/// Why a durable value was not read or written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FlashError<N, E, B> {
    /// Something is to be written before anything was read.
    NotRead,
    /// The journal's regions.
    Journal(Error<N>),
    /// There is no record.
    Empty,
    /// The record is not a journal, or a journal has no record.
    Format(formats::journal::Error),
    /// The record's body is of this newer version.
    Newer(u8),
    /// The boot cells.
    Cells(E),
    /// The barrier.
    Barrier(B),
}

impl<N: fmt::Display, E: fmt::Display, B: fmt::Display> fmt::Display for FlashError<N, E, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRead => f.write_str("the journal cannot be written before it was read"),
            Self::Journal(error) => error.fmt(f),
            Self::Empty => f.write_str("the journal is empty"),
            Self::Format(error) => error.fmt(f),
            Self::Newer(version) => write!(f, "the journal's body is of version {version}, from a newer Cairn"),
            Self::Cells(error) => error.fmt(f),
            Self::Barrier(error) => write!(f, "no barrier, so the firmware may not see what was written: {error}"),
        }
    }
}

/// What the machine knows of the journal.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Told {
    /// Nothing: it was not read yet.
    Nothing,
    /// That there is none. If no region is readable they may be erased.
    Absent,
    /// What stood there, or was written since.
    Journal,
}

/// A record and the journal that it stands for: before a newer body only its head does.
#[derive(Clone, Debug)]
struct Written {
    bytes: Vec<u8>,
    journal: Journal,
}

/// Journal, boot cells and barrier of a device.
pub struct DeviceFlash<F: NorFlash, E, B> {
    journal: store::journal::Journal<F>,
    env: E,
    files: B,
    told: Told,
    /// What runs, if that is a revision: it alone may end the life of a newer body.
    running: Option<RevisionId>,
    /// The record was found with the body of a newer version.
    newer: bool,
    /// What was written last and stands.
    written: Option<Written>,
    /// What was to be written and may stand.
    attempted: Option<Written>,
    copies: Option<Copies>,
}

/// The error of [`DeviceFlash`] over these parts.
type ErrorOf<F, E, B> =
    FlashError<<F as embedded_storage_async::nor_flash::ErrorType>::Error, <E as BootEnv>::Error, <B as Files>::Error>;

impl<F: NorFlash, E: BootEnv, B: Files> DeviceFlash<F, E, B> {
    /// Nothing is read yet. `files` is a directory of the file system from which the firmware reads what is staged.
    #[must_use]
    pub fn new(journal: store::journal::Journal<F>, env: E, files: B) -> Self {
        Self {
            journal,
            env,
            files,
            told: Told::Nothing,
            running: None,
            newer: false,
            written: None,
            attempted: None,
            copies: None,
        }
    }

    /// How many copies the last write of the journal has left; `None` before the first, and when it failed. One copy
    /// is a value too: the next boot brings the other region up, or reports it.
    #[must_use]
    pub fn copies(&self) -> Option<Copies> {
        self.copies
    }

    /// Gives the parts back.
    pub fn into_parts(self) -> (store::journal::Journal<F>, E, B) {
        (self.journal, self.env, self.files)
    }

    /// Gathers the facts of a boot. Both regions of the journal agree before it is read, if they ever can.
    ///
    /// `verifies` is asked in recovery only, for the default; `report` hears of everything that is not as it should be.
    pub fn read_boot(
        &mut self,
        started: Started,
        verifies: impl FnOnce(&RevisionId) -> bool,
        report: &mut dyn FnMut(&dyn fmt::Display),
    ) -> Boot
    where
        F::Error: fmt::Display,
    {
        match self.journal.scrub() {
            Ok(Copies::Both | Copies::None) => {}
            Ok(Copies::Only(side)) => report(&format_args!("only region {side:?} of the journal is of use")),
            Err(error) => report(&error),
        }
        let mut head = None;
        let journal = match self.read() {
            Ok(decoded) => {
                if decoded.overtaken {
                    report(&"the journal's head is younger than its body: an older version has run since");
                }
                if let Body::Newer { version } = decoded.body {
                    report(&ErrorOf::<F, E, B>::Newer(version));
                    self.newer = true;
                    head = Some(decoded.header.clone());
                }
                decoded.into_journal()
            }
            Err(error) => {
                report(&error);
                None
            }
        };
        self.told = if journal.is_some() || head.is_some() { Told::Journal } else { Told::Absent };
        let (wanted, note) = self.env.load();
        let wanted = wanted.inspect_err(|error| report(error)).ok();
        self.running = match &started.running {
            Running::Revision(revision) => Some(revision.clone()),
            Running::Recovery => None,
        };
        let remembered = journal.as_ref().map(|journal| &journal.header).or(head.as_ref());
        let default = match (&wanted, remembered) {
            (Some(wanted), _) => Some(&wanted.default),
            (None, Some(head)) => Some(&head.default.revision),
            (None, None) => None,
        };
        let default_verifies = started.running == Running::Recovery && default.is_some_and(verifies);
        let Started { kind, running, marked, factory } = started;
        Boot { kind, running, wanted, note, journal, head, marked, factory, default_verifies }
    }

    /// The default of the journal, for who has to know it before the facts of this boot are gathered.
    pub(crate) fn default(&mut self) -> Option<RevisionId> {
        self.read().ok().map(|decoded| decoded.header.default.revision)
    }

    fn record(&mut self) -> Result<Vec<u8>, ErrorOf<F, E, B>> {
        let stored = self.journal.read().map_err(FlashError::Journal)?;
        stored.map(|stored| stored.bytes).ok_or(FlashError::Empty)
    }

    fn read(&mut self) -> Result<Decoded, ErrorOf<F, E, B>> {
        decode(&self.record()?).map_err(FlashError::Format)
    }

    /// The bytes that a journal becomes here and now.
    fn encoded(&mut self, journal: &Journal) -> Result<Vec<u8>, ErrorOf<F, E, B>> {
        let mut bytes = [0; MAX_LEN];
        let itself = self.running.as_ref() == Some(&journal.header.default.revision);
        let newer = if self.newer && !itself { self.newer_record()? } else { None };
        let length = match newer {
            Some(old) => rehead(&old, &journal.header, &mut bytes),
            None => encode(journal, &mut bytes),
        };
        let length = length.map_err(FlashError::Format)?;
        Ok(bytes.get(..length).unwrap_or_default().to_vec())
    }

    /// The record, if its body is of a newer version.
    fn newer_record(&mut self) -> Result<Option<Vec<u8>>, ErrorOf<F, E, B>> {
        let record = self.record()?;
        let decoded = decode(&record).map_err(FlashError::Format)?;
        Ok(matches!(decoded.body, Body::Newer { .. }).then_some(record))
    }
}

impl<F, E, B> Flash for DeviceFlash<F, E, B>
where
    F: NorFlash,
    F::Error: fmt::Display,
    E: BootEnv,
    B: Files,
{
    type Error = ErrorOf<F, E, B>;

    fn persist(&mut self, journal: &Journal) -> Result<(), Self::Error> {
        if self.told == Told::Nothing {
            return Err(FlashError::NotRead);
        }
        let bytes = self.encoded(journal)?;
        let written = match self.journal.write(&bytes) {
            Err(Error::Unreadable) if self.told == Told::Absent => {
                self.journal.reset().and_then(|()| self.journal.write(&bytes))
            }
            written => written,
        };
        let attempted = Written { bytes, journal: journal.clone() };
        match written {
            Ok(copies) => {
                self.copies = Some(copies);
                self.written = Some(attempted);
                self.attempted = None;
                self.told = Told::Journal;
                Ok(())
            }
            Err(error) => {
                self.copies = None;
                self.attempted = Some(attempted);
                Err(FlashError::Journal(error))
            }
        }
    }

    fn store(&mut self, wanted: &Wanted) -> Result<(), Self::Error> {
        self.env.store(wanted).map_err(FlashError::Cells)
    }

    fn sync(&mut self) -> Result<(), Self::Error> {
        self.files.checkpoint().map_err(FlashError::Barrier)
    }

    fn journal(&mut self) -> Result<Journal, Self::Error> {
        let record = self.record()?;
        let known = [&self.attempted, &self.written];
        if let Some(known) = known.into_iter().flatten().find(|known| known.bytes == record) {
            return Ok(known.journal.clone());
        }
        let decoded = decode(&record).map_err(FlashError::Format)?;
        match decoded.body {
            Body::Newer { version } => Err(FlashError::Newer(version)),
            Body::Known(body) => Ok(Journal { header: decoded.header, body }),
        }
    }

    fn wanted(&mut self) -> Result<Wanted, Self::Error> {
        self.env.load().0.map_err(FlashError::Cells)
    }
}

#[cfg(test)]
mod tests;
