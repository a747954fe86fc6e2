//! `lxc.prlimit.NAME = SOFT[:HARD]` and the names of signals: what `getrlimit(2)` and `kill(1)` call things.

use alloc::string::String;
use core::fmt;

use super::{LxcWrong, wrong};
use crate::words::words;

words! {
    /// What can be limited of a process.
    pub enum Resource {
        /// Address space, bytes.
        AddressSpace = "as",
        /// Size of a core dump, bytes.
        Core = "core",
        /// Processor time, seconds.
        Cpu = "cpu",
        /// Data segment, bytes.
        Data = "data",
        /// Size of a file, bytes.
        FileSize = "fsize",
        /// Locks on files.
        Locks = "locks",
        /// Locked memory, bytes.
        LockedMemory = "memlock",
        /// Message queues, bytes.
        MessageQueues = "msgqueue",
        /// Niceness, as 20 − n.
        Nice = "nice",
        /// Open files.
        OpenFiles = "nofile",
        /// Processes of the user.
        Processes = "nproc",
        /// Resident memory, which the kernel does not look at any more.
        Resident = "rss",
        /// Real-time priority.
        RealTimePriority = "rtprio",
        /// Real-time processor time, microseconds.
        RealTime = "rttime",
        /// Queued signals.
        Signals = "sigpending",
        /// Stack, bytes.
        Stack = "stack",
    }
}

/// A limit; `None` is unlimited. The soft one is never above the hard one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// In force.
    pub soft: Option<u64>,
    /// How far a process may raise it.
    pub hard: Option<u64>,
}

impl Limits {
    pub(super) fn parse(value: &str) -> Result<Self, LxcWrong> {
        let one = |text: &str| match text {
            "unlimited" => Some(None),
            digits if !digits.starts_with('+') => digits.parse().ok().map(Some),
            _ => None,
        };
        let (soft, hard) = value.split_once(':').unwrap_or((value, value));
        let limits = one(soft.trim()).zip(one(hard.trim())).map(|(soft, hard)| Self { soft, hard });
        // `None` is the least of an `Option` and the most of a limit.
        let ordered = |limits: &Self| limits.hard.is_none_or(|hard| limits.soft.is_some_and(|soft| soft <= hard));
        limits.filter(ordered).ok_or_else(|| wrong(value, "SOFT:HARD, numbers or `unlimited`, the hard one not below"))
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = |f: &mut fmt::Formatter<'_>, limit: Option<u64>| match limit {
            Some(number) => write!(f, "{number}"),
            None => f.write_str("unlimited"),
        };
        one(f, self.soft)?;
        if self.soft != self.hard {
            f.write_str(":")?;
            one(f, self.hard)?;
        }
        Ok(())
    }
}

/// A signal by its number, 1 to 64.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signal(u8);

/// The names of the signals from 1 on, as every architecture that Cairn runs on numbers them.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];

/// Real-time signals as programs count them: C libraries keep the kernel's first two for themselves.
const REAL_TIME: core::ops::RangeInclusive<u8> = 34..=64;

impl Signal {
    /// `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`, `RTMAX-1`; case does not count. `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let upper: String = text.chars().map(|c| c.to_ascii_uppercase()).collect();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let number = |digits: &str| if digits.starts_with('+') { None } else { digits.parse::<u8>().ok() };
        let from = |base: u8, sign: char, rest: &str| match rest.strip_prefix(sign) {
            _ if rest.is_empty() => Some(base),
            Some(offset) if sign == '+' => base.checked_add(number(offset)?),
            Some(offset) => base.checked_sub(number(offset)?),
            None => None,
        };
        if let Some(rest) = name.strip_prefix("RTMIN") {
            return from(*REAL_TIME.start(), '+', rest).filter(|number| REAL_TIME.contains(number)).map(Self);
        }
        if let Some(rest) = name.strip_prefix("RTMAX") {
            return from(*REAL_TIME.end(), '-', rest).filter(|number| REAL_TIME.contains(number)).map(Self);
        }
        if let Some(index) = NAMES.iter().position(|one| *one == name) {
            return u8::try_from(index).ok().map(|index| Self(index.saturating_add(1)));
        }
        // A number has no prefix.
        number(text).and_then(Self::of)
    }

    /// The signal of a number.
    #[must_use]
    pub fn of(number: u8) -> Option<Self> {
        (1..=64).contains(&number).then_some(Self(number))
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (NAMES.get(usize::from(self.0.saturating_sub(1))), self.0.checked_sub(*REAL_TIME.start())) {
            (Some(name), _) => write!(f, "SIG{name}"),
            (None, Some(0)) => f.write_str("SIGRTMIN"),
            (None, Some(offset)) => write!(f, "SIGRTMIN+{offset}"),
            (None, None) => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_signal_is_known_by_name_and_number_and_written_by_name() {
        for (text, number, name) in [
            ("SIGPWR", 30, "SIGPWR"),
            ("term", 15, "SIGTERM"),
            ("9", 9, "SIGKILL"),
            ("SIGRTMIN+3", 37, "SIGRTMIN+3"),
            ("rtmin", 34, "SIGRTMIN"),
            ("SIGRTMAX-10", 54, "SIGRTMIN+20"),
            ("33", 33, "33"),
            ("64", 64, "SIGRTMIN+30"),
        ] {
            let signal = Signal::parse(text).unwrap();
            assert_eq!((signal.number(), signal.to_string().as_str()), (number, name));
            assert_eq!(Signal::parse(name), Some(signal));
        }
        let wrong =
            ["", "0", "65", "SIG", "SIG9", "+9", "SIGRTMIN+31", "SIGRTMIN-1", "RTMAX-31", "RTMAX+1", "RTMIN+", "NO"];
        for text in wrong {
            assert_eq!(Signal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_limit_is_one_or_two_numbers_in_order() {
        for (text, soft, hard) in [
            ("5", Some(5), Some(5)),
            ("5:6", Some(5), Some(6)),
            ("5:unlimited", Some(5), None),
            ("unlimited", None, None),
            ("0", Some(0), Some(0)),
        ] {
            let limits = Limits::parse(text).unwrap();
            assert_eq!((limits, limits.to_string().as_str()), (Limits { soft, hard }, text));
        }
        for text in ["", ":", "5:", "6:5", "unlimited:5", "-1", "+1", "1:2:3", "many", "18446744073709551616"] {
            assert!(Limits::parse(text).is_err(), "{text}");
        }
    }
}
