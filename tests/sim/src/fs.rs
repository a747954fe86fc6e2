//! A journalling file system, as far as a bootloader that replays no journal can see into it.
//!
//! ```text
//!             running ──commit (fsync)──▶ journal ──checkpoint──▶ home
//!   Linux reads ▲            Linux after a mount ▲                ▲ a bootloader
//!   data of a file: page cache ───────────fsync, fdatasync───────▶ home
//! ```
//!
//! Metadata (which name is which file, how long a file is, which one exists) goes home entry by entry, **in an order
//! that nobody chooses**; an interrupted entry is old, new, or gone. So a file that was written, renamed over another
//! and checkpointed *once* can be met by an unreplaying reader as a name without its file. Mounting replays: it brings
//! home what the journal holds.

use std::collections::{BTreeMap, BTreeSet};

use boards_api::media::{Files, SECTOR};
use boards_api::takeover::Maker;

use crate::fuel::{Burn, Fuel, Luck, Tear};

type Inode = usize;

/// What went wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FsFault {
    /// Power has gone.
    PowerCut,
    /// There is no such file.
    Missing(String),
    /// The file is longer than the buffer, or not as long as what shall overwrite it.
    Length(String),
}

impl std::fmt::Display for FsFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::PowerCut => f.write_str("power has gone"),
            Self::Missing(name) => write!(f, "there is no file {name}"),
            Self::Length(name) => write!(f, "the file {name} has another length"),
        }
    }
}

impl std::error::Error for FsFault {}

/// Names and files in one of the three views.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
struct Meta {
    names: BTreeMap<String, Inode>,
    sizes: BTreeMap<Inode, usize>,
}

/// One entry of metadata on its way home.
#[derive(Debug)]
enum Entry {
    Name(String),
    Size(Inode),
}

/// A directory of a journalling file system.
#[derive(Clone, Debug)]
pub struct SimFs {
    running: Meta,
    journal: Meta,
    home: Meta,
    data: BTreeMap<Inode, Vec<u8>>,
    unsynced: BTreeMap<Inode, Vec<u8>>,
    next: Inode,
    fuel: Fuel,
}

impl SimFs {
    /// An empty directory.
    #[must_use]
    pub fn empty(fuel: &Fuel) -> Self {
        let meta = Meta::default();
        Self {
            running: meta.clone(),
            journal: meta.clone(),
            home: meta,
            data: BTreeMap::new(),
            unsynced: BTreeMap::new(),
            next: 0,
            fuel: fuel.clone(),
        }
    }

    /// Power is back. A bootloader may read; Linux has to [`mount`](Self::mount) first.
    pub fn power_on(&mut self, fuel: &Fuel) {
        self.fuel = fuel.clone();
        self.unsynced.clear();
        self.running = self.journal.clone();
    }

    /// Mounts: replays the journal, which brings home what it holds.
    ///
    /// # Errors
    /// Power has gone in the middle.
    pub fn mount(&mut self) -> Result<(), FsFault> {
        self.checkpoint()
    }

    /// What a bootloader that replays nothing finds under a name.
    #[must_use]
    pub fn read_unreplayed(&self, name: &str) -> Option<&[u8]> {
        let inode = self.home.names.get(name)?;
        let size = *self.home.sizes.get(inode)?;
        self.data.get(inode)?.get(..size)
    }

    /// The same files as that reader sees them, for a program that reads like Linux.
    #[must_use]
    pub fn unreplayed(&self) -> Self {
        let home = self.home.clone();
        let mut seen = Self { running: home.clone(), journal: home.clone(), home, ..self.clone() };
        seen.unsynced.clear();
        seen
    }

    /// Whether every reader, before and after a mount, finds here what it finds there.
    #[must_use]
    pub fn holds_the_same(&self, other: &Self) -> bool {
        let all = |fs: &Self| (fs.running.clone(), fs.journal.clone(), fs.home.clone());
        all(self) == all(other) && self.data == other.data && self.unsynced == other.unsynced
    }

    /// Writes a new file, in memory; a file of that name is replaced.
    pub fn create(&mut self, name: &str, bytes: &[u8]) {
        self.next += 1;
        self.forget(name);
        self.running.names.insert(name.to_owned(), self.next);
        self.running.sizes.insert(self.next, bytes.len());
        self.unsynced.insert(self.next, bytes.to_vec());
    }

    /// Renames over another name, in memory. The file that had it is freed.
    ///
    /// # Errors
    /// There is no such file.
    pub fn rename(&mut self, from: &str, to: &str) -> Result<(), FsFault> {
        let inode = self.running.names.remove(from).ok_or_else(|| FsFault::Missing(from.to_owned()))?;
        self.forget(to);
        self.running.names.insert(to.to_owned(), inode);
        Ok(())
    }

