//! The boards of this program, by name, and the facts of a boot on each.
//!
//! Everything above works with one flash behind one trait; here, and only here, the type of a board is known. A board of
//! our own is one row of [`OURS`]; a program of a vendor has a list of its own.

mod env;
mod exercise;
mod inspect;
mod media;

use std::ffi::CStr;
use std::fmt;
use std::path::Path;

#[cfg(any(test, target_arch = "aarch64", target_arch = "arm"))]
use board_generic_uboot_ab::UbootAb;
use board_host::Host;
#[cfg(any(test, target_arch = "arm"))]
use board_qemu_arm_orangepi_pc::OrangePiPc;
#[cfg(any(test, target_arch = "aarch64"))]
use board_qemu_arm64_uboot::QemuArm64Uboot;
#[cfg(any(test, target_arch = "aarch64"))]
use board_qemu_arm64_uboot_ab::QemuArm64UbootAb;
#[cfg(any(test, target_arch = "x86_64"))]
use board_qemu_x86_64_grub::QemuX86Grub;
#[cfg(any(test, target_arch = "aarch64"))]
use board_rpi_tryboot::RpiTryboot;
#[cfg(any(test, target_arch = "x86_64"))]
use board_takeover_grub::TakeoverGrub;
#[cfg(any(test, target_arch = "arm", target_arch = "aarch64"))]
use board_takeover_uboot::TakeoverUboot;
use boards_api::board::{Board, Booted, BootedAs, Layout, Role, Twins};
use boards_api::env::BootEnv;
use boards_api::provision;
use boards_api::slots::Boots;
use metal::disks::{self, Device, Roots};
use metal::emmc::BootPartitions;
use metal::mtd;
use metal::partitions::Partitions;
use metal::slots::Slots;
use statemachine::boot::{Note, TrialKind, Wanted};
use statemachine::ids::RevisionId;
use statemachine::journal::Journal;
use statemachine::recover::Boot;
use statemachine::update::Running;
use store::file::FileSectors;
use store::nor::SectorNor;

use self::env::AnyEnv;
use self::exercise::exercise_as;
use self::inspect::inspect_as;
use self::media::OnDevice;
pub use self::media::{Medium, Part};
use crate::driver::Flash;
use crate::flash::{DeviceFlash, Started};
use crate::places::{Bootloader, Places};
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
    /// Where boot files go.
    pub places: Places,
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

/// [`Board::said`].
type Said = fn(&mut dyn FnMut(&str) -> Option<u32>) -> Option<&'static str>;

type Open = fn(&Settings, Storage<'_>, &Questions<'_>) -> Result<Opened, BoardError>;

/// Has PID 1 write, and stand its barrier.
type Exercise = fn(&Settings, &Path, &dyn Fn() -> Result<String, String>, &mut Findings);

