//! Requests over the control socket: one connection each, blocking, streamed in both directions.
//!
//! Promises: nothing of an answer is held beyond its head and a small piece, unless the caller asks for a bounded text.
//! An answer that is shorter than it says is an error, not a short answer.

use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use formats::control::program::DESCRIPTORS_MAX;
use formats::json::{self, Limits, Value};
use formats::log_times::{self, Time};
use rustix::fd::BorrowedFd;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use crate::failure::{About, Failure};

/// Where the socket is on a device, and in a container.
const PLACES: [&str; 3] = ["/run/pantavisor/pv/pv-ctrl", "/pv/pv-ctrl", "/pantavisor/pv-ctrl"];
/// How long the device may be silent: it may have to write a large object to slow flash.
const SILENCE: Duration = Duration::from_secs(240);
const HEAD_MAX: usize = 16 * 1024;
const PIECE: usize = 64 * 1024;
/// The longest text that is shown or read: the list of all objects.
pub(crate) const TEXT_MAX: u64 = 8 * 1024 * 1024;
const ERROR_MAX: u64 = 64 * 1024;

/// Takes the bytes that have been sent or received so far, and how many there are in all.
pub(crate) type Watch<'w> = &'w mut dyn FnMut(u64, Option<u64>);

/// The control socket of a device.
pub(crate) struct Client {
    socket: PathBuf,
    /// Whether requests and answers are told on the standard error output.
    pub(crate) verbose: bool,
}

/// An answer with code 200, its body not read.
pub(crate) struct Answer {
    stream: UnixStream,
    ahead: Vec<u8>,
    length: Option<u64>,
    /// Where in a log the next piece begins.
    pub(crate) log_place: Option<String>,
    /// Something of the log is no longer there.
    pub(crate) log_lost: bool,
    /// When its bytes were read.
    pub(crate) log_times: Vec<Time>,
}

/// What a request carries.
pub(crate) struct Body<'b> {
    pub(crate) bytes: &'b mut dyn Read,
    pub(crate) length: u64,
}

impl Client {
    /// Finds the socket: this one, or the first of the usual places where one is.
    pub(crate) fn find(socket: Option<PathBuf>) -> Result<Self, Box<Failure>> {
        let there = |path: &Path| path.exists();
        let socket = match socket {
            Some(path) => path,
            None => PLACES.map(PathBuf::from).into_iter().find(|path| there(path)).unwrap_or_else(|| PLACES[2].into()),
        };
        if there(&socket) { Ok(Self { socket, verbose: false }) } else { Err(Failure::NoSocket(socket).into()) }
    }

    /// A request without a body.
    pub(crate) fn get(&self, path: &str, about: About) -> Result<Answer, Box<Failure>> {
        self.request("GET", path, Body { bytes: &mut io::empty(), length: 0 }, about, &mut |_, _| {})
    }

    /// A request whose body is in memory and whose answer says nothing.
    pub(crate) fn send(&self, method: &str, path: &str, body: &[u8]) -> Result<Answer, Box<Failure>> {
        let length = body.len() as u64;
        self.request(method, path, Body { bytes: &mut &*body, length }, About::Other, &mut |_, _| {})
    }

