//! The boards of this program, by name, and the facts of a boot on each.
//!
//! Everything above works with one flash behind one trait; here, and only here, the type of a board is known. A board of
//! our own is one row of [`OURS`]; a program of a vendor has a list of its own.

mod inspect;
mod media;

use std::ffi::CStr;
use std::fmt;
use std::path::Path;

use board_host::Host;
#[cfg(any(test, target_arch = "arm"))]
use board_qemu_arm_orangepi_pc::OrangePiPc;
#[cfg(any(test, target_arch = "aarch64"))]
use board_qemu_arm64_uboot::QemuArm64Uboot;
#[cfg(any(test, target_arch = "x86_64"))]
use board_qemu_x86_64_grub::QemuX86Grub;
#[cfg(any(test, target_arch = "x86_64"))]
use board_takeover_grub::TakeoverGrub;
#[cfg(any(test, target_arch = "arm", target_arch = "aarch64"))]
use board_takeover_uboot::TakeoverUboot;
use boards_api::board::{Board, Booted, BootedAs, Role};
use boards_api::env::BootEnv;
use boards_api::provision;
use metal::disks::{self, Device, Roots};
use metal::partitions::Partitions;
use statemachine::boot::{Note, TrialKind, Wanted};
use statemachine::ids::RevisionId;
use statemachine::journal::Journal;
use statemachine::recover::Boot;
use statemachine::update::Running;
use store::nor::SectorNor;

use self::inspect::inspect_as;
use self::media::OnDevice;
use crate::driver::Flash;
use crate::flash::{DeviceFlash, Started};
use crate::selftest::Findings;
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
            Self::Words(words) => write!(f, "the firmware did not say what it booted in {words:?}"),
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
    /// Whether the boot before left a mark.
    pub marked: bool,
}

/// Where a device keeps what lasts.
#[derive(Clone, Copy, Debug)]
pub struct Storage<'s> {
    /// The directory that it is mounted on.
    pub directory: &'s Path,
    /// What is mounted there. `None`: whoever started PID 1 has mounted it, and all boot files are within.
    pub device: Option<&'s Device>,
}

type Open = fn(&Settings, Storage<'_>, &Questions<'_>) -> Result<Opened, BoardError>;

/// A board as a value.
#[derive(Clone, Copy, Debug)]
pub struct AnyBoard {
    name: &'static str,
    kind: TrialKind,
    booted: fn(&str) -> Option<Booted>,
    has_growing_storage: bool,
    open: Open,
    inspect: fn(&Settings, &Path, &mut Findings),
}

impl AnyBoard {
    /// The value of a board whose cells can be opened on a device.
    #[must_use]
    pub const fn of<B: Board>() -> Self
    where
        B::Env<OnDevice>: Send + 'static,
    {
        // Where the layout has nothing else, whoever made the disk has decided what lies behind.
        let has_growing_storage = match B::LAYOUT.partitions {
            [_, .., last] => matches!(last.role, Role::Store) && last.size_kib.is_none(),
            _ => false,
        };
        Self {
            name: B::NAME,
            kind: B::TRIAL,
            booted: B::booted,
            has_growing_storage,
            open: open_as::<B>,
            inspect: inspect_as::<B>,
        }
    }

    /// Its name, as in the settings and in `compatible` of a revision.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

/// The boards of this tree. Those of one architecture are in one program; the tests know all.
pub const OURS: &[AnyBoard] = &[
    AnyBoard::of::<Host>(),
    #[cfg(any(test, target_arch = "aarch64"))]
    AnyBoard::of::<QemuArm64Uboot>(),
    #[cfg(any(test, target_arch = "x86_64"))]
    AnyBoard::of::<QemuX86Grub>(),
    #[cfg(any(test, target_arch = "arm"))]
    AnyBoard::of::<OrangePiPc>(),
    #[cfg(any(test, target_arch = "arm", target_arch = "aarch64"))]
    AnyBoard::of::<TakeoverUboot>(),
    #[cfg(any(test, target_arch = "x86_64"))]
    AnyBoard::of::<TakeoverGrub>(),
];

fn named<'b>(boards: &'b [AnyBoard], settings: &Settings) -> Option<&'b AnyBoard> {
    boards.iter().find(|board| board.name == settings.fit.board())
}

