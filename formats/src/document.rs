//! How manifests are read: typed members, exact names, and every complaint with its place.
//!
//! An error names the document and the member (`web/run.json: storage.data.persistence`); a warning does too, and is
//! returned, never printed. A member that is not known is a warning. In the manifest of a container, a member whose
//! name merely *begins* with a known one is an error: older runtimes compare so many bytes only and take it for the
//! known one.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::json::{self, JsonError, Limits, Object, Value};
use crate::path::PathError;

/// The longest text of one member. Paths and option strings are far below; descriptions may be cut by their author.
pub const TEXT_MAX: usize = 4096;

/// The most elements of a list or members of a map in a manifest.
pub const ITEMS_MAX: usize = 256;

/// The longest time in seconds that a manifest can ask for: a year.
pub const SECONDS_MAX: u32 = 365 * 24 * 3600;

/// Which member of which document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The key of the state.
    pub document: String,
    /// The member, with dots between levels; empty for the document as a whole.
    pub member: String,
}

/// A document that cannot be accepted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DocumentError {
    /// Where.
    pub place: Place,
    /// What.
    pub wrong: Wrong,
}

/// What is wrong with a member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wrong {
    /// The document is no JSON, or too much of it.
    Json(JsonError),
    /// It is not there.
    Missing,
    /// It has another type.
    Type {
        /// What it must be.
        wanted: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A word that is not in the list.
    Word {
        /// The word.
        found: String,
        /// The list.
        allowed: &'static [&'static str],
    },
    /// A text that does not have the form.
    Form {
        /// The text.
        found: String,
        /// An example or description of the form.
        wanted: &'static str,
    },
    /// A number above the limit.
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// A text above the limit in bytes.
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// More elements than the limit.
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// No elements where at least one is needed.
    Empty,
    /// A name that cannot be a file.
    Path(PathError),
    /// An unknown member that older runtimes would take for a known one.
    LikeKnown {
        /// The known one.
        known: &'static str,
    },
    /// A name that is taken.
    Taken(String),
    /// It and something else would be for the same.
    Overlaps(String),
    /// It makes no sense where it stands; what to do instead.
    Cannot(&'static str),
    /// A rule about device nodes that is none.
    Rule(crate::mdev::RuleError),
    /// A name that nothing in this revision has.
    Unknown {
        /// What kind of thing it names.
        what: &'static str,
        /// The name.
        name: String,
    },
}

/// Something that is accepted, and that a person should hear about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Warning {
    /// Where.
    pub place: Place,
    /// What.
    pub doubt: Doubt,
}

/// Why a member deserves a look.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Doubt {
    /// A member that is not known; it has no effect.
    UnknownMember,
    /// A known member or document that has no effect here.
    NoEffect(&'static str),
    /// A value that is not known, and what is used in its place.
    Replaced {
        /// What was found.
        found: String,
        /// What is used.
        by: &'static str,
    },
    /// An entry that is left out because of an error in it.
    LeftOut(Wrong),
}

/// An enumeration that is spelled in documents.
pub trait Word: Sized {
    /// Every word.
    const WORDS: &'static [&'static str];

    /// The value of a word.
    fn of(word: &str) -> Option<Self>;
}

/// Reads the text of a document into a value.
pub(crate) fn parse<'a>(document: &str, text: &'a str) -> Result<Value<'a>, DocumentError> {
    json::parse(text.as_bytes(), Limits::DOCUMENT).map_err(|error| DocumentError {
        place: Place { document: document.into(), member: String::new() },
        wrong: Wrong::Json(error),
    })
}

/// An object of a document, with the way to it.
#[derive(Clone)]
pub(crate) struct Members<'o, 'a> {
    document: &'o str,
    prefix: String,
    object: &'o Object<'a>,
}

/// A value of a document, with the way to it.
#[derive(Clone)]
pub(crate) struct Item<'o, 'a> {
    document: &'o str,
    pub(crate) member: String,
    pub(crate) value: &'o Value<'a>,
}

pub(crate) type Read<T> = Result<T, DocumentError>;

