//! Programs that somebody has started in containers that run: from the call to the line that tells their end.
//!
//! ```text
//!   Execute ─▶ thread mounts: enter ─▶ Entered ─▶ Reported ─▶ child ended ─▶ line on `end`, forgotten
//!                                        caller gone: SIGHUP, and PATIENCE later SIGKILL, to the program's session
//! ```
//!
//! None of their bytes goes through here. What ends the container ends them, because they are in its group; what becomes of
//! them is no fact to the machine of the container.

use std::rc::Rc;

use container::enter::{Entered, Report, Streams, is_local, is_pipe};
use container::failure::{Failure, Step};
use formats::control::program::{End, Program};
use formats::control::{Refused, Reply, Status};
use rustix::fd::OwnedFd;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};
use smol::{Async, Task};
use statemachine::container::{self as machine, Outcome, Span, Time};

use super::calls::{Answer, refuse};
use super::readiness::{Attempt, own_streams};
use super::{Core, Message, shared_pipe};
use crate::handed::Handed;
use crate::pipes;

/// The most programs at once, in all containers.
const PROGRAMS_MAX: usize = 16;

/// How long a program whose caller is gone may take to end.
const PATIENCE: Span = Span::seconds(10);

/// The code of a program that is not there, and of one that cannot be executed; shells have the same.
const NOT_FOUND: u8 = 127;
const NOT_EXECUTED: u8 = 126;

/// A program in a container.
pub(super) struct Guest {
    container: String,
    /// The child on its way into the container.
    first: Option<Pid>,
    /// The program, once it is known.
    pid: Option<Pid>,
    /// What the first child had to say; `None` until then.
    reported: bool,
    why: Option<Failure>,
    outcome: Option<Outcome>,
    /// Where the end is told; of one that is detached, in the log of the device.
    end: Option<Rc<Async<OwnedFd>>>,
    /// Ends with this.
    _watch: Option<Task<()>>,
    /// The caller is gone, or it has a time to end in: by when it is killed.
    until: Option<Time>,
    gone: bool,
    /// It asks the container whether it is ready; nobody else knows of it.
    pub(super) attempt: Option<Attempt>,
}

impl Guest {
    /// One that nobody waits for.
    pub(super) fn new(container: &str) -> Self {
        Self {
            container: container.to_owned(),
            first: None,
            pid: None,
            reported: false,
            why: None,
            outcome: None,
            end: None,
            _watch: None,
            until: None,
            gone: false,
            attempt: None,
        }
    }
}

