//! What somebody wrote into the documents of a container that are made of its recipe: making it again would lose that.
//!
//! `src.json` notes what was written, as `rendered`: the SHA-256 of `lxc.container.conf`, and that of `run.json` in its
//! canonical form. Whatever is still that, nobody has touched, whichever version of this program wrote it. Where there is no
//! such note, the file is compared with what the recipe makes today: the one that is there, and the one that was committed.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use formats::json::{self, Json, Limits};

use super::recipe::Recipe;
use super::template::Rendered;
use super::{CONFIG, RUN};
use crate::error::{Context as _, Error, Result};
use crate::image::digest::Digest;

/// The member of `src.json`.
pub(super) const NOTE: &str = "rendered";

/// How many lines a refusal shows.
const SHOWN: usize = 12;

/// A document as lines, and as what does not change when it is only written otherwise.
struct Document {
    lines: Vec<String>,
    digest: Digest,
}

impl Document {
    fn config(bytes: &[u8]) -> Self {
        let lines = String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect();
        Self { lines, digest: Digest::of(bytes) }
    }

    fn run(run: &Json) -> Self {
        let canonical = run.canonical();
        // Members in one order, whoever wrote them.
        let sorted = json::parse(canonical.as_bytes(), Limits::DOCUMENT).map(|value| value.to_json());
        let text = sorted.map_or_else(|_| run.pretty(), |sorted| sorted.pretty());
        let lines = text.lines().map(|line| line.trim().trim_end_matches(',').to_owned()).collect();
        Self { lines, digest: Digest::of(canonical.as_bytes()) }
    }

    fn rendered(rendered: &Rendered, file: &str) -> Option<Self> {
        match file {
            CONFIG => rendered.config.as_ref().map(|text| Self::config(text.as_bytes())),
            _ => Some(Self::run(&rendered.run)),
        }
    }

    fn read(path: &Path, file: &str) -> Result<Option<Self>> {
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.context("read", path)?,
        };
        Ok(Some(match file {
            CONFIG => Self::config(&bytes),
            _ => match json::parse(&bytes, Limits::DOCUMENT) {
                Ok(value) => Self::run(&value.to_json()),
                Err(_) => Self::config(&bytes),
            },
        }))
    }
}

/// Notes in a recipe what its documents are.
pub(super) fn note(recipe: &mut Recipe, rendered: &Rendered) {
    let mut note = Json::object();
    for file in [CONFIG, RUN] {
        if let Some(document) = Document::rendered(rendered, file) {
            note.set(file, document.digest.to_string());
        }
    }
    recipe.set(NOTE, note);
}

/// Refuses to lose what somebody wrote. `before` makes what the recipes so far make: each of them may be what the files are.
pub(super) fn check(
    directory: &Path,
    recipe: &Recipe,
    before: impl FnOnce() -> Vec<Rendered>,
    now: &Rendered,
) -> Result<()> {
    let mut touched = Vec::new();
    for file in [CONFIG, RUN] {
        let Some(found) = Document::read(&directory.join(file), file)? else { continue };
        let noted = recipe.member(NOTE).and_then(|note| note.get(file)).and_then(Json::as_str).and_then(Digest::parse);
        if noted != Some(found.digest) {
            touched.push((file, found));
        }
    }
    if touched.is_empty() {
        return Ok(());
    }
    let before = before();
    let mut lost = Vec::new();
    for (file, found) in touched {
        let made: Vec<_> = before.iter().filter_map(|rendered| Document::rendered(rendered, file)).collect();
        if made.iter().any(|made| made.digest == found.digest) {
            continue;
        }
        let now = Document::rendered(now, file).map(|now| now.lines).unwrap_or_default();
        let made = made.into_iter().next().map(|made| made.lines);
        let shown = |sign: char, line: &String| format!("{file}: {sign} {line}");
        let written = less(&less(&found.lines, made.as_deref().unwrap_or_default()), &now);
        lost.extend(written.iter().map(|line| shown('+', line)));
        let removed = less(&made.unwrap_or_default(), &found.lines);
        lost.extend(removed.iter().filter(|line| now.contains(line)).map(|line| shown('-', line)));
    }
    if lost.is_empty() {
        return Ok(());
    }
    let more = lost.len().saturating_sub(SHOWN);
    lost.truncate(SHOWN);
    let more = if more > 0 { format!("\n  and {more} more") } else { String::new() };
    let whose = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Err(Error::user(format!("what was written into {whose} by hand would be lost:\n  {}{more}", lost.join("\n  "))).hint(
        "say it in src.json instead (lines are the argument PV_LXC_EXTRA_CONF), and it stays; or --force, which loses it",
    ))
}

/// The lines that are in one list and not in another, each as often as it is there more often.
fn less(these: &[String], those: &[String]) -> Vec<String> {
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    those.iter().for_each(|line| *count.entry(line).or_default() += 1);
    let mut left = Vec::new();
    for line in these.iter().filter(|line| !line.trim().is_empty()) {
        match count.get_mut(line.as_str()) {
            Some(n) if *n > 0 => *n -= 1,
            _ => left.push(line.clone()),
        }
    }
    left
}
