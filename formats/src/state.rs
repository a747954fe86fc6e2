//! The state of a revision: which paths it has, what each one is, and whose it is.
//!
//! A state is one JSON object. The bytes are kept exactly as received, since signatures and trails copy them; the
//! SHA-256 of those bytes *is* the revision, whatever it is called.
//!
//! | key | value | class |
//! |---|---|---|
//! | `#spec` | `"pantavisor-service-system@1"` | [`Class::Spec`] |
//! | ends in `/src.json` or `/build.json`, or below `_sigs/` | anything | [`Class::Ignored`]: not in the trail, never a reason to restart |
//! | `NAME/run.json` | an object | [`Class::Manifest`] of container NAME (`bsp/run.json` is plain inline) |
//! | `NAME/services.json` | inline | [`Class::Services`] |
//! | ends in `.json` | not 64 hexadecimal digits | [`Class::Inline`]: the value's text is the file |
//! | any other | 64 lower-case hexadecimal digits | [`Class::Object`] |
//!
//! Keys are compared whole, never by prefix. A `run.json` deeper than its container is refused, since a container that
//! is silently not there is worse than a revision that is refused; below `_config/` it is a file like any other.
//!
//! API: [`Revision::parse`], [`Revision::entries`] (order of the text), [`Revision::get`], [`Revision::containers`],
//! [`Revision::owner`], [`Revision::digest`], [`Revision::text`].

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use statemachine::ids::Digest;

use crate::json::{self, JsonError, Kind, Limits, Member, Value};
use crate::object::{ObjectId, sha256};
use crate::path::{self, ContainerName, PathError};

/// The only format that is accepted.
pub const SPEC: &str = "pantavisor-service-system@1";

/// The most keys of a state. A large device has some hundreds; this bounds memory and the time of a signature check.
pub const KEYS_MAX: usize = 16_384;

/// A state that was read. It may come from anywhere: see [`crate::signature`] for what makes it trusted.
#[derive(Clone, PartialEq, Eq)]
pub struct Revision {
    text: String,
    digest: Digest,
    rows: Vec<Row>,
    /// Indices of `rows`, sorted by key.
    index: Vec<usize>,
    /// Names of all containers, in the order of the text.
    containers: Vec<ContainerName>,
}

#[derive(Clone, PartialEq, Eq)]
struct Row {
    key: Box<str>,
    raw_key: Range<usize>,
    raw: Range<usize>,
    class: Class,
}

/// One path of a state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<'r> {
    /// The path.
    pub key: &'r str,
    /// The path as it stands between its quotes.
    pub raw_key: &'r str,
    /// The exact text of the value.
    pub raw: &'r str,
    /// What it is.
    pub class: Class,
}

/// What a path of a state is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// `#spec`: never a file.
    Spec,
    /// The manifest of a container, kept as inline JSON too.
    Manifest,
    /// What a container offers to others, kept as inline JSON too.
    Services,
    /// Of use to tools only: not in the trail, not checksummed, never a reason to restart.
    Ignored,
    /// A file whose content is the text of the value.
    Inline,
    /// A file whose content is an object.
    Object(ObjectId),
}

/// Whose a path is. A change of a path of the system always needs a reboot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner<'r> {
    /// The base system.
    System,
    /// A container of this revision.
    Container(&'r ContainerName),
}

/// Why bytes are not a state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StateError {
    /// Not JSON, or more of it than [`Limits::STATE`].
    Json(JsonError),
    /// JSON, but not an object.
    NotAnObject,
    /// More than [`KEYS_MAX`] keys.
    TooManyKeys,
    /// No `#spec`.
    NoSpec,
    /// A `#spec` of another format.
    Spec {
        /// What it says, at most 64 characters of it.
        found: String,
    },
    /// A key that cannot be a path.
    Key {
        /// The key.
        key: String,
        /// Why not.
        why: PathError,
    },
    /// A path that is a file and, by another key, a directory.
    FileAndDirectory {
        /// The file.
        key: String,
    },
    /// A value that should name an object and does not.
    NotAnObjectId {
        /// The key.
        key: String,
    },
    /// A manifest that is not inline, or not directly in the directory of a container.
    Manifest {
        /// The key.
        key: String,
    },
}

