//! What a commit signs, so that a strict device takes the state as it is.
//!
//! | a signature | |
//! |---|---|
//! | that still fits | stays, byte for byte |
//! | of ours that no longer fits | is made again with its own patterns; if nothing is left for it to sign, it goes |
//! | of somebody else's that no longer fits | stops the commit: no device would take it, and we cannot make it |
//! | that names no key | stays, and counts as if it fitted |
//!
//! Then every key that is not covered yet is signed, part by part, with patterns that devices and tools read alike:
//!
//! ```text
//!   X/…, _config/X/…       _sigs/X.json       X/**  _config/X/**          without X/src.json, _sigs/X.json
//!   device.json, #spec     _sigs/bsp.json     beside bsp/**, if the state has a base
//!   every other one        _sigs/_root.json   by its full name; also what lies in a part that somebody else signs
//! ```

use std::collections::{BTreeMap, BTreeSet};

use formats::glob::Dialect;
use formats::json::Json;
use formats::signature::{PATTERNS_MAX, Selected};
use formats::state::Revision;

use super::claimed::{Examined, Verdict, examine};
use super::keys::DeveloperKey;
use crate::error::{Error, Result};
use crate::state::State;

/// The part of what belongs to no other; no container can be called so.
const ROOT: &str = "_root";

/// What was done to one signature.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// It was made, or made again.
    Signed(String),
    /// It was taken out, because nothing is left that it could sign.
    Dropped(String),
}

impl Step {
    /// The key of the signature.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Signed(key) | Self::Dropped(key) => key,
        }
    }

    /// Whether it was taken out.
    #[must_use]
    pub const fn is_removal(&self) -> bool {
        matches!(self, Self::Dropped(_))
    }
}

/// The patterns of one signature.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Patterns {
    include: Vec<String>,
    exclude: Vec<String>,
}

/// Signs a state in place. Returns what was done.
///
/// # Errors
/// A signature of somebody else's does not fit, or a file is named so that it cannot be signed.
pub fn sign(state: &mut State, key: &DeveloperKey) -> Result<Vec<Step>> {
    let mut steps: BTreeMap<String, Step> = BTreeMap::new();
    let revision = state.revision()?;
    let mut standing = Vec::new();
    for one in examine(&revision, Some(key))? {
        match one.verdict {
            // Fits, and says nothing: its part is gone.
            Verdict::Fits(_) if one.ours && !one.selection.0.contains(&Selected::Included) => {
                state.remove(&one.signature.key);
                steps.insert(one.signature.key.clone(), Step::Dropped(one.signature.key));
            }
            Verdict::Fits(_) | Verdict::Keyless => standing.push(one),
            Verdict::Broken if one.ours => {
                renew(state, &revision, &one, key, &mut steps)?;
                standing.push(one);
            }
            Verdict::Broken => return Err(foreign(&one)),
        }
    }
    standing.retain(|one| state.get(&one.signature.key).is_some());
    for (name, patterns) in missing(&revision, &standing)? {
        let signature = format!("_sigs/{name}.json");
        let document = key.sign(&revision, &texts(&patterns.include), &texts(&patterns.exclude))?;
        let document = document.ok_or_else(|| Error::internal(format!("nothing to sign for {signature}")))?;
        state.set(&signature, document);
        steps.insert(signature.clone(), Step::Signed(signature));
    }
    proved(state, key)?;
    Ok(steps.into_values().collect())
}

/// Makes one of ours again, with its own patterns.
fn renew(
    state: &mut State,
    revision: &Revision,
    one: &Examined,
    key: &DeveloperKey,
    steps: &mut BTreeMap<String, Step>,
) -> Result<()> {
    let name = &one.signature.key;
    let list = |patterns: &[formats::glob::Pattern]| patterns.iter().map(|p| p.as_str().to_owned()).collect::<Vec<_>>();
    let (include, exclude) = (list(&one.signature.include), list(&one.signature.exclude));
    let step = match key.sign(revision, &texts(&include), &texts(&exclude))? {
        Some(document) => {
            state.set(name, document);
            Step::Signed(name.clone())
        }
        None => {
            state.remove(name);
            Step::Dropped(name.clone())
        }
    };
    steps.insert(name.clone(), step);
    Ok(())
}

fn texts(patterns: &[String]) -> Vec<&str> {
    patterns.iter().map(String::as_str).collect()
}

