//! Who may use the endpoint from outside: a code for a person to type once, a token for a program to keep, and the list
//! of tokens that a device knows, which has only their hashes.
//!
//! ```text
//!   cairn-pairings 1 LF
//!   <SHA-256 of the token, 64 digits> SP <seconds since 1970, or -> SP <name> LF        at most PAIRINGS_MAX lines
//! ```
//!
//! Promises: a code or a token is never part of `Debug` or of the list; codes and hashes are compared in a time that
//! does not depend on where they differ; a list with one line that is not understood is no list.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;
use core::hash::{Hash, Hasher};

use base64ct::{Base64UrlUnpadded, Encoding as _};
use serde::{Deserialize, Serialize};

use crate::object::{ObjectId, sha256};

/// Characters of a code.
pub const CODE_LEN: usize = 8;

/// What codes are made of: no two of them look alike, and there are 32, so five random bits are one.
const ALPHABET: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";

/// The most pairings of a device.
pub const PAIRINGS_MAX: usize = 32;

/// The most bytes of a name.
pub const NAME_MAX: usize = 64;

/// The most bytes of a list.
pub const LIST_MAX: usize = HEAD.len() + PAIRINGS_MAX * (ObjectId::TEXT_LEN + NAME_MAX + 24);

/// The first line of a list.
const HEAD: &str = "cairn-pairings 1\n";

/// Digits of a hash by which people tell tokens apart.
const FINGERPRINT_LEN: usize = 12;

/// A text that opens something. It travels, and is never shown by `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret(String);

impl Secret {
    /// Takes a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// A token of 256 random bits: base64 for URLs, without padding.
    #[must_use]
    pub fn token(random: &[u8; 32]) -> Self {
        Self(Base64UrlUnpadded::encode_string(random))
    }

    /// The text.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// What a person reads on the device and types elsewhere, once.
#[derive(Clone)]
pub struct Code([u8; CODE_LEN]);

impl Code {
    /// A code of 40 random bits.
    #[must_use]
    pub fn from_random(random: [u8; CODE_LEN]) -> Self {
        // Five bits of each byte: all characters are equally likely.
        Self(random.map(|byte| ALPHABET.get(usize::from(byte & 31)).copied().unwrap_or(b'2')))
    }

    /// Reads what was typed: in any case, with blanks or dashes between; `None` if it cannot be a code.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let typed = text.bytes().filter(|byte| !matches!(byte, b' ' | b'-')).map(|byte| byte.to_ascii_uppercase());
        let code: Vec<u8> = typed.take(CODE_LEN + 1).collect();
        let code: [u8; CODE_LEN] = code.try_into().ok()?;
        code.iter().all(|character| ALPHABET.contains(character)).then_some(Self(code))
    }

    /// As text, for the person who asked for it.
    #[must_use]
    pub fn reveal(&self) -> Secret {
        Secret(self.0.iter().copied().map(char::from).collect())
    }
}

impl PartialEq for Code {
    fn eq(&self, other: &Self) -> bool {
        same(&self.0, &other.0)
    }
}

impl Eq for Code {}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code")
    }
}

/// The SHA-256 of a token: all that is ever kept of one.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of a token as it was presented.
    #[must_use]
    pub fn of(token: &str) -> Self {
        Self(sha256(token.as_bytes()))
    }

    /// The digits by which people tell tokens apart.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut text = ObjectId::from_digest(self.0).to_string();
        text.truncate(FINGERPRINT_LEN);
        text
    }
}

impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        same(&self.0, &other.0)
    }
}

impl Eq for TokenHash {}

impl Hash for TokenHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenHash({})", self.fingerprint())
    }
}

/// Whether two texts of one length are the same, in a time that tells nothing about them.
fn same<const N: usize>(one: &[u8; N], other: &[u8; N]) -> bool {
    let differs = one.iter().zip(other).fold(0, |differs, (one, other)| core::hint::black_box(differs | (one ^ other)));
    core::hint::black_box(differs) == 0
}

/// Somebody who may use the endpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pairing {
    /// The hash of the token.
    pub token: TokenHash,
    /// Seconds since 1970, if the device had a clock that was set.
    pub date: Option<u64>,
    /// What the other side calls itself: see [`is_name`].
    pub name: String,
}

/// Whether a text may be the name of a pairing: letters, digits, and `.`, `_`, `@`, `-` behind the first of them. So it
/// can stand in a line, in a path and on a terminal.
#[must_use]
pub fn is_name(text: &str) -> bool {
    text.len() <= NAME_MAX
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte))
}

/// A list as the bytes of its file.
#[must_use]
pub fn write(pairings: &[Pairing]) -> String {
    let mut text = String::from(HEAD);
    for Pairing { token, date, name } in pairings {
        let date = date.map_or_else(|| "-".into(), |seconds| seconds.to_string());
        text += &format!("{} {date} {name}\n", ObjectId::from_digest(token.0));
    }
    text
}

/// Reads the bytes of a list.
///
/// # Errors
/// [`ListError`]: then nothing of it counts.
pub fn read(bytes: &[u8]) -> Result<Vec<Pairing>, ListError> {
    let text = str::from_utf8(bytes).ok().filter(|text| text.len() <= LIST_MAX).ok_or(ListError::Head)?;
    let lines = text.strip_prefix(HEAD).ok_or(ListError::Head)?;
    let mut pairings: Vec<Pairing> = Vec::new();
    for (index, line) in lines.split_inclusive('\n').enumerate() {
        let wrong = ListError::Line(index + 2);
        if pairings.len() == PAIRINGS_MAX {
            return Err(ListError::Many);
        }
        let pairing = line.strip_suffix('\n').and_then(pairing).ok_or(wrong)?;
        if pairings.iter().any(|known| known.token == pairing.token) {
            return Err(wrong);
        }
        pairings.push(pairing);
    }
    Ok(pairings)
}

