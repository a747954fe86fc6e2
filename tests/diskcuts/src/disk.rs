//! A disk in memory: an image that stays as it is, and pages that have changed over it.
//!
//! ```text
//!   pages   ▢   ▣   ▢   ▣   ▢     one that was written, shared with every copy until one of them writes again
//!   image   ▥▥▥▥▥▥▥▥▥▥▥▥▥▥▥▥▥     read once, shared by all
//! ```
//!
//! A copy costs a table of pointers, so thousands of cut disks can exist at once.

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use boards_api::media::Sectors;
use rustix::fs::SeekFrom;
use rustix::io::Errno;

/// Bytes that are copied when one of them changes.
const PAGE: usize = 4096;

type Page = [u8; PAGE];

static ZEROS: Page = [0; PAGE];

struct Image {
    bytes: Vec<u8>,
    /// Pages that are not zeros throughout.
    used: BTreeSet<u64>,
}

/// The disk.
#[derive(Clone)]
pub(crate) struct Disk {
    image: Arc<Image>,
    pages: HashMap<u64, Arc<Page>>,
}

impl Disk {
    #[cfg(test)]
    pub(crate) fn new(mut bytes: Vec<u8>) -> Self {
        // Every page is whole.
        bytes.resize(bytes.len().next_multiple_of(PAGE), 0);
        let pages = (0..).zip(bytes.chunks(PAGE));
        let used = pages.filter(|(_, page)| *page != ZEROS).map(|(number, _)| number).collect();
        Self::of(bytes, used)
    }

    fn of(bytes: Vec<u8>, used: BTreeSet<u64>) -> Self {
        Self { image: Arc::new(Image { bytes, used }), pages: HashMap::new() }
    }

    /// What is in a file. Its holes cost nothing.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?.next_multiple_of(PAGE)];
        let (mut used, mut at) = (BTreeSet::new(), 0);
        while at < length {
            let start = match rustix::fs::seek(&file, SeekFrom::Data(at)) {
                Ok(start) => start,
                // Nothing but a hole up to the end.
                Err(Errno::NXIO) => break,
                Err(error) => return Err(error.into()),
            };
            at = rustix::fs::seek(&file, SeekFrom::Hole(start))?;
            let (from, to) = (start as usize, at as usize);
            file.read_exact_at(bytes.get_mut(from..to).unwrap_or_default(), start)?;
            used.extend(start / PAGE as u64..at.div_ceil(PAGE as u64));
        }
        Ok(Self::of(bytes, used))
    }

    pub(crate) fn size(&self) -> u64 {
        self.image.bytes.len() as u64
    }

    fn page(&self, number: u64) -> &[u8] {
        match self.pages.get(&number) {
            Some(page) => &page[..],
            None => {
                let start = usize::try_from(number).unwrap_or(usize::MAX).saturating_mul(PAGE);
                self.image.bytes.get(start..start.saturating_add(PAGE)).unwrap_or_default()
            }
        }
    }

    /// Fills `into`. What lies behind the end reads as zeros.
    pub(crate) fn read(&self, at: u64, into: &mut [u8]) {
        let (mut at, mut rest) = (at, into);
        while !rest.is_empty() {
            let within = (at % PAGE as u64) as usize;
            let length = rest.len().min(PAGE - within);
            let (now, later) = rest.split_at_mut(length);
            match self.page(at / PAGE as u64).get(within..within + length) {
                Some(bytes) => now.copy_from_slice(bytes),
                None => now.fill(0),
            }
            (at, rest) = (at + length as u64, later);
        }
    }

    /// So many bytes.
    pub(crate) fn bytes(&self, at: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.read(at, &mut bytes);
        bytes
    }

    /// Writes; what lies behind the end is lost.
    pub(crate) fn write(&mut self, at: u64, bytes: &[u8]) {
        let (mut at, mut rest) = (at, bytes);
        while !rest.is_empty() && at < self.size() {
            let (number, within) = (at / PAGE as u64, (at % PAGE as u64) as usize);
            let (now, later) = rest.split_at(rest.len().min(PAGE - within));
            if !self.pages.contains_key(&number) {
                let mut new = [0; PAGE];
                new.iter_mut().zip(self.page(number)).for_each(|(to, from)| *to = *from);
                self.pages.insert(number, Arc::new(new));
            }
            if let Some(page) = self.pages.get_mut(&number) {
                let page = Arc::make_mut(page).get_mut(within..within + now.len()).unwrap_or_default();
                page.copy_from_slice(now);
            }
            (at, rest) = (at + now.len() as u64, later);
        }
    }

    /// Writes a part of it, whole pages, into a file of that length, whose holes are zeros.
    pub(crate) fn save(&self, start: u64, length: u64, path: &Path) -> io::Result<()> {
        let file = File::create(path)?;
        file.set_len(length)?;
        let numbers = start / PAGE as u64..(start + length) / PAGE as u64;
        let changed = self.pages.keys().copied().filter(|number| numbers.contains(number));
        let used: BTreeSet<u64> = self.image.used.range(numbers.clone()).copied().chain(changed).collect();
        for number in used {
            if self.page(number) != ZEROS {
                file.write_all_at(self.page(number), number * PAGE as u64 - start)?;
            }
        }
        Ok(())
    }
}

/// A part of a disk, for whoever reads sectors; it cannot be written.
#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) disk: Arc<Disk>,
    pub(crate) start: u64,
    pub(crate) length: u64,
}

impl Sectors for Part {
    type Error = Infallible;

    fn size(&self) -> u64 {
        self.length
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), Infallible> {
        self.disk.read(self.start + at, into);
        Ok(())
    }

    fn write(&mut self, _: u64, _: &[u8]) -> Result<(), Infallible> {
        // Whoever looks at a cut disk changes nothing.
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_does_not_see_what_is_written_later() {
        let mut disk = Disk::new((0..10_000_u32).map(|at| at as u8).collect());
        disk.write(4090, &[7; 20]);
        let copy = disk.clone();
        disk.write(4095, &[8; 2]);
        assert_eq!(copy.bytes(4089, 22), [&[249][..], &[7; 20], &[14]].concat());
        assert_eq!(disk.bytes(4094, 4), [7, 8, 8, 7]);
    }

    #[test]
    fn behind_the_end_there_are_zeros_and_nothing_can_be_kept() {
        let mut disk = Disk::new(vec![1; 8192]);
        disk.write(8190, &[2; 10]);
        assert_eq!(disk.bytes(8189, 5), [1, 2, 2, 0, 0]);
        assert_eq!(disk.size(), 8192);
    }

    #[test]
    fn a_part_goes_into_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let mut disk = Disk::new(vec![0; 5 * PAGE]);
        disk.write(3 * PAGE as u64 + 5, b"here");
        disk.save(PAGE as u64, 3 * PAGE as u64, &dir.path().join("part")).unwrap();
        let part = std::fs::read(dir.path().join("part")).unwrap();
        assert_eq!((part.len(), &part[2 * PAGE + 5..2 * PAGE + 9]), (3 * PAGE, &b"here"[..]));
    }
}
