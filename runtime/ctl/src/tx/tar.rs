//! tar as far as packages use it: ustar, with the long names of GNU and POSIX, read from its beginning to its end.
//!
//! ```text
//!   name 100 │ mode uid gid │ size 12 │ mtime │ sum 8 │ type 1 │ … │ prefix 155      512 bytes, then the contents
//!   0          100            124       136     148     156          345
//! ```
//!
//! Promises: every head is bounded and its sum right; contents that were not read are passed over; a name is told as it
//! stands, for the reader of packages to judge. What ends inside a member is an error.

use std::io;

use formats::json::Limits;
use formats::path::KEY_MAX;

use super::input::{Bytes, bounded, damaged, pass};

const BLOCK: usize = 512;
/// The longest record of extensions.
const EXTENSION_MAX: u64 = 64 * 1024;
/// The most members of an archive: those of the largest state, and as many that nobody asked for.
const MEMBERS_MAX: u32 = 2 * Limits::STATE.values;

/// What a member is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    File,
    Directory,
    /// A link, a device, a pipe.
    Other,
}

/// A member; its contents are read from the archive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) size: u64,
}

/// An archive that is being read.
pub(super) struct Tar<'r> {
    inner: &'r mut dyn Bytes,
    /// Bytes of the member that were not read yet, and those that fill its last block.
    left: u64,
    fill: u64,
    members: u32,
}

impl<'r> Tar<'r> {
    pub(super) fn new(inner: &'r mut dyn Bytes) -> Self {
        Self { inner, left: 0, fill: 0, members: 0 }
    }

    /// The next member; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Member>> {
        let (mut long_name, mut long_size) = (None, None);
        loop {
            self.pass()?;
            let Some(block) = self.block()? else {
                return if long_name.is_some() { Err(damaged("a long name has no member")) } else { Ok(None) };
            };
            let head = Head::read(&block)?;
            self.members += 1;
            if self.members > MEMBERS_MAX {
                return Err(damaged("it has too many members"));
            }
            let size =
                if matches!(head.kind, b'L' | b'K' | b'x' | b'g') { head.size } else { long_size.unwrap_or(head.size) };
            // Links and devices have no contents, whatever stands there.
            let has_contents = matches!(head.kind, 0 | b'0' | b'7' | b'L' | b'K' | b'x' | b'g');
            self.left = if has_contents { size } else { 0 };
            self.fill = self.left.wrapping_neg() % BLOCK as u64;
            match head.kind {
                b'L' => {
                    let bytes = self.extension()?;
                    long_name = Some(text(bytes.strip_suffix(b"\0").unwrap_or(&bytes))?);
                }
                b'x' => {
                    for (key, value) in records(&self.extension()?)? {
                        match key.as_str() {
                            "path" => long_name = Some(value),
                            "size" => long_size = Some(value.parse().map_err(|_| damaged("a size is no number"))?),
                            _ => {}
                        }
                    }
                }
                b'K' | b'g' => drop(self.extension()?),
                kind => {
                    let name = long_name.map_or_else(|| head.name(&block), Ok)?;
                    let kind = match kind {
                        0 | b'0' | b'7' if name.ends_with('/') => Kind::Directory,
                        0 | b'0' | b'7' => Kind::File,
                        b'5' => Kind::Directory,
                        _ => Kind::Other,
                    };
                    return Ok(Some(Member { name, kind, size: self.left }));
                }
            }
        }
    }

    /// Passes over what is left of a member.
    fn pass(&mut self) -> io::Result<()> {
        let rest = std::mem::take(&mut self.left).checked_add(std::mem::take(&mut self.fill));
        let rest = rest.ok_or_else(|| damaged("a member is larger than any file"))?;
        if pass(self.inner, rest)? == rest { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// The next block; `None` if it is all zeros or there is none.
    fn block(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while let Some(space) = block.get_mut(filled..).filter(|space| !space.is_empty()) {
            match self.inner.read(space) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(block.iter().any(|byte| *byte != 0).then_some(block))
    }

    fn extension(&mut self) -> io::Result<Vec<u8>> {
        if self.left > EXTENSION_MAX {
            return Err(damaged("a head is too long"));
        }
        Ok(bounded(self, EXTENSION_MAX as usize)?.unwrap_or_default())
    }
}

impl Bytes for Tar<'_> {
    /// The contents of the member.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(into.len());
        let read = self.inner.read(into.get_mut(..wanted).unwrap_or_default())?;
        if read == 0 && wanted > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read as u64;
        Ok(read)
    }
}

struct Head {
    kind: u8,
    size: u64,
}

impl Head {
    fn read(block: &[u8; BLOCK]) -> io::Result<Self> {
        let field = |from: usize, to: usize| block.get(from..to).unwrap_or_default();
        let blank = block.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { b' ' } else { *byte });
        let is_sum = |sum: u64| octal(field(148, 156)) == Some(sum);
        if !is_sum(blank.map(u64::from).sum()) {
            return Err(damaged("it is no tar, or a damaged one"));
        }
        let size = match field(124, 136) {
            [0x80, rest @ ..] => rest
                .iter()
                .try_fold(0_u64, |sum, byte| sum.checked_mul(256).and_then(|sum| sum.checked_add(u64::from(*byte)))),
            digits => octal(digits),
        };
        Ok(Self { kind: block[156], size: size.ok_or_else(|| damaged("a size is no number"))? })
    }

    fn name(&self, block: &[u8; BLOCK]) -> io::Result<String> {
        let field = |from: usize, to: usize| {
            let bytes = block.get(from..to).unwrap_or_default();
            text(bytes.split(|byte| *byte == 0).next().unwrap_or_default())
        };
        let name = field(0, 100)?;
        // GNU's own heads have other things in that place.
        let is_posix = block.get(257..263) == Some(b"ustar\0");
        let prefix = if is_posix { field(345, 500)? } else { String::new() };
        Ok(if prefix.is_empty() { name } else { format!("{prefix}/{name}") })
    }
}

