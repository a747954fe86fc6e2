//! What a container is granted beyond its template: named one by one when it is made, and written as lines that its
//! signed configuration has.
//!
//! | `pvr app add` | lines |
//! |---|---|
//! | (nothing) | `lxc.cgroup.devices.*`: the nodes of a `/dev` of its own, and no others |
//! | `--device /dev/ttyUSB0` | a rule for that node, and the node |
//! | `--cap sys_time` | one more of `lxc.cap.keep`, and the system calls that need it |
//! | `--mount /srv:/data:rw` | a mount of the device's files |
//! | `--grant full-dev` … | as `PV_SECURITY_…` of existing tools |
//!
//! A rule is about numbers and not about names, and numbers are the running kernel's: those that Linux has given away for
//! good are in [`NUMBERS`], any other is said with the name.

use formats::lxc::privileges::USUAL_DEVICES;
use formats::lxc::{Access, Capability, CgroupVersion, Create, DeviceKind, DeviceRule, Item, MountEntry, MountOption};

use crate::error::{Error, Result};

/// What is granted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Grants {
    /// Parts of the device as a whole.
    pub wide: Vec<Wide>,
    /// Device nodes.
    pub devices: Vec<Device>,
    /// Capabilities beside those of the template.
    pub capabilities: Vec<Capability>,
    /// Files of the device.
    pub mounts: Vec<HostMount>,
}

/// A part of the device that existing tools grant as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wide {
    /// All of `/dev`.
    FullDev,
    /// All of what the device sees.
    Host,
    /// `/proc` of the device, with its processes.
    HostProc,
    /// Revisions, objects, and the volumes of all.
    Storage,
}

impl Wide {
    /// All names.
    pub const WORDS: &'static [&'static str] = &["full-dev", "host", "host-proc", "storage"];

    /// What a name grants.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "full-dev" => Self::FullDev,
            "host" => Self::Host,
            "host-proc" => Self::HostProc,
            "storage" => Self::Storage,
            _ => return None,
        })
    }

    /// The argument of existing tools.
    pub(super) const fn argument(self) -> &'static str {
        match self {
            Self::FullDev => "PV_SECURITY_FULLDEV",
            Self::Host => "PV_SECURITY_WITH_HOST",
            Self::HostProc => "PV_SECURITY_WITH_HOSTPROC",
            Self::Storage => "PV_SECURITY_WITH_STORAGE",
        }
    }

    /// The line of existing tools.
    pub(super) const fn line(self) -> &'static str {
        match self {
            Self::FullDev => "lxc.mount.entry = /dev/ dev none bind,rw,create=dir 0 0",
            Self::Host => "lxc.mount.entry = / host none bind,rw,create=dir 0 0",
            Self::HostProc => "lxc.mount.entry = /proc/ host/proc none bind,rw,create=dir 0 0",
            Self::Storage => "lxc.mount.entry = /storage storage none bind,rw,create=dir 0 0",
        }
    }

    /// Source and target of that line.
    const fn places(self) -> (&'static str, &'static str) {
        match self {
            Self::FullDev => ("/dev/", "dev"),
            Self::Host => ("/", "host"),
            Self::HostProc => ("/proc/", "host/proc"),
            Self::Storage => ("/storage", "storage"),
        }
    }
}

/// A node of the device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Device {
    /// Below `/dev`.
    path: String,
    rule: DeviceRule,
}

/// The numbers of nodes whose name ends in a number.
enum Minor {
    /// One more for each, from the first on and so many: `ttyS1` is 4:65.
    From(u32, u32),
    /// Given out as they come: all of that kind.
    Any,
}

/// The nodes whose numbers are the same on every Linux (Documentation/admin-guide/devices.txt): what the name begins with,
/// kind, major, minor.
const NUMBERS: [(&str, DeviceKind, u32, Minor); 18] = [
    ("dri/card", DeviceKind::Character, 226, Minor::From(0, 64)),
    ("dri/renderD", DeviceKind::Character, 226, Minor::From(0, 192)),
    ("fb", DeviceKind::Character, 29, Minor::From(0, 32)),
    ("i2c-", DeviceKind::Character, 89, Minor::From(0, 256)),
    ("input/event", DeviceKind::Character, 13, Minor::From(64, 32)),
    ("input/js", DeviceKind::Character, 13, Minor::From(0, 32)),
    ("loop", DeviceKind::Block, 7, Minor::From(0, 256)),
    ("mmcblk", DeviceKind::Block, 179, Minor::Any),
    ("sd", DeviceKind::Block, 8, Minor::Any),
    ("snd/", DeviceKind::Character, 116, Minor::Any),
    ("spidev", DeviceKind::Character, 153, Minor::Any),
    ("tty", DeviceKind::Character, 4, Minor::From(0, 64)),
    ("ttyACM", DeviceKind::Character, 166, Minor::From(0, 256)),
    ("ttyAMA", DeviceKind::Character, 204, Minor::From(64, 16)),
    ("ttyS", DeviceKind::Character, 4, Minor::From(64, 192)),
    ("ttyUSB", DeviceKind::Character, 188, Minor::From(0, 256)),
    ("ttymxc", DeviceKind::Character, 207, Minor::From(16, 8)),
    ("video", DeviceKind::Character, 81, Minor::Any),
];

