//! The name of an object: the SHA-256 of its bytes, as 64 lower-case hexadecimal digits.

use core::fmt;

/// What a state's value names: immutable bytes by their SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct ObjectId([u8; 32]);

impl ObjectId {
    /// Digits of an id as text.
    pub const TEXT_LEN: usize = 64;

    /// Wraps a digest that was computed over the object's bytes.
    #[must_use]
    pub const fn from_digest(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// The id of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha256(bytes))
    }

    /// Reads 64 lower-case digits; `None` for anything else, for two names of one file would defeat a pool.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if !rest.is_empty() || pairs.len() != 32 {
            return None;
        }
        let mut digest = [0; 32];
        for (byte, [high, low]) in digest.iter_mut().zip(pairs) {
            *byte = nibble(*high)? << 4 | nibble(*low)?;
        }
        Some(Self(digest))
    }

    /// The digest.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The id of bytes that come piece by piece.
#[derive(Clone)]
pub struct Hasher(ring::digest::Context);

impl Default for Hasher {
    fn default() -> Self {
        Self(ring::digest::Context::new(&ring::digest::SHA256))
    }
}

impl Hasher {
    /// The next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The id of all of them.
    #[must_use]
    pub fn finish(self) -> ObjectId {
        ObjectId(array(&self.0.finish()))
    }
}

/// The SHA-256 of these bytes.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    array(&ring::digest::digest(&ring::digest::SHA256, bytes))
}

fn array(digest: &ring::digest::Digest) -> [u8; 32] {
    let mut out = [0; 32];
    // The algorithm fixes the length: 32 on both sides.
    for (to, from) in out.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    out
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn an_id_is_the_sha256_of_the_bytes_and_reads_back() {
        assert_eq!(ObjectId::of(b"").to_string(), EMPTY);
        assert_eq!(ObjectId::parse(EMPTY), Some(ObjectId::of(b"")));
    }

    #[test]
    fn pieces_have_the_id_of_the_whole() {
        let mut pieces = Hasher::default();
        for piece in ["some ", "", "bytes"] {
            pieces.update(piece.as_bytes());
        }
        assert_eq!(pieces.finish(), ObjectId::of(b"some bytes"));
    }

    #[test]
    fn only_one_spelling_names_an_object() {
        for bad in [&EMPTY[1..], &EMPTY.to_uppercase(), "", &EMPTY.replace('e', "g"), &(EMPTY.to_string() + "00")] {
            assert_eq!(ObjectId::parse(bad), None, "{bad}");
        }
    }
}
