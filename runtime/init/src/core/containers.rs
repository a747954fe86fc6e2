//! What the machine of one container orders, carried out; and what becomes of its process.
//!
//! Each run of a container has a number. What is told about a run that is over is late, and dropped.

use std::rc::Rc;
use std::sync::Arc;

use container::cgroup::{Group, Usage};
use container::failure::Failure;
use formats::control::Caller;
use rustix::fd::OwnedFd;
use rustix::process::Pid;
use statemachine::container::{Effect, Event, Outcome, Status, Time};
use statemachine::ids::RevisionId;

use super::readiness::Asked;
use super::{Asker, Core, Message};
use crate::assembly::Assembled;
use crate::console::Console;
use crate::engine::{BASE, EngineError, Mounts, Running};
use crate::holdings::Candidate;
use crate::logs::SharedLog;
use crate::pipes;

/// Ends of children that nobody knew yet; more of them are orphans.
const UNCLAIMED_MAX: usize = 64;

/// The first process of a container.
pub(super) struct Process {
    pub(super) pid: Pid,
    pub(super) pidfd: OwnedFd,
    pub(super) group: Group,
    pub(super) since: Time,
    /// What it writes, and what is written for it.
    pub(super) log: SharedLog,
    /// The terminal that it has as its console.
    pub(super) console: Option<Console>,
    /// By which signal it was asked to end.
    asked: Option<i32>,
    /// It did not end in time, and was killed.
    killed: bool,
}

impl Process {
    /// What all of the container uses now.
    pub(super) fn usage(&self) -> Usage {
        self.group.usage()
    }
}

/// A container of what runs.
pub(super) struct Seat {
    pub(super) assembled: Arc<Assembled>,
    /// From whose trail it was mounted.
    pub(super) revision: RevisionId,
    pub(super) of: Arc<Candidate>,
    /// Which run this is.
    pub(super) run: u64,
    mounts: Option<Arc<Mounts>>,
    pub(super) process: Option<Process>,
    /// How often it was started in this boot.
    pub(super) starts: u32,
    /// Why it went down last.
    pub(super) reason: Option<String>,
    /// It has started, and is asked whether it is ready.
    pub(super) unready: Option<Asked>,
}

impl Seat {
    /// Nothing of it is there yet, or any more.
    pub(super) fn is_down(&self) -> bool {
        self.mounts.is_none() && self.process.is_none()
    }
}

impl Core {
    /// Gives every container of a revision its seat. One that both have, unchanged, keeps the seat it has.
    pub(super) fn seat(&mut self, of: &Arc<Candidate>) {
        let mut seats = std::mem::take(&mut self.table);
        let mut idle = Vec::new();
        for assembled in &of.assembly.containers {
            let name = assembled.name.as_str();
            // One that is up was not asked to leave: it is the same container.
            let before = seats.remove(name);
            // Its next start would let them go, but it may have none to load, and so no reason to look.
            let had_drivers = before.as_ref().is_some_and(|seat| !seat.assembled.drivers.is_empty());
            if had_drivers && assembled.drivers.is_empty() {
                idle.push(name.to_owned());
            }
            let kept = before.filter(|seat| seat.mounts.is_some());
            let seat = kept.unwrap_or_else(|| Seat {
                assembled: Arc::new(assembled.clone()),
                revision: of.id.clone(),
                of: Arc::clone(of),
                run: 0,
                mounts: None,
                process: None,
                starts: 0,
                reason: None,
                unready: None,
            });
            self.table.insert(name.to_owned(), seat);
        }
        idle.extend(seats.keys().cloned());
        idle.iter().for_each(|name| self.release_drivers(name));
        for name in seats.into_keys() {
            self.helpers.close(&Caller::Container(name.clone()));
            self.mounts.order(move |engine| {
                // What cannot be given up now is memory until the next boot, and no harm.
                let _ = engine.forget(&name);
            });
        }
        let (of, tell) = (Arc::clone(of), self.tell.clone());
        self.mounts.order(move |engine| {
            let warnings = engine.settle(&of.assembly);
            if !warnings.is_empty() {
                let _ = tell.send_blocking(Message::NetworksSettled(warnings));
            }
        });
        for name in self.table.keys() {
            let caller = Caller::Container(name.clone());
            if let Err(why) = self.helpers.listen_for(&caller, &self.engine.paths().control(name)) {
                self.log.error(name, &format_args!("no control socket: {why}"));
            }
        }
    }

