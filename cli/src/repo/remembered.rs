//! The remotes that a repository remembers: three members of `.pvr/config`, and the state that both sides had last.
//!
//! ```text
//!   DefaultGetUrl    where `get` and `merge` look        with the parts that were asked for: URL#part,part
//!   DefaultPostUrl   where `post` goes
//!   DefaultPutUrl    where `put` goes
//!   .pvr/base        the state that was last taken or given; what differs from it was committed here and nowhere else
//! ```

use std::fs;
use std::io::ErrorKind;

use formats::json::{self, Json, Limits};

use super::{Repo, durable};
use crate::diff::tabbed;
use crate::error::{Context as _, Error, Result};
use crate::state::State;

/// Addresses as they were given.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Remembered {
    /// Where the state comes from.
    pub get: Option<String>,
    /// Where new revisions go.
    pub post: Option<String>,
    /// Where the state is replaced.
    pub put: Option<String>,
}

impl Repo {
    /// The remotes that it remembers.
    ///
    /// # Errors
    /// The configuration cannot be read.
    pub fn remembered(&self) -> Result<Remembered> {
        let config = self.configuration()?;
        let text =
            |name: &str| config.get(name).and_then(Json::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
        Ok(Remembered { get: text("DefaultGetUrl"), post: text("DefaultPostUrl"), put: text("DefaultPutUrl") })
    }

    /// Remembers remotes; those that are none stay as they are, and so does everything else in the configuration.
    ///
    /// # Errors
    /// The configuration cannot be read or written.
    pub fn remember(&self, remotes: &Remembered) -> Result<()> {
        let old = self.configuration()?;
        let mut new = old.clone();
        for (name, value) in
            [("DefaultGetUrl", &remotes.get), ("DefaultPutUrl", &remotes.put), ("DefaultPostUrl", &remotes.post)]
        {
            if let Some(value) = value {
                new.set(name, value.as_str());
            }
        }
        if new == old { Ok(()) } else { durable::replace(&self.books.join("config"), tabbed(&new).as_bytes(), 0o644) }
    }

    /// The state that a remote and this repository had last; the empty one if there was none.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn base(&self) -> Result<State> {
        let path = self.books.join("base");
        match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(State::default()),
            read => State::parse(&read.context("read", &path)?, &path),
        }
    }

    /// Keeps the state that a remote and this repository have now.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn set_base(&self, state: &State) -> Result<()> {
        durable::replace(&self.books.join("base"), state.canonical().as_bytes(), 0o644)
    }

    fn configuration(&self) -> Result<Json> {
        let path = self.books.join("config");
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Json::object()),
            read => read.context("read", &path)?,
        };
        let wrong = |what: String| Error::user(format!("{}: {what}", path.display()));
        let value = json::parse(&bytes, Limits::DOCUMENT).map_err(|error| wrong(error.to_string()))?.to_json();
        if matches!(value, Json::Object(_)) { Ok(value) } else { Err(wrong("not an object".into())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::state::SPEC;

    #[test]
    fn a_remembered_remote_changes_its_member_and_nothing_else() {
        let scratch = tempfile::tempdir().unwrap();
        let repo = Repo::init(scratch.path(), None, SPEC).unwrap();
        let path = repo.books().join("config");
        let text = fs::read_to_string(&path).unwrap().replace("\"AccessTokens\": {}", "\"Extra\": [\n\t\t1\n\t]");
        fs::write(&path, &text).unwrap();
        assert_eq!(repo.remembered().unwrap(), Remembered::default());
        let remotes = Remembered { post: Some("http://d".into()), ..Remembered::default() };
        repo.remember(&remotes).unwrap();
        assert_eq!(repo.remembered().unwrap(), remotes);
        let wanted = text.replace("\"DefaultPostUrl\": \"\"", "\"DefaultPostUrl\": \"http://d\"");
        assert_eq!(fs::read_to_string(&path).unwrap(), wanted);
    }
}
