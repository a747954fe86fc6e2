//! The journal's place: one value, replaced as a whole, kept in two regions that are never both at risk.
//!
//! ```text
//!            region A            region B
//!   at rest  7 ▪▪▪▪              7 ▪▪▪▪
//!   write    8 ▪▪▪▪ ◀── first    7 ▪▪▪▪          power goes here: 8 if A is whole, else 7
//!            8 ▪▪▪▪              8 ▪▪▪▪ ◀── then
//! ```
//!
//! Every record carries a generation, because a damaged newest record is answered by the storage library with the one
//! before it, without an error. Reading takes the higher generation; a region that cannot be read counts as absent. On
//! block media one torn sector takes its neighbours along, so what protects a record is the other region, which is not
//! written until the first has taken the new one. The region to write first is the one that does *not* hold the newest.
//!
//! What is erased, and when:
//!
//! | found | read says | write and scrub |
//! |---|---|---|
//! | both empty | nothing | write, nothing erased |
//! | one record, one empty or older | the record | the other region is brought up |
//! | one record, one damaged | the record | the damaged region is erased and written anew |
//! | damaged, and no record anywhere | [`Error::Unreadable`] | refused: only [`Journal::reset`] erases here |
//!
//! The last row is also what a partition full of zeros, or of somebody else's data, looks like. Reading never writes.

use std::cmp::Ordering;
use std::fmt;

use embedded_storage_async::nor_flash::NorFlash;
use formats::journal::MAX_LEN;

use crate::region::{Held, Region};

/// A record and its place in the order of records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored {
    /// Higher is newer.
    pub generation: u64,
    /// What was written; at most [`MAX_LEN`] bytes.
    pub bytes: Vec<u8>,
}

/// One of the two regions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The first.
    A,
    /// The second.
    B,
}

/// How many copies of the newest record there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "a journal with one copy wants to be reported"]
pub enum Copies {
    /// One in each region.
    Both,
    /// One; the other region was damaged before and did not take anything.
    Only(Side),
    /// None: nothing was ever written.
    None,
}

/// Why flash cannot hold a region.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Geometry {
    /// Pages of this many bytes do not hold the longest record.
    PageTooSmall(usize),
    /// So many bytes are not at least two whole pages below 4 GiB.
    Size(usize),
}

/// What went wrong in one region.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault<E> {
    /// The flash.
    Flash(E),
    /// The region is damaged beyond what the storage library repairs.
    Damaged,
    /// A promise between the layers was broken.
    Bug(&'static str),
}

/// Why the journal was not read or written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Error<E> {
    /// Neither region holds a record, and at least one is not empty either.
    Unreadable,
    /// So many bytes are more than [`MAX_LEN`].
    TooLong(usize),
    /// The generations are used up.
    Exhausted,
    /// A region failed; the other still holds the record before, if there was one.
    Region(Side, Fault<E>),
}

impl fmt::Display for Geometry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PageTooSmall(size) => {
                write!(f, "a page of {size} bytes is too small for a journal of {MAX_LEN} bytes")
            }
            Self::Size(size) => write!(f, "{size} bytes are no region for the journal: at least two whole pages"),
        }
    }
}

impl std::error::Error for Geometry {}

impl<E: fmt::Display> fmt::Display for Fault<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flash(error) => error.fmt(f),
            Self::Damaged => f.write_str("it is damaged"),
            Self::Bug(what) => write!(f, "a bug: {what}"),
        }
    }
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable => f.write_str("neither region of the journal is readable; a reset erases both"),
            Self::TooLong(length) => write!(f, "a journal of {length} bytes exceeds {MAX_LEN}"),
            Self::Exhausted => f.write_str("the journal's generations are used up; a reset starts again"),
            Self::Region(side, fault) => write!(f, "region {side:?} of the journal: {fault}"),
        }
    }
}

impl<E: std::error::Error> std::error::Error for Error<E> {}

/// The journal in its two regions, which should lie in different erase groups, better in two partitions.
pub struct Journal<F: NorFlash> {
    a: Region<F>,
    b: Region<F>,
}

impl<F: NorFlash> Journal<F> {
    /// A journal on two pieces of flash. Reads nothing yet.
    ///
    /// # Errors
    /// The flash cannot hold it.
    pub fn new(a: F, b: F) -> Result<Self, Geometry> {
        Ok(Self { a: Region::new(a)?, b: Region::new(b)? })
    }

    /// Gives the flash back.
    pub fn into_flash(self) -> (F, F) {
        (self.a.into_flash(), self.b.into_flash())
    }

