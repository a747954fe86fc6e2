//! What it takes to get from one revision to another: a reboot, or which containers stop and start.
//!
//! A pure function of two lists of rows, and **total before anything is stopped**: [`decide`] has seen every row when
//! it answers, so a reboot is never discovered halfway, and a tool can show the answer without acting on it.
//!
//! | what was added, removed or changed                                      | takes                   |
//! |-------------------------------------------------------------------------|-------------------------|
//! | `#spec`, anything below `_sigs/`, a `…/src.json`, a `…/build.json`      | nothing: it is invisible |
//! | a file that no container owns, in the old or in the new revision        | a reboot                |
//! | a file whose owner has policy `system`, in the old or the new revision  | a reboot                |
//! | a file of a container with policy `container`                           | that container          |
//!
//! Rows come sorted by path (as bytes, each path once). Rows out of order can only make two revisions look *more*
//! different than they are, so a mistake there costs a reboot and never leaves an old file in use.

use core::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::container::RestartPolicy;
use crate::ids::Digest;
use crate::journal::Transition;

/// Whose file it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Owner<'a> {
    /// The container of this name.
    Container(&'a str),
    /// No container: kernel, device configuration, text for people.
    Base,
}

/// One file of a revision.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Row<'a> {
    /// Its key in the state.
    #[serde(borrow)]
    pub path: &'a str,
    /// Whose it is.
    #[serde(borrow)]
    pub owner: Owner<'a>,
    /// The policy of its owner, inherited or its own. Of no meaning for [`Owner::Base`].
    pub policy: RestartPolicy,
    /// Its content: the object's id, or the digest of an inline value's raw text.
    pub digest: Digest,
}

