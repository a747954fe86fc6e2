//! The writer: one spelling for every entry, so that equal trees are equal bytes.
//!
//! ```text
//!   what fits a POSIX header stands there and nowhere else; what does not stands in one `x` entry before it, sorted
//! ```

use std::io::{self, Read, Write};

use super::{BLOCK, Entry, Kind};

/// Writes an archive.
#[derive(Debug)]
pub struct Writer<W> {
    archive: W,
}

impl<W: Write> Writer<W> {
    /// An archive with nothing in it yet.
    pub fn new(archive: W) -> Self {
        Self { archive }
    }

    /// Writes an entry, and for a file its contents. The place of the contents in the entry is not looked at.
    ///
    /// # Errors
    /// The archive cannot be written, the contents cannot be read, or there are not as many as the entry says.
    pub fn append(&mut self, entry: &Entry, contents: &mut dyn Read) -> io::Result<()> {
        let (kind, link, len) = match &entry.kind {
            Kind::File { len, .. } => (b'0', &[][..], *len),
            Kind::HardLink(to) => (b'1', to.as_slice(), 0),
            Kind::Symlink(to) => (b'2', to.as_slice(), 0),
            Kind::Device { block: false, .. } => (b'3', &[][..], 0),
            Kind::Device { block: true, .. } => (b'4', &[][..], 0),
            Kind::Directory => (b'5', &[][..], 0),
            Kind::Fifo => (b'6', &[][..], 0),
        };
        let mut header = Header::new(kind);
        let mut records = Vec::new();
        let mut spill = |fits: bool, key: &str, value: &[u8]| {
            if !fits {
                records.extend(record(key.as_bytes(), value));
            }
        };
        spill(header.number(116, 8, u64::from(entry.gid)), "gid", entry.gid.to_string().as_bytes());
        spill(header.text(157, 100, link), "linkpath", link);
        spill(header.text(0, 100, &entry.path), "path", &entry.path);
        spill(header.number(124, 12, len), "size", len.to_string().as_bytes());
        spill(header.number(108, 8, u64::from(entry.uid)), "uid", entry.uid.to_string().as_bytes());
        for (name, value) in &entry.xattrs {
            records.extend(record(&[b"SCHILY.xattr.", name.as_slice()].concat(), value));
        }
        header.number(100, 8, u64::from(entry.mode));
        // Thirty-two bits always fit.
        header.number(136, 12, u64::from(entry.mtime));
        if let Kind::Device { major, minor, .. } = entry.kind
            && !(header.number(329, 8, u64::from(major)) && header.number(337, 8, u64::from(minor)))
        {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a device number that no archive can hold"));
        }
        if !records.is_empty() {
            let mut before = Header::new(b'x');
            before.text(0, 100, b"x");
            before.number(100, 8, 0o644);
            before.number(124, 12, records.len() as u64);
            self.archive.write_all(&before.summed())?;
            self.archive.write_all(&records)?;
            self.fill(records.len() as u64)?;
        }
        self.archive.write_all(&header.summed())?;
        let copied = io::copy(&mut contents.take(len), &mut self.archive)?;
        if copied != len {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the contents of a file end early"));
        }
        self.fill(len)
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.archive.write_all(&[0; 2 * BLOCK as usize])?;
        self.archive.flush()?;
        Ok(self.archive)
    }

    fn fill(&mut self, len: u64) -> io::Result<()> {
        let zeros = [0; BLOCK as usize];
        let missing = (len.next_multiple_of(BLOCK) - len) as usize;
        self.archive.write_all(zeros.get(..missing).unwrap_or_default())
    }
}