/// Opens the board that the settings name.
///
/// # Errors
/// [`BoardError`]
pub fn open(
    boards: &[AnyBoard],
    settings: &Settings,
    storage: Storage<'_>,
    questions: &Questions<'_>,
) -> Result<Opened, BoardError> {
    let board = named(boards, settings).ok_or_else(|| BoardError::Unknown(settings.fit.board().to_owned()))?;
    (board.open)(settings, storage, questions)
}

/// Asks the board that the settings name whether this device is as it says, and writes nothing. `storage` is where the
/// storage is mounted. `None`: this program has no such board.
pub fn inspect(boards: &[AnyBoard], settings: &Settings, storage: &Path, findings: &mut Findings) -> Option<()> {
    (named(boards, settings)?.inspect)(settings, storage, findings);
    Some(())
}

/// How the firmware of the board counts that the settings name, and as what it has started this boot. `None`: this
/// program has no such board.
#[must_use]
pub fn facts(boards: &[AnyBoard], settings: &Settings) -> Option<(TrialKind, Option<BootedAs>)> {
    let board = named(boards, settings)?;
    Some((board.kind, (board.booted)(&settings.words).map(|booted| booted.role)))
}

/// Whether the storage of the board that the settings name takes what its disk has left.
#[must_use]
pub fn has_growing_storage(boards: &[AnyBoard], settings: &Settings) -> bool {
    named(boards, settings).is_some_and(|board| board.has_growing_storage)
}

fn open_as<B: Board>(settings: &Settings, storage: Storage<'_>, questions: &Questions<'_>) -> Result<Opened, BoardError>
where
    B::Env<OnDevice>: Send + 'static,
{
    let medium = |error: &dyn fmt::Display| BoardError::Medium(error.to_string());
    let booted = B::booted(&settings.words).ok_or_else(|| BoardError::Words(settings.words.clone()))?;
    let partitions = match storage.device {
        Some(device) => beside::<B>(device).map_err(BoardError::Medium)?,
        None => None,
    };
    let mut media = OnDevice::of::<B>(storage.directory.to_owned(), partitions);
    let mut warnings = Vec::new();
    if let Some(shared) = &B::SHARES
        && media.adopt(shared).map_err(BoardError::Medium)?
    {
        warnings.push(format!("{} was taken over from another system", shared.name));
    }
    let env = B::boot_env(&mut media);
    let mut env =
        env.ok_or_else(|| BoardError::Medium(media.failed.take().unwrap_or_else(|| "no boot cells".into())))?;
    let (wanted, _) = env.load();
    let running = running(&booted, wanted.ok().as_ref())?;
    let region = |part| SectorNor::new(part).map_err(|error| medium(&format_args!("the journal: {error}")));
    let [a, b] = media.journal().map_err(BoardError::Medium)?;
    let journal = store::journal::Journal::new(region(a)?, region(b)?)
        .map_err(|error| BoardError::Medium(format!("the journal's regions: {error:?}")))?;
    let files = media.barrier().map_err(BoardError::Medium)?;
    let mut flash = DeviceFlash::new(journal, env, files);
    let factory = Some(RevisionId::factory()).filter(|factory| (questions.holds)(factory));
    let started = Started { kind: B::TRIAL, running, marked: questions.marked, factory };
    let boot = flash.read_boot(started, |id| (questions.verifies)(id), &mut |what| warnings.push(what.to_string()));
    // Behind it: this boot is judged by what its firmware has left.
    if boot.note == Note::Unreadable {
        match provision::mend::<B, _>(&mut media, boot.wanted.as_ref()) {
            Ok(true) => warnings.push("the firmware's note could not be read, and was made anew".into()),
            Ok(false) => {}
            Err(error) => warnings.push(media.failed.take().unwrap_or_else(|| error.to_string())),
        }
    }
    Ok(Opened { flash: Box::new(InWords(flash)), boot, reboot_arg: B::reboot_arg, warnings })
}

/// The partitions beside the storage; `None` where the layout has none.
fn beside<B: Board>(storage: &Device) -> Result<Option<Partitions>, String> {
    if let [_] = B::LAYOUT.partitions {
        return Ok(None);
    }
    let all = disks::list(&Roots::of_machine()).map_err(|error| error.to_string())?;
    Partitions::beside(storage, B::LAYOUT, all).map(Some).map_err(|error| error.to_string())
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
