//! What a revision asks for, with nothing left to inherit and nothing that points nowhere.
//!
//! A container belongs to the group it names. One that names none goes, with groups of the revision's own, to the last
//! of them; with the default groups the first such container goes to `root` if nobody names that, and every other to
//! `platform`. Goal, restart policy and recovery come from the container or else from its group.
//!
//! Every name is looked up here, so that a revision which cannot start is refused before it is staged: groups, disks,
//! pools, containers that are waited for, configuration files, images and their verity tables. Services are looked up where
//! it is known what a container has mounted.
//!
//! API: [`resolve`]; [`complaints`] for tools that want to hear more than the first.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::device_json::Device;
use crate::document::{DocumentError, Doubt, Place, Warning, Wrong};
use crate::group::{AutoRecovery, Goal, RestartPolicy};
use crate::path::ContainerName;
use crate::run_json::Manifest;
use crate::state::{Class, Revision};
use crate::volume::Mount;

/// A revision in the words of the device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resolved {
    /// The device as a whole; its groups in the order of starting.
    pub device: Device,
    /// The containers in the order of the text.
    pub containers: Vec<Container>,
    /// What a person should hear about.
    pub warnings: Vec<Warning>,
}

/// A container with everything it inherits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Container {
    /// What it says itself.
    pub manifest: Manifest,
    /// Index of its group.
    pub group: usize,
    /// What it must reach.
    pub status_goal: Goal,
    /// What a change of it means.
    pub restart_policy: RestartPolicy,
    /// How it comes back.
    pub auto_recovery: AutoRecovery,
}

/// Reads and connects all manifests of a revision.
///
/// # Errors
/// The first [`DocumentError`], with document and member.
pub fn resolve(revision: &Revision) -> Result<Resolved, DocumentError> {
    let mut warnings = Vec::new();
    let device = Device::of(revision, &mut warnings)?;
    let mut manifests = Vec::new();
    for name in revision.containers() {
        let text = revision.get(&format!("{name}/run.json")).map_or("", |entry| entry.raw);
        manifests.push(Manifest::parse(name, text, &mut warnings)?);
    }
    check_disks(&device)?;
    let groups = place(&device, &manifests)?;
    let mut containers = Vec::new();
    for (manifest, group) in manifests.into_iter().zip(groups) {
        check_names(revision, &device, &manifest)?;
        // `place` returns indices of this list.
        let Some(from) = device.groups.get(group) else { continue };
        let container = Container {
            status_goal: manifest.status_goal.unwrap_or(from.status_goal),
            restart_policy: manifest.restart_policy.unwrap_or(from.restart_policy),
            auto_recovery: manifest.auto_recovery.unwrap_or(from.auto_recovery),
            group,
            manifest,
        };
        check_startable(&container)?;
        if container.manifest.readiness.is_some() && container.status_goal != Goal::Ready {
            let place = at(&container.manifest.name, "readiness");
            let doubt = Doubt::NoEffect("nobody asks a container whose status_goal is not READY");
            warnings.push(Warning { place, doubt });
        }
        containers.push(container);
    }
    Ok(Resolved { device, containers, warnings })
}

/// What is wrong with the manifests of a revision: the first of each of them. Nothing exactly if [`resolve`] takes it.
#[must_use]
pub fn complaints(revision: &Revision) -> Vec<DocumentError> {
    let (mut found, mut manifests, mut unheard) = (Vec::new(), Vec::new(), Vec::new());
    for name in revision.containers() {
        let text = revision.get(&format!("{name}/run.json")).map_or("", |entry| entry.raw);
        match Manifest::parse(name, text, &mut unheard) {
            Ok(manifest) => manifests.push(manifest),
            Err(error) => found.push(error),
        }
    }
    match Device::of(revision, &mut unheard) {
        Err(error) => found.push(error),
        Ok(device) => {
            found.extend(check_disks(&device).err());
            for manifest in &manifests {
                let placed = place(&device, core::slice::from_ref(manifest));
                found.extend(placed.and_then(|_| check_names(revision, &device, manifest)).err());
            }
        }
    }
    if found.is_empty() {
        found.extend(resolve(revision).err());
    }
    found
}

/// The group of each container, as an index.
fn place(device: &Device, manifests: &[Manifest]) -> Result<Vec<usize>, DocumentError> {
    let index = |name: &str| device.groups.iter().position(|group| group.name == name);
    let mut named = Vec::new();
    for manifest in manifests {
        named.push(match &manifest.group {
            None => None,
            Some(name) => match index(name) {
                None => return Err(unknown(&manifest.name, "group", "group", name)),
                found => found,
            },
        });
    }
    let last = device.groups.len().saturating_sub(1);
    let (root, platform) = (index("root").unwrap_or(last), index("platform").unwrap_or(last));
    let mut root_is_free = device.default_groups && !named.contains(&Some(root));
    let implicit = |root_is_free: &mut bool| {
        if !device.default_groups {
            last
        } else if core::mem::take(root_is_free) {
            root
        } else {
            platform
        }
    };
    Ok(named.into_iter().map(|group| group.unwrap_or_else(|| implicit(&mut root_is_free))).collect())
}

