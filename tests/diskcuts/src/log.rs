//! What a disk was asked to do, in its order, with notes of what the world was told meanwhile.
//!
//! ```text
//!   write  at, bytes                  batch 7    ┐ came together: none of them was answered before all had come
//!   flush                             batch 7    ┘
//!   told   "[update]: Arming -> …"    batch 8
//!   write  at, bytes, to the medium   batch 9    answered when it is on the medium, and nothing else is
//! ```
//!
//! **A flush covers what was answered before it came.** So requests have a batch, which is answered as a whole, and a
//! flush covers the batches before its own. What was told was told when everything before it was answered.
//!
//! A log can be kept in a file, little-endian, an entry behind the other: kind, batch, place, length, bytes.

use std::io::{self, Read, Write};

/// One thing that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum What {
    /// Bytes; `fua`: they are on the medium when it is answered.
    Write { at: u64, bytes: Vec<u8>, fua: bool },
    /// So many bytes are of no use any more, and may read as zeros.
    Trim { at: u64, length: u64 },
    /// What was answered before is on the medium when this is answered.
    Flush,
    /// The world was told something, or something began.
    Told(String),
}

/// With its batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) batch: u64,
    pub(crate) what: What,
}

/// All of it.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Log {
    pub(crate) entries: Vec<Entry>,
    batch: u64,
}

impl Log {
    /// What comes from now on comes after everything so far was answered.
    pub(crate) fn begin_batch(&mut self) {
        self.batch += 1;
    }

    pub(crate) fn push(&mut self, what: What) {
        self.entries.push(Entry { batch: self.batch, what });
    }

    /// The world was told.
    pub(crate) fn tell(&mut self, text: impl Into<String>) {
        self.begin_batch();
        self.push(What::Told(text.into()));
        self.begin_batch();
    }

    /// Bytes that were written.
    pub(crate) fn written(&self) -> u64 {
        let length = |entry: &Entry| match &entry.what {
            What::Write { bytes, .. } => bytes.len() as u64,
            _ => 0,
        };
        self.entries.iter().map(length).sum()
    }

    pub(crate) fn save(&self, mut into: impl Write) -> io::Result<()> {
        for Entry { batch, what } in &self.entries {
            let (kind, at, length, bytes): (u8, u64, u64, &[u8]) = match what {
                What::Write { at, bytes, fua } => (u8::from(*fua), *at, bytes.len() as u64, bytes),
                What::Trim { at, length } => (2, *at, *length, &[]),
                What::Flush => (3, 0, 0, &[]),
                What::Told(text) => (4, 0, text.len() as u64, text.as_bytes()),
            };
            into.write_all(&[kind])?;
            for number in [*batch, at, length] {
                into.write_all(&number.to_le_bytes())?;
            }
            into.write_all(bytes)?;
        }
        into.flush()
    }

    pub(crate) fn load(mut from: impl Read) -> io::Result<Self> {
        let mut log = Self::default();
        let mut kind = [0];
        while from.read(&mut kind)? == 1 {
            let mut number = || {
                let mut bytes = [0; 8];
                from.read_exact(&mut bytes).map(|()| u64::from_le_bytes(bytes))
            };
            let (batch, at, length) = (number()?, number()?, number()?);
            let mut bytes = || {
                let mut bytes = Vec::new();
                let read = Read::by_ref(&mut from).take(length).read_to_end(&mut bytes)?;
                if read as u64 == length { Ok(bytes) } else { Err(io::Error::from(io::ErrorKind::UnexpectedEof)) }
            };
            let what = match kind {
                [fua @ (0 | 1)] => What::Write { at, bytes: bytes()?, fua: fua == 1 },
                [2] => What::Trim { at, length },
                [3] => What::Flush,
                [4] => What::Told(String::from_utf8(bytes()?).map_err(io::Error::other)?),
                _ => return Err(io::Error::other("this is no log of a disk")),
            };
            log.batch = log.batch.max(batch);
            log.entries.push(Entry { batch, what });
        }
        Ok(log)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_comes_back_from_its_bytes_and_a_torn_one_does_not() {
        let mut log = Log::default();
        log.begin_batch();
        log.push(What::Write { at: 512, bytes: vec![1; 512], fua: false });
        log.push(What::Flush);
        log.tell("done");
        log.push(What::Write { at: 0, bytes: vec![2; 1024], fua: true });
        log.push(What::Trim { at: 4096, length: 8192 });
        let mut bytes = Vec::new();
        log.save(&mut bytes).unwrap();
        assert_eq!(Log::load(&bytes[..]).unwrap().entries, log.entries);
        assert!(Log::load(&bytes[..bytes.len() - 1]).is_err());
        assert!(Log::load(&b"something else"[..]).is_err());
    }

    #[test]
    fn what_is_told_stands_alone() {
        let mut log = Log::default();
        log.push(What::Flush);
        log.tell("one");
        log.push(What::Flush);
        let batches: Vec<_> = log.entries.iter().map(|entry| entry.batch).collect();
        assert_eq!(batches, [0, 1, 2]);
    }
}
