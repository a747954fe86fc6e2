//! What a container may use up, and how each generation of cgroups says it.
//!
//! | limit                  | v2                                | v1                                            |
//! |------------------------|-----------------------------------|-----------------------------------------------|
//! | memory                 | `memory.max`                      | `memory.limit_in_bytes`                       |
//! | … slowed down from     | `memory.high`                     |                                               |
//! | … kept if possible     | `memory.low`                      | `memory.soft_limit_in_bytes`                  |
//! | … kept                 | `memory.min`                      |                                               |
//! | swap                   | `memory.swap.max`                 | `memory.memsw.limit_in_bytes`, less memory    |
//! | processes and threads  | `pids.max`                        | `pids.max`                                    |
//! | share of the processor | `cpu.weight`, 100 of which are    | `cpu.shares`, 1024                            |
//! | time of the processor  | `cpu.max`, two numbers            | `cpu.cfs_quota_us`, `cpu.cfs_period_us`       |
//! | processors, memories   | `cpuset.cpus`, `cpuset.mems`      | `cpuset.cpus`, `cpuset.mems`                  |
//! | share of the disks     | `io.weight`, else `io.bfq.weight` | `blkio.bfq.weight`                            |
//! | throughput of a disk   | `io.max`                          | `blkio.throttle.…_device`                     |
//!
//! A pure table: which generation has a controller is the [group](super::Group)'s to see. The share of the processor is
//! converted as the kernel does it between the two files, which keeps both the default and every ratio.

use super::Version;

/// A limit on a whole container, in whichever generation the host has it. `None` is no limit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Limit {
    /// Bytes of memory.
    Memory(Option<u64>),
    /// Bytes of memory from which on it is slowed down.
    MemoryHigh(Option<u64>),
    /// Bytes of memory that are taken from it last.
    MemoryLow(u64),
    /// Bytes of memory that are never taken from it.
    MemoryMin(u64),
    /// Bytes of swap.
    Swap(Option<u64>),
    /// Bytes of memory and swap together; with a [`Memory`](Self::Memory) that is not more.
    MemoryAndSwap(Option<u64>),
    /// Processes and threads.
    Tasks(Option<u64>),
    /// Its share of the processor, in 1024ths of the usual.
    CpuShares(u64),
    /// Microseconds of processor time in each period.
    CpuQuota(Option<u64>),
    /// Microseconds of a period.
    CpuPeriod(u64),
    /// The processors that it runs on, as the kernel lists them: `0-2,7`.
    Cpus(String),
    /// The memory nodes that it uses, likewise.
    Mems(String),
    /// Its share of the disks, in hundredths of the usual: 1 to 10000.
    IoWeight(u64),
    /// The throughput of one disk.
    Io {
        /// Major and minor number.
        device: (u32, u32),
        /// Which throughput.
        flow: Flow,
        /// Bytes or operations a second.
        rate: Option<u64>,
    },
}

/// A throughput of a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// Bytes that are read.
    ReadBytes,
    /// Bytes that are written.
    WriteBytes,
    /// Reads.
    Reads,
    /// Writes.
    Writes,
}

/// What the kernel gives to a group in every period, and how long that is, in microseconds.
const PERIOD: u64 = 100_000;

