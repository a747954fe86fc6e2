//! `exec`: a program in a container, as if it ran here.
//!
//! ```text
//!   here            pipes, or a terminal of the container        there
//!   stdin  ─ relay ─▶ ═══════════════════════════════════════ ─▶ input
//!   stdout ◀─ relay ─ ═══════════════════════════════════════ ◀─ output      PID 1 writes one line to `end`
//! ```
//!
//! Promises: bytes as they are, and the exit code of the program as our own. Without a terminal the program has pipes made
//! here, never a file or a terminal of ours: what a container has open it may open once more, with other rights. When this
//! process ends first, so does the program.

use std::fs::File;
use std::io::{IoSliceMut, IsTerminal as _, Read as _};
use std::mem::MaybeUninit;

use container::signals;
use formats::control::program::{END_MAX, End};
use formats::json::{Json, Limits};
use formats::path::ContainerName;
use rustix::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType, recvmsg, socketpair,
};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

use crate::client::Client;
use crate::failure::Failure;
use crate::relay::{self, Flow, Woken};

/// What is said on a terminal instead of closing it: the end of a file.
const END_OF_FILE: u8 = 4;

/// What is wanted.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Wanted {
    pub(crate) container: ContainerName,
    pub(crate) argv: Vec<String>,
    pub(crate) env: Vec<String>,
    /// A terminal even if ours is none.
    pub(crate) terminal: bool,
    /// Nobody waits for it.
    pub(crate) detached: bool,
}

/// Runs it, and gives the exit code.
pub(crate) fn run(client: &Client, wanted: &Wanted) -> Result<u8, Box<Failure>> {
    if wanted.detached {
        // Its end, and whatever it says, is in the logs of the device.
        return begin(client, wanted, false, &[]).map(|_| 0);
    }
    let (stdin, stdout) = (std::io::stdin(), std::io::stdout());
    // With an output that goes elsewhere a terminal would change bytes on their way.
    let terminal = wanted.terminal || (stdin.is_terminal() && stdout.is_terminal());
    // Before the first byte: a signal must find somebody who cares for the terminal.
    let told = signals::open_for(signals::OF_A_TERMINAL).map_err(lost("cannot watch signals"))?;
    let (end, tell) = pipe()?;
    let mut session = if terminal {
        Session::with_terminal(client, wanted, tell)?
    } else {
        Session::with_pipes(client, wanted, tell)?
    };
    loop {
        match relay::run(&mut session.flows, &end, &told).map_err(lost("cannot wait for the program"))? {
            Woken::Ended => break,
            Woken::Signal => {
                let Some(number) = signals::number(&told).map_err(lost("cannot read signals"))? else { continue };
                if number == signals::WINDOW_CHANGED {
                    session.resize();
                } else if number == signals::HANG_UP || !session.pass_on(client, number) {
                    // The program hears of it when our ends of its pipes close.
                    return Ok(u8::try_from(number).unwrap_or(0).saturating_add(128));
                }
            }
        }
    }
    drop(session);
    let mut line = String::new();
    let read = File::from(end).take(END_MAX as u64 + 1).read_to_string(&mut line);
    read.map_err(Failure::io("cannot read how the program ended"))?;
    let end = End::parse(&line).ok_or(Failure::answer("nothing about the end of the program"))?;
    match &end {
        End::Failed { code, why } => Err(Failure::NotStarted { code: *code, why: why.clone() }.into()),
        End::Exited(_) | End::Signalled(_) => Ok(end.code()),
    }
}

struct Session {
    id: u64,
    flows: Vec<Flow>,
    /// The controlling end of its terminal, and ours as it was.
    terminal: Option<(OwnedFd, Option<Raw>)>,
}

impl Session {
    fn with_pipes(client: &Client, wanted: &Wanted, tell: OwnedFd) -> Result<Self, Box<Failure>> {
        let ((input, to), (from, output), (errors_from, errors)) = (pipe()?, pipe()?, pipe()?);
        let id = begin(client, wanted, false, &[input, output, errors, tell])?;
        let flows = vec![
            Flow::input(own(std::io::stdin())?, to, None),
            Flow::output(from, own(std::io::stdout())?),
            Flow::output(errors_from, own(std::io::stderr())?),
        ];
        Ok(Self { id, flows, terminal: None })
    }

