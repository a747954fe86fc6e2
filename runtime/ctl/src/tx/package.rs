//! Packages: a part of a state with its objects in one file, as it comes from anybody. Elsewhere it is called a bundle.
//!
//! ```text
//!   bytes ─▶ gzip? ─▶ { … }                the keys alone
//!                  └▶ tar: json            or .pvr/json; a leading `./` is none
//!                          objects/<sha256>   in any order; what is neither is passed over
//! ```
//!
//! Promises: one pass, so that it can come through a pipe; memory holds the keys and never an object. Nothing counts that
//! does not have the bytes of its name, that leads elsewhere, that is a link, or that comes twice. Once the keys are known,
//! objects that they do not name are passed over.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Read};

use formats::json::Limits;
use formats::object::{Hasher, ObjectId};
use formats::path;

use super::gzip::{self, Gzip};
use super::input::{Bytes, Input, bounded, pass};
use super::parts::Parts;
use super::tar::{Kind, Member, Tar};
use crate::failure::Failure;
use crate::tx::Result;

/// The most bytes that are unpacked: what ends later was made to never end.
const UNPACKED_MAX: u64 = 64 << 30;
/// What may stand behind the end of a tar: programs fill it up with zeros.
const FILL_MAX: u64 = 1 << 20;
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Takes the objects of a package.
pub(super) trait Sink {
    /// Reads one of this size to its end. Whether it is the right one is told by `bytes`, as an error at the end.
    fn object(&mut self, id: ObjectId, size: u64, bytes: &mut dyn Read) -> Result<()>;
}

/// What a package has.
pub(super) struct Package {
    pub(super) parts: Parts,
    /// The objects that were brought.
    pub(super) objects: BTreeSet<ObjectId>,
}

impl Package {
    /// Reads a package; its objects go to the sink as they come. `what` is its name in messages.
    pub(super) fn read(bytes: &mut dyn Bytes, what: &str, sink: &mut dyn Sink) -> Result<Self> {
        let mut packed = Input::new(bytes, u64::MAX);
        let first = packed.ahead().map_err(|error| unreadable(what, error))?;
        if first.starts_with(&ZSTD) {
            return Err(wrong(what, &"it is packed with zstd, which is not unpacked here; pack it with gzip"));
        }
        let (mut gzip, mut plain);
        let bytes: &mut dyn Bytes = if first.starts_with(&gzip::MAGIC) {
            gzip = Gzip::new(packed);
            &mut gzip
        } else {
            plain = packed;
            &mut plain
        };
        let mut bytes = Input::new(bytes, UNPACKED_MAX);
        let first = bytes.ahead().map_err(|error| unreadable(what, error))?;
        let package = if first.trim_ascii_start().first() == Some(&b'{') {
            let parts = Parts::parse(&text(&mut bytes, what)?, what)?;
            Self { parts, objects: BTreeSet::new() }
        } else {
            archive(&mut bytes, what, sink)?
        };
        // The checksum of gzip stands at the end.
        if pass(&mut bytes, FILL_MAX).map_err(|error| unreadable(what, error))? == FILL_MAX {
            return Err(wrong(what, &"it goes on behind its end"));
        }
        Ok(package)
    }
}

fn archive(bytes: &mut dyn Bytes, what: &str, sink: &mut dyn Sink) -> Result<Package> {
    let mut archive = Tar::new(bytes);
    let (mut parts, mut wanted) = (None::<Parts>, BTreeSet::new());
    let (mut objects, mut passed) = (BTreeSet::new(), BTreeSet::new());
    while let Some(Member { name: full, kind, size }) = archive.next().map_err(|error| unreadable(what, error))? {
        let name = full.strip_prefix("./").unwrap_or(&full).trim_end_matches('/');
        let is_root = matches!(name, "" | ".") && kind == Kind::Directory;
        if !is_root && let Err(why) = path::relative(name) {
            return Err(wrong(what, &format_args!("{full:?}: {why}")));
        }
        match kind {
            Kind::Directory => continue,
            Kind::Other => {
                return Err(wrong(
                    what,
                    &format_args!("{full:?} is neither a file nor a directory, and a package has nothing else"),
                ));
            }
            Kind::File => {}
        }
        let name = name.strip_prefix(".pvr/").unwrap_or(name);
        let is_first = match name.strip_prefix("objects/").and_then(ObjectId::parse) {
            Some(id) if parts.is_some() && !wanted.contains(&id) => passed.insert(id),
            Some(id) => {
                let is_first = objects.insert(id);
                if is_first {
                    object(id, size, &mut archive, what, sink)?;
                }
                is_first
            }
            None if name == "json" => {
                let read = Parts::parse(&text(&mut archive, what)?, &format!("{what}: {full}"))?;
                for (_, id) in read.objects() {
                    wanted.insert(id);
                }
                parts.replace(read).is_none()
            }
            None => true,
        };
        if !is_first {
            return Err(wrong(what, &format_args!("{full:?} is in it twice")));
        }
    }
    let parts = parts.ok_or_else(|| wrong(what, &"it has no member `json`, so it is no package"))?;
    Ok(Package { parts, objects })
}

