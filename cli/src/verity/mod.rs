//! `pvr dm`: images of the work tree that a device checks block by block (dm-verity).
//!
//! ```text
//!   web/root.squashfs ──▶ web/root.squashfs.hash          the tree of hashes            [tree]
//!          │              web/_dm/root.squashfs.json      its root, salt and name       [table]
//!          └────────────  web/run.json                    "root-volume": "dm:root.squashfs"
//!                         web/src.json                    "dm_enabled": {"root.squashfs": true}
//! ```
//!
//! Equal images have equal trees: salt and name follow from the image, unless a table has its own already. The manifest,
//! which makes a device look for the rest, is put in place last.

pub mod table;
pub mod tree;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use formats::json::Json;
use formats::volume::Mount;

use crate::app::{SRC, indented, read_json};
use crate::error::{Context as _, Error, Result};
use crate::repo::Repo;
use crate::repo::durable::{Prepared, parent, sync_directory, temporary_in};
use crate::repo::pool::hash_file;
use crate::watch::Watch;
use table::{Seed, Table};

const RUN: &str = "run.json";

/// The directory of the base system.
const BSP: &str = "bsp";

/// A volume that is checked, or is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checked {
    /// The directory of its container.
    pub container: String,
    /// Its file, relative to that.
    pub volume: String,
    /// The root of its tree, in hexadecimal.
    pub root: String,
}

/// What became of a volume.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Image, tree and table belong together.
    Fits,
    /// They do not; why.
    Wrong(String),
}

/// Has the images of these containers be checked, or those of all: their root, their volumes, modules and firmware of a
/// base. Returns what was written.
///
/// # Errors
/// There is no such container, one of its documents or images cannot be used. Trees and tables may have been written then,
/// which no device looks at.
pub fn convert(repo: &Repo, names: &[String], watch: &dyn Watch) -> Result<Vec<Checked>> {
    let _lock = repo.lock()?;
    let names = if names.is_empty() { containers(repo)? } else { names.to_vec() };
    let mut done = Vec::new();
    for name in &names {
        let directory = directory(repo, name)?;
        let path = directory.join(RUN);
        let mut run = read_json(&path)?;
        let found = volumes(name, &mut run).map_err(|why| Error::user(format!("{name}/{RUN}: {why}")))?;
        for volume in &found {
            let table = read_table(&directory, name, volume)?;
            done.push(hashed(repo, name, &directory, volume, table, watch)?);
        }
        if found.is_empty() {
            continue;
        }
        let source = directory.join(SRC);
        if source.is_file() {
            let mut json = read_json(&source)?;
            let mut enabled = json.get("dm_enabled").cloned().unwrap_or_else(Json::object);
            found.iter().for_each(|volume| enabled.set(volume, true));
            json.set("dm_enabled", enabled);
            Prepared::new(repo.books(), &source, indented(&json).as_bytes(), 0o644)?.publish()?;
        }
        Prepared::new(repo.books(), &path, run.canonical().as_bytes(), 0o644)?.publish()?;
    }
    Ok(done)
}

/// Makes the trees of all tables again, or of those whose path (`web/_dm/root.squashfs.json`) begins so. Returns what was
/// written.
///
/// # Errors
/// A table or an image cannot be used.
pub fn apply(repo: &Repo, prefix: &str, watch: &dyn Watch) -> Result<Vec<Checked>> {
    let _lock = repo.lock()?;
    let mut done = Vec::new();
    for (name, volume, table) in tables(repo)? {
        if format!("{name}/_dm/{volume}.json").starts_with(prefix) {
            done.push(hashed(repo, &name, &directory(repo, &name)?, &volume, Some(table), watch)?);
        }
    }
    Ok(done)
}

/// Makes tree and table of a volume whose image is another now, in a directory that becomes the container's.
///
/// # Errors
/// Its table or its image cannot be used.
pub(crate) fn renew(repo: &Repo, name: &str, directory: &Path, volume: &str, watch: &dyn Watch) -> Result<()> {
    let table = read_table(directory, name, volume)?;
    hashed(repo, name, directory, volume, table, watch).map(drop)
}

/// All volumes of the work tree that have a table.
///
/// # Errors
/// A table cannot be read.
pub fn list(repo: &Repo) -> Result<Vec<Checked>> {
    let row = |(container, volume, table): (String, String, Table)| Checked { container, volume, root: table.root };
    Ok(tables(repo)?.into_iter().map(row).collect())
}

/// Makes each tree again beside the work tree, and compares.
///
/// # Errors
/// A table cannot be read; what does not belong together is no error, but a verdict.
pub fn verify(repo: &Repo, names: &[String], watch: &dyn Watch) -> Result<Vec<(Checked, Verdict)>> {
    let mut rows = Vec::new();
    for (name, volume, table) in tables(repo)? {
        if !names.is_empty() && !names.contains(&name) {
            continue;
        }
        let directory = directory(repo, &name)?;
        let verdict = match fits(repo, &directory, &table, watch) {
            Ok(None) => Verdict::Fits,
            Ok(Some(why)) => Verdict::Wrong(why),
            Err(error) => Verdict::Wrong(error.message),
        };
        rows.push((Checked { container: name, volume, root: table.root }, verdict));
    }
    match names.iter().find(|name| !rows.iter().any(|(row, _)| row.container == **name)) {
        Some(name) => {
            Err(Error::user(format!("{name} has no table of a checked volume")).hint("`pvr dm ls` lists them"))
        }
        None => Ok(rows),
    }
}

