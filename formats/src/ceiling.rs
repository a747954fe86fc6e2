//! How much a signer of apps can grant. Keys that a device trusts are of two roles, by the name of their file:
//!
//! ```text
//!   /etc/cairn/trust/maker.pem       signs everything
//!                    shop.apps.pem   signs containers, and they have at most what the ceiling says
//!                    apps.conf       the ceiling, as lines that grant more than a confined container has
//! ```
//!
//! What a manifest asks for has lines of its own there, by the names of the members that ask:
//!
//! ```text
//!   run.network.pool = apps
//!   run.ports = 8000-8999/tcp        [ADDRESS:]FIRST[-LAST][/tcp|/udp]
//!   run.drivers = wifi
//! ```
//!
//! A container is *limited* unless signers of everything have signed all of it: who changes one file of it may change what it
//! does with its rights. What belongs to no container (base, groups, disks) is never an app signer's. Without a key of that
//! role there is no ceiling. Pure, as the rest of what is checked of signatures; why it is so: decisions
//! 0022 and 0027.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use crate::lxc::rights::{CONFINED, Ports, Right, beyond, confined, lines, rights};
use crate::lxc::{Capability, CgroupVersion, Config, DeviceRule, Item, LxcError, Namespace};
use crate::state::{Class, Owner, Revision};
use crate::verify::is_left_out;

/// How the file of an app signer's keys ends.
pub const KEYS: &str = ".apps.pem";

/// The file with the lines of the ceiling.
pub const FILE: &str = "apps.conf";

/// The most that a limited container may have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ceiling(Vec<Right>);

/// What is above it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Above {
    /// Something of the device itself.
    System {
        /// Its key.
        key: String,
    },
    /// Rights of a container.
    Container {
        /// Its name.
        name: String,
        /// Those that are too much.
        rights: Vec<Right>,
    },
}

/// Why a file says no ceiling.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CeilingError {
    /// A line of the language of configurations.
    Config(LxcError),
    /// A line about a manifest, and what it should be.
    Line {
        /// Its number, from 1.
        number: usize,
        /// What there is to say.
        wanted: &'static str,
    },
}

impl Default for Ceiling {
    fn default() -> Self {
        Self(confined())
    }
}

impl Ceiling {
    /// What a confined container has, and what the lines of a file grant beside it.
    ///
    /// # Errors
    /// [`CeilingError`] names the line.
    pub fn parse(text: &[u8]) -> Result<Self, CeilingError> {
        let (mut asked, mut rest) = (Vec::new(), Vec::with_capacity(text.len()));
        for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
            let said = core::str::from_utf8(line).ok().map(str::trim).filter(|line| line.starts_with("run."));
            match said {
                Some(said) => asked.push(line_of(said).map_err(|wanted| CeilingError::Line { number, wanted })?),
                None => rest.extend_from_slice(line),
            }
            // What is left keeps its numbers.
            rest.push(b'\n');
        }
        rest.truncate(text.len());
        let mut ceiling = Self::with(&Config::parse(&rest).map_err(CeilingError::Config)?);
        ceiling.0.extend(asked);
        Ok(ceiling)
    }

    fn with(more: &Config) -> Self {
        // Lines that are not there take rights away here, and would grant them in a configuration of a container.
        let base = vec![
            Item::Devices { version: CgroupVersion::V2, allow: false, rule: DeviceRule::All },
            // In the network of the device, where it is a right of its own.
            Item::CapKeep(CONFINED.iter().copied().filter(|one| *one != Capability::NetRaw).collect()),
            Item::NoNewPrivs(true),
            Item::SeccompProfile("its own".to_owned()),
            Item::NamespaceKeep(vec![Namespace::User, Namespace::Net]),
        ];
        let config: Config = base.into_iter().chain(more.items().cloned()).collect();
        let mut all = confined();
        all.extend(rights("", &config));
        Self(all)
    }

    /// Checks what a limited container wants.
    ///
    /// # Errors
    /// [`Above::Container`]
    pub fn check(&self, name: &str, wanted: &[Right]) -> Result<(), Above> {
        let rights = beyond(wanted, &self.0);
        if rights.is_empty() { Ok(()) } else { Err(Above::Container { name: name.to_owned(), rights }) }
    }
}

