//! Mount options that a policy of the revision adds to what a container has mounted.
//!
//! ```text
//!   device.json, run.json   "remount": { POLICY: [ {PATTERN: OPTIONS}, … ] }     of the policy that this device has
//!   places of the container  /  /dev  /dev/pts  /dev/shm  /proc  /sys  /sys/fs/cgroup  and each mount entry
//! ```
//!
//! Every place is known before anything is mounted, so what a policy does is part of the assembly, and what it asks for
//! and nothing can do is refused. What an image or the container itself mounts later is not touched.

use container::Launch;
use container::launch::{Attributes, Source};
use formats::remount::{Options, Rule};
use formats::run_json::Remount;

use super::Refusal;

/// The policy of a device that names none.
pub(crate) const DEFAULT: &str = "default";

/// The rules of one policy.
///
/// # Errors
/// An entry is no rule.
pub(super) fn rules(lists: &[Remount], policy: &str) -> Result<Vec<Rule>, Refusal> {
    let entries = lists.iter().filter(|list| list.policy == policy).flat_map(|list| &list.rules);
    let rule = |(pattern, options): &(String, String)| {
        Rule::parse(pattern, options).map_err(|why| Refusal::Remount(pattern.clone(), why))
    };
    entries.map(rule).collect()
}

/// Adds what the rules say.
pub(super) fn apply(launch: &mut Launch, rules: &[Rule], document: &str, warnings: &mut Vec<String>) {
    if rules.is_empty() {
        return;
    }
    let mut kernel = vec!["/"];
    kernel.extend(launch.dev.iter().flat_map(|_| ["/dev", "/dev/pts", "/dev/shm"]));
    kernel.extend(launch.proc.map(|_| "/proc"));
    kernel.extend(launch.sys.map(|_| "/sys"));
    kernel.extend(launch.cgroup.map(|_| "/sys/fs/cgroup"));
    for place in kernel {
        let mut attributes = Attributes::default();
        add(&mut attributes, rules, place);
        if attributes != Attributes::default() {
            launch.hardened.push((place.to_owned(), attributes));
        }
    }
    for mount in &mut launch.mounts {
        let place = format!("/{}", mount.target);
        add(&mut mount.attributes, rules, &place);
        let Attributes { nosuid, nodev, noexec, noatime, .. } = mount.attributes;
        if matches!(mount.source, Source::Import { live: true, .. }) && (nosuid || nodev || noexec || noatime) {
            warnings.push(format!(
                "{document}: {place}: follows what another container exports, so of a policy only `ro` counts"
            ));
        }
    }
}

fn add(attributes: &mut Attributes, rules: &[Rule], place: &str) {
    for Options { read_only, nosuid, nodev, noexec, noatime } in
        rules.iter().filter(|rule| rule.is_about(place)).map(|rule| rule.options)
    {
        attributes.read_only |= read_only;
        attributes.nosuid |= nosuid;
        attributes.nodev |= nodev;
        attributes.noexec |= noexec;
        attributes.noatime |= noatime;
    }
}
