//! What somebody says who is attached to the console of a container: one word in each packet of a UNIX socket that keeps
//! packets apart.
//!
//! ```text
//!   0 bytes …            they were typed                       in the other direction: what is written on the console, as it
//!   1 rows columns       the window has this size, 2 bytes     comes, in packets without a meaning; the end of the socket is
//!                        each, most significant first          that of the console
//! ```

use alloc::vec::Vec;

/// The most bytes of a packet.
pub const PACKET_MAX: usize = 4096;

const TYPED: u8 = 0;
const WINDOW: u8 = 1;

/// One of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Word<'a> {
    /// These bytes.
    Typed(&'a [u8]),
    /// The window has this size.
    Window {
        /// Lines.
        rows: u16,
        /// Characters of one.
        columns: u16,
    },
}

impl<'a> Word<'a> {
    /// Reads a packet.
    #[must_use]
    pub fn parse(packet: &'a [u8]) -> Option<Self> {
        match packet {
            [TYPED, bytes @ ..] if !bytes.is_empty() && packet.len() <= PACKET_MAX => Some(Self::Typed(bytes)),
            [WINDOW, a, b, c, d] => {
                Some(Self::Window { rows: u16::from_be_bytes([*a, *b]), columns: u16::from_be_bytes([*c, *d]) })
            }
            _ => None,
        }
    }

    /// The packet. Of what was typed at most `PACKET_MAX - 1` bytes fit into one.
    #[must_use]
    pub fn packet(&self) -> Vec<u8> {
        match self {
            Self::Typed(bytes) => [&[TYPED][..], bytes].concat(),
            Self::Window { rows, columns } => [&[WINDOW][..], &rows.to_be_bytes(), &columns.to_be_bytes()].concat(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_reads_back_as_itself() {
        for word in [Word::Typed(b"ls\n"), Word::Typed(&[0]), Word::Window { rows: 24, columns: 300 }] {
            assert_eq!(Word::parse(&word.packet()), Some(word));
        }
    }

    #[test]
    fn what_is_no_word_is_not_taken_for_one() {
        let long = [0; PACKET_MAX + 1];
        for packet in [&[][..], &[TYPED], &[WINDOW], &[WINDOW, 0, 1, 0], &[WINDOW, 0, 1, 0, 2, 0], &[2, 1], &long] {
            assert_eq!(Word::parse(packet), None, "{packet:?}");
        }
        assert!(Word::parse(&long[..PACKET_MAX]).is_some());
    }
}
