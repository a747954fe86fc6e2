//! `.pvr/new`: what `add` has staged.
//!
//! ```text
//!   {"web/run.json":{"ForceObject":false,"Sha":"<64 hexadecimal digits>"}}      canonical
//! ```
//!
//! The hash is that of the file when it was added, for people and other tools; a commit takes the file as it is then.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use formats::json::{self, Json, Limits};

use super::durable;
use crate::error::{Context as _, Error, Result};

/// One staged file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StagedFile {
    /// Whether a `.json` file is to be an object.
    pub force_object: bool,
    /// The SHA-256 of the file when it was added.
    pub sha: String,
}

/// All of them by path.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Staged(pub BTreeMap<String, StagedFile>);

impl Staged {
    /// Reads the file; none is nothing.
    ///
    /// # Errors
    /// It cannot be read, or is not what a tool writes.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            read => read.context("read", path)?,
        };
        let wrong = |what: String| {
            Error::user(format!("{}: {what}", path.display())).hint("remove the file and `pvr add` again")
        };
        let value = json::parse(&bytes, Limits::STATE).map_err(|error| wrong(error.to_string()))?;
        let object = value.as_object().ok_or_else(|| wrong("not an object".into()))?;
        let mut staged = BTreeMap::new();
        for member in object {
            formats::path::key(&member.key).map_err(|why| wrong(format!("{:?}: {why}", member.key)))?;
            let file = member.value.as_object().ok_or_else(|| wrong(format!("{:?}: not an object", member.key)))?;
            let sha = file.get("Sha").and_then(|sha| sha.as_str()).unwrap_or_default().to_owned();
            let force_object = file.get("ForceObject").and_then(|force| force.as_bool()).unwrap_or_default();
            staged.insert(member.key.clone().into_owned(), StagedFile { force_object, sha });
        }
        Ok(Self(staged))
    }

    /// Writes the file.
    ///
    /// # Errors
    /// It cannot be written; the old one stays.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut all = Json::object();
        for (key, file) in &self.0 {
            all.set(key, Json::object().with("ForceObject", file.force_object).with("Sha", file.sha.as_str()));
        }
        durable::replace(path, all.canonical().as_bytes(), 0o644)
    }

    /// Forgets everything.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn clear(path: &Path) -> Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed.context("remove", path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_staged_is_canonical_and_reads_back() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("new");
        assert_eq!(Staged::load(&path).unwrap(), Staged::default());
        let file = StagedFile { force_object: true, sha: "ab".into() };
        let staged = Staged(BTreeMap::from([("b/x".into(), file.clone()), ("a.json".into(), file)]));
        staged.save(&path).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            r#"{"a.json":{"ForceObject":true,"Sha":"ab"},"b/x":{"ForceObject":true,"Sha":"ab"}}"#
        );
        assert_eq!(Staged::load(&path).unwrap(), staged);
    }

    #[test]
    fn a_staged_path_that_leaves_the_tree_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("new");
        fs::write(&path, r#"{"../x":{"ForceObject":false,"Sha":""}}"#).unwrap();
        assert!(Staged::load(&path).unwrap_err().message.contains("../x"));
    }
}
