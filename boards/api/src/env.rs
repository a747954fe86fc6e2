//! The two values that bootloader and runtime tell each other, over two cells of any kind.
//!
//! ```text
//!   Wanted ◀─codec─▶ cell  written by Linux      Spent ◀─codec─ cell  written by the bootloader, read here
//! ```

use core::marker::PhantomData;

use statemachine::boot::{Note, Spent, Wanted};

use crate::cell::{CELL_MAX, Cell};

/// What bootloader and runtime tell each other.
pub trait BootEnv {
    /// What went wrong.
    type Error: core::error::Error;

    /// Reads both values. A note that is torn, absent or strange is [`Note::Unreadable`]: it spends the trial and
    /// nothing else.
    fn load(&mut self) -> (Result<Wanted, Self::Error>, Note);

    /// Replaces `Wanted`, durably in the sense of [`Cell::replace`]. `Spent` belongs to the bootloader.
    ///
    /// # Errors
    /// Either value may stand; [`load`](Self::load) tells.
    fn store(&mut self, wanted: &Wanted) -> Result<(), Self::Error>;
}

/// How the two values are written down for one kind of bootloader. The encodings themselves live in `formats`.
pub trait Codec {
    /// Why bytes are not a value, or a value has no bytes.
    type Error: core::error::Error;

    /// Writes `Wanted` down; returns the length.
    ///
    /// # Errors
    /// It does not fit, or breaks a bound that every script relies on.
    fn encode_wanted(wanted: &Wanted, into: &mut [u8]) -> Result<usize, Self::Error>;

    /// Reads `Wanted`.
    ///
    /// # Errors
    /// The bytes are torn, or were not written by this codec. Nothing is guessed.
    fn decode_wanted(bytes: &[u8]) -> Result<Wanted, Self::Error>;

    /// Reads the bootloader's note.
    ///
    /// # Errors
    /// As for [`decode_wanted`](Self::decode_wanted).
    fn decode_spent(bytes: &[u8]) -> Result<Spent, Self::Error>;
}

/// Two cells and a codec: the boot environment of most boards.
#[derive(Clone, Debug)]
pub struct CellEnv<W, S, C> {
    wanted: W,
    spent: S,
    codec: PhantomData<C>,
}

/// Why `Wanted` could not be loaded or stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EnvError<M, C> {
    /// The cell failed.
    Cell(M),
    /// The codec refused.
    Codec(C),
}

impl<M: core::fmt::Display, C: core::fmt::Display> core::fmt::Display for EnvError<M, C> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Cell(error) => write!(f, "{error}"),
            Self::Codec(error) => write!(f, "the boot cell cannot be read or written: {error}"),
        }
    }
}

impl<M: core::error::Error, C: core::error::Error> core::error::Error for EnvError<M, C> {}

impl<W: Cell, S: Cell, C: Codec> CellEnv<W, S, C> {
    /// An environment whose `Wanted` lies in one cell and whose note lies in the other.
    #[must_use]
    pub fn new(wanted: W, spent: S) -> Self {
        Self { wanted, spent, codec: PhantomData }
    }

    fn load_wanted(&mut self) -> Result<Wanted, EnvError<W::Error, C::Error>> {
        let mut bytes = [0; CELL_MAX];
        let length = self.wanted.read(&mut bytes).map_err(EnvError::Cell)?;
        C::decode_wanted(bytes.get(..length).unwrap_or_default()).map_err(EnvError::Codec)
    }

    fn load_note(&mut self) -> Note {
        let mut bytes = [0; CELL_MAX];
        let spent = self.spent.read(&mut bytes).ok().and_then(|length| {
            let bytes = bytes.get(..length)?;
            C::decode_spent(bytes).ok()
        });
        spent.map_or(Note::Unreadable, Note::Read)
    }
}

impl<W: Cell, S: Cell, C: Codec> BootEnv for CellEnv<W, S, C> {
    type Error = EnvError<W::Error, C::Error>;

    fn load(&mut self) -> (Result<Wanted, Self::Error>, Note) {
        (self.load_wanted(), self.load_note())
    }

    fn store(&mut self, wanted: &Wanted) -> Result<(), Self::Error> {
        let mut bytes = [0; CELL_MAX];
        let length = C::encode_wanted(wanted, &mut bytes).map_err(EnvError::Codec)?;
        self.wanted.replace(bytes.get(..length).unwrap_or_default()).map_err(EnvError::Cell)
    }
}
