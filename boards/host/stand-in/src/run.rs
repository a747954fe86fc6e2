//! The stand-in: boots a device, waits for its end, and boots it again, until it is powered off or stopped.
//!
//! ```text
//!   decide and count ──▶ load ──▶ jump ──▶ wait ──▶ tear down ──▶ note the end ──┐
//!      ▲                   └── unfit: a boot that was spent ─────────────────────┤
//!      └─────────────────── reboot; after a second: died, unfit ◀────────────────┘
//! ```
//!
//! Nothing outlives its boot: every process is in one group, every mount in one namespace, every loop device clears
//! itself. What the next boot must know is durable before it begins.

use std::fs::File;
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Args;
use rustix::fd::OwnedFd;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use serde_json::{Value, json};
use statemachine::boot::{Spent, Wanted};

use crate::cgroup::Group;
use crate::console::{self, Events};
use crate::device::{Conf, Device, LastEnd, State};
use crate::firmware::{self, Decision};
use crate::jump::{Jump, Machine, Plan, TRACE_FD, jump};
use crate::publish::{self, Port, Published};
use crate::size::Size;
use crate::storage::{self, Cut, Eyes, Storage};
use crate::sys::Signals;

/// Between two boots of a device that does not come up: a person can read along, and the host is not kept busy.
const PAUSE: Duration = Duration::from_secs(1);

/// Nothing is due; only a signal ends the wait.
const LONG: Duration = Duration::from_secs(3600);

#[derive(Args)]
pub(crate) struct Options {
    /// The device directory
    device: PathBuf,
    /// Forward 127.0.0.1:HOSTPORT to 127.0.0.1:DEVPORT of the device
    #[arg(long, value_name = "[HOSTPORT:]DEVPORT")]
    publish: Vec<Port>,
    /// Append events of the stand-in and the trace of PID 1 to a file, a JSON object per line
    #[arg(long)]
    events: Option<PathBuf>,
    /// Boot once, whatever that boot ends with
    #[arg(long)]
    once: bool,
    /// Limit the memory of the whole device
    #[arg(long, value_name = "SIZE")]
    memory: Option<Size>,
    /// What to boot when every entry of the list is used up
    #[arg(long, value_name = "PROGRAM")]
    recovery: Option<PathBuf>,
    /// Seconds that PID 1 gets to end in order when the device is stopped
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    grace: u64,
    /// Show the console of the device
    #[arg(short, long)]
    verbose: bool,
}

/// How a boot ended.
#[derive(Clone, PartialEq, Eq, Debug)]
enum End {
    Reboot,
    PowerOff,
    /// PID 1 died of a signal.
    Killed(i32),
    /// PID 1 returned.
    Exit(i32),
    PowerCut,
    /// It was asked to end, did not, and was killed.
    Stopped,
    /// There was nothing to jump to.
    NotStarted(String),
}

impl End {
    fn how(&self) -> &'static str {
        match self {
            Self::Reboot => "reboot",
            Self::PowerOff => "poweroff",
            Self::Killed(_) => "killed",
            Self::Exit(_) => "exit",
            Self::PowerCut => "power-cut",
            Self::Stopped => "stopped",
            Self::NotStarted(_) => "not-started",
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            Self::Killed(signal) => Some(format!("PID 1 died of signal {signal}")),
            Self::Exit(code) => Some(format!("PID 1 exited with code {code}")),
            Self::NotStarted(why) => Some(why.clone()),
            Self::Reboot | Self::PowerOff | Self::PowerCut | Self::Stopped => None,
        }
    }

    /// Whether the next PID 1 has to hear of a death.
    fn marks(&self) -> bool {
        matches!(self, Self::Killed(_) | Self::Exit(_))
    }

    /// Whether what was not synced is lost with it.
    fn loses(&self) -> bool {
        matches!(self, Self::Killed(_) | Self::Exit(_) | Self::PowerCut | Self::Stopped)
    }

    fn failed(&self) -> bool {
        matches!(self, Self::Killed(_) | Self::Exit(_) | Self::NotStarted(_))
    }
}

/// What a stand-in works with.
struct StandIn {
    device: Device,
    conf: Conf,
    group: Group,
    events: Events,
    signals: Signals,
    options: Options,
    /// Somebody wants it to end.
    stopping: bool,
}

/// Runs a device in the foreground. Returns whether its last boot ended in order.
pub(crate) fn run(options: Options) -> Result<bool> {
    let device = Device::open(&options.device)?;
    let _lock = device.lock()?;
    let signals = Signals::take(&[libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGUSR2, libc::SIGCHLD]);
    publish::check(&options.publish)?;
    let events = Events::open(options.events.as_deref())?;
    let conf = device.conf()?;
    let group = Group::of(&device.instance())?;
    // What a stand-in that was killed has left.
    group.remove()?;
    storage::wait_until_unused(&device.image())?;
    let mut stand_in = StandIn { device, conf, group, events, signals, options, stopping: false };
    let done = stand_in.boots();
    // Nothing of it stays, whatever went wrong.
    let swept = stand_in.group.remove();
    let forgotten = stand_in.device.set_state(None);
    let ended_well = done?;
    swept?;
    forgotten?;
    Ok(ended_well)
}

