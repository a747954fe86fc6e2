//! From lines about the cgroup to what is set of a container's group.
//!
//! Every line means the same whatever tree of the device has the controller in the end: that is known only where the
//! container is started, and a line that no tree can honour is an error there.

use container::cgroup::{Limit, Version};
use container::launch;
use formats::lxc::{CgroupVersion, DeviceRule, Resource};

use super::error::Refusal;

/// One line about the cgroup.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupSetting {
    /// Its key, for the error if no tree of the device has it.
    pub key: String,
    /// What is set.
    pub setting: Setting,
}

/// What is set of a cgroup.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Setting {
    /// A limit that both generations have.
    Limit(Limit),
    /// A file of one of them.
    File(Version, String, String),
}

/// Which device nodes the processes of a container may use, by the kernel's word.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum DeviceAccess {
    /// All.
    #[default]
    All,
    /// What these rules leave, in order; `true` allows. The first denies everything or something.
    Rules(Vec<(bool, DeviceRule)>),
}

impl DeviceAccess {
    /// Takes in one rule: the last one about everything is where the others begin.
    pub(super) fn take(&mut self, allow: bool, rule: DeviceRule) {
        match (allow, rule, &mut *self) {
            (true, DeviceRule::All, _) => *self = Self::All,
            (false, DeviceRule::All, _) => *self = Self::Rules(vec![(false, rule)]),
            // More than everything there is not.
            (true, _, Self::All) => {}
            (false, _, Self::All) => *self = Self::Rules(vec![(false, rule)]),
            (_, _, Self::Rules(rules)) => rules.push((allow, rule)),
        }
    }
}

/// What is limited of each process, in the words of a launch.
pub(super) fn resource(resource: Resource) -> launch::Resource {
    match resource {
        Resource::AddressSpace => launch::Resource::AddressSpace,
        Resource::Core => launch::Resource::Core,
        Resource::Cpu => launch::Resource::Cpu,
        Resource::Data => launch::Resource::Data,
        Resource::FileSize => launch::Resource::FileSize,
        Resource::Locks => launch::Resource::Locks,
        Resource::LockedMemory => launch::Resource::LockedMemory,
        Resource::MessageQueues => launch::Resource::MessageQueues,
        Resource::Nice => launch::Resource::Nice,
        Resource::OpenFiles => launch::Resource::OpenFiles,
        Resource::Processes => launch::Resource::Processes,
        Resource::Resident => launch::Resource::Resident,
        Resource::RealTimePriority => launch::Resource::RealTimePriority,
        Resource::RealTime => launch::Resource::RealTime,
        Resource::Signals => launch::Resource::Signals,
        Resource::Stack => launch::Resource::Stack,
    }
}

/// A line about the cgroup; `None` if it limits nothing.
pub(super) fn setting(version: CgroupVersion, file: &str, value: &str) -> Result<Option<GroupSetting>, Refusal> {
    let key = format!("lxc.{version}.{file}");
    let limit = match (version, file) {
        (CgroupVersion::V1, "memory.limit_in_bytes") | (CgroupVersion::V2, "memory.max") => Limit::Memory,
        (_, "pids.max") => Limit::Tasks,
        (version, _) => {
            let version = match version {
                CgroupVersion::V1 => Version::V1,
                CgroupVersion::V2 => Version::V2,
            };
            let setting = Setting::File(version, file.to_owned(), value.to_owned());
            return Ok(Some(GroupSetting { key, setting }));
        }
    };
    if value == "max" || value == "-1" {
        return Ok(None);
    }
    let bytes = bytes(value).ok_or_else(|| Refusal::Bytes(value.to_owned()))?;
    Ok(Some(GroupSetting { key, setting: Setting::Limit(limit(bytes)) }))
}

/// A number with the kernel's suffixes: `10M`.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let shift = match unit {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use formats::lxc;

    use super::*;

    #[test]
    fn a_size_has_the_suffixes_of_the_kernel() {
        assert_eq!(["0", "10M", "4k", "1G"].map(bytes), [Some(0), Some(10 << 20), Some(4096), Some(1 << 30)]);
        assert_eq!(["", "M", "1T", "1 M", "-1", "99999999999G"].map(bytes), [None; 6]);
    }

    #[test]
    fn device_rules_count_from_the_last_that_is_about_everything() {
        let null = DeviceRule::Nodes {
            kind: lxc::DeviceKind::Character,
            major: Some(1),
            minor: Some(3),
            access: lxc::Access { read: true, write: true, mknod: true },
        };
        let read = |rules: &[(bool, DeviceRule)]| {
            let mut devices = DeviceAccess::All;
            rules.iter().for_each(|(allow, rule)| devices.take(*allow, *rule));
            devices
        };
        assert_eq!(read(&[(true, DeviceRule::All)]), DeviceAccess::All);
        assert_eq!(read(&[(true, null)]), DeviceAccess::All);
        let strict = [(false, DeviceRule::All), (true, null)];
        assert_eq!(read(&strict), DeviceAccess::Rules(strict.to_vec()));
        assert_eq!(read(&[strict[0], strict[1], (true, DeviceRule::All)]), DeviceAccess::All);
    }
}