impl Revision {
    /// Reads a state.
    ///
    /// # Errors
    /// [`StateError`] names the key. Nothing is repaired and nothing is dropped.
    pub fn parse(bytes: &[u8]) -> Result<Self, StateError> {
        let value = json::parse(bytes, Limits::STATE).map_err(StateError::Json)?;
        let object = value.as_object().ok_or(StateError::NotAnObject)?;
        if object.len() > KEYS_MAX {
            return Err(StateError::TooManyKeys);
        }
        // The reader has checked that this is UTF-8.
        let text = core::str::from_utf8(bytes).map_err(|_| StateError::NotAnObject)?;
        match object.get("#spec").map(Value::as_str) {
            None => return Err(StateError::NoSpec),
            Some(Some(SPEC)) => {}
            Some(found) => {
                return Err(StateError::Spec { found: found.unwrap_or_default().chars().take(64).collect() });
            }
        }
        let mut rows = Vec::with_capacity(object.len());
        let mut containers = Vec::new();
        for member in object {
            rows.push(row(member, text)?);
        }
        for row in rows.iter().filter(|row| row.class == Class::Manifest) {
            let manifest = || StateError::Manifest { key: row.key.clone().into() };
            let directory = row.key.strip_suffix("/run.json").ok_or_else(manifest)?;
            containers.push(
                ContainerName::parse(directory).map_err(|why| StateError::Key { key: row.key.clone().into(), why })?,
            );
        }
        let mut index: Vec<usize> = (0..rows.len()).collect();
        index.sort_by(|left, right| rows.get(*left).map(|row| &row.key).cmp(&rows.get(*right).map(|row| &row.key)));
        let revision = Self { digest: Digest(sha256(bytes)), text: text.to_owned(), rows, index, containers };
        revision.no_file_is_a_directory()?;
        Ok(revision)
    }

    /// The state, byte for byte as received.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The SHA-256 of [`Revision::text`].
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// All paths in the order of the text.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.rows.iter().map(|row| self.entry(row))
    }

    /// One path.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Entry<'_>> {
        self.index
            .binary_search_by(|at| self.rows.get(*at).map_or("", |row| &row.key).cmp(key))
            .ok()
            .and_then(|found| self.rows.get(*self.index.get(found)?))
            .map(|row| self.entry(row))
    }

    /// The containers in the order of the text.
    #[must_use]
    pub fn containers(&self) -> &[ContainerName] {
        &self.containers
    }

    /// Whose a path is: by its first component, or by the second one below `_config/`.
    #[must_use]
    pub fn owner(&self, key: &str) -> Owner<'_> {
        let own = key.strip_prefix("_config/").unwrap_or(key);
        let Some((first, _)) = own.split_once('/') else { return Owner::System };
        self.containers.iter().find(|name| name.as_str() == first).map_or(Owner::System, Owner::Container)
    }

    /// The objects that a device must have to run this revision, without those of ignored paths.
    pub fn objects(&self) -> impl Iterator<Item = (&str, ObjectId)> {
        self.entries().filter_map(|entry| match entry.class {
            Class::Object(id) => Some((entry.key, id)),
            _ => None,
        })
    }

    fn entry<'r>(&'r self, row: &'r Row) -> Entry<'r> {
        Entry {
            key: &row.key,
            raw_key: self.text.get(row.raw_key.clone()).unwrap_or_default(),
            raw: self.text.get(row.raw.clone()).unwrap_or_default(),
            class: row.class,
        }
    }

    fn no_file_is_a_directory(&self) -> Result<(), StateError> {
        for row in &self.rows {
            for (slash, _) in row.key.match_indices('/') {
                if let Some(file) = row.key.get(..slash).and_then(|parent| self.get(parent)) {
                    return Err(StateError::FileAndDirectory { key: file.key.into() });
                }
            }
        }
        Ok(())
    }
}

impl Entry<'_> {
    /// The object that the value names, also of a path that devices ignore.
    #[must_use]
    pub fn object_id(&self) -> Option<ObjectId> {
        match self.class {
            Class::Object(id) => Some(id),
            // Raw text is enough: an id has no characters that need an escape.
            Class::Ignored => self.raw.strip_prefix('"')?.strip_suffix('"').and_then(ObjectId::parse),
            Class::Spec | Class::Manifest | Class::Services | Class::Inline => None,
        }
    }

    /// The value as JSON.
    ///
    /// # Errors
    /// [`JsonError`] when it exceeds [`Limits::DOCUMENT`].
    pub fn value(&self) -> Result<Value<'_>, JsonError> {
        json::parse(self.raw.as_bytes(), Limits::DOCUMENT)
    }
}

/// Classifies one member of the state. `text` is what the member was read from.
fn row(member: &Member<'_>, text: &str) -> Result<Row, StateError> {
    let key = member.key.as_ref();
    path::key(key).map_err(|why| StateError::Key { key: key.chars().take(path::KEY_MAX).collect(), why })?;
    Ok(Row {
        key: key.into(),
        raw_key: span(text, member.raw_key),
        raw: span(text, member.value.raw()),
        class: classify(key, &member.value)?,
    })
}

