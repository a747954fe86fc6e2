//! Network namespaces. Only threads that are made for it ever enter one.

use std::fs::File;
use std::panic::resume_unwind;
use std::thread;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::{Error, sys};

/// The namespace of the calling thread.
const OWN: &str = "/proc/thread-self/ns/net";

/// A network namespace. It lives as long as this, a process in it, or another descriptor of it.
#[derive(Debug)]
pub struct Namespace(OwnedFd);

impl Namespace {
    /// A new one, with nothing in it but a loopback that is down.
    ///
    /// # Errors
    /// The process may not make one, or has no thread or descriptor left.
    pub fn new() -> Result<Self, Error> {
        on_a_thread("make a network namespace", || {
            sys::unshare_network()?;
            own()
        })
        .map(Self)
    }

    /// That of the calling thread.
    ///
    /// # Errors
    /// `/proc` is not there, or no descriptor is left.
    pub fn own() -> Result<Self, Error> {
        own().map(Self).map_err(|errno| error("open it", errno))
    }

    /// That of a process.
    ///
    /// # Errors
    /// It has ended, or no descriptor is left.
    pub fn of(pid: rustix::process::Pid) -> Result<Self, Error> {
        let path = format!("/proc/{}/ns/net", pid.as_raw_nonzero());
        open(&path).map(Self).map_err(|errno| Error { object: path, ..error("open it", errno) })
    }

    /// Runs something in it, on a thread of its own, and waits for that.
    ///
    /// # Errors
    /// The process may not enter it, or has no thread left.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        run_in(self.as_fd(), || Ok(work()))
    }
}

impl From<OwnedFd> for Namespace {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Runs something in a namespace, on a thread of its own.
pub(crate) fn run_in<T: Send>(
    namespace: BorrowedFd<'_>,
    work: impl FnOnce() -> Result<T, Errno> + Send,
) -> Result<T, Error> {
    on_a_thread("work in a network namespace", || {
        move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?;
        work()
    })
}

fn on_a_thread<T: Send>(doing: &'static str, work: impl FnOnce() -> Result<T, Errno> + Send) -> Result<T, Error> {
    let done = thread::scope(|scope| {
        let thread = thread::Builder::new().name("net".into()).spawn_scoped(scope, work);
        match thread {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(error) => Err(Errno::from_io_error(&error).unwrap_or(Errno::AGAIN)),
        }
    });
    done.map_err(|errno| error(doing, errno))
}

fn own() -> Result<OwnedFd, Errno> {
    open(OWN)
}

fn open(path: &str) -> Result<OwnedFd, Errno> {
    File::open(path).map(OwnedFd::from).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

fn error(doing: &'static str, errno: Errno) -> Error {
    let needs = if errno == Errno::INVAL { "CONFIG_NET_NS" } else { "" };
    Error { object: "network namespace".into(), doing, errno, detail: String::new(), needs }
}
