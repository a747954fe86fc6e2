//! `lxc.container.conf`: the lines that a container's signed configuration may have, and no others.
//!
//! ```text
//!   lxc.rootfs.path = overlayfs:/volumes/web/root.squashfs:/volumes/web/lxc-overlay/upper
//!   └── key ──────┘   └── value, blanks around it and one pair of quotes removed ──────┘
//! ```
//!
//! Keys are exact. What becomes of each of them is in the tables of [`keys`]. One that is in none is an error with its
//! line and not a warning, because a line that has no effect may be the one that confines the container. The same key may occur again where that has a meaning
//! (environment, mounts, capabilities); the order of lines is kept. [`Config::to_text`] writes only what reads back as
//! the same, so no value of an image can add a line of its own.
//!
//! API: [`Config::parse`], [`Config::items`], [`Config::to_text`]; [`lines`] for all files of a container. Each [`Item`] is one line; whoever builds a
//! container matches all of them, so a new key cannot be forgotten silently.

mod command;
mod files;
mod idmap;
mod item;
pub mod keys;
mod limit;
mod mount;
mod neighbours;
mod net;
pub mod privileges;
pub mod rights;
mod security;
pub mod wire;

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

pub use command::{Command, is_init};
pub use files::{ALL_BYTES_MAX, DEPTH_MAX, FilesError, Said, lines};
pub use idmap::{IDMAPS_MAX, IdKind, IdMap};
pub use item::{AutoMount, Item, Namespace, Rootfs};
pub use limit::{Limits, Resource, Signal};
pub use mount::{Create, MountEntry, MountOption};
pub use neighbours::neighbours;
pub use net::{Gateway, LinkKind, MacvlanMode, NetItem};
pub use security::{Access, Capability, CgroupVersion, DeviceKind, DeviceRule};

use crate::document::shown;

/// The longest configuration in bytes. Templates write some two kilobytes.
pub const BYTES_MAX: usize = 64 * 1024;

/// The most lines.
pub const LINES_MAX: usize = 2048;

/// A whole configuration.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Config {
    /// Lines that say something, with their numbers.
    pub lines: Vec<Line>,
}

/// One line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// Its number in the file, from 1; 0 in a configuration that was built.
    pub number: u32,
    /// What it says.
    pub item: Item,
}

/// A line that cannot be accepted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LxcError {
    /// Its number, from 1.
    pub line: u32,
    /// Its key, as far as there is one.
    pub key: String,
    /// What is wrong.
    pub wrong: LxcWrong,
}

/// What is wrong with a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LxcWrong {
    /// The file is longer than [`BYTES_MAX`].
    TooLong,
    /// The file has more than [`LINES_MAX`] lines.
    TooMany,
    /// The file is not UTF-8.
    Utf8,
    /// A control character.
    Control,
    /// No `=`.
    NoValue,
    /// A key that is not known.
    UnknownKey,
    /// A key that no container may have.
    Refused(&'static str),
    /// A key that can only be passed over with one of these values.
    Only {
        /// The values.
        values: &'static [&'static str],
        /// Why it has no effect.
        why: &'static str,
    },
    /// A value that does not have the form.
    Value {
        /// The value.
        found: String,
        /// The form.
        wanted: &'static str,
    },
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// [`LxcError`] names the line and the key.
    pub fn parse(bytes: &[u8]) -> Result<Self, LxcError> {
        let whole = |wrong| LxcError { line: 1, key: String::new(), wrong };
        if bytes.len() > BYTES_MAX {
            return Err(whole(LxcWrong::TooLong));
        }
        let text = core::str::from_utf8(bytes).map_err(|_| whole(LxcWrong::Utf8))?;
        let mut lines = Vec::new();
        for (number, line) in (1_u32..).zip(text.lines()) {
            if usize::try_from(number).is_ok_and(|number| number > LINES_MAX) {
                return Err(whole(LxcWrong::TooMany));
            }
            let line = line.trim_matches(BLANKS);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            lines.push(Line {
                number,
                item: read_line(line).map_err(|(key, wrong)| LxcError { line: number, key, wrong })?,
            });
        }
        Ok(Self { lines })
    }

    /// What the lines say, in order.
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.lines.iter().map(|line| &line.item)
    }

    /// The text of the lines, without comments.
    ///
    /// # Errors
    /// [`LxcError`] at the line whose value cannot be written: one with a line break in it, for example.
    pub fn to_text(&self) -> Result<String, LxcError> {
        let mut text = String::new();
        for (number, item) in (1_u32..).zip(self.items()) {
            let line = alloc::format!("{item}");
            let again = Self::parse(line.as_bytes()).map_err(|error| LxcError { line: number, ..error })?;
            if !again.items().eq([item]) {
                let wrong = wrong(&line, "a value that can stand in one line");
                return Err(LxcError { line: number, key: String::new(), wrong });
            }
            text.push_str(&line);
            text.push('\n');
        }
        Ok(text)
    }

    /// Adds a line at the end.
    pub fn push(&mut self, item: Item) {
        self.lines.push(Line { number: 0, item });
    }
}

