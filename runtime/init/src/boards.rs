//! The boards of this program, by name, and the facts of a boot on each.
//!
//! Everything above works with one flash behind one trait; here, and only here, the type of a board is known. A board of
//! our own is one row of [`open`].

use std::ffi::CStr;
use std::fmt;
use std::path::{Path, PathBuf};

use board_host::{BOOT_DIRECTORY, Host, JOURNAL};
use boards_api::board::{Board, Booted, BootedAs, Media, Role};
use boards_api::env::BootEnv;
use media::directory::Directory;
use statemachine::boot::{TrialKind, Wanted};
use statemachine::ids::RevisionId;
use statemachine::journal::Journal;
use statemachine::recover::Boot;
use statemachine::update::Running;
use store::file::FileSectors;
use store::nor::SectorNor;

use crate::driver::Flash;
use crate::flash::{DeviceFlash, Started};
use crate::settings::Settings;

/// A flash whose errors are text, whatever it is made of.
pub type AnyFlash = Box<dyn Flash<Error = String> + Send>;

/// A board that was opened, and what it says about this boot.
pub struct Opened {
    /// Where durable values go.
    pub flash: AnyFlash,
    /// The facts of this boot.
    pub boot: Boot,
    /// The argument of `reboot(2)` for a trial.
    pub reboot_arg: fn(bool) -> Option<&'static CStr>,
    /// What was not as it should be.
    pub warnings: Vec<String>,
}

/// Why a board cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BoardError {
    /// This program has no such board.
    Unknown(String),
    /// The firmware did not say what it booted.
    Words(String),
    /// What the firmware says it booted is not in the boot cell.
    NotWanted(BootedAs),
    /// A medium is missing or unusable.
    Medium(String),
}

impl fmt::Display for BoardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => write!(f, "this program has no board {name:?}"),
            Self::Words(words) => write!(f, "the firmware did not say what it booted: no cairn.role in {words:?}"),
            Self::NotWanted(role) => {
                write!(f, "the firmware booted the {role:?} revision, and the boot cell names none")
            }
            Self::Medium(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for BoardError {}

/// What is asked while a board is opened.
pub struct Questions<'q> {
    /// Whether the device holds its factory revision.
    pub holds: &'q dyn Fn(&RevisionId) -> bool,
    /// Whether a revision's bytes verify.
    pub verifies: &'q dyn Fn(&RevisionId) -> bool,
}

/// Opens the board that the settings name.
///
/// # Errors
/// [`BoardError`]
pub fn open(settings: &Settings, storage: &Path, questions: &Questions<'_>) -> Result<Opened, BoardError> {
    match settings.fit.board() {
        Host::NAME => open_as::<Host>(settings, storage, questions),
        other => Err(BoardError::Unknown(other.to_owned())),
    }
}

/// How the firmware of the board counts that the settings name, and as what it has started this boot. `None`: this
/// program has no such board.
#[must_use]
pub fn facts(settings: &Settings) -> Option<(TrialKind, Option<BootedAs>)> {
    match settings.fit.board() {
        Host::NAME => Some(facts_of::<Host>(settings)),
        _ => None,
    }
}

fn facts_of<B: Board>(settings: &Settings) -> (TrialKind, Option<BootedAs>) {
    (B::TRIAL, B::booted(&settings.words).map(|booted| booted.role))
}