fn foreign(one: &Examined) -> Error {
    let key = &one.signature.key;
    Error::user(format!("{key}: made with another key, and does not fit what you commit; devices would refuse it")).hint(
        format!("take back what you changed below it; or have its owner sign again; or `rm {key}` to sign with your own key; or commit with --no-sign"),
    )
}

/// The keys that nothing covers, as a strict device counts.
fn uncovered<'r>(revision: &'r Revision, standing: &[Examined]) -> Vec<&'r str> {
    let says = |row: usize, what| standing.iter().any(|one| one.selection.0.get(row) == Some(&what));
    let is_open = |row: usize, key: &str| {
        let excused = matches!(key.split_once('/'), Some((_, "src.json") | ("bsp", "pantavisor.fit")));
        !(key.starts_with("_sigs/") || says(row, Selected::Included) || excused && says(row, Selected::Excluded))
    };
    revision.entries().enumerate().filter(|(row, entry)| is_open(*row, entry.key)).map(|(_, entry)| entry.key).collect()
}

/// The part that signs a key, and the literal that the part's own patterns do not have.
fn part_of<'k>(key: &'k str, revision: &Revision) -> (&'k str, bool) {
    let own = key.strip_prefix("_config/").unwrap_or(key);
    let has_base = || revision.entries().any(|entry| entry.key.starts_with("bsp/"));
    match own.split_once('/') {
        Some((part, _)) => (part, false),
        None if matches!(key, "#spec" | "device.json") && has_base() => ("bsp", true),
        None => (ROOT, true),
    }
}

/// The signatures that have to be made.
fn missing(revision: &Revision, standing: &[Examined]) -> Result<BTreeMap<String, Patterns>> {
    let of_others: BTreeSet<&str> =
        standing.iter().filter(|one| !one.ours).map(|one| one.signature.key.as_str()).collect();
    let is_of_others = |part: &str| of_others.contains(format!("_sigs/{part}.json").as_str());
    let mut parts: BTreeMap<String, Patterns> = BTreeMap::new();
    for key in uncovered(revision, standing) {
        let (part, literal) = part_of(key, revision);
        let signs_more = |prefix: &str| {
            let source = format!("{part}/src.json");
            revision.entries().any(|entry| entry.key.starts_with(prefix) && entry.key != source)
        };
        // A part with nothing but its source would sign nothing.
        let alone = !literal && !signs_more(&format!("{part}/")) && !signs_more(&format!("_config/{part}/"));
        let (part, literal) = if alone || is_of_others(part) { (ROOT, true) } else { (part, literal) };
        if is_of_others(part) {
            return Err(Error::user(format!("{key} is not signed, and _sigs/{part}.json is somebody else's"))
                .hint("sign it under another name: pvr sig add --raw NAME -i PATTERN"));
        }
        let patterns = parts.entry(part.into()).or_insert_with(|| start(part, revision, standing));
        if literal {
            patterns.include.push(escape(key));
        }
    }
    for (part, patterns) in &mut parts {
        let mut seen = BTreeSet::new();
        patterns.include.retain(|pattern| seen.insert(pattern.clone()));
        if patterns.include.len() > PATTERNS_MAX {
            return Err(Error::user(format!("_sigs/{part}.json would need more than {PATTERNS_MAX} patterns"))
                .hint("put the files of the root into a directory: a directory needs one"));
        }
    }
    Ok(parts)
}

/// The patterns that a part begins with: its own, and those that our signature of it has already.
fn start(part: &str, revision: &Revision, standing: &[Examined]) -> Patterns {
    let mut patterns = Patterns::default();
    if part != ROOT {
        let part = escape(part);
        patterns.include = vec![format!("{part}/**"), format!("_config/{part}/**")];
        patterns.exclude = vec![format!("{part}/src.json"), format!("_sigs/{part}.json")];
    }
    if let Some(old) = standing.iter().find(|one| one.signature.key == format!("_sigs/{part}.json")) {
        let says_something = |pattern: &&formats::glob::Pattern| {
            revision.entries().any(|entry| pattern.matches(entry.key, Dialect::Device))
        };
        patterns.include.extend(old.signature.include.iter().filter(says_something).map(|p| p.as_str().to_owned()));
    }
    patterns
}

/// A name as a pattern that matches it alone.
fn escape(name: &str) -> String {
    name.chars().flat_map(|c| "*?[]{}\\".contains(c).then_some('\\').into_iter().chain([c])).collect()
}