fn object(id: ObjectId, size: u64, from: &mut dyn Bytes, what: &str, sink: &mut dyn Sink) -> Result<()> {
    let mut checked = Checked { from, left: size, hasher: Some(Hasher::default()), id, is_wrong: false };
    // What the sink had no need to read is right too, or it is not taken; nor is one without any bytes.
    let taken = sink
        .object(id, size, &mut checked)
        .and_then(|()| io::copy(&mut checked, &mut io::sink()).map(drop).map_err(|error| unreadable(what, error)));
    if checked.is_wrong {
        let why =
            format!("{what}: objects/{id} has other bytes than its name says; the file is damaged or was changed");
        return Err(Failure::object(why));
    }
    taken
}

/// The bytes of an object, the last of which are only given if all of them are right.
struct Checked<'r> {
    from: &'r mut dyn Bytes,
    left: u64,
    hasher: Option<Hasher>,
    id: ObjectId,
    is_wrong: bool,
}

impl Read for Checked<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(into.len());
        let read = self.from.read(into.get_mut(..wanted).unwrap_or_default())?;
        self.left = self.left.saturating_sub(read as u64);
        if let Some(hasher) = &mut self.hasher {
            hasher.update(into.get(..read).unwrap_or_default());
        }
        if self.left == 0
            && let Some(hasher) = self.hasher.take()
            && hasher.finish() != self.id
        {
            self.is_wrong = true;
        }
        if self.is_wrong { Err(io::Error::from(io::ErrorKind::InvalidData)) } else { Ok(read) }
    }
}

/// The text of a state.
fn text(from: &mut dyn Bytes, what: &str) -> Result<Vec<u8>> {
    let most = Limits::STATE.bytes;
    let bytes = bounded(from, most).map_err(|error| unreadable(what, error))?;
    bytes.ok_or_else(|| Failure::state(format!("{what}: its state has more than {most} bytes")))
}

fn wrong(what: &str, why: &dyn fmt::Display) -> Box<Failure> {
    Failure::wrong(format!("{what}: {why}"))
}

