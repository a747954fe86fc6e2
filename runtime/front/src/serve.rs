//! The loop: listeners come from PID 1, connections from them, and each connection is served by a task of its own.
//!
//! Promises: never more than [`PLACES`] connections at once, never more than [`PLACES_EACH`] on one listener. The
//! device's own socket does not share the places of the others, so that a person always gets in. Beyond them nobody is
//! accepted, and waits in the queue of the kernel.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use formats::control::{Call, Caller, Listener, Refused, Reply, Tell};
use rest::Stack;
use rustix::fd::OwnedFd;
use rustix::net::{SocketFlags, accept_with};
use smol::channel::{Receiver, Sender, bounded};
use smol::lock::Semaphore;
use smol::{Async, LocalExecutor, Timer, future};

use crate::channel::Channel;
use crate::http::conn::{Conn, Times};
use crate::http::{Answer, Body, Cut, Head};
use crate::{control, endpoint};

/// Connections of all containers and of the network together.
pub(crate) const PLACES: usize = 64;
/// Connections of one listener.
pub(crate) const PLACES_EACH: usize = 8;

/// Why a request was not answered with what it asked for.
#[derive(Debug)]
pub(crate) enum Fail {
    /// This is the answer.
    Answer(Answer),
    /// There is nobody to answer, or an answer has begun and cannot go on.
    Cut,
}

impl Fail {
    pub(crate) fn new(code: u16, message: &str) -> Self {
        Self::Answer(Answer::error(code, message))
    }

    /// The other end of the channel answered something else than what was asked for.
    pub(crate) fn mismatch() -> Self {
        Self::new(500, "PID 1 answered something else than what was asked")
    }
}

impl From<Refused> for Fail {
    fn from(refused: Refused) -> Self {
        Self::Answer(refused.into())
    }
}

impl From<Cut> for Fail {
    fn from(_: Cut) -> Self {
        Self::Cut
    }
}

/// The answer that is still to be sent; `None` if it has been.
pub(crate) type Handled = Result<Option<Answer>, Fail>;

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) channel: Channel,
    pub(crate) buildinfo: String,
    pub(crate) times: Rc<Times>,
    places: Arc<Semaphore>,
    /// Connections that are served now.
    served: Cell<usize>,
    stack: Option<Stack>,
}

impl Shared {
    /// Whoever asked has had the answer: while nobody else is served there is nothing to keep memory for, nor the code
    /// that parses requests. The next one has it mapped again, which takes it some ten microseconds.
    fn rest(&self) {
        if self.served.get() == 0 {
            rest::give_back(self.stack);
            rest::give_back_program();
        }
    }
}

/// One connection's view of it: on whose behalf it asks.
pub(crate) struct Asker<'s> {
    pub(crate) shared: &'s Shared,
    pub(crate) caller: &'s Caller,
}

impl Asker<'_> {
    pub(crate) async fn ask(&self, call: Call) -> Result<Reply, Refused> {
        self.shared.channel.ask(self.caller, call).await
    }

    pub(crate) async fn ask_with(&self, call: Call, descriptors: &[OwnedFd]) -> Result<Reply, Refused> {
        self.shared.channel.ask_with(self.caller, call, descriptors).await
    }
}

/// Serves until PID 1 closes the channel, on this `stack`.
///
/// # Errors
/// If the channel fails.
pub(crate) fn run(channel: OwnedFd, buildinfo: &str, times: Times, stack: Option<Stack>) -> io::Result<()> {
    let executor = Rc::new(LocalExecutor::new());
    let shared = Rc::new(Shared {
        channel: Channel::new(channel)?,
        buildinfo: buildinfo.into(),
        times: Rc::new(times),
        places: Arc::new(Semaphore::new(PLACES)),
        served: Cell::new(0),
        stack,
    });
    // To be confined takes more of both than to wait.
    shared.rest();
    let listeners: RefCell<Vec<(Listener, Sender<()>)>> = RefCell::default();
    let orders = async {
        loop {
            match shared.channel.told().await {
                Ok((Tell::Listen(listener), Some(socket))) => {
                    let (stop, stopped) = bounded(1);
                    // A socket that is served twice would be closed once only.
                    listeners.borrow_mut().retain(|(known, _)| *known != listener);
                    listeners.borrow_mut().push((listener.clone(), stop));
                    let work = listen(Rc::clone(&executor), Rc::clone(&shared), listener, Async::new(socket)?, stopped);
                    executor.spawn(work).detach();
                }
                Ok((Tell::Close(listener), _)) => listeners.borrow_mut().retain(|(known, _)| *known != listener),
                Ok(_) => return Err(io::Error::other("PID 1 told to serve a socket and sent none")),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    };
    smol::block_on(executor.run(orders))
}

/// Accepts connections until the listener is closed.
async fn listen(
    executor: Rc<LocalExecutor<'static>>,
    shared: Rc<Shared>,
    listener: Listener,
    socket: Async<OwnedFd>,
    stop: Receiver<()>,
) {
    let own = Arc::new(Semaphore::new(PLACES_EACH));
    let next = async {
        loop {
            let place = own.acquire_arc().await;
            let common = match listener {
                Listener::Control(Caller::Device) => None,
                _ => Some(shared.places.acquire_arc().await),
            };
            let accepted =
                socket.read_with(|io| Ok(accept_with(io, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?)).await;
            let Ok(io) = accepted.and_then(Async::new_nonblocking) else {
                // No descriptors, or the client has gone again: neither is helped by trying at once.
                Timer::after(Duration::from_millis(50)).await;
                continue;
            };
            let conn = Conn::new(io, stop.clone(), Rc::clone(&shared.times));
            let (shared, listener, after) = (Rc::clone(&shared), listener.clone(), Rc::clone(&executor));
            shared.served.set(shared.served.get().saturating_add(1));
            let work = async move {
                serve(&shared, &listener, conn).await;
                drop((place, common));
                shared.served.set(shared.served.get().saturating_sub(1));
                // Another task, because this one is memory that is about to be free.
                after.spawn(async move { shared.rest() }).detach();
            };
            executor.spawn(work).detach();
        }
    };
    let stopped = async {
        // Nothing is ever sent on it.
        let _ = stop.recv().await;
    };
    future::or(next, stopped).await;
}

/// Serves one connection to its end.
async fn serve(shared: &Shared, listener: &Listener, mut conn: Conn) {
    let mut left = false;
    while let Some((head, mut body)) = conn.head().await {
        let handled = match listener {
            Listener::Control(caller) => handle(shared, caller, false, &mut conn, &head, &mut body).await,
            Listener::Endpoint => handle(shared, &Caller::Network(head.token), true, &mut conn, &head, &mut body).await,
        };
        let sent = match handled {
            Ok(None) => Ok(()),
            Ok(Some(answer)) | Err(Fail::Answer(answer)) => conn.respond(&answer, &mut body).await,
            Err(Fail::Cut) => return,
        };
        if sent.is_err() {
            return;
        }
        left = body.left > 0;
    }
    conn.end(left).await;
}

async fn handle(
    shared: &Shared,
    caller: &Caller,
    endpoint: bool,
    conn: &mut Conn,
    head: &Head,
    body: &mut Body,
) -> Handled {
    let asker = Asker { shared, caller };
    if head.has_origin {
        return Err(Fail::new(403, "requests of web pages (Origin) are not answered"));
    }
    if endpoint {
        endpoint::handle(&asker, conn, head, body).await
    } else {
        control::handle(&asker, conn, head, body).await
    }
}

#[cfg(test)]
mod tests;
