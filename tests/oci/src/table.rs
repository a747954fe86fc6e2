//! What a case is, and how one is judged.

use anyhow::{Result, anyhow, bail};
use serde_json::Value;

use crate::cases;
use crate::report::Verdict;
use crate::world::{Seen, World};

/// How a bundle differs from the plain one.
pub(crate) type Change = fn(&mut Value);

/// One case.
pub(crate) struct Case {
    /// The name that the public list of cases has for it, and after a slash what of it.
    pub(crate) name: &'static str,
    /// Where the specification says so: file and heading.
    pub(crate) section: &'static str,
    /// How it is shown.
    pub(crate) how: How,
}

/// How a case is shown.
pub(crate) enum How {
    /// The container says so itself; the same question to one of the other bundle has another answer.
    Inside {
        /// What the bundle asks for.
        with: Change,
        /// The bundle that must show something else.
        without: Change,
        /// What the container does: lines for a shell, with blanks and without double quotes.
        script: &'static str,
        /// Whether it is so.
        holds: fn(&Seen) -> bool,
    },
    /// The same of a group of cgroups, while the container runs: one of these files has this value, and not without.
    Group {
        /// What the bundle asks for.
        with: Change,
        /// File and value, in the words of either generation.
        files: &'static [(&'static str, &'static str)],
    },
    /// The bundle is wrong: no container is made of it, and the error has these words.
    Wrong { with: Change, words: &'static str },
    /// The bundle cannot be carried out, and is refused with these words.
    Unsayable { with: Change, words: &'static str },
    /// Several operations; a text is why it is skipped.
    Calls(fn(&mut World) -> Result<Option<String>>),
}

/// Nothing is changed.
pub(crate) const PLAIN: Change = |_| {};

/// All cases, in the order of the specification.
pub(crate) fn all() -> impl Iterator<Item = &'static Case> {
    [
        cases::lifecycle::ALL,
        cases::process::ALL,
        cases::mounts::ALL,
        cases::namespaces::ALL,
        cases::linux::ALL,
        cases::groups::ALL,
        cases::hooks::ALL,
    ]
    .into_iter()
    .flatten()
}

impl Case {
    pub(crate) fn judge(&self, world: &mut World) -> Verdict {
        let judged = match &self.how {
            How::Inside { with, without, script, holds } => inside(world, (*with, *without), script, *holds),
            How::Group { with, files } => group(world, *with, files),
            How::Wrong { with, words } => refused(world, *with, words).map(|_| Verdict::Passed),
            How::Unsayable { with, words } => refused(world, *with, words).map(Verdict::Skipped),
            How::Calls(calls) => calls(world).map(|why| why.map_or(Verdict::Passed, Verdict::Skipped)),
        };
        let tidy = world.clean();
        match (judged, tidy) {
            (Ok(verdict), Ok(())) => verdict,
            (Err(error), _) => Verdict::Failed(format!("{error:#}")),
            (_, Err(error)) => Verdict::Failed(format!("cannot be cleaned up: {error:#}")),
        }
    }
}

fn inside(world: &mut World, changes: (Change, Change), script: &str, holds: fn(&Seen) -> bool) -> Result<Verdict> {
    let seen = world.run(changes.0, script)?;
    if !holds(&seen) {
        bail!("it is not so: {seen}");
    }
    let other = world.run(changes.1, script).map_err(|error| anyhow!("without it: {error:#}"))?;
    if holds(&other) {
        bail!("it is so without being asked for, so nothing is shown: {other}");
    }
    Ok(Verdict::Passed)
}

fn group(world: &mut World, with: Change, files: &[(&str, &str)]) -> Result<Verdict> {
    let holds = |values: &[(String, String)]| {
        files.iter().any(|(file, value)| values.iter().any(|(name, is)| name == file && is == value))
    };
    let seen = match world.group(with, files) {
        Ok(seen) => seen,
        Err(error) if !World::kernel_has(files) => {
            return Ok(Verdict::Skipped(format!("this kernel has no such cgroups, and it is refused: {error:#}")));
        }
        Err(error) => return Err(error),
    };
    if !holds(&seen) {
        bail!("its group has {seen:?}");
    }
    let other = world.group(PLAIN, files)?;
    if holds(&other) {
        bail!("without it its group has the same, so nothing is shown: {other:?}");
    }
    Ok(Verdict::Passed)
}

/// The reason.
fn refused(world: &mut World, with: Change, words: &str) -> Result<String> {
    match world.try_to_create(with)? {
        None => bail!("a container was made of it, so it was passed over or carried out; it must be refused"),
        Some(error) if error.contains(words) => {
            // The same bundle without it is fine, so that it is what was refused.
            match world.try_to_create(PLAIN)? {
                None => Ok(error),
                Some(plain) => bail!("the plain bundle is refused as well: {plain}"),
            }
        }
        Some(error) => bail!("it is refused for another reason than {words:?}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_given_once_and_sections_name_a_heading() {
        let names: BTreeSet<_> = all().map(|case| case.name).collect();
        assert_eq!(names.len(), all().count());
        let files = ["runtime.md#", "runtime-linux.md#", "config.md#", "config-linux.md#", "bundle.md#"];
        for case in all() {
            assert!(files.iter().any(|file| case.section.starts_with(file)), "{}: {}", case.name, case.section);
        }
    }
}
