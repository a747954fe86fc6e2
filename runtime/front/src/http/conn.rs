//! One connection: requests in, answers out, and never longer than is fair.
//!
//! ```text
//!   head() ─▶ piece()* ─▶ respond()  or  start() ─▶ send()*  ─▶ head() …
//! ```
//!
//! Time that *the client* takes is counted, not time that the device takes: a body or an answer of N bytes may cost
//! [`GRACE`] and N / [`RATE`], and no single wait more than [`STALL`]. So slow flash never cuts an upload, and a client
//! that sends a byte now and then never holds a place for long.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::rc::Rc;
use std::time::{Duration, Instant};

use formats::control::PIECE_MAX;
use formats::control::program::DESCRIPTORS_MAX;
use rustix::fd::OwnedFd;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, Shutdown, recv, recvmsg, send, shutdown,
};
use smol::channel::Receiver;
use smol::{Async, Timer, future};

use super::answer::{self, Answer, Content};
use super::head::{self, HEAD_MAX, Head};

/// How long a connection may be silent before a request.
pub(crate) const IDLE: Duration = Duration::from_secs(15);
/// How long a head may take from its first byte.
pub(crate) const HEAD_TIME: Duration = Duration::from_secs(10);
/// The longest single wait inside a body or an answer.
pub(crate) const STALL: Duration = Duration::from_secs(20);
/// What every body and answer may take.
pub(crate) const GRACE: Duration = Duration::from_secs(30);
/// And what it may take in addition: bytes per second. A bad radio link has more.
const RATE: u64 = 2 * 1024;
/// How long a client may go on sending after its answer. Many look for an answer only when they have sent everything, and
/// would see a broken connection instead of what is wrong.
const LINGER: Duration = Duration::from_secs(2);
/// How long in all, if it sends an announced body at [`LINGER_RATE`] or faster.
const LINGER_MOST: Duration = Duration::from_secs(30);
/// Bytes per second: what is thrown away may not hold a place for long.
const LINGER_RATE: u64 = 64 * 1024;

/// Why a connection is of no use any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cut {
    /// The client is gone, or its listener is.
    Gone,
    /// The client took too long.
    Late,
}

/// How long a client may still take.
struct Patience(Duration);

/// The body of a request, as far as it is not read.
pub(crate) struct Body {
    /// Bytes that are still to come.
    pub(crate) left: u64,
    waits: bool,
    patience: Patience,
}

/// A connection.
pub(crate) struct Conn {
    io: Async<OwnedFd>,
    /// Closed when the listener is not served any more.
    stop: Receiver<()>,
    /// Read, but not looked at.
    ahead: Vec<u8>,
    keeps: bool,
    patience: Patience,
    /// How long this connection may be silent.
    times: Rc<Times>,
}

/// The waits of a connection; shorter in tests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) idle: Duration,
    pub(crate) head: Duration,
    pub(crate) stall: Duration,
    pub(crate) grace: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self { idle: IDLE, head: HEAD_TIME, stall: STALL, grace: GRACE }
    }
}

impl Conn {
    pub(crate) fn new(io: Async<OwnedFd>, stop: Receiver<()>, times: Rc<Times>) -> Self {
        Self { io, stop, ahead: Vec::new(), keeps: true, patience: Patience(times.grace), times }
    }

    /// The next request; `None` when there is none any more. A bad one has been answered then.
    pub(crate) async fn head(&mut self) -> Option<(Head, Body)> {
        if !self.keeps {
            return None;
        }
        // What a client sent ahead has begun already.
        let mut begun = (!self.ahead.is_empty()).then(Instant::now);
        loop {
            match head::read(&self.ahead) {
                Ok(Some((head, length))) => {
                    self.ahead.drain(..length.min(self.ahead.len()));
                    self.keeps = head.keeps;
                    let body = Body { left: head.length, waits: head.waits, patience: self.patience(head.length) };
                    return Some((head, body));
                }
                Ok(None) => {}
                Err(error) => {
                    self.last_words(&Answer::error(error.code(), &error.to_string())).await;
                    return None;
                }
            }
            let within = match begun {
                Some(begun) => self.times.head.saturating_sub(begun.elapsed()),
                None => self.times.idle,
            };
            let mut piece = [0; 2048];
            let room = HEAD_MAX.saturating_sub(self.ahead.len()).min(piece.len());
            match self.receive(piece.get_mut(..room)?, within).await {
                Ok(read) => {
                    self.ahead.extend_from_slice(piece.get(..read)?);
                    begun = begun.or_else(|| Some(Instant::now()));
                }
                Err(Cut::Late) if begun.is_some() => {
                    self.last_words(&Answer::error(408, "the head of the request took too long")).await;
                    return None;
                }
                // Silence between requests is no error.
                Err(_) => return None,
            }
        }
    }

