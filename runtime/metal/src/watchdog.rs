//! The timer that ends a boot in which nothing moves.
//!
//! ```text
//!   open      armed from here on; the kernel resets the machine when the time is over
//!   feed      the time begins anew
//!   disarm    `V`, then close: only before the power goes off by order
//! ```
//!
//! It stays armed over a reboot by order, so that one which hangs half-way ends too. Who feeds it must be what it
//! watches: the loop of PID 1 itself, never a thread beside it.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::num::NonZeroU16;
use std::path::Path;
use std::time::Duration;

use crate::sys;

/// The first watchdog of a machine.
pub const NODE: &str = "/dev/watchdog";

/// What is asked of a watchdog.
pub trait Timer {
    /// Asks for a time in seconds; says which one it took.
    ///
    /// # Errors
    /// It has a time of its own that cannot be changed.
    fn set(&mut self, seconds: NonZeroU16) -> std::io::Result<u32>;

    /// What it knows about the boot before: bits `WDIOF_…` of `linux/watchdog.h`.
    ///
    /// # Errors
    /// The driver does not tell.
    fn boot_status(&self) -> std::io::Result<u32>;

    /// Writes to it: any byte feeds it, `V` as the last one before it is closed disarms it.
    ///
    /// # Errors
    /// The driver refuses.
    fn tell(&mut self, byte: u8) -> std::io::Result<()>;
}

impl Timer for File {
    fn set(&mut self, seconds: NonZeroU16) -> std::io::Result<u32> {
        let taken = sys::set_timeout(&*self, i32::from(seconds.get()))?;
        Ok(u32::try_from(taken).unwrap_or(0))
    }

    fn boot_status(&self) -> std::io::Result<u32> {
        Ok(sys::boot_status(self)?.cast_unsigned())
    }

    fn tell(&mut self, byte: u8) -> std::io::Result<()> {
        self.write_all(&[byte])
    }
}

/// Why there is no watchdog.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WatchdogError {
    /// No driver has found one.
    Absent,
    /// It is held by somebody, or the kernel says no.
    Open(ErrorKind),
    /// It would end the boot sooner than asked for, too soon to boot.
    TooShort {
        /// What was asked for, in seconds.
        asked: NonZeroU16,
        /// What it took.
        taken: u32,
    },
}

impl fmt::Display for WatchdogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => write!(f, "there is no {NODE}: a boot that hangs stays so; is a module missing?"),
            Self::Open(kind) => write!(f, "{NODE}: {kind}"),
            Self::TooShort { asked, taken } => {
                write!(f, "the watchdog was asked for {asked} seconds and takes {taken}; it is fed more often")
            }
        }
    }
}

impl std::error::Error for WatchdogError {}

/// A watchdog that is armed.
#[derive(Debug)]
pub struct Watchdog<T = File> {
    timer: T,
    seconds: u32,
}

impl Watchdog {
    /// Arms the watchdog of the machine, and says what is not as asked for.
    ///
    /// # Errors
    /// [`WatchdogError::Absent`] and [`WatchdogError::Open`].
    pub fn open(node: &Path, seconds: NonZeroU16) -> Result<(Self, Option<WatchdogError>), WatchdogError> {
        match OpenOptions::new().write(true).open(node) {
            Ok(timer) => Ok(Self::arm(timer, seconds)),
            // ENODEV: the node is there, and nothing behind it.
            Err(error) if error.kind() == ErrorKind::NotFound => Err(WatchdogError::Absent),
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()) => {
                Err(WatchdogError::Absent)
            }
            Err(error) => Err(WatchdogError::Open(error.kind())),
        }
    }
}

impl<T: Timer> Watchdog<T> {
    /// Takes a timer that runs already, with the time that it was given.
    pub fn arm(mut timer: T, seconds: NonZeroU16) -> (Self, Option<WatchdogError>) {
        let asked = u32::from(seconds.get());
        // One that has a fixed time does not say which; then it is fed as often as for a short one.
        let taken = timer.set(seconds).unwrap_or(FIXED);
        let warning = (taken < asked).then_some(WatchdogError::TooShort { asked: seconds, taken });
        (Self { timer, seconds: taken.max(1) }, warning)
    }