    /// Carries out one order, or starts to.
    pub(super) fn obey(&mut self, name: &str, effect: Effect) {
        match effect {
            Effect::Mount => self.mount(name),
            Effect::Start => self.start(name),
            Effect::Terminate => {
                if let Some(seat) = self.table.get_mut(name)
                    && let Some(process) = &mut seat.process
                {
                    match container::halt::ask(process.pid, &process.pidfd, seat.assembled.halt()) {
                        Ok(signal) => {
                            process.asked = Some(signal);
                            self.log.info(name, &format_args!("is asked to end by {}", signal_name(signal)));
                        }
                        Err(error) => self.log.warn(name, &error),
                    }
                }
            }
            Effect::Kill => {
                if let Some(process) = self.table.get_mut(name).and_then(|seat| seat.process.as_mut()) {
                    process.killed = true;
                }
                if let Err(error) = self.engine.kill(name) {
                    self.log.warn(name, &error);
                }
            }
            Effect::Unmount => self.unmount(name),
            Effect::AskReboot => {
                let cause = Some(cause(name));
                let event = statemachine::update::Event::RebootAsked { cause };
                self.updater.take(event, Some(Asker::Container(name.to_owned())));
            }
            Effect::Report(status) => {
                self.log.info(name, &status.word());
                self.trace.container(name, status);
                self.look_whether_to_ask(name, status);
                if status == Status::Stopped && self.is_stopped_by_hand(name) {
                    self.release_drivers(name);
                }
            }
        }
    }

    fn is_stopped_by_hand(&self, name: &str) -> bool {
        self.supervisor.containers().any(|(member, container)| member.name == name && container.is_user_stopped())
    }

    fn mount(&mut self, name: &str) {
        self.runs += 1;
        let run = self.runs;
        let Some(seat) = self.table.get_mut(name) else { return };
        seat.run = run;
        let (assembled, of, tell, name) =
            (Arc::clone(&seat.assembled), Arc::clone(&seat.of), self.tell.clone(), name.to_owned());
        self.mounts.order(move |engine| {
            let result = engine.mount(&assembled, &of.id, &of.keys);
            let _ = tell.send_blocking(Message::Mounted(name, run, result));
        });
    }

    pub(super) fn mounted(&mut self, name: &str, run: u64, result: Result<Mounts, EngineError>) {
        let Some(seat) = self.table.get_mut(name).filter(|seat| seat.run == run) else { return };
        let event = match result {
            Ok(mounts) => {
                seat.mounts = Some(Arc::new(mounts));
                Event::Mounted
            }
            Err(error) => {
                seat.reason = Some(error.to_string());
                self.log.error(name, &error);
                Event::Failed
            }
        };
        self.fact(name, event);
    }

    fn start(&mut self, name: &str) {
        let Some(seat) = self.table.get_mut(name) else { return };
        seat.starts = seat.starts.saturating_add(1);
        if seat.assembled.drivers.is_empty() { self.spawn(name) } else { self.load_and_spawn(name) }
    }

    /// Starts the program of a container whose drivers are loaded.
    pub(super) fn spawn(&mut self, name: &str) {
        let Some(seat) = self.table.get_mut(name) else { return };
        let (run, assembled, tell) = (seat.run, Arc::clone(&seat.assembled), self.tell.clone());
        let Some(mounts) = seat.mounts.clone() else { return self.fact(name, Event::Failed) };
        let name = name.to_owned();
        self.listen_for_devices(&assembled);
        self.mounts.order(move |engine| {
            let result = engine.start(&assembled, &mounts);
            let _ = tell.send_blocking(Message::Spawned(name, run, result));
        });
    }

    pub(super) fn spawned(&mut self, name: &str, run: u64, result: Result<Running, EngineError>) {
        let (tasks, since) = ((self.tasks.clone(), self.tell.clone()), self.now());
        let Some(seat) = self.table.get_mut(name).filter(|seat| seat.run == run) else { return };
        match result {
            Ok(Running { pid, pidfd, log, error, console, group, missed }) => {
                for key in missed {
                    self.log.warn(name, &format_args!("{key} is left out: this kernel lacks its controller"));
                }
                let shared = self.log.console_of(&seat.revision, name);
                let console = console.map(|way| Console::new(&tasks.0, way, Rc::clone(&shared)));
                pipes::keep_log(&tasks.0, log, Rc::clone(&shared));
                seat.process =
                    Some(Process { pid, pidfd, group, since, log: shared, console, asked: None, killed: false });
                pipes::read_failure(&tasks.0, tasks.1, name, run, error);
                match self.take_unclaimed(pid) {
                    Some(outcome) => self.ended(name, outcome),
                    None => self.look_at_nodes_of(name),
                }
            }
            Err(error) => {
                seat.reason = Some(error.to_string());
                self.log.error(name, &error);
                self.fact(name, Event::Failed);
            }
        }
    }

    pub(super) fn executed(&mut self, name: &str, run: u64, failure: Result<Option<Failure>, String>) {
        if name == BASE {
            return self.hook_executed(failure);
        }
        let Some(seat) = self.table.get_mut(name).filter(|seat| seat.run == run) else { return };
        // After a failure the process is about to end, and that end is the answer.
        let failure = match failure {
            Ok(None) => return self.fact(name, Event::Started),
            Ok(Some(failure)) => failure.to_string(),
            Err(bad) => bad,
        };
        self.log.error(name, &failure);
        seat.reason = Some(failure);
    }