impl<'o, 'a> Item<'o, 'a> {
    /// The document itself.
    pub(crate) fn root(document: &'o str, value: &'o Value<'a>) -> Self {
        Self { document, member: String::new(), value }
    }

    /// The key of the document.
    pub(crate) fn document(&self) -> &'o str {
        self.document
    }

    pub(crate) fn error(&self, wrong: Wrong) -> DocumentError {
        DocumentError { place: Place { document: self.document.into(), member: self.member.clone() }, wrong }
    }

    pub(crate) fn warning(&self, doubt: Doubt) -> Warning {
        Warning { place: Place { document: self.document.into(), member: self.member.clone() }, doubt }
    }

    fn mismatch(&self, wanted: &'static str) -> DocumentError {
        self.error(Wrong::Type { wanted, found: self.value.kind_name() })
    }

    pub(crate) fn text(&self) -> Read<&'o str> {
        let text = self.value.as_str().ok_or_else(|| self.mismatch("a string"))?;
        if text.len() > TEXT_MAX {
            return Err(self.error(Wrong::TooLong { limit: TEXT_MAX }));
        }
        Ok(text)
    }

    /// A text that can be handed to a kernel or a program: without NUL.
    pub(crate) fn c_text(&self) -> Read<String> {
        let text = self.text()?;
        if text.contains('\0') { Err(self.error(Wrong::Path(PathError::Control))) } else { Ok(text.into()) }
    }

    pub(crate) fn word<W: Word>(&self) -> Read<W> {
        let text = self.text()?;
        W::of(text).ok_or_else(|| self.error(Wrong::Word { found: shown(text), allowed: W::WORDS }))
    }

    /// A word that older runtimes forgive: an unknown one is replaced, with a warning.
    pub(crate) fn word_or<W: Word>(&self, other: W, by: &'static str, warnings: &mut Vec<Warning>) -> Read<W> {
        let text = self.text()?;
        Ok(W::of(text).unwrap_or_else(|| {
            warnings.push(self.warning(Doubt::Replaced { found: shown(text), by }));
            other
        }))
    }

    pub(crate) fn flag(&self) -> Read<bool> {
        self.value.as_bool().ok_or_else(|| self.mismatch("true or false"))
    }

    pub(crate) fn number(&self, limit: u32) -> Read<u32> {
        let value = self.value.as_u64().ok_or_else(|| self.mismatch("a whole number that is not negative"))?;
        u32::try_from(value)
            .ok()
            .filter(|value| *value <= limit)
            .ok_or_else(|| self.error(Wrong::TooLarge { limit: limit.into() }))
    }

    pub(crate) fn seconds(&self) -> Read<u32> {
        self.number(SECONDS_MAX)
    }

    /// A file below the directory of the document.
    pub(crate) fn file(&self) -> Read<String> {
        let text = self.text()?;
        crate::path::relative(text).map_err(|why| self.error(Wrong::Path(why)))?;
        Ok(text.into())
    }

    /// The elements of an array.
    pub(crate) fn items(&self) -> Read<Vec<Self>> {
        let values = self.value.as_array().ok_or_else(|| self.mismatch("an array"))?;
        if values.len() > ITEMS_MAX {
            return Err(self.error(Wrong::TooMany { limit: ITEMS_MAX }));
        }
        let item =
            |(index, value)| Self { document: self.document, member: format!("{}[{index}]", self.member), value };
        Ok(values.iter().enumerate().map(item).collect())
    }

    pub(crate) fn texts(&self) -> Read<Vec<String>> {
        self.items()?.iter().map(Self::c_text).collect()
    }

    pub(crate) fn members(&self) -> Read<Members<'o, 'a>> {
        let object = self.value.as_object().ok_or_else(|| self.mismatch("an object"))?;
        if object.len() > ITEMS_MAX {
            return Err(self.error(Wrong::TooMany { limit: ITEMS_MAX }));
        }
        let prefix = if self.member.is_empty() { String::new() } else { format!("{}.", self.member) };
        Ok(Members { document: self.document, prefix, object })
    }
}

