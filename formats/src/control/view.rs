//! What PID 1 shows of itself: plain data for listings, never read by a decision.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use statemachine::ids::RevisionId;

use crate::log_times::{Since, Time};
use crate::object::ObjectId;

/// The device as a whole.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DeviceView {
    /// The board, as in `compatible`.
    pub board: String,
    /// What runs; `None` in recovery.
    pub revision: Option<RevisionId>,
    /// What the next boot starts, if the boot cell can be read.
    pub default: Option<RevisionId>,
    /// What a rollback goes to.
    pub previous: Option<RevisionId>,
    /// The revision the device left the factory with.
    pub factory: Option<RevisionId>,
    /// Where the default stands: `DONE` (proven by a cold boot) or `UPDATED` (not yet).
    pub standing: String,
    /// The update under way, or the last one.
    pub update: Option<UpdateView>,
    /// How long this boot has lasted, in milliseconds.
    pub uptime_ms: u64,
    /// What a person should know: apps held back, unreadable flash, a recovery.
    pub warnings: Vec<String>,
}

/// An update.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UpdateView {
    /// To which revision.
    pub revision: RevisionId,
    /// `pending`, `trying`, `committed` or `rolled-back`.
    pub phase: String,
    /// What the machine waits for, as its state is called.
    pub state: String,
    /// Why it was given up, in words.
    pub reason: Option<String>,
}

/// A driver that a container declares.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DriverView {
    /// Its name.
    pub name: String,
    /// `REQUIRED`, `OPTIONAL` or `MANUAL`.
    pub kind: String,
    /// `LOADED`, `UNLOADED`, or `UNKNOWN` where this board has none of that name.
    pub status: String,
}

/// A container.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ContainerView {
    /// Its name.
    pub name: String,
    /// The name of its group.
    pub group: String,
    /// `STARTED`, …: where it is.
    pub status: String,
    /// What it must reach.
    pub status_goal: String,
    /// `system` or `container`.
    pub restart_policy: String,
    /// `mgmt`, `nobody`.
    pub roles: Vec<String>,
    /// How it comes back; `None` if it does not.
    pub recovery: Option<RecoveryView>,
    /// A person has stopped it.
    pub user_stopped: bool,
    /// Its first process, as the device numbers it.
    pub pid: Option<u32>,
    /// How often it was started again in this boot.
    pub restarts: u32,
    /// When it is started again, in milliseconds from now.
    pub next_retry_ms: Option<u64>,
    /// Why it is not ready, or else why it went down last, in words.
    pub reason: Option<String>,
    /// What it uses; `None` if it is not up.
    pub usage: Option<UsageView>,
    /// What it has of pools, up or not; `None` if it is in none.
    pub network: Option<NetworkView>,
}

/// What a container has of pools.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NetworkView {
    /// Its interfaces.
    pub interfaces: Vec<InterfaceView>,
    /// What it publishes while it runs, `DEVICE:CONTAINER`.
    pub ports: Vec<String>,
}

/// An interface of a container.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InterfaceView {
    /// Its name in there.
    pub name: String,
    /// The pool.
    pub pool: String,
    /// Its address.
    pub ip: String,
    /// Its Ethernet address.
    pub mac: String,
}

/// What a container uses. `None` is not known on this device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct UsageView {
    /// Bytes of memory, with what is cached for it.
    pub memory: Option<u64>,
    /// The most that it was.
    pub memory_peak: Option<u64>,
    /// How often the kernel has killed in it for lack of memory.
    pub memory_kills: Option<u64>,
    /// Processor time in microseconds.
    pub cpu_us: Option<u64>,
    /// Processes and threads.
    pub tasks: Option<u64>,
    /// Bytes read from disks.
    pub read: Option<u64>,
    /// Bytes written to disks.
    pub written: Option<u64>,
    /// Pressure of the processor, of memory and of disks.
    pub pressure: [Option<PressureView>; 3],
}

/// Which part of the last ten seconds was waited, in hundredths of a percent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PressureView {
    /// By at least one process.
    pub some: u16,
    /// By all of them.
    pub full: u16,
}

/// `auto_recovery` of a container.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RecoveryView {
    /// `always`, `on-failure`, `unless-stopped`.
    pub policy: String,
    /// Restarts in a row; 0 is any number.
    pub max_retries: u32,
    /// How many of them are used.
    pub current_retries: u32,
    /// Seconds for which the goal must be held.
    pub stable_timeout: u32,
    /// Whether it has been.
    pub is_stable: bool,
    /// `reboot`, `never`, or a time.
    pub backoff_policy: String,
}

/// A group.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GroupView {
    /// Its name.
    pub name: String,
    /// What its containers must reach unless they say otherwise.
    pub status_goal: String,
    /// The same for a change of them.
    pub restart_policy: String,
    /// The worst status of its containers.
    pub status: String,
}

/// A helper of PID 1.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DaemonView {
    /// Its name, which is its role.
    pub name: String,
    /// Its process, while it runs.
    pub pid: Option<u32>,
    /// Whether it is started again when it ends.
    pub respawn: bool,
}

/// An object.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ObjectView {
    /// Its name, the hash of its bytes.
    pub id: ObjectId,
    /// Its size in bytes.
    pub size: u64,
}

/// A revision that is here.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StepView {
    /// Its name.
    pub revision: RevisionId,
    /// What its maker says about it.
    pub message: String,
    /// How far it is: `DONE`, `ERROR`, …; `None` if nobody reported.
    pub progress: Option<String>,
    /// When it was staged, in seconds since 1970 by the device's clock.
    pub date: Option<u64>,
}

/// Something that a board promises, and whether it was kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LawView {
    /// Its name.
    pub law: String,
    /// What is wrong; `None` if nothing is.
    pub fault: Option<String>,
}

/// Somebody who may use the endpoint.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PairingView {
    /// The digits by which it is told apart.
    pub fingerprint: String,
    /// What it calls itself.
    pub name: String,
    /// When it was paired, in seconds since 1970, if the device knew.
    pub date: Option<u64>,
}

/// One container, with what it is made of and what it may do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InspectView {
    /// As in a list of all.
    pub container: ContainerView,
    /// Of which revision it is.
    pub revision: RevisionId,
    /// For how long its first process has run, in milliseconds; `None` if it is not up.
    pub running_ms: Option<u64>,
    /// Its files in the state, and what they are.
    pub images: Vec<(String, ObjectId)>,
    /// Lines of its configuration that limit what it uses.
    pub limits: Vec<String>,
    /// What it may do to the device, a line each: [`privileges`](crate::lxc::privileges).
    pub privileges: Vec<String>,
}

/// A place in a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LogPlace {
    /// Which file, as the device tells them apart.
    pub file: u64,
    /// How many bytes of it come before.
    pub offset: u64,
}

/// Where in a log somebody begins to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum LogFrom {
    /// With the oldest that is kept.
    Oldest,
    /// Where the piece before has ended.
    After(LogPlace),
    /// With the first line of a time.
    Since(Since),
}

/// What a container has written, from a place on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LogPiece {
    /// At most [`PIECE_MAX`](super::PIECE_MAX) bytes, as they were written.
    pub bytes: Vec<u8>,
    /// Where the next piece begins; `None` if nothing was ever written.
    pub place: Option<LogPlace>,
    /// Something between the place before and these bytes is no longer kept.
    pub lost: bool,
    /// When they were read, if somebody asked for it: at most [`TIMES_MAX`](crate::log_times::TIMES_MAX).
    pub times: Vec<Time>,
}