/// A board as a value.
#[derive(Clone, Copy, Debug)]
pub struct AnyBoard {
    name: &'static str,
    kind: TrialKind,
    booted: fn(&str) -> Option<Booted>,
    said: Said,
    has_growing_storage: bool,
    open: Open,
    inspect: fn(&Settings, &Path, &mut Findings),
    exercise: Exercise,
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
            said: B::said,
            has_growing_storage,
            open: open_as::<B>,
            inspect: inspect_as::<B>,
            exercise: exercise_as::<B>,
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
    #[cfg(any(test, target_arch = "aarch64"))]
    AnyBoard::of::<QemuArm64UbootAb>(),
    #[cfg(any(test, target_arch = "x86_64"))]
    AnyBoard::of::<QemuX86Grub>(),
    #[cfg(any(test, target_arch = "arm"))]
    AnyBoard::of::<OrangePiPc>(),
    #[cfg(any(test, target_arch = "aarch64", target_arch = "arm"))]
    AnyBoard::of::<UbootAb>(),
    #[cfg(any(test, target_arch = "aarch64"))]
    AnyBoard::of::<RpiTryboot>(),
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

/// Asks whether the media of this device take a write, and whether the firmware sees it. `rewrite` has PID 1 write what
/// it has written already, as it is the only one who may.
pub(crate) fn exercise(
    boards: &[AnyBoard],
    settings: &Settings,
    storage: &Path,
    rewrite: &dyn Fn() -> Result<String, String>,
    findings: &mut Findings,
) {
    if let Some(board) = named(boards, settings) {
        (board.exercise)(settings, storage, rewrite, findings);
    }
}

/// Adds to the words of the firmware what it says in the device tree instead. `tree` is the kernel's view of that.
pub fn listen(boards: &[AnyBoard], settings: &mut Settings, tree: &Path) {
    let mut property = |path: &str| Some(u32::from_be_bytes(std::fs::read(tree.join(path)).ok()?.try_into().ok()?));
    if let Some(said) = named(boards, settings).and_then(|board| (board.said)(&mut property)) {
        settings.words.push(' ');
        settings.words.push_str(said);
    }
}

/// Where the kernel shows the device tree.
pub const DEVICE_TREE: &str = "/proc/device-tree";

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
    let booted = B::booted(&settings.words).ok_or_else(|| BoardError::Words(settings.shown()))?;
    let partitions = match storage.device {
        Some(device) => beside(B::LAYOUT, device).map_err(BoardError::Medium)?,
        None => None,
    };
    let mut media = OnDevice::of::<B>(storage.directory.to_owned(), partitions);
    let mut warnings = Vec::new();
    if let Some(shared) = &B::SHARES
        && media.refit(shared).map_err(BoardError::Medium)?
    {
        warnings.push(format!("{} was taken over from another system", shared.name));
    }
    let env = B::boot_env(&mut media);
    let env = env.ok_or_else(|| BoardError::Medium(media.failed.take().unwrap_or_else(|| "no boot cells".into())))?;
    let firmware = Firmware {
        kind: B::TRIAL,
        boots: B::BOOTS,
        bootloader: bootloader(settings.bootloader.or(B::BOOTLOADER), storage),
        reboot_arg: B::reboot_arg,
        mend: |media, wanted| provision::mend::<B, _>(media, wanted).map_err(|error| error.to_string()),
    };
    let slots = media.slots::<B>(booted.slot).map_err(BoardError::Medium)?;
    opened((media, AnyEnv::new(env), slots), &booted, firmware, warnings, questions)
}

/// What is asked of a board behind its boot environment.
struct Firmware {
    kind: TrialKind,
    boots: &'static [Boots],
    bootloader: Bootloader,
    reboot_arg: fn(bool) -> Option<&'static CStr>,
    mend: fn(&mut OnDevice, Option<&Wanted>) -> Result<bool, String>,
}

