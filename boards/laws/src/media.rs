//! The simulated media of one device: what its board opens by role, power that goes everywhere at once.
//!
//! ```text
//!   Board::provision ──pieces──▶ Device ──opened by role──▶ Board::boot_env
//!                                  │ power goes
//!                                  ▼
//!                    seen without a replay · mounted again
//! ```
//!
//! Sectors and files are those of `tests/sim`. A partition takes no more memory than the sectors that are used of it.

use std::cell::RefCell;
use std::rc::Rc;

use boards_api::board::{Board, Media, Role};
use boards_api::env::BootEnv;
use boards_api::media::{Files, SECTOR, Sectors};
use boards_api::provision::{self, At, New, Piece};
use sim::Fuel;
use sim::block::{BlockFault, SimBlock};
use sim::fs::{FsFault, SimFs};
use statemachine::boot::{Note, Wanted};

/// Sectors of one medium that a law may touch.
const TOUCHED: usize = 24;

/// A [`Piece`] with bytes of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Owned {
    /// What it is for.
    pub role: Role,
    /// Where it lies.
    pub at: At,
    /// All of it.
    pub bytes: Vec<u8>,
}

/// What the board says of a new device.
///
/// # Errors
/// The board cannot write these values down, or does not say where its cells lie.
pub fn pieces<B: Board>(new: &New<'_>) -> Result<Vec<Owned>, String> {
    let mut pieces = Vec::new();
    let mut put = |piece: Piece<'_>| pieces.push(Owned { role: piece.role, at: piece.at, bytes: piece.bytes.to_vec() });
    B::provision(new, &mut put).map_err(|error| format!("provision() refuses {:?}: {error}", new.wanted))?;
    if !pieces.iter().any(|piece| piece.role == Role::Wanted) {
        return Err("provision() puts nothing for Role::Wanted, so nobody can make an image, or cut it".into());
    }
    Ok(pieces)
}

/// A row of sectors. Handles share it.
#[derive(Clone, Debug)]
pub struct Disk(Rc<RefCell<Row>>);

#[derive(Clone, Debug)]
struct Row {
    size: u64,
    /// A preallocated file: as long as what is put into it.
    grows: bool,
    /// The sectors that were ever touched, in the order in which they lie in `block`.
    touched: Vec<u64>,
    block: SimBlock,
    /// Where each write began, in bytes.
    writes: Vec<u64>,
}

impl Row {
    fn place(&mut self, sector: u64) -> Result<u64, BlockFault> {
        let known = self.touched.iter().position(|touched| *touched == sector);
        let index = known.unwrap_or_else(|| {
            self.touched.push(sector);
            self.touched.len() - 1
        });
        if index < TOUCHED { Ok((index * SECTOR) as u64) } else { Err(BlockFault::OutOfBounds) }
    }

    fn grow(&mut self, end: u64) {
        if self.grows {
            self.size = self.size.max(end.next_multiple_of(SECTOR as u64));
        }
    }

    fn check(&self, at: u64, length: usize) -> Result<(), BlockFault> {
        match at.checked_add(length as u64) {
            Some(end) if end <= self.size => Ok(()),
            _ => Err(BlockFault::OutOfBounds),
        }
    }
}

impl Sectors for Disk {
    type Error = BlockFault;

    fn size(&self) -> u64 {
        self.0.borrow().size
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), BlockFault> {
        let row = &mut *self.0.borrow_mut();
        row.check(at, into.len())?;
        let mut done = 0;
        while done < into.len() {
            let (sector, within) = ((at + done as u64) / SECTOR as u64, (at + done as u64) % SECTOR as u64);
            let length = (SECTOR - within as usize).min(into.len() - done);
            let place = row.place(sector)? + within;
            row.block.read(place, &mut into[done..done + length])?;
            done += length;
        }
        Ok(())
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), BlockFault> {
        let row = &mut *self.0.borrow_mut();
        row.check(at, bytes.len())?;
        if !at.is_multiple_of(SECTOR as u64) || !bytes.len().is_multiple_of(SECTOR) {
            return Err(BlockFault::NotAligned);
        }
        row.writes.push(at);
        // All into the cache, then one flush: in which order sectors of one write arrive is nobody's choice.
        for (index, sector) in bytes.chunks(SECTOR).enumerate() {
            let place = row.place(at / SECTOR as u64 + index as u64)?;
            row.block.write_cached(place, sector)?;
        }
        row.block.flush()
    }
}

