//! Options as existing devices say them: `pv_storage_wait=10` on the kernel's command line, `PV_STORAGE_WAIT=10` in the
//! environment or in `/etc/pantavisor.config`.
//!
//! ```text
//!   file  ◂  command line  ◂  environment          a later one counts over an earlier one, but never weakens it
//!   KEY=value    pv_key=value      PV_KEY=value    keys in any case; durations are 90, 90s, 10min or 1h
//! ```
//!
//! A device has to boot with what its boot script has said for years, so nothing here is an error: what cannot be taken is
//! a [`Remark`], without the value, which may be a secret.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU16;
use core::time::Duration;

use crate::verify::Mode;

/// Where an option was said.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// `/etc/pantavisor.config`.
    File,
    /// The kernel's command line.
    CommandLine,
    /// The environment of PID 1.
    Environment,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "/etc/pantavisor.config",
            Self::CommandLine => "the command line",
            Self::Environment => "the environment",
        })
    }
}

/// What was said, of what there is here. `None`: nothing was.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Options {
    /// `PV_STORAGE_DEVICE`: `/dev/…`, `LABEL=…`, `PARTLABEL=…` or `UUID=…`.
    pub storage: Option<String>,
    /// `PV_STORAGE_WAIT`.
    pub storage_wait: Option<Duration>,
    /// `PV_UPDATER_COMMIT_DELAY`.
    pub commit_delay: Option<Duration>,
    /// `PV_SECUREBOOT_MODE`, the strictest that was said, and where.
    pub signatures: Option<(Mode, Level)>,
    /// `PV_WDT_MODE`: `always`, or `disabled`. The modes between them say nothing: here it is armed throughout.
    pub watchdog: Option<bool>,
    /// `PV_WDT_TIMEOUT`, in seconds.
    pub watchdog_timeout: Option<NonZeroU16>,
    /// `PV_BOOTLOADER_FITCONFIG`: the configuration of a FIT image that the firmware has booted.
    pub fit_config: Option<String>,
    /// `PV_SYSTEM_DRIVERS_LOAD_EARLY_AUTO`: whether every driver is loaded before any container starts.
    pub drivers_early: Option<bool>,
    /// `PV_REMOUNT_POLICY`: which mount options of a revision apply.
    pub remount_policy: Option<String>,
}

/// What becomes of an option that has no effect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remark {
    /// The key, as the reference spells it.
    pub key: String,
    /// Where it stands.
    pub level: Level,
    /// Why.
    pub why: Why,
}

/// Why an option has no effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// There is no such option, or nothing that it would change.
    Unknown,
    /// Its value is none of those that it may have.
    Value,
    /// It asks for less than what is asked for anyway.
    Weaker,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, level, why } = self;
        match why {
            Why::Unknown => write!(f, "{key} of {level} has no effect here"),
            Why::Value => write!(f, "{key} of {level} has a value that it cannot have, and no effect"),
            Why::Weaker => write!(f, "{key} of {level} would ask for less than this device does, and has no effect"),
        }
    }
}

/// The longest key that is repeated in a remark, in characters.
const KEY_MAX: usize = 48;

impl Options {
    /// Takes the lines of a file. Empty lines and such with a `#` say nothing.
    pub fn add_file(&mut self, text: &str, remarks: &mut Vec<Remark>) {
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            self.add(Level::File, key.trim_end(), value.trim(), remarks);
        }
    }

    /// Takes the words `pv_key=value` of a command line; those of boot scripts (`pv_rev`, `pv_try`) are not for this.
    pub fn add_command_line(&mut self, words: &str, remarks: &mut Vec<Remark>) {
        for word in words.split_ascii_whitespace().filter(|word| word.starts_with("pv_")) {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            if !matches!(key, "pv_rev" | "pv_try" | "pv_trying" | "pv_boot") {
                self.add(Level::CommandLine, key, value, remarks);
            }
        }
    }

    /// Takes one variable of an environment; those of others are not looked at. In it a kernel repeats what its command
    /// line says, in small letters.
    pub fn add_variable(&mut self, key: &str, value: &str, remarks: &mut Vec<Remark>) {
        if key.starts_with("PV_") {
            self.add(Level::Environment, key, value, remarks);
        }
    }

    fn add(&mut self, level: Level, said: &str, value: &str, remarks: &mut Vec<Remark>) {
        let key = key(said);
        let known = match key.as_str() {
            "PV_STORAGE_DEVICE" => put(&mut self.storage, device(value)),
            "PV_STORAGE_WAIT" => put(&mut self.storage_wait, duration(value)),
            "PV_UPDATER_COMMIT_DELAY" => put(&mut self.commit_delay, duration(value)),
            "PV_WDT_TIMEOUT" => {
                let seconds = duration(value).and_then(|time| u16::try_from(time.as_secs()).ok());
                put(&mut self.watchdog_timeout, seconds.and_then(NonZeroU16::new))
            }
            "PV_WDT_MODE" => match value {
                "disabled" => put(&mut self.watchdog, Some(false)),
                "always" => put(&mut self.watchdog, Some(true)),
                "startup" | "shutdown" => Ok(()),
                _ => Err(Why::Value),
            },
            "PV_BOOTLOADER_FITCONFIG" => put(&mut self.fit_config, (!value.is_empty()).then(|| value.to_string())),
            "PV_REMOUNT_POLICY" => put(&mut self.remount_policy, (!value.is_empty()).then(|| value.to_string())),
            "PV_SYSTEM_DRIVERS_LOAD_EARLY_AUTO" => put(&mut self.drivers_early, flag(value)),
            "PV_SECUREBOOT_MODE" => match Mode::parse(value) {
                Some(mode) if self.signatures.is_some_and(|(before, _)| mode < before) => Err(Why::Weaker),
                mode => put(&mut self.signatures, mode.map(|mode| (mode, level))),
            },
            // What is the same here anyway says nothing.
            "PV_STORAGE_FSTYPE" if value == "ext4" => Ok(()),
            "PV_STORAGE_MNTPOINT" if value == "/storage" => Ok(()),
            _ => Err(Why::Unknown),
        };
        if let Err(why) = known {
            remarks.push(Remark { key, level, why });
        }
    }
}