impl Core {
    /// Takes in what a caller wants to be started.
    pub(super) fn execute(&mut self, program: Program, handed: Handed) -> Answer {
        let name = program.container.clone();
        let Some(given) = sorted(&program, handed) else {
            // `front` has looked before it passed them on.
            self.helpers.misused(&self.log);
            return refuse(Status::BadRequest, "the descriptors are not those that a program needs");
        };
        let Some(seat) = self.table.get(&name) else {
            return refuse(Status::NotFound, format!("there is no container {name:?}; `pvcontrol ls` lists them"));
        };
        // Before its own program is executed, its stage still has the device in sight.
        let is_up = self.supervisor.containers().any(|(member, container)| {
            member.name == name && matches!(container.status(), machine::Status::Started | machine::Status::Ready)
        });
        let Some(process) = seat.process.as_ref().filter(|_| is_up) else {
            let message = format!("{name} does not run; `pvcontrol containers start {name}` starts one that may be");
            return refuse(Status::Conflict, message);
        };
        let asked_for = self.guests.values().filter(|guest| guest.attempt.is_none()).count();
        if asked_for >= PROGRAMS_MAX || self.leaving.is_some() {
            let message = format!("{PROGRAMS_MAX} programs run in containers already, or the device is about to leave");
            return Some(Err(Refused { retry_after: Some(10), ..Refused::new(Status::Unavailable, message) }));
        }
        let prepared = match given {
            Given::ByCaller(streams, end) => Async::new(end).map(|end| (streams, Some(Rc::new(end)), None)),
            Given::Nothing => own_streams().map(|(streams, output)| (streams, None, Some(output))),
        };
        let (streams, end, output) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return refuse(Status::Internal, format!("cannot prepare a program: {error}")),
        };
        if let Some(output) = output {
            pipes::keep_log(&self.tasks, output, Rc::clone(&process.log));
        }
        let what = program.argv.first().map(String::as_str).unwrap_or_default();
        self.log.info(&name, &format_args!("somebody starts {what:?} in it"));
        match self.let_in(Guest { end, ..Guest::new(&name) }, program, streams) {
            Ok(id) => Some(Ok(Reply::Program(id))),
            Err(why) => refuse(Status::Internal, why),
        }
    }

    /// Has a program enter its container, which runs, and gives it a number.
    pub(super) fn let_in(&mut self, mut guest: Guest, program: Program, streams: Streams) -> Result<u32, String> {
        let seat = self.table.get(&guest.container).ok_or("there is no such container")?;
        let process = seat.process.as_ref().ok_or("it has ended")?;
        let pidfd = process.pidfd.try_clone().map_err(|error| format!("cannot prepare a program: {error}"))?;
        self.asked_programs = self.asked_programs.wrapping_add(1);
        let id = self.asked_programs;
        let (pid, group, assembled, tell) =
            (process.pid, process.group.clone(), seat.assembled.clone(), self.tell.clone());
        self.mounts.order(move |engine| {
            let result = engine.enter(&assembled, &group, (pid, &pidfd), program, streams);
            let _ = tell.send_blocking(Message::Entered(id, result.map_err(|error| error.to_string())));
        });
        let watch = |end| pipes::watch_caller(&self.tasks, self.tell.clone(), id, Rc::clone(end));
        guest._watch = guest.end.as_ref().map(watch);
        self.guests.insert(id, guest);
        Ok(id)
    }

    /// Sends a signal to a program.
    pub(super) fn signal_program(&self, id: u32, number: u8) -> Answer {
        let Some(guest) = self.guests.get(&id).filter(|guest| guest.attempt.is_none()) else {
            return refuse(Status::NotFound, format!("no program {id} runs in a container"));
        };
        match guest.pid.filter(|_| guest.outcome.is_none()).map(|pid| container::halt::send(pid, number)) {
            Some(Ok(())) => Some(Ok(Reply::Done)),
            Some(Err(errno)) => refuse(Status::BadRequest, format!("signal {number} cannot be sent: {errno}")),
            None => refuse(Status::Conflict, format!("program {id} has not begun, or has ended")),
        }
    }

    /// There is a child on its way into a container, or none could be made.
    pub(super) fn entered(&mut self, id: u32, result: Result<Entered, String>) {
        let now = self.now();
        let Some(guest) = self.guests.get_mut(&id) else { return };
        match result {
            Ok(Entered { pid, report }) => {
                guest.first = Some(pid);
                guest.until = guest.attempt.as_ref().map(|attempt| now.after(attempt.timeout));
                pipes::read_report(&self.tasks, self.tell.clone(), id, report);
                if self.take_unclaimed(pid).is_some()
                    && let Some(guest) = self.guests.get_mut(&id)
                {
                    guest.first = None;
                }
            }
            Err(why) => self.end_program(id, &End::Failed { code: NOT_EXECUTED, why }),
        }
    }

    /// The way into the container is over: the program runs, or says why not.
    pub(super) fn reported(&mut self, id: u32, report: Result<Report, String>) {
        let (pid, why) = match report {
            Ok(Report { pid, failure }) => (pid, failure),
            Err(why) => {
                self.log.error("programs", &why);
                (None, None)
            }
        };
        let ended = pid.and_then(|pid| self.take_unclaimed(pid));
        let Some(guest) = self.guests.get_mut(&id) else { return };
        (guest.pid, guest.why, guest.reported) = (pid, why, true);
        guest.outcome = ended;
        match (guest.gone, &guest.attempt) {
            (true, None) => self.hang_up(id),
            (true, Some(_)) => self.kill_program(id),
            (false, _) => {}
        }
        self.weigh_program(id);
    }

    /// Whether a child that has ended was one of these.
    pub(super) fn guest_ended(&mut self, pid: Pid, outcome: Outcome) -> bool {
        let of = |guest: &Guest| guest.first == Some(pid) || (guest.pid == Some(pid) && guest.outcome.is_none());
        let Some((id, guest)) = self.guests.iter_mut().find(|(_, guest)| of(guest)) else { return false };
        let id = *id;
        if guest.first == Some(pid) {
            guest.first = None;
        } else {
            guest.outcome = Some(outcome);
        }
        self.weigh_program(id);
        true
    }

    /// Tells the end of a program, once all is known.
    fn weigh_program(&mut self, id: u32) {
        let Some(guest) = self.guests.get(&id) else { return };
        if !guest.reported || guest.first.is_some() || (guest.pid.is_some() && guest.outcome.is_none()) {
            return;
        }
        let end = match (&guest.why, guest.outcome) {
            (Some(why), _) => {
                let missing = why.step == Step::Exec && why.errno == Errno::NOENT.raw_os_error();
                End::Failed { code: if missing { NOT_FOUND } else { NOT_EXECUTED }, why: why.to_string() }
            }
            (None, Some(Outcome::Code(code))) => End::Exited(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
            (None, Some(Outcome::Signal(signal))) => End::Signalled(u8::try_from(signal).unwrap_or(u8::MAX)),
            (None, Some(Outcome::OutOfMemory)) => End::Signalled(9),
            // Only the first process of a container is ever called by what it asked for.
            (None, Some(Outcome::AskedReboot)) => End::Signalled(1),
            (None, Some(Outcome::AskedPowerOff)) => End::Signalled(2),
            (None, None) => {
                let why = format!("{} has ended, or its filter of system calls lets nobody in", guest.container);
                End::Failed { code: NOT_EXECUTED, why }
            }
        };
        self.end_program(id, &end);
    }

    fn end_program(&mut self, id: u32, end: &End) {
        let Some(guest) = self.guests.remove(&id) else { return };
        if let Some(attempt) = &guest.attempt {
            return self.answered(id, &guest.container, attempt, end);
        }
        match guest.end {
            // It fits into an empty pipe. Whoever has filled it, or is gone, does not miss it.
            Some(told) => drop(shared_pipe::put(&*told, end.line().as_bytes())),
            None => self.log.info(&guest.container, &format_args!("program {id}, which nobody waited for: {end}")),
        }
    }

    /// The caller of a program is gone.
    pub(super) fn caller_gone(&mut self, id: u32) {
        let Some(guest) = self.guests.get_mut(&id) else { return };
        guest.gone = true;
        self.hang_up(id);
    }

    fn hang_up(&mut self, id: u32) {
        let now = self.now();
        let Some(guest) = self.guests.get_mut(&id) else { return };
        if let (Some(pid), None) = (guest.pid, guest.outcome) {
            guest.until = Some(now.after(PATIENCE));
            // It leads a session, so its group is what it has started and not taken out of there.
            let _ = kill_process_group(pid, Signal::HUP);
        }
    }

    /// Ends a program at once, as soon as there is one.
    pub(super) fn kill_program(&mut self, id: u32) {
        let Some(guest) = self.guests.get_mut(&id) else { return };
        (guest.gone, guest.until) = (true, None);
        if let (Some(pid), None) = (guest.pid, guest.outcome) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }

    /// When a program has to be killed.
    pub(super) fn guests_deadline(&self) -> Option<Time> {
        self.guests.values().filter_map(|guest| guest.until).min()
    }

    /// Time has passed.
    pub(super) fn elapse_guests(&mut self, now: Time) {
        let is_late = |guest: &Guest| guest.until.is_some_and(|at| at <= now);
        let late: Vec<u32> = self.guests.iter().filter(|(_, guest)| is_late(guest)).map(|(id, _)| *id).collect();
        for id in late {
            if let Some(attempt) = self.guests.get_mut(&id).and_then(|guest| guest.attempt.as_mut()) {
                attempt.late = true;
            }
            self.kill_program(id);
        }
    }
}

/// What came with a call, as what it is for, if it is that: pipes and a UNIX socket, which close at once.
fn sorted(program: &Program, handed: Handed) -> Option<Given> {
    if program.detached {
        return handed.as_slice().is_empty().then_some(Given::Nothing);
    }
    let ends = |end: &OwnedFd| {
        let flags = rustix::fs::fcntl_getfl(end);
        is_pipe(end) && flags.is_ok_and(|flags| flags & OFlags::RWMODE == OFlags::WRONLY)
    };
    let fits = match (handed.as_slice(), program.terminal) {
        ([socket, end], true) => is_local(socket) && ends(end),
        ([streams @ .., end], false) => streams.len() == 3 && streams.iter().all(is_pipe) && ends(end),
        _ => false,
    };
    let mut all = fits.then(|| handed.take())?.into_iter();
    let streams = if program.terminal {
        Streams::Terminal(all.next()?)
    } else {
        Streams::Pipes { input: all.next()?, output: all.next()?, errors: all.next()? }
    };
    Some(Given::ByCaller(streams, all.next()?))
}

/// With what a program is to be started.
enum Given {
    /// What it reads and writes, and where its end is told.
    ByCaller(Streams, OwnedFd),
    /// Nobody waits for it.
    Nothing,
}