/// Why image, tree and table do not belong together.
fn fits(repo: &Repo, directory: &Path, table: &Table, watch: &dyn Watch) -> Result<Option<String>> {
    let made = Made::new(repo, directory, table, watch)?;
    if made.table.root != table.root {
        return Ok(Some(format!(
            "the root of {} is {}, and the table says {}",
            table.data, made.table.root, table.root
        )));
    }
    let path = directory.join(&table.hashes);
    let same = hash_file(&path, &crate::watch::Unwatched)?.0 == hash_file(&made.temporary, &crate::watch::Unwatched)?.0;
    Ok((!same).then(|| format!("{} has other hashes than the image", table.hashes)))
}

/// A tree that is made and not yet in its place. Dropped, it is gone.
struct Made {
    table: Table,
    temporary: PathBuf,
}

impl Made {
    fn new(repo: &Repo, directory: &Path, table: &Table, watch: &dyn Watch) -> Result<Self> {
        let image = directory.join(&table.data);
        let seed = match &table.seed {
            Some(seed) => seed.clone(),
            None => tree::seed_of(&directory.join(&table.hashes))?,
        };
        let temporary = temporary_in(repo.books());
        let file =
            File::options().read(true).write(true).create_new(true).open(&temporary).context("create", &temporary)?;
        // From here on it is removed, whatever happens.
        let mut made = Self { table: Table { seed: Some(seed.clone()), ..table.clone() }, temporary };
        let root = tree::write(&image, &seed, &file, &made.temporary, watch)?;
        file.sync_all().context("write", &made.temporary)?;
        made.table = made.table.clone().with_root(&root);
        Ok(made)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Makes tree and table of a volume, the table last.
fn hashed(
    repo: &Repo,
    name: &str,
    directory: &Path,
    volume: &str,
    table: Option<Table>,
    watch: &dyn Watch,
) -> Result<Checked> {
    let table = match table {
        Some(table) => table,
        None => {
            let (image, _) = hash_file(&directory.join(volume), watch)?;
            let hashes = format!("{volume}.hash");
            Table { data: volume.into(), hashes, root: String::new(), seed: Some(Seed::of(image)) }
        }
    };
    let made = Made::new(repo, directory, &table, watch)?;
    let path = directory.join(&table.hashes);
    fs::set_permissions(&made.temporary, std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .context("change the mode of", &made.temporary)?;
    fs::rename(&made.temporary, &path).context("replace", &path)?;
    sync_directory(parent(&path))?;
    let path = directory.join(format!("_dm/{volume}.json"));
    fs::create_dir_all(parent(&path)).context("create", parent(&path))?;
    Prepared::new(repo.books(), &path, made.table.to_json().canonical().as_bytes(), 0o644)?.publish()?;
    Ok(Checked { container: name.into(), volume: volume.into(), root: made.table.root.clone() })
}

fn directory(repo: &Repo, name: &str) -> Result<PathBuf> {
    let missing = || Error::user(format!("there is no {name}/{RUN} here")).hint("name a container, or `bsp`");
    formats::path::component(name).map_err(|_| missing())?;
    let directory = repo.root().join(name);
    if directory.join(RUN).is_file() { Ok(directory) } else { Err(missing()) }
}

/// The directories with a manifest.
fn containers(repo: &Repo) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(repo.root()).context("read", repo.root())? {
        let entry = entry.context("read", repo.root())?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !name.starts_with(['.', '_']) && entry.path().join(RUN).is_file() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Every table of the work tree: container, volume, what it says.
fn tables(repo: &Repo) -> Result<Vec<(String, String, Table)>> {
    let (mut all, files) = (Vec::new(), crate::worktree::scan(repo.root())?.files);
    for name in containers(repo)? {
        let prefix = format!("{name}/_dm/");
        for path in files.keys() {
            let Some(volume) = path.strip_prefix(&prefix).and_then(|file| file.strip_suffix(".json")) else { continue };
            if let Some(table) = read_table(&repo.root().join(&name), &name, volume)? {
                all.push((name.clone(), volume.to_owned(), table));
            }
        }
    }
    Ok(all)
}

fn read_table(directory: &Path, name: &str, volume: &str) -> Result<Option<Table>> {
    let path = directory.join(format!("_dm/{volume}.json"));
    if !path.exists() {
        return Ok(None);
    }
    let bytes = fs::read(&path).context("read", &path)?;
    let table = Table::parse(&bytes);
    table.map(Some).map_err(|why| Error::user(format!("{name}/_dm/{volume}.json: {why}")))
}

/// The images that a manifest names, which are marked as checked in it. Those that no device can check stay as they are.
fn volumes(name: &str, run: &mut Json) -> std::result::Result<Vec<String>, String> {
    let is_base = name == BSP;
    let members: Vec<String> = match &*run {
        Json::Object(members) => members.iter().map(|(member, _)| member.clone()).collect(),
        _ => return Err("it is no JSON object".into()),
    };
    let mut found = Vec::new();
    for member in members {
        let counts = match member.as_str() {
            "root-volume" | "volumes" => true,
            "firmware" => is_base,
            other => is_base && (other == "modules" || other.starts_with("modules_")),
        };
        let Some(value) = run.get_mut(&member).filter(|_| counts) else { continue };
        match value {
            Json::String(text) => mark(text, &mut found)?,
            Json::Array(list) => {
                for item in list {
                    if let Json::String(text) = item {
                        mark(text, &mut found)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

fn mark(text: &mut String, found: &mut Vec<String>) -> std::result::Result<(), String> {
    let file = text.strip_prefix("dm:").unwrap_or(text).to_owned();
    formats::path::relative(&file).map_err(|why| format!("{file:?}: {why}"))?;
    let volume = formats::volume::Volume { file: file.clone(), verity: true };
    if matches!(volume.mount(), Some(Mount::FileSystem(_))) {
        *text = format!("dm:{file}");
        if !found.contains(&file) {
            found.push(file);
        }
    }
    Ok(())
}