impl Limit {
    /// The controller, as v2 names it, and v1.
    pub(super) const fn controller(&self, version: Version) -> &'static str {
        match self {
            Self::Memory(_) | Self::MemoryHigh(_) | Self::MemoryLow(_) | Self::MemoryMin(_) => "memory",
            Self::Swap(_) | Self::MemoryAndSwap(_) => "memory",
            Self::Tasks(_) => "pids",
            Self::CpuShares(_) | Self::CpuQuota(_) | Self::CpuPeriod(_) => "cpu",
            Self::Cpus(_) | Self::Mems(_) => "cpuset",
            Self::IoWeight(_) | Self::Io { .. } => match version {
                Version::V1 => "blkio",
                Version::V2 => "io",
            },
        }
    }

    /// Whether it says nothing that would not be so anyway.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        match self {
            Self::Memory(limit) | Self::MemoryHigh(limit) | Self::Swap(limit) | Self::MemoryAndSwap(limit) => {
                limit.is_none()
            }
            Self::Tasks(limit) | Self::CpuQuota(limit) | Self::Io { rate: limit, .. } => limit.is_none(),
            Self::MemoryLow(kept) | Self::MemoryMin(kept) => *kept == 0,
            _ => false,
        }
    }

    /// Whether the later of the two takes the place of the other.
    #[must_use]
    pub fn is_about_the_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Swap(_) | Self::MemoryAndSwap(_), Self::Swap(_) | Self::MemoryAndSwap(_)) => true,
            (Self::Io { device, flow, .. }, Self::Io { device: same, flow: one, .. }) => device == same && flow == one,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }

    /// Whether it is a limit of swap: a kernel without swap keeps it.
    pub(super) const fn is_of_swap(&self) -> bool {
        matches!(self, Self::Swap(_) | Self::MemoryAndSwap(_))
    }

    /// Files of a generation that say it, best first, and what is written there; none where it cannot say it. `among`
    /// are all limits of the container: some files hold two of them.
    pub(super) fn words(&self, version: Version, among: &[Self]) -> Vec<(&'static str, String)> {
        use Version::{V1, V2};
        let one = |file, value: String| vec![(file, value)];
        let memory = || among.iter().find_map(|limit| if let Self::Memory(bytes) = limit { *bytes } else { None });
        match (self, version) {
            (Self::Memory(bytes), V2) => one("memory.max", max(*bytes)),
            (Self::Memory(bytes), V1) => one("memory.limit_in_bytes", minus_one(*bytes)),
            (Self::MemoryHigh(bytes), V2) => one("memory.high", max(*bytes)),
            (Self::MemoryLow(bytes), V2) => one("memory.low", bytes.to_string()),
            (Self::MemoryLow(bytes), V1) => one("memory.soft_limit_in_bytes", bytes.to_string()),
            (Self::MemoryMin(bytes), V2) => one("memory.min", bytes.to_string()),
            (Self::MemoryHigh(_) | Self::MemoryMin(_), V1) => vec![],
            (Self::Swap(bytes), V2) => one("memory.swap.max", max(*bytes)),
            (Self::Swap(bytes), V1) => match (bytes, memory()) {
                (None, _) => one("memory.memsw.limit_in_bytes", minus_one(None)),
                (Some(swap), Some(memory)) => {
                    one("memory.memsw.limit_in_bytes", memory.saturating_add(*swap).to_string())
                }
                // This generation has no word for swap alone.
                (Some(_), None) => vec![],
            },
            (Self::MemoryAndSwap(bytes), V1) => one("memory.memsw.limit_in_bytes", minus_one(*bytes)),
            (Self::MemoryAndSwap(bytes), V2) => match (bytes, memory()) {
                (None, _) => one("memory.swap.max", max(None)),
                (Some(both), Some(memory)) => one("memory.swap.max", both.saturating_sub(memory).to_string()),
                (Some(_), None) => vec![],
            },
            (Self::Tasks(count), _) => one("pids.max", max(*count)),
            (Self::CpuShares(shares), V2) => {
                one("cpu.weight", rounded(*shares, 100, 1024).clamp(1, WEIGHT_MAX).to_string())
            }
            (Self::CpuShares(shares), V1) => one("cpu.shares", shares.to_string()),
            (Self::CpuQuota(_) | Self::CpuPeriod(_), V2) => {
                let quota = among.iter().find_map(|limit| if let Self::CpuQuota(time) = limit { *time } else { None });
                let period =
                    among.iter().find_map(|limit| if let Self::CpuPeriod(time) = limit { Some(*time) } else { None });
                one("cpu.max", format!("{} {}", max(quota), period.unwrap_or(PERIOD)))
            }
            (Self::CpuQuota(time), V1) => one("cpu.cfs_quota_us", minus_one(*time)),
            (Self::CpuPeriod(time), V1) => one("cpu.cfs_period_us", time.to_string()),
            (Self::Cpus(list), _) => one("cpuset.cpus", list.clone()),
            (Self::Mems(list), _) => one("cpuset.mems", list.clone()),
            // The only scheduler with weights of its own ends at ten times the usual.
            (Self::IoWeight(weight), V1) => one("blkio.bfq.weight", BFQ_MAX.min(*weight).to_string()),
            (Self::IoWeight(weight), V2) => {
                vec![("io.weight", weight.to_string()), ("io.bfq.weight", BFQ_MAX.min(*weight).to_string())]
            }
            (Self::Io { device: (major, minor), flow, rate }, V2) => {
                one("io.max", format!("{major}:{minor} {}={}", flow.word(), max(*rate)))
            }
            (Self::Io { device: (major, minor), flow, rate }, V1) => {
                one(flow.file(), format!("{major}:{minor} {}", rate.unwrap_or(0)))
            }
        }
    }

    /// A share of the processor by its weight in v2, where the usual is 100.
    #[must_use]
    pub const fn cpu_weight(weight: u64) -> Self {
        Self::CpuShares(rounded(weight, 1024, 100))
    }

    /// A share of the disks by its weight in v1, where the usual is 500.
    #[must_use]
    pub const fn blkio_weight(weight: u64) -> Self {
        Self::IoWeight(rounded(weight, 100, 500))
    }
}

/// The largest weight in v2, and that of the scheduler BFQ.
const WEIGHT_MAX: u64 = 10_000;
const BFQ_MAX: u64 = 1000;