fn check_disks(device: &Device) -> Result<(), DocumentError> {
    for volume in &device.volumes {
        if let Some(name) = volume.disk.as_ref().filter(|name| device.disk(name).is_none()) {
            let place = Place { document: "device.json".into(), member: format!("volumes.{}.disk", volume.name) };
            return Err(DocumentError { place, wrong: Wrong::Unknown { what: "disk", name: name.clone() } });
        }
    }
    Ok(())
}

/// Every name in a manifest is the name of something in the revision.
fn check_names(revision: &Revision, device: &Device, manifest: &Manifest) -> Result<(), DocumentError> {
    let name = &manifest.name;
    for storage in &manifest.storage {
        if let Some(disk) = storage.disk.as_ref().filter(|disk| device.disk(disk).is_none()) {
            return Err(unknown(name, &format!("storage.{}.disk", storage.name), "disk", disk));
        }
    }
    let pools = manifest.network.iter().flat_map(|network| &network.interfaces).map(|interface| &interface.pool);
    if let Some(pool) = pools.into_iter().find(|pool| !device.pools.iter().any(|one| one.name == **pool)) {
        return Err(unknown(name, "network.pool", "pool", pool));
    }
    if let Some(other) =
        manifest.conditions.iter().find(|one| !revision.containers().iter().any(|it| it.as_str() == **one))
    {
        return Err(unknown(name, "conditions", "container", other));
    }
    let is_file = |key: &str| revision.get(key).is_some_and(|entry| entry.class != Class::Ignored);
    if let Some(config) = &manifest.config {
        let key = format!("{name}/{config}");
        if !is_file(&key) {
            return Err(unknown(name, "config", "file", &key));
        }
    }
    for volume in manifest.images() {
        let key = format!("{name}/{}", volume.file);
        let below = format!("{key}/");
        let found = match volume.mount() {
            Some(Mount::Data) => revision.entries().any(|entry| entry.key.starts_with(&below)),
            _ => is_file(&key),
        };
        if !found {
            return Err(unknown(name, "volumes", "file", &key));
        }
        let table = format!("{name}/_dm/{}.json", volume.file);
        if volume.verity && !is_file(&table) {
            return Err(unknown(name, "volumes", "file", &table));
        }
    }
    Ok(())
}

/// A container that must start says what starts it, and from what.
fn check_startable(container: &Container) -> Result<(), DocumentError> {
    if container.status_goal == Goal::Mounted {
        return Ok(());
    }
    let manifest = &container.manifest;
    let missing = match (&manifest.kind, &manifest.config) {
        (None, _) => "type",
        (_, None) => "config",
        _ => return Ok(()),
    };
    Err(DocumentError { place: at(&manifest.name, missing), wrong: Wrong::Missing })
}

fn at(name: &ContainerName, member: &str) -> Place {
    Place { document: format!("{name}/run.json"), member: member.into() }
}