fn put<T>(place: &mut Option<T>, value: Option<T>) -> Result<(), Why> {
    *place = Some(value.ok_or(Why::Value)?);
    Ok(())
}

/// A key as the tables of the reference spell it: `storage.device` and `pv_storage_device` are `PV_STORAGE_DEVICE`.
fn key(said: &str) -> String {
    let (prefix, bare) = match said.split_at_checked(3) {
        Some((prefix, bare)) if prefix.eq_ignore_ascii_case("pv_") => ("PV_", bare),
        Some((prefix, bare)) if prefix.eq_ignore_ascii_case("ph_") => ("PH_", bare),
        _ => ("PV_", said),
    };
    let plain = |c: char| if c.is_ascii_graphic() { c.to_ascii_uppercase() } else { '?' };
    let name = bare.chars().take(KEY_MAX).map(|c| if c == '.' { '_' } else { plain(c) });
    prefix.chars().chain(name).collect()
}

/// A name of a device, in one of the ways in which there are some.
fn device(value: &str) -> Option<String> {
    let ways = ["/dev/", "LABEL=", "PARTLABEL=", "UUID="];
    let is_name = ways.into_iter().any(|way| value.strip_prefix(way).is_some_and(|name| !name.is_empty()));
    is_name.then(|| value.to_string())
}

/// `1` or `0`.
fn flag(value: &str) -> Option<bool> {
    match value {
        "1" => Some(true),
        "0" => Some(false),
        _ => None,
    }
}

/// `90`, `90s`, `10min` or `1h`, up to 65535 seconds.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let seconds = match unit {
        "" | "s" => 1,
        "min" => 60,
        "h" => 3600,
        _ => return None,
    };
    number.parse::<u16>().ok()?.checked_mul(seconds).map(|seconds| Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    fn said(file: &str, words: &str, variables: &[(&str, &str)]) -> (Options, Vec<String>) {
        let (mut options, mut remarks) = (Options::default(), Vec::new());
        options.add_file(file, &mut remarks);
        options.add_command_line(words, &mut remarks);
        variables.iter().for_each(|(key, value)| options.add_variable(key, value, &mut remarks));
        (options, remarks.iter().map(Remark::to_string).collect())
    }

    #[test]
    fn the_same_option_is_said_in_three_places_and_the_last_one_counts() {
        let (options, remarks) = said("# ours\nPV_STORAGE_WAIT = 5\nstorage.device=LABEL=root\n", "quiet", &[]);
        assert_eq!(
            (options.storage_wait, options.storage.as_deref()),
            (Some(Duration::from_secs(5)), Some("LABEL=root"))
        );
        let (options, _) = said("PV_STORAGE_WAIT=5", "pv_storage_wait=7s pv_rev=3 pv_try=4", &[]);
        assert_eq!(options.storage_wait, Some(Duration::from_secs(7)));
        let variables = [("PV_STORAGE_WAIT", "1min"), ("pv_storage_wait", "9"), ("PATH", "/bin")];
        let (options, more) = said("PV_STORAGE_WAIT=5", "pv_storage_wait=7s", &variables);
        assert_eq!(options.storage_wait, Some(Duration::from_secs(60)));
        assert!(remarks.is_empty() && more.is_empty());
    }

    #[test]
    fn signatures_are_only_asked_for_more_strictly() {
        for first in Mode::WORDS {
            for second in Mode::WORDS {
                let line = format!("pv_secureboot_mode={second}");
                let (options, remarks) = said(&format!("PV_SECUREBOOT_MODE={first}"), &line, &[]);
                let (first, second) = (Mode::parse(first).unwrap(), Mode::parse(second).unwrap());
                assert_eq!(options.signatures.map(|(mode, _)| mode), Some(first.max(second)));
                assert_eq!(remarks.len(), usize::from(second < first));
            }
        }
    }

    #[test]
    fn what_has_no_effect_is_named_and_its_value_is_not() {
        let (options, remarks) =
            said("PH_CREDS_SECRET=abc\nPV_STORAGE_FSTYPE=ext4", "pv_debug_shell=xyz pv_wdt_timeout=0 pv_wdt_mode", &[]);
        assert_eq!(options, Options::default());
        assert_eq!(
            remarks,
            [
                "PH_CREDS_SECRET of /etc/pantavisor.config has no effect here",
                "PV_DEBUG_SHELL of the command line has no effect here",
                "PV_WDT_TIMEOUT of the command line has a value that it cannot have, and no effect",
                "PV_WDT_MODE of the command line has a value that it cannot have, and no effect",
            ]
        );
    }

    #[test]
    fn a_storage_has_a_name_of_one_of_four_kinds() {
        assert_eq!(said("", "pv_storage_device=UUID=a-b", &[]).0.storage.as_deref(), Some("UUID=a-b"));
        for wrong in ["", "sdb1", "/dev/", "LABEL=", "PARTUUID=1"] {
            let (options, remarks) = said("", &format!("pv_storage_device={wrong}"), &[]);
            assert_eq!((options.storage, remarks.len()), (None, 1), "{wrong}");
        }
    }

    #[test]
    fn a_duration_has_one_of_three_units_and_a_bound() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("10min", 600), ("1h", 3600), ("65535", 65535)] {
            assert_eq!(duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "s", "-1", "1.5", "1 s", "19h", "65536", "1m", "١"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
