//! The one clock of PID 1: milliseconds since it began, also counted while the device is suspended.

use formats::log_times::Now;
use rustix::time::{ClockId, Timespec, clock_gettime};
use statemachine::container::Time;

use crate::holdings::EPOCH;

/// A clock that was started.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    began: Timespec,
    /// Tells this life of PID 1 from others.
    life: u16,
}

impl Clock {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        let (began, real) = (clock_gettime(ClockId::Boottime), clock_gettime(ClockId::Realtime));
        let nanos = |time: Timespec| time.tv_sec.wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec);
        // The kernel has no random numbers yet. How long it took to come here is never the same in all its digits.
        let [a, b, c, d, e, f, ..] = nanos(began).wrapping_mul(31).wrapping_add(nanos(real)).to_le_bytes();
        let life = u16::from_le_bytes([a, b]) ^ u16::from_le_bytes([c, d]) ^ u16::from_le_bytes([e, f]);
        Self { began, life }
    }

    /// Now, as logs have it.
    #[must_use]
    pub fn moment(&self) -> Now {
        let real = clock_gettime(ClockId::Realtime);
        let unix = u64::try_from(real.tv_sec).ok().filter(|seconds| *seconds >= EPOCH.as_secs());
        let ms = u64::try_from(real.tv_nsec / 1_000_000).unwrap_or(0);
        Now { life: self.life, up: self.now().0, unix: unix.map(|seconds| seconds.saturating_mul(1000) + ms) }
    }

    /// How long ago that was.
    #[must_use]
    pub fn now(&self) -> Time {
        let now = clock_gettime(ClockId::Boottime);
        let milliseconds = (now.tv_sec - self.began.tv_sec) * 1_000 + (now.tv_nsec - self.began.tv_nsec) / 1_000_000;
        Time(u64::try_from(milliseconds).unwrap_or(0))
    }
}