/// A directory. Handles share it.
#[derive(Clone, Debug)]
pub struct Directory(Rc<RefCell<SimFs>>);

impl Files for Directory {
    type Error = FsFault;

    fn read(&mut self, name: &str, into: &mut [u8]) -> Result<usize, FsFault> {
        self.0.borrow_mut().read(name, into)
    }

    fn overwrite(&mut self, name: &str, with: &[u8]) -> Result<(), FsFault> {
        self.0.borrow_mut().overwrite(name, with)
    }

    fn exchange(&mut self, one: &str, other: &str) -> Result<(), FsFault> {
        self.0.borrow_mut().exchange(one, other)
    }

    fn checkpoint(&mut self) -> Result<(), FsFault> {
        self.0.borrow_mut().checkpoint()
    }
}

/// The media of one device.
#[derive(Debug)]
pub struct Device {
    disks: Vec<(Role, Disk)>,
    directories: Vec<(Role, Directory)>,
}

impl Device {
    /// A device with these pieces on it, and blank partitions beside them.
    ///
    /// # Errors
    /// A piece does not lie in its medium.
    pub fn with<B: Board>(pieces: &[Owned]) -> Result<Self, String> {
        let mut device = Self { disks: Vec::new(), directories: Vec::new() };
        for partition in B::LAYOUT.partitions {
            let kib = partition.size_kib.unwrap_or(1024 * 1024);
            device.add_disk(partition.role, Some(u64::from(kib) * 1024));
        }
        for piece in pieces {
            device.put(piece)?;
        }
        for (_, directory) in &device.directories {
            let fs = &mut *directory.0.borrow_mut();
            fs.fsync().and_then(|()| fs.mount()).map_err(|error| error.to_string())?;
        }
        Ok(device)
    }

    fn add_disk(&mut self, role: Role, size: Option<u64>) {
        let block = SimBlock::filled(TOUCHED, 0, &Fuel::unlimited());
        let row =
            Row { size: size.unwrap_or(0), grows: size.is_none(), touched: Vec::new(), block, writes: Vec::new() };
        self.disks.push((role, Disk(Rc::new(RefCell::new(row)))));
    }

    fn put(&mut self, piece: &Owned) -> Result<(), String> {
        match piece.at {
            At::Byte(at) => {
                if self.disk(piece.role).is_none() {
                    // No partition of its own: a preallocated file, as long as its pieces reach.
                    self.add_disk(piece.role, None);
                }
                let mut disk = self.disk(piece.role).ok_or("no disk")?;
                disk.0.borrow_mut().grow(at + piece.bytes.len() as u64);
                disk.write(at, &piece.bytes)
                    .map_err(|error| format!("the piece of {:?} at {at}: {error}", piece.role))?;
                disk.0.borrow_mut().writes.clear();
            }
            At::File(name) => {
                if !self.directories.iter().any(|(role, _)| *role == piece.role) {
                    let fs = SimFs::empty(&Fuel::unlimited());
                    self.directories.push((piece.role, Directory(Rc::new(RefCell::new(fs)))));
                }
                let directory = self.directory(piece.role).ok_or("no directory")?;
                directory.0.borrow_mut().create(name, &piece.bytes);
            }
        }
        Ok(())
    }

    fn disk(&self, role: Role) -> Option<Disk> {
        self.disks.iter().find(|(of, _)| *of == role).map(|(_, disk)| disk.clone())
    }

    fn directory(&self, role: Role) -> Option<Directory> {
        self.directories.iter().find(|(of, _)| *of == role).map(|(_, directory)| directory.clone())
    }

    /// Another device in the same state.
    #[must_use]
    pub fn copy(&self) -> Self {
        let disk = |disk: &Disk| Disk(Rc::new(RefCell::new(disk.0.borrow().clone())));
        let directory = |directory: &Directory| Directory(Rc::new(RefCell::new(directory.0.borrow().clone())));
        Self {
            disks: self.disks.iter().map(|(role, of)| (*role, disk(of))).collect(),
            directories: self.directories.iter().map(|(role, of)| (*role, directory(of))).collect(),
        }
    }

