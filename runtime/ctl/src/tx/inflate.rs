//! deflate (RFC 1951), unpacked as it is read.
//!
//! ```text
//!   block   last 1 │ kind 2 │ 0 stored: length, its complement, bytes
//!                           │ 1 with codes that are always the same     symbol: byte │ end │ length and distance
//!                           │ 2 with codes of its own before it
//! ```
//!
//! An own one, and not a crate, because the smallest that is well kept weighs five times as much on a device. It decodes bit by
//! bit, which flash and sockets are slower than. Promises: memory is one window; a code that is none, or a distance that
//! leads before the beginning, is an error. Tests compare it with the library that packed.

use std::io;

use super::input::{Input, damaged};

const WINDOW: usize = 32 * 1024;
/// The longest code.
const BITS: usize = 15;
/// Symbols for bytes, the end and lengths; and for distances.
const LITERALS: usize = 288;
const DISTANCES: usize = 30;
const END: u16 = 256;

const LENGTH_BASE: [u16; 29] =
    [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258];
const LENGTH_MORE: [u8; 29] = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
const DISTANCE_BASE: [u16; DISTANCES] = [
    1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145,
    8193, 12289, 16385, 24577,
];
/// In which order the lengths of the codes stand, with which other lengths are packed.
const ORDER: [u8; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// What is being read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    Head,
    Stored(u16),
    Coded,
    Over,
}

/// A stream that is unpacked.
pub(super) struct Inflate {
    window: Vec<u8>,
    /// Bytes that came out, in all.
    total: u64,
    block: Block,
    is_last: bool,
    /// Bytes that are still to be repeated, and from how far back.
    repeat: (u16, u16),
    hold: u32,
    held: u8,
    literals: Code,
    distances: Code,
}

/// A code: how many symbols there are of each length, and all of them in the order of their codes.
struct Code {
    counts: [u16; BITS + 1],
    symbols: [u16; LITERALS],
}

impl Code {
    const NONE: Self = Self { counts: [0; BITS + 1], symbols: [0; LITERALS] };

    /// The code whose symbols have these lengths; one that is not complete is none, unless it has at most one symbol.
    fn new(lengths: &[u8]) -> io::Result<Self> {
        let mut code = Self::NONE;
        for length in lengths {
            code.counts.get_mut(usize::from(*length)).ok_or_else(bad)?.add(1);
        }
        let mut left = 1_i32;
        let mut offsets = [0_u16; BITS + 2];
        for length in 1..=BITS {
            let count = code.count(length);
            left = (left << 1) - i32::from(count);
            if left < 0 {
                return Err(bad());
            }
            let next = offsets.get(length).copied().unwrap_or_default() + count;
            if let Some(offset) = offsets.get_mut(length + 1) {
                *offset = next;
            }
        }
        let used = lengths.len() - usize::from(code.count(0));
        if left > 0 && (used > 1 || code.count(1) as usize != used) {
            return Err(bad());
        }
        for (symbol, length) in (0_u16..).zip(lengths).filter(|(_, length)| **length > 0) {
            let offset = offsets.get_mut(usize::from(*length)).ok_or_else(bad)?;
            *code.symbols.get_mut(usize::from(*offset)).ok_or_else(bad)? = symbol;
            *offset += 1;
        }
        Ok(code)
    }

    fn count(&self, length: usize) -> u16 {
        self.counts.get(length).copied().unwrap_or_default()
    }
}

/// `+=` where it stands.
trait Add {
    fn add(&mut self, more: u16);
}

impl Add for u16 {
    fn add(&mut self, more: u16) {
        *self += more;
    }
}

impl Inflate {
    pub(super) fn new() -> Self {
        Self {
            window: vec![0; WINDOW],
            total: 0,
            block: Block::Head,
            is_last: false,
            repeat: (0, 0),
            hold: 0,
            held: 0,
            literals: Code::NONE,
            distances: Code::NONE,
        }
    }

    /// Unpacks some more; nothing at the end.
    pub(super) fn read(&mut self, input: &mut Input<'_>, into: &mut [u8]) -> io::Result<usize> {
        let mut written = 0;
        for place in into {
            let Some(byte) = self.next(input)? else { break };
            if let Some(kept) = self.window.get_mut((self.total % WINDOW as u64) as usize) {
                *kept = byte;
            }
            self.total += 1;
            *place = byte;
            written += 1;
        }
        Ok(written)
    }

    fn next(&mut self, input: &mut Input<'_>) -> io::Result<Option<u8>> {
        loop {
            let (length, distance) = self.repeat;
            if length > 0 {
                self.repeat.0 -= 1;
                let at = (self.total - u64::from(distance)) % WINDOW as u64;
                return Ok(self.window.get(at as usize).copied());
            }
            match self.block {
                Block::Over => return Ok(None),
                Block::Stored(left) if left > 0 => {
                    self.block = Block::Stored(left - 1);
                    return input.byte().map(Some);
                }
                Block::Head | Block::Stored(_) => self.begin(input)?,
                Block::Coded => match self.symbol(input, false)? {
                    symbol if symbol < END => return Ok(Some(symbol.to_le_bytes()[0])),
                    END => self.block = Block::Head,
                    symbol => self.repeat(input, usize::from(symbol - END - 1))?,
                },
            }
        }
    }