/// A line about a manifest.
fn line_of(line: &str) -> Result<Right, &'static str> {
    const KEYS: &str =
        "there are `run.network.pool = POOL`, `run.ports = [ADDRESS:]FIRST[-LAST][/udp]` and `run.drivers = NAME`";
    let (key, value) = line.split_once('=').ok_or(KEYS)?;
    let value = value.trim();
    let right = match key.trim_end() {
        _ if value.is_empty() || value.contains(|c: char| c.is_whitespace() || c.is_control()) => None,
        "run.network.pool" => Some(Right::Pool(value.to_owned())),
        "run.ports" => Ports::parse(value).map(Right::Publishes),
        "run.drivers" => Some(Right::Driver(value.to_owned())),
        _ => None,
    };
    right.ok_or(KEYS)
}

/// The names of the containers that are limited. `covered` says for each key of the revision, in its order, whether a
/// signer of everything has signed it.
///
/// # Errors
/// [`Above::System`]
pub fn limited(revision: &Revision, covered: &[bool]) -> Result<BTreeSet<String>, Above> {
    let mut names = BTreeSet::new();
    for (entry, _) in revision.entries().zip(covered).filter(|(_, covered)| !**covered) {
        if is_left_out(entry.key) || entry.class == Class::Ignored {
            continue;
        }
        match revision.owner(entry.key) {
            Owner::Container(name) => {
                names.insert(name.as_str().to_owned());
            }
            Owner::System => return Err(Above::System { key: entry.key.to_owned() }),
        }
    }
    Ok(names)
}

impl fmt::Display for Above {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System { key } => write!(f, "{key} is signed by a signer of apps, who may sign containers only"),
            Self::Container { name, rights } => {
                write!(f, "{name} is signed by a signer of apps, who may not grant: {}", lines(rights).join("; "))
            }
        }
    }
}

impl core::error::Error for Above {}

impl fmt::Display for CeilingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Line { number, wanted } => write!(f, "line {number}: {wanted}"),
        }
    }
}

impl core::error::Error for CeilingError {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn config(text: &str) -> Config {
        Config::parse(text.as_bytes()).unwrap()
    }

    const CONFINES: &str = "lxc.cgroup.devices.deny = a\nlxc.cap.keep = chown\nlxc.no_new_privs = 1\n\
         lxc.seccomp.profile = seccomp.bpf\nlxc.namespace.keep = user net\n";

    fn above(ceiling: &Ceiling, more: &str) -> String {
        let wanted = rights("web", &config(&[CONFINES, more].concat()));
        ceiling.check("web", &wanted).err().map_or(String::new(), |above| above.to_string())
    }

