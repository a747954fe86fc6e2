//! Containers that are asked whether they are ready: the program of their manifest is started in them, as any other program
//! is that enters, until it ends with code 0.
//!
//! ```text
//!   STARTED ─▶ Asking ── due ─▶ attempt ─▶ thread mounts: enter ─▶ … ─▶ child ended ─▶ 0: the fact that a signal is, too
//!                 ▲                └── within its timeout, else SIGKILL      └─▶ else the reason, and perhaps FoundUnready
//!                 └────────────────────────────────────────────────────────────────┘
//!   any other status: the attempt is killed, and what it comes to is not heard
//! ```
//!
//! When it is asked, and what its answers come to, is [`readiness`](crate::readiness)'s.

use std::cell::RefCell;
use std::rc::Rc;

use container::enter::Streams;
use formats::control::Program;
use formats::control::program::End;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use smol::{Async, LocalExecutor, Task};
use statemachine::container::{Event, Goal, Outcome, Span, Status, Time};

use super::Core;
use super::containers::{Seat, in_words};
use super::programs::Guest;
use crate::logs::SharedLog;
use crate::readiness::{Asking, LastLine, Verdict};

/// How much of what an attempt says is kept in the log of its container, in bytes. The rest is read, and dropped.
const KEPT_MAX: usize = 4096;

/// What is read at once of an attempt. It lies on the stack.
const PIECE: usize = 4096;

/// How often at most before others have their turn: more than a pipe holds.
const PIECES: usize = 32;

/// A container that is started and not ready yet.
pub(super) struct Asked {
    asking: Asking,
    /// The program that asks it now.
    attempt: Option<u32>,
    /// What the latest attempts have come to.
    pub(super) why: Option<String>,
    /// It was found unready, and a person has heard so.
    told: bool,
}

/// What a program has that asks a container.
pub(super) struct Attempt {
    /// How long it may take.
    pub(super) timeout: Span,
    /// It has taken longer, and was killed.
    pub(super) late: bool,
    output: Rc<Output>,
    /// Ends with this.
    _reads: Task<()>,
}

/// What it says.
struct Output {
    pipe: Async<OwnedFd>,
    heard: RefCell<Heard>,
}

struct Heard {
    log: SharedLog,
    /// How much more is kept.
    room: usize,
    /// Its log does not end with a whole line.
    is_open: bool,
    last: LastLine,
}

impl Core {
    /// A container has another status: one that is started may have to be asked, any other is not asked any more.
    pub(super) fn look_whether_to_ask(&mut self, name: &str, status: Status) {
        let now = self.now();
        let Some(seat) = self.table.get_mut(name) else { return };
        let before = seat.unready.take();
        if let (Some(asks), Goal::Ready, Status::Started) =
            (&seat.assembled.manifest.readiness, seat.assembled.member.policy.goal, status)
        {
            seat.unready = Some(Asked { asking: Asking::new(asks, now), attempt: None, why: None, told: false });
        }
        if let Some(id) = before.and_then(|before| before.attempt) {
            self.kill_program(id);
        }
    }

    /// When the next container is to be asked.
    pub(super) fn asking_deadline(&self) -> Option<Time> {
        self.table.values().filter_map(|seat| seat.unready.as_ref()?.asking.due()).min()
    }

    /// Asks those whose time has come.
    pub(super) fn elapse_asking(&mut self, now: Time) {
        let begins =
            |(name, seat): (&String, &mut Seat)| seat.unready.as_mut()?.asking.begin(now).then(|| name.clone());
        let due: Vec<String> = self.table.iter_mut().filter_map(begins).collect();
        for name in due {
            let begun = self.ask(&name);
            let Some(asked) = self.unready(&name) else { continue };
            match begun {
                Ok(id) => asked.attempt = Some(id),
                Err(why) => self.not_ready(&name, &why, ""),
            }
        }
    }

    fn ask(&mut self, name: &str) -> Result<u32, String> {
        let seat = self.table.get(name).ok_or("there is no such container")?;
        let process = seat.process.as_ref().ok_or("it has ended")?;
        let asks = seat.assembled.manifest.readiness.as_ref().ok_or("its manifest does not say how")?;
        let wrong = |error: std::io::Error| format!("cannot prepare a program: {error}");
        let (streams, output) = own_streams().map_err(wrong)?;
        let heard = Heard { log: Rc::clone(&process.log), room: KEPT_MAX, is_open: false, last: LastLine::default() };
        let output = Rc::new(Output { pipe: Async::new(output).map_err(wrong)?, heard: RefCell::new(heard) });
        let attempt = Attempt {
            timeout: Span::seconds(asks.timeout.into()),
            late: false,
            _reads: read(&self.tasks, Rc::clone(&output)),
            output,
        };
        let program = Program { container: name.to_owned(), argv: asks.exec.clone(), ..Program::default() };
        let mut guest = Guest::new(name);
        guest.attempt = Some(attempt);
        self.let_in(guest, program, streams)
    }

