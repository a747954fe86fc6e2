//! A program in a container that runs, and its console: the requests that hand descriptors over.
//!
//! ```text
//!   client ── head, Expect: 100-continue ──▶          who may not is refused here
//!          ◀── 100 Continue ────────────────
//!          ── body, with its descriptors ──▶ Call::Execute, with the same ──▶ PID 1
//!          ◀── 200 {"id":7} ────────────────          all else goes through the descriptors
//! ```
//!
//! Closing a descriptor may take as long as whoever made it wants. Therefore nothing is taken from a caller that PID 1 would
//! not serve, and nothing is handed to PID 1 but what closes at once: pipes, and a socket.

use formats::control::{Call, Reply};
use formats::json::Json;
use formats::path::ContainerName;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use rustix::pipe::fcntl_getpipe_size;

use super::{ACTION_MAX, Asker, Fail, Handled, PROGRAM_MAX, body};
use crate::http::{Answer, Body, Conn};

pub(super) async fn start(asker: &Asker<'_>, conn: &mut Conn, body: &mut Body, name: &ContainerName) -> Handled {
    if body.left > PROGRAM_MAX as u64 {
        return Err(Fail::new(507, &format!("the body has at most {PROGRAM_MAX} bytes here")));
    }
    // Of the same circle as the call that follows.
    asker.ask(Call::Containers).await?;
    let Some((bytes, descriptors)) = conn.handed(body).await? else {
        return Err(Fail::new(417, "send this body, and descriptors with it, after `Expect: 100-continue`"));
    };
    let program = body::program(name.as_str(), &bytes).map_err(|why| Fail::new(400, &why))?;
    if !are_as_wanted(&descriptors, program.terminal, program.descriptors()) {
        let wanted = match (program.detached, program.terminal) {
            (true, _) => "nothing",
            (false, true) => "a UNIX socket and a pipe",
            (false, false) => "four pipes",
        };
        return Err(Fail::new(400, &format!("with this body come {wanted}, as descriptors")));
    }
    match asker.ask_with(Call::Execute(Box::new(program)), &descriptors).await? {
        Reply::Program(id) => Ok(Some(Answer::json(&Json::object().with("id", u64::from(id))))),
        _ => Err(Fail::mismatch()),
    }
}

/// Attaches the caller to a console: with a body of no meaning comes a socket.
pub(super) async fn attach(asker: &Asker<'_>, conn: &mut Conn, body: &mut Body, name: &ContainerName) -> Handled {
    if body.left > ACTION_MAX as u64 {
        return Err(Fail::new(507, &format!("the body has at most {ACTION_MAX} bytes here")));
    }
    asker.ask(Call::Containers).await?;
    let Some((_, descriptors)) = conn.handed(body).await? else {
        return Err(Fail::new(417, "send a body, and a descriptor with it, after `Expect: 100-continue`"));
    };
    if !are_as_wanted(&descriptors, true, 1) {
        return Err(Fail::new(400, "with this body comes a UNIX socket, as a descriptor"));
    }
    match asker.ask_with(Call::Attach { name: name.as_str().into() }, &descriptors).await? {
        Reply::Done => Ok(Some(Answer::done())),
        _ => Err(Fail::mismatch()),
    }
}

fn are_as_wanted(descriptors: &[OwnedFd], terminal: bool, count: usize) -> bool {
    let (sockets, pipes) = descriptors.split_at(usize::from(terminal).min(descriptors.len()));
    descriptors.len() == count
        && pipes.iter().all(|pipe| fcntl_getpipe_size(pipe).is_ok())
        && sockets.iter().all(|socket| {
            let peeked = recv(socket, &mut [0; 1][..], RecvFlags::PEEK | RecvFlags::DONTWAIT);
            peeked.is_ok() || peeked.err() == Some(Errno::AGAIN)
        })
}