/// `LENGTH KEY=VALUE\n`, whose length counts its own digits.
fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut len = rest + 1;
    while len != rest + len.to_string().len() {
        len = rest + len.to_string().len();
    }
    [len.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

struct Header([u8; BLOCK as usize]);

impl Header {
    fn new(kind: u8) -> Self {
        let mut header = Self([0; BLOCK as usize]);
        header.put(156, &[kind]);
        header.put(257, b"ustar\x0000");
        for (at, len) in [(108, 8), (116, 8), (124, 12), (136, 12)] {
            header.number(at, len, 0);
        }
        header
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        for (place, byte) in self.0.iter_mut().skip(at).zip(bytes) {
            *place = *byte;
        }
    }

    /// Puts a text; whether it fits.
    fn text(&mut self, at: usize, len: usize, text: &[u8]) -> bool {
        self.put(at, text.get(..text.len().min(len)).unwrap_or_default());
        text.len() <= len
    }

    /// Puts octal digits; whether they fit. What does not fit is zero.
    fn number(&mut self, at: usize, len: usize, number: u64) -> bool {
        let digits = len - 1;
        let fits = number < 1 << (3 * digits);
        let number = if fits { number } else { 0 };
        self.put(at, format!("{number:0digits$o}\0").as_bytes());
        fits
    }

    fn summed(mut self) -> [u8; BLOCK as usize] {
        self.put(148, b"        ");
        let sum: u64 = self.0.iter().map(|byte| u64::from(*byte)).sum();
        self.put(148, format!("{sum:06o}\0 ").as_bytes());
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Limits;
    use crate::image::tar::Reader;
    use std::collections::BTreeMap;
    use std::io::Cursor;

    #[test]
    fn what_is_written_is_read_again_as_the_same() {
        let base = Entry {
            path: b"a".to_vec(),
            kind: Kind::Directory,
            mode: 0o1777,
            uid: 0,
            gid: 0,
            mtime: u32::MAX,
            xattrs: BTreeMap::new(),
        };
        let entries = [
            base.clone(),
            Entry { path: [b'x'; 3000].to_vec(), uid: u32::MAX, gid: 3_000_000, ..base.clone() },
            Entry {
                path: b"cap".to_vec(),
                kind: Kind::File { offset: 0, len: 3 },
                xattrs: BTreeMap::from([(b"security.capability".to_vec(), b"\x01\0\n=\xff".to_vec())]),
                ..base.clone()
            },
            Entry { path: b"s".to_vec(), kind: Kind::Symlink([b'l'; 101].to_vec()), ..base.clone() },
            Entry { path: b"h".to_vec(), kind: Kind::HardLink(b"cap".to_vec()), ..base.clone() },
            Entry { path: b"d".to_vec(), kind: Kind::Device { block: true, major: 8, minor: 1 }, ..base.clone() },
            Entry { path: b"f".to_vec(), kind: Kind::Fifo, ..base },
        ];
        let mut writer = Writer::new(Vec::new());
        for entry in &entries {
            writer.append(entry, &mut &b"abc"[..]).unwrap();
        }
        let archive = writer.finish().unwrap();
        let mut reader = Reader::new(Cursor::new(&archive), Limits::DEFAULT).unwrap();
        for wanted in &entries {
            let mut found = reader.entry().unwrap().unwrap();
            if let Kind::File { offset, len } = &mut found.kind {
                assert_eq!(&archive[*offset as usize..][..*len as usize], b"abc");
                *offset = 0;
            }
            assert_eq!(&found, wanted);
        }
        assert_eq!(reader.entry(), Ok(None));
        // And by somebody else's reader.
        let mut others = tar::Archive::new(archive.as_slice());
        let names: Vec<_> = others.entries().unwrap().map(|entry| entry.unwrap().path_bytes().into_owned()).collect();
        assert_eq!(names, entries.map(|entry| entry.path));
    }

    #[test]
    fn contents_that_end_early_are_an_error() {
        let entry = Entry {
            path: b"a".to_vec(),
            kind: Kind::File { offset: 0, len: 4 },
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: 0,
            xattrs: BTreeMap::new(),
        };
        assert!(Writer::new(Vec::new()).append(&entry, &mut &b"abc"[..]).is_err());
    }

    #[test]
    fn a_record_counts_its_own_digits() {
        assert_eq!(record(b"a", b"b"), b"6 a=b\n");
        assert_eq!(record(b"abcd", b"e"), b"9 abcd=e\n");
        assert_eq!(record(b"abcde", b"e"), b"11 abcde=e\n");
    }
}
