//! Images of a local daemon: Docker's API, which podman speaks too, over a socket of this machine.
//!
//! ```text
//!   GET /images/NAME/json ─▶ its id        GET /images/ID/get ─▶ what `docker save` writes
//! ```
//!
//! Asked as HTTP/1.0, so that an answer is its bytes up to its end. Whether all of them came is known by the digests of the
//! layers.

use std::env;
use std::ffi::OsStr;
use std::io::{self, BufReader, Read, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use formats::json::Value;

use super::Limits;
use super::digest::Digest;
use super::layout::DockerArchive;
use super::manifest::read;
use super::source::{Blob, Choice, Parts, Source, Tried};
use crate::error::{Error, Result};

/// How long it may say nothing. Before the first byte of a large image it may have to look at all of it.
const SILENCE: Duration = Duration::from_secs(300);

/// The longest head of an answer, in bytes.
const HEAD_MAX: usize = 64 * 1024;

/// Headers of an answer that are taken.
const HEADERS_MAX: usize = 100;

/// The most that is read of a complaint.
const COMPLAINT_MAX: usize = 4096;

/// Where a daemon is that nobody names.
const DOCKER: &str = "/var/run/docker.sock";
const PODMAN: &str = "/run/podman/podman.sock";

/// One image of a daemon.
pub struct Daemon {
    socket: PathBuf,
    /// As it was typed, with its tag.
    image: String,
    /// Where its files are put.
    scratch: PathBuf,
    limits: Limits,
    archive: OnceLock<DockerArchive>,
}

/// The socket of a daemon: the one that is named, else the first that there is.
///
/// # Errors
/// Another kind of place is named, or there is no daemon.
pub fn socket(docker_host: Option<&OsStr>, runtime_directory: Option<&OsStr>) -> Result<PathBuf> {
    if let Some(host) = docker_host.filter(|host| !host.is_empty()) {
        let path = host.to_str().and_then(|host| host.strip_prefix("unix://"));
        return path.filter(|path| path.starts_with('/')).map(PathBuf::from).ok_or_else(|| {
            Error::user(format!("DOCKER_HOST is {host:?}, and only unix:///PATH can be asked"))
                .hint("elsewhere: `docker save NAME -o FILE`, then docker-archive:FILE")
        });
    }
    let own = runtime_directory.map(|directory| Path::new(directory).join("podman/podman.sock"));
    let places = [Some(PathBuf::from(DOCKER)), own, Some(PathBuf::from(PODMAN))];
    places.into_iter().flatten().find(|path| path.exists()).ok_or_else(|| {
        Error::user(format!("there is no daemon: neither {DOCKER} nor a socket of podman"))
            .hint("start one (`systemctl --user start podman.socket`), or name its socket: DOCKER_HOST=unix:///PATH")
    })
}

impl Daemon {
    /// An image of the daemon of this machine. `scratch` is a directory with room for it.
    ///
    /// # Errors
    /// There is no daemon.
    pub fn here(image: &str, scratch: &Path, limits: Limits) -> Result<Self> {
        let (host, own) = (env::var_os("DOCKER_HOST"), env::var_os("XDG_RUNTIME_DIR"));
        Ok(Self::at(&socket(host.as_deref(), own.as_deref())?, image, scratch, limits))
    }

    /// An image of the daemon at a socket. Nothing is asked yet.
    #[must_use]
    pub fn at(socket: &Path, image: &str, scratch: &Path, limits: Limits) -> Self {
        let (socket, image, scratch) = (socket.to_owned(), image.to_owned(), scratch.to_owned());
        Self { socket, image, scratch, limits, archive: OnceLock::new() }
    }

    fn failed(&self, what: impl std::fmt::Display) -> Error {
        Error::user(format!("{}: {what}", self.name()))
    }

    /// The body of an answer.
    fn get(&self, path: &str) -> Result<impl Read + use<>> {
        let lost = |error: io::Error| {
            let error_ = self.failed(format_args!("cannot talk to it: {error}"));
            match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    error_.hint("who may talk to a daemon is root here; be in its group, or use podman of your own")
                }
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => error_.hint("is the daemon running?"),
                _ => error_,
            }
        };
        let mut stream = UnixStream::connect(&self.socket).map_err(lost)?;
        stream.set_read_timeout(Some(SILENCE)).map_err(lost)?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\nUser-Agent: pvr\r\n\r\n");
        stream.write_all(request.as_bytes()).map_err(lost)?;
        let mut body = BufReader::with_capacity(256 * 1024, stream);
        let head = head(&mut body).map_err(lost)?;
        let (status, len) = status(&head).map_err(|why| self.failed(why))?;
        let mut body = body.take(len.unwrap_or(u64::MAX));
        if status == 200 {
            return Ok(body);
        }
        let mut said = Vec::new();
        // The status is the news; a complaint that cannot be read only makes the message poorer.
        let _ = body.by_ref().take(COMPLAINT_MAX as u64).read_to_end(&mut said);
        let error = self.failed(format_args!("it answers {status}{}", complaint(&said, self.limits)));
        Err(if status == 404 { error.hint("`docker images` or `podman images` lists what it has") } else { error })
    }

    /// What identifies the image there.
    fn id(&self) -> Result<Digest> {
        let limit = self.limits.document as u64;
        let mut bytes = Vec::new();
        let body = self.get(&format!("/images/{}/json", self.image))?;
        body.take(limit + 1).read_to_end(&mut bytes).map_err(|error| self.failed(error))?;
        if bytes.len() as u64 > limit {
            return Err(self.failed(format_args!("its answer is longer than {limit} bytes")));
        }
        let value = read(&bytes, self.limits).map_err(|why| self.failed(why))?;
        let id = value.as_object().and_then(|object| object.get("Id")).and_then(Value::as_str);
        id.and_then(Digest::parse).ok_or_else(|| self.failed("its answer names no image by a digest"))
    }

    fn fetched(&self) -> Result<DockerArchive> {
        let id = self.id()?;
        let mut body = self.get(&format!("/images/{id}/get"))?;
        let full = |error: io::Error| {
            self.failed(format_args!("there is no place for its files: {error}"))
                .hint("make room and run the command again")
        };
        let mut file = tempfile::tempfile_in(&self.scratch).map_err(full)?;
        let mut buffer = vec![0; 256 * 1024];
        let mut have = 0;
        loop {
            let len = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.failed(format_args!("it breaks off after {have} bytes: {error}"))),
            };
            have += len as u64;
            if have > self.limits.bytes {
                return Err(self
                    .failed(format_args!("the image has more than {} bytes", self.limits.bytes))
                    .hint("an image for a device is far smaller; if it is right, allow more: --max-bytes"));
            }
            file.write_all(buffer.get(..len).unwrap_or_default()).map_err(full)?;
        }
        DockerArchive::of(file, &self.name(), self.limits)
    }
}

