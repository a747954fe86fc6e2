//! A boot that cannot be: settings, storage, board or loop are not to be had, and nothing was decided or written yet.
//!
//! ```text
//!                     the firmware counts     it does not, or nobody knows
//!   trial             spend                   spend: it goes back by itself
//!   default … factory spend: it falls back    stay: it would boot the same again, for ever
//!   recovery          stay: nothing is behind it
//! ```
//!
//! *Spend* is a reboot: the firmware has counted this boot before its jump and goes on along its list, which is bounded.
//! *Stay* keeps PID 1 up, says why, and waits for a person: a device that stands still can be read and mended, one that
//! reboots for ever wears out. See decision [0010](../../../docs/decisions/0010-a-boot-that-may-not-run-is-spent.md).

use std::time::{Duration, Instant};

use boards_api::board::BootedAs;
use boards_api::takeover;
use container::signals::{self, Told};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{WaitOptions, wait};
use statemachine::boot::TrialKind;

use crate::boards::{self, AnyBoard};
use crate::core::Ending;
use crate::guard::Guard;
use crate::settings::Settings;
use crate::voice::Voice;

/// Before a boot that cannot be is ended: time to read why, and no busy loop.
const PAUSE: Duration = Duration::from_secs(1);

/// How often a device that stays says why.
const AGAIN: Duration = Duration::from_secs(600);

/// What is known of whoever started this boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Firmware {
    words: bool,
    role: Option<BootedAs>,
    kind: Option<TrialKind>,
}

/// What becomes of a boot that cannot be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It is ended, and was counted.
    Spend,
    /// It goes on, without containers.
    Stay,
}

impl Firmware {
    /// What its words alone say, as long as nobody knows the board.
    #[must_use]
    pub fn from_words(words: &str) -> Self {
        let ours = BootedAs::from_cmdline(words);
        // The script of the reference says it in words of its own, and counts nothing.
        let theirs = if ours.is_none() { takeover::booted(words) } else { None };
        let role = ours.or(theirs.map(|booted| booted.role));
        Self { words: !words.trim().is_empty(), role, kind: theirs.map(|_| TrialKind::Toggling) }
    }

    /// What the board says of them.
    #[must_use]
    pub fn of_board(boards: &[AnyBoard], settings: &Settings) -> Self {
        let known = Self::from_words(&settings.words);
        match boards::facts(boards, settings) {
            Some((kind, role)) => Self { role: role.or(known.role), kind: Some(kind), ..known },
            None => known,
        }
    }

    /// Whether this boot is one of a revision that has to prove itself.
    #[must_use]
    pub fn is_trial(self) -> bool {
        self.role == Some(BootedAs::Trial)
    }

    /// Whether this boot is the end of the list.
    #[must_use]
    pub fn is_recovery(self) -> bool {
        self.role == Some(BootedAs::Recovery)
    }

    /// What becomes of this boot.
    #[must_use]
    pub fn fate(self) -> Fate {
        // Who writes `cairn.role` has chosen from a list, so one that is not known to do otherwise counts.
        let counts = self.kind.is_none_or(|kind| kind == TrialKind::Counted);
        match self.role {
            Some(BootedAs::Recovery) => Fate::Stay,
            Some(BootedAs::Trial) => Fate::Spend,
            Some(BootedAs::Default | BootedAs::Previous | BootedAs::Factory | BootedAs::FirstSlot) if counts => {
                Fate::Spend
            }
            // No word could be read at all: this kernel lacks what every boot needs, so it is as good as not started.
            None if !self.words => Fate::Spend,
            _ => Fate::Stay,
        }
    }
}

/// Comes back when the boot is to be ended, and says how.
pub fn wait_for_end(firmware: Firmware, log: &Voice, guard: &Guard, why: &str) -> Ending {
    match firmware.fate() {
        Fate::Spend => {
            log.error("boot", &format_args!("this boot is spent: {why}"));
            std::thread::sleep(PAUSE);
            Ending::Restart
        }
        Fate::Stay => stay(log, guard, why),
    }
}