impl<'o, 'a> Members<'o, 'a> {
    /// Warns of members that are not known.
    pub(crate) fn only(&self, known: &[&str], warnings: &mut Vec<Warning>) {
        let unknown = self.iter().filter(|(key, _)| !known.contains(key));
        warnings.extend(unknown.map(|(_, item)| item.warning(Doubt::UnknownMember)));
    }

    /// Refuses members that are not known but begin with one of these names.
    pub(crate) fn none_like(&self, names: &'static [&'static str], known: &[&str]) -> Read<()> {
        self.iter().filter(|(key, _)| !known.contains(key)).try_for_each(|(key, item)| {
            match names.iter().find(|name| key.starts_with(**name)) {
                Some(known) => Err(item.error(Wrong::LikeKnown { known })),
                None => Ok(()),
            }
        })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'o str, Item<'o, 'a>)> + '_ {
        self.object.iter().map(|member| {
            let key: &'o str = member.key.as_ref();
            (key, Item { document: self.document, member: format!("{}{key}", self.prefix), value: &member.value })
        })
    }

    pub(crate) fn get(&self, member: &str) -> Option<Item<'o, 'a>> {
        let value = self.object.get(member)?;
        Some(Item { document: self.document, member: format!("{}{member}", self.prefix), value })
    }

    pub(crate) fn need(&self, member: &str) -> Read<Item<'o, 'a>> {
        self.get(member).ok_or_else(|| DocumentError {
            place: Place { document: self.document.into(), member: format!("{}{member}", self.prefix) },
            wrong: Wrong::Missing,
        })
    }

    /// Reads a member if it is there.
    pub(crate) fn read<T>(&self, member: &str, read: impl FnOnce(&Item<'o, 'a>) -> Read<T>) -> Read<Option<T>> {
        self.get(member).map(|item| read(&item)).transpose()
    }

    pub(crate) fn c_text(&self, member: &str) -> Read<Option<String>> {
        self.read(member, Item::c_text)
    }

    /// A list of texts; absent is empty.
    pub(crate) fn texts(&self, member: &str) -> Read<Vec<String>> {
        Ok(self.read(member, Item::texts)?.unwrap_or_default())
    }
}

/// As much of a found text as a message should show.
pub(crate) fn shown(text: &str) -> String {
    if text.chars().count() > 64 { text.chars().take(64).chain(['…']).collect() } else { text.to_owned() }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.document)?;
        if self.member.is_empty() { Ok(()) } else { write!(f, ": {}", self.member) }
    }
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.wrong)
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.doubt)
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => write!(f, "{error}"),
            Self::Missing => f.write_str("is missing"),
            Self::Type { wanted, found } => write!(f, "must be {wanted}, is {found}"),
            Self::Word { found, allowed } => write!(f, "{found:?} is none of {}", allowed.join(", ")),
            Self::Form { found, wanted } => write!(f, "{found:?} is not {wanted}"),
            Self::TooLarge { limit } => write!(f, "must be at most {limit}"),
            Self::TooLong { limit } => write!(f, "has more than {limit} bytes"),
            Self::TooMany { limit } => write!(f, "has more than {limit} entries"),
            Self::Empty => f.write_str("must have at least one entry; leave it out instead"),
            Self::Path(why) => write!(f, "{why}"),
            Self::LikeKnown { known } => write!(f, "would be taken for `{known}` by older runtimes; rename it"),
            Self::Taken(name) => write!(f, "the name {name:?} is taken"),
            Self::Overlaps(other) => write!(f, "overlaps {other}"),
            Self::Cannot(why) => f.write_str(why),
            Self::Rule(why) => why.fmt(f),
            Self::Unknown { what, name } => write!(f, "this revision has no {what} {name:?}"),
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownMember => f.write_str("is not known and has no effect"),
            Self::NoEffect(why) => write!(f, "has no effect: {why}"),
            Self::Replaced { found, by } => write!(f, "{found:?} is not known; {by} is used"),
            Self::LeftOut(wrong) => write!(f, "is left out: {wrong}"),
        }
    }
}

impl core::error::Error for DocumentError {}
