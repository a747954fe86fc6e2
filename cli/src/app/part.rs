//! Containers and base systems that are parts of another state: taken with all their files, and taken again later.
//!
//! ```text
//!   --from ADDRESS#gps,_config/gps      gps/…           ──▶  NAME/…              files, and documents with the new name
//!                                       _config/gps/…   ──▶  _config/NAME/…
//!   NAME/src.json                       pvr: ADDRESS#…, pvr_taken: the SHA-256 of what came
//! ```
//!
//! What came is compared with what is there by that note: files that are as they came can be replaced, and what somebody
//! changed is never lost silently. A signature is of names and bytes, so it comes along only if the name stays.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use formats::json::{self, Json, Limits};
use formats::lxc::Config;
use formats::path::ContainerName;
use formats::run_json::Manifest;

use super::again::Updated;
use super::build::Build;
use super::info::existing;
use super::make::Made;
use super::{CONFIG, RUN, SRC, edits, read_json, recipe};
use crate::error::{Context as _, Error, Result};
use crate::http::Client;
use crate::image::digest::Digest;
use crate::remote::origin::Origin;
use crate::remote::{Address, is_in, objects};
use crate::repo::Repo;
use crate::repo::pool::{Out, hash_file};
use crate::state::{State, object_id};
use crate::watch::{Unwatched, Watch};

/// The name of the base system, which is no container.
const BSP: &str = "bsp";
const BSP_SPEC: &str = "bsp-manifest-src@1";

/// The member of `src.json` that says what came.
const TAKEN: &str = "pvr_taken";

/// What is in place once it is published: its path here, and its path in the work tree.
type Things = Vec<(String, String)>;

/// Refuses a place that is taken.
type Free<'f> = &'f dyn Fn(&str) -> Result<()>;

/// Takes a container, or the base system, of another state. Without a name it is called as there.
///
/// # Errors
/// The state cannot be had or has no such part, it would not be a container, or there is one already; nothing is changed
/// then, but for objects in the pool.
pub fn take(
    repo: &Repo,
    client: &Client,
    name: Option<&str>,
    address: &Address,
    force: bool,
    watch: &dyn Watch,
) -> Result<Made> {
    let part = first(address)?;
    let name = checked(name.unwrap_or(part))?;
    let build = Build::new(repo.books())?;
    let free = |place: &str| match repo.root().join(place).symlink_metadata() {
        Ok(_) if !force => Err(Error::user(format!("there is a {place} already"))
            .hint("give another name; --force replaces it; `pvr app update` takes what is new")),
        _ => Ok(()),
    };
    let (things, warnings) = bring(repo, client, &build, &name, address, (None, &free), watch)?;
    build.publish_all(repo, &things, force)?;
    made(&name, address, warnings)
}

/// Takes it again.
pub(super) fn update(
    repo: &Repo,
    client: &Client,
    name: &str,
    address: &Address,
    force: bool,
    watch: &dyn Watch,
) -> Result<Updated> {
    let directory = existing(repo, name)?;
    first(address)?;
    let src = read_json(&directory.join(SRC))?;
    let noted = src.get(TAKEN).and_then(Json::as_str).and_then(Digest::parse);
    let is = fingerprint(&directory)?;
    let build = Build::new(repo.books())?;
    let (things, warnings) = bring(repo, client, &build, name, address, (Some(&src), &|_| Ok(())), watch)?;
    let mut same = true;
    for (made, place) in &things {
        same &= equal(&build.path().join(made), &repo.root().join(place))?;
    }
    if same {
        return Ok(Updated::Same(address.to_text()));
    }
    if !force && noted != Some(is) && fingerprint(&build.path().join(name))? != is {
        let why = if noted.is_some() { "was changed since it came" } else { "may have been changed since it came" };
        return Err(Error::user(format!("{name} {why} from {}", src.get("pvr").and_then(Json::as_str).unwrap_or("?")))
            .hint("`pvr diff` says what is not committed; --force takes theirs, and what was changed is lost"));
    }
    build.publish_all(repo, &things, true)?;
    made(name, address, warnings).map(Updated::Made)
}

fn made(name: &str, address: &Address, warnings: Vec<String>) -> Result<Made> {
    // `bsp` has no other name, and nothing but messages is made of this one.
    let name = ContainerName::parse(name).or_else(|_| ContainerName::parse("base-system"));
    let name = name.map_err(|why| Error::internal(why.to_string()))?;
    Ok(Made { name, image: address.to_text(), exposed: Vec::new(), warnings })
}