fn stay(log: &Voice, guard: &Guard, why: &str) -> Ending {
    let say = || log.error("boot", &format_args!("nothing can run, and another boot would not help: {why}"));
    say();
    log.error("boot", &"this device stays up until it is told to reboot: Ctrl-Alt-Del, or SIGINT to PID 1");
    let told = signals::open();
    let mut said = Instant::now();
    loop {
        // Orphans come to PID 1 even now.
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        // Standing still is what this boot is for now, and no reason to end it.
        guard.feed();
        let left = AGAIN.saturating_sub(said.elapsed()).min(guard.period());
        match &told {
            Ok(told) => {
                let within = Timespec::try_from(left).ok();
                let mut fds = [PollFd::new(told, PollFlags::IN)];
                // Interrupted or over: the next round looks again.
                let _ = poll(&mut fds, within.as_ref());
                match signals::next(told) {
                    Ok(Some(Told::Restart)) => return Ending::Restart,
                    Ok(Some(Told::End)) => return Ending::PowerOff,
                    Ok(Some(Told::Child) | None) => {}
                    Err(_) => std::thread::sleep(PAUSE),
                }
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
        if said.elapsed() >= AGAIN {
            say();
            said = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fate(role: Option<BootedAs>, kind: Option<TrialKind>) -> Fate {
        Firmware { words: true, role, kind }.fate()
    }

    #[test]
    fn recovery_is_the_end_of_the_list_and_stays() {
        for kind in [None, Some(TrialKind::Counted), Some(TrialKind::OneShot), Some(TrialKind::Toggling)] {
            assert_eq!(fate(Some(BootedAs::Recovery), kind), Fate::Stay, "{kind:?}");
        }
    }

    #[test]
    fn a_trial_is_spent_on_every_firmware() {
        for kind in [None, Some(TrialKind::Counted), Some(TrialKind::OneShot), Some(TrialKind::Toggling)] {
            assert_eq!(fate(Some(BootedAs::Trial), kind), Fate::Spend, "{kind:?}");
        }
    }

    #[test]
    fn a_default_is_spent_only_where_somebody_counts() {
        for role in [BootedAs::Default, BootedAs::Previous, BootedAs::Factory, BootedAs::FirstSlot] {
            assert_eq!(fate(Some(role), Some(TrialKind::Counted)), Fate::Spend, "{role:?}");
            assert_eq!(fate(Some(role), None), Fate::Spend, "{role:?}");
            assert_eq!(fate(Some(role), Some(TrialKind::OneShot)), Fate::Stay, "{role:?}");
            assert_eq!(fate(Some(role), Some(TrialKind::Toggling)), Fate::Stay, "{role:?}");
        }
    }

    #[test]
    fn a_trial_of_the_reference_s_script_goes_back_by_itself_and_its_default_stays() {
        assert_eq!(Firmware::from_words("pv_try=7 pv_rev=7 panic=2").fate(), Fate::Spend);
        assert_eq!(Firmware::from_words("pv_try=7 pv_rev=6 panic=2").fate(), Fate::Stay);
        assert_eq!(Firmware::from_words("pv_try= pv_rev=6 panic=2").fate(), Fate::Stay);
    }

    #[test]
    fn words_without_a_role_are_of_a_firmware_that_does_not_count() {
        assert_eq!(Firmware::from_words("console=ttyS0 quiet").fate(), Fate::Stay);
        assert_eq!(Firmware::from_words("quiet cairn.role=default").fate(), Fate::Spend);
        assert_eq!(Firmware::from_words("cairn.role=default cairn.role=recovery").fate(), Fate::Stay);
        // Neither arguments nor a command line: this kernel gives PID 1 nothing to work with.
        assert_eq!(Firmware::from_words("").fate(), Fate::Spend);
    }
}
