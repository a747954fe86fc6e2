//! The names of blobs: `sha256:` and 64 hexadecimal digits, checked while the bytes go by.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek as _};

use formats::object::ObjectId;
use ring::digest::{Context, SHA256};

/// The SHA-256 of a blob. Others exist on paper; no registry uses them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Digest(ObjectId);

impl Digest {
    /// Reads `sha256:…`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        text.strip_prefix("sha256:").and_then(ObjectId::parse).map(Self)
    }

    /// The digest of bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(ObjectId::of(bytes))
    }

    /// The digest of a whole file.
    pub(crate) fn of_file(file: &mut File) -> io::Result<Self> {
        file.rewind()?;
        let mut hashing = Hashing::new(file);
        io::copy(&mut hashing, &mut io::sink())?;
        Ok(hashing.digest())
    }

    /// The 64 digits alone.
    #[must_use]
    pub fn hex(&self) -> String {
        self.0.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

/// Passes bytes on and hashes them.
pub(crate) struct Hashing<R> {
    inner: R,
    context: Context,
    count: u64,
}

impl<R: Read> Hashing<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, context: Context::new(&SHA256), count: 0 }
    }

    /// How many bytes have gone by.
    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    /// The digest of what has gone by.
    pub(crate) fn digest(self) -> Digest {
        digest(self.context)
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.read(buffer)?;
        self.context.update(buffer.get(..len).unwrap_or_default());
        self.count += len as u64;
        Ok(len)
    }
}

/// The digest of what a context was fed.
pub(crate) fn digest(context: Context) -> Digest {
    let hash = context.finish();
    let mut bytes = [0; 32];
    bytes.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
    Digest(ObjectId::from_digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_spelling_is_a_digest() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::parse(&format!("sha256:{hex}")), Some(Digest::of(b"")));
        for text in [hex, "sha512:00", "sha256:", &format!("sha256:{}", hex.to_uppercase()), "sha256:../../x"] {
            assert_eq!(Digest::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_goes_by_is_hashed() {
        let mut hashing = Hashing::new(&b"abc"[..]);
        io::copy(&mut hashing, &mut io::sink()).unwrap();
        assert_eq!(hashing.count(), 3);
        assert_eq!(hashing.digest(), Digest::of(b"abc"));
    }
}