impl Source for Daemon {
    fn name(&self) -> String {
        format!("{} of {}", self.image, self.socket.display())
    }

    fn parts(&self, platform: &Choice) -> Result<Parts> {
        let archive = match self.archive.get() {
            Some(archive) => archive,
            None => {
                let fetched = self.fetched()?;
                self.archive.get_or_init(|| fetched)
            }
        };
        archive.parts(platform)
    }

    fn blob(&self, blob: &Blob, from: u64) -> Tried<Box<dyn Read + '_>> {
        let archive = self.archive.get().ok_or_else(|| Error::internal("a blob of an image that was not asked for"))?;
        archive.blob(blob, from)
    }
}

/// The head of an answer, with the empty line at its end.
fn head(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= HEAD_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its answer has a head without an end"));
        }
        from.read_exact(&mut byte)?;
        head.extend(byte);
    }
    Ok(head)
}

/// The status of an answer, and the length of its body if it says so.
fn status(head: &[u8]) -> std::result::Result<(u16, Option<u64>), String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(head).map_err(|error| format!("its answer is no HTTP: {error}"))?;
    let Some(code) = response.code.filter(|_| parsed.is_complete()) else {
        return Err("its answer is no HTTP".to_owned());
    };
    let value = |name: &str| {
        let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(header.value).ok()
    };
    if value("Transfer-Encoding").is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
        return Err("it answers in pieces, which HTTP/1.0 has not".to_owned());
    }
    let len = match value("Content-Length") {
        None => None,
        Some(text) => Some(text.trim().parse().map_err(|_| format!("its answer has {text:?} bytes"))?),
    };
    Ok((code, len))
}