    fn unmount(&mut self, name: &str) {
        let Some(seat) = self.table.get_mut(name) else { return };
        let was_mounted = seat.mounts.take().is_some();
        let returns = self.incoming.as_ref().is_some_and(|incoming| incoming.assembly.get(name).is_some());
        let kept = (was_mounted && returns).then(|| (Arc::clone(&seat.assembled), seat.revision.clone()));
        let (run, tell, name) = (seat.run, self.tell.clone(), name.to_owned());
        self.mounts.order(move |engine| {
            if let Some((assembled, revision)) = kept {
                engine.keep_images(&assembled, &revision);
            }
            let result = engine.unmount(&name);
            let _ = tell.send_blocking(Message::Unmounted(name, run, result));
        });
    }

    pub(super) fn unmounted(&mut self, name: &str, run: u64, result: Result<(), EngineError>) {
        if self.table.get(name).is_none_or(|seat| seat.run != run) {
            return;
        }
        let event = match result {
            Ok(()) => Event::Unmounted,
            Err(error) => {
                self.log.error(name, &error);
                Event::Failed
            }
        };
        self.fact(name, event);
    }

    /// How a child ended of which nobody knew until now.
    pub(super) fn take_unclaimed(&mut self, pid: Pid) -> Option<Outcome> {
        let at = self.unclaimed.iter().position(|(ended, _)| *ended == pid)?;
        self.unclaimed.remove(at).map(|(_, outcome)| outcome)
    }

    /// Takes every child that has ended.
    pub(super) fn reap(&mut self) {
        loop {
            match container::reaper::next() {
                Ok(Some((pid, outcome))) => self.child_ended(pid, outcome),
                Ok(None) => return,
                Err(errno) => {
                    self.log.error("reaper", &errno);
                    return;
                }
            }
        }
    }

    fn child_ended(&mut self, pid: Pid, outcome: Outcome) {
        let (log, now) = (&self.log, self.clock.now());
        if self.helpers.ended(log, pid, outcome, now) {
            return self.senders_gone();
        }
        if self.guest_ended(pid, outcome) || self.hook_ended(pid, outcome) {
            return;
        }
        let of = |seat: &Seat| seat.process.as_ref().is_some_and(|process| process.pid == pid);
        match self.table.iter().find(|(_, seat)| of(seat)).map(|(name, _)| name.clone()) {
            Some(name) => self.ended(&name, outcome),
            // A container whose start was not told yet, or an orphan.
            None => {
                if self.unclaimed.len() >= UNCLAIMED_MAX {
                    self.unclaimed.pop_front();
                }
                self.unclaimed.push_back((pid, outcome));
            }
        }
    }

    /// The first process of a container has ended.
    fn ended(&mut self, name: &str, outcome: Outcome) {
        let Some(seat) = self.table.get_mut(name) else { return };
        let Some(process) = seat.process.take() else { return };
        let kills = process.group.memory_kills().unwrap_or(0);
        let outcome = container::reaper::with_memory_kills(outcome, kills);
        let outcome = match seat.assembled.program.as_ref() {
            Some(program) if program.launch.namespaces.pid => container::reaper::with_own_processes(outcome),
            _ => outcome,
        };
        let words = in_words(outcome, process.asked.filter(|_| process.killed));
        // Why a step before its own program failed says more than the code it failed with.
        let is_stage = outcome == Outcome::Code(container::failure::EXIT_CODE);
        if !(is_stage && seat.reason.is_some()) {
            seat.reason = Some(words.clone());
        }
        self.log.info(name, &words);
        self.fact(name, Event::Exited(outcome));
    }

    /// Tells the supervisor a fact about a container, and does what follows.
    pub(super) fn fact(&mut self, name: &str, event: Event) {
        let outputs = self.supervisor.take(name, event, self.now());
        self.follow(outputs);
    }
}

/// How a process ended, for people. One that was killed for not ending in time was asked by this signal before.
pub(super) fn in_words(outcome: Outcome, ignored: Option<i32>) -> String {
    const KILL: i32 = 9;
    match (outcome, ignored) {
        (Outcome::Signal(KILL), Some(asked)) => {
            format!("did not end in time when {} asked it to, and was killed", signal_name(asked))
        }
        (Outcome::Code(code), _) => format!("exited with code {code}"),
        (Outcome::Signal(signal), _) => format!("was ended by signal {signal}"),
        (Outcome::OutOfMemory, _) => "was ended because its memory was used up".to_owned(),
        (Outcome::AskedReboot, _) => "asked to reboot itself".to_owned(),
        (Outcome::AskedPowerOff, _) => "asked to power off itself".to_owned(),
    }
}

/// As configurations call it.
fn signal_name(signal: i32) -> String {
    let named = u8::try_from(signal).ok().and_then(formats::lxc::Signal::of);
    named.map_or_else(|| format!("signal {signal}"), |signal| signal.to_string())
}

/// A number for the reboots that a container asks for, the same in every boot.
fn cause(name: &str) -> u32 {
    let id = formats::object::sha256(name.as_bytes());
    let [a, b, c, d, ..] = id;
    u32::from_le_bytes([a, b, c, d])
}
