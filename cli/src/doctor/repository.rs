//! The repository: whether it can be read, has all that it names, and can be written.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use formats::object::ObjectId;
use rustix::fs::{Access, FlockOperation};

use super::Check;
use crate::check::check;
use crate::error::Error;
use crate::history;
use crate::remote::objects;
use crate::repo::durable::parent;
use crate::repo::pool::hash_file;
use crate::repo::{BOOKS, Repo, VERSION};
use crate::sign::auto;
use crate::state::State;
use crate::watch::Watch;

/// How many objects are read where not all of them are.
const SAMPLE: usize = 16;
/// So little room stops a commit of most images, in bytes.
const LITTLE: u64 = 512 << 20;
/// So little stops any.
const NOTHING: u64 = 16 << 20;
/// How many names a line has.
const NAMED: usize = 4;

pub(super) fn look(start: &Path, deep: bool, watch: &dyn Watch) -> (Option<Repo>, Vec<Check>) {
    let repo = match Repo::find(start) {
        Ok(repo) => repo,
        Err(error) => {
            // Who is nowhere may want to know about the rest.
            let is_one = start.ancestors().any(|above| above.join(BOOKS).join("json").is_file());
            let advice = error.hint.clone().unwrap_or_default();
            let check =
                if is_one { Check::of("repository", error) } else { Check::warn("repository", error.message, advice) };
            return (None, vec![check]);
        }
    };
    let mut checks = vec![Check::ok("repository", format!("{}, version {VERSION}", repo.root().display()))];
    match repo.committed() {
        Err(error) => checks.push(Check::of("state", error)),
        Ok(committed) => {
            checks.push(state(&committed));
            checks.extend(pool(&repo, &committed, deep, watch));
        }
    }
    if let Err(error) = repo.staged() {
        checks.push(Check::of("staged", error));
    }
    if let Err(error) = repo.base() {
        checks.push(Check::of("base", error));
    }
    checks.push(leftovers(&repo));
    checks.push(lock(&repo));
    checks.push(match history::entries(&repo) {
        Ok(entries) => Check::ok("history", format!("{} entries", entries.len())),
        Err(Error { message, hint, .. }) => Check::warn("history", message, hint.unwrap_or_default()),
    });
    checks.extend(writable(&repo));
    checks.extend(room(&repo));
    (Some(repo), checks)
}

fn state(state: &State) -> Check {
    let looked = state.revision().and_then(|revision| {
        check(&revision)?;
        Ok((state.files().count(), auto::gaps(&revision)?))
    });
    match looked {
        Err(error) => Check::of("state", error),
        Ok((files, gaps)) => match gaps.first() {
            None => Check::ok("state", format!("{files} files, and all of them signed")),
            Some(first) => Check::warn("state", first, "`pvr commit` signs; `pvr verify` tells more"),
        },
    }
}

fn pool(repo: &Repo, committed: &State, deep: bool, watch: &dyn Watch) -> Vec<Check> {
    let named = objects::of(committed, |_| true);
    let path = |id: &ObjectId| repo.pool().path(*id);
    let missing: Vec<&String> = named.iter().filter(|(id, _)| !path(id).is_file()).map(|(_, key)| key).collect();
    let mut checks = Vec::new();
    if !missing.is_empty() {
        let found = format!("{} of {} objects are not in the pool: {}", missing.len(), named.len(), listed(&missing));
        checks.push(Check::fail("pool", found, "`pvr get` from where the state came from, or commit the files again"));
    }
    let mut there: BTreeMap<ObjectId, String> = named.into_iter().filter(|(id, _)| path(id).is_file()).collect();
    let all = there.len();
    if deep {
        // Those of states of then, and of other repositories that share the pool.
        for entry in fs::read_dir(repo.pool().directory()).into_iter().flatten().flatten() {
            if let Some(id) = entry.file_name().to_str().and_then(ObjectId::parse) {
                there.entry(id).or_insert_with(|| id.to_string());
            }
        }
    } else {
        let step = all.div_ceil(SAMPLE).max(1);
        there = there.into_iter().step_by(step).collect();
    }
    let size = |id: &ObjectId| fs::metadata(path(id)).map_or(0, |metadata| metadata.len());
    watch.begin("checking", there.keys().map(size).sum());
    let is_damaged = |id: &ObjectId| !matches!(hash_file(&path(id), watch), Ok((found, _)) if found == *id);
    let damaged: Vec<&String> = there.iter().filter(|(id, _)| is_damaged(id)).map(|(_, key)| key).collect();
    watch.end();
    if !damaged.is_empty() {
        let found = format!("{} objects have other bytes than their names say: {}", damaged.len(), listed(&damaged));
        let advice = format!("remove them from {} and get them again", repo.pool().directory().display());
        checks.push(Check::fail("pool", found, advice));
    }
    if checks.is_empty() {
        let read = if deep || there.len() == all { "all" } else { "some" };
        checks.push(Check::ok("pool", format!("{all} objects; {read} were read ({}), and are right", there.len())));
    }
    checks
}

