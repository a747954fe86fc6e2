//! From lines about the cgroup to what is set of a container's group.
//!
//! ```text
//!   lxc.cgroup.memory.limit_in_bytes = 10M ─┐
//!   lxc.cgroup2.memory.max = 10485760      ─┴▶ Limit::Memory ──▶ whichever of the two this device has
//!   lxc.cgroup.memory.swappiness = 0       ──▶ Setting::File ──▶ that file of v1, or an error where it is started
//! ```
//!
//! Every line means the same whatever tree of the device has the controller in the end: that is known only where the
//! container is started, and a line that no tree can honour is an error there. What its value may be is known here.

use container::cgroup::{Flow, Limit, Version};
use container::launch;
use formats::lxc::{Access, CgroupVersion, DeviceKind, DeviceRule, Resource};

use super::error::Refusal;

/// One line about the cgroup.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupSetting {
    /// Its key, for the error if no tree of the device has it.
    pub key: String,
    /// Whether the container may do without it, where no tree of the device has it.
    pub optional: bool,
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
    /// Whether it leaves a node to be read or written.
    #[must_use]
    pub fn leaves(&self, kind: DeviceKind, major: u32, minor: u32) -> bool {
        let Self::Rules(rules) = self else { return true };
        let may = |asks: fn(&Access) -> bool| {
            let speaks = |(_, rule): &&(bool, DeviceRule)| match rule {
                DeviceRule::All => true,
                DeviceRule::Nodes { kind: its, major: of, minor: one, access } => {
                    *its == kind
                        && of.is_none_or(|of| of == major)
                        && one.is_none_or(|one| one == minor)
                        && asks(access)
                }
            };
            rules.iter().rev().find(speaks).is_none_or(|(allow, _)| *allow)
        };
        may(|access| access.read) || may(|access| access.write)
    }

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

/// A line about the cgroup: mostly one setting.
pub(super) fn setting(version: CgroupVersion, file: &str, value: &str) -> Result<Vec<GroupSetting>, Refusal> {
    let key = format!("lxc.{version}.{file}");
    let limits = limits(version, file, value)?;
    let settings = limits.map_or_else(
        || {
            let version = match version {
                CgroupVersion::V1 => Version::V1,
                CgroupVersion::V2 => Version::V2,
            };
            vec![Setting::File(version, file.to_owned(), value.to_owned())]
        },
        |limits| limits.into_iter().map(Setting::Limit).collect(),
    );
    Ok(settings.into_iter().map(|setting| GroupSetting { key: key.clone(), optional: false, setting }).collect())
}

/// What was said in a line above may be missing on a device. What a later line says of the same is not meant.
pub(super) fn optional(settings: &mut [GroupSetting], version: CgroupVersion, file: &str) -> Result<(), Refusal> {
    let key = format!("lxc.{version}.{file}");
    let mut said = settings.iter_mut().filter(|one| one.key == key).peekable();
    if said.peek().is_none() {
        return Err(refused(&key, "the key of a line above; write that line first, or remove this one"));
    }
    said.for_each(|one| one.optional = true);
    Ok(())
}