/// The rest, which is the same for every board.
fn opened(
    (mut media, mut env, mut slots): (OnDevice, AnyEnv, Option<Slots<Part>>),
    booted: &Booted,
    firmware: Firmware,
    mut warnings: Vec<String>,
    questions: &Questions<'_>,
) -> Result<Opened, BoardError> {
    let medium = |error: &dyn fmt::Display| BoardError::Medium(error.to_string());
    let (wanted, _) = env.load();
    let wanted = wanted.ok();
    let region = |part| SectorNor::new(part).map_err(|error| medium(&format_args!("the journal: {error}")));
    let [a, b] = media.journal().map_err(BoardError::Medium)?;
    let journal = store::journal::Journal::new(region(a)?, region(b)?)
        .map_err(|error| BoardError::Medium(format!("the journal's regions: {error:?}")))?;
    let files = media.barrier().map_err(BoardError::Medium)?;
    let mut flash = DeviceFlash::new(journal, env, files);
    let held = slots.as_mut().map(Slots::held).unwrap_or_default();
    let in_slot = booted.slot.and_then(|slot| held.get(usize::from(slot.0))).map_or(&[][..], |(_, held)| held);
    let remembered = if wanted.is_none() && in_slot.len() > 1 { flash.default() } else { None };
    let running = running(booted, wanted.as_ref(), in_slot, remembered.as_ref())?;
    // What no slot holds cannot be booted, whatever is in the store.
    let holds = |id: &RevisionId| slots.is_none() || held.iter().any(|(_, held)| held.contains(id));
    let factory = Some(RevisionId::factory()).filter(|factory| holds(factory) && (questions.holds)(factory));
    let started = Started { kind: firmware.kind, running, marked: questions.marked, factory };
    let boot = flash
        .read_boot(started, |id| holds(id) && (questions.verifies)(id), &mut |what| warnings.push(what.to_string()));
    // Behind it: this boot is judged by what its firmware has left.
    if boot.note == Note::Unreadable {
        match (firmware.mend)(&mut media, boot.wanted.as_ref()) {
            Ok(true) => warnings.push("the firmware's note could not be read, and was made anew".into()),
            Ok(false) => {}
            Err(error) => warnings.push(media.failed.take().unwrap_or(error)),
        }
    }
    let named = boot.wanted.iter().flat_map(|wanted| [Some(&wanted.default), wanted.previous.as_ref()]).flatten();
    for lost in named.filter(|id| !holds(id)) {
        warnings.push(format!("the boot cell names revision {lost}, and no slot is labelled with it"));
    }
    let places = Places { boots: firmware.boots, slots, bootloader: firmware.bootloader };
    Ok(Opened { flash: Box::new(InWords(flash)), boot, reboot_arg: firmware.reboot_arg, places, warnings })
}

/// Where the bootloader of this device lies. Nothing of it is opened before a revision brings one.
fn bootloader(twins: Option<Twins>, storage: Storage<'_>) -> Bootloader {
    let open = |node: &Path, to_write: bool| {
        let opened = if to_write { FileSectors::open(node) } else { FileSectors::open_to_read(node) };
        opened.map_err(|error| format!("{}: {error}", node.display()))
    };
    match (twins, storage.device) {
        (None, _) => Bootloader::Flashed,
        (Some(Twins::Emmc), None) => Bootloader::Absent("the settings do not say storage=, so no disk is known".into()),
        (Some(Twins::Emmc), Some(device)) => match BootPartitions::beside(device, &Roots::of_machine(), open) {
            Ok(pair) => Bootloader::Twins(Box::new(pair)),
            Err(why) => Bootloader::Absent(why),
        },
    }
}

/// The partitions beside the storage; `None` where the layout has none.
fn beside(layout: Layout, storage: &Device) -> Result<Option<Partitions>, String> {
    if let [_] = layout.partitions {
        return Ok(None);
    }
    let roots = Roots::of_machine();
    let all = disks::list(&roots).map_err(|error| error.to_string())?;
    let flash = mtd::list(&roots).map_err(|error| error.to_string())?;
    Partitions::beside(storage, layout, all, &flash).map(Some).map_err(|error| error.to_string())
}