fn classify(key: &str, value: &Value<'_>) -> Result<Class, StateError> {
    let (directory, file) = key.rsplit_once('/').unwrap_or(("", key));
    let overlay = key.starts_with("_config/") || key.starts_with("_hostconfig/");
    let inline = key.ends_with(".json") && !looks_like_an_id(value);
    if key == "#spec" {
        return Ok(Class::Spec);
    }
    if key.starts_with("_sigs/") || (!directory.is_empty() && (file == "src.json" || file == "build.json")) {
        return Ok(Class::Ignored);
    }
    if file == "run.json" && !directory.is_empty() && !overlay && directory != "bsp" {
        return match value.kind() {
            Kind::Object(_) if !directory.contains('/') => Ok(Class::Manifest),
            _ => Err(StateError::Manifest { key: key.into() }),
        };
    }
    if inline {
        let services = file == "services.json" && !directory.is_empty() && !directory.contains('/');
        return Ok(if services { Class::Services } else { Class::Inline });
    }
    let id = value.as_str().and_then(ObjectId::parse);
    id.map(Class::Object).ok_or_else(|| StateError::NotAnObjectId { key: key.into() })
}

/// Whether a value of a `.json` key means an object: 64 hexadecimal digits. In capitals they are no id, and refused.
fn looks_like_an_id(value: &Value<'_>) -> bool {
    value
        .as_str()
        .is_some_and(|text| text.len() == ObjectId::TEXT_LEN && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Where a part stands in the text that it was cut from.
fn span(text: &str, part: &str) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    start..start + part.len()
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Revision({}, {} paths)", self.digest, self.rows.len())
    }
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => write!(f, "the state is not valid JSON: {error}"),
            Self::NotAnObject => f.write_str("the state is not a JSON object"),
            Self::TooManyKeys => write!(f, "the state has more than {KEYS_MAX} keys"),
            Self::NoSpec => write!(f, "the state has no `#spec`; expected \"{SPEC}\""),
            Self::Spec { found } => write!(f, "the state has `#spec` {found:?}; only \"{SPEC}\" is supported"),
            Self::Key { key, why } => write!(f, "the key {key:?} cannot be used: {why}"),
            Self::FileAndDirectory { key } => write!(f, "{key:?} is a file and, by another key, a directory"),
            Self::NotAnObjectId { key } => {
                write!(f, "the value of {key:?} must be an object id: 64 lower-case hexadecimal digits")
            }
            Self::Manifest { key } => {
                write!(f, "{key:?} must be an inline manifest directly in the directory of its container")
            }
        }
    }
}

impl core::error::Error for StateError {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;