/// The signed state, looked at once more: what is returned as signed is.
fn proved(state: &State, key: &DeveloperKey) -> Result<()> {
    let revision = state.revision()?;
    let examined = examine(&revision, Some(key))?;
    // One may have signed the signatures that we have just made. Somebody else's we cannot make again; for one of our
    // own there may be no order in which it could be.
    match examined.iter().find(|one| one.verdict == Verdict::Broken) {
        Some(broken) if broken.ours => {
            let key = &broken.signature.key;
            return Err(Error::user(format!("{key}: signs other signatures, which change when they are made again"))
                .hint(format!("`rm {key}`, and let the commit sign; or commit with --no-sign")));
        }
        Some(broken) => return Err(foreign(broken)),
        None => {}
    }
    match uncovered(&revision, &examined).first() {
        Some(key) => Err(Error::internal(format!("{key} was not signed")).hint("commit with --no-sign meanwhile")),
        None => Ok(()),
    }
}

/// What a strict device would say against the signatures of a state, in words: those that do not fit, and how much is not
/// signed. Nothing if it would take them, provided that it trusts their keys.
///
/// # Errors
/// A signature that cannot be read.
pub fn gaps(revision: &Revision) -> Result<Vec<String>> {
    let Gaps { broken, open } = Gaps::of(revision)?;
    let mut gaps: Vec<String> =
        broken.iter().map(|key| format!("{key}: does not fit this state; devices will refuse it")).collect();
    if let Some(first) = open.first() {
        gaps.push(format!("{} paths are not signed ({first}, …); strict devices will refuse them", open.len()));
    }
    Ok(gaps)
}

/// The keys that no signature covers, as a strict device counts that trusts whoever made them.
///
/// # Errors
/// A signature that cannot be read.
pub fn unsigned(revision: &Revision) -> Result<Vec<&str>> {
    Ok(uncovered(revision, &examine(revision, None)?))
}

/// What a strict device would say against the signatures of a state, by name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Gaps {
    /// Signatures that do not fit.
    pub broken: Vec<String>,
    /// Files that none covers.
    pub open: Vec<String>,
}

impl Gaps {
    /// Those of a state.
    ///
    /// # Errors
    /// A signature that cannot be read.
    pub fn of(revision: &Revision) -> Result<Self> {
        let examined = examine(revision, None)?;
        let broken = examined.iter().filter(|one| one.verdict == Verdict::Broken);
        Ok(Self {
            broken: broken.map(|one| one.signature.key.clone()).collect(),
            open: uncovered(revision, &examined).into_iter().map(str::to_owned).collect(),
        })
    }
}

/// The patterns of `sig add --part`.
#[must_use]
pub fn part_patterns(part: &str, with_config: bool) -> (Vec<String>, Vec<String>) {
    let part = escape(part);
    let mut include = vec![format!("{part}/**")];
    include.extend(with_config.then(|| format!("_config/{part}/**")));
    (include, vec![format!("{part}/src.json"), format!("_sigs/{part}.json")])
}

