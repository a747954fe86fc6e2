//! The machine: its programs, its clock, and what is said about registries.

use std::collections::BTreeSet;
use std::env::split_paths;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use formats::json::{self, Json, Limits};

use super::{Check, Surroundings};
use crate::image::registry::Mirrors;
use crate::profile::Profile;

/// A moment that is past: whoever's clock is before it has none.
const PAST: u64 = 1_763_000_000;
/// The first version of squashfs-tools that has what is needed.
const SQUASHFS: (u32, u32) = (4, 5);

pub(super) fn look(around: &Surroundings<'_>) -> Vec<Check> {
    let mut checks = vec![clock(around.now.as_secs())];
    checks.push(packer(&around.path));
    checks.push(erofs(&around.path));
    if let Some(configuration) = &around.configuration {
        if let Err(error) = Profile::load(configuration) {
            checks.push(Check::of("settings", error));
        }
        checks.push(mirrors(&configuration.join("mirrors.json"), around.mirrors.as_deref()));
    }
    checks.extend(around.docker.as_deref().map(|directory| logins(directory, &around.path)));
    checks
}

fn clock(now: u64) -> Check {
    if now < PAST {
        let found = format!("the clock says {}, which is past", formats::date::date(now));
        return Check::fail("clock", found, "set it: certificates, images and the history have dates");
    }
    Check::ok("clock", formats::date::date(now))
}

/// A program, where a shell would find it.
fn find(name: &str, path: &OsStr) -> Option<PathBuf> {
    split_paths(path)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok())
}

/// The first version number that a program says.
fn version(program: &Path, argument: &str) -> Option<String> {
    let said = Command::new(program).arg(argument).stdin(Stdio::null()).output().ok()?;
    let text = [said.stdout, said.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let is_one = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.');
    text.split_whitespace().find(is_one).map(|word| word.chars().take(32).collect())
}

fn packer(path: &OsStr) -> Check {
    let advice = "install squashfs-tools, 4.5 or later: apt-get install squashfs-tools";
    let Some(program) = find("mksquashfs", path) else {
        return Check::warn("mksquashfs", "it is not installed; `pvr app add` packs images with it", advice);
    };
    let Some(version) = version(&program, "-version") else {
        return Check::warn("mksquashfs", format!("{} does not say its version", program.display()), advice);
    };
    let mut numbers = version.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found < SQUASHFS {
        return Check::warn("mksquashfs", format!("{} is {version}, and too old", program.display()), advice);
    }
    Check::ok("mksquashfs", format!("{version}, {}", program.display()))
}

/// Not needed by anybody who does not ask for it.
fn erofs(path: &OsStr) -> Check {
    let found = match find("mkfs.erofs", path) {
        Some(program) => match version(&program, "-V") {
            Some(version) => format!("{version}, {}", program.display()),
            None => program.display().to_string(),
        },
        None => "not installed (erofs-utils); only images of that kind need it".into(),
    };
    Check::ok("mkfs.erofs", found)
}

fn mirrors(file: &Path, list: Option<&str>) -> Check {
    let mut mirrors = Mirrors::default();
    let read = mirrors.add_file(file).and_then(|()| mirrors.add_list(list.unwrap_or_default()));
    match read {
        Err(error) => Check::of("mirrors", error),
        Ok(()) if mirrors == Mirrors::default() => Check::ok("mirrors", "none: registries are asked themselves"),
        Ok(()) => Check::ok("mirrors", "read from mirrors.json and PVR_MIRRORS"),
    }
}

/// Whether the programs are there that keep the passwords of registries.
fn logins(directory: &Path, path: &OsStr) -> Check {
    let file = directory.join("config.json");
    let bytes = match fs::read(&file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Check::ok("registries", "no logins: images that everybody may have");
        }
        Err(error) => {
            return Check::fail(
                "registries",
                format!("cannot read {}: {error}", file.display()),
                "check owner and mode",
            );
        }
        Ok(bytes) => bytes,
    };
    let value = match json::parse(&bytes, Limits::DOCUMENT) {
        Err(error) => {
            return Check::fail("registries", format!("{}: {error}", file.display()), "log in again: `docker login`");
        }
        Ok(value) => value.to_json(),
    };
    let members = |name: &str| match value.get(name) {
        Some(Json::Object(members)) => members.clone(),
        _ => Vec::new(),
    };
    let mut helpers: BTreeSet<String> =
        members("credHelpers").iter().filter_map(|(_, helper)| helper.as_str().map(str::to_owned)).collect();
    helpers.extend(value.get("credsStore").and_then(Json::as_str).map(str::to_owned));
    let missing: Vec<String> = helpers
        .iter()
        .map(|helper| format!("docker-credential-{helper}"))
        .filter(|program| find(program, path).is_none())
        .collect();
    if missing.is_empty() {
        let (logins, helpers) = (members("auths").len(), helpers.len());
        return Check::ok("registries", format!("{logins} logins, {helpers} programs that keep passwords"));
    }
    let found = format!("{} names {}, which is not installed", file.display(), missing.join(", "));
    Check::warn(
        "registries",
        found,
        "install it, or log in without: `docker login`; or PVR_REGISTRY_USERNAME and PVR_REGISTRY_PASSWORD",
    )
}
