//! A device in a directory: its files, and who may use them.
//!
//! ```text
//!   DEV/storage.img    ext4, sparse                    DEV/last-end     how the last boot ended (JSON)
//!   DEV/conf           line, … (key=value)             DEV/state        who runs it now (JSON); only while it runs
//!   DEV/trust/*.pem    what the device trusts          DEV/console.log  what it said
//!   DEV/lock           held by the one that runs it    DEV/root         an empty directory to mount on
//! ```

use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::process::Pid;
use serde::{Deserialize, Serialize};

/// A device directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Device {
    root: PathBuf,
}

/// What a device is told at its first boot and ever after.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Conf {
    /// The device line, as in `compatible` of a signed revision.
    pub(crate) line: String,
    /// Boots that a trial may have, where it differs from the usual number.
    pub(crate) attempts: Option<u8>,
    /// Seconds for which the goals of a trial must hold; `None`: as usual.
    pub(crate) commit_delay: Option<u16>,
    /// Where the endpoint for `pvr` listens; `None`: as usual.
    pub(crate) endpoint: Option<SocketAddr>,
}

impl Conf {
    /// A line for each setting, as a device reads them too.
    pub(crate) fn text(&self) -> String {
        let attempts = self.attempts.map_or_else(String::new, |attempts| format!("attempts={attempts}\n"));
        let delay = self.commit_delay.map_or_else(String::new, |delay| format!("commit_delay={delay}\n"));
        let endpoint = self.endpoint.map_or_else(String::new, |endpoint| format!("endpoint={endpoint}\n"));
        format!("line={}\n{attempts}{delay}{endpoint}", self.line)
    }
}

/// How the last boot ended; also the counter of boots.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct LastEnd {
    /// Which boot it was.
    pub(crate) boot: u64,
    /// In the words of the events.
    pub(crate) how: String,
    /// Whether the next PID 1 has to hear of it.
    pub(crate) mark: bool,
}

/// Who runs a device, as the host sees it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct State {
    /// The stand-in.
    pub(crate) stand_in: i32,
    /// PID 1 of the device; `None` between two boots.
    pub(crate) pid1: Option<i32>,
    /// The boot that runs, or the last one.
    pub(crate) boot: u64,
    /// As what it was started.
    pub(crate) role: String,
    /// What was started.
    pub(crate) revision: Option<String>,
    /// Its group in the v2 tree.
    pub(crate) cgroup: Option<PathBuf>,
}