/// Signs with given patterns.
///
/// # Errors
/// The patterns select nothing, or devices and tools read them differently.
pub fn sign_one(revision: &Revision, key: &DeveloperKey, include: &[String], exclude: &[String]) -> Result<Json> {
    key.sign(revision, &texts(include), &texts(exclude))?.ok_or_else(|| {
        Error::user(format!("{} selects nothing of the committed state", include.join(", ")))
            .hint("commit the files first; patterns are `X/**` and full names")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::keys::KeyFiles;
    use formats::verify::{Mode, Policy, Untrusted, verify};
    use std::path::Path;

    const ID: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn key() -> DeveloperKey {
        let scratch = tempfile::tempdir().unwrap();
        KeyFiles::of(scratch.path()).open_or_make().unwrap().0
    }

    fn state(keys: &[&str]) -> State {
        let mut state = State::new(formats::state::SPEC);
        for key in keys {
            let value: Json = if key.ends_with(".json") { Json::object() } else { ID.into() };
            state.set(key, value);
        }
        State::parse(state.canonical().as_bytes(), Path::new("test")).unwrap()
    }

    fn is_strict(state: &State, key: &DeveloperKey) -> bool {
        let policy = Policy { mode: Mode::Strict, boot_chain_checks_fit: false };
        let trust = key.trust();
        verify(Untrusted::new(state.revision().unwrap()), policy, &trust.at(std::time::Duration::ZERO)).is_ok()
    }

    fn signed(steps: &[Step]) -> Vec<&str> {
        steps.iter().map(Step::key).collect()
    }

    #[test]
    fn whatever_is_in_a_state_a_strict_device_takes_it_signed() {
        let key = key();
        for keys in [
            &[][..],
            &["README.md", "device.json"],
            &["bsp/kernel.img", "bsp/src.json", "bsp/pantavisor.fit", "device.json", "x"],
            &["web/x", "web/src.json", "web/build.json", "_config/web/a b", "_config/only/x", "_config/loose"],
            &["alone/src.json", "a[b]/x", "{c,d}/x", "e*/x", "f\\g", "_hostconfig/pvr/docker.json", "a/b/src.json"],
        ] {
            let mut state = state(keys);
            let steps = sign(&mut state, &key).unwrap();
            assert!(is_strict(&state, &key), "{keys:?}: {steps:?}");
            assert_eq!(sign(&mut state, &key).unwrap(), [], "signing again changes nothing: {keys:?}");
        }
    }

    #[test]
    fn a_part_is_signed_by_itself_so_that_a_change_leaves_the_others_alone() {
        let key = key();
        let mut state = state(&["bsp/kernel.img", "device.json", "web/x", "db/x", "_config/db/y", "README.md"]);
        let steps = sign(&mut state, &key).unwrap();
        assert_eq!(signed(&steps), ["_sigs/_root.json", "_sigs/bsp.json", "_sigs/db.json", "_sigs/web.json"]);
        let before = state.clone();
        state.set("_config/db/y", formats::object::ObjectId::of(b"new").to_string().into());
        assert_eq!(signed(&sign(&mut state, &key).unwrap()), ["_sigs/db.json"]);
        assert_eq!(before.get("_sigs/web.json"), state.get("_sigs/web.json"));
        assert!(is_strict(&state, &key));
    }

    #[test]
    fn a_signature_of_ours_goes_with_the_last_thing_it_signed() {
        let key = key();
        let mut state = state(&["web/x", "db/x"]);
        sign(&mut state, &key).unwrap();
        state.remove("web/x");
        assert_eq!(sign(&mut state, &key).unwrap(), [Step::Dropped("_sigs/web.json".into())]);
        assert!(is_strict(&state, &key));
    }

    #[test]
    fn a_signature_of_somebody_else_is_kept_while_it_fits_and_stops_a_commit_when_it_does_not() {
        let (ours, theirs) = (key(), key());
        let mut state = state(&["web/x", "web/src.json"]);
        let (include, exclude) = part_patterns("web", true);
        let document = sign_one(&state.revision().unwrap(), &theirs, &include, &exclude).unwrap();
        state.set("_sigs/web.json", document.clone());
        assert_eq!(signed(&sign(&mut state, &ours).unwrap()), ["_sigs/_root.json"]);
        assert_eq!(state.get("_sigs/web.json"), Some(&document));
        state.set("web/y", ID.into());
        let error = sign(&mut state, &ours).unwrap_err();
        assert!(error.message.starts_with("_sigs/web.json: made with another key"), "{error}");
    }

    #[test]
    fn what_somebody_else_left_unsigned_in_a_part_is_signed_beside_it() {
        let (ours, theirs) = (key(), key());
        let mut state = state(&["web/x", "web/y"]);
        let document = sign_one(&state.revision().unwrap(), &theirs, &["web/x".into()], &[]).unwrap();
        state.set("_sigs/web.json", document);
        assert_eq!(signed(&sign(&mut state, &ours).unwrap()), ["_sigs/_root.json"]);
        assert_eq!(sign(&mut state, &ours).unwrap(), []);
    }

    #[test]
    fn a_signature_over_all_signatures_is_not_spoiled_silently() {
        let (ours, theirs) = (key(), key());
        let mut state = state(&["web/x", "db/x"]);
        state.set("_sigs/old.json", sign_one(&state.revision().unwrap(), &theirs, &["db/**".into()], &[]).unwrap());
        let all = sign_one(
            &state.revision().unwrap(),
            &theirs,
            &["web/**".into(), "_sigs/**".into()],
            &["_sigs/all.json".into()],
        );
        state.set("_sigs/all.json", all.unwrap());
        let error = sign(&mut state, &ours).unwrap_err();
        assert!(error.message.contains("_sigs/all.json"), "{error}");
    }
}
