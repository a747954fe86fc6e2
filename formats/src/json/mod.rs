//! JSON with bounds: a reader that keeps the text, and a writer whose bytes can be signed.
//!
//! Promises: input is refused, with line and column, when it is not UTF-8, too long, too deep, has too many values, or
//! names a member twice. Every [`Value`] knows the exact text it was read from, because trails and signatures copy text
//! and never a re-encoding. [`Json`] is the tree that programs build; [`Json::canonical`] writes the one form in which
//! equal values are equal bytes.
//!
//! ```text
//!   bytes ──parse──▶ Value<'a> { raw text, kind } ──to_json──▶ Json ──canonical / compact / pretty──▶ text
//! ```
//!
//! An own tokenizer and not `serde_json`, because the contract needs what that crate does not offer together: the raw
//! text of *every* value, duplicate members as errors, a depth limit per call, exact decimals without a feature that
//! changes the whole program, and canonical numbers. It is also some 90 KiB smaller on a device. This is the only JSON
//! that runs there.

mod number;
mod read;
mod value;
mod write;

use core::fmt;

pub use number::Number;
pub use read::parse;
pub use value::{Kind, Member, Object, Value};
pub use write::{Json, escape_into};

/// The deepest nesting that any call may ask for: reading and writing recurse, and the stack of PID 1 is small.
pub const DEPTH_MAX: u8 = 64;

/// How much input a caller is willing to look at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of text.
    pub bytes: usize,
    /// Arrays and objects inside each other; never more than [`DEPTH_MAX`] whatever is asked for.
    pub depth: u8,
    /// Values in all, members counted by their value. Bounds memory: one value costs at most 80 bytes.
    pub values: u32,
}

impl Limits {
    /// A device state: 2 MiB, which is what hubs and devices agree on, and about 5 MiB of tree at worst.
    pub const STATE: Self = Self { bytes: 2 * 1024 * 1024, depth: 32, values: 65_536 };
    /// One small document: a manifest, a progress report, a signature header.
    pub const DOCUMENT: Self = Self { bytes: 64 * 1024, depth: 16, values: 4_096 };
}

/// Input that is not JSON, or more of it than was allowed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JsonError {
    /// What is wrong.
    pub kind: JsonErrorKind,
    /// Line of the first wrong character, from 1.
    pub line: u32,
    /// Its column in characters, from 1.
    pub column: u32,
}

/// What is wrong with a JSON text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JsonErrorKind {
    /// Longer than [`Limits::bytes`].
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// Nested deeper than [`Limits::depth`].
    TooDeep {
        /// The limit.
        limit: u8,
    },
    /// More than [`Limits::values`].
    TooMany {
        /// The limit.
        limit: u32,
    },
    /// A byte that is not UTF-8.
    Utf8,
    /// The text ends inside a value.
    Truncated,
    /// A character that cannot stand here.
    Unexpected(char),
    /// A control character inside a string.
    Control(char),
    /// A backslash that begins no escape.
    Escape,
    /// A number outside the range of [`Number`].
    Number,
    /// A member that the object has already.
    Duplicate,
    /// Something follows the value.
    Trailing,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.kind)
    }
}

impl fmt::Display for JsonErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { limit } => write!(f, "the text is longer than {limit} bytes"),
            Self::TooDeep { limit } => write!(f, "values are nested deeper than {limit}"),
            Self::TooMany { limit } => write!(f, "there are more than {limit} values"),
            Self::Utf8 => f.write_str("the text is not UTF-8"),
            Self::Truncated => f.write_str("the text ends inside a value"),
            Self::Unexpected(c) => write!(f, "{c:?} cannot stand here"),
            Self::Control(c) => write!(f, "{c:?} inside a string must be escaped"),
            Self::Escape => f.write_str("the backslash begins no escape that JSON knows"),
            Self::Number => f.write_str("the number is too large or has too many digits"),
            Self::Duplicate => f.write_str("the object names this member twice"),
            Self::Trailing => f.write_str("something follows the value"),
        }
    }
}

impl core::error::Error for JsonError {}
