//! The one clock of PID 1: milliseconds since it began, also counted while the device is suspended.

use rustix::time::{ClockId, Timespec, clock_gettime};
use statemachine::container::Time;

/// A clock that was started.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    began: Timespec,
}

impl Clock {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        Self { began: clock_gettime(ClockId::Boottime) }
    }

    /// How long ago that was.
    #[must_use]
    pub fn now(&self) -> Time {
        let now = clock_gettime(ClockId::Boottime);
        let milliseconds = (now.tv_sec - self.began.tv_sec) * 1_000 + (now.tv_nsec - self.began.tv_nsec) / 1_000_000;
        Time(u64::try_from(milliseconds).unwrap_or(0))
    }
}
