//! The files of a revision as a transition looks at them: whose each one is, and what a change of it means.
//!
//! Devices decide by these how they get to a revision, and tools tell it beforehand; both ask
//! [`decide`](statemachine::transition::decide) about the same rows, so that what was told is what happens.
//!
//! API: [`Files::of`], [`Files::rows`]; [`spread`] for who is restarted along with others.

use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use statemachine::container::RestartPolicy;
use statemachine::ids::Digest;
use statemachine::transition::{Owner, Row};

use crate::group;
use crate::object::sha256;
use crate::path::ContainerName;
use crate::resolve::Container;
use crate::state::{self, Class, Revision};

/// The files of a revision, sorted by path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Files(Vec<File>);

#[derive(Clone, PartialEq, Eq, Debug)]
struct File {
    path: String,
    /// `None` is the base.
    owner: Option<ContainerName>,
    policy: RestartPolicy,
    digest: Digest,
}

impl Files {
    /// Those of a revision whose containers were resolved.
    #[must_use]
    pub fn of(revision: &Revision, containers: &[Container]) -> Self {
        let policies: BTreeMap<&ContainerName, RestartPolicy> =
            containers.iter().map(|one| (&one.manifest.name, one.restart_policy.into())).collect();
        let mut files: Vec<File> = revision
            .entries()
            .filter(|entry| !matches!(entry.class, Class::Spec | Class::Ignored))
            .map(|entry| {
                let owner = match revision.owner(entry.key) {
                    state::Owner::Container(name) => Some(name.clone()),
                    state::Owner::System => None,
                };
                let digest = match entry.class {
                    Class::Object(id) => Digest(*id.as_bytes()),
                    _ => Digest(sha256(entry.raw.as_bytes())),
                };
                let policy = owner.as_ref().and_then(|name| policies.get(name).copied());
                File { path: entry.key.to_owned(), policy: policy.unwrap_or(RestartPolicy::System), owner, digest }
            })
            .collect();
        files.sort_by(|left, right| left.path.cmp(&right.path));
        Self(files)
    }

    /// They, as a transition wants them.
    #[must_use]
    pub fn rows(&self) -> Vec<Row<'_>> {
        self.0.iter().map(File::row).collect()
    }
}

impl File {
    fn row(&self) -> Row<'_> {
        let owner = self.owner.as_ref().map_or(Owner::Base, |name| Owner::Container(name.as_str()));
        Row { path: &self.path, owner, policy: self.policy, digest: self.digest }
    }
}

impl From<group::RestartPolicy> for RestartPolicy {
    fn from(policy: group::RestartPolicy) -> Self {
        match policy {
            group::RestartPolicy::System => Self::System,
            group::RestartPolicy::Container => Self::Container,
        }
    }
}

/// Adds to `touched`, which are the containers that stop or start, who uses volumes of one of them: what it has mounted is
/// no longer what its configuration names. Returns those that were added, in the order in which they were found.
pub fn spread<'c>(
    touched: &mut BTreeSet<String>,
    uses: impl Iterator<Item = (&'c str, &'c BTreeSet<String>)> + Clone,
) -> Vec<String> {
    let mut added = Vec::new();
    loop {
        let next = uses.clone().find(|(name, uses)| !touched.contains(*name) && !uses.is_disjoint(touched));
        let Some((name, _)) = next else { return added };
        touched.insert(name.to_owned());
        added.push(name.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::resolve;
    use alloc::format;
    use alloc::string::ToString as _;
    use statemachine::transition::{Because, Change, Decision, decide};

    fn files(text: &str) -> Files {
        let id = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let text = format!(r##"{{"#spec":"pantavisor-service-system@1",{}}}"##, text.replace("ID", id));
        let revision = Revision::parse(text.as_bytes()).unwrap();
        Files::of(&revision, &resolve(&revision).unwrap().containers)
    }

    const WEB: &str = r#""web/lxc.container.conf":"ID","web/run.json":{"name":"web","type":"lxc","config":"lxc.container.conf","group":"GROUP"}"#;

    #[test]
    fn what_a_change_means_is_inherited_from_the_group() {
        let of = |group: &str, more: &str| files(&format!("{}{more}", WEB.replace("GROUP", group)));
        let (app, more) = (of("app", ""), of("app", r#","_config/web/etc/x":"ID""#));
        let (app, more) = (app.rows(), more.rows());
        let Decision::InPlace(change) = decide(&app, &more) else { panic!() };
        assert_eq!(change.changes().collect::<Vec<_>>(), [Change::Replace("web")]);
        let (root, more) = (of("root", ""), of("root", r#","_config/web/etc/x":"ID""#));
        let (root, more) = (root.rows(), more.rows());
        assert_eq!(decide(&root, &more), Decision::Reboot(Because::System("web")));
    }

    #[test]
    fn who_uses_what_is_touched_is_touched_and_so_on() {
        let uses: Vec<(&str, BTreeSet<String>)> =
            [("a", "b"), ("b", "c"), ("x", "y")].map(|(name, of)| (name, BTreeSet::from([of.to_string()]))).into();
        let mut touched = BTreeSet::from(["c".to_string()]);
        let added = spread(&mut touched, uses.iter().map(|(name, uses)| (*name, uses)));
        assert_eq!(added, ["b", "a"]);
        assert!(!touched.contains("x"));
    }
}
