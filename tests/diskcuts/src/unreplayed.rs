//! A cut disk as a bootloader sees it: cells, the choice, and the files of kernels, with no journal replayed.
//!
//! Laws: the cells are readable; whatever they name is held, whole and as it was signed; what the firmware would start
//! next is the old revision or the new one; what was told is so.

use std::convert::Infallible;
use std::ops::Range;
use std::sync::Arc;

use boards_all::with_board;
use boards_api::board::{Content, Layout, Media, Role};
use boards_api::media::{Files, Sectors as _};
use boards_api::{Board, BootEnv as _, TrialKind};
use formats::journal::decode;
use metal::fat;
use metal::window::Window;
use statemachine::boot::{CHAIN_TRIES, Choice, Note, Wanted, pick};
use statemachine::ids::RevisionId;
use store::journal::Journal;
use store::nor::{PAGE, SectorNor};

use crate::disk::{Disk, Part};
use crate::ext4::Ext4;
use crate::known::{Known, Revisions};
use crate::promise::Promises;

/// Bytes of each half of the journal's partition that are used, at most; as PID 1 has it.
const REGION_MAX: u64 = 16 * PAGE as u64;

/// A board and its partitions on the disk.
#[derive(Clone)]
pub(crate) struct Shape {
    pub(crate) board: &'static str,
    pub(crate) layout: Layout,
    pub(crate) partitions: Vec<Range<u64>>,
}

impl Shape {
    /// The partition with a role.
    pub(crate) fn part(&self, role: Role) -> Option<Range<u64>> {
        let index = self.layout.partitions.iter().position(|partition| partition.role == role)?;
        self.partitions.get(index).cloned()
    }

    /// What lies at a byte of the disk, for people.
    pub(crate) fn label(&self, at: u64) -> &'static str {
        let found = self.partitions.iter().zip(self.layout.partitions).find(|(range, _)| range.contains(&at));
        found.map_or("no partition", |(_, partition)| partition.label)
    }
}

/// What a bootloader reads in the cells.
pub(crate) struct Cells {
    pub(crate) wanted: Result<Wanted, String>,
    pub(crate) note: Note,
    pub(crate) kind: TrialKind,
}

/// Reads the cells. `None`: the board cannot be opened on this disk.
pub(crate) fn cells(disk: &Arc<Disk>, shape: &Shape) -> Option<Cells> {
    with_board!(shape.board, B => cells_of::<B>(disk, shape)).flatten()
}

fn cells_of<B: Board>(disk: &Arc<Disk>, shape: &Shape) -> Option<Cells> {
    let mut media = OnDisk { disk: Arc::clone(disk), shape: shape.clone(), preallocated: B::PREALLOCATED };
    let (wanted, note) = B::boot_env(&mut media)?.load();
    Some(Cells { wanted: wanted.map_err(|error| error.to_string()), note, kind: B::TRIAL })
}

/// Where somebody may write: the storage, the journal, and the cells.
pub(crate) fn places(disk: &Disk, shape: &Shape) -> Vec<Range<u64>> {
    with_board!(shape.board, B => {
        let raw = [Role::Store, Role::Journal, Role::Wanted, Role::Spent].into_iter().filter_map(|role| shape.part(role));
        let firmware = shape.part(Role::Firmware);
        let files = B::PREALLOCATED.iter().filter(|(role, _)| shape.part(*role).is_none()).filter_map(|(_, name)| {
            let part = firmware.clone()?;
            let (disk, length) = (Arc::new(disk.clone()), part.end - part.start);
            let place = fat::locate(&mut Part { disk, start: part.start, length }, name).ok()?;
            Some(part.start + place.at..part.start + place.at + u64::from(place.length))
        });
        raw.chain(files).collect()
    })
    .unwrap_or_default()
}

/// The default in the journal. `None`: there is no record.
pub(crate) fn journal(disk: &Arc<Disk>, shape: &Shape) -> Result<Option<RevisionId>, String> {
    let part = shape.part(Role::Journal).ok_or("the board has no journal")?;
    let size = (part.end - part.start) / 2 / PAGE as u64 * PAGE as u64;
    let half = |index: u64| {
        let start = part.start + index * size;
        SectorNor::new(Part { disk: Arc::clone(disk), start, length: size.min(REGION_MAX) })
            .map_err(|error| error.to_string())
    };
    let mut journal = Journal::new(half(0)?, half(1)?).map_err(|error| error.to_string())?;
    let stored = journal.read().map_err(|error| error.to_string())?;
    let decoded = stored.map(|stored| decode(&stored.bytes).map_err(|error| error.to_string())).transpose()?;
    Ok(decoded.map(|decoded| decoded.header.default.revision))
}

