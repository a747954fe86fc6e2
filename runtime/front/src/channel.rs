//! The way to PID 1: asks go out, what it tells comes in.
//!
//! Promises: an ask gets the answer of its own number or none. The other end is trusted, and a frame that cannot be read
//! or a closed channel therefore ends this process: PID 1 starts another.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::time::Duration;

use formats::control::program::DESCRIPTORS_MAX;
use formats::control::{self, Ask, Call, Caller, FRAME_MAX, Refused, Reply, Status, Tell};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recv, recvmsg, sendmsg,
};
use smol::channel::{Sender, bounded};
use smol::{Async, Timer, future};

/// How long PID 1 may take: longer than the slowest flash needs for one piece or one sweep.
const ANSWER_TIME: Duration = Duration::from_secs(120);

type Answered = Result<Reply, Refused>;

/// The connection to PID 1.
pub(crate) struct Channel {
    io: Async<OwnedFd>,
    pending: RefCell<BTreeMap<u32, Sender<Answered>>>,
    next: Cell<u32>,
}

impl Channel {
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self { io: Async::new(socket)?, pending: RefCell::default(), next: Cell::new(0) })
    }

    /// Asks, and waits for the answer.
    pub(crate) async fn ask(&self, caller: &Caller, call: Call) -> Answered {
        self.ask_with(caller, call, &[]).await
    }

    /// The same, with descriptors.
    pub(crate) async fn ask_with(&self, caller: &Caller, call: Call, descriptors: &[OwnedFd]) -> Answered {
        let id = self.free_number();
        let frame = control::encode(&Ask { id, caller: caller.clone(), call })
            .map_err(|error| Refused::new(Status::BadRequest, error.to_string()))?;
        let (answer, answered) = bounded(1);
        self.pending.borrow_mut().insert(id, answer);
        let asked = async {
            self.send(&frame, descriptors)
                .await
                .map_err(|error| unavailable(&format!("PID 1 cannot be asked: {error}")))?;
            answered.recv().await.unwrap_or_else(|_| Err(unavailable("PID 1 does not answer")))
        };
        let late = async {
            Timer::after(ANSWER_TIME).await;
            Err(unavailable("PID 1 takes too long to answer"))
        };
        let result = future::or(asked, late).await;
        self.pending.borrow_mut().remove(&id);
        result
    }

    /// Takes in what PID 1 tells, until it tells something that is not an answer.
    ///
    /// # Errors
    /// If the channel is closed, or brings something that is no frame.
    pub(crate) async fn told(&self) -> io::Result<(Tell, Option<OwnedFd>)> {
        loop {
            let (frame, socket) = self.io.read_with(receive).await?;
            if frame.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match control::decode_tell(&frame).map_err(|error| io::Error::other(error.to_string()))? {
                Tell::Answer { id, result } => {
                    // Nobody waits for it any more: the answer came too late.
                    let Some(answer) = self.pending.borrow_mut().remove(&id) else { continue };
                    let _ = answer.try_send(result);
                }
                order => return Ok((order, socket)),
            }
        }
    }

    async fn send(&self, frame: &[u8], descriptors: &[OwnedFd]) -> io::Result<()> {
        let descriptors: Vec<_> = descriptors.iter().map(OwnedFd::as_fd).collect();
        // A packet goes whole or not at all.
        let write = |io: &OwnedFd| {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
                return Err(io::Error::other("more descriptors than a call has"));
            }
            sendmsg(io, &[IoSlice::new(frame)], &mut control, SendFlags::NOSIGNAL)?;
            Ok(())
        };
        self.io.write_with(write).await
    }

    fn free_number(&self) -> u32 {
        let pending = self.pending.borrow();
        loop {
            let id = self.next.get();
            self.next.set(id.wrapping_add(1));
            if !pending.contains_key(&id) {
                return id;
            }
        }
    }
}

fn unavailable(message: &str) -> Refused {
    Refused::new(Status::Unavailable, message)
}

/// One packet, and the socket that came with it. It is asked for its length first: nearly all are short, and a buffer for
/// the longest would be memory that is never used again.
fn receive(io: &OwnedFd) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    let (_, length) = recv(io, &mut [0; 0], RecvFlags::PEEK | RecvFlags::TRUNC)?;
    let mut packet = vec![0; length.min(FRAME_MAX + 1)];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(io, &mut [IoSliceMut::new(&mut packet)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    if got.flags.contains(ReturnFlags::TRUNC) {
        return Err(io::Error::other("PID 1 sent more than a frame"));
    }
    let socket = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut sockets) => sockets.next(),
        _ => None,
    });
    packet.truncate(got.bytes);
    Ok((packet, socket))
}