/// What runs, as the firmware says and the boot cell names it. Where the firmware says from which slot, `held` is what that
/// one's label names, and counts: what shares a slot is told apart by the boot cell, else by what the journal `remembered`.
fn running(
    booted: &Booted,
    wanted: Option<&Wanted>,
    held: &[RevisionId],
    remembered: Option<&RevisionId>,
) -> Result<Running, BoardError> {
    let named = match booted.role {
        BootedAs::Recovery => return Ok(Running::Recovery),
        BootedAs::Trial => wanted.and_then(|wanted| wanted.trial.as_ref()).map(|trial| trial.revision.clone()),
        BootedAs::Default => wanted.map(|wanted| wanted.default.clone()),
        BootedAs::Previous => wanted.and_then(|wanted| wanted.previous.clone()),
        BootedAs::Factory | BootedAs::FirstSlot => Some(RevisionId::factory()),
    };
    let is_held = |revision: &&RevisionId| held.contains(revision);
    let in_slot = named.as_ref().filter(is_held).or(remembered.filter(is_held)).or(held.last()).cloned();
    in_slot.or(named).map(Running::Revision).ok_or(BoardError::NotWanted(booted.role))
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
        let running = |role, wanted| running(&booted(role), wanted, &[], None);
        assert_eq!(running(BootedAs::Default, Some(&wanted)), Ok(Running::Revision(id("2"))));
        assert_eq!(running(BootedAs::Previous, Some(&wanted)), Ok(Running::Revision(id("1"))));
        assert_eq!(running(BootedAs::Trial, Some(&wanted)), Err(BoardError::NotWanted(BootedAs::Trial)));
        assert_eq!(running(BootedAs::Factory, None), Ok(Running::Revision(RevisionId::factory())));
    }

    #[test]
    fn what_runs_from_a_slot_is_what_its_label_names() {
        let id = |name: &str| RevisionId::parse(name).unwrap();
        let wanted = Wanted { nonce: 1, default: id("2"), previous: Some(id("1")), factory: None, trial: None };
        let (one, both) = ([id("7")], [id("1"), id("2"), id("3")]);
        let ask = |role, wanted, held: &[_], remembered: Option<&str>| {
            let remembered = remembered.map(id);
            let booted = Booted { slot: Some(boards_api::slots::Slot(0)), role };
            running(&booted, wanted, held, remembered.as_ref()).map(|running| match running {
                Running::Revision(revision) => revision.to_string(),
                Running::Recovery => "recovery".to_owned(),
            })
        };
        assert_eq!(ask(BootedAs::Previous, Some(&wanted), &both, None).unwrap(), "1");
        // Another slot than that of the default was started as it, because its firmware could not read the cell whole.
        assert_eq!(ask(BootedAs::Default, Some(&wanted), &one, None).unwrap(), "7");
        assert_eq!(ask(BootedAs::Default, None, &one, None).unwrap(), "7");
        assert_eq!(ask(BootedAs::FirstSlot, None, &both, Some("2")).unwrap(), "2");
        assert_eq!(ask(BootedAs::FirstSlot, None, &both, Some("9")).unwrap(), "3");
        // A label that has rotted since is worth less than the cell.
        assert_eq!(ask(BootedAs::Default, Some(&wanted), &[], None).unwrap(), "2");
        assert_eq!(ask(BootedAs::Recovery, Some(&wanted), &both, None).unwrap(), "recovery");
    }

    #[test]
    fn words_without_an_answer_are_told_without_credentials() {
        let settings = Settings::of("board=host\nline=test\n", "quiet ph_creds_secret=abc".into()).unwrap();
        let storage = Storage { directory: Path::new("/nowhere"), device: None };
        let questions = Questions { holds: &|_| false, verifies: &|_| false, marked: false };
        let why = open(OURS, &settings, storage, &questions).map(drop).unwrap_err().to_string();
        assert!(why.contains("quiet ph_creds_secret") && !why.contains("abc"), "{why}");
    }

    #[test]
    fn words_that_a_firmware_says_in_the_device_tree_are_heard() {
        let tree = tempfile::tempdir().unwrap();
        let said = |partition: &[u8]| {
            let mut settings = Settings::of("board=rpi-tryboot\nline=test\n", "quiet".into()).unwrap();
            std::fs::create_dir_all(tree.path().join("chosen/bootloader")).unwrap();
            std::fs::write(tree.path().join("chosen/bootloader/partition"), partition).unwrap();
            std::fs::write(tree.path().join("chosen/bootloader/tryboot"), [0, 0, 0, 1]).unwrap();
            listen(OURS, &mut settings, tree.path());
            settings.words
        };
        assert_eq!(said(&[0, 0, 0, 3]), "quiet cairn.role=trial cairn.slot=b");
        assert_eq!(said(&[0, 3]), "quiet", "a property of another size");
        let mut settings = Settings::of("board=host\nline=test\n", "quiet".into()).unwrap();
        listen(OURS, &mut settings, tree.path());
        assert_eq!(settings.words, "quiet");
    }
}