/// What a daemon says is wrong.
fn complaint(said: &[u8], limits: Limits) -> String {
    let Ok(value) = read(said, limits) else { return String::new() };
    let message = value.as_object().and_then(|object| object.get("message")).and_then(Value::as_str);
    message.map(|message| format!(": {}", message.escape_default())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader};
    use std::os::unix::net::UnixListener;
    use std::thread;

    /// A daemon that answers these, one after the other.
    fn answering(answers: Vec<Vec<u8>>) -> (tempfile::TempDir, Daemon) {
        let scratch = tempfile::tempdir().unwrap();
        let socket = scratch.path().join("sock");
        let listener = UnixListener::bind(&socket).unwrap();
        thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(std::result::Result::ok);
                assert!(lines.take_while(|line| !line.is_empty()).count() > 1);
                let _ = stream.write_all(&answer);
            }
        });
        let daemon = Daemon::at(&socket, "web:1", scratch.path(), Limits { bytes: 4096, ..Limits::DEFAULT });
        (scratch, daemon)
    }

    fn ok(body: &str) -> Vec<u8> {
        format!("HTTP/1.0 200 OK\r\nServer: x\r\n\r\n{body}").into_bytes()
    }

    #[test]
    fn what_goes_wrong_is_said_with_the_image_and_the_socket() {
        let id = ok(&format!(r#"{{"Id":"{}"}}"#, Digest::of(b"")));
        let missing = br#"{"message":"No such image: web:1"}"#;
        let missing = [&b"HTTP/1.1 404 Not Found\r\nContent-Length: 34\r\n\r\n"[..], missing, b"rest"].concat();
        for (answers, why) in [
            (vec![missing], "404: No such image: web:1"),
            (vec![ok("{}")], "names no image"),
            (vec![ok(r#"{"Id":"../../x"}"#)], "names no image"),
            (vec![ok("<html>")], "no JSON"),
            (vec![b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()], "in pieces"),
            (vec![b"hello\r\n\r\n".to_vec()], "no HTTP"),
            (vec![b"HTTP/1.1 200 OK\r\n".to_vec()], "cannot talk to it"),
            (vec![vec![b'x'; HEAD_MAX + 1]], "without an end"),
            (vec![id.clone(), ok(&"x".repeat(5000))], "more than 4096 bytes"),
            (vec![id.clone(), ok("no tar")], "it ends in the middle"),
            (vec![id, ok("")], "manifest.json is missing"),
        ] {
            let (_scratch, daemon) = answering(answers);
            let error = daemon.parts(&Choice::default()).unwrap_err();
            assert!(error.message.contains(why) && error.message.contains("web:1 of /"), "{why}: {error}");
        }
    }

    #[test]
    fn a_daemon_is_found_where_it_is_said_to_be() {
        let named = |host: &str| socket(Some(OsStr::new(host)), None);
        assert_eq!(named("unix:///a/b").unwrap(), Path::new("/a/b"));
        for host in ["tcp://10.0.0.1:2375", "ssh://me@host", "unix://a", "/a"] {
            assert!(named(host).unwrap_err().message.contains("unix:///PATH"), "{host}");
        }
        let scratch = tempfile::tempdir().unwrap();
        std::fs::create_dir(scratch.path().join("podman")).unwrap();
        let own = scratch.path().join("podman/podman.sock");
        let _listening = UnixListener::bind(&own).unwrap();
        // One of Docker would be asked first, where there is one.
        let expected = if Path::new(DOCKER).exists() { Path::new(DOCKER) } else { &own };
        assert_eq!(socket(None, Some(scratch.path().as_os_str())).unwrap(), expected);
    }
}