impl Flow {
    /// As `io.max` calls it.
    const fn word(self) -> &'static str {
        match self {
            Self::ReadBytes => "rbps",
            Self::WriteBytes => "wbps",
            Self::Reads => "riops",
            Self::Writes => "wiops",
        }
    }

    /// Its file in v1.
    const fn file(self) -> &'static str {
        match self {
            Self::ReadBytes => "blkio.throttle.read_bps_device",
            Self::WriteBytes => "blkio.throttle.write_bps_device",
            Self::Reads => "blkio.throttle.read_iops_device",
            Self::Writes => "blkio.throttle.write_iops_device",
        }
    }
}

/// No limit, as v2 says it.
fn max(limit: Option<u64>) -> String {
    limit.map_or_else(|| "max".to_owned(), |limit| limit.to_string())
}

/// No limit, as v1 says it.
fn minus_one(limit: Option<u64>) -> String {
    limit.map_or_else(|| "-1".to_owned(), |limit| limit.to_string())
}

const fn rounded(value: u64, times: u64, by: u64) -> u64 {
    value.saturating_mul(times).saturating_add(by / 2) / by
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(limit: &Limit, among: &[Limit]) -> [String; 2] {
        [Version::V2, Version::V1].map(|version| {
            let words = limit.words(version, among);
            words.iter().map(|(file, value)| format!("{file}={value}")).collect::<Vec<_>>().join(" or ")
        })
    }

    #[test]
    fn each_limit_has_the_words_of_both_generations() {
        let io = Limit::Io { device: (8, 0), flow: Flow::WriteBytes, rate: Some(9) };
        for (limit, v2, v1) in [
            (Limit::Memory(Some(7)), "memory.max=7", "memory.limit_in_bytes=7"),
            (Limit::Memory(None), "memory.max=max", "memory.limit_in_bytes=-1"),
            (Limit::MemoryHigh(Some(7)), "memory.high=7", ""),
            (Limit::MemoryLow(7), "memory.low=7", "memory.soft_limit_in_bytes=7"),
            (Limit::MemoryMin(7), "memory.min=7", ""),
            (Limit::Tasks(Some(7)), "pids.max=7", "pids.max=7"),
            (Limit::CpuShares(512), "cpu.weight=50", "cpu.shares=512"),
            (Limit::Cpus("0-2".into()), "cpuset.cpus=0-2", "cpuset.cpus=0-2"),
            (Limit::Mems("0".into()), "cpuset.mems=0", "cpuset.mems=0"),
            (Limit::IoWeight(2000), "io.weight=2000 or io.bfq.weight=1000", "blkio.bfq.weight=1000"),
            (io, "io.max=8:0 wbps=9", "blkio.throttle.write_bps_device=8:0 9"),
        ] {
            assert_eq!(words(&limit, &[]), [v2, v1]);
        }
    }

    #[test]
    fn swap_is_what_is_left_of_both_without_the_memory() {
        let (memory, both, swap) = (Limit::Memory(Some(100)), Limit::MemoryAndSwap(Some(150)), Limit::Swap(Some(50)));
        let said = ["memory.swap.max=50", "memory.memsw.limit_in_bytes=150"];
        assert_eq!(words(&both, std::slice::from_ref(&memory)), said);
        assert_eq!(words(&swap, &[memory]), said);
        // The other generation cannot say it without the memory.
        assert_eq!(words(&both, &[]), ["", said[1]]);
        assert_eq!(words(&swap, &[]), [said[0], ""]);
        assert!(both.is_about_the_same(&swap));
    }

    #[test]
    fn quota_and_period_are_one_file_of_v2() {
        let (quota, period) = (Limit::CpuQuota(Some(20_000)), Limit::CpuPeriod(50_000));
        let both = [quota.clone(), period.clone()];
        assert_eq!(words(&quota, &both), ["cpu.max=20000 50000", "cpu.cfs_quota_us=20000"]);
        assert_eq!(words(&period, &both), ["cpu.max=20000 50000", "cpu.cfs_period_us=50000"]);
        assert_eq!(words(&quota, std::slice::from_ref(&quota))[0], "cpu.max=20000 100000");
        assert_eq!(words(&period, std::slice::from_ref(&period))[0], "cpu.max=max 50000");
    }

    #[test]
    fn every_weight_survives_the_other_generation() {
        for weight in 1..=WEIGHT_MAX {
            let said = Limit::cpu_weight(weight).words(Version::V2, &[]);
            assert_eq!(said, [("cpu.weight", weight.to_string())]);
        }
        // The usual stays the usual, and what v2 cannot say is as near as it comes.
        assert_eq!(Limit::cpu_weight(100), Limit::CpuShares(1024));
        assert_eq!(words(&Limit::CpuShares(2), &[])[0], "cpu.weight=1");
        assert_eq!(words(&Limit::CpuShares(1 << 18), &[])[0], "cpu.weight=10000");
        assert_eq!([10, 500, 1000].map(Limit::blkio_weight), [2, 100, 200].map(Limit::IoWeight));
    }
}
