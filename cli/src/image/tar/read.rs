//! The reader: entries in order, each with the place of its contents.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Seek, SeekFrom};

use super::{BLOCK, Entry, Kind, TarError};
use crate::image::Limits;

type Block = [u8; BLOCK as usize];

/// Reads the entries of an archive.
#[derive(Debug)]
pub struct Reader<R> {
    archive: R,
    /// Where the next header is.
    next: u64,
    len: u64,
    entries: usize,
    limits: Limits,
    done: bool,
}

/// What extended headers said of the next entry.
#[derive(Default)]
struct Extended {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<u32>,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    sparse: bool,
}

impl<R: Read + Seek> Reader<R> {
    /// A reader from the beginning of an archive.
    ///
    /// # Errors
    /// Its length cannot be found out.
    pub fn new(mut archive: R, limits: Limits) -> Result<Self, TarError> {
        let len = archive.seek(SeekFrom::End(0)).map_err(|error| io(&error))?;
        archive.seek(SeekFrom::Start(0)).map_err(|error| io(&error))?;
        Ok(Self { archive, next: 0, len, entries: 0, limits, done: false })
    }

    /// The next entry; `None` at the end.
    ///
    /// # Errors
    /// [`TarError`]; afterwards there is nothing more to read.
    pub fn entry(&mut self) -> Result<Option<Entry>, TarError> {
        if self.done {
            return Ok(None);
        }
        let read = self.read_entry();
        self.done = !matches!(read, Ok(Some(_)));
        read
    }

    fn read_entry(&mut self) -> Result<Option<Entry>, TarError> {
        let mut extended = Extended::default();
        loop {
            let Some(header) = self.header()? else { return Ok(None) };
            self.entries += 1;
            if self.entries > self.limits.entries {
                return Err(TarError::Entries(self.limits.entries));
            }
            let size = number(field(&header, 124, 12), "size")?;
            match type_of(&header) {
                b'x' => extended.records(&self.contents(size)?)?,
                // What is said of all entries names tools and dates; nothing of it is about a file.
                b'g' => drop(self.contents(size)?),
                b'L' => extended.path = Some(until_nul(&self.contents(size)?).to_vec()),
                b'K' => extended.link = Some(until_nul(&self.contents(size)?).to_vec()),
                kind => return self.file(&header, kind, size, extended).map(Some),
            }
        }
    }

    fn file(&mut self, header: &Block, kind: u8, size: u64, extended: Extended) -> Result<Entry, TarError> {
        if extended.sparse {
            return Err(TarError::Sparse);
        }
        let path = extended.path.unwrap_or_else(|| name(header));
        let link = || extended.link.clone().unwrap_or_else(|| until_nul(field(header, 157, 100)).to_vec());
        let device = |block| -> Result<Kind, TarError> {
            let part =
                |at, what| u32::try_from(number(field(header, at, 8), what)?).map_err(|_| TarError::Number(what));
            Ok(Kind::Device { block, major: part(329, "major number")?, minor: part(337, "minor number")? })
        };
        let kind = match kind {
            // Before POSIX a directory was a file whose name ends with a slash.
            b'0' | 0 | b'7' if !path.ends_with(b"/") => {
                let len = extended.size.unwrap_or(size);
                Kind::File { offset: self.skip(len)?, len }
            }
            b'0' | 0 | b'7' | b'5' => Kind::Directory,
            b'1' => Kind::HardLink(link()),
            b'2' => Kind::Symlink(link()),
            b'3' => device(false)?,
            b'4' => device(true)?,
            b'6' => Kind::Fifo,
            b'S' => return Err(TarError::Sparse),
            other => return Err(TarError::Type(other)),
        };
        let id = |said: Option<u32>, at, what| match said {
            Some(id) => Ok(id),
            None => u32::try_from(number(field(header, at, 8), what)?).map_err(|_| TarError::Number(what)),
        };
        Ok(Entry {
            kind,
            mode: (number(field(header, 100, 8), "mode")? & 0o7777) as u16,
            uid: id(extended.uid, 108, "owner")?,
            gid: id(extended.gid, 116, "group")?,
            mtime: match extended.mtime {
                Some(mtime) => mtime,
                None => time(field(header, 136, 12))?,
            },
            xattrs: extended.xattrs,
            path,
        })
    }