impl FromIterator<Item> for Config {
    fn from_iter<I: IntoIterator<Item = Item>>(items: I) -> Self {
        Self { lines: items.into_iter().map(|item| Line { number: 0, item }).collect() }
    }
}

const BLANKS: [char; 2] = [' ', '\t'];

fn read_line(line: &str) -> Result<Item, (String, LxcWrong)> {
    let (key, value) = line.split_once('=').ok_or_else(|| (shown(line), LxcWrong::NoValue))?;
    let key = key.trim_matches(BLANKS);
    if line.contains(|c: char| c.is_control() && c != '\t') {
        return Err((shown(key), LxcWrong::Control));
    }
    let value = unquoted(value.trim_matches(BLANKS));
    item::read(key, value).map_err(|wrong| (shown(key), wrong))
}

/// Removes one pair of equal quotes around the whole value.
fn unquoted(value: &str) -> &str {
    ['"', '\'']
        .into_iter()
        .find_map(|quote| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)))
        .unwrap_or(value)
}

/// A value as it must be written to read back as itself.
fn quoted(value: &str) -> String {
    let survives = value.trim_matches(BLANKS) == value && unquoted(value) == value;
    if survives { value.to_owned() } else { alloc::format!("\"{value}\"") }
}

/// The complaint about a value.
fn wrong(found: &str, wanted: &'static str) -> LxcWrong {
    LxcWrong::Value { found: shown(found), wanted }
}

impl fmt::Display for LxcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        match &self.wrong {
            LxcWrong::TooLong => write!(f, "the configuration is longer than {BYTES_MAX} bytes"),
            LxcWrong::TooMany => write!(f, "the configuration has more than {LINES_MAX} lines"),
            LxcWrong::Utf8 => f.write_str("the configuration is not UTF-8"),
            LxcWrong::Control => f.write_str("a control character cannot stand in a line"),
            LxcWrong::NoValue => f.write_str("a line is KEY = VALUE"),
            LxcWrong::UnknownKey => f.write_str("there is no such key; remove the line"),
            LxcWrong::Refused(why) => f.write_str(why),
            LxcWrong::Only { values, why } => {
                write!(f, "{why}: write {} or remove the line", values.first().copied().unwrap_or_default())
            }
            LxcWrong::Value { found, wanted } => write!(f, "{found:?} is not {wanted}"),
        }
    }
}