    /// Whether it has ended the boot before. Hardware that remembers is asked once by its driver, which clears it: a boot
    /// that goes no further leaves nothing of that. `false` also where it does not remember.
    #[must_use]
    pub fn has_fired(&self) -> bool {
        self.timer.boot_status().is_ok_and(|status| status & CARD_RESET != 0)
    }

    /// How often it wants to be fed: three times in its time.
    #[must_use]
    pub fn period(&self) -> Duration {
        Duration::from_millis(u64::from(self.seconds) * 1000 / 3)
    }

    /// The time begins anew. A failure is told by the end of the boot, which nobody can stop then.
    pub fn feed(&mut self) {
        let _ = self.timer.tell(b'.');
    }

    /// Before the power goes off by order. Where the driver knows no way back, it ends the boot all the same.
    pub fn disarm(mut self) {
        let _ = self.timer.tell(b'V');
    }
}

/// Seconds that are assumed of a watchdog whose time cannot be set.
const FIXED: u32 = 9;

/// `WDIOF_CARDRESET`: the watchdog has reset the machine.
const CARD_RESET: u32 = 0x20;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Recorded {
        takes: Option<u32>,
        status: Option<u32>,
        told: Vec<u8>,
    }

    impl Timer for &mut Recorded {
        fn set(&mut self, _: NonZeroU16) -> std::io::Result<u32> {
            self.takes.ok_or_else(|| ErrorKind::Unsupported.into())
        }

        fn boot_status(&self) -> std::io::Result<u32> {
            self.status.ok_or_else(|| ErrorKind::Unsupported.into())
        }

        fn tell(&mut self, byte: u8) -> std::io::Result<()> {
            self.told.push(byte);
            Ok(())
        }
    }

    fn seconds(count: u16) -> NonZeroU16 {
        NonZeroU16::new(count).unwrap()
    }

    #[test]
    fn it_is_fed_three_times_in_the_time_that_it_took() {
        for (takes, asked, period) in [(Some(60), 60, 20), (Some(30), 60, 10), (None, 60, 3)] {
            let mut timer = Recorded { takes, ..Recorded::default() };
            let (watchdog, warning) = Watchdog::arm(&mut timer, seconds(asked));
            assert_eq!(watchdog.period(), Duration::from_secs(period));
            assert_eq!(warning.is_some(), takes != Some(60));
        }
    }

    #[test]
    fn only_disarming_says_the_word_that_stops_it() {
        let mut timer = Recorded { takes: Some(60), ..Recorded::default() };
        let (mut watchdog, _) = Watchdog::arm(&mut timer, seconds(60));
        watchdog.feed();
        watchdog.feed();
        assert!(timer.told.len() == 2 && !timer.told.contains(&b'V'));
        let (watchdog, _) = Watchdog::arm(&mut timer, seconds(60));
        watchdog.disarm();
        assert_eq!(timer.told.last(), Some(&b'V'));
    }

    #[test]
    fn only_a_reset_by_it_is_one() {
        // 0x04 and 0x10: it was switched on after a failure of power, or by a cable.
        for (status, fired) in
            [(None, false), (Some(0), false), (Some(0x14), false), (Some(0x20), true), (Some(0x24), true)]
        {
            let mut timer = Recorded { takes: Some(60), status, ..Recorded::default() };
            assert_eq!(Watchdog::arm(&mut timer, seconds(60)).0.has_fired(), fired, "{status:?}");
        }
    }

    #[test]
    fn a_machine_without_one_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let error = Watchdog::open(&dir.path().join("watchdog"), seconds(60)).unwrap_err();
        assert_eq!(error, WatchdogError::Absent);
    }
}
