//! What becomes of each line of a compose file that does not simply become part of a container.
//!
//! ```text
//!   docker-compose.yml:14: services.web.build: cannot be: images are not built here; name one with `image`
//!   docker-compose.yml:21: services.web.dns: not mapped: …
//! ```

use std::fmt;

use formats::json::Json;

use super::yaml::Place;

/// How much a finding matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// It cannot run; nothing is made.
    Error,
    /// It needs a right over the device that somebody has to allow; nothing is made without.
    Right,
    /// A secret stands in plain text in what is signed and sent.
    Secret,
    /// It would have changed something, and does not.
    NotMapped,
    /// It becomes something that is not quite the same.
    Differs,
    /// It changes nothing on a device.
    Idle,
}

impl Level {
    /// A word for people.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Error => "cannot be",
            Self::Right => "must be allowed",
            Self::Secret => "a secret in plain text",
            Self::NotMapped => "not mapped",
            Self::Differs => "differs",
            Self::Idle => "changes nothing",
        }
    }

    /// A word for programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Right => "right",
            Self::Secret => "secret",
            Self::NotMapped => "not-mapped",
            Self::Differs => "differs",
            Self::Idle => "idle",
        }
    }
}

/// One line of the report.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Where it stands.
    pub place: Place,
    /// Which key, like `services.web.build`.
    pub path: String,
    /// How much it matters.
    pub level: Level,
    /// Why, and what to do.
    pub why: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}: {}", self.place, self.path, self.level.words(), self.why)
    }
}

impl Finding {
    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> Json {
        Json::object()
            .with("file", &*self.place.file)
            .with("line", self.place.line as u64)
            .with("path", self.path.as_str())
            .with("level", self.level.name())
            .with("why", self.why.as_str())
    }
}

/// All findings.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report(Vec<Finding>);

impl Report {
    /// Adds one, once.
    pub fn add(&mut self, level: Level, place: &Place, path: impl Into<String>, why: impl Into<String>) {
        let finding = Finding { place: place.clone(), path: path.into(), level, why: why.into() };
        if !self.0.contains(&finding) {
            self.0.push(finding);
        }
    }

    /// In the order of the file.
    #[must_use]
    pub fn findings(&self) -> Vec<&Finding> {
        let mut all: Vec<_> = self.0.iter().collect();
        all.sort_by_key(|finding| (finding.place.file.clone(), finding.place.line));
        all
    }

    /// How many have this level.
    #[must_use]
    pub fn count(&self, level: Level) -> usize {
        self.0.iter().filter(|finding| finding.level == level).count()
    }

    /// Whether anything stands in the way.
    #[must_use]
    pub fn stops(&self) -> bool {
        self.count(Level::Error) + self.count(Level::Right) > 0
    }
}