    /// The newest record. `None`: both regions are empty, as they leave [`reset`](Self::reset).
    ///
    /// # Errors
    /// [`Error::Unreadable`], and no other.
    pub fn read(&mut self) -> Result<Option<Stored>, Error<F::Error>> {
        let (a, b) = (self.a.read(), self.b.read());
        let damaged = a == Held::Damaged || b == Held::Damaged;
        match newest(a, b) {
            Some(stored) => Ok(Some(stored)),
            None if damaged => Err(Error::Unreadable),
            None => Ok(None),
        }
    }

    /// Replaces the record.
    ///
    /// # Errors
    /// Either record may stand; [`read`](Self::read) tells. Whatever a torn region gives, the other one is whole.
    pub fn write(&mut self, bytes: &[u8]) -> Result<Copies, Error<F::Error>> {
        if bytes.len() > MAX_LEN {
            return Err(Error::TooLong(bytes.len()));
        }
        let held = [self.a.read(), self.b.read()];
        let [a, b] = held.each_ref().map(Held::generation);
        if a.is_none() && b.is_none() && held.contains(&Held::Damaged) {
            return Err(Error::Unreadable);
        }
        let generation = a.max(b).unwrap_or(0).checked_add(1).ok_or(Error::Exhausted)?;
        let record = Stored { generation, bytes: bytes.to_vec() };
        // `None` is the lowest, so an empty or damaged region is written before one that holds a record.
        let order = if a > b { [Side::B, Side::A] } else { [Side::A, Side::B] };
        let [first, second] = order;
        let damaged = |side: Side| match side {
            Side::A => held.first() == Some(&Held::Damaged),
            Side::B => held.last() == Some(&Held::Damaged),
        };
        let lost = match self.put(first, &record, damaged(first)) {
            Ok(()) => false,
            // It was of no use before either; the one good region has to serve alone.
            Err(_) if damaged(first) => true,
            // Now the other one may be the only good copy, and is not touched.
            Err(fault) => return Err(Error::Region(first, fault)),
        };
        match self.put(second, &record, damaged(second)) {
            Ok(()) if lost => Ok(Copies::Only(second)),
            Ok(()) => Ok(Copies::Both),
            Err(fault) => Err(Error::Region(second, fault)),
        }
    }

    /// How many copies of the newest record there are, and nothing is done about it.
    ///
    /// # Errors
    /// [`Error::Unreadable`], and no other.
    pub fn look(&mut self) -> Result<Copies, Error<F::Error>> {
        let (a, b) = (self.a.read(), self.b.read());
        match (a.generation().cmp(&b.generation()), &a, &b) {
            (Ordering::Greater, ..) => Ok(Copies::Only(Side::A)),
            (Ordering::Less, ..) => Ok(Copies::Only(Side::B)),
            (Ordering::Equal, Held::Record(_), _) => Ok(Copies::Both),
            (Ordering::Equal, Held::Nothing, Held::Nothing) => Ok(Copies::None),
            (Ordering::Equal, ..) => Err(Error::Unreadable),
        }
    }

    /// At boot: gives both regions the newest record, so that the next write finds two.
    ///
    /// # Errors
    /// [`Error::Unreadable`] changes nothing. Otherwise the region that should have been brought up failed, and the
    /// newest record still stands in the other.
    pub fn scrub(&mut self) -> Result<Copies, Error<F::Error>> {
        let (a, b) = (self.a.read(), self.b.read());
        if a.generation() == b.generation() {
            return match (&a, &b) {
                (Held::Record(_), _) => Ok(Copies::Both),
                (Held::Nothing, Held::Nothing) => Ok(Copies::None),
                _ => Err(Error::Unreadable),
            };
        }
        let (behind, damaged) =
            if a.generation() < b.generation() { (Side::A, a == Held::Damaged) } else { (Side::B, b == Held::Damaged) };
        match newest(a, b) {
            Some(record) => match self.put(behind, &record, damaged) {
                Ok(()) => Ok(Copies::Both),
                Err(fault) => Err(Error::Region(behind, fault)),
            },
            None => Err(Error::Unreadable),
        }
    }

    /// Erases both regions: for a device that is being made, or after somebody has decided that what is there is lost.
    ///
    /// # Errors
    /// The first region that failed; the other may be erased or not.
    pub fn reset(&mut self) -> Result<(), Error<F::Error>> {
        self.a.erase().map_err(|fault| Error::Region(Side::A, fault))?;
        self.b.erase().map_err(|fault| Error::Region(Side::B, fault))
    }