    /// The next piece of the body, at most [`PIECE_MAX`] bytes; empty at its end.
    pub(crate) async fn piece(&mut self, body: &mut Body) -> Result<Vec<u8>, Cut> {
        if body.left > 0 && std::mem::take(&mut body.waits) && self.ahead.is_empty() {
            self.patience = self.patience(0);
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let wanted = usize::try_from(body.left).unwrap_or(usize::MAX).min(PIECE_MAX);
        let from_ahead = wanted.min(self.ahead.len());
        let mut piece: Vec<u8> = self.ahead.drain(..from_ahead).collect();
        piece.resize(wanted, 0);
        let mut have = from_ahead;
        while let Some(rest) = piece.get_mut(have..).filter(|rest| !rest.is_empty()) {
            let within = body.patience.0.min(self.times.stall);
            let asked = Instant::now();
            have += self.receive(rest, within).await?;
            body.patience.0 = body.patience.0.saturating_sub(asked.elapsed());
        }
        body.left = body.left.saturating_sub(wanted as u64);
        Ok(piece)
    }

    /// A whole small body, and what was handed over with it (`SCM_RIGHTS`). Only after `100 Continue` are descriptors
    /// taken: whatever comes unasked is closed by the kernel. `None`: the client has not waited for it.
    pub(crate) async fn handed(&mut self, body: &mut Body) -> Result<Option<(Vec<u8>, Vec<OwnedFd>)>, Cut> {
        if !std::mem::take(&mut body.waits) || !self.ahead.is_empty() {
            return Ok(None);
        }
        self.patience = self.patience(0);
        self.send(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        let wanted = usize::try_from(body.left).unwrap_or(usize::MAX).min(PIECE_MAX);
        let (mut piece, mut descriptors, mut have) = (vec![0; wanted], Vec::new(), 0);
        while let Some(rest) = piece.get_mut(have..).filter(|rest| !rest.is_empty()) {
            let within = body.patience.0.min(self.times.stall);
            let asked = Instant::now();
            let read = async {
                match self.io.read_with(|io| receive_with(io, &mut *rest, &mut descriptors)).await {
                    Ok(0) | Err(_) => Err(Cut::Gone),
                    Ok(read) => Ok(read),
                }
            };
            have += self.in_time(read, within).await?;
            body.patience.0 = body.patience.0.saturating_sub(asked.elapsed());
        }
        body.left = body.left.saturating_sub(wanted as u64);
        Ok(Some((piece, descriptors)))
    }

    /// Answers with what is in memory.
    pub(crate) async fn respond(&mut self, answer: &Answer, body: &mut Body) -> Result<(), Cut> {
        self.settle(body).await?;
        let bytes = answer.bytes(self.keeps);
        self.patience = self.patience(bytes.len() as u64);
        self.send(&bytes).await
    }

    /// Begins an answer of this many bytes, to be sent piece by piece.
    pub(crate) async fn start(&mut self, content: Content, length: u64, body: &mut Body) -> Result<(), Cut> {
        self.settle(body).await?;
        self.patience = self.patience(length);
        self.send(answer::head(200, content, length, &[], self.keeps).as_bytes()).await
    }

    /// Sends some bytes of an answer.
    pub(crate) async fn send(&mut self, mut bytes: &[u8]) -> Result<(), Cut> {
        while !bytes.is_empty() {
            let within = self.patience.0.min(self.times.stall);
            let asked = Instant::now();
            let write = async {
                self.io.write_with(|io| Ok(send(io, bytes, SendFlags::NOSIGNAL)?)).await.map_err(|_| Cut::Gone)
            };
            let sent = self.in_time(write, within).await?;
            self.patience.0 = self.patience.0.saturating_sub(asked.elapsed());
            bytes = bytes.get(sent..).ok_or(Cut::Gone)?;
        }
        Ok(())
    }

    /// What is left of a body before its answer: read away if that is little, else the connection ends.
    async fn settle(&mut self, body: &mut Body) -> Result<(), Cut> {
        if body.left == 0 {
            return Ok(());
        }
        if body.waits || body.left > PIECE_MAX as u64 {
            // Whether the client sends it after all is not known, so where the next request begins is not either.
            self.keeps = false;
        } else {
            self.piece(body).await?;
        }
        Ok(())
    }

    /// Answers something that is no request, and ends.
    async fn last_words(&mut self, answer: &Answer) {
        self.keeps = false;
        self.patience = self.patience(0);
        // If nobody listens any more, nobody misses it.
        let _ = self.send(&answer.bytes(false)).await;
    }

    /// Ends the connection so that the last answer is seen: closing while bytes come in would throw it away.
    pub(crate) async fn end(mut self, body_left: bool) {
        if shutdown(&self.io, Shutdown::Write).is_err() {
            return;
        }
        let begun = Instant::now();
        let mut away = [0; 4096];
        let mut read: u64 = 0;
        while body_left || !self.keeps {
            let earned =
                if body_left { Duration::from_millis(read.saturating_mul(1000) / LINGER_RATE) } else { Duration::ZERO };
            let within = LINGER.saturating_add(earned).min(LINGER_MOST).saturating_sub(begun.elapsed());
            match self.receive(&mut away, within).await {
                Ok(more) if !within.is_zero() => read = read.saturating_add(more as u64),
                _ => return,
            }
        }
    }

    /// How long a client may take over this many bytes.
    fn patience(&self, bytes: u64) -> Patience {
        Patience(self.times.grace.saturating_add(Duration::from_secs(bytes / RATE)))
    }

    /// At least one byte.
    async fn receive(&mut self, into: &mut [u8], within: Duration) -> Result<usize, Cut> {
        let read = async {
            match self.io.read_with(|io| Ok(recv(io, &mut *into, RecvFlags::empty())?.0)).await {
                Ok(0) | Err(_) => Err(Cut::Gone),
                Ok(read) => Ok(read),
            }
        };
        self.in_time(read, within).await
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, Cut>>, within: Duration) -> Result<T, Cut> {
        let late = async {
            Timer::after(within).await;
            Err(Cut::Late)
        };
        let stopped = async {
            // Nothing is ever sent on it.
            let _ = self.stop.recv().await;
            Err(Cut::Gone)
        };
        future::or(work, future::or(late, stopped)).await
    }
}

/// Some bytes, and the descriptors that came with them.
fn receive_with(io: &OwnedFd, into: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> io::Result<usize> {
    // One more, so that too many are seen to be too many.
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX + 1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(io, &mut [IoSliceMut::new(into)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(handed) = message {
            descriptors.extend(handed);
        }
    }
    descriptors.truncate(DESCRIPTORS_MAX + 1);
    Ok(got.bytes)
}
