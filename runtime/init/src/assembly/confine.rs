//! What a container shares with the device, and what it may do to it.
//!
//! | the configuration says                       | it has                                                      |
//! |----------------------------------------------|-------------------------------------------------------------|
//! | no `lxc.namespace.keep`                      | namespaces of its own for all but users                     |
//! | `lxc.idmap = …`                              | users of its own, and rights over what is its own only      |
//! | `lxc.namespace.keep = …`                     | the device's of these                                       |
//! | `lxc.namespace.clone = …`                    | the device's of all but these and mounts                    |
//! | `lxc.net.0.type = none`, or `keep` has `net` | the device's network                                        |
//! | `empty`, or nothing about a network          | a network of its own with nothing in it but loopback        |
//! | another type                                 | a network of its own with that in it                        |
//! | nothing, and its manifest names a pool       | a network of its own, whatever `keep` has                   |
//! | `proc`, `proc:mixed`                         | `/proc` without what tells of the device or changes it      |
//! | `sys`, `sys:mixed`, `sys:ro`                 | `/sys` likewise                                             |
//! | of these, what belongs to a network          | writable if that is its own, or it has `net_admin`          |
//! | `proc:rw`, `sys:rw`                          | these as they are: somebody has signed for it               |
//! | neither `lxc.cap.keep` nor `lxc.cap.drop`    | all capabilities, as with LXC, and a warning                |

use container::launch::{
    Attributes, Capabilities, CgroupMode, Namespaces, ProcMode, Propagation, Range, SysMode, TARGETS_MASKED,
    TARGETS_READ_ONLY, Users,
};
use formats::lxc::{Capability, IDMAPS_MAX, IdMap, Namespace};

use super::error::Refusal;

/// For what a container may read and neither change nor use as a device.
pub(crate) const READ_ONLY: Attributes = Attributes {
    read_only: true,
    nosuid: true,
    nodev: true,
    noexec: true,
    noatime: false,
    propagation: Propagation::Private,
};

/// What a configuration says about the network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Network {
    /// That of the device.
    Shared,
    /// Loopback.
    Empty,
    /// What its manifest says.
    Pool,
    /// Its own, with interfaces that are on wires of the device.
    Wires,
}

/// What was said.
#[derive(Default)]
pub(super) struct Confinement {
    pub(super) keep: Option<Vec<Namespace>>,
    pub(super) clone: Option<Vec<Namespace>>,
    pub(super) network: Option<Network>,
    pub(super) idmaps: Vec<IdMap>,
    pub(super) hostname: Option<String>,
    pub(super) proc: Option<ProcMode>,
    pub(super) sys: Option<SysMode>,
    pub(super) cgroup: Option<CgroupMode>,
    pub(super) drop: Vec<Capability>,
    pub(super) retain: Option<Vec<Capability>>,
    pub(super) no_new_privs: bool,
}

/// What it comes to.
pub(super) struct Confined {
    pub(super) hostname: Option<String>,
    pub(super) namespaces: Namespaces,
    pub(super) users: Option<Users>,
    pub(super) proc: Option<ProcMode>,
    pub(super) sys: Option<SysMode>,
    pub(super) cgroup: Option<CgroupMode>,
    pub(super) masked: Vec<String>,
    pub(super) read_only: Vec<String>,
    pub(super) capabilities: Capabilities,
    pub(super) no_new_privs: bool,
    pub(super) warnings: Vec<&'static str>,
}

impl Confined {
    /// Whether a setting of the kernel belongs to a namespace of its own, so that it is not the device's.
    pub(super) fn owns(&self, sysctl: &str) -> bool {
        let queues = ["fs.mqueue.", "kernel.msg", "kernel.shm"];
        self.namespaces.net && sysctl.starts_with("net.")
            || self.namespaces.ipc && (sysctl == "kernel.sem" || queues.iter().any(|own| sysctl.starts_with(own)))
            || self.namespaces.uts && sysctl == "kernel.domainname"
    }
}

