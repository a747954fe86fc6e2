//! The stores of a device, each by itself: both kinds of journal, and every kind of boot cell.

use std::marker::PhantomData;

use boards_api::cell::{Cell, ExchangedFile, OneSector, RawPair, SectorFile};
use boards_api::codecs::{Grub, Raw};
use boards_api::env::Codec;
use boards_api::media::{Files, SECTOR, Sectors};
use embedded_storage_async::nor_flash::NorFlash;
use sim::block::SimBlock;
use sim::fs::SimFs;
use sim::nor::{SimNor, Writes};
use sim::{Fuel, Tear};
use statemachine::boot::Wanted;
use statemachine::ids::RevisionId;
use store::journal::Journal;
use store::nor::SectorNor;

use crate::Effort;
use crate::cuts::{Place, cut_everywhere};
use crate::report::{Expect, Report};

/// Pages of one region of the journal.
pub(crate) const PAGES: usize = 4;
/// Sectors of one region of the journal.
pub(crate) const REGION_SECTORS: usize = PAGES * 8;

/// The stages of this file.
pub(crate) fn run(effort: Effort, report: &mut Report) {
    let clean = Expect::Clean;
    let unlimited = Fuel::unlimited();
    if report.wants("journal/nor") {
        let flash = || SimNor::<4, 4096>::erased(PAGES, Writes::Once, &unlimited);
        let made = |_| Mirrored::made(flash(), flash(), 60);
        report.add(cut_everywhere("journal/nor", clean, &Tear::ALL, 20, effort, made));
    }
    if report.wants("journal/block") {
        let sectors = || SimBlock::filled(REGION_SECTORS, 0xFF, &unlimited);
        let made = |_| Mirrored::made(sectors(), sectors(), 700);
        report.add(cut_everywhere("journal/block", clean, &Tear::ALL, 20, effort, made));
    }
    if report.wants("cells/raw-pair") {
        report.add(cut_everywhere("cells/raw-pair", clean, &Tear::ALL, 5, effort, |_| raw_pair()));
    }
    if report.wants("cells/fat-sector") {
        report.add(cut_everywhere("cells/fat-sector", clean, &Tear::ATOMIC, 5, effort, |_| fat_sector()));
    }
    if report.wants("cells/file-sector") {
        report.add(cut_everywhere("cells/file-sector", clean, &Tear::ATOMIC, 5, effort, in_place));
    }
    if report.wants("cells/file+barrier") {
        report.add(cut_everywhere("cells/file+barrier", clean, &Tear::ATOMIC, 5, effort, exchanged));
    }
}

/// A `Wanted` that tells its number in two places, so that a mixture of two is seen.
pub(crate) fn wanted(value: u32) -> Wanted {
    Wanted {
        nonce: value,
        default: numbered(value),
        previous: Some(numbered(value.saturating_sub(1))),
        factory: Some(RevisionId::factory()),
        trial: None,
    }
}

pub(crate) fn numbered(value: u32) -> RevisionId {
    RevisionId::parse(&value.to_string()).unwrap_or_else(|_| panic!("{value} is a revision"))
}

pub(crate) fn encoded<C: Codec>(wanted: &Wanted) -> Vec<u8> {
    let mut bytes = [0; 2 * SECTOR];
    match C::encode_wanted(wanted, &mut bytes) {
        Ok(length) => bytes[..length].to_vec(),
        Err(error) => panic!("{wanted:?} has no encoding: {error}"),
    }
}

/// The number of an encoded `Wanted`, if it is one of those above and nothing else.
pub(crate) fn value<C: Codec>(bytes: &[u8]) -> Result<u32, String> {
    let read = C::decode_wanted(bytes).map_err(|error| error.to_string())?;
    if read == wanted(read.nonce) { Ok(read.nonce) } else { Err(format!("a mixture: {read:?}")) }
}

/// Flash for the journal: power, and what the store has to see.
pub(crate) trait JournalFlash: Clone {
    type Nor: NorFlash;
    fn power_on(&mut self, fuel: &Fuel);
    fn into_nor(self) -> Self::Nor;
    fn from_nor(nor: Self::Nor) -> Self;
}

impl<const WORD: usize, const PAGE: usize> JournalFlash for SimNor<WORD, PAGE> {
    type Nor = Self;