    /// The next header; `None` at a block of zeros, or where the archive ends without one.
    fn header(&mut self) -> Result<Option<Block>, TarError> {
        if self.next >= self.len {
            return if self.next == self.len { Ok(None) } else { Err(TarError::Truncated) };
        }
        let mut header = [0; BLOCK as usize];
        self.archive.seek(SeekFrom::Start(self.next)).map_err(|error| io(&error))?;
        self.archive.read_exact(&mut header).map_err(|error| io(&error))?;
        self.next += BLOCK;
        if header.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let blank = header.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { b' ' } else { *byte });
        let (unsigned, signed) = blank.fold((0_u64, 0_i64), |(unsigned, signed), byte| {
            // Old programs added the bytes as signed ones.
            (unsigned + u64::from(byte), signed + i64::from(byte.cast_signed()))
        });
        let said = number(field(&header, 148, 8), "sum").map_err(|_| TarError::Sum)?;
        if said == unsigned || i64::try_from(said) == Ok(signed) { Ok(Some(header)) } else { Err(TarError::Sum) }
    }

    /// The contents of an extended header.
    fn contents(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        let len = usize::try_from(size).ok().filter(|len| *len <= self.limits.header);
        let len = len.ok_or(TarError::Header(self.limits.header))?;
        self.skip(size)?;
        let mut contents = vec![0; len];
        self.archive.read_exact(&mut contents).map_err(|error| io(&error))?;
        Ok(contents)
    }

    /// Passes over contents and returns where they begin. The archive has all of them.
    fn skip(&mut self, size: u64) -> Result<u64, TarError> {
        let begin = self.next;
        let end = begin.checked_add(size).filter(|end| *end <= self.len).ok_or(TarError::Truncated)?;
        // The last entry of an archive may lack the filling.
        self.next = end.next_multiple_of(BLOCK).min(self.len.max(end));
        Ok(begin)
    }
}

impl Extended {
    fn records(&mut self, mut rest: &[u8]) -> Result<(), TarError> {
        while let Some(blank) = rest.iter().position(|byte| *byte == b' ') {
            let (digits, _) = rest.split_at(blank);
            let len = decimal(digits).and_then(|len| usize::try_from(len).ok()).ok_or(TarError::Record)?;
            let (record, after) = rest.split_at_checked(len).ok_or(TarError::Record)?;
            let body = record.get(blank + 1..).and_then(|body| body.strip_suffix(b"\n")).ok_or(TarError::Record)?;
            let equals = body.iter().position(|byte| *byte == b'=').ok_or(TarError::Record)?;
            let (key, value) = body.split_at(equals);
            self.record(key, value.get(1..).unwrap_or_default())?;
            rest = after;
        }
        if rest.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(TarError::Record) }
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<(), TarError> {
        let id = |what| decimal(value).and_then(|id| u32::try_from(id).ok()).ok_or(TarError::Number(what));
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(decimal(value).ok_or(TarError::Number("size"))?),
            b"uid" => self.uid = Some(id("owner")?),
            b"gid" => self.gid = Some(id("group")?),
            b"mtime" => self.mtime = Some(seconds(value).ok_or(TarError::Number("time"))?),
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.insert(name.to_vec(), value.to_vec());
                }
                self.sparse |= key.starts_with(b"GNU.sparse.");
            }
        }
        Ok(())
    }
}

/// Seconds with or without a fraction, which squashfs does not have; before 1970 is 1970.
fn seconds(text: &[u8]) -> Option<u32> {
    let whole = text.split(|byte| *byte == b'.').next()?;
    match whole.strip_prefix(b"-") {
        Some(before) => decimal(before).map(|_| 0),
        None => decimal(whole).map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX)),
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'))?;
    text.parse().ok()
}

fn type_of(header: &Block) -> u8 {
    field(header, 156, 1).first().copied().unwrap_or(0)
}

fn name(header: &Block) -> Vec<u8> {
    let name = until_nul(field(header, 0, 100));
    let prefix = until_nul(field(header, 345, 155));
    // GNU writes a blank where POSIX has a NUL, and keeps times where POSIX has a prefix.
    if field(header, 257, 6) == b"ustar\0" && !prefix.is_empty() { [prefix, name].join(&b'/') } else { name.to_vec() }
}

