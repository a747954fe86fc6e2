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
//!     stop_timeout=5                  seconds that a container may take to end when it is asked to
//!     endpoint=0.0.0.0:12368          where `pvr` is served; on any address but a loopback, to who is paired
//!     recovery_address=dhcp          in recovery: dhcp, off, or 10.0.2.15/24, 10.0.2.15/24 via 10.0.2.2
//!     storage=PARTLABEL=storage       what PID 1 mounts at /storage: also LABEL=, UUID=, a path; unset: it is there
//!     storage_wait=30                 seconds until it must have appeared
//!     bootloader=emmc                 a revision may bring one: the ROM obeys PARTITION_CONFIG; unset: as the board says
//!     hook_time=30                    seconds that a system hook may take
//!     watchdog=60                     seconds, or off; unset: 60 where PID 1 mounts the storage, else off
//!     trace=/dev/ttyS1                where what the device does is written for a test to read; unset: nowhere
//!   /etc/cairn/trust/*.pem            certificates and public keys
//!   /etc/pantavisor.config  pv_key=value  PV_KEY=value      options as existing devices say them: formats::options
//! ```
//!
//! The file is part of what boots, and so as trusted as this program. A command line is not: words can choose what was
//! booted and where the storage is, never what is trusted. Unknown keys are errors, since a misspelt `signatures` would be a
//! weaker device. Of existing devices the file counts under ours, command line and environment over it; and
//! what they say of signatures only tightens.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use boards_api::board::Twins;
use formats::compatible::Fit;
use formats::drivers_json::Board;
use formats::options::{Options, Remark, Why};
use formats::verify::Mode;
use metal::place::Place;
use statemachine::container::Span;
use statemachine::container::policy::STOP_GRACE;
use statemachine::limits::Limits;

use crate::recovery::Addressing;

/// Where the file lies in the initramfs.
pub const FILE: &str = "/etc/cairn/conf";

/// Where that of an existing device lies, which need not be there.
const EXISTING: &str = "/etc/pantavisor.config";

/// Where the keys lie.
pub const TRUST: &str = "/etc/cairn/trust";

/// Where the endpoint listens if nobody says otherwise: nobody from outside reaches it.
const ENDPOINT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 12_368);

/// How long a storage may take to appear if nobody says otherwise: a slow USB bridge needs ten seconds.
const STORAGE_WAIT: Duration = Duration::from_secs(30);

/// How long the goals of a trial must hold if nobody says otherwise.
const COMMIT_DELAY: Duration = Duration::from_secs(25);

/// How long a container may take to end, at most: less than an update in place waits for all that leave.
const STOP_TIMEOUT_MAX: u16 = 100;
/// How long a system hook may take if nobody says otherwise.
const HOOK_TIME: Duration = Duration::from_secs(30);

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
    /// How long a container may take to end when it is asked to.
    pub stop_timeout: Span,
    /// How long a system hook may take.
    pub hook_time: Duration,
    /// Where the endpoint for `pvr` listens. Who reaches it on a loopback address needs no pairing.
    pub endpoint: SocketAddr,
    /// Where the address of a device in recovery comes from.
    pub recovery: Addressing,
    /// What PID 1 mounts as the storage. `None`: whoever started it has mounted one, and the machine is not ours.
    pub storage: Option<Place>,
    /// How long it may take to appear.
    pub storage_wait: Duration,
    /// Where this device has two copies of its bootloader. `None`: as its board says.
    pub bootloader: Option<Twins>,
    /// The time of the watchdog, in seconds.
    pub watchdog: Option<NonZeroU16>,
    /// The device node, as a serial line, that the [trace](crate::trace) is written to.
    pub trace: Option<PathBuf>,
    /// Bounds of attempts.
    pub limits: Limits,
    /// What the firmware has told of the board, for which drivers are chosen: `PV_BOOTLOADER_FITCONFIG`, and on the command
    /// line `cairn.dtb=FILE` and `cairn.overlays=FILE,FILE`.
    pub board: Board,
    /// Every driver is loaded before any container starts.
    pub drivers_early: bool,
    /// Which mount options of a revision apply. `None`: those of the policy `default`.
    pub remount_policy: Option<String>,
    /// The words of the firmware.
    pub words: String,
    /// What was said and has no effect.
    pub remarks: Vec<Remark>,
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

fn seconds(value: &str) -> Option<Duration> {
    value.parse::<u16>().ok().map(|seconds| Duration::from_secs(seconds.into()))
}