impl Confinement {
    /// Completes what was said. `name` is the container's, `host` what its manifest wants to be called.
    pub(super) fn settle(&self, name: &str, host: Option<&str>, uid: u32) -> Result<Confined, Refusal> {
        let mut warnings = Vec::new();
        let lists = |list: &Option<Vec<Namespace>>, one| list.as_ref().is_some_and(|list| list.contains(&one));
        let keeps = |one| lists(&self.keep, one) || self.clone.is_some() && !lists(&self.clone, one);
        match (&self.keep, &self.clone) {
            (Some(_), Some(_)) => {
                let why = "lxc.namespace.keep and lxc.namespace.clone exclude each other; say only what it keeps";
                return Err(Refusal::Contradiction(why));
            }
            (Some(_), None) if !keeps(Namespace::User) && self.idmaps.is_empty() => {
                warnings.push(
                    "lxc.namespace.keep: users are those of the device even though `user` is not in the list; \
                     say with lxc.idmap who they are",
                );
            }
            (None, Some(_)) if !keeps(Namespace::User) && self.idmaps.is_empty() => {
                let why = "lxc.namespace.clone: users of its own need lxc.idmap, which says who they are; add it, or leave \
                           `user` out";
                return Err(Refusal::Contradiction(why));
            }
            _ => {}
        }
        let users = self.users()?;
        if users.is_some() && (lists(&self.keep, Namespace::User) || self.clone.is_some() && keeps(Namespace::User)) {
            let why = "lxc.idmap and users that lxc.namespace shares with the device exclude each other; remove one";
            return Err(Refusal::Contradiction(why));
        }
        if lists(&self.keep, Namespace::Mount) {
            let why = "lxc.namespace.keep: mounts are always the container's own; leave `mnt` out";
            return Err(Refusal::Contradiction(why));
        }
        if keeps(Namespace::Net) && matches!(self.network, Some(Network::Empty | Network::Wires)) {
            let why =
                "a network of its own by lxc.net and one that lxc.namespace shares exclude each other; remove one";
            return Err(Refusal::Contradiction(why));
        }
        let namespaces = Namespaces {
            pid: !keeps(Namespace::Pid),
            // A template that was made before a pool was named keeps the device's.
            net: self.network == Some(Network::Pool) || !keeps(Namespace::Net) && self.network != Some(Network::Shared),
            uts: !keeps(Namespace::Uts),
            ipc: !keeps(Namespace::Ipc),
            cgroup: !keeps(Namespace::Cgroup),
        };
        let hostname = match (&self.hostname, namespaces.uts) {
            (Some(_), false) => {
                let why = "lxc.uts.name and a host name that lxc.namespace shares exclude each other; remove one";
                return Err(Refusal::Contradiction(why));
            }
            (None, false) => None,
            (said, true) => Some(host.or(said.as_deref()).unwrap_or(name).to_owned()),
        };
        let (masked, read_only) = self.hidden();
        Ok(Confined {
            hostname,
            namespaces,
            users,
            proc: self.proc,
            sys: self.sys,
            cgroup: self.cgroup,
            masked,
            read_only,
            capabilities: self.capabilities(uid, &mut warnings)?,
            no_new_privs: self.no_new_privs,
            warnings,
        })
    }

    /// The ranges of all lines.
    fn users(&self) -> Result<Option<Users>, Refusal> {
        let Some((_, others)) = self.idmaps.split_first() else { return Ok(None) };
        let overlap = |(at, one): (usize, &IdMap)| others.iter().skip(at).any(|other| one.overlaps(other));
        if self.idmaps.len() > IDMAPS_MAX || self.idmaps.iter().enumerate().any(overlap) {
            let why = "lines of lxc.idmap say two things of one id, or there are more than 100";
            return Err(Refusal::Contradiction(why));
        }
        let range = |map: &IdMap| Range { inside: map.inside, outside: map.outside, count: map.count };
        let users = Users {
            uids: self.idmaps.iter().filter(|map| map.has_users()).map(range).collect(),
            gids: self.idmaps.iter().filter(|map| map.has_groups()).map(range).collect(),
        };
        // As whom its files would be made.
        if users.uid(0).is_none() || users.gid(0).is_none() {
            let why = "lxc.idmap must have user 0 and group 0 of the container: `u 0 HOST COUNT` and `g 0 HOST COUNT`";
            return Err(Refusal::Contradiction(why));
        }
        Ok(Some(users))
    }

    /// What is masked, and what is read-only.
    fn hidden(&self) -> (Vec<String>, Vec<String>) {
        let (proc, sys) = (self.proc == Some(ProcMode::Mixed), self.sys.is_some_and(|mode| mode != SysMode::Writable));
        let hides = |path: &&&str| if path.starts_with("/proc") { proc } else { sys };
        // Mixed means these two already, and leaves the network's part of the first writable.
        let mixed = |path: &&&str| matches!(**path, "/proc/sys" | "/proc/sysrq-trigger");
        let texts = |list: Vec<&&str>| list.into_iter().map(|path| (*path).to_owned()).collect();
        (
            texts(TARGETS_MASKED.iter().filter(hides).collect()),
            texts(TARGETS_READ_ONLY.iter().filter(hides).filter(|path| !mixed(path)).collect()),
        )
    }

    fn capabilities(&self, uid: u32, warnings: &mut Vec<&'static str>) -> Result<Capabilities, Refusal> {
        let bits = |list: &[Capability]| list.iter().fold(0_u64, |all, one| all | 1 << one.number());
        match (&self.retain, self.drop.as_slice()) {
            (Some(_), [_, ..]) => {
                Err(Refusal::Contradiction("lxc.cap.keep and lxc.cap.drop exclude each other; say only what it keeps"))
            }
            (Some(keep), []) => {
                let bounding = bits(keep);
                // A user other than 0 would have nothing of what is kept for it.
                Ok(Capabilities { bounding, ambient: if uid == 0 { 0 } else { bounding } })
            }
            (None, drop) => {
                if drop.is_empty() {
                    warnings.push("it keeps every capability; say with lxc.cap.keep which it needs");
                }
                Ok(Capabilities { bounding: !bits(drop), ambient: 0 })
            }
        }
    }
}
