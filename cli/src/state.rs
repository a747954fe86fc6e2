//! A state that is being worked on: keys in canonical order, each with its value.
//!
//! It is what `.pvr/json` holds. It may be one that no device accepts; [`State::revision`] is the way to find out.

use std::collections::BTreeMap;
use std::path::Path;

use formats::json::{self, Json, Limits};
use formats::object::ObjectId;
use formats::path;
use formats::state::Revision;

use crate::error::{Error, Result};

/// Keys and values of a state.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct State(BTreeMap<String, Json>);

impl State {
    /// The state with nothing in it.
    #[must_use]
    pub fn new(spec: &str) -> Self {
        Self(BTreeMap::from([("#spec".into(), spec.into())]))
    }

    /// Reads a state. `whence` is for messages.
    ///
    /// # Errors
    /// Not JSON, a key twice, or a key that cannot be a file, which would be dangerous to every other command.
    pub fn parse(bytes: &[u8], whence: &Path) -> Result<Self> {
        let wrong = |what: String| Error::user(format!("{}: {what}", whence.display()));
        let value = json::parse(bytes, Limits::STATE).map_err(|error| wrong(error.to_string()))?;
        let object = value.as_object().ok_or_else(|| wrong("a state must be a JSON object".into()))?;
        let mut state = BTreeMap::new();
        for member in object {
            path::key(&member.key).map_err(|why| wrong(format!("the key {:?} cannot be used: {why}", member.key)))?;
            state.insert(member.key.clone().into_owned(), member.value.to_json());
        }
        Ok(Self(state))
    }

    /// The text that is kept, hashed and signed.
    #[must_use]
    pub fn canonical(&self) -> String {
        self.to_json().canonical()
    }

    /// The state as one value.
    #[must_use]
    pub fn to_json(&self) -> Json {
        Json::Object(self.0.iter().map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    /// The state as a device reads it.
    ///
    /// # Errors
    /// A device would refuse it, whatever is in its files.
    pub fn revision(&self) -> Result<Revision> {
        Revision::parse(self.canonical().as_bytes()).map_err(|error| Error::user(error.to_string()))
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Json> {
        self.0.get(key)
    }

    /// Sets the value of a key.
    pub fn set(&mut self, key: &str, value: Json) {
        self.0.insert(key.into(), value);
    }

    /// Takes a key out.
    pub fn remove(&mut self, key: &str) {
        self.0.remove(key);
    }

    /// Keeps `#spec` and the files whose keys are wanted.
    pub fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        self.0.retain(|key, _| key == "#spec" || wanted(key));
    }

    /// All keys with their values, in canonical order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The keys that are files: all but `#spec`.
    pub fn files(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.iter().filter(|(key, _)| *key != "#spec")
    }

    /// Whether a key is an object of the pool, and not inline.
    #[must_use]
    pub fn is_object(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| !key.ends_with(".json") || object_id(value).is_some())
    }
}

/// The object that a value names.
#[must_use]
pub fn object_id(value: &Json) -> Option<ObjectId> {
    value.as_str().and_then(ObjectId::parse)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<State> {
        State::parse(text.as_bytes(), Path::new(".pvr/json"))
    }

    #[test]
    fn a_broken_state_names_file_and_place() {
        for (text, part) in [
            ("{\"a\":", ".pvr/json: line 1, column 6"),
            (r#"{"a":"x","a":"y"}"#, "twice"),
            (r#"{"../a":"x"}"#, "\"../a\""),
            ("[]", "JSON object"),
        ] {
            assert!(parse(text).unwrap_err().message.contains(part), "{text}");
        }
    }

    #[test]
    fn an_object_is_told_from_inline_by_suffix_and_form() {
        let id = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let state = parse(&format!(r#"{{"a.json":"{id}","b.json":"text","c":"{id}"}}"#)).unwrap();
        assert_eq!(["a.json", "b.json", "c", "d"].map(|key| state.is_object(key)), [true, false, true, false]);
    }
}