/// The part that becomes the container.
fn first(address: &Address) -> Result<&str> {
    let part = address.selector.parts().next().ok_or_else(|| {
        Error::user(format!("{} does not say which part is meant", address.to_text()))
            .hint("name it after a #: ADDRESS#web, or ADDRESS#web,_config/web")
    })?;
    match part.contains('/') || part.starts_with('_') {
        false => Ok(part),
        true => {
            Err(Error::user(format!("{part} is no container")).hint("the first part is the directory of one, like web"))
        }
    }
}

fn checked(name: &str) -> Result<String> {
    if name != BSP {
        ContainerName::parse(name)
            .map_err(|why| Error::user(format!("a container cannot be called {name:?}: {why}")))?;
    }
    Ok(name.to_owned())
}

/// Brings the parts into a directory of their own. `before` is the `src.json` that there is so far, and `free` refuses a place
/// before anything is fetched for it.
fn bring(
    repo: &Repo,
    client: &Client,
    build: &Build,
    name: &str,
    address: &Address,
    (before, free): (Option<&Json>, Free<'_>),
    watch: &dyn Watch,
) -> Result<(Things, Vec<String>)> {
    let part = first(address)?;
    if (part == BSP) != (name == BSP) {
        return Err(Error::user(format!("{part} cannot become {name}"))
            .hint("a base system is called bsp and nothing else is: `pvr app add bsp --type pvr --from ADDRESS#bsp`"));
    }
    let origin = Origin::open(client, &address.place, watch)?;
    let state = origin.state(watch)?;
    let selector = &address.selector;
    if let Some(part) =
        selector.parts().find(|part| !state.files().any(|(key, _)| is_in(key, part) && selector.takes(key)))
    {
        return Err(Error::user(format!("{} has no part {part:?}", address.place.to_text()))
            .hint("a part is a key of the state or a directory of it"));
    }
    let mut warnings = Vec::new();
    let mut places: BTreeMap<String, String> = BTreeMap::new();
    for (number, one) in selector.parts().enumerate() {
        match placed(one, part, name) {
            Some(place) if number == 0 => drop(places.insert(one.to_owned(), place)),
            // A part of a part comes along with it.
            Some(_) if places.keys().any(|other| is_in(one, other)) => {}
            Some(place) => drop(places.insert(one.to_owned(), place)),
            None => warnings.push(format!(
                "{one} stays where it is: it signs {part}, and this is {name} now; `pvr commit` signs it for you"
            )),
        }
    }
    places.values().try_for_each(|place| free(place))?;
    let taken = |key: &str| selector.takes(key) && places.keys().any(|place| is_in(key, place));
    origin.bring(&objects::of(&state, taken), repo.pool(), watch)?;
    let mut things = Things::new();
    for (number, (one, place)) in places.iter().enumerate() {
        // With its own ending, which says how it is compared.
        let last = one.rsplit('/').next().unwrap_or_default();
        let here = if one == part { name.to_owned() } else { format!("part.{number}/{last}") };
        for (key, value) in state.files().filter(|(key, _)| selector.takes(key) && is_in(key, one)) {
            let target = build.path().join(format!("{here}{}", key.strip_prefix(one.as_str()).unwrap_or_default()));
            write(repo, &state, key, value, &target)?;
        }
        things.push((here, place.clone()));
    }
    let directory = build.path().join(name);
    if !directory.is_dir() {
        return Err(Error::user(format!("{part} is no directory of that state")));
    }
    if name != part {
        rename(&directory, part, name)?;
    }
    let src = source(&directory, name, name != part, address, before)?;
    build.replace(name, SRC, recipe::indented(&src).as_bytes())?;
    Ok((things, warnings))
}

/// Where a part goes that was `first` there and is `name` here; `None` if it means nothing under another name.
fn placed(part: &str, first: &str, name: &str) -> Option<String> {
    if part == format!("_sigs/{first}.json") && first != name {
        return None;
    }
    for above in ["", "_config/"] {
        let of = format!("{above}{first}");
        if is_in(part, &of) {
            return Some(format!("{above}{name}{}", part.strip_prefix(of.as_str()).unwrap_or_default()));
        }
    }
    Some(part.to_owned())
}

fn write(repo: &Repo, state: &State, key: &str, value: &Json, target: &Path) -> Result<()> {
    let above = crate::repo::durable::parent(target);
    fs::create_dir_all(above).context("create", above)?;
    match object_id(value).filter(|_| state.is_object(key)) {
        Some(id) => repo.pool().bring(id, key, target, Out::Copy, &Unwatched),
        None => fs::write(target, value.pretty()).context("write", target),
    }
}

/// Says the new name wherever a container says its own.
fn rename(directory: &Path, old: &str, new: &str) -> Result<()> {
    let name = ContainerName::parse(new).map_err(|why| Error::user(format!("{new:?}: {why}")))?;
    let path = directory.join(RUN);
    if path.exists() {
        let mut run = read_json(&path)?;
        run.set("name", new);
        Manifest::parse(&name, &run.compact(), &mut Vec::new())
            .map_err(|error| Error::user(format!("{old} cannot be called {new}: {error}")))?;
        fs::write(&path, crate::diff::tabbed(&run)).context("write", &path)?;
    }
    let path = directory.join(CONFIG);
    if path.exists() {
        let text = fs::read_to_string(&path).context("read", &path)?;
        let text = text
            .replace(&format!("/volumes/{old}/"), &format!("/volumes/{new}/"))
            .replace(&format!("/pv/logs/{old}.log"), &format!("/pv/logs/{new}.log"));
        Config::parse(text.as_bytes()).map_err(|error| {
            Error::user(format!("{old} is a container that a device would refuse: {CONFIG}: {error}"))
        })?;
        fs::write(&path, text).context("write", &path)?;
    }
    Ok(())
}

/// `src.json`: theirs, with where it came from; what of ours nobody knows stays.
fn source(directory: &Path, name: &str, renamed: bool, address: &Address, before: Option<&Json>) -> Result<Json> {
    let path = directory.join(SRC);
    let spec = if name == BSP { BSP_SPEC } else { recipe::SPEC };
    let mut src = if path.exists() { read_json(&path)? } else { Json::object().with("#spec", spec) };
    if let Some(Json::Object(members)) = before {
        for (member, value) in members.iter().filter(|(member, _)| !recipe::is_known(member)) {
            if member != edits::NOTE && src.get(member).is_none() {
                src.set(member, value.clone());
            }
        }
    }
    drop(src.remove("name"));
    if renamed {
        // It is of documents with another name.
        drop(src.remove(edits::NOTE));
    }
    src.set("pvr", address.to_text());
    drop(src.remove(TAKEN));
    src.set(TAKEN, fingerprint(directory)?.to_string());
    Ok(src)
}

/// What the files of a container are, but its `src.json`: a JSON text by its value, anything else by its bytes.
fn fingerprint(directory: &Path) -> Result<Digest> {
    let mut all = Json::object();
    for (path, digest) in files(directory)? {
        if path != SRC {
            all.set(&path, digest);
        }
    }
    Ok(Digest::of(all.canonical().as_bytes()))
}

/// Whether two files, or two directories, hold the same.
fn equal(one: &Path, other: &Path) -> Result<bool> {
    Ok(other.symlink_metadata().is_ok() && files(one)? == files(other)?)
}

/// The files of a directory, or the one that it is, with what they hold.
fn files(top: &Path) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let mut open = vec![(top.to_owned(), String::new())];
    while let Some((path, name)) = open.pop() {
        let metadata = path.symlink_metadata().context("look at", &path)?;
        if metadata.is_dir() {
            for entry in fs::read_dir(&path).context("read", &path)? {
                let entry = entry.context("read", &path)?;
                let below = entry.file_name().to_string_lossy().into_owned();
                let name = if name.is_empty() { below } else { format!("{name}/{below}") };
                open.push((entry.path(), name));
            }
        } else if metadata.is_file() {
            found.insert(name, contents(&path)?);
        }
    }
    Ok(found)
}

fn contents(path: &Path) -> Result<String> {
    if path.extension().is_some_and(|extension| extension == "json")
        && path.metadata().context("look at", path)?.len() <= Limits::STATE.bytes as u64
    {
        let bytes = fs::read(path).context("read", path)?;
        if let Ok(value) = json::parse(&bytes, Limits::STATE) {
            return Ok(Digest::of(value.to_json().canonical().as_bytes()).to_string());
        }
    }
    hash_file(path, &Unwatched).map(|(id, _)| id.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_goes_where_its_container_goes_and_a_signature_does_not_change_its_name() {
        for (part, place) in [
            ("gps", Some("web")),
            ("gps/x", Some("web/x")),
            ("_config/gps", Some("_config/web")),
            ("_config/gps2", Some("_config/gps2")),
            ("_sigs/gps.json", None),
            ("device.json", Some("device.json")),
        ] {
            assert_eq!(placed(part, "gps", "web").as_deref(), place, "{part}");
        }
        assert_eq!(placed("_sigs/gps.json", "gps", "gps").as_deref(), Some("_sigs/gps.json"));
    }
}