fn unreadable(what: &str, error: io::Error) -> Box<Failure> {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => wrong(what, &"it ends too early; is it whole?"),
        io::ErrorKind::InvalidData => wrong(what, &format_args!("{error}, so it is no package")),
        _ => Box::new(Failure::Io { what: format!("cannot read {what}"), error }),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;
    use std::io::Write as _;

    use super::*;

    #[derive(Default)]
    struct Memory(BTreeMap<ObjectId, Vec<u8>>);

    impl Sink for Memory {
        fn object(&mut self, id: ObjectId, size: u64, bytes: &mut dyn Read) -> Result<()> {
            let mut all = Vec::new();
            bytes.read_to_end(&mut all).map_err(Failure::io("cannot read"))?;
            assert_eq!(all.len() as u64, size);
            self.0.insert(id, all);
            Ok(())
        }
    }

    pub(in crate::tx) fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, bytes) in members {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            // The library would not write some of these names.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            builder.append(&header, *bytes).unwrap();
        }
        builder.into_inner().unwrap()
    }

    pub(in crate::tx) fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> Result<(Package, Memory)> {
        let (mut memory, mut bytes) = (Memory::default(), bytes);
        Package::read(&mut bytes, "p", &mut memory).map(|package| (package, memory))
    }

    fn state(object: &[u8]) -> (String, String) {
        let id = ObjectId::of(object);
        (format!(r#"{{"web/root":"{id}"}}"#), format!("objects/{id}"))
    }

    #[test]
    fn a_package_is_read_packed_or_not_in_any_order_and_under_either_name() {
        let (json, name) = state(b"root");
        let (json, dotted) = (json.as_bytes(), format!("./.pvr/{name}"));
        for members in [
            [("json", json), (name.as_str(), &b"root"[..]), ("README", b"x")],
            [(name.as_str(), b"root"), ("./json", json), ("a/b", b"")],
            [("./.pvr/json", json), (dotted.as_str(), b"root"), ("a", b"")],
        ] {
            for bytes in [archive(&members), packed(&archive(&members))] {
                let (package, memory) = read(&bytes).unwrap();
                assert_eq!(package.parts.text().as_bytes(), json);
                assert_eq!(memory.0, BTreeMap::from([(ObjectId::of(b"root"), b"root".to_vec())]));
                assert_eq!(package.objects.len(), 1);
            }
        }
    }

    #[test]
    fn keys_alone_are_a_package_too() {
        for bytes in [b" \n{\"a.json\":{}}\n".to_vec(), packed(b"{\"a.json\":{}}")] {
            assert_eq!(read(&bytes).unwrap().0.parts.text(), r#"{"a.json":{}}"#);
        }
    }

    #[test]
    fn an_object_that_nobody_names_is_passed_over_once_that_is_known() {
        let (json, name) = state(b"root");
        let other = format!("objects/{}", ObjectId::of(b"other"));
        let bytes = archive(&[("json", json.as_bytes()), (&other, b"not even its bytes"), (&name, b"root")]);
        assert_eq!(read(&bytes).unwrap().1.0.len(), 1);
    }

    #[test]
    fn bytes_that_are_not_those_of_the_name_are_refused_before_the_last_of_them() {
        let (json, name) = state(b"root");
        let error = read(&archive(&[("json", json.as_bytes()), (&name, b"rood")])).err().unwrap();
        assert_eq!(error.exit_code(), 60);
        let (json, name) = state(b"");
        assert_eq!(read(&archive(&[("json", json.as_bytes()), (&name, b"x")])).err().unwrap().exit_code(), 60);
        assert!(read(&archive(&[("json", json.as_bytes()), (&name, b"")])).is_ok());
    }

    #[test]
    fn what_leads_elsewhere_comes_twice_or_is_no_file_is_refused_by_its_name() {
        let (json, name) = state(b"root");
        let json = json.as_bytes();
        for bad in ["../x", "/etc/passwd", "objects/../../x", "json", ".pvr/json", &name] {
            let members = [("json", json), (name.as_str(), &b"root"[..]), (bad, b"root")];
            let said = read(&archive(&members)).err().unwrap();
            assert!(matches!(said.exit_code(), 255 | 70), "{bad}");
            assert!(said.to_string().contains(bad) || said.to_string().contains("json"), "{said}");
        }
        let mut builder = tar::Builder::new(archive(&[("json", json)])[..1024].to_vec());
        let mut link = tar::Header::new_gnu();
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_size(0);
        builder.append_link(&mut link, "objects", "/etc").unwrap();
        let said = read(&builder.into_inner().unwrap()).err().unwrap().to_string();
        assert!(said.contains("neither a file nor a directory"), "{said}");
    }

    #[test]
    fn what_is_no_package_says_so() {
        let (json, name) = state(b"root");
        let whole = packed(&archive(&[("json", json.as_bytes()), (&name, b"root")]));
        for (bytes, why) in [
            (vec![], "no member `json`"),
            (b"<html>".to_vec(), "too early"),
            (vec![b'x'; 2000], "no tar"),
            (archive(&[(&name, b"root")]), "no member `json`"),
            (whole[..whole.len() - 3].to_vec(), "too early"),
            ([&ZSTD[..], b"rest"].concat(), "pack it with gzip"),
            ([archive(&[("json", json.as_bytes())]), vec![0; 2 << 20]].concat(), "behind its end"),
            (vec![b' '; 3 << 20], "no tar"),
            ([b"{".to_vec(), vec![b' '; 3 << 20]].concat(), "more than 2097152 bytes"),
        ] {
            let said = read(&bytes).err().unwrap().to_string();
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn a_flood_of_zeros_in_a_small_package_is_no_more_than_time() {
        let (json, name) = state(b"root");
        let bomb = archive(&[("json", json.as_bytes()), ("zeros", &vec![0; 20 << 20]), (&name, b"root")]);
        let packed = packed(&bomb);
        assert!(packed.len() < 200_000);
        assert_eq!(read(&packed).unwrap().1.0.len(), 1);
    }
}
