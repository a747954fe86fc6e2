//! A socket that the kernel answers while it is asked, with bounds on what is read.

use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::set_socket_send_buffer_size_force;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recvfrom, send, socket_with,
};

use crate::sys;
use crate::wire::{Answer, Malformed, Open, Writer, messages};

/// `NLM_F_REQUEST`, `NLM_F_ACK`, `NLM_F_DUMP`.
const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const LIST: u16 = 0x300;

/// `NLM_F_DUMP_INTR`: what is listed has changed in between, so that the list may lack something.
const CHANGED: u16 = 0x10;
/// How often a list is read that keeps changing.
const ROUNDS: usize = 32;

/// The kernel fills packets of a list up to this, and no answer to a single request is longer.
const PACKET: usize = 32 * 1024;
/// The most packets of one answer: more links than anybody has.
const PACKETS_MAX: usize = 4096;

/// What the kernel has against a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Refusal {
    pub(crate) errno: Errno,
    /// In words; may be empty.
    pub(crate) words: String,
    /// The sequence number of the request.
    pub(crate) sequence: u32,
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self { errno, words: String::new(), sequence: 0 }
    }
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        Self { words: malformed.to_string(), ..Errno::BADMSG.into() }
    }
}

/// What is done with each part of an answer.
pub(crate) type Each<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), Refusal>;

/// What a part of a list says, if it is wanted.
pub(crate) type Reader<'a, T> = &'a dyn Fn(&[u8]) -> Result<Option<T>, Malformed>;

/// A netlink socket of the namespace in which it was opened.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    sequence: u32,
}

impl Socket {
    /// In the namespace of the calling thread.
    pub(crate) fn open(protocol: Option<Protocol>) -> Result<Self, Errno> {
        // The kernel has answered when `send` returns, so that nothing is ever waited for.
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
        sys::netlink_options(fd.as_fd())?;
        Ok(Self { fd, sequence: 0 })
    }

    /// A number that no request of this socket has had for long.
    pub(crate) fn sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// Begins the one message of a request, which the kernel is to acknowledge or to answer with a list.
    pub(crate) fn begin(&mut self, kind: u16, flags: u16) -> (Writer, Open) {
        let mut writer = Writer::new();
        let sequence = self.sequence();
        let open = writer.begin(kind, REQUEST | flags, sequence);
        (writer, open)
    }

    /// Has a request carried out.
    pub(crate) fn order(&mut self, kind: u16, flags: u16, fill: &mut dyn FnMut(&mut Writer)) -> Result<(), Refusal> {
        let (mut writer, open) = self.begin(kind, flags | ACKNOWLEDGE);
        fill(&mut writer);
        writer.end(open);
        let sequence = self.sequence;
        self.exchange(writer, sequence, sequence, &mut |_| Ok(()))
    }

    /// Asks for one thing: what the kernel says about it, and then that this was all.
    pub(crate) fn ask(&mut self, kind: u16, fill: &mut dyn FnMut(&mut Writer), each: Each<'_>) -> Result<(), Refusal> {
        let (mut writer, open) = self.begin(kind, ACKNOWLEDGE);
        fill(&mut writer);
        writer.end(open);
        let sequence = self.sequence;
        self.exchange(writer, sequence, sequence, each)
    }

    /// Reads a list as it is at one moment, of at most so many that `read` wants.
    pub(crate) fn list<T>(
        &mut self,
        kind: u16,
        head: &[u8],
        most: usize,
        read: Reader<'_, T>,
    ) -> Result<Vec<T>, Refusal> {
        for _ in 0..ROUNDS {
            let mut found = Vec::new();
            let listed = self.look(kind, head, &mut |payload| {
                found.extend(read(payload)?);
                if found.len() > most { Err(Errno::TOOBIG.into()) } else { Ok(()) }
            });
            match listed {
                Err(Refusal { errno: Errno::INTR, .. }) => {}
                Err(refusal) => return Err(refusal),
                Ok(()) => return Ok(found),
            }
        }
        Err(Errno::INTR.into())
    }

    /// Looks through a list once. `EINTR`: it has changed meanwhile, and something may not have been shown.
    pub(crate) fn look(&mut self, kind: u16, head: &[u8], each: Each<'_>) -> Result<(), Refusal> {
        let (mut writer, open) = self.begin(kind, LIST);
        writer.raw(head);
        writer.end(open);
        let sequence = self.sequence;
        self.exchange(writer, sequence, sequence, each)
    }

    /// Sends messages and reads what the kernel says, until it has refused one of them or carried out the last. Of
    /// messages with other numbers than `first` to `last` nothing is heard.
    pub(crate) fn exchange(&mut self, writer: Writer, first: u32, last: u32, each: Each<'_>) -> Result<(), Refusal> {
        let bytes = writer.finish().ok_or(Errno::MSGSIZE)?;
        // Twice that, because the kernel counts what it needs to keep them, too.
        set_socket_send_buffer_size_force(&self.fd, bytes.len().saturating_mul(2).max(PACKET))?;
        send(&self.fd, &bytes, SendFlags::empty())?;
        let mut buffer = vec![0; PACKET];
        let mut changed = false;
        for _ in 0..PACKETS_MAX {
            let (_, length, from) = recvfrom(&self.fd, buffer.as_mut_slice(), RecvFlags::TRUNC)?;
            // Whoever may send to this port is root; still, only the kernel is believed.
            if from.and_then(|from| SocketAddrNetlink::try_from(from).ok()).is_none_or(|from| from.pid() != 0) {
                continue;
            }
            for message in messages(buffer.get(..length).ok_or(Malformed)?) {
                let message = message?;
                if message.sequence.wrapping_sub(first) > last.wrapping_sub(first) {
                    continue;
                }
                changed |= message.flags & CHANGED != 0;
                match message.answer()? {
                    Answer::Part(payload) => each(payload)?,
                    Answer::End(0, _) if message.sequence == last && changed => return Err(Errno::INTR.into()),
                    Answer::End(0, _) if message.sequence == last => return Ok(()),
                    Answer::End(0, _) => {}
                    Answer::End(error, words) => {
                        let errno = Errno::from_raw_os_error(error);
                        return Err(Refusal { errno, words: words.into(), sequence: message.sequence });
                    }
                }
            }
        }
        Err(Errno::OVERFLOW.into())
    }
}