/// The time of a watchdog as options change it.
fn armed(time: Option<NonZeroU16>, options: &Options) -> Option<NonZeroU16> {
    match (options.watchdog, time) {
        (Some(false), _) | (None, None) => None,
        (Some(true), time) | (None, time @ Some(_)) => options.watchdog_timeout.or(time).or(WATCHDOG),
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
        let existing = std::fs::read_to_string(EXISTING).ok().filter(|text| text.len() <= FILE_MAX);
        let words = self::words(words);
        let (mut under, mut over, mut remarks) = (Options::default(), Options::default(), Vec::new());
        under.add_file(&existing.unwrap_or_default(), &mut remarks);
        over.add_command_line(&words, &mut remarks);
        // What is no text is no option.
        let text_of = |text: std::ffi::OsString| text.into_string().ok();
        for (key, value) in std::env::vars_os().filter_map(|(key, value)| Some((text_of(key)?, text_of(value)?))) {
            over.add_variable(&key, &value, &mut remarks);
        }
        let settings = Self::parse(&text, words, (&under, &over))?;
        Ok(Self { remarks: settings.remarks.iter().chain(&remarks).cloned().collect(), ..settings })
    }

    /// `under` counts where the text says nothing, `over` counts over it.
    fn parse(text: &str, words: String, (under, over): (&Options, &Options)) -> Result<Self, SettingsError> {
        let (mut board, mut product) = (None, None);
        let (mut signatures, mut commit_delay) = (Mode::Strict, None);
        let mut limits = Limits::FIELD;
        let (mut endpoint, mut recovery) = (ENDPOINT, Addressing::default());
        let (mut storage, mut storage_wait, mut watchdog, mut trace) = (None, None, None, None);
        let (mut bootloader, mut stop_timeout, mut hook_time) = (None, STOP_GRACE, HOOK_TIME);
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
                "commit_delay" => commit_delay = Some(seconds(value).ok_or_else(wrong)?),
                "attempts" => {
                    let attempts = value.parse().ok().filter(|count| (1..=limits.ceiling).contains(count));
                    limits.attempts = attempts.ok_or_else(wrong)?;
                }
                "bootloader" if value == "emmc" => bootloader = Some(Twins::Emmc),
                "bootloader" => return Err(wrong()),
                "endpoint" => {
                    endpoint = value.parse().ok().filter(|at: &SocketAddr| at.port() != 0).ok_or_else(wrong)?;
                }
                "hook_time" => {
                    hook_time = seconds(value).filter(|time| !time.is_zero()).ok_or_else(wrong)?;
                }
                "recovery_address" => recovery = Addressing::parse(value).ok_or_else(wrong)?,
                "stop_timeout" => {
                    let seconds = value.parse().ok().filter(|seconds| (1..=STOP_TIMEOUT_MAX).contains(seconds));
                    stop_timeout = Span::seconds(seconds.ok_or_else(wrong)?.into());
                }
                "storage" => storage = Some(Place::parse(value).ok_or_else(wrong)?),
                "storage_wait" => storage_wait = Some(seconds(value).ok_or_else(wrong)?),
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
        let mut remarks = Vec::new();
        for (said, level) in [under, over].into_iter().filter_map(|options| options.signatures) {
            if said < signatures {
                remarks.push(Remark { key: "PV_SECUREBOOT_MODE".into(), level, why: Why::Weaker });
            }
            signatures = signatures.max(said);
        }
        let place = |options: &Options| options.storage.as_deref().and_then(Place::parse);
        // Another storage is for a machine that has one to find.
        let storage = storage.or_else(|| place(under)).map(|storage| place(over).unwrap_or(storage));
        // A machine that is not ours has a watchdog that is not ours.
        let watchdog = watchdog.unwrap_or_else(|| armed(if storage.is_some() { WATCHDOG } else { None }, under));
        let watchdog = armed(watchdog, over);
        let commit_delay = over.commit_delay.or(commit_delay).or(under.commit_delay).unwrap_or(COMMIT_DELAY);
        let storage_wait = over.storage_wait.or(storage_wait).or(under.storage_wait).unwrap_or(STORAGE_WAIT);
        let fit_config = over.fit_config.clone().or_else(|| under.fit_config.clone());
        let remount_policy = over.remount_policy.clone().or_else(|| under.remount_policy.clone());
        let drivers_early = over.drivers_early.or(under.drivers_early).unwrap_or(false);
        let mut settings = Self {
            fit,
            signatures,
            commit_delay,
            stop_timeout,
            hook_time,
            endpoint,
            recovery,
            storage,
            storage_wait,
            bootloader,
            watchdog,
            trace,
            limits,
            board: Board { fit_config, ..Board::default() },
            drivers_early,
            remount_policy,
            words,
            remarks,
        };
        let overlays = settings.value("cairn.overlays").into_iter().flat_map(|list| list.split(','));
        settings.board.overlays = overlays.filter(|file| !file.is_empty()).map(str::to_owned).collect();
        settings.board.dtb = settings.value("cairn.dtb").map(str::to_owned);
        Ok(settings)
    }

    /// The words of the firmware for people to read: of credentials (`ph_…=`), which an existing device may have there, the
    /// key alone.
    #[must_use]
    pub fn shown(&self) -> String {
        let shown = |word: &str| match word.split_once('=') {
            Some((key, _)) if key.get(..3).is_some_and(|head| head.eq_ignore_ascii_case("ph_")) => key.to_owned(),
            _ => word.to_owned(),
        };
        self.words.split_ascii_whitespace().map(shown).collect::<Vec<_>>().join(" ")
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
impl Settings {
    /// What a file says, and nobody else.
    pub(crate) fn of(text: &str, words: String) -> Result<Self, SettingsError> {
        Self::parse(text, words, (&Options::default(), &Options::default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_the_product_and_everything_else_has_a_safe_default() {
        let settings = Settings::of("board=host\nline=demo\n", String::new()).unwrap();
        assert_eq!(settings.fit.to_string(), "host/demo");
        assert_eq!(settings.signatures, Mode::Strict);
        assert_eq!(settings.limits, Limits::FIELD);
        assert_eq!(settings.endpoint.to_string(), "127.0.0.1:12368");
    }

    #[test]
    fn a_firmware_tells_of_its_board_on_the_command_line() {
        let words = "quiet cairn.dtb=broadcom/a.dtb cairn.overlays=cam.dtbo,,b cairn.dtb=b.dtb".to_owned();
        let board = Settings::of("board=host\nline=demo\n", words).unwrap().board;
        assert_eq!((board.dtb.as_deref(), board.fit_config), (Some("b.dtb"), None));
        assert_eq!(board.overlays, ["cam.dtbo", "b"]);
        let mut over = Options::default();
        over.add_command_line("pv_bootloader_fitconfig=conf-a pv_system_drivers_load_early_auto=1", &mut Vec::new());
        let settings = Settings::parse("board=host\nline=demo\n", String::new(), (&Options::default(), &over)).unwrap();
        assert_eq!((settings.board.fit_config.as_deref(), settings.drivers_early), (Some("conf-a"), true));
    }

    #[test]
    fn the_endpoint_is_an_address_with_a_port() {
        let parse = |endpoint| Settings::of(&format!("board=host\nline=demo\nendpoint={endpoint}"), String::new());
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
        let parse = |text: &str| Settings::of(&format!("board=host\nline=demo\n{text}"), String::new());
        assert_eq!(parse("").unwrap().recovery, Addressing::Dhcp);
        assert_eq!(parse("recovery_address=off").unwrap().recovery, Addressing::Off);
        let fixed = parse("recovery_address=10.0.2.15/24 via 10.0.2.2").unwrap().recovery;
        assert_eq!(Addressing::parse("10.0.2.15/24 via 10.0.2.2"), Some(fixed));
        assert!(matches!(parse("recovery_address=10.0.2.15"), Err(SettingsError::Line(3, _))));
    }

    #[test]
    fn a_machine_of_ours_has_a_storage_to_find_and_a_watchdog() {
        let parse = |text: &str| Settings::of(&format!("board=host\nline=demo\n{text}"), String::new());
        let host = parse("").unwrap();
        assert_eq!((host.storage, host.watchdog), (None, None));
        let metal = parse("storage=PARTLABEL=storage\nstorage_wait=5").unwrap();
        assert_eq!(metal.storage, Some(Place::PartLabel("storage".into())));
        assert_eq!((metal.storage_wait, metal.watchdog), (Duration::from_secs(5), WATCHDOG));
        assert_eq!(parse("watchdog=off\nstorage=/dev/sda1").unwrap().watchdog, None);
        assert_eq!(parse("watchdog=15").unwrap().watchdog, NonZeroU16::new(15));
        assert_eq!(parse("trace=/dev/ttyS1").unwrap().trace, Some("/dev/ttyS1".into()));
        assert_eq!(
            [parse("").unwrap().bootloader, parse("bootloader=emmc").unwrap().bootloader],
            [None, Some(Twins::Emmc)]
        );
        for wrong in [
            "bootloader=",
            "bootloader=nor",
            "trace=ttyS1",
            "storage=",
            "storage=PARTUUID=1",
            "storage_wait=soon",
            "watchdog=0",
            "watchdog=on",
        ] {
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
        let parse = |text: &str| Settings::of(text, String::new()).unwrap_err();
        assert_eq!(parse("board=host\nline=demo\nsignature=lenient"), SettingsError::Key(3, "signature".into()));
        assert_eq!(parse("board=host"), SettingsError::Missing("line"));
        assert!(matches!(parse("board=host\nline=demo\nsignatures=off"), SettingsError::Line(3, _)));
        assert!(matches!(parse("board=host\nline=demo\nattempts=200"), SettingsError::Line(3, _)));
        // Every hook would be late.
        assert!(matches!(parse("board=host\nline=demo\nhook_time=0"), SettingsError::Line(3, _)));
    }

    #[test]
    fn a_container_has_five_seconds_to_end_or_as_long_as_the_device_says() {
        let of = |more: &str| Settings::of(&format!("board=host\nline=demo\n{more}"), String::new());
        let time = |more: &str| of(more).unwrap().stop_timeout;
        assert_eq!((time(""), time("stop_timeout=40")), (Span::seconds(5), Span::seconds(40)));
        for wrong in ["stop_timeout=0", "stop_timeout=101", "stop_timeout=5s"] {
            assert!(matches!(of(wrong), Err(SettingsError::Line(3, _))), "{wrong}");
        }
    }

    #[test]
    fn the_last_word_of_a_firmware_counts() {
        let words = "quiet cairn.role=default cairn.mark cairn.role=trial".to_owned();
        let settings = Settings::of("board=host\nline=demo", words).unwrap();
        assert_eq!(settings.value("cairn.role"), Some("trial"));
        assert!(settings.has("cairn.mark") && !settings.has("cairn.mar"));
    }

    /// What a file, an existing device's file and a command line come to.
    fn said(own: &str, file: &str, words: &str) -> Settings {
        let (mut under, mut over) = (Options::default(), Options::default());
        under.add_file(file, &mut Vec::new());
        over.add_command_line(words, &mut Vec::new());
        Settings::parse(&format!("board=host\nline=demo\n{own}"), String::new(), (&under, &over)).unwrap()
    }

    #[test]
    fn an_existing_device_goes_on_with_what_its_boot_script_says() {
        let settings = said("", "PV_STORAGE_DEVICE=LABEL=root\nPV_WDT_TIMEOUT=15", "pv_storage_wait=5");
        assert_eq!(settings.storage, Some(Place::Label("root".into())));
        assert_eq!((settings.storage_wait, settings.watchdog), (Duration::from_secs(5), NonZeroU16::new(15)));
        let settings =
            said("storage=PARTLABEL=storage\nstorage_wait=7", "PV_STORAGE_WAIT=5", "pv_storage_device=/dev/sdb1");
        assert_eq!(settings.storage, Place::parse("/dev/sdb1"));
        assert_eq!(settings.storage_wait, Duration::from_secs(7), "our own file counts over the other one");
        let settings = said("storage=PARTLABEL=storage", "", "pv_storage_device=sdb1 pv_wdt_mode=disabled");
        assert_eq!((settings.storage, settings.watchdog), (Some(Place::PartLabel("storage".into())), None));
        assert_eq!(said("", "", "pv_storage_device=/dev/sdb1").storage, None, "a machine that is not ours");
    }

    #[test]
    fn signatures_are_only_tightened_from_outside() {
        for own in Mode::WORDS {
            for outside in Mode::WORDS {
                let (file, words) = (format!("PV_SECUREBOOT_MODE={outside}"), format!("pv_secureboot_mode={outside}"));
                for settings in
                    [said(&format!("signatures={own}"), &file, ""), said(&format!("signatures={own}"), "", &words)]
                {
                    let (own, outside) = (Mode::parse(own).unwrap(), Mode::parse(outside).unwrap());
                    assert_eq!(settings.signatures, own.max(outside));
                    assert_eq!(settings.remarks.len(), usize::from(outside < own));
                }
            }
        }
        assert_eq!(said("", "PV_SECUREBOOT_MODE=disabled", "").signatures, Mode::Strict);
    }

    #[test]
    fn credentials_of_a_command_line_are_shown_to_nobody() {
        let words = "quiet ph_creds_secret=abc PH_CREDS_ID=def pv_storage_wait=5".to_owned();
        let settings = Settings::of("board=host\nline=demo", words).unwrap();
        assert_eq!(settings.shown(), "quiet ph_creds_secret PH_CREDS_ID pv_storage_wait=5");
    }
}