    /// A program that asks a container has ended.
    pub(super) fn answered(&mut self, id: u32, name: &str, attempt: &Attempt, end: &End) {
        let line = attempt.output.end();
        let Some(asked) = self.unready(name).filter(|asked| asked.attempt == Some(id)) else { return };
        asked.attempt = None;
        let how = match end {
            _ if attempt.late => {
                let seconds = attempt.timeout.0 / 1_000;
                let s = if seconds == 1 { "" } else { "s" };
                format!("did not end within {seconds} second{s}, and was killed")
            }
            End::Exited(0) => return self.fact(name, Event::Signalled),
            End::Exited(code) => in_words(Outcome::Code(i32::from(*code)), None),
            End::Signalled(signal) => in_words(Outcome::Signal(i32::from(*signal)), None),
            End::Failed { why, .. } => why.clone(),
        };
        self.not_ready(name, &how, &line);
    }

    fn not_ready(&mut self, name: &str, how: &str, line: &str) {
        let now = self.clock.now();
        let Some(asked) = self.table.get_mut(name).and_then(|seat| seat.unready.as_mut()) else { return };
        let verdict = asked.asking.failed(now);
        let why = asked.asking.told(how, line);
        // Each attempt is in the log of the container. Of the device's, the first and the one that decides are worth a line.
        match verdict {
            Verdict::NotYet if asked.asking.failures() == 1 => self.log.info(name, &why),
            Verdict::Unready if !asked.told => self.log.warn(name, &why),
            Verdict::NotYet | Verdict::Unready => {}
        }
        asked.told |= verdict == Verdict::Unready;
        asked.why = Some(why);
        if verdict == Verdict::Unready {
            self.fact(name, Event::FoundUnready);
        }
    }

    /// Why a container is not as it should be: why it is not ready, else why it went down last.
    pub(super) fn reason_of(&self, name: &str) -> Option<&String> {
        let seat = self.table.get(name)?;
        seat.unready.as_ref().and_then(|asked| asked.why.as_ref()).or(seat.reason.as_ref())
    }

    fn unready(&mut self, name: &str) -> Option<&mut Asked> {
        self.table.get_mut(name)?.unready.as_mut()
    }
}

/// An input that has ended, and outputs that can be read.
pub(super) fn own_streams() -> std::io::Result<(Streams, OwnedFd)> {
    let pipe = || pipe_with(PipeFlags::CLOEXEC);
    let ((input, _), (from, output)) = (pipe()?, pipe()?);
    let errors = output.try_clone()?;
    Ok((Streams::Pipes { input, output, errors }, from))
}

/// Reads what an attempt says for as long as somebody may say something.
fn read(tasks: &LocalExecutor<'_>, output: Rc<Output>) -> Task<()> {
    tasks.spawn(async move {
        while output.pipe.readable().await.is_ok() && output.drain() {
            smol::future::yield_now().await;
        }
    })
}

impl Output {
    /// Takes what is there. Whether more may come.
    fn drain(&self) -> bool {
        let mut piece = [0; PIECE];
        for _ in 0..PIECES {
            match rustix::io::read(&self.pipe, &mut piece) {
                Ok(0) => return false,
                Ok(length) => self.heard.borrow_mut().take(piece.get(..length).unwrap_or_default()),
                Err(Errno::AGAIN) => return true,
                Err(Errno::INTR) => {}
                Err(_) => return false,
            }
        }
        true
    }

    /// Takes what its program has left when it ended, and gives the last line. Whom that has left behind, to whom the pipe
    /// is open, is not waited for.
    fn end(&self) -> String {
        self.drain();
        let mut heard = self.heard.borrow_mut();
        if std::mem::take(&mut heard.is_open) {
            heard.log.borrow_mut().append(b"\n");
        }
        heard.last.text()
    }
}

impl Heard {
    fn take(&mut self, bytes: &[u8]) {
        self.last.take(bytes);
        let kept = bytes.get(..self.room.min(bytes.len())).unwrap_or_default();
        self.room = self.room.saturating_sub(kept.len());
        if let Some(last) = kept.last() {
            self.is_open = *last != b'\n';
            self.log.borrow_mut().append(kept);
        }
    }
}
