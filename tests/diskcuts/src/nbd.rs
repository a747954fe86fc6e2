//! Serves disks to QEMU: the protocol of network block devices, as much of it as QEMU speaks.
//!
//! ```text
//!   server  NBDMAGIC IHAVEOPT flags          client  flags
//!   client  IHAVEOPT option length …         server  answer, until the option is GO
//!   client  magic flags kind cookie at length [bytes]   server  magic error cookie [bytes]
//! ```
//!
//! Everything that has come is taken before anything is answered: requests that were under way at the same time are one
//! batch of the log, so that a flush is never believed to cover a write that the guest had no answer to when it asked.
//! QEMU's own `blklogwrites` logs a request when it is done, and a write to the medium as a write and a flush of
//! everything. Source: `doc/proto.md` of the project nbd.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::io::Errno;
use rustix::net::RecvFlags;

use crate::disk::Disk;
use crate::log::{Log, What};

const MAGIC: &[u8; 8] = b"NBDMAGIC";
const OPTION: &[u8; 8] = b"IHAVEOPT";
/// Fixed newstyle, no zeros behind the old answer.
const HANDSHAKE: u16 = 3;
const ABORT: u32 = 2;
const INFO: u32 = 6;
const GO: u32 = 7;
const OPTION_ANSWER: u64 = 0x0003_e889_0455_65a9;
const ACK: u32 = 1;
const ANSWER_INFO: u32 = 3;
const UNSUPPORTED: u32 = 0x8000_0001;
/// Flags, flush, writes to the medium, trim.
const EXPORT: u16 = 1 | 4 | 8 | 32;
const REQUEST: u32 = 0x2560_9513;
const ANSWER: u32 = 0x6744_6698;
const HEAD: usize = 28;
/// The most bytes of a request, as the client is told.
const LARGEST: u32 = 32 << 20;
const INVALID: u32 = 22;

/// A disk that is served, and what was asked of it if that is wanted.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<State>>);

pub(crate) struct State {
    pub(crate) disk: Disk,
    pub(crate) log: Option<Log>,
}

impl Shared {
    pub(crate) fn new(disk: Disk, log: Option<Log>) -> Self {
        Self(Arc::new(Mutex::new(State { disk, log })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // Whoever has panicked with it has left bytes that were written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The world is told something.
    pub(crate) fn tell(&self, text: &str) {
        if let Some(log) = &mut self.lock().log {
            log.tell(text);
        }
    }

    /// Serves whoever comes to the socket, for as long as this process lives.
    pub(crate) fn serve_at(&self, socket: &Path) -> io::Result<()> {
        let (listener, shared) = (UnixListener::bind(socket)?, self.clone());
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                // A client that is killed in the midst of a request is what this is for.
                let _ = shared.serve(&mut stream);
            }
        });
        Ok(())
    }

    fn serve(&self, stream: &mut UnixStream) -> io::Result<()> {
        let size = self.lock().disk.size();
        if !shake_hands(stream, size)? {
            return Ok(());
        }
        let mut inbox = Vec::new();
        loop {
            if receive(stream, &mut inbox)? == 0 {
                return Ok(());
            }
            let (mut answers, mut taken) = (Vec::new(), 0);
            let mut state = self.lock();
            if let Some(log) = &mut state.log {
                log.begin_batch();
            }
            let mut is_over = false;
            while let Some((request, length)) = Request::parse(inbox.get(taken..).unwrap_or_default())? {
                taken += length;
                is_over |= request.kind == Kind::Disconnect;
                state.take(&request, &mut answers);
            }
            drop(state);
            inbox.drain(..taken);
            stream.write_all(&answers)?;
            if is_over {
                return Ok(());
            }
        }
    }
}

impl State {
    fn take(&mut self, request: &Request<'_>, answers: &mut Vec<u8>) {
        let Request { kind, fua, cookie, at, length, bytes } = *request;
        let is_inside = at.checked_add(length.into()).is_some_and(|end| end <= self.disk.size());
        let error = match kind {
            _ if !is_inside => INVALID,
            Kind::Write => {
                self.disk.write(at, bytes);
                self.note(|| What::Write { at, bytes: bytes.to_vec(), fua });
                0
            }
            Kind::Trim => {
                self.note(|| What::Trim { at, length: length.into() });
                0
            }
            Kind::Flush => {
                self.note(|| What::Flush);
                0
            }
            Kind::Read => 0,
            Kind::Disconnect => return,
            Kind::Other => INVALID,
        };
        answers.extend(ANSWER.to_be_bytes());
        answers.extend(error.to_be_bytes());
        answers.extend(cookie);
        if kind == Kind::Read && error == 0 {
            answers.extend(self.disk.bytes(at, length as usize));
        }
    }

