//! One line of the log.
//!
//! ```text
//!   {"command":"commit","message":"web: 4.1","more":0,"parent":"<sha256>","paths":["C web/root.squashfs"],
//!    "signer":"<sha256>","state":"<sha256>","time":"2026-11-22T10:00:00Z"}          canonical, and a line break
//! ```
//!
//! Members that are not known are passed over: a later version may say more. `parent`, `signer` and `time` may be `null`.

use std::fmt;

use formats::date;
use formats::json::{self, Json, JsonError, Limits};
use formats::object::ObjectId;

/// The most paths that a line names. The rest is a number.
pub const PATHS_MAX: usize = 64;

/// A change of the committed state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// What is committed since.
    pub state: ObjectId,
    /// What was committed before; none for the first one.
    pub parent: Option<ObjectId>,
    /// When, in seconds since 1970, if anybody knew.
    pub time: Option<u64>,
    /// What has done it.
    pub command: String,
    /// What a person says about it, or where the state comes from.
    pub message: String,
    /// The fingerprint of the key that has signed.
    pub signer: Option<String>,
    /// What has changed, as `A PATH`, `C PATH`, `D PATH`.
    pub paths: Vec<String>,
    /// How many more have.
    pub more: u64,
}

/// Why a line is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EntryError {
    /// It is no JSON.
    Json(JsonError),
    /// A member is missing, or not of its kind.
    Member(&'static str),
}

impl fmt::Display for EntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => error.fmt(f),
            Self::Member(name) => write!(f, "{name}: is missing, or not what it should be"),
        }
    }
}

impl std::error::Error for EntryError {}

/// Reads one line, without its break.
///
/// # Errors
/// [`EntryError`]
pub fn parse(line: &[u8]) -> Result<Entry, EntryError> {
    let value = json::parse(line, Limits::DOCUMENT).map_err(EntryError::Json)?.to_json();
    let text = |name: &'static str| value.get(name).and_then(Json::as_str).ok_or(EntryError::Member(name));
    let id = |name: &'static str| text(name).and_then(|text| ObjectId::parse(text).ok_or(EntryError::Member(name)));
    let is_none = |name: &str| matches!(value.get(name), None | Some(Json::Null));
    let paths = match value.get("paths") {
        Some(Json::Array(paths)) if paths.len() <= PATHS_MAX => {
            let paths = paths.iter().map(|path| path.as_str().map(str::to_owned));
            paths.collect::<Option<Vec<_>>>().ok_or(EntryError::Member("paths"))?
        }
        _ => return Err(EntryError::Member("paths")),
    };
    let more = value.get("more").map(Json::canonical).and_then(|number| number.parse().ok());
    Ok(Entry {
        state: id("state")?,
        parent: if is_none("parent") { None } else { Some(id("parent")?) },
        time: match is_none("time") {
            true => None,
            false => Some(date::parse(text("time")?).ok_or(EntryError::Member("time"))?),
        },
        command: text("command")?.into(),
        message: text("message")?.into(),
        signer: if is_none("signer") { None } else { Some(text("signer")?.into()) },
        paths,
        more: more.ok_or(EntryError::Member("more"))?,
    })
}

impl Entry {
    /// As a value.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let text = |text: Option<String>| text.map_or(Json::Null, Json::from);
        Json::object()
            .with("state", self.state.to_string())
            .with("parent", text(self.parent.map(|parent| parent.to_string())))
            .with("time", text(self.time.map(date::date)))
            .with("command", self.command.as_str())
            .with("message", self.message.as_str())
            .with("signer", text(self.signer.clone()))
            .with("paths", self.paths.clone())
            .with("more", self.more)
    }

    /// As a line, with its break.
    #[must_use]
    pub fn to_line(&self) -> String {
        self.to_json().canonical() + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            state: ObjectId::of(b"new"),
            parent: None,
            time: Some(1_795_341_600),
            command: "commit".into(),
            message: "two\nlines \u{1b}[2J".into(),
            signer: None,
            paths: vec!["A web/x".into()],
            more: 3,
        }
    }

    #[test]
    fn a_line_is_one_line_and_is_read_as_what_it_was() {
        for entry in
            [entry(), Entry { parent: Some(ObjectId::of(b"")), time: None, signer: Some("ab".into()), ..entry() }]
        {
            let line = entry.to_line();
            assert_eq!(line.matches('\n').count(), 1);
            assert_eq!(parse(line.trim_end().as_bytes()), Ok(entry));
        }
    }

    #[test]
    fn what_is_missing_is_named_and_what_is_more_is_passed_over() {
        let line = entry().to_json();
        assert_eq!(parse(line.clone().with("later", true).canonical().as_bytes()), Ok(entry()));
        for name in ["state", "command", "message", "paths", "more"] {
            let mut less = line.clone();
            less.remove(name);
            assert_eq!(parse(less.canonical().as_bytes()), Err(EntryError::Member(name)));
        }
        for (name, bad) in [("parent", "x"), ("time", "yesterday"), ("more", "-1"), ("paths", "x")] {
            assert_eq!(parse(line.clone().with(name, bad).canonical().as_bytes()), Err(EntryError::Member(name)));
        }
        assert!(matches!(parse(b"{"), Err(EntryError::Json(_))));
    }
}
