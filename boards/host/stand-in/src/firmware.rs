//! The bootloader: reads two cells, counts, and finds a program. It replays no journal and decides nothing itself.
//!
//! ```text
//!   boot/wanted, boot/spent ──▶ statemachine::boot::pick ──▶ boot/spent (in place) ──▶ trails/REVISION/.pv/…
//! ```
//!
//! A boot file that is missing or unfit is a boot that was spent, never a prompt.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context as _, Result};
use board_host::{BOOT_DIRECTORY, Codec, Host, PROGRAM, SPENT, WANTED};
use boards_api::Board;
use boards_api::env::Codec as _;
use boards_api::media::SECTOR;
use formats::bootenv::raw;
use formats::bootenv::uboot::Head;
use rustix::fs::{MemfdFlags, OFlags};
use statemachine::boot::{CHAIN_TRIES, Choice, Note, Spent, Wanted, pick, unnoted};
use statemachine::ids::RevisionId;

use crate::elf;
use crate::storage::{Eyes, Storage};

/// More than any program that fits into the memory of a small device.
const PROGRAM_MAX: u64 = 256 << 20;

/// One boot as it was decided.
pub(crate) struct Decision {
    pub(crate) wanted: Option<Wanted>,
    /// What was written before the jump; `None`: it could not be written.
    pub(crate) spent: Option<Spent>,
    pub(crate) choice: Choice,
    /// `cairn.role`
    pub(crate) role: &'static str,
    /// What is started; `None`: the recovery program.
    pub(crate) revision: Option<RevisionId>,
}

impl Decision {
    /// The word of the events.
    pub(crate) fn choice(&self) -> &'static str {
        match self.choice {
            Choice::Revision(_) => "revision",
            Choice::Factory => "factory",
            Choice::FirstSlot => "first-slot",
            Choice::Recovery => "recovery",
        }
    }
}

/// Decides, and counts the boot.
pub(crate) fn decide(image: &Path) -> Result<Decision> {
    let storage = Storage::mount(image, Eyes::Firmware)?;
    let boot = Path::new(BOOT_DIRECTORY);
    let wanted = cell(&storage, &boot.join(WANTED)).and_then(|cell| Codec::decode_wanted(&cell).ok());
    let note = cell(&storage, &boot.join(SPENT)).and_then(|cell| Codec::decode_spent(&cell).ok());
    let note = note.map_or(Note::Unreadable, Note::Read);
    let picked = pick(Host::TRIAL, wanted.as_ref(), &note, false, CHAIN_TRIES);
    let spent = picked.note.filter(|spent| match write_note(image, &storage, spent) {
        Ok(()) => true,
        Err(error) => {
            eprintln!("the note was not written, so no trial is booted: {error:#}");
            false
        }
    });
    let choice = match (&spent, &wanted) {
        (None, Some(wanted)) => unnoted(wanted),
        _ => picked.choice,
    };
    let (role, revision) = match &choice {
        Choice::Revision(revision) => {
            (wanted.as_ref().map_or("default", |wanted| role(wanted, revision)), Some(revision.clone()))
        }
        Choice::Factory => ("factory", Some(RevisionId::factory())),
        // This board has no slots; its first place is the trail that it left the factory with.
        Choice::FirstSlot => ("first-slot", Some(RevisionId::factory())),
        Choice::Recovery => ("recovery", None),
    };
    Ok(Decision { wanted, spent, choice, role, revision })
}

/// Which entry of the list names this revision first.
fn role(wanted: &Wanted, revision: &RevisionId) -> &'static str {
    let is = |name: Option<&RevisionId>| name == Some(revision);
    if is(wanted.trial.as_ref().map(|trial| &trial.revision)) {
        "trial"
    } else if is(Some(&wanted.default)) {
        "default"
    } else if is(wanted.previous.as_ref()) {
        "previous"
    } else {
        "factory"
    }
}

fn cell(storage: &Storage, path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    storage.open(path).ok()?.take(SECTOR as u64 + 1).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Overwrites the first sector of the note where it lies on the disk, as a bootloader does that cannot change a file
/// system.
fn write_note(image: &Path, storage: &Storage, spent: &Spent) -> Result<()> {
    let path = Path::new(BOOT_DIRECTORY).join(SPENT);
    let file = storage.open(&path).context("cannot open the note")?;
    let at = crate::sys::first_block(&file).context("cannot find the note on the disk")?;
    if at == 0 || file.metadata()?.len() != SECTOR as u64 {
        anyhow::bail!("the note is not one allocated sector");
    }
    let bytes = raw::encode_spent(spent, Head::Plain).map_err(|error| anyhow::anyhow!("{error}"))?;
    let flags = OFlags::WRONLY | OFlags::DSYNC | OFlags::CLOEXEC;
    let disk = File::from(rustix::fs::open(image, flags, rustix::fs::Mode::empty())?);
    disk.write_all_at(&bytes, at).context("cannot write the note")
}

/// The program of a revision, in memory, or why there is none.
pub(crate) fn load(image: &Path, revision: &RevisionId) -> Result<Result<File, String>> {
    let storage = Storage::mount(image, Eyes::Firmware)?;
    let path = Path::new("trails").join(revision.as_str()).join(PROGRAM);
    match storage.open(&path) {
        Ok(file) => Ok(fit(file).map_err(|error| format!("{}: {error}", path.display()))),
        Err(errno) => Ok(Err(format!("{}: {errno}", path.display()))),
    }
}

/// A program as a file in memory, if it can be PID 1.
pub(crate) fn fit(file: File) -> Result<File, String> {
    let mut bytes = Vec::new();
    file.take(PROGRAM_MAX + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > PROGRAM_MAX {
        return Err(format!("it is larger than {PROGRAM_MAX} bytes"));
    }
    elf::check(&bytes).map_err(|unfit| unfit.to_string())?;
    let memory = rustix::fs::memfd_create("cairn", MemfdFlags::CLOEXEC).map_err(|errno| errno.to_string())?;
    let memory = File::from(memory);
    memory.write_all_at(&bytes, 0).map_err(|error| error.to_string())?;
    Ok(memory)
}