    fn repeat(&mut self, input: &mut Input<'_>, kind: usize) -> io::Result<()> {
        let (base, more) = LENGTH_BASE.get(kind).zip(LENGTH_MORE.get(kind)).ok_or_else(bad)?;
        let length = base + self.bits(input, *more)?;
        let kind = usize::from(self.symbol(input, true)?);
        let base = DISTANCE_BASE.get(kind).ok_or_else(bad)?;
        // Two distances of each length: 0 0 0 0 1 1 2 2 …
        let more = (kind / 2).saturating_sub(1).to_le_bytes()[0];
        let distance = base + self.bits(input, more)?;
        if u64::from(distance) > self.total {
            return Err(bad());
        }
        self.repeat = (length, distance);
        Ok(())
    }

    /// Reads the head of a block.
    fn begin(&mut self, input: &mut Input<'_>) -> io::Result<()> {
        if self.is_last {
            self.block = Block::Over;
            return Ok(());
        }
        self.is_last = self.bits(input, 1)? == 1;
        self.block = match self.bits(input, 2)? {
            0 => {
                // It begins with a whole byte.
                (self.hold, self.held) = (0, 0);
                let length = self.bits(input, 16)?;
                if self.bits(input, 16)? != !length {
                    return Err(bad());
                }
                Block::Stored(length)
            }
            1 => {
                let mut lengths = [8; LITERALS];
                lengths.iter_mut().take(256).skip(144).for_each(|length| *length = 9);
                lengths.iter_mut().take(280).skip(256).for_each(|length| *length = 7);
                self.literals = Code::new(&lengths)?;
                // Two of the thirty-two mean nothing.
                self.distances = Code::new(&[5; 32])?;
                Block::Coded
            }
            2 => self.own_codes(input)?,
            _ => return Err(bad()),
        };
        Ok(())
    }

    fn own_codes(&mut self, input: &mut Input<'_>) -> io::Result<Block> {
        let literals = usize::from(self.bits(input, 5)?) + 257;
        let all = literals + usize::from(self.bits(input, 5)?) + 1;
        let count = usize::from(self.bits(input, 4)?) + 4;
        let mut lengths = [0; LITERALS + 32];
        for place in ORDER.iter().take(count) {
            *lengths.get_mut(usize::from(*place)).ok_or_else(bad)? = self.bits(input, 3)?.to_le_bytes()[0];
        }
        self.literals = Code::new(lengths.get(..ORDER.len()).ok_or_else(bad)?)?;
        let mut at = 0;
        let mut before = 0;
        while at < all {
            let symbol = self.symbol(input, false)?;
            let (length, times) = match symbol {
                0..=15 => (symbol.to_le_bytes()[0], 1),
                16 if at > 0 => (before, 3 + self.bits(input, 2)?),
                17 => (0, 3 + self.bits(input, 3)?),
                18 => (0, 11 + self.bits(input, 7)?),
                _ => return Err(bad()),
            };
            for _ in 0..times {
                *lengths.get_mut(at).filter(|_| at < all).ok_or_else(bad)? = length;
                at += 1;
            }
            before = length;
        }
        let (first, second) =
            lengths.get(..all).and_then(|lengths| lengths.split_at_checked(literals)).ok_or_else(bad)?;
        // Without a symbol for the end it has none.
        if literals > LITERALS || first.get(usize::from(END)) == Some(&0) {
            return Err(bad());
        }
        self.literals = Code::new(first)?;
        self.distances = Code::new(second)?;
        Ok(Block::Coded)
    }

    /// The next symbol, of a distance or of anything else.
    fn symbol(&mut self, input: &mut Input<'_>, of_distance: bool) -> io::Result<u16> {
        let (mut code, mut first, mut index) = (0_u16, 0_u16, 0_u16);
        for length in 1..=BITS {
            code |= self.bits(input, 1)?;
            let table = if of_distance { &self.distances } else { &self.literals };
            let count = table.count(length);
            if code < first + count {
                return table.symbols.get(usize::from(index + (code - first))).copied().ok_or_else(bad);
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        Err(bad())
    }

    /// At most 16 bits, the lowest first.
    fn bits(&mut self, input: &mut Input<'_>, count: u8) -> io::Result<u16> {
        while self.held < count {
            self.hold |= u32::from(input.byte()?) << self.held;
            self.held += 8;
        }
        let bits = self.hold & ((1 << count) - 1);
        self.hold >>= count;
        self.held -= count;
        // No more than 16 are asked for.
        Ok(bits as u16)
    }
}

fn bad() -> io::Error {
    damaged("it is damaged")
}