fn pairing(line: &str) -> Option<Pairing> {
    let mut words = line.split(' ');
    let (token, date, name) = (words.next()?, words.next()?, words.next()?);
    let date = match date {
        "-" => None,
        // One number has one text.
        seconds => Some(seconds.parse().ok().filter(|number: &u64| number.to_string() == seconds)?),
    };
    let token = TokenHash(*ObjectId::parse(token)?.as_bytes());
    (words.next().is_none() && is_name(name)).then(|| Pairing { token, date, name: name.into() })
}

/// Why bytes are no list of pairings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ListError {
    /// They do not begin as a list of this version, or are too many.
    Head,
    /// This line is not understood, or says again what another one said.
    Line(usize),
    /// There are more than [`PAIRINGS_MAX`].
    Many,
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head => f.write_str("it is no list of pairings of this version"),
            Self::Line(line) => write!(f, "line {line} is not understood"),
            Self::Many => write!(f, "it has more than {PAIRINGS_MAX} pairings"),
        }
    }
}

impl core::error::Error for ListError {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::borrow::ToOwned as _;
    use alloc::vec;

    fn known(number: u8) -> Pairing {
        let token = Secret::token(&[number; 32]);
        Pairing { token: TokenHash::of(token.expose()), date: Some(1_800_000_000), name: format!("me@host-{number}") }
    }

    #[test]
    fn a_code_is_read_however_it_is_typed_and_nothing_else_is_one() {
        let code = Code::from_random([0, 31, 7, 8, 250, 100, 77, 255]);
        let text = code.reveal().expose().to_owned();
        assert_eq!(text.len(), CODE_LEN);
        for typed in [text.clone(), text.to_lowercase(), format!(" {}-{} ", &text[..4], &text[4..])] {
            assert_eq!(Code::parse(&typed), Some(code.clone()), "{typed}");
        }
        for wrong in ["", &text[..7], &format!("{text}2"), "ABCD0EFG", "ABCDIEFG", "ÄBCDEFG", &"2".repeat(9000)] {
            assert_eq!(Code::parse(wrong), None, "{wrong}");
        }
        assert_ne!(Code::parse("22222222"), Code::parse("22222223"));
    }

    #[test]
    fn every_character_is_made_of_as_many_bytes() {
        let mut count = [0; 256];
        for byte in 0..=255 {
            let code = Code::from_random([byte; CODE_LEN]).0;
            count[usize::from(code[0])] += 1;
        }
        assert!(ALPHABET.iter().all(|character| count[usize::from(*character)] == 8));
    }

    #[test]
    fn a_token_has_256_bits_and_its_hash_does_not_show_it() {
        let token = Secret::token(&[0xff; 32]);
        assert_eq!(token.expose(), "__________________________________________8");
        let pairing = Pairing { token: TokenHash::of(token.expose()), date: None, name: "me".into() };
        let shown =
            format!("{pairing:?} {token:?} {:?} {}", Code::from_random([1; 8]), write(core::slice::from_ref(&pairing)));
        assert!(!shown.contains(token.expose()) && !shown.contains("33333333"), "{shown}");
        assert_eq!(pairing.token.fingerprint().len(), FINGERPRINT_LEN);
    }

    #[test]
    fn a_list_is_read_as_it_was_written() {
        let mut pairings: Vec<Pairing> = (0..PAIRINGS_MAX as u8).map(known).collect();
        pairings[3].date = None;
        pairings[4].name = "n".repeat(NAME_MAX);
        pairings[5].date = Some(u64::MAX);
        let text = write(&pairings);
        assert!(text.len() <= LIST_MAX);
        assert_eq!(read(text.as_bytes()), Ok(pairings));
        assert_eq!(read(write(&[]).as_bytes()), Ok(vec![]));
    }

    #[test]
    fn one_bad_line_and_nobody_is_paired() {
        let line = write(&[known(1)]).strip_prefix(HEAD).unwrap().to_owned();
        let token = &line[..64];
        for bad in [
            "x\n".into(),
            line.trim_end().to_owned(),
            line.replace(' ', "  "),
            format!("{line}\n"),
            line.to_uppercase(),
            format!("{token} 007 me\n"),
            format!("{token} +7 me\n"),
            format!("{token} 7 ..\n"),
            format!("{token} 7 \n"),
            format!("{token} 7 a\u{1b}b\n"),
            format!("{token} 7 me more\n"),
            format!("{line}{line}"),
        ] {
            assert!(matches!(read(format!("{HEAD}{bad}").as_bytes()), Err(ListError::Line(2 | 3))), "{bad:?}");
        }
        let many: Vec<Pairing> = (0..=PAIRINGS_MAX as u8).map(known).collect();
        assert_eq!(read(write(&many).as_bytes()), Err(ListError::Many));
        for bad in ["", "cairn-pairings 2\n", "cairn-pairings 1", "\0\0\0\0"] {
            assert_eq!(read(bad.as_bytes()), Err(ListError::Head), "{bad:?}");
        }
    }

    #[test]
    fn a_name_can_stand_in_a_path_and_a_line() {
        assert!(["me", "me@my-host.example", "7"].into_iter().all(is_name));
        let long = "a".repeat(65);
        assert!(!["", ".", "..", "-x", "a b", "a/b", "a\n", "ä", &long].into_iter().any(is_name));
    }
}