/// What happens to one container.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Change<'a> {
    /// Only the old revision has it.
    Stop(&'a str),
    /// Only the new revision has it.
    Start(&'a str),
    /// Both have it, with different files: stop the old one, start the new one.
    Replace(&'a str),
    /// Both have it, with the same files: it runs on.
    Keep(&'a str),
}

/// Why a transition takes a reboot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Because<'a> {
    /// The file at this path differs, and no container owns it.
    Base(&'a str),
    /// A file of this container differs, and its policy is `system`.
    System(&'a str),
}

/// The answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Decision<'a> {
    /// Through the bootloader; with the first reason, in the order of paths.
    Reboot(Because<'a>),
    /// By stopping and starting containers.
    InPlace(InPlace<'a>),
}

/// A transition that needs no reboot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct InPlace<'a> {
    old: &'a [Row<'a>],
    new: &'a [Row<'a>],
}

/// Decides how to get from `old` to `new`.
#[must_use]
pub fn decide<'a>(old: &'a [Row<'a>], new: &'a [Row<'a>]) -> Decision<'a> {
    match differences(old, new).find_map(Difference::reboot) {
        Some(because) => Decision::Reboot(because),
        None => Decision::InPlace(InPlace { old, new }),
    }
}

impl Decision<'_> {
    /// The kind of transition, as the journal knows it.
    #[must_use]
    pub fn by(&self) -> Transition {
        match self {
            Self::Reboot(_) => Transition::Reboot,
            Self::InPlace(_) => Transition::InPlace,
        }
    }
}

impl<'a> InPlace<'a> {
    /// What happens to each container of the two revisions, each named once: first those of the new revision, then
    /// those that only the old one has.
    pub fn changes(self) -> impl Iterator<Item = Change<'a>> {
        let Self { old, new } = self;
        let kept = owners(new).map(move |name| match (owns(old, name), self.touches(name)) {
            (false, _) => Change::Start(name),
            (true, true) => Change::Replace(name),
            (true, false) => Change::Keep(name),
        });
        let gone = owners(old).filter(move |name| !owns(new, name)).map(Change::Stop);
        kept.chain(gone)
    }

    /// Whether nothing has to be done at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        differences(self.old, self.new).next().is_none()
    }

    fn touches(&self, name: &str) -> bool {
        differences(self.old, self.new)
            .any(|difference| difference.sides().any(|row| row.owner == Owner::Container(name)))
    }
}

/// Whether a path is invisible to transitions: it says where a file came from, or who vouches for it.
fn is_invisible(path: &str) -> bool {
    path == "#spec" || path.starts_with("_sigs/") || path.ends_with("/src.json") || path.ends_with("/build.json")
}

/// The containers of a revision, each once, in the order of their first path.
fn owners<'a>(rows: &'a [Row<'a>]) -> impl Iterator<Item = &'a str> {
    rows.iter().enumerate().filter_map(move |(at, row)| match row.owner {
        Owner::Container(name) if !rows.iter().take(at).any(|earlier| earlier.owner == row.owner) => Some(name),
        Owner::Container(_) | Owner::Base => None,
    })
}

fn owns(rows: &[Row<'_>], name: &str) -> bool {
    rows.iter().any(|row| row.owner == Owner::Container(name))
}

/// A visible path whose row is not the same on both sides. At least one side is there.
#[derive(Clone, Copy)]
struct Difference<'a> {
    old: Option<&'a Row<'a>>,
    new: Option<&'a Row<'a>>,
}

impl<'a> Difference<'a> {
    fn sides(self) -> impl Iterator<Item = &'a Row<'a>> {
        [self.old, self.new].into_iter().flatten()
    }

    fn reboot(self) -> Option<Because<'a>> {
        self.sides().find_map(|row| match (row.owner, row.policy) {
            (Owner::Base, _) => Some(Because::Base(row.path)),
            (Owner::Container(name), RestartPolicy::System) => Some(Because::System(name)),
            (Owner::Container(_), RestartPolicy::Container) => None,
        })
    }
}

/// Walks both lists side by side. A file that changed hands, or whose owner's policy changed, is a difference too, even
/// if its bytes are the same.
fn differences<'a>(old: &'a [Row<'a>], new: &'a [Row<'a>]) -> impl Iterator<Item = Difference<'a>> {
    let visible = |row: &&Row<'_>| !is_invisible(row.path);
    let mut old = old.iter().filter(visible).peekable();
    let mut new = new.iter().filter(visible).peekable();
    let pairs = core::iter::from_fn(move || {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.path.cmp(new.path),
        };
        Some(match order {
            Ordering::Less => Difference { old: old.next(), new: None },
            Ordering::Equal => Difference { old: old.next(), new: new.next() },
            Ordering::Greater => Difference { old: None, new: new.next() },
        })
    });
    pairs.filter(|pair| match (pair.old, pair.new) {
        (Some(old), Some(new)) => {
            let policy_counts = old.owner != Owner::Base && old.policy != new.policy;
            old.digest != new.digest || old.owner != new.owner || policy_counts
        }
        (Some(_), None) | (None, Some(_)) => true,
        (None, None) => false,
    })
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn row<'a>(path: &'a str, owner: Owner<'a>, policy: RestartPolicy, content: u8) -> Row<'a> {
        Row { path, owner, policy, digest: Digest([content; 32]) }
    }

    fn base(path: &str, content: u8) -> Row<'_> {
        row(path, Owner::Base, RestartPolicy::Container, content)
    }

    fn app<'a>(path: &'a str, name: &'a str, content: u8) -> Row<'a> {
        row(path, Owner::Container(name), RestartPolicy::Container, content)
    }

    fn system<'a>(path: &'a str, name: &'a str, content: u8) -> Row<'a> {
        row(path, Owner::Container(name), RestartPolicy::System, content)
    }

    fn changes<'a>(old: &'a [Row<'a>], new: &'a [Row<'a>]) -> Vec<Change<'a>> {
        match decide(old, new) {
            Decision::InPlace(plan) => plan.changes().collect(),
            Decision::Reboot(because) => panic!("reboot: {because:?}"),
        }
    }

    fn reboots<'a>(old: &'a [Row<'a>], new: &'a [Row<'a>]) -> Because<'a> {
        match decide(old, new) {
            Decision::Reboot(because) => because,
            Decision::InPlace(plan) => panic!("in place: {:?}", plan.changes().collect::<Vec<_>>()),
        }
    }

    #[test]
    fn the_same_revision_leaves_everything_alone() {
        let rows = [base("#spec", 1), app("a/run.json", "a", 1), base("bsp/run.json", 1), app("b/run.json", "b", 1)];
        assert_eq!(changes(&rows, &rows), [Change::Keep("a"), Change::Keep("b")]);
        assert!(matches!(decide(&rows, &rows), Decision::InPlace(plan) if plan.is_empty()));
    }

    #[test]
    fn only_the_container_that_changed_is_replaced() {
        let old = [app("a/root", "a", 1), app("a/run.json", "a", 1), app("b/run.json", "b", 1)];
        let new = [app("a/root", "a", 2), app("a/run.json", "a", 1), app("b/run.json", "b", 1)];
        assert_eq!(changes(&old, &new), [Change::Replace("a"), Change::Keep("b")]);
        assert_eq!(decide(&old, &new).by(), Transition::InPlace);
    }

    #[test]
    fn a_container_is_replaced_when_one_of_its_files_comes_or_goes() {
        let few = [app("a/run.json", "a", 1)];
        let many = [app("_config/a/etc/x", "a", 1), app("a/run.json", "a", 1)];
        assert_eq!(changes(&few, &many), [Change::Replace("a")]);
        assert_eq!(changes(&many, &few), [Change::Replace("a")]);
    }

    #[test]
    fn a_container_comes_and_another_goes() {
        let old = [app("a/run.json", "a", 1), app("b/run.json", "b", 1)];
        let new = [app("b/run.json", "b", 1), app("c/root", "c", 1), app("c/run.json", "c", 1)];
        assert_eq!(changes(&old, &new), [Change::Keep("b"), Change::Start("c"), Change::Stop("a")]);
    }

    #[test]
    fn a_file_without_an_owner_takes_a_reboot_however_it_differs() {
        let without = [app("a/run.json", "a", 1)];
        let with = [app("a/run.json", "a", 1), base("device.json", 1)];
        let changed = [app("a/run.json", "a", 1), base("device.json", 2)];
        for (old, new) in [(&without[..], &with[..]), (&with, &without), (&with, &changed)] {
            assert_eq!(reboots(old, new), Because::Base("device.json"));
            assert_eq!(decide(old, new).by(), Transition::Reboot);
        }
    }

    #[test]
    fn a_system_container_takes_a_reboot_in_the_old_or_the_new_revision() {
        let app = [app("a/run.json", "a", 1)];
        let (one, two) = ([system("a/run.json", "a", 1)], [system("a/run.json", "a", 2)]);
        for (old, new) in [(&app[..], &two[..]), (&two, &app), (&one, &two), (&[], &one), (&one, &[]), (&app, &one)] {
            assert_eq!(reboots(old, new), Because::System("a"));
        }
    }

    #[test]
    fn an_unchanged_system_container_needs_nothing() {
        let old = [app("a/run.json", "a", 1), system("s/run.json", "s", 1)];
        let new = [app("a/run.json", "a", 2), system("s/run.json", "s", 1)];
        assert_eq!(changes(&old, &new), [Change::Replace("a"), Change::Keep("s")]);
    }

    #[test]
    fn provenance_and_signatures_are_invisible() {
        let old = [base("#spec", 1), base("_sigs/a.json", 1), app("a/build.json", "a", 1), app("a/run.json", "a", 1)];
        let new = [app("a/run.json", "a", 1), app("a/src.json", "a", 1), base("bsp/src.json", 7)];
        assert_eq!(changes(&old, &new), [Change::Keep("a")]);
    }

    #[test]
    fn only_whole_names_are_invisible() {
        for path in ["#specs", "_sigs", "a/mysrc.json", "src.json", "a/src.json.bak"] {
            assert_eq!(reboots(&[], &[base(path, 1)]), Because::Base(path));
        }
    }

    #[test]
    fn files_left_behind_by_a_removed_container_take_a_reboot() {
        let old = [app("a/root", "a", 1), app("a/run.json", "a", 1)];
        let new = [base("a/root", 1)];
        assert_eq!(reboots(&old, &new), Because::Base("a/root"));
    }

    #[test]
    fn a_reboot_is_known_before_any_change_is_named() {
        let old = [app("a/run.json", "a", 1), base("z", 1)];
        let new = [app("a/run.json", "a", 2), base("z", 2)];
        assert_eq!(reboots(&old, &new), Because::Base("z"));
    }

    #[test]
    fn rows_out_of_order_never_hide_a_difference() {
        let old = [app("b/run.json", "b", 1), app("a/run.json", "a", 1)];
        let new = [app("a/run.json", "a", 2), app("b/run.json", "b", 1)];
        assert!(changes(&old, &new).contains(&Change::Replace("a")));
    }
}