    /// A request; any answer but 200 is a failure.
    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        body: Body<'_>,
        about: About,
        watch: Watch<'_>,
    ) -> Result<Answer, Box<Failure>> {
        let lost = || Failure::io(format!("the connection to {} was lost", self.socket.display()));
        let mut stream = UnixStream::connect(&self.socket)
            .map_err(Failure::io(format!("cannot connect to {}", self.socket.display())))?;
        stream.set_read_timeout(Some(SILENCE)).and_then(|()| stream.set_write_timeout(Some(SILENCE))).map_err(lost())?;
        self.tell(&format!("> {method} {path} ({} bytes)", body.length));
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.length
        );
        stream.write_all(head.as_bytes()).map_err(lost())?;
        match upload(&mut stream, body, watch)? {
            None => self.answer(stream, about),
            // The device refused before it had read everything: then its answer is what matters.
            Some(error) => match self.answer(stream, about) {
                Err(refused) if matches!(*refused, Failure::Refused { .. }) => Err(refused),
                _ => Err(Failure::Io { what: "the device stopped listening".into(), error }.into()),
            },
        }
    }

    /// A request whose body hands descriptors over; its answer as text.
    pub(crate) fn hand_over(
        &self,
        path: &str,
        body: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<String, Box<Failure>> {
        let lost = || Failure::io(format!("the connection to {} was lost", self.socket.display()));
        let mut stream = UnixStream::connect(&self.socket)
            .map_err(Failure::io(format!("cannot connect to {}", self.socket.display())))?;
        stream.set_read_timeout(Some(SILENCE)).and_then(|()| stream.set_write_timeout(Some(SILENCE))).map_err(lost())?;
        self.tell(&format!("> POST {path} ({} bytes, {} descriptors)", body.len(), descriptors.len()));
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).map_err(lost())?;
        // Before it says so, nothing is taken but bytes.
        let mut ahead = Vec::new();
        loop {
            match self::head(&ahead)? {
                Some(Head { code: 100..=199, end, .. }) => {
                    ahead.drain(..end);
                    break;
                }
                Some(_) => return self.answer_after(stream, ahead, About::Other)?.text(ERROR_MAX),
                None => more(&mut stream, &mut ahead)?,
            }
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(descriptors));
        }
        let sent = sendmsg(&stream, &[IoSlice::new(body)], &mut control, SendFlags::NOSIGNAL);
        let sent = sent.map_err(io::Error::from).map_err(lost())?;
        stream.write_all(body.get(sent..).unwrap_or_default()).map_err(lost())?;
        self.answer_after(stream, ahead, About::Other)?.text(ERROR_MAX)
    }

    fn answer(&self, stream: UnixStream, about: About) -> Result<Answer, Box<Failure>> {
        self.answer_after(stream, Vec::new(), about)
    }

    fn answer_after(&self, mut stream: UnixStream, mut ahead: Vec<u8>, about: About) -> Result<Answer, Box<Failure>> {
        let Head { code, length, retry_after, log_place, log_lost, log_times, .. } = loop {
            match head(&ahead)? {
                // `100 Continue`, unasked: the answer follows.
                Some(Head { code: 100..=199, end, .. }) => drop(ahead.drain(..end)),
                Some(head) => {
                    ahead.drain(..head.end);
                    break head;
                }
                None => more(&mut stream, &mut ahead)?,
            }
        };
        self.tell(&format!("< {code}"));
        let answer = Answer { stream, ahead, length, log_place, log_lost, log_times };
        if code == 200 {
            return Ok(answer);
        }
        let text = answer.text(ERROR_MAX).unwrap_or_default();
        Err(Failure::Refused { code, message: error_text(&text), retry_after, about }.into())
    }

    fn tell(&self, line: &str) {
        if self.verbose {
            // If nobody reads it, nobody does.
            let _ = writeln!(io::stderr(), "{line}");
        }
    }
}

impl Answer {
    /// Writes the whole body.
    pub(crate) fn copy(mut self, to: &mut dyn Write, watch: Watch<'_>) -> Result<(), Box<Failure>> {
        let mut piece = vec![0; PIECE];
        let mut done = 0;
        // Not a byte more than it says: behind it a device that has hung up on an upload leaves only an error.
        while self.length.is_none_or(|length| done < length) {
            let left = self.length.map_or(PIECE as u64, |length| length - done).min(PIECE as u64);
            let into = piece.get_mut(..usize::try_from(left).unwrap_or(PIECE)).unwrap_or_default();
            let read = self.read(into).map_err(Failure::io("the answer ends early"))?;
            if read == 0 {
                break;
            }
            done += read as u64;
            to.write_all(piece.get(..read).unwrap_or_default()).map_err(Failure::io("cannot write the answer"))?;
            watch(done, self.length);
        }
        match self.length {
            Some(length) if length != done => Err(Failure::answer("less than it said")),
            _ => to.flush().map_err(Failure::io("cannot write the answer")),
        }
    }

    /// The whole body as text, if it is not longer than this.
    pub(crate) fn text(self, max: u64) -> Result<String, Box<Failure>> {
        String::from_utf8(self.bytes(max)?).map_err(|_| Failure::answer("a text that is not UTF-8"))
    }

