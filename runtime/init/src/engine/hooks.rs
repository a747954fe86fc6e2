//! System hooks: programs in the root of the base system, found and started.
//!
//! ```text
//!   RUN/volumes/bsp/root                                  bsp/ROOT-VOLUME of the revision that runs, while hooks run
//!       usr/lib/pantavisor/pv/hooks/system.d/10-fpga      one after the other, by name
//!
//!   /      that image, read-only          /dev /proc /sys   the device's, writable     /storage   the device's, to be read
//!   group  `bsp`, which is no container   own: processes, mounts, ipc, host name       shared: network, users
//! ```
//!
//! A hook may do to hardware what the device may, for it is signed with the kernel. What would take the decision from PID 1 it
//! cannot: end the boot, load modules, or write to the storage through what it is shown. No link in the image leads out of it.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;

use container::image;
use container::launch::{
    Attributes, Capabilities, Create, Launch, Mount, Namespaces, Output, ProcMode, Process, Root, Source, SysMode,
};
use container::spawn;
use rustix::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use statemachine::ids::RevisionId;

use super::launch::text;
use super::{Engine, EngineError, PATIENCE, Running, mounts};
use crate::assembly::{BaseRoot, READ_ONLY};

/// What hooks are to groups and logs: the name that no container can have.
pub const BASE: &str = "bsp";

/// Where they lie in the image.
const DIRECTORY: &str = "usr/lib/pantavisor/pv/hooks/system.d";

/// The most of them.
const HOOKS_MAX: usize = 32;

/// `CAP_SYS_MODULE` and `CAP_SYS_BOOT`.
const WITHHELD: u64 = 1 << 16 | 1 << 22;

/// Where something of the device is put.
const PLACES: [&str; 6] = ["dev", "proc", "run", "storage", "sys", "tmp"];

impl Engine {
    /// Opens the root of the base system of a revision, and says which hooks are in it, as paths in there.
    ///
    /// # Errors
    /// The image or the directory cannot be read, or holds more than 32. Nothing is mounted then.
    pub fn open_hooks(&self, base: &BaseRoot, id: &RevisionId) -> Result<Vec<String>, EngineError> {
        let place = self.paths.volumes(BASE).join("root");
        self.close_hooks()?;
        mounts::make_dir(&place)?;
        image::mount(&self.paths.trail(id).join("bsp").join(&base.file), base.kind, &place)?;
        let listed = list(&place).map_err(EngineError::file("read the hooks in", &place.join(DIRECTORY)));
        if listed.is_err() {
            let _ = self.close_hooks();
        }
        listed
    }

    /// Starts one of them, with these variables.
    ///
    /// # Errors
    /// What could not be prepared. No process is left then.
    pub fn start_hook(&self, hook: &str, variables: Vec<(String, String)>) -> Result<Running, EngineError> {
        let group = self.instance.create(BASE)?;
        let start = || {
            let cgroups = group.joined().map(text).collect::<Result<_, _>>()?;
            let launch = self.launch_of(hook, variables, cgroups)?;
            Ok::<_, EngineError>(spawn(&launch, group.open()?.as_fd())?)
        };
        match start() {
            Ok(spawned) => {
                let container::Spawned { pid, pidfd, log, error, console } = spawned;
                Ok(Running { pid, pidfd, log, error, console, group, missed: Vec::new() })
            }
            Err(error) => {
                let _ = group.end(PATIENCE);
                Err(error)
            }
        }
    }

    /// Ends whatever a hook has left.
    ///
    /// # Errors
    /// A process stays.
    pub fn end_hook(&self) -> Result<(), EngineError> {
        Ok(self.instance.group(BASE)?.end(PATIENCE)?)
    }

    /// Closes the root of the base system.
    ///
    /// # Errors
    /// Something of it stays.
    pub fn close_hooks(&self) -> Result<(), EngineError> {
        mounts::clear(&self.paths.volumes(BASE))
    }

    fn launch_of(
        &self,
        hook: &str,
        variables: Vec<(String, String)>,
        cgroups: Vec<String>,
    ) -> Result<Launch, EngineError> {
        let root = self.paths.volumes(BASE).join("root");
        let places = self.paths.run.join("places-of-hooks");
        for place in PLACES {
            mounts::make_dir(&places.join(place))?;
        }
        let layer = |path: &std::path::Path| {
            let plain = fs::canonicalize(path).map_err(EngineError::file("find", path))?;
            text(&plain)
        };
        let device = |path: String, target: &str, attributes| Mount {
            source: Source::Device { path, recursive: true, create: false },
            target: target.to_owned(),
            attributes,
            create: None,
            optional: false,
        };
        let memory = |target: &str| Mount {
            source: Source::Filesystem {
                fstype: "tmpfs".into(),
                source: "tmpfs".into(),
                options: vec!["mode=0755".into()],
            },
            target: target.to_owned(),
            attributes: Attributes { nosuid: true, nodev: true, ..Attributes::default() },
            create: Some(Create::Dir),
            optional: false,
        };
        let path = ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        let env = std::iter::once((path.0.to_owned(), path.1.to_owned())).chain(variables).collect();
        Ok(Launch {
            hostname: None,
            namespaces: Namespaces { net: false, ..Namespaces::OWN },
            users: None,
            cgroups,
            root: Root { layers: vec![layer(&root)?, layer(&places)?], writable: None, devices: false },
            dev: None,
            nodes: None,
            proc: Some(ProcMode::Writable),
            sys: Some(SysMode::Writable),
            cgroup: None,
            mounts: vec![
                device("/dev".to_owned(), "dev", Attributes::default()),
                device(text(&self.paths.storage)?, "storage", READ_ONLY),
                memory("run"),
                memory("tmp"),
            ],
            showcase: None,
            exports: vec![],
            masked: vec![],
            read_only: vec![],
            hardened: vec![],
            sysctls: vec![],
            process: Process {
                argv: vec![hook.to_owned()],
                hooks: vec![],
                env,
                cwd: "/".to_owned(),
                uid: 0,
                gid: 0,
                groups: vec![],
                capabilities: Capabilities { bounding: !WITHHELD, ambient: 0 },
                no_new_privs: true,
                limits: vec![],
                seccomp: None,
                oom_score_adj: 0,
                output: Output::Log,
            },
        })
    }
}

/// The programs in the directory, by name. What a link in the image leads to is in the image.
fn list(root: &std::path::Path) -> io::Result<Vec<String>> {
    let root = rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let find = |path: &str, flags: OFlags| -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(&root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
    };
    let dir = match find(DIRECTORY, OFlags::RDONLY | OFlags::DIRECTORY) {
        Err(Errno::NOENT) => return Ok(Vec::new()),
        found => found?,
    };
    let mut names = Vec::new();
    let entries = fs::read_dir(format!("/proc/self/fd/{}", dir.as_raw_fd()));
    for entry in entries? {
        let name = entry?.file_name();
        let Ok(name) = std::str::from_utf8(name.as_bytes()) else {
            return Err(io::Error::other(format!("{name:?} is no UTF-8; give it another name")));
        };
        let path = format!("{DIRECTORY}/{name}");
        // What leads nowhere is no program.
        let Ok(file) = find(&path, OFlags::PATH) else { continue };
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_mode & 0o111 != 0 {
            names.push(format!("/{path}"));
        }
        if names.len() > HOOKS_MAX {
            return Err(io::Error::other(format!(
                "there are more than {HOOKS_MAX}; let one of them run several programs"
            )));
        }
    }
    names.sort();
    Ok(names)
}