    const ID: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn with(members: &str) -> Result<Revision, StateError> {
        let comma = if members.is_empty() { "" } else { "," };
        Revision::parse(format!(r##"{{"#spec":"pantavisor-service-system@1"{comma}{members}}}"##).as_bytes())
    }

    fn class(key: &str, value: &str) -> Class {
        with(&format!("{key:?}:{value}")).unwrap().get(key).unwrap().class
    }

    #[test]
    fn the_smallest_state_is_accepted() {
        let revision = with("").unwrap();
        assert_eq!(revision.entries().count(), 1);
        assert_eq!(revision.get("#spec").unwrap().class, Class::Spec);
    }

    #[test]
    fn another_format_is_refused_by_its_name() {
        let error = Revision::parse(br##"{"#spec":"pantavisor-multi-platform@1"}"##).unwrap_err();
        assert!(error.to_string().contains("pantavisor-multi-platform@1"), "{error}");
        assert_eq!(Revision::parse(b"{}"), Err(StateError::NoSpec));
        assert!(matches!(Revision::parse(br##"{"#spec":1}"##), Err(StateError::Spec { .. })));
        assert_eq!(Revision::parse(b"[]"), Err(StateError::NotAnObject));
    }

    #[test]
    fn every_key_has_the_class_of_the_table() {
        let object = Class::Object(ObjectId::of(b""));
        let id = format!("\"{ID}\"");
        for (key, value, expected) in [
            ("web/run.json", r#"{"name":"web"}"#, Class::Manifest),
            ("bsp/run.json", "{}", Class::Inline),
            ("web/services.json", "[]", Class::Services),
            ("web/src.json", "{}", Class::Ignored),
            ("web/build.json", id.as_str(), Class::Ignored),
            ("_config/web/etc/src.json", "{}", Class::Ignored),
            ("_sigs/web.json", "{}", Class::Ignored),
            ("_sigs/web", "1", Class::Ignored),
            ("device.json", "{}", Class::Inline),
            ("web/x.json", "1", Class::Inline),
            ("web/x.json", "\"text\"", Class::Inline),
            ("web/x.json", id.as_str(), object),
            ("_config/web/etc/run.json", "{}", Class::Inline),
            ("_config/web/etc/services.json", "{}", Class::Inline),
            ("web/root.squashfs", id.as_str(), object),
            ("README.md", id.as_str(), object),
            ("src.json", "{}", Class::Inline),
            ("a b/c d", id.as_str(), object),
        ] {
            assert_eq!(class(key, value), expected, "{key}");
        }
    }

    #[test]
    fn a_key_that_is_only_the_beginning_of_a_known_one_is_an_object() {
        for key in ["b", "bsp", "d", "device", "#", "g", "#specx", "_sigsx"] {
            assert_eq!(class(key, &format!("\"{ID}\"")), Class::Object(ObjectId::of(b"")), "{key}");
        }
    }

    #[test]
    fn a_value_that_names_no_object_is_refused() {
        let upper = format!("\"{}\"", ID.to_uppercase());
        for (key, value) in [("web/x", "\"abc\""), ("web/x", "{}"), ("web/x", "1"), ("web/x.json", upper.as_str())] {
            let error = with(&format!("{key:?}:{value}")).unwrap_err();
            assert_eq!(error, StateError::NotAnObjectId { key: key.into() });
        }
    }

    #[test]
    fn a_manifest_stands_directly_in_its_container_and_is_inline() {
        for (key, value) in [("a/b/run.json", "{}"), ("web/run.json", "\"x\""), ("web/run.json", &format!("\"{ID}\""))]
        {
            let error = with(&format!("{key:?}:{value}")).unwrap_err();
            assert_eq!(error, StateError::Manifest { key: key.into() }, "{key}");
        }
        assert!(matches!(with(r#""a b/run.json":{}"#), Err(StateError::Key { .. })));
    }

    #[test]
    fn a_key_that_would_leave_the_trail_or_forge_its_books_is_refused() {
        for key in ["../x", "a/../b", "/etc/passwd", "a//b", ".pvr/json", ".pv/done", "", "a\\u0000b"] {
            assert!(matches!(with(&format!("\"{key}\":\"{ID}\"")), Err(StateError::Key { .. })), "{key}");
        }
    }

    #[test]
    fn a_path_is_not_a_file_and_a_directory() {
        let error = with(&format!(r#""a":"{ID}","a-b":"{ID}","a/b/c":"{ID}""#)).unwrap_err();
        assert_eq!(error, StateError::FileAndDirectory { key: "a".into() });
    }

    #[test]
    fn the_first_component_owns_a_path_or_the_second_below_config() {
        let revision = with(&format!(r#""web/run.json":{{}},"web/x":"{ID}","_config/web/y":"{ID}""#)).unwrap();
        let web = ContainerName::parse("web").unwrap();
        for key in ["web/x", "_config/web/y", "web/run.json"] {
            assert_eq!(revision.owner(key), Owner::Container(&web), "{key}");
        }
        for key in ["bsp/kernel.img", "device.json", "_config/other/y", "_config/web", "web", "_hostconfig/web/x"] {
            assert_eq!(revision.owner(key), Owner::System, "{key}");
        }
    }

    #[test]
    fn the_text_is_kept_to_the_byte_and_its_digest_is_the_revision() {
        let text = "{ \"#spec\" : \"pantavisor-service-system@1\",\n \"d\\u0065vice.json\" : { \"a\" : 1.50 } }\n";
        let revision = Revision::parse(text.as_bytes()).unwrap();
        let device = revision.get("device.json").unwrap();
        assert_eq!(revision.text(), text);
        assert_eq!(revision.digest().0, sha256(text.as_bytes()));
        assert_eq!((device.raw_key, device.raw), ("d\\u0065vice.json", "{ \"a\" : 1.50 }"));
    }

    #[test]
    fn a_duplicate_key_is_refused_with_its_place() {
        let error = with(&format!(r#""a":"{ID}","a":"{ID}""#)).unwrap_err();
        assert!(error.to_string().contains("line 1, column"), "{error}");
        assert!(error.to_string().contains("twice"), "{error}");
    }

    #[test]
    fn every_path_is_found_again() {
        let revision = with(&format!(r#""z":"{ID}","a":"{ID}","m/n":"{ID}""#)).unwrap();
        for key in ["z", "a", "m/n", "#spec"] {
            assert_eq!(revision.get(key).unwrap().key, key);
        }
        assert!(revision.get("m").is_none());
        assert_eq!(revision.objects().count(), 3);
    }

    #[test]
    fn an_ignored_path_names_an_object_for_tools_and_not_for_devices() {
        let revision = with(&format!(r#""web/build.json":"{ID}","web/src.json":{{}}"#)).unwrap();
        assert_eq!(revision.objects().count(), 0);
        assert_eq!(revision.get("web/build.json").unwrap().object_id(), Some(ObjectId::of(b"")));
        assert_eq!(revision.get("web/src.json").unwrap().object_id(), None);
    }
}
