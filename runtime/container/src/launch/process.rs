//! The process of a container: what is executed, as whom, and with which rights and limits.

use serde::{Deserialize, Serialize};

use super::{FILTER_MAX, LaunchError, absolute, count, text};

/// What is executed, and with which rights.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Process {
    /// The program and its arguments. A program without a slash is looked for in the `PATH` of `env`.
    pub argv: Vec<String>,
    /// Programs of the container that are run before that one, to their end and with the same rights: each with its
    /// arguments.
    pub hooks: Vec<Vec<String>>,
    /// The whole environment; nothing is inherited.
    pub env: Vec<(String, String)>,
    /// Where it starts.
    pub cwd: String,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Further groups.
    pub groups: Vec<u32>,
    /// What it may do to the kernel.
    pub capabilities: Capabilities,
    /// Whether programs with set-user-id or file capabilities gain nothing.
    pub no_new_privs: bool,
    /// What it may use up.
    pub limits: Vec<Rlimit>,
    /// A program for the kernel's filter of system calls: `struct sock_filter`s in the byte order of the machine.
    pub seccomp: Option<Vec<u8>>,
    /// −1000 (never) to 1000 (first): how readily the kernel ends it when the device's memory runs out.
    pub oom_score_adj: i16,
    /// Where its output goes.
    pub output: Output,
}

/// Sets of capabilities, bit N for the capability with the kernel's number N.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Capabilities {
    /// The most that any program in the container can have.
    pub bounding: u64,
    /// What a program that runs as another user than 0 is given. Within `bounding`.
    pub ambient: u64,
}

/// Where output goes. There is no input, but from a terminal: it reads as ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Output {
    /// Both outputs into the pipe that PID 1 reads.
    Log,
    /// Nowhere.
    Discard,
    /// To a terminal of its own `/dev/pts`, which is its input and its `/dev/console` too. PID 1 has the other end.
    Terminal,
}

/// A limit of a process or user (`setrlimit`). `None` is unlimited.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rlimit {
    /// Of what.
    pub resource: Resource,
    /// In force.
    pub soft: Option<u64>,
    /// How far the container may raise it.
    pub hard: Option<u64>,
}

/// What can be limited, in the units of `setrlimit`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Resource {
    /// Address space, bytes.
    AddressSpace,
    /// Size of a core dump, bytes.
    Core,
    /// Processor time, seconds.
    Cpu,
    /// Data segment, bytes.
    Data,
    /// Size of a file, bytes.
    FileSize,
    /// Locks on files.
    Locks,
    /// Locked memory, bytes.
    LockedMemory,
    /// Message queues, bytes.
    MessageQueues,
    /// Niceness, as 20 − n.
    Nice,
    /// Open files.
    OpenFiles,
    /// Processes of the user.
    Processes,
    /// Resident memory, which the kernel does not look at any more.
    Resident,
    /// Real-time processor time, microseconds.
    RealTime,
    /// Real-time priority.
    RealTimePriority,
    /// Queued signals.
    Signals,
    /// Stack, bytes.
    Stack,
}

impl Process {
    pub(crate) fn check(&self) -> Result<(), LaunchError> {
        count("hooks", &self.hooks)?;
        for argv in self.hooks.iter().chain([&self.argv]) {
            let program = argv.first().ok_or(LaunchError::Count("arguments"))?;
            if program.is_empty() {
                return Err(LaunchError::Text("program"));
            }
            count("arguments", argv)?;
            argv.iter().try_for_each(|argument| text("argument", argument))?;
        }
        count("variables", &self.env)?;
        for (name, value) in &self.env {
            text("variable", name)?;
            text("variable", value)?;
            if name.is_empty() || name.contains('=') {
                return Err(LaunchError::Variable(name.clone()));
            }
        }
        absolute(&self.cwd)?;
        count("groups", &self.groups)?;
        count("limits", &self.limits)?;
        if self.capabilities.ambient & !self.capabilities.bounding != 0 {
            return Err(LaunchError::Ambient);
        }
        let whole = |filter: &Vec<u8>| filter.len().is_multiple_of(8) && (1..=FILTER_MAX).contains(&(filter.len() / 8));
        if self.seccomp.as_ref().is_none_or(whole) { Ok(()) } else { Err(LaunchError::Filter) }
    }
}