/// Whether the laws hold; else what breaks one.
pub(crate) fn check(disk: &Arc<Disk>, shape: &Shape, revisions: &Revisions, told: &Promises) -> Result<(), String> {
    let Cells { wanted, note, kind } = cells(disk, shape).ok_or("the board finds no cells on the disk")?;
    let wanted = wanted.map_err(|why| format!("the cell that Linux writes cannot be read: {why}"))?;
    let allowed = revisions.0.get(told.committed..=told.posted).ok_or("the log is of other revisions")?;
    let is_allowed = |id: &RevisionId| allowed.iter().any(|known| known.id == *id);
    match pick(kind, Some(&wanted), &note, false, CHAIN_TRIES).choice {
        Choice::Revision(id) if is_allowed(&id) => {}
        other => return Err(format!("{other:?} would be started next; {wanted:?}, {note:?}")),
    }
    if !is_allowed(&wanted.default) {
        return Err(format!("the default is {}", wanted.default));
    }
    let part = shape.part(Role::Store).ok_or("the board has no storage")?;
    let storage = Ext4::open(disk, part).map_err(|why| why.to_string())?;
    let trial = wanted.trial.as_ref().map(|trial| &trial.revision);
    let named = [trial, Some(&wanted.default), wanted.previous.as_ref(), wanted.factory.as_ref()];
    for id in named.into_iter().flatten() {
        let known = revisions.get(id).ok_or_else(|| format!("the cells name {id}, which nobody has made"))?;
        bootable(&storage, known)?;
    }
    let newest = revisions.0.get(told.posted).ok_or("the log is of other revisions")?;
    let lost = |what: &str| Err(format!("it was told that {what}, and that is lost; {wanted:?}"));
    if told.visible {
        bootable(&storage, newest)?;
    }
    if told.armed && !(trial == Some(&newest.id) || wanted.default == newest.id) {
        return lost("the trial is armed");
    }
    if told.stored && wanted.default != newest.id {
        return lost("the revision is the default");
    }
    match journal(disk, shape).map_err(|why| format!("the journal cannot be read: {why}"))? {
        Some(default) if !is_allowed(&default) => Err(format!("the journal has {default} as the default")),
        Some(default) if told.closed && default != newest.id => lost("the journal has the commit"),
        None if told.posted > 0 => Err("the journal is gone".to_owned()),
        _ => Ok(()),
    }
}

/// Whether a bootloader reads what belongs to this revision.
fn bootable(storage: &Ext4<'_>, known: &Known) -> Result<(), String> {
    for (name, object) in &known.boot {
        let path = format!("trails/{}/.pv/{name}", known.id);
        let bytes = storage.read(&path).map_err(|why| format!("unreplayed: {why}"))?;
        if known.files.get(object) != Some(&bytes) {
            return Err(format!("unreplayed: {path} has {} bytes that are not those of {object}", bytes.len()));
        }
    }
    Ok(())
}

/// The media of a board on a disk that is only looked at.
struct OnDisk {
    disk: Arc<Disk>,
    shape: Shape,
    preallocated: &'static [(Role, &'static str)],
}

impl OnDisk {
    fn whole(&self, role: Role) -> Option<Part> {
        let part = self.shape.part(role)?;
        Some(Part { disk: Arc::clone(&self.disk), start: part.start, length: part.end - part.start })
    }
}

impl Media for OnDisk {
    type Sectors = Window<Part>;
    type Files = Never;

    fn sectors(&mut self, role: Role) -> Option<Window<Part>> {
        if self.shape.layout.partition(role).is_some_and(|partition| partition.content == Content::Raw) {
            return Window::whole(self.whole(role)?).ok();
        }
        let (_, name) = self.preallocated.iter().find(|(of, _)| *of == role)?;
        let mut firmware = self.whole(Role::Firmware).filter(|firmware| firmware.size() > 0)?;
        let place = fat::locate(&mut firmware, name).ok()?;
        Window::new(firmware, place.at, place.length.into()).ok()
    }

    fn files(&mut self, _: Role) -> Option<Never> {
        None
    }
}

/// No board here has its cells in a file system that Linux mounts.
enum Never {}

impl Files for Never {
    type Error = Infallible;

    fn read(&mut self, _: &str, _: &mut [u8]) -> Result<usize, Infallible> {
        match *self {}
    }

    fn overwrite(&mut self, _: &str, _: &[u8]) -> Result<(), Infallible> {
        match *self {}
    }

    fn exchange(&mut self, _: &str, _: &str) -> Result<(), Infallible> {
        match *self {}
    }

    fn checkpoint(&mut self) -> Result<(), Infallible> {
        match *self {}
    }
}
