//! What PID 1 is told before it reads anything of a revision: the words of its command line, and one file.
//!
//! ```text
//!   cairn.role=trial cairn.mark …     from the firmware: arguments of PID 1, else /proc/cmdline
//!   /etc/cairn/conf                   from whoever built the initramfs: `key=value`, a line each
//!     board=host                      which board of this program
//!     line=demo                       the product line; with the board it is what a revision must fit
//!     signatures=strict               disabled, lenient, audit, strict
//!     commit_delay=25                 seconds for which the goals of a trial must hold
//!     attempts=3                      boots of a trial
//!     endpoint=0.0.0.0:12368          where `pvr` is served; on any address but a loopback, to who is paired
//!     recovery_address=dhcp          in recovery: dhcp, off, or 10.0.2.15/24, 10.0.2.15/24 via 10.0.2.2
//!     storage=PARTLABEL=storage       what PID 1 mounts at /storage: also LABEL=, UUID=, a path; unset: it is there
//!     storage_wait=30                 seconds until it must have appeared
//!     watchdog=60                     seconds, or off; unset: 60 where PID 1 mounts the storage, else off
//!     trace=/dev/ttyS1                where what the device does is written for a test to read; unset: nowhere
//!   /etc/cairn/trust/*.pem            certificates and public keys
//! ```
//!
//! The file is part of what boots, and so as trusted as this program. A command line is not: words can choose what was
//! booted, never what is trusted. Unknown keys are errors, since a misspelt `signatures` would be a weaker device.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use formats::compatible::Fit;
use formats::verify::Mode;
use metal::place::Place;
use statemachine::limits::Limits;

use crate::recovery::Addressing;

/// Where the file lies in the initramfs.
pub const FILE: &str = "/etc/cairn/conf";

/// Where the keys lie.
pub const TRUST: &str = "/etc/cairn/trust";

/// Where the endpoint listens if nobody says otherwise: nobody from outside reaches it.
const ENDPOINT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 12_368);

/// How long a storage may take to appear if nobody says otherwise: a slow USB bridge needs ten seconds.
const STORAGE_WAIT: Duration = Duration::from_secs(30);

/// The time of the watchdog if nobody says otherwise. Longer than any single step of a boot may take.
const WATCHDOG: Option<NonZeroU16> = NonZeroU16::new(60);

/// The longest file that is read.
const FILE_MAX: usize = 16 * 1024;

/// What a device is set up to be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The product that this device is.
    pub fit: Fit,
    /// How much it asks of signatures.
    pub signatures: Mode,
    /// How long the goals of a trial must hold.
    pub commit_delay: Duration,
    /// Where the endpoint for `pvr` listens. Who reaches it on a loopback address needs no pairing.
    pub endpoint: SocketAddr,
    /// Where the address of a device in recovery comes from.
    pub recovery: Addressing,
    /// What PID 1 mounts as the storage. `None`: whoever started it has mounted one, and the machine is not ours.
    pub storage: Option<Place>,
    /// How long it may take to appear.
    pub storage_wait: Duration,
    /// The time of the watchdog, in seconds.
    pub watchdog: Option<NonZeroU16>,
    /// The device node, as a serial line, that the [trace](crate::trace) is written to.
    pub trace: Option<PathBuf>,
    /// Bounds of attempts.
    pub limits: Limits,
    /// The words of the firmware.
    pub words: String,
}

/// What is wrong with the settings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SettingsError {
    /// The file cannot be read.
    File(String),
    /// A line is no `key=value`, or its value is not one of those.
    Line(usize, String),
    /// A key that nothing knows.
    Key(usize, String),
    /// A key that is needed.
    Missing(&'static str),
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(why) => write!(f, "{FILE}: {why}"),
            Self::Line(number, line) => write!(f, "{FILE}, line {number}: {line:?} is not understood"),
            Self::Key(number, key) => write!(f, "{FILE}, line {number}: there is no setting {key:?}"),
            Self::Missing(key) => write!(f, "{FILE}: {key} is missing"),
        }
    }
}

impl std::error::Error for SettingsError {}

