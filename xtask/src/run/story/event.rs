//! Events of a run, and patterns that they match.
//!
//! ```text
//!   {"event":"container","t":8123,"boot":1,"uptime":7961,"name":"web","status":"STARTED"}
//!                         └ ms since the run began       └ what the device itself says
//! ```
//!
//! A pattern is a table of members that the event must have: `{ event = "container", name = "web" }`. A text that begins
//! with `~` must occur in the member; a list holds alternatives.

use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::{Map, Value};

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    /// Milliseconds since the run began.
    pub(crate) t: u64,
    pub(crate) kind: String,
    /// Everything else.
    pub(crate) members: Map<String, Value>,
}

impl Event {
    /// An event of our own.
    pub(crate) fn new(kind: &str, t: u64, members: Value) -> Self {
        let members = if let Value::Object(members) = members { members } else { Map::new() };
        Self { t, kind: kind.to_owned(), members }
    }

    /// Reads a line that a device or its stand-in has written. `began` is when the stand-in did, in milliseconds.
    fn read(line: &str, began: u64) -> Result<Self> {
        let Value::Object(mut members) = serde_json::from_str(line)? else { bail!("not an object") };
        let Some(Value::String(kind)) = members.remove("event") else { bail!("no event is named") };
        let own = members.remove("t");
        let at = match members.remove("at") {
            Some(at) => {
                // From inside the device, whose clock began with its boot.
                members.extend(own.map(|own| ("uptime".to_owned(), own)));
                Some(at)
            }
            None => own,
        };
        let at = at.and_then(|at| at.as_u64()).context("it has no time")?;
        Ok(Self { t: began + at, kind, members })
    }

    /// A member as a text; empty if there is none.
    pub(crate) fn text(&self, member: &str) -> &str {
        self.members.get(member).and_then(Value::as_str).unwrap_or_default()
    }

    /// A member as a number.
    pub(crate) fn number(&self, member: &str) -> Option<u64> {
        self.members.get(member).and_then(Value::as_u64)
    }

    /// The event as one line.
    pub(crate) fn line(&self) -> String {
        let mut all = Map::from_iter([("event".into(), self.kind.as_str().into()), ("t".into(), self.t.into())]);
        all.extend(self.members.clone());
        Value::Object(all).to_string()
    }
}

/// What an event must have.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Pattern(toml::Table);

impl Pattern {
    pub(crate) fn matches(&self, event: &Event) -> bool {
        self.0.iter().all(|(member, wanted)| match member.as_str() {
            "event" => fits(wanted, &Value::from(event.kind.as_str())),
            member => event.members.get(member).is_some_and(|found| fits(wanted, found)),
        })
    }
}

fn fits(wanted: &toml::Value, found: &Value) -> bool {
    match wanted {
        toml::Value::Array(choices) => choices.iter().any(|wanted| fits(wanted, found)),
        toml::Value::String(wanted) => match (wanted.strip_prefix('~'), found.as_str()) {
            (Some(part), Some(found)) => found.contains(part),
            (None, Some(found)) => found == wanted,
            (_, None) => false,
        },
        toml::Value::Integer(wanted) => found.as_i64() == Some(*wanted),
        toml::Value::Boolean(wanted) => found.as_bool() == Some(*wanted),
        _ => false,
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for (member, wanted) in &self.0 {
            write!(f, "{between}{member} = {wanted}")?;
            between = ", ";
        }
        Ok(())
    }
}

/// The file that a stand-in appends its events to.
pub(crate) struct Log {
    path: PathBuf,
    began: u64,
    read: u64,
    /// The beginning of a line that has no end yet.
    rest: Vec<u8>,
}

impl Log {
    pub(crate) fn new(path: PathBuf, began: u64) -> Self {
        Self { path, began, read: 0, rest: Vec::new() }
    }

    /// What has come since the last call.
    pub(crate) fn news(&mut self) -> Result<Vec<Event>> {
        let mut file = match File::open(&self.path) {
            // It is there from the first event on.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            file => file.with_context(|| format!("cannot read {}", self.path.display()))?,
        };
        file.seek(SeekFrom::Start(self.read))?;
        self.read += file.read_to_end(&mut self.rest)? as u64;
        let mut events = Vec::new();
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let event = Event::read(line.trim_end(), self.began);
            events.push(event.with_context(|| format!("{}: {}", self.path.display(), line.trim_end()))?);
        }
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern(text.parse().unwrap())
    }

    #[test]
    fn times_of_the_stand_in_and_of_the_device_become_those_of_the_run() {
        let boot = Event::read(r#"{"event":"boot","t":5,"boot":1,"revision":"0"}"#, 100).unwrap();
        assert_eq!(boot.line(), r#"{"boot":1,"event":"boot","revision":"0","t":105}"#);
        let state = Event::read(r#"{"boot":1,"at":9,"event":"state","t":2,"state":"Idle"}"#, 100).unwrap();
        assert_eq!((state.t, state.number("uptime")), (109, Some(2)));
        assert!(Event::read(r#"{"event":"boot"}"#, 0).is_err());
    }

    #[test]
    fn a_pattern_is_matched_by_every_event_that_has_its_members_and_by_no_other() {
        let event = Event::new("container", 1, serde_json::json!({ "name": "web", "status": "STARTED", "boot": 2 }));
        for yes in [r#"event = "container""#, "name = \"~e\"\nboot = 2", r#"status = ["READY", "STARTED"]"#] {
            assert!(pattern(yes).matches(&event), "{yes}");
        }
        for no in [r#"event = "boot""#, "boot = 3", r#"name = "we""#, r#"status = ["READY"]"#, r#"reason = "~""#] {
            assert!(!pattern(no).matches(&event), "{no}");
        }
    }

    #[test]
    fn a_line_is_an_event_only_when_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events");
        let mut log = Log::new(path.clone(), 0);
        assert_eq!(log.news().unwrap(), []);
        std::fs::write(&path, "{\"event\":\"up\",\"t\":1}\n{\"event\":\"en").unwrap();
        assert_eq!(log.news().unwrap().len(), 1);
        std::fs::write(&path, "{\"event\":\"up\",\"t\":1}\n{\"event\":\"end\",\"t\":2}\n").unwrap();
        assert_eq!(log.news().unwrap().first().map(|event| event.kind.clone()), Some("end".into()));
    }
}