    /// Waits for the data of a file and for all metadata to be in the journal: `fsync` of the file or its directory.
    ///
    /// # Errors
    /// Power has gone.
    pub fn fsync(&mut self) -> Result<(), FsFault> {
        for (inode, bytes) in std::mem::take(&mut self.unsynced) {
            self.data.entry(inode).or_default().resize(bytes.len(), 0);
            self.write_data(inode, &bytes)?;
        }
        if self.running == self.journal {
            return self.alive();
        }
        // A commit is whole or it is none: its last block carries a checksum.
        match self.fuel.burn() {
            Burn::Whole | Burn::Torn(Tear::New, _) => self.journal = self.running.clone(),
            Burn::Torn(..) | Burn::Dead => {}
        }
        self.alive()
    }

    fn forget(&mut self, name: &str) {
        if let Some(freed) = self.running.names.remove(name) {
            self.running.sizes.remove(&freed);
        }
    }

    /// Writes data home, sector by sector.
    fn write_data(&mut self, inode: Inode, bytes: &[u8]) -> Result<(), FsFault> {
        let home = self.data.entry(inode).or_default();
        for (old, new) in home.chunks_mut(SECTOR).zip(bytes.chunks(SECTOR)) {
            match self.fuel.burn() {
                Burn::Whole => old.copy_from_slice(new),
                Burn::Torn(tear, seed) => tear.mix(old, new, seed),
                Burn::Dead => {}
            }
        }
        self.alive()
    }

    fn bring_home(&mut self, entry: &Entry, tear: Tear) {
        match (entry, tear) {
            (_, Tear::Old) => {}
            (Entry::Name(name), Tear::New | Tear::Half | Tear::At(_)) => match self.journal.names.get(name) {
                Some(inode) => drop(self.home.names.insert(name.clone(), *inode)),
                None => drop(self.home.names.remove(name)),
            },
            (Entry::Size(inode), Tear::New | Tear::Half | Tear::At(_)) => {
                match self.journal.sizes.get(inode) {
                    Some(size) => self.home.sizes.insert(*inode, *size),
                    None => self.home.sizes.remove(inode),
                };
            }
            (Entry::Name(name), Tear::Zeros | Tear::Garbage) => drop(self.home.names.remove(name)),
            (Entry::Size(inode), Tear::Zeros | Tear::Garbage) => {
                self.home.sizes.remove(inode);
            }
        }
    }

    /// Entries whose home differs from the journal.
    fn pending(&self) -> Vec<Entry> {
        let names: BTreeSet<_> = self.journal.names.keys().chain(self.home.names.keys()).collect();
        let sizes: BTreeSet<_> = self.journal.sizes.keys().chain(self.home.sizes.keys()).collect();
        let names = names.into_iter().filter(|name| self.journal.names.get(*name) != self.home.names.get(*name));
        let sizes = sizes.into_iter().filter(|inode| self.journal.sizes.get(inode) != self.home.sizes.get(inode));
        names.map(|name| Entry::Name(name.clone())).chain(sizes.map(|inode| Entry::Size(*inode))).collect()
    }

    fn alive(&self) -> Result<(), FsFault> {
        if self.fuel.is_out() { Err(FsFault::PowerCut) } else { Ok(()) }
    }

    fn inode(&self, name: &str) -> Result<Inode, FsFault> {
        self.running.names.get(name).copied().ok_or_else(|| FsFault::Missing(name.to_owned()))
    }
}

impl Files for SimFs {
    type Error = FsFault;

    fn read(&mut self, name: &str, into: &mut [u8]) -> Result<usize, FsFault> {
        self.alive()?;
        let inode = self.inode(name)?;
        let bytes = self.unsynced.get(&inode).or_else(|| self.data.get(&inode));
        let bytes = bytes.ok_or_else(|| FsFault::Missing(name.to_owned()))?;
        let into = into.get_mut(..bytes.len()).ok_or_else(|| FsFault::Length(name.to_owned()))?;
        into.copy_from_slice(bytes);
        Ok(bytes.len())
    }

    fn overwrite(&mut self, name: &str, with: &[u8]) -> Result<(), FsFault> {
        let inode = self.inode(name)?;
        if self.data.get(&inode).is_none_or(|data| data.len() != with.len()) {
            return Err(FsFault::Length(name.to_owned()));
        }
        self.write_data(inode, with)
    }