fn unknown(container: &ContainerName, member: &str, what: &'static str, name: &str) -> DocumentError {
    DocumentError { place: at(container, member), wrong: Wrong::Unknown { what, name: String::from(name) } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::RecoveryPolicy;
    use alloc::string::ToString;

    const ID: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    /// A state with one startable container for each (name, further members), and further keys.
    fn resolved(containers: &[(&str, &str)], more: &str) -> Result<Resolved, String> {
        let mut text = format!(r##"{{"#spec":"pantavisor-service-system@1"{more}"##);
        for (name, members) in containers {
            text += &format!(r#","{name}/lxc.container.conf":"{ID}""#);
            text += &format!(
                r#","{name}/run.json":{{"name":"{name}","type":"lxc","config":"lxc.container.conf"{members}}}"#
            );
        }
        text.push('}');
        resolve(&Revision::parse(text.as_bytes()).unwrap()).map_err(|error| error.to_string())
    }

    fn groups_of(containers: &[(&str, &str)], more: &str) -> Vec<String> {
        let resolved = resolved(containers, more).unwrap();
        resolved.containers.iter().map(|container| resolved.device.groups[container.group].name.clone()).collect()
    }

    #[test]
    fn the_first_container_without_a_group_is_root_if_nobody_is() {
        assert_eq!(groups_of(&[("a", ""), ("b", ""), ("c", "")], ""), ["root", "platform", "platform"]);
        assert_eq!(groups_of(&[("a", ""), ("b", r#","group":"root""#)], ""), ["platform", "root"]);
        assert_eq!(groups_of(&[("a", r#","group":"app""#), ("b", "")], ""), ["app", "root"]);
    }

    #[test]
    fn with_groups_of_its_own_a_revision_puts_them_into_the_last() {
        let more = r#","device.json":{"groups":[{"name":"root"},{"name":"late"}]}"#;
        assert_eq!(groups_of(&[("a", ""), ("b", r#","group":"root""#)], more), ["late", "root"]);
    }

    #[test]
    fn a_container_inherits_what_it_does_not_say() {
        let say = r#","group":"app","status_goal":"READY""#;
        let container = &resolved(&[("a", say)], "").unwrap().containers[0];
        assert_eq!(container.status_goal, Goal::Ready);
        assert_eq!(container.restart_policy, RestartPolicy::Container);
        assert_eq!(container.auto_recovery.max_retries, 5);
    }

    #[test]
    fn recovery_is_inherited_as_a_whole_or_not_at_all() {
        let say = r#","group":"app","auto_recovery":{"policy":"always"}"#;
        let container = &resolved(&[("a", say)], "").unwrap().containers[0];
        assert_eq!(container.auto_recovery, AutoRecovery { policy: RecoveryPolicy::Always, ..AutoRecovery::NONE });
        let say = r#","group":"app","auto_recovery":{"policy":"no"}"#;
        assert_eq!(resolved(&[("a", say)], "").unwrap().containers[0].auto_recovery, AutoRecovery::NONE);
    }

    #[test]
    fn who_need_not_be_ready_is_not_asked_and_a_person_hears_of_it() {
        let asks = r#","readiness":{"exec":["check"]}"#;
        let warnings = |more: &str| {
            let resolved = resolved(&[("a", &[asks, more].concat())], "").unwrap();
            assert!(resolved.containers[0].manifest.readiness.is_some());
            resolved.warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let warned = ["a/run.json: readiness: has no effect: nobody asks a container whose status_goal is not READY"];
        assert_eq!(warnings(r#","group":"app","status_goal":"READY""#), [""; 0]);
        assert_eq!(warnings(r#","group":"app","status_goal":"STARTED""#), warned);
        assert_eq!(warnings(r#","group":"app""#), warned, "the goal of the group counts as its own");
    }

    #[test]
    fn a_name_that_nothing_has_is_refused_with_its_place() {
        for (members, why) in [
            (r#","group":"none""#, "a/run.json: group: this revision has no group \"none\""),
            (r#","runlevel":"root","group":"x""#, "no group \"x\""),
            (
                r#","storage":{"s":{"persistence":"boot","disk":"d"}}"#,
                "storage.s.disk: this revision has no disk \"d\"",
            ),
            (r#","network":{"pool":"n"}"#, "no pool \"n\""),
            (r#","root-volume":"root.squashfs""#, "no file \"a/root.squashfs\""),
            (r#","volumes":["tree.data"]"#, "no file \"a/tree.data\""),
        ] {
            let error = resolved(&[("a", members)], "").unwrap_err();
            assert!(error.contains(why), "{members}: {error}");
        }
    }

    #[test]
    fn a_tool_hears_of_each_manifest_and_of_nothing_where_there_is_nothing() {
        let text = |a: &str, b: &str, c: &str| {
            format!(r##"{{"#spec":"pantavisor-service-system@1","a/run.json":{a},"b/run.json":{b},"c/run.json":{c}}}"##)
        };
        let good = |name: &str| format!(r#"{{"name":"{name}","group":"data"}}"#);
        let heard = |text: String| -> Vec<String> {
            let revision = Revision::parse(text.as_bytes()).unwrap();
            let complaints = complaints(&revision);
            assert_eq!(complaints.is_empty(), resolve(&revision).is_ok());
            complaints.iter().map(ToString::to_string).collect()
        };
        assert_eq!(heard(text(&good("a"), &good("b"), &good("c"))), [""; 0]);
        let bad = heard(text(r#"{"name":1}"#, r#"{"name":"b","group":"none"}"#, &good("c")));
        assert_eq!(bad.len(), 2, "{bad:?}");
        assert!(bad[0].starts_with("a/run.json: name") && bad[1].starts_with("b/run.json: group"), "{bad:?}");
        assert_eq!(
            heard(text(&good("a"), r#"{"name":"b","group":"app"}"#, &good("c"))),
            ["b/run.json: type: is missing"]
        );
    }

    #[test]
    fn a_verity_volume_without_its_table_is_refused() {
        let image = format!(r#","a/root.squashfs":"{ID}""#);
        let members = r#","root-volume":"dm:root.squashfs""#;
        let error = resolved(&[("a", members)], &image).unwrap_err();
        assert!(error.contains("a/_dm/root.squashfs.json"), "{error}");
        let table = format!(r#"{image},"a/_dm/root.squashfs.json":{{"type":"dm-verity"}}"#);
        assert!(resolved(&[("a", members)], &table).is_ok());
    }

    #[test]
    fn only_a_container_that_is_not_started_may_say_nothing_of_starting() {
        let state = |group: &str| {
            let text =
                format!(r##"{{"#spec":"pantavisor-service-system@1","a/run.json":{{"name":"a","group":"{group}"}}}}"##);
            resolve(&Revision::parse(text.as_bytes()).unwrap()).map_err(|error| error.to_string())
        };
        assert!(state("data").is_ok());
        assert_eq!(state("app").unwrap_err(), "a/run.json: type: is missing");
    }
}