    fn note(&mut self, what: impl FnOnce() -> What) {
        if let Some(log) = &mut self.log {
            log.push(what());
        }
    }
}

/// All that has come; waits if that is nothing. 0: nothing more will.
fn receive(stream: &mut UnixStream, inbox: &mut Vec<u8>) -> io::Result<usize> {
    let mut buffer = vec![0; 1 << 18];
    let mut received = 0;
    loop {
        let flags = if received == 0 { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
        match rustix::net::recv(&*stream, &mut buffer[..], flags) {
            Ok((_, 0)) => return Ok(received),
            Ok((_, length)) => {
                inbox.extend_from_slice(buffer.get(..length).unwrap_or_default());
                received += length;
            }
            Err(Errno::AGAIN) if received > 0 => return Ok(received),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// `false`: the client has gone away.
fn shake_hands(stream: &mut UnixStream, size: u64) -> io::Result<bool> {
    stream.write_all(&[&MAGIC[..], OPTION, &HANDSHAKE.to_be_bytes()].concat())?;
    let mut flags = [0; 4];
    stream.read_exact(&mut flags)?;
    loop {
        let mut head = [0; 16];
        stream.read_exact(&mut head)?;
        let (magic, rest) = head.split_at(8);
        let word = |at: usize| rest.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |word| u32::from_be_bytes(*word));
        let (option, length) = (word(0), word(4));
        if magic != OPTION || length > 65_536 {
            return Err(io::Error::other("the client speaks another protocol"));
        }
        let mut data = vec![0; length as usize];
        stream.read_exact(&mut data)?;
        let mut answer = |kind: u32, data: &[u8]| {
            let mut bytes = OPTION_ANSWER.to_be_bytes().to_vec();
            for word in [option, kind, data.len() as u32] {
                bytes.extend(word.to_be_bytes());
            }
            bytes.extend(data);
            stream.write_all(&bytes)
        };
        match option {
            GO | INFO => {
                let export = [&0_u16.to_be_bytes()[..], &size.to_be_bytes(), &EXPORT.to_be_bytes()].concat();
                answer(ANSWER_INFO, &export)?;
                let mut blocks = 3_u16.to_be_bytes().to_vec();
                [512, 4096, LARGEST].iter().for_each(|size: &u32| blocks.extend(size.to_be_bytes()));
                answer(ANSWER_INFO, &blocks)?;
                answer(ACK, &[])?;
                if option == GO {
                    return Ok(true);
                }
            }
            ABORT => {
                answer(ACK, &[])?;
                return Ok(false);
            }
            _ => answer(UNSUPPORTED, &[])?,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Read,
    Write,
    Disconnect,
    Flush,
    Trim,
    Other,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Request<'b> {
    kind: Kind,
    fua: bool,
    cookie: [u8; 8],
    at: u64,
    length: u32,
    bytes: &'b [u8],
}

impl<'b> Request<'b> {
    /// The first request in these bytes, and how many of them it takes. `None`: it is not whole yet.
    fn parse(bytes: &'b [u8]) -> io::Result<Option<(Self, usize)>> {
        let Some(head) = bytes.first_chunk::<HEAD>() else { return Ok(None) };
        let half = |at: usize| head.get(at..)?.first_chunk().map(|half| u16::from_be_bytes(*half));
        let word = |at: usize| head.get(at..)?.first_chunk().map(|word| u32::from_be_bytes(*word));
        let long = |at: usize| head.get(at..)?.first_chunk().map(|long| u64::from_be_bytes(*long));
        let length = word(24).unwrap_or_default();
        if word(0) != Some(REQUEST) || length > LARGEST {
            return Err(io::Error::other("the client has lost its place"));
        }
        let kind = match half(6) {
            Some(0) => Kind::Read,
            Some(1) => Kind::Write,
            Some(2) => Kind::Disconnect,
            Some(3) => Kind::Flush,
            Some(4) => Kind::Trim,
            _ => Kind::Other,
        };
        let payload = if kind == Kind::Write { length as usize } else { 0 };
        let Some(payload) = bytes.get(HEAD..HEAD + payload) else { return Ok(None) };
        let request = Self {
            kind,
            fua: half(4).is_some_and(|flags| flags & 1 != 0),
            cookie: head.get(8..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default(),
            at: long(16).unwrap_or_default(),
            length,
            bytes: payload,
        };
        Ok(Some((request, HEAD + payload.len())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(kind: u16, fua: bool, cookie: u64, at: u64, length: u32, bytes: &[u8]) -> Vec<u8> {
        let mut request = REQUEST.to_be_bytes().to_vec();
        request.extend(u16::from(fua).to_be_bytes());
        request.extend(kind.to_be_bytes());
        request.extend(cookie.to_be_bytes());
        request.extend(at.to_be_bytes());
        request.extend(length.to_be_bytes());
        request.extend(bytes);
        request
    }

    /// A client that has shaken hands.
    fn client(shared: &Shared) -> (tempfile::TempDir, UnixStream) {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("disk");
        shared.serve_at(&socket).unwrap();
        let mut stream = UnixStream::connect(&socket).unwrap();
        let mut hello = [0; 18];
        stream.read_exact(&mut hello).unwrap();
        // Asks for structured answers first, as QEMU does, and is refused.
        stream
            .write_all(&[&3_u32.to_be_bytes()[..], OPTION, &8_u32.to_be_bytes(), &0_u32.to_be_bytes()].concat())
            .unwrap();
        let mut refused = [0; 20];
        stream.read_exact(&mut refused).unwrap();
        assert_eq!(refused[12..16], UNSUPPORTED.to_be_bytes());
        let name = [&0_u32.to_be_bytes()[..], &0_u16.to_be_bytes()].concat();
        stream.write_all(&[&OPTION[..], &GO.to_be_bytes(), &6_u32.to_be_bytes(), &name].concat()).unwrap();
        let mut info = [0; 32 + 34 + 20];
        stream.read_exact(&mut info).unwrap();
        assert_eq!(info[22..30], 8192_u64.to_be_bytes());
        (dir, stream)
    }

    fn answer(stream: &mut UnixStream, length: usize) -> (u32, Vec<u8>) {
        let (mut head, mut bytes) = ([0; 16], vec![0; length]);
        stream.read_exact(&mut head).unwrap();
        stream.read_exact(&mut bytes).unwrap();
        (u32::from_be_bytes(*head[4..].first_chunk().unwrap()), bytes)
    }

    #[test]
    fn what_is_written_is_read_and_everything_is_logged_with_who_came_together() {
        let shared = Shared::new(Disk::new(vec![0; 8192]), Some(Log::default()));
        let (_dir, mut stream) = client(&shared);
        stream.write_all(&request(1, false, 1, 512, 512, &[7; 512])).unwrap();
        assert_eq!(answer(&mut stream, 0).0, 0);
        stream.write_all(&request(3, false, 2, 0, 0, &[])).unwrap();
        assert_eq!(answer(&mut stream, 0).0, 0);
        let together = [request(1, true, 3, 1024, 512, &[8; 512]), request(3, false, 4, 0, 0, &[])].concat();
        stream.write_all(&together).unwrap();
        assert_eq!((answer(&mut stream, 0).0, answer(&mut stream, 0).0), (0, 0));
        stream.write_all(&request(0, false, 5, 0, 2048, &[])).unwrap();
        assert_eq!(answer(&mut stream, 2048).1[510..1026], [&[0; 2][..], &[7; 512], &[8; 2]].concat());
        let entries = shared.lock().log.clone().unwrap().entries;
        let batches: Vec<_> = entries.iter().map(|entry| entry.batch - entries[0].batch).collect();
        assert_eq!(batches, [0, 1, 2, 2]);
        assert!(matches!(entries[2].what, What::Write { fua: true, .. }));
    }

    #[test]
    fn a_request_that_comes_in_pieces_is_one_and_one_behind_the_end_is_refused() {
        let shared = Shared::new(Disk::new(vec![0; 8192]), None);
        let (_dir, mut stream) = client(&shared);
        let bytes = request(1, false, 1, 0, 4096, &[9; 4096]);
        for piece in bytes.chunks(1000) {
            stream.write_all(piece).unwrap();
            thread::sleep(std::time::Duration::from_millis(5));
        }
        assert_eq!(answer(&mut stream, 0).0, 0);
        stream.write_all(&request(1, false, 2, 8000, 512, &[9; 512])).unwrap();
        assert_eq!(answer(&mut stream, 0).0, INVALID);
        assert_eq!(shared.lock().disk.bytes(4095, 2), [9, 0]);
    }
}