    fn with_terminal(client: &Client, wanted: &Wanted, tell: OwnedFd) -> Result<Self, Box<Failure>> {
        let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
        let (own_end, other) = pair.map_err(lost("cannot make a socket"))?;
        let id = begin(client, wanted, true, &[other, tell])?;
        // None comes if it could not be made: then the reason is in how the program ended.
        let Some(terminal) = receive(&own_end)? else { return Ok(Self { id, flows: Vec::new(), terminal: None }) };
        let copy = || terminal.try_clone().map_err(Failure::io("cannot copy the terminal"));
        let flows = vec![
            Flow::input(own(std::io::stdin())?, copy()?, Some(END_OF_FILE)),
            Flow::output(copy()?, own(std::io::stdout())?),
        ];
        let raw = if std::io::stdin().is_terminal() { Some(Raw::new()?) } else { None };
        let session = Self { id, flows, terminal: Some((terminal, raw)) };
        session.resize();
        Ok(session)
    }

    /// The window of the program is as large as ours.
    fn resize(&self) {
        if let Some((terminal, _)) = &self.terminal
            && let Ok(size) = tcgetwinsize(std::io::stdout())
        {
            // A terminal that has gone meanwhile has no size.
            let _ = tcsetwinsize(terminal, size);
        }
    }

    /// Passes a signal on; whether that was possible.
    fn pass_on(&self, client: &Client, number: i32) -> bool {
        let body = Json::object().with("signal", u64::from(number.unsigned_abs())).compact();
        client.send("PUT", &format!("/programs/{}", self.id), body.as_bytes()).is_ok()
    }
}

/// Our terminal while another one speaks through it.
pub(crate) struct Raw(Termios);

impl Raw {
    pub(crate) fn new() -> Result<Self, Box<Failure>> {
        let input = std::io::stdin();
        let before = tcgetattr(&input).map_err(lost("cannot look at this terminal"))?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&input, OptionalActions::Now, &raw).map_err(lost("cannot change this terminal"))?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, &self.0);
    }
}

/// Asks for the program; what is handed over is closed here.
fn begin(client: &Client, wanted: &Wanted, terminal: bool, handed: &[OwnedFd]) -> Result<u64, Box<Failure>> {
    let words = |words: &[String]| Json::Array(words.iter().map(|word| Json::from(word.as_str())).collect());
    let mut env = wanted.env.clone();
    if let (true, Ok(term)) = (terminal, std::env::var("TERM")) {
        env.insert(0, format!("TERM={term}"));
    }
    let body = Json::object()
        .with("argv", words(&wanted.argv))
        .with("env", words(&env))
        .with("terminal", terminal)
        .with("detached", wanted.detached);
    let path = format!("/containers/{}/programs", wanted.container.as_str());
    let descriptors: Vec<BorrowedFd<'_>> = handed.iter().map(AsFd::as_fd).collect();
    let answer = client.hand_over(&path, body.compact().as_bytes(), &descriptors)?;
    let value = formats::json::parse(answer.as_bytes(), Limits::DOCUMENT).ok();
    let id = value.as_ref().and_then(|value| value.as_object()?.get("id")?.as_u64());
    id.ok_or(Failure::answer("no number of the program"))
}

fn receive(socket: &OwnedFd) -> Result<Option<OwnedFd>, Box<Failure>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    loop {
        match recvmsg(socket, &mut [IoSliceMut::new(&mut [0; 8])], &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            Err(errno) => return Err(lost("no terminal comes")(errno)),
            Ok(_) => break,
        }
    }
    let terminal = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut handed) => handed.next(),
        _ => None,
    });
    Ok(terminal)
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Box<Failure>> {
    pipe_with(PipeFlags::CLOEXEC).map_err(lost("cannot make a pipe"))
}

/// A descriptor of ours that can be closed like any other.
fn own(stream: impl AsFd) -> Result<OwnedFd, Box<Failure>> {
    let number = stream.as_fd().as_raw_fd();
    let copy = stream.as_fd().try_clone_to_owned();
    copy.map_err(Failure::io(format!("cannot copy descriptor {number}")))
}

pub(crate) fn lost(what: &'static str) -> impl FnOnce(Errno) -> Box<Failure> {
    move |errno| Box::new(Failure::Io { what: what.into(), error: errno.into() })
}
