//! What containers of images there are, and what one of them is and may do.

use std::fs;
use std::path::Path;

use formats::json::Json;
use formats::lxc::privileges::{EVERY_CALL, filter, privileges};
use formats::lxc::{self, Config};
use formats::mdev;
use formats::path::ContainerName;
use formats::seccomp::Arch;

use super::{RUN, SRC, read_json};
use crate::check;
use crate::error::{Context as _, Error, Result};
use crate::repo::Repo;

/// A container of the work tree.
#[derive(Clone, PartialEq, Debug)]
pub struct Info {
    /// Its `src.json`.
    pub src: Json,
    /// Its `run.json`, if there is one.
    pub run: Option<Json>,
    /// What it may do to the device, a line each.
    pub privileges: Vec<String>,
}

/// The names of all directories with a `src.json`.
///
/// # Errors
/// The work tree cannot be read.
pub fn list(repo: &Repo) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(repo.root()).context("read", repo.root())? {
        let entry = entry.context("read", repo.root())?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !name.starts_with('.') && entry.path().join(SRC).is_file() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Looks at a container.
///
/// # Errors
/// There is none of this name, or one of its files cannot be read.
pub fn info(repo: &Repo, name: &str) -> Result<Info> {
    let directory = existing(repo, name)?;
    let src = read_json(&directory.join(SRC))?;
    let run = directory.join(RUN);
    let run = if run.exists() { Some(read_json(&run)?) } else { None };
    let config = run.as_ref().and_then(|run| run.get("config")).and_then(Json::as_str).map(str::to_owned);
    let privileges = match config {
        None => vec!["it starts no program".to_owned()],
        Some(file) => {
            formats::path::relative(&file).map_err(|why| Error::user(format!("{name}/{RUN}: config: {why}")))?;
            let mut unread = None;
            let mut read = |key: &str| check::read(&repo.root().join(key)).map_err(|error| unread = Some(error)).ok();
            let lines = lxc::lines(name, &file, &mut read);
            if let Some(error) = unread {
                return Err(error);
            }
            let lines = lines.map_err(|error| Error::user(error.to_string()))?;
            let config = lines.into_iter().map(|line| line.item).collect();
            let mut lines = privileges(&config);
            lines.push(calls(&directory, &config)?);
            lines.extend(directory.join("mdev.json").exists().then(|| mdev::TOLD.to_owned()));
            lines
        }
    };
    Ok(Info { src, run, privileges })
}

/// The directory of a container that was made of something.
pub(super) fn existing(repo: &Repo, name: &str) -> Result<std::path::PathBuf> {
    let missing =
        || Error::user(format!("there is no container {name:?} with a {SRC} here")).hint("`pvr app ls` lists them");
    // `bsp` has such a document too, and is no container.
    if name != "bsp" {
        ContainerName::parse(name).map_err(|_| missing())?;
    }
    let directory = repo.root().join(name);
    if directory.join(SRC).is_file() { Ok(directory) } else { Err(missing()) }
}

/// Which system calls its filter leaves, if it has one.
fn calls(directory: &Path, config: &Config) -> Result<String> {
    let Some(file) = filter(config) else { return Ok(EVERY_CALL.to_owned()) };
    let filter = crate::seccomp::read(&directory.join(file))?;
    let serves: Vec<_> = Arch::ALL.into_iter().filter(|arch| filter.serves(*arch).is_ok()).map(Arch::as_str).collect();
    let on = if serves.is_empty() { "nowhere".to_owned() } else { format!("on {}", serves.join(", ")) };
    Ok(format!("system calls that {file} allows; it can start {on}"))
}