/// The nodes without a number in their name.
const NAMED: [(&str, u32, u32); 7] = [
    ("fuse", 10, 229),
    ("hwrng", 10, 183),
    ("kmsg", 1, 11),
    ("kvm", 10, 232),
    ("net/tun", 10, 200),
    ("uinput", 10, 223),
    ("watchdog", 10, 130),
];

impl Device {
    /// Reads `PATH[=RULE]`.
    ///
    /// # Errors
    /// It has another form, or nobody can know the number of the node.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| {
            Error::user(format!("the device {text:?}: {why}"))
                .hint("write PATH, or PATH=KIND MAJOR:MINOR ACCESS like '/dev/gpiochip0=c 254:0 rw' (`ls -l` has them)")
        };
        let (path, rule) = text.split_once('=').map_or((text, None), |(path, rule)| (path, Some(rule)));
        let name = path.strip_prefix("/dev/").ok_or_else(|| wrong("it does not begin with /dev/"))?;
        formats::path::relative(name).map_err(|why| wrong(&why.to_string()))?;
        let rule = match rule {
            Some(rule) => DeviceRule::parse(rule).map_err(|_| wrong("what follows `=` is no rule"))?,
            None => known(name).ok_or_else(|| wrong("its numbers are not the same everywhere"))?,
        };
        if rule == DeviceRule::All {
            return Err(wrong("that rule is about every device; --grant full-dev is for that"));
        }
        Ok(Self { path: path.to_owned(), rule })
    }
}

/// `PATH=RULE`
impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.path, self.rule)
    }
}

/// The rule for a node whose numbers are fixed: it may be read and written, and not made.
fn known(name: &str) -> Option<DeviceRule> {
    let access = Access { read: true, write: true, mknod: false };
    let rule = |kind, major, minor| DeviceRule::Nodes { kind, major: Some(major), minor, access };
    if let Some((_, major, minor)) = NAMED.iter().find(|(node, ..)| *node == name) {
        return Some(rule(DeviceKind::Character, *major, Some(*minor)));
    }
    NUMBERS.iter().find_map(|(start, kind, major, minor)| {
        let rest = name.strip_prefix(start).filter(|rest| !rest.is_empty())?;
        match minor {
            // What follows a name like `sd` is `a1`, and no longer name that begins the same.
            Minor::Any if rest.len() <= 8 && !rest.contains('/') => Some(rule(*kind, *major, None)),
            Minor::Any => None,
            Minor::From(first, count) => {
                let number = rest.parse::<u32>().ok().filter(|number| number.to_string() == rest)?;
                (number < *count).then(|| rule(*kind, *major, Some(first + number)))
            }
        }
    })
}

/// Files of the device in a container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostMount {
    source: String,
    target: String,
    writable: bool,
    file: bool,
    optional: bool,
}

impl HostMount {
    /// Reads `SOURCE:TARGET[:OPTION,…]`.
    ///
    /// # Errors
    /// It has another form.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| {
            Error::user(format!("the mount {text:?}: {why}"))
                .hint("write SOURCE:TARGET[:OPTION,…] with absolute paths; options are rw, file and optional")
        };
        let mut parts = text.split(':');
        let (Some(source), Some(target), options, None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong("it has another form"));
        };
        let inside = |path: &str| {
            let inside = path.strip_prefix('/').ok_or_else(|| wrong("a path begins with `/`"))?.trim_end_matches('/');
            formats::path::relative(inside).map_err(|why| wrong(&why.to_string())).map(|()| inside.to_owned())
        };
        let (source, target) = (format!("/{}", inside(source)?), inside(target)?);
        let mut mount = Self { source, target, writable: false, file: false, optional: false };
        for option in options.into_iter().flat_map(|options| options.split(',')) {
            match option {
                "ro" => mount.writable = false,
                "rw" => mount.writable = true,
                "file" => mount.file = true,
                "optional" => mount.optional = true,
                _ => return Err(wrong("an option that is not known")),
            }
        }
        Ok(mount)
    }
}

/// As it is read.
impl std::fmt::Display for HostMount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:/{}:{}", self.source, self.target, if self.writable { "rw" } else { "ro" })?;
        f.write_str(if self.file { ",file" } else { "" })?;
        f.write_str(if self.optional { ",optional" } else { "" })
    }
}

impl Grants {
    /// What of it is checked by the device's users or the device's rights, as it was named.
    pub(crate) fn of_the_device(&self) -> Vec<String> {
        let Self { wide, devices, capabilities, mounts } = self;
        let wide = wide.iter().map(|wide| wide.places().0.to_owned());
        let devices = devices.iter().map(|device| device.path.clone());
        let capabilities = capabilities.iter().map(|one| format!("the capability {one}"));
        wide.chain(devices).chain(capabilities).chain(mounts.iter().map(|mount| mount.source.clone())).collect()
    }