    fn power_on(&mut self, fuel: &Fuel) {
        Self::power_on(self, fuel);
    }

    fn into_nor(self) -> Self {
        self
    }

    fn from_nor(nor: Self) -> Self {
        nor
    }
}

impl JournalFlash for SimBlock {
    type Nor = SectorNor<Self>;

    fn power_on(&mut self, fuel: &Fuel) {
        Self::power_on(self, fuel);
    }

    fn into_nor(self) -> Self::Nor {
        SectorNor::new(self).unwrap_or_else(|error| panic!("{error}"))
    }

    fn from_nor(nor: Self::Nor) -> Self {
        nor.into_inner()
    }
}

/// The journal on two pieces of flash.
#[derive(Clone)]
pub(crate) struct Mirrored<F> {
    a: F,
    b: F,
    /// How long the records are.
    length: usize,
}

impl<F: JournalFlash> Mirrored<F> {
    pub(crate) fn new(a: F, b: F) -> Self {
        Self { a, b, length: 0 }
    }

    fn made(a: F, b: F, length: usize) -> Self {
        let mut made = Self { a, b, length };
        if let Err(why) = made.put(0) {
            panic!("a journal cannot be made: {why}");
        }
        made
    }

    /// Opens the journal for one call; the flash outlives it.
    pub(crate) fn with<T>(&mut self, call: impl FnOnce(&mut Journal<F::Nor>) -> T) -> T {
        let (a, b) = (self.a.clone().into_nor(), self.b.clone().into_nor());
        let mut journal = Journal::new(a, b).unwrap_or_else(|error| panic!("{error}"));
        let result = call(&mut journal);
        let (a, b) = journal.into_flash();
        (self.a, self.b) = (F::from_nor(a), F::from_nor(b));
        result
    }

    pub(crate) fn power_on_both(&mut self, fuel: &Fuel) {
        self.a.power_on(fuel);
        self.b.power_on(fuel);
    }
}

/// A record that says its number in every word.
pub(crate) fn record(value: u32, length: usize) -> Vec<u8> {
    value.to_le_bytes().iter().copied().cycle().take(length).collect()
}

pub(crate) fn recorded(bytes: &[u8], length: usize) -> Result<u32, String> {
    let number = bytes.first_chunk().map(|first| u32::from_le_bytes(*first)).ok_or("a record of no length")?;
    if bytes == record(number, length) { Ok(number) } else { Err("a mixture of records".to_owned()) }
}

impl<F: JournalFlash> Place for Mirrored<F> {
    fn power_on(&mut self, fuel: &Fuel) {
        self.power_on_both(fuel);
    }

    fn recover(&mut self) -> Result<(), String> {
        self.with(Journal::scrub).map(drop).map_err(|error| format!("{error:?}"))
    }

    fn put(&mut self, value: u32) -> Result<(), String> {
        let record = record(value, self.length);
        self.with(|journal| journal.write(&record)).map(drop).map_err(|error| format!("{error:?}"))
    }

    fn get(&self) -> Result<u32, String> {
        match self.clone().with(Journal::read) {
            Ok(Some(stored)) => recorded(&stored.bytes, self.length),
            Ok(None) => Err("nothing".to_owned()),
            Err(error) => Err(format!("{error:?}")),
        }
    }
}

/// How a value gets into a cell on sectors; the medium comes back.
type Overwrite = fn(SimBlock, &[u8]) -> (SimBlock, Result<(), String>);

/// A boot cell on sectors. How it is opened is what differs.
#[derive(Clone)]
pub(crate) struct SectorCell<C> {
    disk: SimBlock,
    replace: Overwrite,
    read: fn(SimBlock) -> Result<Vec<u8>, String>,
    codec: PhantomData<C>,
}

impl<C: Codec + Clone> Place for SectorCell<C> {
    fn power_on(&mut self, fuel: &Fuel) {
        self.disk.power_on(fuel);
    }

    fn recover(&mut self) -> Result<(), String> {
        // Cells need no recovery of their own: the next replacement begins with it. Renewing the nonce is that one.
        let value = self.get()?;
        self.put(value)
    }

    fn put(&mut self, value: u32) -> Result<(), String> {
        let (disk, done) = (self.replace)(self.disk.clone(), &encoded::<C>(&wanted(value)));
        self.disk = disk;
        done
    }