/// The limits that a line is about, in either generation. `None`: it is about something that only its own has.
fn limits(version: CgroupVersion, file: &str, value: &str) -> Result<Option<Vec<Limit>>, Refusal> {
    use CgroupVersion::{V1, V2};
    let one = |limit| Ok(Some(vec![limit]));
    match (version, file) {
        (V1, "memory.limit_in_bytes") | (V2, "memory.max") => one(Limit::Memory(size(value)?)),
        (V2, "memory.high") => one(Limit::MemoryHigh(size(value)?)),
        (V2, "memory.low") => one(Limit::MemoryLow(size(value)?.unwrap_or(u64::MAX))),
        (V2, "memory.min") => one(Limit::MemoryMin(size(value)?.unwrap_or(u64::MAX))),
        // Here no limit means nothing kept.
        (V1, "memory.soft_limit_in_bytes") => one(Limit::MemoryLow(size(value)?.unwrap_or(0))),
        (V2, "memory.swap.max") => one(Limit::Swap(size(value)?)),
        (V1, "memory.memsw.limit_in_bytes") => one(Limit::MemoryAndSwap(size(value)?)),
        (_, "pids.max") => one(Limit::Tasks(unless(value, "max", |value| within(value, 0, TASKS_MAX, TASKS))?)),
        (V1, "cpu.shares") => one(Limit::CpuShares(within(value, 2, SHARES_MAX, "a number from 2 to 262144")?)),
        (V2, "cpu.weight") => one(Limit::cpu_weight(within(value, 1, WEIGHT_MAX, WEIGHT)?)),
        (V1, "cpu.cfs_quota_us") => one(Limit::CpuQuota(unless(value, "-1", quota)?)),
        (V1, "cpu.cfs_period_us") => one(Limit::CpuPeriod(period(value)?)),
        (V2, "cpu.max") => {
            let (time, length) = value.split_once(' ').map_or((value, None), |(time, rest)| (time, Some(rest.trim())));
            let time = Limit::CpuQuota(unless(time, "max", quota)?);
            Ok(Some(std::iter::once(time).chain(length.map(period).transpose()?.map(Limit::CpuPeriod)).collect()))
        }
        (_, "cpuset.cpus") => one(Limit::Cpus(list(value)?)),
        (_, "cpuset.mems") => one(Limit::Mems(list(value)?)),
        // With the number of a device, both are about a scheduler of their generation.
        (V1, "blkio.weight") => {
            one(Limit::blkio_weight(within(value, 10, 1000, "a number from 10 to 1000, where the usual is 500")?))
        }
        (V2, "io.weight") if !value.contains(':') => {
            let number = value.strip_prefix("default ").map_or(value, str::trim);
            one(Limit::IoWeight(within(number, 1, WEIGHT_MAX, WEIGHT)?))
        }
        (V2, "io.max") => rates(value).map(Some).ok_or_else(|| refused(value, IO_MAX)),
        (V1, "blkio.throttle.read_bps_device") => one(rate(value, Flow::ReadBytes)?),
        (V1, "blkio.throttle.write_bps_device") => one(rate(value, Flow::WriteBytes)?),
        (V1, "blkio.throttle.read_iops_device") => one(rate(value, Flow::Reads)?),
        (V1, "blkio.throttle.write_iops_device") => one(rate(value, Flow::Writes)?),
        _ => Ok(None),
    }
}

/// What all lines come to: of two about the same the last one counts, and one that limits nothing is none.
pub(super) fn settle(mut settings: Vec<GroupSetting>) -> Result<Vec<GroupSetting>, Refusal> {
    let later = settings.clone();
    let mut at = 0;
    settings.retain(|one| {
        at += 1;
        let Setting::Limit(limit) = &one.setting else { return true };
        let is_said_again = later.iter().skip(at).any(|other| match &other.setting {
            Setting::Limit(other) => other.is_about_the_same(limit),
            Setting::File(..) => false,
        });
        !is_said_again && !limit.is_none()
    });
    // In v1 the limit of both takes no value below that of the memory, which therefore is set before it.
    settings.sort_by_key(|one| !matches!(one.setting, Setting::Limit(Limit::Memory(_))));
    let limits = || settings.iter().filter_map(GroupSetting::limit);
    let memory = limits().find_map(|limit| if let Limit::Memory(bytes) = limit { *bytes } else { None });
    for limit in limits() {
        if let Limit::MemoryAndSwap(Some(both)) = limit
            && memory.is_none_or(|memory| *both < memory)
        {
            let form =
                "a limit of memory and swap together: lxc.cgroup.memory.limit_in_bytes has to be there, and not above";
            return Err(refused(&both.to_string(), form));
        }
    }
    Ok(settings)
}

impl GroupSetting {
    /// What it limits, if both generations can.
    #[must_use]
    pub fn limit(&self) -> Option<&Limit> {
        match &self.setting {
            Setting::Limit(limit) => Some(limit),
            Setting::File(..) => None,
        }
    }
}