impl StandIn {
    fn boots(&mut self) -> Result<bool> {
        loop {
            let end = self.boot()?;
            if self.stopping || self.options.once || end == End::PowerOff {
                return Ok(!end.failed());
            }
            if end.failed() {
                self.pause();
                if self.stopping {
                    return Ok(true);
                }
            }
        }
    }

    fn pause(&mut self) {
        let until = Instant::now() + PAUSE;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            if let Some(libc::SIGTERM | libc::SIGINT | libc::SIGHUP) = self.signals.next(left) {
                self.stopping = true;
                return;
            }
        }
    }

    fn boot(&mut self) -> Result<End> {
        let last = self.device.last_end()?;
        let number = last.as_ref().map_or(0, |last| last.boot) + 1;
        let marked = last.is_some_and(|last| last.mark);
        let decision = firmware::decide(&self.device.image())?;
        storage::wait_until_unused(&self.device.image())?;
        self.tell_of_boot(number, &decision, marked);
        let state = State {
            stand_in: std::process::id().try_into().unwrap_or_default(),
            pid1: None,
            boot: number,
            role: decision.role.to_owned(),
            revision: decision.revision.as_ref().map(ToString::to_string),
            cgroup: None,
        };
        self.device.set_state(Some(&state))?;
        let end = match self.program(&decision)? {
            Ok(program) => self.jump_and_wait(number, &decision, marked, state, program)?,
            Err(why) => End::NotStarted(why),
        };
        storage::wait_until_unused(&self.device.image())?;
        // No Linux ran, so nobody has heard of an earlier mark.
        let mark = end.marks() || matches!(end, End::NotStarted(_)) && marked;
        self.device.set_last_end(&LastEnd { boot: number, how: end.how().to_owned(), mark })?;
        let why = end.why();
        eprintln!(
            "boot {number} ended: {}{}",
            end.how(),
            why.as_ref().map_or_else(String::new, |why| format!(" ({why})"))
        );
        self.events.add(
            number,
            "end",
            why.map_or_else(|| json!({"how": end.how()}), |why| json!({"how": end.how(), "why": why})),
        );
        Ok(end)
    }

    fn tell_of_boot(&self, number: u64, decision: &Decision, marked: bool) {
        let revision = decision.revision.as_ref().map(ToString::to_string);
        let what =
            revision.as_deref().map_or("the recovery program".to_owned(), |revision| format!("revision {revision}"));
        eprintln!("boot {number}: {what} as {}", decision.role);
        self.events.add(
            number,
            "boot",
            json!({
                "role": decision.role, "choice": decision.choice(), "revision": revision, "mark": marked,
                "wanted": decision.wanted.as_ref().map(of_wanted), "spent": decision.spent.as_ref().map(of_spent),
            }),
        );
    }

    /// The program to jump to, or why there is none.
    fn program(&self, decision: &Decision) -> Result<Result<File, String>> {
        if let Some(revision) = &decision.revision {
            let program = firmware::load(&self.device.image(), revision)?;
            storage::wait_until_unused(&self.device.image())?;
            return Ok(program);
        }
        let path = self.options.recovery.as_ref().context(
            "every entry of the boot list is used up, and there is no recovery program; name one with: --recovery PROGRAM",
        )?;
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        Ok(firmware::fit(file).map_err(|why| format!("{}: {why}", path.display())))
    }

    fn jump_and_wait(
        &mut self,
        number: u64,
        decision: &Decision,
        marked: bool,
        mut state: State,
        program: File,
    ) -> Result<End> {
        let mut storage = Storage::mount(&self.device.image(), Eyes::Linux)?;
        self.group.make(self.options.memory.map(|size| size.0))?;
        let mut threads = Vec::new();
        let (console, console_end) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        threads.push(console::keep(console, self.device.console(), self.options.verbose)?);
        let (trace, trace_end) = self.trace()?.unzip();
        let machine = Machine {
            plan: self.plan(decision.role, marked),
            group: &self.group,
            program,
            storage: storage.take()?,
            console: console_end,
            trace: trace_end,
        };
        let (pid1, jumped) = match jump(machine)? {
            Jump::Up(pid1, jumped) => (pid1, jumped),
            Jump::NotStarted(why) => {
                self.tear_down(threads)?;
                return Ok(End::NotStarted(why));
            }
        };
        state.pid1 = Some(pid1.as_raw_nonzero().get());
        state.cgroup = Some(self.group.path().to_owned());
        self.device.set_state(Some(&state))?;
        // From here on a stand-in that dies is a power cut: nobody is told of a mark twice.
        self.device.set_last_end(&LastEnd { boot: number, how: "running".to_owned(), mark: false })?;
        self.events.add(number, "up", json!({"pid1": state.pid1, "jumped": jumped}));
        // Not before: whoever reads a line of PID 1 may ask for its state.
        threads.extend(trace.map(|trace| console::trace(trace, number, self.events.clone())));
        let (end, mut cut) = {
            let _published = Published::open(&self.options.publish, pid1)?;
            self.wait(pid1, &storage)?
        };
        if end.loses() && cut.is_none() {
            cut = Some(storage.cut()?);
        }
        state.pid1 = None;
        self.device.set_state(Some(&state))?;
        self.tear_down(threads)?;
        drop(storage);
        storage::wait_until_unused(&self.device.image())?;
        cut.map_or(Ok(()), Cut::settle)?;
        Ok(end)
    }

    /// The pipe of the trace, if anybody wants to know.
    fn trace(&self) -> Result<Option<(OwnedFd, OwnedFd)>> {
        let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).context("cannot make a pipe");
        self.events.wanted().then(pipe).transpose()
    }

    fn plan(&self, role: &str, marked: bool) -> Plan {
        let mut words = vec!["cairn.board=host".to_owned(), format!("cairn.role={role}")];
        words.extend(marked.then(|| "cairn.mark".to_owned()));
        words.extend(self.events.wanted().then(|| format!("cairn.trace={TRACE_FD}")));
        Plan {
            root: self.device.mount_point(),
            trust: self.device.trust(),
            conf: format!("board=host\nsignatures=strict\n{}", self.conf.text()),
            words,
        }
    }

    /// Everything that is left of a boot ends here.
    fn tear_down(&self, threads: Vec<JoinHandle<()>>) -> Result<()> {
        self.group.remove()?;
        for thread in threads {
            // One that panicked has ended as well.
            let _ = thread.join();
        }
        Ok(())
    }

    /// Waits for the end of PID 1, and passes on what the stand-in is asked for.
    fn wait(&mut self, pid1: Pid, storage: &Storage) -> Result<(End, Option<Cut>)> {
        let mut due: Option<Instant> = None;
        let mut ordered: Option<(End, Cut)> = None;
        loop {
            let within = due.map_or(LONG, |due| due.saturating_duration_since(Instant::now()));
            let signal = self.signals.next(within);
            if let Some((_, status)) = rustix::process::waitpid(Some(pid1), WaitOptions::NOHANG)? {
                return Ok(ordered.map_or_else(|| (end_of(status), None), |(end, cut)| (end, Some(cut))));
            }
            match signal {
                Some(libc::SIGTERM | libc::SIGINT | libc::SIGHUP) if due.is_none() && ordered.is_none() => {
                    self.stopping = true;
                    due = Some(Instant::now() + Duration::from_secs(self.options.grace));
                    rustix::process::kill_process(pid1, Signal::TERM)?;
                }
                Some(libc::SIGUSR2) if ordered.is_none() => {
                    // Power first: whoever dies cannot save anything any more.
                    ordered = Some((End::PowerCut, storage.cut()?));
                    due = None;
                    self.group.kill()?;
                }
                _ if ordered.is_none() && due.is_some_and(|due| due <= Instant::now()) => {
                    ordered = Some((End::Stopped, storage.cut()?));
                    due = None;
                    self.group.kill()?;
                }
                _ => {}
            }
        }
    }
}

/// `reboot(2)` inside a pid namespace ends its first process with a signal that nobody else can send it.
fn end_of(status: WaitStatus) -> End {
    match status.terminating_signal() {
        Some(libc::SIGHUP) => End::Reboot,
        Some(libc::SIGINT) => End::PowerOff,
        Some(signal) => End::Killed(signal),
        None => End::Exit(status.exit_status().unwrap_or(-1)),
    }
}

fn of_wanted(wanted: &Wanted) -> Value {
    let name = |revision: &statemachine::ids::RevisionId| revision.as_str().to_owned();
    let trial = wanted.trial.as_ref();
    json!({
        "nonce": wanted.nonce, "default": name(&wanted.default),
        "previous": wanted.previous.as_ref().map(name), "factory": wanted.factory.as_ref().map(name),
        "trial": trial.map(|trial| json!({"revision": name(&trial.revision), "max": trial.max, "issued": trial.issued})),
    })
}

fn of_spent(spent: &Spent) -> Value {
    json!({"nonce": spent.nonce, "boots": spent.boots})
}