fn open_as<B: Board>(settings: &Settings, storage: &Path, questions: &Questions<'_>) -> Result<Opened, BoardError>
where
    B::Env<InStorage>: Send + 'static,
{
    let booted = B::booted(&settings.words).ok_or_else(|| BoardError::Words(settings.words.clone()))?;
    let boot_dir = storage.join(BOOT_DIRECTORY);
    let mut media = InStorage { dir: boot_dir.clone(), failed: None };
    let env = B::boot_env(&mut media);
    let mut env = env.ok_or_else(|| BoardError::Medium(media.failed.unwrap_or_else(|| "no boot cells".into())))?;
    let (wanted, _) = env.load();
    let running = running(&booted, wanted.ok().as_ref())?;
    let region = |name: &str| {
        let path = boot_dir.join(name);
        let wrong = |what: &dyn fmt::Display| BoardError::Medium(format!("{}: {what}", path.display()));
        let sectors = FileSectors::open(&path).map_err(|error| wrong(&error))?;
        SectorNor::new(sectors).map_err(|error| wrong(&error))
    };
    let [a, b] = JOURNAL;
    let journal = store::journal::Journal::new(region(a)?, region(b)?)
        .map_err(|error| BoardError::Medium(format!("the journal's regions: {error:?}")))?;
    let files = Directory::open(&boot_dir).map_err(|error| BoardError::Medium(error.to_string()))?;
    let mut flash = DeviceFlash::new(journal, env, files);
    let factory = Some(RevisionId::factory()).filter(|factory| (questions.holds)(factory));
    let started = Started { kind: B::TRIAL, running, marked: settings.has("cairn.mark"), factory };
    let mut warnings = Vec::new();
    let boot = flash.read_boot(started, |id| (questions.verifies)(id), &mut |what| warnings.push(what.to_string()));
    Ok(Opened { flash: Box::new(InWords(flash)), boot, reboot_arg: B::reboot_arg, warnings })
}

/// What runs, as the firmware says and the boot cell names it.
fn running(booted: &Booted, wanted: Option<&Wanted>) -> Result<Running, BoardError> {
    let revision = match booted.role {
        BootedAs::Recovery => return Ok(Running::Recovery),
        BootedAs::Trial => wanted.and_then(|wanted| wanted.trial.as_ref()).map(|trial| trial.revision.clone()),
        BootedAs::Default => wanted.map(|wanted| wanted.default.clone()),
        BootedAs::Previous => wanted.and_then(|wanted| wanted.previous.clone()),
        BootedAs::Factory | BootedAs::FirstSlot => Some(RevisionId::factory()),
    };
    revision.map(Running::Revision).ok_or(BoardError::NotWanted(booted.role))
}

/// Boot files in a directory of the storage.
struct InStorage {
    dir: PathBuf,
    failed: Option<String>,
}

impl Media for InStorage {
    type Sectors = FileSectors;
    type Files = Directory;

    fn sectors(&mut self, _: Role) -> Option<FileSectors> {
        None
    }

    fn files(&mut self, _: Role) -> Option<Directory> {
        Directory::open(&self.dir).map_err(|error| self.failed = Some(error.to_string())).ok()
    }
}

/// A flash that tells its errors in words.
struct InWords<F>(F);

impl<F: Flash> Flash for InWords<F> {
    type Error = String;

    fn persist(&mut self, journal: &Journal) -> Result<(), String> {
        self.0.persist(journal).map_err(|error| error.to_string())
    }

    fn store(&mut self, wanted: &Wanted) -> Result<(), String> {
        self.0.store(wanted).map_err(|error| error.to_string())
    }

    fn sync(&mut self) -> Result<(), String> {
        self.0.sync().map_err(|error| error.to_string())
    }

    fn journal(&mut self) -> Result<Journal, String> {
        self.0.journal().map_err(|error| error.to_string())
    }

    fn wanted(&mut self) -> Result<Wanted, String> {
        self.0.wanted().map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn booted(role: BootedAs) -> Booted {
        Booted { slot: None, role }
    }

    #[test]
    fn what_runs_is_what_the_boot_cell_names_for_the_role() {
        let id = |name: &str| RevisionId::parse(name).unwrap();
        let wanted = Wanted { nonce: 1, default: id("2"), previous: Some(id("1")), factory: None, trial: None };
        assert_eq!(running(&booted(BootedAs::Default), Some(&wanted)), Ok(Running::Revision(id("2"))));
        assert_eq!(running(&booted(BootedAs::Previous), Some(&wanted)), Ok(Running::Revision(id("1"))));
        assert_eq!(running(&booted(BootedAs::Trial), Some(&wanted)), Err(BoardError::NotWanted(BootedAs::Trial)));
        assert_eq!(running(&booted(BootedAs::Factory), None), Ok(Running::Revision(RevisionId::factory())));
    }
}