/// The most processes that the kernel counts.
const TASKS_MAX: u64 = 4_194_304;
const TASKS: &str = "a number of processes and threads, at most 4194304, or max";
const SHARES_MAX: u64 = 262_144;
const WEIGHT_MAX: u64 = 10_000;
const WEIGHT: &str = "a number from 1 to 10000, where the usual is 100";
const SIZE: &str = "a number of bytes like 10485760, 10M or 1G, or max";
const LIST: &str = "a list of numbers like 0-2,7";
const IO_MAX: &str = "a throughput like 8:0 rbps=1048576 wiops=100";
const IO_DEVICE: &str = "a throughput like 8:0 1048576";

fn refused(value: &str, form: &'static str) -> Refusal {
    Refusal::Value(value.to_owned(), form)
}

/// A number of bytes, in the words of either generation.
fn size(value: &str) -> Result<Option<u64>, Refusal> {
    if matches!(value, "max" | "-1") {
        return Ok(None);
    }
    bytes(value).map(Some).ok_or_else(|| refused(value, SIZE))
}

/// What is said, unless it is the word for no limit.
fn unless<T>(value: &str, none: &str, read: impl Fn(&str) -> Result<T, Refusal>) -> Result<Option<T>, Refusal> {
    if value == none { Ok(None) } else { read(value).map(Some) }
}

fn within(value: &str, least: u64, most: u64, form: &'static str) -> Result<u64, Refusal> {
    number(value).filter(|number| (least..=most).contains(number)).ok_or_else(|| refused(value, form))
}

/// Digits, and nothing else.
fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Up to a day: with more, nobody has meant microseconds.
fn quota(value: &str) -> Result<u64, Refusal> {
    within(value, 1000, 86_400_000_000, "a number of microseconds from 1000, or none: max in v2, -1 in v1")
}

fn period(value: &str) -> Result<u64, Refusal> {
    within(value, 1000, 1_000_000, "a number of microseconds from 1000 to 1000000")
}

/// Whether the device has those processors is the kernel's to say.
fn list(value: &str) -> Result<String, Refusal> {
    let item = |item: &str| match item.split_once('-') {
        Some((first, last)) => number(first) <= number(last) && number(first).is_some(),
        None => number(item).is_some(),
    };
    if value.split(',').all(item) { Ok(value.to_owned()) } else { Err(refused(value, LIST)) }
}

/// `8:0 rbps=1048576 wiops=max`
fn rates(value: &str) -> Option<Vec<Limit>> {
    let mut words = value.split_ascii_whitespace();
    let device = device(words.next()?)?;
    let limits: Option<Vec<_>> = words
        .map(|word| {
            let (flow, rate) = word.split_once('=')?;
            let flow = match flow {
                "rbps" => Flow::ReadBytes,
                "wbps" => Flow::WriteBytes,
                "riops" => Flow::Reads,
                "wiops" => Flow::Writes,
                _ => return None,
            };
            let rate = if rate == "max" { None } else { Some(number(rate).filter(|rate| *rate > 0)?) };
            Some(Limit::Io { device, flow, rate })
        })
        .collect();
    limits.filter(|limits| !limits.is_empty())
}

/// `8:0 1048576`, where 0 is no limit.
fn rate(value: &str, flow: Flow) -> Result<Limit, Refusal> {
    let words = value.split_once(' ').and_then(|(name, rate)| Some((device(name)?, number(rate.trim())?)));
    let (device, rate) = words.ok_or_else(|| refused(value, IO_DEVICE))?;
    Ok(Limit::Io { device, flow, rate: Some(rate).filter(|rate| *rate > 0) })
}