    fn exchange(&mut self, one: &str, other: &str) -> Result<(), FsFault> {
        let (a, b) = (self.inode(one)?, self.inode(other)?);
        self.running.names.insert(one.to_owned(), b);
        self.running.names.insert(other.to_owned(), a);
        self.fsync()
    }

    fn checkpoint(&mut self) -> Result<(), FsFault> {
        let mut entries = self.pending();
        // The order is nobody's choice; it depends on what was written before, and differs from time to time.
        let mut luck = Luck(self.fuel.spent());
        while !entries.is_empty() {
            let entry = entries.swap_remove(luck.below(entries.len()));
            match self.fuel.burn() {
                Burn::Whole => self.bring_home(&entry, Tear::New),
                Burn::Torn(tear, _) => self.bring_home(&entry, tear),
                Burn::Dead => return Err(FsFault::PowerCut),
            }
        }
        self.alive()
    }
}

impl Maker for SimFs {
    fn stays(&mut self, name: &str, length: usize) -> Result<bool, FsFault> {
        self.alive()?;
        let inode = self.inode(name)?;
        Ok(self.data.get(&inode).is_some_and(|data| data.len() == length))
    }

    fn make(&mut self, name: &str, bytes: &[u8]) -> Result<(), FsFault> {
        self.create(name, bytes);
        self.fsync()?;
        self.checkpoint()
    }

    fn remove(&mut self, name: &str) -> Result<(), FsFault> {
        self.forget(name);
        self.alive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_file(fuel: &Fuel) -> SimFs {
        let mut fs = SimFs::empty(&Fuel::unlimited());
        fs.create("cell", b"old");
        fs.fsync().unwrap();
        fs.checkpoint().unwrap();
        fs.power_on(fuel);
        fs
    }

    #[test]
    fn a_renamed_file_is_seen_by_an_unreplaying_reader_only_after_a_checkpoint() {
        let mut fs = with_file(&Fuel::unlimited());
        fs.create("cell.new", b"new");
        fs.fsync().unwrap();
        fs.rename("cell.new", "cell").unwrap();
        fs.fsync().unwrap();
        let mut seen = [0; 8];
        assert_eq!(fs.read("cell", &mut seen), Ok(3));
        assert_eq!(&seen[..3], b"new");
        assert_eq!(fs.read_unreplayed("cell"), Some(&b"old"[..]));
        fs.checkpoint().unwrap();
        assert_eq!(fs.read_unreplayed("cell"), Some(&b"new"[..]));
    }

    #[test]
    fn an_overwrite_in_place_is_seen_at_once() {
        let mut fs = with_file(&Fuel::unlimited());
        fs.overwrite("cell", b"new").unwrap();
        assert_eq!(fs.read_unreplayed("cell"), Some(&b"new"[..]));
        assert_eq!(fs.overwrite("cell", b"longer"), Err(FsFault::Length("cell".into())));
    }

    #[test]
    fn the_unreplayed_view_can_be_read_like_a_mounted_one() {
        let mut fs = with_file(&Fuel::unlimited());
        fs.create("cell", b"new");
        fs.fsync().unwrap();
        let mut seen = [0; 3];
        fs.unreplayed().read("cell", &mut seen).unwrap();
        assert_eq!(&seen, b"old");
    }

    #[test]
    fn what_was_committed_and_not_checkpointed_comes_home_with_the_next_mount() {
        let mut fs = with_file(&Fuel::unlimited());
        fs.create("cell", b"new");
        fs.fsync().unwrap();
        fs.power_on(&Fuel::unlimited());
        assert_eq!(fs.read_unreplayed("cell"), Some(&b"old"[..]));
        fs.mount().unwrap();
        assert_eq!(fs.read_unreplayed("cell"), Some(&b"new"[..]));
    }

    #[test]
    fn what_was_not_committed_is_gone_after_a_cut() {
        let mut fs = with_file(&Fuel::unlimited());
        fs.create("cell", b"new");
        fs.power_on(&Fuel::unlimited());
        fs.mount().unwrap();
        assert_eq!(fs.read_unreplayed("cell"), Some(&b"old"[..]));
    }

    #[test]
    fn one_checkpoint_of_a_rename_can_show_a_third_value() {
        let third = (0..64).any(|cut| {
            let mut fs = with_file(&Fuel::limited(cut, Tear::Old, 0));
            fs.create("cell.new", b"new");
            let done = fs.fsync().and_then(|()| fs.rename("cell.new", "cell")).and_then(|()| fs.fsync());
            let _ = done.and_then(|()| fs.checkpoint());
            !matches!(fs.read_unreplayed("cell"), Some(b"old" | b"new"))
        });
        assert!(third, "the model does not show what the exchange of names is for");
    }
}