impl core::error::Error for LxcError {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    /// What tools write for a container with one volume and everything that can be switched on.
    const FULL: &str = "\
lxc.tty.max = 8
lxc.pty.max = 1024
lxc.log.file = /pv/logs/web.log
lxc.cgroup.devices.deny = a
lxc.cgroup.devices.allow = c 1:3 rwm
lxc.cgroup.devices.allow = b *:* r
lxc.cgroup.memory.limit_in_bytes = 10M
lxc.cgroup2.hugetlb.2MB.max = 4194304
lxc.rootfs.path = overlayfs:/volumes/web/root.ovl.squashfs:/volumes/base/root.squashfs:/volumes/web/lxc-overlay/upper
lxc.init.cmd = /docker-entrypoint.sh \"nginx\" \"-g\" \"daemon off;\"
lxc.init.cwd = /srv
lxc.environment = PATH=/usr/bin:/bin
lxc.environment = EMPTY=
lxc.namespace.keep = user net ipc
lxc.console.path = none
lxc.mount.auto = proc sys:rw cgroup
lxc.autodev = 0
lxc.mount.entry = /dev/ dev none bind,rw,create=dir 0 0
lxc.mount.entry = /etc/resolv.conf etc/resolv.conf none bind,rw,create=file 0 0
lxc.mount.entry = tmpfs run tmpfs rw,nodev,relatime,create=dir,mode=755 0 0
lxc.mount.entry = /volumes/web/docker--a-b a/b none bind,rw,create=dir 0 0
lxc.mount.entry = /volumes/x/web etc/x none bind,rw,create=dir,optional,noexec 0 0
lxc.cap.drop = sys_admin
lxc.cap.keep = net_admin net_raw
lxc.net.0.type = veth
lxc.net.0.link = lxcbr0
lxc.net.0.flags = up
lxc.net.0.name = eth0
lxc.net.0.hwaddr = 02:00:0a:00:03:07
lxc.net.0.ipv4.address = 10.0.3.7/24
lxc.net.0.ipv4.gateway = auto
lxc.uts.name = web
lxc.include = more.conf
lxc.mount.fstab = fstab
lxc.prlimit.nofile = 1024:4096
lxc.sysctl.net.ipv4.ip_forward = 1
lxc.proc.oom_score_adj = -17
lxc.signal.halt = SIGPWR
lxc.init.groups = 4,27
lxc.start.auto = 1
lxc.hook.mount = /lib/hooks/mdev.sh
lxc.tty.min = 1
cairn.optional = lxc.cgroup2.hugetlb.2MB.max
lxc.seccomp.profile = seccomp.bpf
lxc.idmap = u 0 1000000 65536
lxc.idmap = g 0 1000000 65536
";