fn device(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(':')?;
    let number = |text: &str| number(text).and_then(|number| u32::try_from(number).ok());
    Some((number(major)?, number(minor)?))
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
    use super::*;

    #[test]
    fn a_size_has_the_suffixes_of_the_kernel() {
        assert_eq!(["0", "10M", "4k", "1G"].map(bytes), [Some(0), Some(10 << 20), Some(4096), Some(1 << 30)]);
        assert_eq!(["", "M", "1T", "1 M", "-1", "99999999999G"].map(bytes), [None; 6]);
    }

    #[test]
    fn device_rules_count_from_the_last_that_is_about_everything() {
        let null = DeviceRule::Nodes {
            kind: DeviceKind::Character,
            major: Some(1),
            minor: Some(3),
            access: Access { read: true, write: true, mknod: true },
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

    fn read(lines: &[(CgroupVersion, &str, &str)]) -> Result<Vec<Setting>, Refusal> {
        let mut settings = vec![];
        for (version, file, value) in lines {
            settings.extend(setting(*version, file, value)?);
        }
        Ok(settle(settings)?.into_iter().map(|one| one.setting).collect())
    }

    #[test]
    fn a_line_of_either_generation_is_the_same_limit() {
        use CgroupVersion::{V1, V2};
        let io = |flow, rate| Limit::Io { device: (8, 0), flow, rate: Some(rate) };
        for (first, second, limit) in [
            (("memory.limit_in_bytes", "10M"), ("memory.max", "10485760"), Limit::Memory(Some(10 << 20))),
            (("memory.soft_limit_in_bytes", "1k"), ("memory.low", "1K"), Limit::MemoryLow(1024)),
            (("pids.max", "64"), ("pids.max", "64"), Limit::Tasks(Some(64))),
            (("cpu.shares", "512"), ("cpu.weight", "50"), Limit::CpuShares(512)),
            (("cpu.cfs_quota_us", "20000"), ("cpu.max", "20000"), Limit::CpuQuota(Some(20_000))),
            (("cpuset.cpus", "0-2,7"), ("cpuset.cpus", "0-2,7"), Limit::Cpus("0-2,7".into())),
            (("cpuset.mems", "0"), ("cpuset.mems", "0"), Limit::Mems("0".into())),
            (("blkio.weight", "1000"), ("io.weight", "default 200"), Limit::IoWeight(200)),
            (("blkio.throttle.read_bps_device", "8:0 9"), ("io.max", "8:0 rbps=9"), io(Flow::ReadBytes, 9)),
            (("blkio.throttle.write_bps_device", "8:0 9"), ("io.max", "8:0 wbps=9"), io(Flow::WriteBytes, 9)),
            (("blkio.throttle.read_iops_device", "8:0 9"), ("io.max", "8:0 riops=9"), io(Flow::Reads, 9)),
            (("blkio.throttle.write_iops_device", "8:0 9"), ("io.max", "8:0 wiops=9"), io(Flow::Writes, 9)),
        ] {
            let said = vec![Setting::Limit(limit)];
            assert_eq!(read(&[(V1, first.0, first.1)]), Ok(said.clone()));
            assert_eq!(read(&[(V2, second.0, second.1)]), Ok(said));
        }
        let both = [Limit::CpuQuota(Some(20_000)), Limit::CpuPeriod(50_000)].map(Setting::Limit);
        assert_eq!(read(&[(V2, "cpu.max", "20000 50000")]).as_deref(), Ok(&both[..]));
        let only = Setting::File(Version::V1, "memory.swappiness".into(), "0".into());
        assert_eq!(read(&[(V1, "memory.swappiness", "0")]), Ok(vec![only]));
        // A file of the other generation is not looked for.
        assert!(matches!(read(&[(V2, "cpu.shares", "2")]).as_deref(), Ok([Setting::File(..)])));
    }

    #[test]
    fn the_last_line_about_a_limit_counts_and_no_limit_is_none() {
        use CgroupVersion::{V1, V2};
        assert_eq!(read(&[(V2, "memory.max", "1M"), (V1, "memory.limit_in_bytes", "-1")]), Ok(vec![]));
        let tasks = read(&[(V1, "pids.max", "max"), (V2, "pids.max", "3")]);
        assert_eq!(tasks, Ok(vec![Setting::Limit(Limit::Tasks(Some(3)))]));
        for nothing in ["max", "0"] {
            assert_eq!(read(&[(V1, "memory.soft_limit_in_bytes", nothing)]), Ok(vec![]));
        }
        assert_eq!(read(&[(V2, "io.max", "8:0 rbps=9"), (V1, "blkio.throttle.read_bps_device", "8:0 0")]), Ok(vec![]));
        let other = read(&[(V2, "io.max", "8:0 rbps=9"), (V2, "io.max", "8:16 rbps=max")]).unwrap();
        assert_eq!(other.len(), 1);
    }

    #[test]
    fn only_what_was_said_above_can_be_done_without() {
        use CgroupVersion::V2;
        let mut settings = setting(V2, "pids.max", "64").unwrap();
        let why = optional(&mut settings, V2, "memory.max").unwrap_err().to_string();
        assert!(why.starts_with("\"lxc.cgroup2.memory.max\" is not the key of a line above"), "{why}");
        assert_eq!(optional(&mut settings, V2, "pids.max"), Ok(()));
        assert_eq!(settle(settings.clone()).unwrap().iter().map(|one| one.optional).collect::<Vec<_>>(), [true]);
        settings.extend(setting(V2, "pids.max", "65").unwrap());
        assert_eq!(settle(settings).unwrap().iter().map(|one| one.optional).collect::<Vec<_>>(), [false]);
    }

    #[test]
    fn memory_and_swap_together_need_the_memory_and_come_after_it() {
        use CgroupVersion::V1;
        let (both, memory) = ((V1, "memory.memsw.limit_in_bytes", "20M"), "memory.limit_in_bytes");
        let said = [Limit::Memory(Some(10 << 20)), Limit::MemoryAndSwap(Some(20 << 20))].map(Setting::Limit);
        assert_eq!(read(&[both, (V1, memory, "10M")]).as_deref(), Ok(&said[..]));
        for bad in [&[both][..], &[both, (V1, memory, "21M")], &[(V1, memory, "1M"), both, (V1, memory, "max")]] {
            let why = read(bad).unwrap_err().to_string();
            assert!(why.starts_with("\"20971520\" is not a limit of memory and swap together"), "{why}");
        }
    }

    #[test]
    fn a_value_of_another_form_is_refused_with_that_form() {
        use CgroupVersion::{V1, V2};
        for (version, file, values) in [
            (V2, "memory.max", &["", "10 M", "1T", "-2", "+1", "0x10"][..]),
            (V1, "memory.memsw.limit_in_bytes", &["much"]),
            (V2, "pids.max", &["64k", "-1", "4194305", "+1", ""]),
            (V1, "cpu.shares", &["1", "262145", "max"]),
            (V2, "cpu.weight", &["0", "10001", "idle"]),
            (V1, "cpu.cfs_quota_us", &["999", "max", "0", "86400000001"]),
            (V1, "cpu.cfs_period_us", &["999", "1000001", "-1"]),
            (V2, "cpu.max", &["999", "max 10", "max 100000 1", "-1", ""]),
            (V1, "cpuset.cpus", &["", "0-", "-1", "3-1", "0,", "a", "0:2", "0-3-4"]),
            (V2, "cpuset.mems", &["0;1"]),
            (V1, "blkio.weight", &["9", "1001", "8:0 100"]),
            (V2, "io.weight", &["0", "10001", "default", "usual 5"]),
            (V2, "io.max", &["8:0", "8 rbps=1", "8:0 rbps=0", "8:0 speed=1", "8:0 rbps", "8:0:1 rbps=1", ""]),
            (V1, "blkio.throttle.read_bps_device", &["8:0", "8:0 1M", "sda 1", "8:0 1 2"]),
        ] {
            for value in values {
                let why = setting(version, file, value).map_err(|why| why.to_string());
                assert!(why.as_ref().is_err_and(|why| why.contains("\" is not ")), "{file} = {value}: {why:?}");
            }
        }
    }
}