    #[test]
    fn without_lines_the_ceiling_is_a_confined_container_and_each_line_raises_it_by_itself_only() {
        let plain = Ceiling::default();
        assert_eq!(Ceiling::with(&Config::default()).check("web", &plain.0), Ok(()));
        assert_eq!(above(&plain, ""), "");
        let grants = [
            "lxc.cap.keep = sys_time\n",
            "lxc.cap.keep = net_raw\n",
            "lxc.cgroup.devices.allow = c 188:* rw\n",
            "lxc.mount.entry = /run/gps gps none bind,rw 0 0\n",
            "lxc.mount.auto = sys:rw\n",
            "lxc.namespace.keep = user net ipc\n",
            "lxc.no_new_privs = 0\n",
            "lxc.net.0.type = phys\nlxc.net.0.link = can0\n",
            "lxc.net.0.type = macvlan\nlxc.net.0.link = eth0\n",
            "lxc.cgroup.devices.allow = a\n",
        ];
        for raised in grants {
            let ceiling = Ceiling::with(&config(raised));
            for wanted in grants {
                let every = raised.ends_with("= a\n") && wanted.contains("188");
                let refused = above(&ceiling, wanted);
                assert_eq!(refused.is_empty(), raised == wanted || every, "{raised} and {wanted}: {refused}");
            }
        }
        assert_eq!(
            above(&plain, "lxc.cap.keep = sys_boot\nlxc.mount.entry = / h none bind,ro 0 0"),
            "web is signed by a signer of apps, who may not grant: the capability sys_boot; sees / of the device"
        );
        // A container that says nothing of itself has everything.
        assert!(plain.check("web", &rights("web", &Config::default())).is_err());
        assert!(above(&plain, "lxc.mount.entry = /volumes/db/x x none bind 0 0").contains("/volumes/db/x"));
    }

    #[test]
    fn what_a_manifest_asks_for_is_bounded_by_lines_of_its_own() {
        let ceiling = Ceiling::parse(
            b"# apps of the shop\nrun.network.pool = apps\n  run.ports=8000-8999\n\nrun.drivers = wifi\nlxc.cap.keep = sys_time\n",
        )
        .unwrap();
        let publishes = |text: &str| Right::Publishes(Ports::parse(text).unwrap());
        let named = |name: &str| name.to_owned();
        let allowed = [
            Right::Pool(named("apps")),
            publishes("8080"),
            Right::Driver(named("wifi")),
            Right::Capability(Capability::SysTime),
        ];
        for right in allowed {
            assert_eq!(ceiling.check("web", core::slice::from_ref(&right)), Ok(()));
            assert!(Ceiling::default().check("web", &[right]).is_err());
        }
        for right in [Right::Pool(named("other")), publishes("22"), publishes("8080/udp"), Right::Driver(named("can"))]
        {
            assert!(ceiling.check("web", &[right]).is_err());
        }
        for (text, line) in [
            ("run.network.pool", 1),
            ("\nrun.ports = 0", 2),
            ("run.ports = 80 81", 1),
            ("\n\nrun.drivers =", 3),
            ("run.roles = mgmt", 1),
        ] {
            let error = Ceiling::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(&alloc::format!("line {line}: there are `run.network.pool")), "{error}");
        }
        let error = Ceiling::parse(b"run.drivers = wifi\nlxc.cap.keep = x\n").unwrap_err().to_string();
        assert!(error.starts_with("line 2: lxc.cap.keep"), "{error}");
    }

    #[test]
    fn what_signers_of_everything_have_not_signed_whole_is_limited_and_the_device_is_nobody_elses() {
        let id = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let state = alloc::format!(
            r##"{{"#spec":"pantavisor-service-system@1","_config/db/x":"{id}","_sigs/web.json":{{}},"db/run.json":{{}},
            "device.json":{{}},"web/c":"{id}","web/run.json":{{}},"web/src.json":{{}}}}"##
        );
        let revision = Revision::parse(state.as_bytes()).unwrap();
        let of = |uncovered: &[&str]| {
            let covered: Vec<bool> = revision.entries().map(|entry| !uncovered.contains(&entry.key)).collect();
            limited(&revision, &covered).map(|names| names.into_iter().collect::<Vec<_>>())
        };
        assert_eq!(of(&["_sigs/web.json", "web/src.json"]), Ok(vec![]));
        assert_eq!(of(&["web/c"]), Ok(vec!["web".to_owned()]));
        assert_eq!(of(&["web/run.json", "_config/db/x"]), Ok(vec!["db".to_owned(), "web".to_owned()]));
        for key in ["device.json", "#spec"] {
            assert_eq!(of(&[key]), Err(Above::System { key: key.to_owned() }));
        }
    }
}