    fn get(&self) -> Result<u32, String> {
        value::<C>(&(self.read)(self.disk.clone())?)
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Where the copies of a pair lie, in bytes.
const AT: [u64; 2] = [0, 8 * SECTOR as u64];

/// A pair whose replacement forgets what an earlier cut has left.
pub(crate) fn unrepaired_pair() -> SectorCell<Raw<false>> {
    let mut cell = raw_pair();
    cell.replace = |mut disk, bytes| {
        let done = AT.iter().try_for_each(|at| disk.write(*at, bytes)).map_err(text);
        (disk, done)
    };
    cell
}

fn raw_pair() -> SectorCell<Raw<false>> {
    let mut cell = SectorCell {
        disk: SimBlock::filled(16, 0, &Fuel::unlimited()),
        replace: |disk, bytes| {
            let mut cell = RawPair::<_, Raw<false>>::new(disk, AT);
            let done = cell.replace(bytes).map_err(text);
            (cell.into_inner(), done)
        },
        read: |disk| {
            let mut bytes = vec![0; SECTOR];
            RawPair::<_, Raw<false>>::new(disk, AT).read(&mut bytes).map_err(text)?;
            Ok(bytes)
        },
        codec: PhantomData,
    };
    if let Err(why) = cell.put(0) {
        panic!("a pair cannot be made: {why}");
    }
    cell
}

pub(crate) fn fat_sector() -> SectorCell<Grub> {
    let mut disk = SimBlock::filled(4, 0, &Fuel::unlimited());
    disk.damage(0, &encoded::<Grub>(&wanted(0)));
    SectorCell {
        disk,
        replace: |disk, bytes| {
            let mut cell = OneSector::new(disk, 0, bytes.len());
            let done = cell.replace(bytes).map_err(text);
            (cell.into_inner(), done)
        },
        read: |disk| {
            let mut bytes = vec![0; 2 * SECTOR];
            OneSector::new(disk, 0, 2 * SECTOR).read(&mut bytes).map_err(text)?;
            Ok(bytes)
        },
        codec: PhantomData,
    }
}

/// How a value gets into a file that a bootloader reads.
type Replace = fn(SimFs, &[u8]) -> (SimFs, Result<(), String>);

/// A boot cell in a file of a journalling file system.
#[derive(Clone)]
pub(crate) struct FileCell {
    fs: SimFs,
    replace: Replace,
}

impl FileCell {
    pub(crate) const NAME: &'static str = "cell";
    pub(crate) const SPARE: &'static str = "cell.spare";

    /// `seed` files come and go before, so that the order in which metadata goes home differs from run to run.
    pub(crate) fn made(seed: u64, replace: Replace) -> Self {
        let mut fs = SimFs::empty(&Fuel::unlimited());
        (0..seed % 7).for_each(|_| fs.create("other", b"-"));
        let bytes = encoded::<Grub>(&wanted(0));
        fs.create(Self::NAME, &bytes);
        fs.create(Self::SPARE, &bytes);
        if let Err(error) = fs.fsync().and_then(|()| fs.checkpoint()) {
            panic!("a file cannot be made: {error}");
        }
        Self { fs, replace }
    }
}

impl Place for FileCell {
    fn power_on(&mut self, fuel: &Fuel) {
        self.fs.power_on(fuel);
    }

    fn recover(&mut self) -> Result<(), String> {
        self.fs.mount().map_err(text)
    }

    fn put(&mut self, value: u32) -> Result<(), String> {
        let (fs, done) = (self.replace)(self.fs.clone(), &encoded::<Grub>(&wanted(value)));
        self.fs = fs;
        done
    }

    fn get(&self) -> Result<u32, String> {
        value::<Grub>(self.fs.read_unreplayed(Self::NAME).ok_or("a name without its file")?)
    }
}

fn exchanged(seed: u64) -> FileCell {
    FileCell::made(seed, |fs, bytes| {
        let mut cell = ExchangedFile::new(fs, FileCell::NAME, FileCell::SPARE);
        let done = cell.replace(bytes).map_err(text);
        (cell.into_inner(), done)
    })
}

fn in_place(seed: u64) -> FileCell {
    FileCell::made(seed, |fs, bytes| {
        let mut cell = SectorFile::new(fs, FileCell::NAME);
        let done = cell.replace(bytes).map_err(text);
        (cell.into_inner(), done)
    })
}