    /// The rules about device nodes. All lines are those of v1, which existing devices know too; they mean the same in
    /// either generation here.
    pub(super) fn rules(&self) -> Vec<Item> {
        let item = |allow, rule| Item::Devices { version: CgroupVersion::V1, allow, rule };
        if self.wide.contains(&Wide::FullDev) {
            return vec![item(true, DeviceRule::All)];
        }
        // `/dev` of a container is made under its own rules, so these can be made too.
        let access = Access { read: true, write: true, mknod: true };
        let usual = USUAL_DEVICES.iter().map(|(major, minor)| {
            let (kind, major, minor) = (DeviceKind::Character, Some(*major), *minor);
            item(true, DeviceRule::Nodes { kind, major, minor, access })
        });
        let mut items = vec![item(false, DeviceRule::All)];
        items.extend(usual);
        for device in &self.devices {
            let item = item(true, device.rule);
            if !items.contains(&item) {
                items.push(item);
            }
        }
        items
    }

    /// The mounts, in the order in which later ones lie over earlier ones.
    pub(super) fn mounts(&self) -> impl Iterator<Item = Item> {
        let entry = |source: &str, target: &str, options: &[&str], create, optional: bool| {
            let mut options: Vec<_> = options.iter().map(|word| MountOption::Kernel((*word).to_owned())).collect();
            options.push(MountOption::Create(create));
            options.extend(optional.then_some(MountOption::Optional));
            let (source, target) = (source.to_owned(), target.to_owned());
            Item::Mount(MountEntry { source, target, fstype: "none".to_owned(), options })
        };
        let wide = self.wide.iter().map(move |wide| {
            let (source, target) = wide.places();
            entry(source, target, &["bind", "rw"], Create::Dir, false)
        });
        let devices = self.devices.iter().map(move |device| {
            let target = device.path.trim_start_matches('/');
            entry(&device.path, target, &["bind", "rw"], Create::File, false)
        });
        let mounts = self.mounts.iter().map(move |mount| {
            let create = if mount.file { Create::File } else { Create::Dir };
            let options = if mount.writable { ["bind", "rw"] } else { ["bind", "ro"] };
            entry(&mount.source, &mount.target, &options, create, mount.optional)
        });
        wide.chain(devices).chain(mounts)
    }

    /// What a container keeps that has these from its template.
    pub(super) fn kept(&self, template: &[Capability]) -> Vec<Capability> {
        let mut kept = [template, &self.capabilities].concat();
        kept.sort_by_key(|capability| capability.number());
        kept.dedup();
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_well_known_node_need_not_be_said() {
        for (name, rule) in [
            ("ttyS0", "c 4:64 rw"),
            ("tty1", "c 4:1 rw"),
            ("ttyUSB3", "c 188:3 rw"),
            ("ttyAMA0", "c 204:64 rw"),
            ("i2c-1", "c 89:1 rw"),
            ("dri/renderD128", "c 226:128 rw"),
            ("input/event2", "c 13:66 rw"),
            ("video0", "c 81:* rw"),
            ("snd/pcmC0D0p", "c 116:* rw"),
            ("net/tun", "c 10:200 rw"),
            ("mmcblk0p1", "b 179:* rw"),
        ] {
            let device = Device::parse(&format!("/dev/{name}")).unwrap();
            assert_eq!(device.to_string(), format!("/dev/{name}={rule}"));
            assert_eq!(Device::parse(&device.to_string()).unwrap(), device);
        }
        for name in ["gpiochip0", "ttyS", "ttyS01", "ttyS192", "tty", "i2c-+1", "sd", "../sda", "rtc0", "input/eventx"]
        {
            assert!(Device::parse(&format!("/dev/{name}")).is_err(), "{name}");
        }
        assert!(Device::parse("/dev/gpiochip0=c 254:0 rw").is_ok());
        assert!(Device::parse("/dev/x=a").unwrap_err().to_string().contains("full-dev"));
        assert!(Device::parse("/tmp/x=c 1:3 r").is_err());
    }

    #[test]
    fn a_mount_is_read_only_unless_it_is_said_and_is_written_as_it_is_read() {
        for (text, written) in [
            ("/srv:/data", "/srv:/data:ro"),
            ("/srv/:/data/", "/srv:/data:ro"),
            ("/etc/x:/etc/x:rw,file,optional", "/etc/x:/etc/x:rw,file,optional"),
        ] {
            let mount = HostMount::parse(text).unwrap();
            assert_eq!(mount.to_string(), written);
            assert_eq!(HostMount::parse(written).unwrap(), mount);
        }
        for text in ["/srv", "srv:/data", "/srv:data", "/srv:/data:x", "/srv:/../data", "/a:/b:ro:rw", "/:/host", ""] {
            assert!(HostMount::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_word_of_a_wide_grant_has_its_line() {
        for word in Wide::WORDS {
            let wide = Wide::parse(word).unwrap();
            let mut grants = Grants { wide: vec![wide], ..Grants::default() }.mounts().collect::<Vec<_>>();
            assert_eq!(grants.pop().unwrap().to_string(), wide.line().to_owned());
        }
    }
}