fn field(header: &Block, at: usize, len: usize) -> &[u8] {
    header.get(at..at + len).unwrap_or_default()
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// A number in octal digits, or in binary where the first bit is set.
fn number(field: &[u8], what: &'static str) -> Result<u64, TarError> {
    let wrong = TarError::Number(what);
    match field.first() {
        Some(first) if first & 0x80 != 0 => {
            let bytes = field.iter().enumerate().map(|(at, byte)| if at == 0 { byte & 0x7f } else { *byte });
            bytes
                .into_iter()
                .try_fold(0_u64, |sum, byte| sum.checked_mul(256).map(|sum| sum | u64::from(byte)))
                .ok_or(wrong)
        }
        _ => {
            let text = until_nul(field).trim_ascii();
            text.iter()
                .try_fold(0_u64, |sum, digit| {
                    let digit = digit.checked_sub(b'0').filter(|digit| *digit < 8)?;
                    sum.checked_mul(8).map(|sum| sum | u64::from(digit))
                })
                .ok_or(wrong)
        }
    }
}

/// A time. A negative one in binary begins with a byte of ones and is before 1970.
fn time(field: &[u8]) -> Result<u32, TarError> {
    if field.first() == Some(&0xff) {
        return Ok(0);
    }
    Ok(u32::try_from(number(field, "time")?).unwrap_or(u32::MAX))
}

fn io(error: &std::io::Error) -> TarError {
    if error.kind() == ErrorKind::UnexpectedEof { TarError::Truncated } else { TarError::Io(error.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn all(archive: &[u8]) -> Result<Vec<Entry>, TarError> {
        let mut reader = Reader::new(Cursor::new(archive), Limits::DEFAULT)?;
        std::iter::from_fn(|| reader.entry().transpose()).collect()
    }

    fn with_file(path: &str, contents: &[u8]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(contents.len() as u64);
        header.set_mode(0o4755);
        header.set_mtime(77);
        builder.append_data(&mut header, path, contents).unwrap();
        builder.into_inner().unwrap()
    }

    #[test]
    fn what_another_writer_writes_is_read_with_long_names_too() {
        for path in ["a".into(), format!("{}/{}", "d".repeat(120), "f".repeat(200))] {
            let entries = all(&with_file(&path, b"hello")).unwrap();
            let [entry] = entries.as_slice() else { panic!("{entries:?}") };
            assert_eq!((entry.path.as_slice(), entry.mode, entry.mtime), (path.as_bytes(), 0o4755, 77));
            let Kind::File { offset, len } = entry.kind else { panic!() };
            let archive = with_file(&path, b"hello");
            assert_eq!(&archive[offset as usize..][..len as usize], b"hello");
        }
    }

    #[test]
    fn an_archive_that_ends_early_is_an_error_wherever_it_ends() {
        let archive = with_file("a", &[7; 700]);
        for len in 1..512 + 700 {
            assert_eq!(all(&archive[..len]), Err(TarError::Truncated), "{len}");
        }
    }

    #[test]
    fn numbers_have_two_spellings_and_nothing_else_is_one() {
        assert_eq!(number(b" 0000755\0", ""), Ok(0o755));
        assert_eq!(number(b"\0\0\0", ""), Ok(0));
        assert_eq!(number(&[0x80, 0, 1, 0], ""), Ok(256));
        assert!(number(&[0xff; 12], "").is_err());
        for text in ["8", "-1", "0x1", "1 1"] {
            assert!(number(text.as_bytes(), "").is_err(), "{text}");
        }
        assert_eq!((seconds(b"-1.5"), seconds(b"5.9"), seconds(b"99999999999")), (Some(0), Some(5), Some(u32::MAX)));
    }

    #[test]
    fn a_length_is_bounded_before_it_is_believed() {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::XHeader);
        header.set_size(1 << 40);
        header.set_cksum();
        assert_eq!(all(header.as_bytes()), Err(TarError::Header(Limits::DEFAULT.header)));
    }

    #[test]
    fn records_are_taken_whole_or_not_at_all() {
        let records = |text: &[u8]| Extended::default().records(text).err();
        assert_eq!(records(b"12 path=a/b\n"), None);
        for text in [&b"13 path=a/b\n"[..], b"11 path=a/b\n", b"x path=a\n", b"8 patha\n", b"path", b"0 a=b\n"] {
            assert_eq!(records(text), Some(TarError::Record), "{text:?}");
        }
        let mut extended = Extended::default();
        extended.records(b"28 SCHILY.xattr.user.a=\n\n=\0\n").unwrap();
        assert_eq!(extended.xattrs[&b"user.a"[..]], b"\n\n=\0"[..]);
    }
}