/// The right to run a device; ends with it.
pub(crate) struct Lock(#[expect(dead_code, reason = "held, never read")] File);

impl Device {
    /// The directory as it is, or as it will be.
    pub(crate) fn at(root: &Path) -> Result<Self> {
        let root = std::path::absolute(root).with_context(|| format!("{} is no path", root.display()))?;
        Ok(Self { root })
    }

    /// A device that was created.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let found = fs::canonicalize(root)
            .with_context(|| format!("there is no device {}; make one with: cairn-host create", root.display()))?;
        let device = Self { root: found };
        if !device.conf_path().is_file() {
            bail!("{} is no device, or one that was never finished; make one with: cairn-host create", root.display());
        }
        Ok(device)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn image(&self) -> PathBuf {
        self.root.join("storage.img")
    }

    pub(crate) fn trust(&self) -> PathBuf {
        self.root.join("trust")
    }

    pub(crate) fn console(&self) -> PathBuf {
        self.root.join("console.log")
    }

    /// Where the new root is mounted, in a mount namespace of its own.
    pub(crate) fn mount_point(&self) -> PathBuf {
        self.root.join("root")
    }

    fn conf_path(&self) -> PathBuf {
        self.root.join("conf")
    }

    /// A name that no other device of this host has: what it is called, and where it lies.
    pub(crate) fn instance(&self) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
        let name: String =
            self.root.file_name().unwrap_or_default().to_string_lossy().chars().take(32).map(plain).collect();
        // FNV-1a: a short name for a path, nothing that anybody could want to forge.
        let hash = self
            .root
            .as_os_str()
            .as_encoded_bytes()
            .iter()
            .fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3));
        format!("cairn-host-{name}-{:08x}", hash >> 32)
    }

    /// Takes the device. Refused while another one has it.
    pub(crate) fn lock(&self) -> Result<Lock> {
        match self.try_lock()? {
            Some(lock) => Ok(lock),
            None => {
                let who = self.state().map_or_else(String::new, |state| format!(" (pid {})", state.stand_in));
                bail!("{} is running already{who}; end it with: cairn-host stop", self.root.display())
            }
        }
    }

    /// Takes the device, unless another one has it.
    pub(crate) fn try_lock(&self) -> Result<Option<Lock>> {
        let path = self.root.join("lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.with_context(|| format!("cannot open {}", path.display()))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock(file))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => bail!("cannot lock {}: {errno}", path.display()),
        }
    }

    pub(crate) fn conf(&self) -> Result<Conf> {
        let path = self.conf_path();
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let (mut line, mut attempts, mut commit_delay, mut endpoint) = (None, None, None, None);
        for entry in text.lines() {
            match entry.split_once('=') {
                Some(("line", value)) => line = Some(value.to_owned()),
                Some(("attempts", value)) => attempts = Some(value.parse().context("attempts is no number")?),
                Some(("commit_delay", value)) => {
                    commit_delay = Some(value.parse().context("commit_delay is no number of seconds")?);
                }
                Some(("endpoint", value)) => endpoint = Some(value.parse().context("endpoint is no ADDRESS:PORT")?),
                _ => bail!("{}: {entry:?} is none of line=…, attempts=…, commit_delay=…, endpoint=…", path.display()),
            }
        }
        let line = line.with_context(|| format!("{} names no line", path.display()))?;
        Ok(Conf { line, attempts, commit_delay, endpoint })
    }

    /// The last file of a new device: one without it is none.
    pub(crate) fn set_conf(&self, conf: &Conf) -> Result<()> {
        replace(&self.conf_path(), conf.text().as_bytes(), Kept::Durably)
    }

    pub(crate) fn last_end(&self) -> Result<Option<LastEnd>> {
        read_json(&self.root.join("last-end"))
    }

    pub(crate) fn set_last_end(&self, end: &LastEnd) -> Result<()> {
        replace(&self.root.join("last-end"), &serde_json::to_vec(end)?, Kept::Durably)
    }

    /// Who runs it, as it was noted; true only while the lock is taken.
    pub(crate) fn state(&self) -> Option<State> {
        read_json(&self.root.join("state")).ok().flatten()
    }

    pub(crate) fn set_state(&self, state: Option<&State>) -> Result<()> {
        let path = self.root.join("state");
        match state {
            Some(state) => replace(&path, &serde_json::to_vec(state)?, Kept::WhileRunning),
            None => match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(error).context("cannot remove the state")
                }
                _ => Ok(()),
            },
        }
    }

    /// Who runs it now.
    pub(crate) fn running(&self) -> Result<Option<State>> {
        match self.try_lock()? {
            Some(_) => Ok(None),
            None => Ok(self.state()),
        }
    }
}

impl State {
    pub(crate) fn stand_in(&self) -> Result<Pid> {
        Pid::from_raw(self.stand_in).context("the state of the device names no process")
    }

    pub(crate) fn pid1(&self) -> Result<Pid> {
        self.pid1.and_then(Pid::from_raw).context("the device is between two boots; try again")
    }
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => {
            Ok(Some(serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", path.display()))?))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// How long a file has to last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kept {
    Durably,
    /// It means nothing when its writer is gone.
    WhileRunning,
}

/// Replaces a file as a whole.
fn replace(path: &Path, bytes: &[u8], kept: Kept) -> Result<()> {
    let beside = path.with_extension("new");
    let sync = |file: &File| if kept == Kept::Durably { file.sync_all() } else { Ok(()) };
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        sync(&file)?;
        fs::rename(&beside, path)?;
        sync(&File::open(path.parent().unwrap_or(Path::new("/")))?)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_devices_of_one_name_are_two_instances() {
        let instance = |path: &str| Device::at(Path::new(path)).unwrap().instance();
        assert_ne!(instance("/a/lamp"), instance("/b/lamp"));
        assert!(instance("/a/my lamp").starts_with("cairn-host-my_lamp-"));
    }

    #[test]
    fn what_is_noted_is_read_again_and_a_second_one_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let device = Device::at(scratch.path()).unwrap();
        assert!(Device::open(scratch.path()).is_err());
        let conf = Conf {
            line: "lamp".to_owned(),
            attempts: Some(5),
            commit_delay: Some(2),
            endpoint: "[::]:80".parse().ok(),
        };
        device.set_conf(&conf).unwrap();
        assert_eq!(Device::open(scratch.path()).unwrap().conf().unwrap(), conf);
        assert_eq!(device.last_end().unwrap(), None);
        let end = LastEnd { boot: 7, how: "killed".to_owned(), mark: true };
        device.set_last_end(&end).unwrap();
        assert_eq!(device.last_end().unwrap(), Some(end));
        let lock = device.lock().unwrap();
        assert!(device.lock().is_err());
        drop(lock);
        assert!(device.lock().is_ok());
    }
}