    /// Writes one region. The other one holds a good record, or there is none that could be lost.
    fn put(&mut self, side: Side, record: &Stored, damaged: bool) -> Result<(), Fault<F::Error>> {
        let region = match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
        };
        if damaged {
            region.erase()?;
        }
        match region.write(record) {
            Ok(()) => Ok(()),
            Err(fault @ Fault::Bug(_)) => Err(fault),
            // Readable and yet not writable: an interrupted move of pages that the library cannot repair, or a torn mark
            // that a part with error correction does not let it write again. Without this it would stay so for ever.
            Err(_) => {
                region.erase()?;
                region.write(record)
            }
        }
    }
}

/// The record with the higher generation; of two equal ones the first.
fn newest(a: Held, b: Held) -> Option<Stored> {
    match (a, b) {
        (Held::Record(a), Held::Record(b)) if b.generation > a.generation => Some(b),
        (Held::Record(a), _) => Some(a),
        (_, Held::Record(b)) => Some(b),
        (_, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use sim::nor::{SimNor, Writes};
    use sim::{Fuel, Tear};

    use super::*;
    use crate::digest::LocalDigest;
    use crate::file::FileSectors;
    use crate::nor::{PAGE, SectorNor};

    type Flash = SimNor<4, 4096>;

    const PAGES: usize = 4;

    fn region() -> Flash {
        Flash::erased(PAGES, Writes::Once, &Fuel::unlimited())
    }

    fn journal() -> Journal<Flash> {
        Journal::new(region(), region()).unwrap()
    }

    fn filled(with: u8) -> Flash {
        let mut flash = region();
        flash.fill(with);
        flash
    }

    fn write(journal: &mut Journal<Flash>, bytes: &[u8]) {
        assert_eq!(journal.write(bytes), Ok(Copies::Both));
    }

    fn bytes(journal: &mut Journal<Flash>) -> Option<Vec<u8>> {
        journal.read().unwrap().map(|stored| stored.bytes)
    }

    #[test]
    fn the_last_record_is_read_and_generations_rise() {
        let mut journal = journal();
        assert_eq!(journal.read(), Ok(None));
        for n in 0..60_u8 {
            write(&mut journal, &[n; 700]);
            assert_eq!(journal.read(), Ok(Some(Stored { generation: u64::from(n) + 1, bytes: vec![n; 700] })));
        }
    }

    #[test]
    fn a_look_tells_how_many_copies_there_are_and_changes_none() {
        let mut fresh = journal();
        assert_eq!(fresh.look(), Ok(Copies::None));
        write(&mut fresh, b"kept");
        assert_eq!(fresh.look(), Ok(Copies::Both));
        let (a, _) = fresh.into_flash();
        let mut half = Journal::new(filled(0), a).unwrap();
        assert_eq!((half.look(), half.look()), (Ok(Copies::Only(Side::B)), Ok(Copies::Only(Side::B))));
        assert_eq!(Journal::new(filled(0), region()).unwrap().look(), Err(Error::Unreadable));
    }

    #[test]
    fn the_longest_record_fits_again_and_again_and_a_longer_one_is_refused() {
        let mut journal = journal();
        (0..20).for_each(|n| write(&mut journal, &[n; MAX_LEN]));
        assert_eq!(bytes(&mut journal), Some(vec![19; MAX_LEN]));
        assert_eq!(journal.write(&[0; MAX_LEN + 1]), Err(Error::TooLong(MAX_LEN + 1)));
    }

    #[test]
    fn one_damaged_region_costs_nothing_and_is_brought_up_at_boot() {
        for (with, damaged_first) in [(0, true), (0, false), (0x5A, true), (0x5A, false)] {
            let mut before = journal();
            write(&mut before, b"kept");
            let (a, b) = before.into_flash();
            let (a, b) = if damaged_first { (filled(with), b) } else { (a, filled(with)) };
            let mut journal = Journal::new(a, b).unwrap();
            assert_eq!(bytes(&mut journal).as_deref(), Some(&b"kept"[..]));
            assert_eq!(journal.scrub(), Ok(Copies::Both));
            let (a, b) = journal.into_flash();
            // Either region alone would do now.
            for (a, b) in [(a, region()), (region(), b)] {
                assert_eq!(bytes(&mut Journal::new(a, b).unwrap()).as_deref(), Some(&b"kept"[..]));
            }
        }
    }

    #[test]
    fn what_may_belong_to_somebody_else_is_neither_read_nor_erased_without_an_order() {
        for (a, b) in [(filled(0), filled(0)), (filled(0x5A), region()), (region(), filled(0))] {
            let before = (a.bytes().to_vec(), b.bytes().to_vec());
            let mut journal = Journal::new(a, b).unwrap();
            assert_eq!(journal.read(), Err(Error::Unreadable));
            assert_eq!(journal.write(b"new"), Err(Error::Unreadable));
            assert_eq!(journal.scrub(), Err(Error::Unreadable));
            let (a, b) = journal.into_flash();
            assert_eq!(before, (a.bytes().to_vec(), b.bytes().to_vec()));
            let mut journal = Journal::new(a, b).unwrap();
            journal.reset().unwrap();
            assert_eq!(journal.read(), Ok(None));
            write(&mut journal, b"new");
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_in_one_region_never_sets_the_journal_back() {
        let mut before = journal();
        (0..5_u8).for_each(|n| write(&mut before, &[n; 40]));
        let (a, b) = before.into_flash();
        for at in 0..PAGES * 4096 {
            // Every bit would take minutes; every byte meets every field.
            for side in [Side::A, Side::B] {
                let (mut a, mut b) = (a.clone(), b.clone());
                let bit = (at % 8) as u8;
                if side == Side::A {
                    a.flip(at, bit)
                } else {
                    b.flip(at, bit)
                }
                let mut journal = Journal::new(a, b).unwrap();
                assert_eq!(bytes(&mut journal), Some(vec![4; 40]), "byte {at} of {side:?}");
            }
        }
    }

    #[test]
    fn reading_never_writes() {
        let fuel = Fuel::unlimited();
        let mut journal = journal();
        write(&mut journal, b"x");
        let (mut a, mut b) = journal.into_flash();
        a.power_on(&fuel);
        b.power_on(&fuel);
        a.flip(0, 3);
        b.flip(4095, 3);
        let mut journal = Journal::new(a, b).unwrap();
        let _ = journal.read();
        assert_eq!(fuel.spent(), 0);
    }

    #[test]
    fn a_region_that_dies_in_a_write_keeps_the_other_one_untouched() {
        let mut journal = journal();
        write(&mut journal, b"old");
        let (mut a, b) = journal.into_flash();
        a.power_on(&Fuel::limited(2, Tear::Garbage, 5));
        let before = b.bytes().to_vec();
        let mut journal = Journal::new(a, b).unwrap();
        assert!(matches!(journal.write(b"new"), Err(Error::Region(Side::A, _))));
        assert_eq!(bytes(&mut journal).as_deref(), Some(&b"old"[..]));
        let (a, b) = journal.into_flash();
        assert_eq!(before, b.bytes());
        // From the next write on the dead region is known, and the other serves alone.
        let mut journal = Journal::new(a, b).unwrap();
        assert_eq!(journal.write(b"new"), Ok(Copies::Only(Side::B)));
        assert_eq!(bytes(&mut journal).as_deref(), Some(&b"new"[..]));
    }

    #[test]
    fn a_journal_in_two_files_is_read_after_they_are_opened_again() {
        let paths =
            ["a", "b"].map(|side| std::env::temp_dir().join(format!("cairn-journal-{}-{side}", std::process::id())));
        let size = (PAGES * PAGE) as u64;
        let open = |create: bool| {
            let [a, b] = paths.each_ref().map(|path| {
                let sectors = if create { FileSectors::create(path, size) } else { FileSectors::open(path) };
                SectorNor::new(sectors.unwrap()).unwrap()
            });
            Journal::new(a, b).unwrap()
        };
        let mut journal = open(true);
        assert_eq!(journal.read(), Ok(None));
        (0..30_u8).for_each(|n| assert_eq!(journal.write(&[n; 900]), Ok(Copies::Both)));
        drop(journal);
        let read = open(false).read().unwrap().unwrap();
        paths.iter().for_each(|path| std::fs::remove_file(path).unwrap());
        assert_eq!(read, Stored { generation: 30, bytes: vec![29; 900] });
    }

    #[test]
    fn what_an_earlier_version_of_the_storage_library_has_written_is_what_this_one_writes() {
        let mut journal = journal();
        (0..12_u8).for_each(|n| write(&mut journal, &[n; 900]));
        let (a, b) = journal.into_flash();
        assert_eq!(a.bytes(), b.bytes());
        // Written by sequential-storage 8.0.2. A new major that changes this digest needs a migration, not a new digest.
        let digest = LocalDigest::of(&mut a.bytes()).unwrap().to_string();
        assert_eq!(digest, "4ba47017631737bd96bb2e03ea867912192312e7cdb785a3ee04bc717c8621c1");
    }

    #[test]
    fn flash_that_cannot_hold_a_journal_is_refused() {
        let flash = || SimNor::<4, 1024>::erased(8, Writes::Once, &Fuel::unlimited());
        assert_eq!(Journal::new(flash(), flash()).err(), Some(Geometry::PageTooSmall(1024)));
        let flash = || Flash::erased(1, Writes::Once, &Fuel::unlimited());
        assert_eq!(Journal::new(flash(), flash()).err(), Some(Geometry::Size(4096)));
    }
}
