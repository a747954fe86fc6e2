//! The boot cells of a device that leaves the factory, as its board provisions them.
//!
//! What the board says is laid out in memory as it will lie on the disk, and then loaded by the board's own boot
//! environment: an image whose cells its own board cannot read must not leave this machine.

use std::cell::RefCell;
use std::rc::Rc;

use anyhow::{Context as _, Result, bail, ensure};
use boards_api::board::{Media, Role};
use boards_api::media::{Files, SECTOR, Sectors};
use boards_api::provision::{At, New};
use boards_api::slots::Places;
use boards_api::{Board, BootEnv, TrialKind};
use statemachine::boot::{Note, Spent, Wanted};
use statemachine::ids::RevisionId;

/// The first store of a device.
const NONCE: u32 = 1;

/// Where bytes of a new device go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// From this byte of the partition with this role.
    Partition { role: Role, at: u64 },
    /// A file of the firmware's FAT that is never moved.
    File(&'static str),
}

/// Everything that the board provisions, with revision 0 as the default, as the factory revision and in the first slot.
pub(crate) fn factory<B: Board>() -> Result<Vec<(Place, Vec<u8>)>> {
    let default = RevisionId::factory();
    let wanted =
        Wanted { nonce: NONCE, default: default.clone(), previous: None, factory: Some(default.clone()), trial: None };
    let spent = Spent { nonce: NONCE, boots: 0 };
    let first = [default];
    let slots: Vec<&[RevisionId]> = match B::PLACES {
        Places::Trails => Vec::new(),
        Places::Slots(names) => {
            names.iter().enumerate().map(|(at, _)| if at == 0 { &first[..] } else { &[] }).collect()
        }
    };
    let mut media = Memory::default();
    let mut put = Ok(());
    let new = New { wanted: &wanted, spent, slots: &slots };
    B::provision(&new, &mut |piece| {
        if put.is_ok() {
            put = media.put::<B>(piece.role, piece.at, piece.bytes);
        }
    })
    .map_err(|error| anyhow::anyhow!("the cells of a new device cannot be written down: {error}"))?;
    put?;
    let mut env = B::boot_env(&mut media).context("the board has not provisioned all of its cells")?;
    let (stored, note) = env.load();
    let stored = stored.map_err(|error| anyhow::anyhow!("the board cannot read what it has provisioned: {error}"))?;
    ensure!(stored == wanted, "the board reads another `Wanted` than it has provisioned");
    let is_noted = B::TRIAL != TrialKind::Counted || note == Note::Read(spent);
    ensure!(is_noted, "the board does not read the note that it has provisioned: {note:?}");
    Ok(media.pieces)
}

/// Media of a device that is not yet made.
#[derive(Default)]
struct Memory {
    sectors: Vec<(Role, Shared)>,
    /// What was put there, in this order.
    pieces: Vec<(Place, Vec<u8>)>,
}

impl Memory {
    fn put<B: Board>(&mut self, role: Role, at: At, bytes: &[u8]) -> Result<()> {
        let At::Byte(at) = at else {
            bail!("{role:?} is a file of a file system that Linux writes; an image has no such boot cells");
        };
        let file = B::PREALLOCATED.iter().find(|(of, _)| *of == role).map(|(_, name)| *name);
        // A file stands for a partition only where the board has none.
        let (place, size) = match (B::LAYOUT.partition(role), file) {
            (Some(partition), _) => {
                (Place::Partition { role, at }, u64::from(partition.size_kib.unwrap_or_default()) * 1024)
            }
            (None, Some(name)) => (Place::File(name), at + bytes.len() as u64),
            (None, None) => {
                bail!("the board provisions {role:?}, which is neither a partition nor a preallocated file")
            }
        };
        let shared = self.sectors(role).unwrap_or_default();
        {
            let mut held = shared.0.borrow_mut();
            let length = usize::try_from(size)?.max(held.len());
            held.resize(length, 0);
            let into = held.get_mut(range(at, bytes.len())?).with_context(|| format!("{role:?} has no byte {at}"))?;
            into.copy_from_slice(bytes);
        }
        self.sectors.retain(|(of, _)| *of != role);
        self.sectors.push((role, shared));
        self.pieces.push((place, bytes.to_vec()));
        Ok(())
    }
}

impl Media for Memory {
    type Sectors = Shared;
    type Files = Never;

    fn sectors(&mut self, role: Role) -> Option<Shared> {
        self.sectors.iter().find(|(of, _)| *of == role).map(|(_, shared)| shared.clone())
    }

    fn files(&mut self, _: Role) -> Option<Never> {
        None
    }
}

/// Sectors that the boot environment and the image builder look at.
#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Vec<u8>>>);

/// What a medium does not have.
#[derive(Debug)]
pub(crate) struct Outside;

impl std::fmt::Display for Outside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the board asks for a range of sectors that its medium does not have")
    }
}

impl std::error::Error for Outside {}

fn range(at: u64, length: usize) -> Result<std::ops::Range<usize>, Outside> {
    let start = usize::try_from(at).map_err(|_| Outside)?;
    Ok(start..start.checked_add(length).ok_or(Outside)?)
}

impl Sectors for Shared {
    type Error = Outside;

    fn size(&self) -> u64 {
        self.0.borrow().len() as u64
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), Outside> {
        let held = self.0.borrow();
        into.copy_from_slice(held.get(range(at, into.len())?).ok_or(Outside)?);
        Ok(())
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), Outside> {
        if !at.is_multiple_of(SECTOR as u64) || !bytes.len().is_multiple_of(SECTOR) {
            return Err(Outside);
        }
        let mut held = self.0.borrow_mut();
        held.get_mut(range(at, bytes.len())?).ok_or(Outside)?.copy_from_slice(bytes);
        Ok(())
    }
}

/// No board of metal keeps its cells in a file system that Linux writes.
pub(crate) enum Never {}

impl Files for Never {
    type Error = Outside;

    fn read(&mut self, _: &str, _: &mut [u8]) -> Result<usize, Outside> {
        match *self {}
    }

    fn overwrite(&mut self, _: &str, _: &[u8]) -> Result<(), Outside> {
        match *self {}
    }

    fn exchange(&mut self, _: &str, _: &str) -> Result<(), Outside> {
        match *self {}
    }

    fn checkpoint(&mut self) -> Result<(), Outside> {
        match *self {}
    }
}
