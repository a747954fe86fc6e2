//! A trail that was deployed: whether its files and boot links are those of its state.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use formats::object::ObjectId;
use formats::state::{Class, Revision};

use super::{Finding, Report};
use crate::deploy::boot_links;
use crate::error::{Context as _, Result};
use crate::repo::durable::parent;
use crate::repo::pool::hash_file;
use crate::watch::{Unwatched, Watch};
use crate::worktree::scan;

/// The directory of what a bootloader reads.
const BOOT: &str = ".pv";

/// Whether a directory is a trail, and not a repository with a work tree.
pub(super) fn is_one(root: &Path) -> bool {
    root.join(BOOT).is_dir() || pool_beside(root).is_some()
}

/// The pool of a storage: `objects` beside `trails`.
pub(super) fn pool_beside(root: &Path) -> Option<PathBuf> {
    let trails = root.ancestors().skip(1).take(2).find(|above| above.file_name().is_some_and(|it| it == "trails"))?;
    let pool = parent(trails).join("objects");
    pool.is_dir().then_some(pool)
}

/// Compares every file with the state.
pub(super) fn look(report: &mut Report, revision: &Revision, root: &Path, watch: &dyn Watch) -> Result<()> {
    let found = scan(root)?;
    let files = || revision.entries().filter(|entry| entry.class != Class::Spec);
    watch.begin("comparing", found.files.values().sum());
    for entry in files() {
        let path = root.join(entry.key);
        let what = match (fs::symlink_metadata(&path), entry.object_id()) {
            // Devices do not have them in their trails.
            (Err(_), _) if entry.class == Class::Ignored => continue,
            (Err(_), _) => "the trail does not have this file",
            (Ok(metadata), _) if !metadata.is_file() => "in the trail this is no file",
            (Ok(_), Some(id)) if hash_file(&path, watch)?.0 != id => {
                "the file in the trail has other bytes than the state says"
            }
            (Ok(metadata), None)
                if metadata.len() != entry.raw.len() as u64
                    || fs::read(&path).context("read", &path)? != entry.raw.as_bytes() =>
            {
                "the file in the trail has another text than the state"
            }
            (Ok(_), _) => continue,
        };
        report.findings.push(Finding::new(entry.key, what));
    }
    watch.end();
    let known: BTreeSet<&str> = files().map(|entry| entry.key).collect();
    let more = found.files.keys().map(String::as_str).chain(found.skipped.iter().map(String::as_str));
    let more = more.filter(|path| !known.contains(path));
    report.warnings.extend(more.map(|path| format!("{path}: is in the trail and not in its state")));
    links(report, revision, root)
}

/// What a bootloader reads.
fn links(report: &mut Report, revision: &Revision, root: &Path) -> Result<()> {
    // A base that cannot be read is told already.
    let Ok(links) = boot_links(revision, &mut report.warnings) else { return Ok(()) };
    for (name, file) in links {
        let wanted = revision.get(&format!("bsp/{file}")).and_then(|entry| entry.object_id());
        let path = root.join(BOOT).join(&name);
        let found: Option<ObjectId> = if path.is_file() { Some(hash_file(&path, &Unwatched)?.0) } else { None };
        let what = match found {
            None => format!("the bootloader needs it, as a link to bsp/{file}"),
            Some(_) if found != wanted => format!("it is not bsp/{file}, which the bootloader is to start"),
            Some(_) => continue,
        };
        report.findings.push(Finding::new(format!("{BOOT}/{name}"), what));
    }
    Ok(())
}