    /// The whole body, if it is not longer than this.
    pub(crate) fn bytes(self, max: u64) -> Result<Vec<u8>, Box<Failure>> {
        if self.length.is_some_and(|length| length > max) {
            return Err(Failure::answer("more than can be shown"));
        }
        let mut bytes = Vec::new();
        let bounded = &mut Bounded { bytes: &mut bytes, max };
        self.copy(bounded, &mut |_, _| {})?;
        Ok(bytes)
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.ahead.is_empty() {
            return self.stream.read(into);
        }
        let read = self.ahead.len().min(into.len());
        for (to, from) in into.iter_mut().zip(self.ahead.drain(..read)) {
            *to = from;
        }
        Ok(read)
    }
}

/// Some more of an answer.
fn more(stream: &mut UnixStream, ahead: &mut Vec<u8>) -> Result<(), Box<Failure>> {
    let mut piece = [0; 4096];
    let read = stream.read(&mut piece).map_err(Failure::io("the device does not answer"))?;
    if read == 0 {
        return Err(Failure::answer("nothing, and closed the connection"));
    }
    ahead.extend_from_slice(piece.get(..read).unwrap_or_default());
    Ok(())
}

/// Memory up to a bound.
struct Bounded<'b> {
    bytes: &'b mut Vec<u8>,
    max: u64,
}

impl Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if (self.bytes.len() + bytes.len()) as u64 > self.max {
            return Err(io::Error::other("it is too long"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends a body; what comes back is the error of a device that does not want the rest.
fn upload(stream: &mut UnixStream, body: Body<'_>, watch: Watch<'_>) -> Result<Option<io::Error>, Box<Failure>> {
    let mut piece = vec![0; PIECE];
    let mut sent = 0;
    while sent < body.length {
        let wanted = usize::try_from(body.length - sent).unwrap_or(PIECE).min(PIECE);
        let read = body.bytes.read(piece.get_mut(..wanted).unwrap_or_default());
        let read = read.map_err(Failure::io("cannot read what is sent"))?;
        if read == 0 {
            let missing = format!("there are {} bytes less than were announced", body.length - sent);
            return Err(Failure::Io { what: missing, error: io::ErrorKind::UnexpectedEof.into() }.into());
        }
        if let Err(error) = stream.write_all(piece.get(..read).unwrap_or_default()) {
            return Ok(Some(error));
        }
        sent += read as u64;
        watch(sent, Some(body.length));
    }
    Ok(None)
}

struct Head {
    code: u16,
    length: Option<u64>,
    retry_after: Option<String>,
    log_place: Option<String>,
    log_lost: bool,
    log_times: Vec<Time>,
    end: usize,
}

fn head(bytes: &[u8]) -> Result<Option<Head>, Box<Failure>> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut answer = httparse::Response::new(&mut fields);
    let end = match answer.parse(bytes) {
        Ok(httparse::Status::Complete(end)) => end,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_MAX => return Ok(None),
        _ => return Err(Failure::answer("something that is not HTTP")),
    };
    let field = |name: &str| {
        let field = answer.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name))?;
        str::from_utf8(field.value).ok().map(str::trim)
    };
    let length = match field("content-length").map(str::parse) {
        None => None,
        Some(Ok(length)) => Some(length),
        Some(Err(_)) => return Err(Failure::answer("a length that is no number")),
    };
    if field("transfer-encoding").is_some() {
        return Err(Failure::answer("in a transfer encoding that is not spoken here"));
    }
    let place = field("log-place").filter(|place| place.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'));
    Ok(Some(Head {
        code: answer.code.unwrap_or(0),
        length,
        retry_after: field("retry-after").map(Into::into),
        log_place: place.map(Into::into),
        log_lost: field("log-lost").is_some(),
        log_times: field("log-times").and_then(log_times::of_text).unwrap_or_default(),
        end,
    }))
}

/// The text in `{"Error":"…"}`, or else the whole.
fn error_text(body: &str) -> String {
    let value = json::parse(body.as_bytes(), Limits::DOCUMENT).ok();
    let member = value.as_ref().and_then(|value| value.as_object()?.get("Error").and_then(Value::as_str));
    member.map_or_else(|| body.trim().to_string(), Into::into)
}