    /// Whether every reader finds here what it finds there.
    #[must_use]
    pub fn holds_the_same(&self, other: &Self) -> bool {
        let disks = self.disks.iter().zip(&other.disks).all(|((_, one), (_, other))| {
            let (one, other) = (one.0.borrow(), other.0.borrow());
            one.touched == other.touched && one.block.media() == other.block.media()
        });
        let mut directories = self.directories.iter().zip(&other.directories);
        disks && directories.all(|((_, one), (_, other))| one.0.borrow().holds_the_same(&other.0.borrow()))
    }

    /// Power is back. Linux has to [`mount`](Self::mount) before it reads files.
    pub fn power_on(&self, fuel: &Fuel) {
        self.disks.iter().for_each(|(_, disk)| disk.0.borrow_mut().block.power_on(fuel));
        self.directories.iter().for_each(|(_, directory)| directory.0.borrow_mut().power_on(fuel));
    }

    /// Linux mounts what has a journal, which replays it.
    pub fn mount(&self) {
        for (_, directory) in &self.directories {
            // Power does not go here: laws mount with unlimited fuel, and then nothing can fail.
            let _ = directory.0.borrow_mut().mount();
        }
    }

    /// The device as a bootloader finds it after power has come back: no journal is replayed.
    #[must_use]
    pub fn unreplayed(&self) -> Self {
        let seen = self.copy();
        for (_, directory) in &seen.directories {
            let mut fs = directory.0.borrow_mut();
            *fs = fs.unreplayed();
        }
        seen.power_on(&Fuel::unlimited());
        seen
    }

    /// The bytes where a piece lay, without a replay; `None`: they are gone.
    #[must_use]
    pub fn bytes(&self, piece: &Owned) -> Option<Vec<u8>> {
        match piece.at {
            At::Byte(at) => {
                let mut bytes = vec![0; piece.bytes.len()];
                self.disk(piece.role)?.read(at, &mut bytes).ok()?;
                Some(bytes)
            }
            At::File(name) => self.directory(piece.role)?.0.borrow().read_unreplayed(name).map(<[u8]>::to_vec),
        }
    }

    /// Where writes to the sectors of a role began since the device was made, in bytes.
    #[must_use]
    pub fn writes(&self, role: Role) -> Vec<u64> {
        self.disk(role).map(|disk| disk.0.borrow().writes.clone()).unwrap_or_default()
    }

    /// Opens the boot environment and reads it.
    ///
    /// # Errors
    /// The board opens nothing.
    pub fn load<B: Board>(&self) -> Result<(Result<Wanted, String>, Note), String> {
        let (wanted, note) = self.open::<B>()?.load();
        Ok((wanted.map_err(|error| error.to_string()), note))
    }

    /// Opens the boot environment and stores into it.
    ///
    /// # Errors
    /// The board opens nothing, or refuses, or power has gone.
    pub fn store<B: Board>(&self, wanted: &Wanted) -> Result<(), String> {
        self.open::<B>()?.store(wanted).map_err(|error| error.to_string())
    }

    /// Makes an unreadable note anew, if the board wants that. Whether it did.
    ///
    /// # Errors
    /// The board does not say how, or power has gone.
    pub fn mend<B: Board>(&self, wanted: Option<&Wanted>) -> Result<bool, String> {
        provision::mend::<B, _>(&mut Opener(self), wanted).map_err(|error| error.to_string())
    }

    fn open<B: Board>(&self) -> Result<B::Env<Opener<'_>>, String> {
        B::boot_env(&mut Opener(self)).ok_or_else(|| "boot_env() found a medium missing".to_owned())
    }
}

/// Opens media by their role, as the runtime does on a device.
#[derive(Debug)]
pub struct Opener<'d>(&'d Device);

impl Media for Opener<'_> {
    type Sectors = Disk;
    type Files = Directory;

    fn sectors(&mut self, role: Role) -> Option<Disk> {
        self.0.disk(role)
    }

    fn files(&mut self, role: Role) -> Option<Directory> {
        self.0.directory(role)
    }
}
