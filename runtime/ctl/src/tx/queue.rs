//! Changes that are collected now and made later: each is an entry of a directory, and their names are their order.
//!
//! ```text
//!   001__web/json            the keys of a package; its objects are with those of the queue
//!   002__old.remove          a part that goes; a `/` in its name is written %2F, a `%` is %25
//!   .NAME.new                being written
//! ```
//!
//! An entry is there whole or not at all. A name of another form is an error, since it might have been a change.

use std::fs::{self, File};
use std::path::Path;

use store::dir::Dir;

use super::parts::{Parts, Removed};
use super::place::{state_at, storage};
use crate::failure::Failure;
use crate::tx::Result;

/// Three digits, so that the order of names is the order of numbers.
const LAST: u32 = 999;

const WRITE: &str = "cannot write to the queue";

/// Begins an empty queue.
pub(super) fn begin(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).map_err(Failure::at("cannot make the queue", dir))?;
    if names(dir)?.is_empty() {
        return Ok(());
    }
    Err(Failure::usage(format!("{} has entries already; remove them, or name another directory", dir.display())))
}

/// Puts a package at the end. `name` is only for people.
pub(super) fn add(dir: &Path, name: &str, parts: &Parts) -> Result<()> {
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || "-_.".contains(*c);
    let plain: String = name.chars().map(|c| if is_plain(&c) { c } else { '_' }).take(100).collect();
    let leaf = format!("{:03}__{}", next(dir)?, plain.trim_end_matches(".remove"));
    let draft = dir.join(format!(".{leaf}.new"));
    // One that a power cut has left is written over.
    fs::create_dir_all(&draft).map_err(Failure::at(WRITE, dir))?;
    Dir::open(&draft).and_then(|inside| inside.replace("json", parts.text().as_bytes())).map_err(storage)?;
    fs::rename(&draft, dir.join(&leaf)).and_then(|()| File::open(dir)?.sync_all()).map_err(Failure::at(WRITE, dir))
}

/// Puts a removal at the end.
pub(super) fn remove(dir: &Path, part: &str) -> Result<()> {
    formats::path::key(part).map_err(|why| Failure::usage(format!("{part:?}: {why}")))?;
    let leaf = format!("{:03}__{}.remove", next(dir)?, part.replace('%', "%25").replace('/', "%2F"));
    Dir::open(dir).and_then(|dir| dir.replace(&leaf, b"")).map_err(storage)
}

/// Makes one change.
pub(super) fn apply(dir: &Path, name: &str, parts: &mut Parts) -> Result<Removed> {
    let path = dir.join(name);
    let kind = path.symlink_metadata().map_err(Failure::at("cannot look at", &path))?;
    match name.get(5..).and_then(|part| part.strip_suffix(".remove")) {
        Some(part) if kind.is_file() => parts.remove(&part.replace("%2F", "/").replace("%25", "%")),
        _ if kind.is_dir() => parts.add(&state_at(&path.join("json"))?),
        _ => Err(Failure::wrong("it is neither a package nor NNN__NAME.remove".into())),
    }
}

fn next(dir: &Path) -> Result<u32> {
    let last = names(dir)?.last().and_then(|name| name.get(..3)?.parse().ok()).unwrap_or(0);
    if last >= LAST {
        return Err(Failure::wrong(format!("the queue {} has {LAST} entries, and cannot have more", dir.display())));
    }
    Ok(last + 1)
}

/// Names of entries, in order.
pub(super) fn names(dir: &Path) -> Result<Vec<String>> {
    let cannot = Failure::at("cannot read the queue", dir);
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(cannot)? {
        let name = entry.map_err(cannot)?.file_name();
        match name.to_str() {
            Some(name) if name.starts_with('.') => {}
            Some(name) if is_entry(name.as_bytes()) => {
                let at = names.partition_point(|other: &String| other.as_str() < name);
                names.insert(at, name.to_owned());
            }
            _ => return Err(Failure::wrong(format!("{}: {name:?} is no entry of a queue", dir.display()))),
        }
    }
    Ok(names)
}

fn is_entry(name: &[u8]) -> bool {
    matches!(name, [b'0'..=b'9', b'0'..=b'9', b'0'..=b'9', b'_', b'_', _, ..])
}

#[cfg(test)]
mod tests {
    use super::super::parts::tests::parts;
    use super::*;

    /// The state that comes of a queue.
    fn made(dir: &Path, mut parts: Parts) -> Result<Parts> {
        names(dir)?.iter().try_for_each(|name| apply(dir, name, &mut parts).map(drop))?;
        Ok(parts)
    }

    #[test]
    fn entries_are_made_in_the_order_in_which_they_were_written() {
        let dir = tempfile::tempdir().unwrap();
        begin(dir.path()).unwrap();
        let one = parts(&[("_config/web/a.json", "1"), ("a%2Fb.json", "2"), ("web/a.json", "3"), ("z.json", "4")]);
        add(dir.path(), "web/../x y.remove", &one).unwrap();
        for part in ["web", "_config/web", "a%2Fb.json"] {
            remove(dir.path(), part).unwrap();
        }
        add(dir.path(), "stdin", &parts(&[("web/b.json", "[ ]")])).unwrap();
        let all = [
            "001__web_.._x_y",
            "002__web.remove",
            "003___config%2Fweb.remove",
            "004__a%252Fb.json.remove",
            "005__stdin",
        ];
        assert_eq!(names(dir.path()).unwrap(), all);
        let text = made(dir.path(), Parts::empty()).unwrap().text();
        assert!(text.ends_with(r#","web/b.json":[ ],"z.json":4}"#) && text.matches(':').count() == 3, "{text}");
        assert_eq!(begin(dir.path()).unwrap_err().exit_code(), 1, "a queue is not forgotten by accident");
    }

    #[test]
    fn what_was_being_written_is_no_entry_and_what_is_strange_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(".001__web.new")).unwrap();
        assert_eq!(names(dir.path()).unwrap(), [""; 0]);
        add(dir.path(), "web", &parts(&[])).unwrap();
        assert_eq!(names(dir.path()).unwrap().len(), 1);
        for strange in ["1__x", "web", "001__", "0010_x"] {
            fs::write(dir.path().join(strange), "").unwrap();
            let said = names(dir.path()).unwrap_err().to_string();
            assert!(said.contains(strange), "{said}");
            fs::remove_file(dir.path().join(strange)).unwrap();
        }
        fs::write(dir.path().join("002__file"), "").unwrap();
        assert!(made(dir.path(), Parts::empty()).unwrap_err().to_string().contains("neither a package"));
        fs::remove_file(dir.path().join("002__file")).unwrap();
        fs::create_dir(dir.path().join("002__empty")).unwrap();
        assert!(made(dir.path(), Parts::empty()).unwrap_err().to_string().contains("002__empty/json"));
    }

    #[test]
    fn a_queue_that_is_full_says_so() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("999__x.remove"), "").unwrap();
        assert!(remove(dir.path(), "web").unwrap_err().to_string().contains("999"));
    }
}