fn listed(names: &[&String]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let first: Vec<&str> = names.iter().take(NAMED).map(|name| name.as_str()).collect();
    if more > 0 { format!("{} and {more} more", first.join(", ")) } else { first.join(", ") }
}

/// What runs that died have left, and nobody is at work on.
fn leftovers(repo: &Repo) -> Check {
    let mut left: Vec<String> = Vec::new();
    let mut look = |directory: &Path, is_one: &dyn Fn(&str, &Path) -> bool| {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_name().to_str().is_some_and(|name| is_one(name, &path)) {
                left.push(path.display().to_string());
            }
        }
    };
    let temporary = |name: &str| name.strip_prefix("new.").is_some_and(|rest| !is_alive(rest));
    look(repo.books(), &|name, _| temporary(name));
    look(repo.pool().directory(), &|name, path| temporary(name) || name.ends_with(".part") && !is_locked(path));
    let root = repo.root().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let beside = format!(".{root}.new.");
    look(parent(repo.root()), &|name, path| name.starts_with(&beside) && !is_locked(path));
    if left.is_empty() {
        return Check::ok("leftovers", "none of runs that died");
    }
    let names: Vec<&String> = left.iter().collect();
    Check::warn(
        "leftovers",
        format!("of runs that died: {}", listed(&names)),
        "the next command that writes takes up or sweeps most of them; they can be removed",
    )
}

/// Whether the process lives whose temporary is called `PID.SERIAL`.
fn is_alive(rest: &str) -> bool {
    let pid = rest.split('.').next().unwrap_or_default();
    !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()) && Path::new("/proc").join(pid).exists()
}

/// Whether somebody has a file or directory locked. The question changes nothing: it lets go at once.
fn is_locked(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared).is_err())
}

fn lock(repo: &Repo) -> Check {
    let path = repo.books().join("lock");
    if !is_locked(&path) {
        return Check::ok("lock", "nobody else is changing this repository");
    }
    let mut pid = String::new();
    let _ = File::open(&path).and_then(|file| file.take(20).read_to_string(&mut pid));
    let advice = "wait until it has finished; the lock goes with its process";
    Check::warn("lock", format!("another pvr (process {}) is changing this repository", pid.trim()), advice)
}

/// The directories that are written to.
fn directories(repo: &Repo) -> Vec<PathBuf> {
    let pool = repo.pool().directory().to_owned();
    let all = [repo.root().to_owned(), repo.books().to_owned(), pool];
    all.into_iter().filter(|path| path.exists()).collect()
}

fn writable(repo: &Repo) -> Vec<Check> {
    let pool = repo.pool().directory();
    let mut checks = Vec::new();
    if !pool.exists() {
        // One of its own is made when it is needed.
        let is_own = pool.starts_with(repo.books());
        let found = format!("the pool {} is not there", pool.display());
        let advice = "mount or make it; `ObjectsDir` in .pvr/config names it";
        checks.extend((!is_own).then(|| Check::fail("rights", found, advice)));
    }
    for path in directories(repo) {
        if let Err(errno) = rustix::fs::access(&path, Access::WRITE_OK | Access::EXEC_OK) {
            let found = format!("{} cannot be written: {errno}", path.display());
            checks.push(Check::fail("rights", found, "check owner and mode (ls -ld), or work as the owner"));
        }
    }
    if checks.is_empty() {
        checks.push(Check::ok("rights", "work tree, books and pool can be written"));
    }
    checks
}

fn room(repo: &Repo) -> Vec<Check> {
    let mut least: Option<(u64, PathBuf)> = None;
    for path in directories(repo) {
        let Ok(stat) = rustix::fs::statvfs(&path) else { continue };
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if least.as_ref().is_none_or(|(other, _)| free < *other) {
            least = Some((free, path));
        }
    }
    let Some((free, path)) = least else { return Vec::new() };
    let found = format!("{} MiB are free in {}", free >> 20, path.display());
    let advice = "make room; `pvr doctor` looks again";
    vec![match free {
        ..NOTHING => Check::fail("room", found, advice),
        NOTHING..LITTLE => Check::warn("room", found, advice),
        _ => Check::ok("room", found),
    }]
}
