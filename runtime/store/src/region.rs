//! One of the two regions of the journal: a map with one key, read without ever being written.
//!
//! ```text
//!   item = key 0 │ generation, u64 little-endian │ bytes
//! ```
//!
//! The storage library repairs what it reads, by erasing. That is right for a region one means to write, and wrong for
//! one that may belong to somebody else; so the flash stays locked but for the length of a write.
//!
//! The library is asynchronous and our media are not: none of them ever waits. [`now`] polls once, so that a call cannot
//! be cancelled half-way, which would equal a power cut, and no executor is needed below PID 1's own.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use embedded_storage_async::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};
use formats::journal::MAX_LEN;
use sequential_storage::Error;
use sequential_storage::cache::{Cache, Uncached};
use sequential_storage::map::{MapConfig, MapStorage};

use crate::journal::{Fault, Geometry, Stored};

const KEY: u8 = 0;
const KEY_LEN: usize = 1;
const GENERATION_LEN: usize = 8;
/// The longest item, rounded up to the largest word that the library knows.
const ITEM_MAX: usize = (KEY_LEN + GENERATION_LEN + MAX_LEN).next_multiple_of(32);
/// What the library adds to an item and to a page at most: a header and two marks, of a word each.
const OVERHEAD: usize = 3 * 32;

/// Runs a future that never waits. `None`: it did.
pub(crate) fn now<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

type Uncached3 = Cache<Uncached, Uncached, Uncached, u8>;

pub(crate) struct Region<F: NorFlash> {
    map: MapStorage<u8, Locked<F>, Uncached3>,
}

/// What a region holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Held {
    /// It is erased, or nothing was ever completed in it.
    Nothing,
    /// A record.
    Record(Stored),
    /// Neither.
    Damaged,
}

impl Held {
    pub(crate) fn generation(&self) -> Option<u64> {
        match self {
            Self::Record(stored) => Some(stored.generation),
            Self::Nothing | Self::Damaged => None,
        }
    }
}

impl<F: NorFlash> Region<F> {
    pub(crate) fn new(flash: F) -> Result<Self, Geometry> {
        if F::ERASE_SIZE < ITEM_MAX + OVERHEAD {
            return Err(Geometry::PageTooSmall(F::ERASE_SIZE));
        }
        let end = u32::try_from(flash.capacity()).map_err(|_| Geometry::Size(flash.capacity()))?;
        let config = MapConfig::try_new(0..end).map_err(|_| Geometry::Size(flash.capacity()))?;
        let flash = Locked { flash, locked: true };
        Ok(Self { map: MapStorage::new(flash, config, Cache::new_uncached()) })
    }

    pub(crate) fn into_flash(self) -> F {
        self.map.destroy().0.flash
    }

    /// What it holds. A region whose flash fails counts as damaged.
    pub(crate) fn read(&mut self) -> Held {
        let mut buffer = [0; ITEM_MAX];
        match now(self.map.fetch_item::<&[u8]>(&mut buffer, &KEY)) {
            Some(Ok(None)) => Held::Nothing,
            Some(Ok(Some(item))) => match item.split_first_chunk() {
                Some((generation, bytes)) => {
                    let generation = u64::from_le_bytes(*generation);
                    Held::Record(Stored { generation, bytes: bytes.to_vec() })
                }
                None => Held::Damaged,
            },
            Some(Err(_)) | None => Held::Damaged,
        }
    }

    /// Appends a record.
    pub(crate) fn write(&mut self, record: &Stored) -> Result<(), Fault<F::Error>> {
        let mut value = Vec::with_capacity(GENERATION_LEN + record.bytes.len());
        value.extend_from_slice(&record.generation.to_le_bytes());
        value.extend_from_slice(&record.bytes);
        let mut buffer = [0; ITEM_MAX];
        self.map.flash().locked = false;
        let written = now(self.map.store_item(&mut buffer, &KEY, &value.as_slice()));
        self.map.flash().locked = true;
        settle(written)
    }

    /// Makes it empty.
    pub(crate) fn erase(&mut self) -> Result<(), Fault<F::Error>> {
        self.map.flash().locked = false;
        let erased = now(self.map.erase_all());
        self.map.flash().locked = true;
        settle(erased)
    }
}

fn settle<E>(done: Option<Result<(), Error<LockError<E>>>>) -> Result<(), Fault<E>> {
    match done {
        Some(Ok(())) => Ok(()),
        Some(Err(Error::Storage { value: LockError::Flash(error), .. })) => Err(Fault::Flash(error)),
        Some(Err(Error::Corrupted { .. } | Error::FullStorage)) => Err(Fault::Damaged),
        Some(Err(Error::Storage { value: LockError::Locked, .. })) => Err(Fault::Bug("a locked region was written")),
        Some(Err(_)) => Err(Fault::Bug("the storage library refused an item that fits")),
        None => Err(Fault::Bug("a journal's flash must not wait")),
    }
}

/// Flash that is written only while somebody means to.
struct Locked<F> {
    flash: F,
    locked: bool,
}

#[derive(Debug)]
enum LockError<E> {
    Flash(E),
    Locked,
}

impl<E: NorFlashError> NorFlashError for LockError<E> {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::Flash(error) => error.kind(),
            Self::Locked => NorFlashErrorKind::Other,
        }
    }
}

impl<F: NorFlash> ErrorType for Locked<F> {
    type Error = LockError<F::Error>;
}

impl<F: NorFlash> ReadNorFlash for Locked<F> {
    const READ_SIZE: usize = F::READ_SIZE;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.flash.read(offset, bytes).await.map_err(LockError::Flash)
    }

    fn capacity(&self) -> usize {
        self.flash.capacity()
    }
}

impl<F: NorFlash> NorFlash for Locked<F> {
    const WRITE_SIZE: usize = F::WRITE_SIZE;
    const ERASE_SIZE: usize = F::ERASE_SIZE;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        if self.locked {
            return Err(LockError::Locked);
        }
        self.flash.erase(from, to).await.map_err(LockError::Flash)
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        if self.locked {
            return Err(LockError::Locked);
        }
        self.flash.write(offset, bytes).await.map_err(LockError::Flash)
    }
}