/// What the firmware says: the arguments of PID 1 if they are words of ours, else the kernel's command line. Empty where
/// that cannot be read either.
///
/// A kernel gives PID 1 every word that it does not know itself, but none with a dot in its name.
#[must_use]
pub fn words(arguments: &[String]) -> String {
    if arguments.iter().any(|word| word.starts_with("cairn.")) {
        arguments.join(" ")
    } else {
        std::fs::read_to_string("/proc/cmdline").unwrap_or_default().trim_end().to_owned()
    }
}

impl Settings {
    /// Reads the file. `words` are the arguments of PID 1; without any, the kernel's command line counts.
    ///
    /// # Errors
    /// [`SettingsError`]
    pub fn read(words: &[String]) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(FILE).map_err(|error| SettingsError::File(error.to_string()))?;
        if text.len() > FILE_MAX {
            return Err(SettingsError::File(format!("more than {FILE_MAX} bytes")));
        }
        Self::parse(&text, self::words(words))
    }

    fn parse(text: &str, words: String) -> Result<Self, SettingsError> {
        let (mut board, mut product) = (None, None);
        let mut signatures = Mode::Strict;
        let mut commit_delay = Duration::from_secs(25);
        let mut limits = Limits::FIELD;
        let (mut endpoint, mut recovery) = (ENDPOINT, Addressing::default());
        let (mut storage, mut storage_wait, mut watchdog, mut trace) = (None, STORAGE_WAIT, None, None);
        for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line.trim())) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = || SettingsError::Line(number, line.to_owned());
            let (key, value) = line.split_once('=').ok_or_else(wrong)?;
            match key {
                "board" => board = Some(value.to_owned()),
                "line" => product = Some(value.to_owned()),
                "signatures" => signatures = Mode::parse(value).ok_or_else(wrong)?,
                "commit_delay" => commit_delay = Duration::from_secs(value.parse::<u16>().map_err(|_| wrong())?.into()),
                "attempts" => {
                    let attempts = value.parse().ok().filter(|count| (1..=limits.ceiling).contains(count));
                    limits.attempts = attempts.ok_or_else(wrong)?;
                }
                "endpoint" => {
                    endpoint = value.parse().ok().filter(|at: &SocketAddr| at.port() != 0).ok_or_else(wrong)?;
                }
                "recovery_address" => recovery = Addressing::parse(value).ok_or_else(wrong)?,
                "storage" => storage = Some(Place::parse(value).ok_or_else(wrong)?),
                "storage_wait" => {
                    storage_wait = Duration::from_secs(value.parse::<u16>().map_err(|_| wrong())?.into());
                }
                "trace" => {
                    trace = Some(value)
                        .filter(|path| path.starts_with("/dev/"))
                        .map(PathBuf::from)
                        .ok_or_else(wrong)
                        .map(Some)?
                }
                "watchdog" if value == "off" => watchdog = Some(None),
                "watchdog" => watchdog = Some(Some(value.parse().map_err(|_| wrong())?)),
                _ => return Err(SettingsError::Key(number, key.to_owned())),
            }
        }
        let board = board.ok_or(SettingsError::Missing("board"))?;
        let product = product.ok_or(SettingsError::Missing("line"))?;
        let fit = format!("{board}/{product}");
        let fit = Fit::parse(&fit).ok_or_else(|| SettingsError::File(format!("{fit:?} is no name of a product")))?;
        // A machine that is not ours has a watchdog that is not ours.
        let watchdog = watchdog.unwrap_or(if storage.is_some() { WATCHDOG } else { None });
        Ok(Self {
            fit,
            signatures,
            commit_delay,
            endpoint,
            recovery,
            storage,
            storage_wait,
            watchdog,
            trace,
            limits,
            words,
        })
    }

    /// Whether a word stands on the command line.
    #[must_use]
    pub fn has(&self, word: &str) -> bool {
        self.words.split_ascii_whitespace().any(|one| one == word)
    }

    /// The value of the last `key=value` on the command line.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        let mut words = self.words.split_ascii_whitespace().rev();
        words.find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_the_product_and_everything_else_has_a_safe_default() {
        let settings = Settings::parse("board=host\nline=demo\n", String::new()).unwrap();
        assert_eq!(settings.fit.to_string(), "host/demo");
        assert_eq!(settings.signatures, Mode::Strict);
        assert_eq!(settings.limits, Limits::FIELD);
        assert_eq!(settings.endpoint.to_string(), "127.0.0.1:12368");
    }

    #[test]
    fn the_endpoint_is_an_address_with_a_port() {
        let parse = |endpoint| Settings::parse(&format!("board=host\nline=demo\nendpoint={endpoint}"), String::new());
        for (endpoint, is_loopback) in [
            ("0.0.0.0:12368", false),
            ("[::]:80", false),
            ("[::1]:80", true),
            ("127.0.0.2:1", true),
            ("10.0.0.5:1", false),
        ] {
            assert_eq!(parse(endpoint).unwrap().endpoint.ip().is_loopback(), is_loopback, "{endpoint}");
        }
        for wrong in ["", "0.0.0.0", "localhost:12368", "10.0.0.5:0", ":12368", "*:12368"] {
            assert!(matches!(parse(wrong), Err(SettingsError::Line(3, _))), "{wrong}");
        }
    }

    #[test]
    fn a_device_in_recovery_asks_for_an_address_if_nobody_says_which() {
        let parse = |text: &str| Settings::parse(&format!("board=host\nline=demo\n{text}"), String::new());
        assert_eq!(parse("").unwrap().recovery, Addressing::Dhcp);
        assert_eq!(parse("recovery_address=off").unwrap().recovery, Addressing::Off);
        let fixed = parse("recovery_address=10.0.2.15/24 via 10.0.2.2").unwrap().recovery;
        assert_eq!(Addressing::parse("10.0.2.15/24 via 10.0.2.2"), Some(fixed));
        assert!(matches!(parse("recovery_address=10.0.2.15"), Err(SettingsError::Line(3, _))));
    }

    #[test]
    fn a_machine_of_ours_has_a_storage_to_find_and_a_watchdog() {
        let parse = |text: &str| Settings::parse(&format!("board=host\nline=demo\n{text}"), String::new());
        let host = parse("").unwrap();
        assert_eq!((host.storage, host.watchdog), (None, None));
        let metal = parse("storage=PARTLABEL=storage\nstorage_wait=5").unwrap();
        assert_eq!(metal.storage, Some(Place::PartLabel("storage".into())));
        assert_eq!((metal.storage_wait, metal.watchdog), (Duration::from_secs(5), WATCHDOG));
        assert_eq!(parse("watchdog=off\nstorage=/dev/sda1").unwrap().watchdog, None);
        assert_eq!(parse("watchdog=15").unwrap().watchdog, NonZeroU16::new(15));
        assert_eq!(parse("trace=/dev/ttyS1").unwrap().trace, Some("/dev/ttyS1".into()));
        for wrong in ["trace=ttyS1", "storage=", "storage=PARTUUID=1", "storage_wait=soon", "watchdog=0", "watchdog=on"]
        {
            assert!(matches!(parse(wrong), Err(SettingsError::Line(3, _))), "{wrong}");
        }
    }

    #[test]
    fn words_that_are_not_ours_do_not_hide_the_command_line() {
        let from = |list: &[&str]| words(&list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(from(&["cairn.role=trial", "quiet"]), "cairn.role=trial quiet");
        assert_eq!(from(&["splash"]), from(&[]));
    }

    #[test]
    fn a_misspelt_key_is_an_error_and_not_a_default() {
        let parse = |text: &str| Settings::parse(text, String::new()).unwrap_err();
        assert_eq!(parse("board=host\nline=demo\nsignature=lenient"), SettingsError::Key(3, "signature".into()));
        assert_eq!(parse("board=host"), SettingsError::Missing("line"));
        assert!(matches!(parse("board=host\nline=demo\nsignatures=off"), SettingsError::Line(3, _)));
        assert!(matches!(parse("board=host\nline=demo\nattempts=200"), SettingsError::Line(3, _)));
    }

    #[test]
    fn the_last_word_of_a_firmware_counts() {
        let words = "quiet cairn.role=default cairn.mark cairn.role=trial".to_owned();
        let settings = Settings::parse("board=host\nline=demo", words).unwrap();
        assert_eq!(settings.value("cairn.role"), Some("trial"));
        assert!(settings.has("cairn.mark") && !settings.has("cairn.mar"));
    }
}