/// Digits, with blanks or NUL around them.
fn octal(field: &[u8]) -> Option<u64> {
    let text = str::from_utf8(field).ok()?.trim_matches([' ', '\0']);
    if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok().filter(|_| !text.starts_with('+')) }
}

/// `LENGTH KEY=VALUE\n`, one after the other.
fn records(bytes: &[u8]) -> io::Result<Vec<(String, String)>> {
    let (mut rest, mut found) = (bytes, Vec::new());
    let bad = || damaged("a head of POSIX is damaged");
    while !rest.is_empty() {
        let blank = rest.iter().position(|byte| *byte == b' ').ok_or_else(bad)?;
        let digits = rest.get(..blank).and_then(|digits| str::from_utf8(digits).ok()).ok_or_else(bad)?;
        let length: usize = digits.parse().map_err(|_| bad())?;
        let record = rest.get(blank + 1..length).and_then(|record| record.strip_suffix(b"\n")).ok_or_else(bad)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(bad)?;
        let (key, value) = record.split_at(equals);
        // Values of others may be anything: only names and sizes are read as text.
        if matches!(key, b"path" | b"size") {
            found.push((text(key)?, text(value.get(1..).unwrap_or_default())?));
        }
        rest = rest.get(length..).ok_or_else(bad)?;
    }
    Ok(found)
}

fn text(bytes: &[u8]) -> io::Result<String> {
    if bytes.len() > KEY_MAX {
        return Err(damaged("a name is too long"));
    }
    String::from_utf8(bytes.to_vec()).map_err(|_| damaged("a name is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> io::Result<Vec<(Member, Vec<u8>)>> {
        let mut bytes = bytes;
        let mut archive = Tar::new(&mut bytes);
        let mut found = Vec::new();
        while let Some(member) = archive.next()? {
            let contents = bounded(&mut archive, usize::MAX)?.unwrap();
            found.push((member, contents));
        }
        Ok(found)
    }

    fn append(builder: &mut tar::Builder<Vec<u8>>, name: &str, kind: tar::EntryType, bytes: &[u8]) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, bytes).unwrap();
    }

    #[test]
    fn members_of_the_two_kinds_of_long_names_are_read() {
        let long = format!("objects/{}/{}", "x".repeat(120), "y".repeat(90));
        let mut gnu = tar::Builder::new(Vec::new());
        append(&mut gnu, "json", tar::EntryType::Regular, b"{}");
        append(&mut gnu, "dir/", tar::EntryType::Directory, b"");
        append(&mut gnu, &long, tar::EntryType::Regular, &[7; 513]);
        let found = all(&gnu.into_inner().unwrap()).unwrap();
        let names: Vec<_> = found.iter().map(|(member, _)| (member.name.as_str(), member.kind)).collect();
        assert_eq!(names, [("json", Kind::File), ("dir/", Kind::Directory), (long.as_str(), Kind::File)]);
        assert_eq!((found[0].1.as_slice(), found[2].1.as_slice()), (&b"{}"[..], &[7; 513][..]));

        let mut posix = tar::Builder::new(Vec::new());
        posix.append_pax_extensions([("mtime", &b"1.5"[..]), ("path", long.as_bytes())]).unwrap();
        append(&mut posix, "short", tar::EntryType::Regular, b"abc");
        let found = all(&posix.into_inner().unwrap()).unwrap();
        assert_eq!((found[0].0.name.as_str(), found[0].1.as_slice()), (long.as_str(), &b"abc"[..]));
    }

    #[test]
    fn contents_that_nobody_reads_are_passed_over_and_links_have_none() {
        let mut builder = tar::Builder::new(Vec::new());
        append(&mut builder, "a", tar::EntryType::Regular, &[1; 1000]);
        let mut link = tar::Header::new_gnu();
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_size(0);
        builder.append_link(&mut link, "b", "/etc/passwd").unwrap();
        append(&mut builder, "c", tar::EntryType::Regular, b"c");
        let bytes = builder.into_inner().unwrap();
        let mut bytes = bytes.as_slice();
        let mut archive = Tar::new(&mut bytes);
        let mut kinds = Vec::new();
        while let Some(member) = archive.next().unwrap() {
            kinds.push((member.name, member.kind, member.size));
        }
        let is = |name: &str, kind, size| (name.to_owned(), kind, size);
        assert_eq!(kinds, [is("a", Kind::File, 1000), is("b", Kind::Other, 0), is("c", Kind::File, 1)]);
    }

    #[test]
    fn what_is_cut_or_damaged_is_an_error() {
        let mut builder = tar::Builder::new(Vec::new());
        append(&mut builder, "a", tar::EntryType::Regular, &[1; 1000]);
        let bytes = builder.into_inner().unwrap();
        for cut in [100, 512, 900, 1511, 1535] {
            assert!(all(&bytes[..cut]).is_err(), "{cut}");
        }
        // Old programs end an archive without its blocks of zeros.
        assert_eq!(all(&bytes[..1536]).unwrap().len(), 1);
        for at in [0, 124, 148, 156] {
            let mut wrong = bytes.clone();
            wrong[at] ^= 1;
            assert!(all(&wrong).is_err(), "{at}");
        }
    }

    #[test]
    fn a_size_that_no_file_has_is_an_error_and_no_wait() {
        let mut header = tar::Header::new_gnu();
        header.set_path("a").unwrap();
        header.set_size(u64::MAX - 5);
        header.set_cksum();
        assert!(all(header.as_bytes()).is_err());
    }
}