    fn wrong_at(text: &str) -> LxcError {
        Config::parse(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn every_line_that_tools_write_is_known_and_written_back_as_it_was() {
        let config = Config::parse(FULL.as_bytes()).unwrap();
        assert_eq!(config.lines.len(), FULL.lines().count());
        assert_eq!(config.to_text().unwrap(), FULL.replace("\"nginx\" \"-g\" ", "nginx -g "));
    }

    #[test]
    fn what_is_written_reads_back_as_the_same() {
        let config = Config::parse(FULL.as_bytes()).unwrap();
        let again = Config::parse(config.to_text().unwrap().as_bytes()).unwrap();
        assert!(config.items().eq(again.items()));
    }

    #[test]
    fn a_value_cannot_add_a_line_of_its_own() {
        let variable = |value: &str| Item::Environment { name: "A".into(), value: value.into() };
        for value in ["x\nlxc.autodev = 1", "x\r", "\0"] {
            let config: Config = [Item::Autodev(false), variable(value)].into_iter().collect();
            assert_eq!(config.to_text().unwrap_err().line, 2, "{value:?}");
        }
        for value in [" blank ", "\"quoted\"", "'", "", "a=b", "# no comment"] {
            let config: Config = [variable(value)].into_iter().collect();
            let again = Config::parse(config.to_text().unwrap().as_bytes()).unwrap();
            assert!(config.items().eq(again.items()), "{value:?}");
        }
    }

    #[test]
    fn odd_spacing_of_the_templates_is_understood() {
        let text =
            "\n  # a comment\n\tlxc.namespace.keep = user  net  ipc \nlxc.net.0.link =eth0\nlxc.uts.name=\"web\"\n";
        let config = Config::parse(text.as_bytes()).unwrap();
        let lines: Vec<_> = config.lines.iter().map(|line| (line.number, line.item.to_string())).collect();
        assert_eq!(
            lines,
            [
                (3, "lxc.namespace.keep = user net ipc".into()),
                (4, "lxc.net.0.link = eth0".into()),
                (5, "lxc.uts.name = web".into())
            ]
        );
    }

    #[test]
    fn a_key_that_is_not_known_is_refused_with_its_line() {
        for key in [
            "lxc.includes",
            "cairn.required",
            "lxc.rootfs.pathx",
            "lxc.net.0",
            "lxc.net.x.type",
            "lxc.net.0.typ",
            "lxc.hook.",
            "lxc.cgroup",
            "lxc.cgroup.",
            "lxc.prlimit.files",
            "lxc.sysctl.net..x",
            "lxc.sysctl.kernel/x",
            "lxc.start",
            "LXC.TTY.MAX",
            "",
            "lxc.net.00.type",
            "lxc.net.256.type",
            "lxc.cgroup.devices.list",
            "lxc.cgroup../x.y",
            "lxc.cgroup2.Memory.max",
        ] {
            let error = wrong_at(&alloc::format!("lxc.tty.max = 1\n{key} = 1\n"));
            assert_eq!((error.line, error.key.as_str(), &error.wrong), (2, key, &LxcWrong::UnknownKey));
        }
        let error = wrong_at("lxc.includes = /etc/passwd");
        assert_eq!(error.to_string(), "line 1: lxc.includes: there is no such key; remove the line");
    }

    #[test]
    fn a_value_that_is_not_understood_is_refused() {
        for line in [
            "lxc.tty.max = -1",
            "lxc.tty.max =",
            "lxc.tty.max = +1",
            "lxc.autodev = yes",
            "lxc.rootfs.path = volumes/x",
            "lxc.rootfs.path = loop:/volumes/x",
            "lxc.rootfs.path = dir:/a:/b",
            "lxc.rootfs.path = overlayfs:/a",
            "lxc.include = /usr/share/lxc/config/common.conf",
            "lxc.include = ..",
            "lxc.mount.fstab = a/b",
            "lxc.signal.halt = SIGNAL",
            "lxc.init.groups = 4;5",
            "lxc.prlimit.nofile = 5:4",
            "lxc.sysctl.net.ipv4.ip_forward =",
            "lxc.proc.oom_score_adj = 1001",
            "lxc.mount.auto = cgroup-fully",
            "lxc.autodev.tmpfs.size = 1M",
            "lxc.rootfs.path = overlayfs:a:b",
            "lxc.rootfs.path = overlayfs:/a/../b:/c",
            "lxc.init.cmd =",
            "lxc.init.cmd = \"a",
            "lxc.init.cwd = srv",
            "lxc.environment = A",
            "lxc.environment = =x",
            "lxc.namespace.keep = usr",
            "lxc.console.path = /dev/console",
            "lxc.mount.auto = proc:ro",
            "lxc.cap.drop = admin",
            "lxc.cap.drop = CAP_SYS_ADMIN",
            "lxc.net.0.type = ipvlan",
            "lxc.net.0.flags = down",
            "lxc.net.0.link = a/b",
            "lxc.net.0.link = lo",
            "lxc.net.0.name = eth%d",
            "lxc.net.0.ipv4.address = 10.0.3",
            "lxc.net.0.ipv4.address = 10.0.3.7",
            "lxc.net.0.ipv4.address = auto",
            "lxc.net.0.ipv4.address = dhcp",
            "lxc.net.0.ipv4.address = 10.0.3.0/24",
            "lxc.net.0.ipv4.address = 10.0.3.255/24",
            "lxc.net.0.ipv4.address = 127.0.0.2/8",
            "lxc.net.0.ipv4.address = 224.0.0.2/8",
            "lxc.net.0.ipv4.address = 10.0.3.7/0",
            "lxc.net.0.ipv4.address = 10.0.3.7/24 10.0.3.8",
            "lxc.net.0.ipv4.gateway = 0.0.0.0",
            "lxc.net.0.ipv4.gateway = fd00::1",
            "lxc.net.0.ipv6.gateway = 10.0.3.1",
            "lxc.net.0.ipv6.address = 10.0.3.7/24",
            "lxc.net.0.ipv6.address = fd00::7/129",
            "lxc.net.0.ipv6.address = ff02::1/64",
            "lxc.net.0.ipv6.address = ::1/64",
            "lxc.net.0.hwaddr = 1",
            "lxc.net.0.hwaddr = 01:00:00:00:00:01",
            "lxc.net.0.hwaddr = 00:16:3e:xx:xx:xx",
            "lxc.net.0.mtu = 67",
            "lxc.net.0.vlan.id = 4095",
            "lxc.net.0.vlan.id = 07",
            "lxc.net.0.veth.mode = router",
            "lxc.net.0.veth.pair = a/b",
            "lxc.net.0.macvlan.mode = public",
            "lxc.uts.name = a b",
            "lxc.cgroup.devices.allow = d 1:3 rwm",
            "lxc.cgroup.devices.allow = c 1 rwm",
            "lxc.cgroup.devices.allow = c 1:3 x",
            "lxc.hook.mount = hook",
            "lxc.seccomp.profile =",
            "lxc.seccomp.profile = /usr/share/lxc/config/common.seccomp",
            "lxc.seccomp.profile = ../seccomp.bpf",
            "lxc.seccomp.profile = ..",
            "lxc.idmap = u 0 1000000",
            "lxc.mount.entry = a b",
            "cairn.optional = pids.max",
            "cairn.optional = lxc.cgroup2.devices.allow",
            "cairn.optional = lxc.cgroup2.",
            "cairn.optional =",
            "lxc.mount.entry = /a ../b none bind 0 0",
        ] {
            assert!(matches!(wrong_at(line).wrong, LxcWrong::Value { .. }), "{line}");
        }
        assert_eq!(wrong_at("lxc.tty.max").wrong, LxcWrong::NoValue);
        assert_eq!(wrong_at("lxc.uts.name = a\u{1}b").wrong, LxcWrong::Control);
        assert_eq!(wrong_at("lxc.uts.name = a\rb").wrong, LxcWrong::Control);
    }

    #[test]
    fn what_is_said_in_another_way_is_read_as_the_same() {
        for (line, same) in [
            ("lxc.mount.auto = cgroup-full:ro:force sys:rw", "lxc.mount.auto = cgroup:ro sys:rw"),
            ("lxc.mount.auto = cgroup:mixed:force", "lxc.mount.auto = cgroup:mixed"),
            ("lxc.rootfs.path = /volumes/web/root", "lxc.rootfs.path = dir:/volumes/web/root"),
            ("lxc.signal.halt = 37", "lxc.signal.halt = SIGRTMIN+3"),
            ("lxc.init.groups = 4, 27\t5", "lxc.init.groups = 4,27,5"),
            ("lxc.prlimit.core = 0:0", "lxc.prlimit.core = 0"),
            ("lxc.cap.drop =", "lxc.cap.drop ="),
        ] {
            assert_eq!(Config::parse(line.as_bytes()).unwrap().to_text().unwrap().trim_end(), same);
        }
    }

    #[test]
    fn a_list_without_a_value_takes_back_its_own_key_and_no_other_key_can_be_empty() {
        let config = Config::parse(b"lxc.cap.drop =").unwrap();
        assert_eq!(config.lines[0].item, Item::Reset("lxc.cap.drop".into()));
        assert_eq!(config.lines[0].item.key(), "lxc.cap.drop");
        for key in ["lxc.init.cmd", "lxc.rootfs.path", "lxc.autodev", "lxc.uts.name", "lxc.cgroup.memory.max"] {
            assert!(Config::parse(alloc::format!("{key} =").as_bytes()).is_err(), "{key}");
        }
    }

    #[test]
    fn a_configuration_is_bounded() {
        assert_eq!(wrong_at(&" ".repeat(BYTES_MAX + 1)).wrong, LxcWrong::TooLong);
        assert_eq!(wrong_at(&"\n".repeat(LINES_MAX + 1)).wrong, LxcWrong::TooMany);
        assert_eq!(Config::parse(b"\xff").unwrap_err().wrong, LxcWrong::Utf8);
    }
}
