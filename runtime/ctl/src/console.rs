//! `console`: the console of a container that is a system, on this terminal.
//!
//! ```text
//!   keys ─▶ Keys ─▶ socket ─▶ PID 1 ─▶ terminal of the container       Ctrl-A q leaves, Ctrl-A Ctrl-A is a Ctrl-A
//!   here ◀───────── socket ◀── PID 1 ◀─┘                               what is held back in between: one packet
//! ```
//!
//! Promises: the terminal is as before when this ends, however it ends. The container does not notice who comes and goes, but by
//! the size of the window.

use std::io::{self, IsTerminal as _, Write as _};

use container::signals;
use formats::control::console::{PACKET_MAX, Word};
use formats::path::ContainerName;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};
use rustix::termios::tcgetwinsize;

use crate::client::Client;
use crate::exec::{Raw, lost};
use crate::failure::Failure;

/// Begins an order to this program: Ctrl-A.
const ORDER: u8 = 1;

/// More than PID 1 sends at once.
const PIECE: usize = 8 * 1024;

/// Shows it until somebody leaves or the container ends, and gives the exit code.
pub(crate) fn run(client: &Client, container: &ContainerName, out: &mut dyn io::Write) -> Result<u8, Box<Failure>> {
    let told = signals::open_for(signals::OF_A_TERMINAL).map_err(lost("cannot watch signals"))?;
    let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    let (own, other) = pair.map_err(lost("cannot make a socket"))?;
    let name = container.as_str();
    client.hand_over(&format!("/containers/{name}/console"), b"{}", &[other.as_fd()])?;
    drop(other);
    let input = io::stdin();
    let raw = if input.is_terminal() {
        say(&format!("at the console of {name}: Ctrl-A q leaves, Ctrl-A Ctrl-A types a Ctrl-A"));
        Some(Raw::new()?)
    } else {
        None
    };
    let line_end = if raw.is_some() { "\r\n" } else { "" };
    let (code, why) = converse(&own, &told, out)?;
    drop(raw);
    // Whatever line it was on.
    let _ = write!(io::stderr(), "{line_end}");
    say(&format!("{why} {name}"));
    Ok(code)
}

/// A line for a person, whom the output is not for.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "pvcontrol: {text}");
}

/// Why it is over.
type End = (u8, &'static str);

const LEFT: End = (0, "left the console of");
const ENDED: End = (0, "this was all of the console of");

fn converse(own: &OwnedFd, told: &OwnedFd, out: &mut dyn io::Write) -> Result<End, Box<Failure>> {
    let input = io::stdin();
    let (mut keys, mut held, mut listens) = (Keys::default(), Vec::new(), true);
    resize(own);
    loop {
        let wants = if held.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
        let mut all = vec![PollFd::new(told, PollFlags::IN), PollFd::new(own, wants)];
        if listens && held.is_empty() {
            all.push(PollFd::new(&input, PollFlags::IN));
        }
        match poll(&mut all, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(lost("cannot wait for the console")(errno)),
        }
        let ready = |at: usize| all.get(at).is_some_and(|one| !one.revents().is_empty());
        let (signal, console, typed) = (ready(0), ready(1), ready(2));
        drop(all);
        if signal && let Some(number) = signals::number(told).map_err(lost("cannot read signals"))? {
            if number != signals::WINDOW_CHANGED {
                return Ok((u8::try_from(number).unwrap_or(0).saturating_add(128), LEFT.1));
            }
            resize(own);
        }
        if console {
            let mut piece = [0; PIECE];
            match recv(own, &mut piece[..], RecvFlags::DONTWAIT) {
                Ok((length @ 1.., _)) => {
                    let bytes = piece.get(..length).unwrap_or_default();
                    out.write_all(bytes).and_then(|()| out.flush()).map_err(Failure::io("cannot show the console"))?;
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                _ => return Ok(ENDED),
            }
        }
        if typed {
            let mut bytes = [0; PACKET_MAX / 2];
            match rustix::io::read(&input, &mut bytes) {
                Ok(0) => listens = false,
                Ok(length) => match keys.take(bytes.get(..length).unwrap_or_default()) {
                    Some(bytes) => held = bytes,
                    None => return Ok(LEFT),
                },
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(errno) => return Err(lost("cannot read what is typed")(errno)),
            }
        }
        if !held.is_empty() {
            match send(own, &Word::Typed(&held).packet(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(_) => held.clear(),
                Err(Errno::AGAIN | Errno::INTR) => {}
                // What it still has to say comes before its end.
                Err(_) => (held, listens) = (Vec::new(), false),
            }
        }
    }
}

/// The window of the console is as large as ours.
fn resize(own: &OwnedFd) {
    if let Ok(size) = tcgetwinsize(io::stdout()) {
        let word = Word::Window { rows: size.ws_row, columns: size.ws_col };
        // With no room for it the console is busy with what was typed, and the next change comes.
        let _ = send(own, &word.packet(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    }
}

/// What of the keys is for the container.
#[derive(Default)]
struct Keys {
    /// An order has begun.
    orders: bool,
}

impl Keys {
    /// What the container shall hear of these; `None`: leave.
    fn take(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut typed = Vec::with_capacity(bytes.len() + 1);
        for byte in bytes {
            match (std::mem::take(&mut self.orders), *byte) {
                (true, b'q') => return None,
                (false, ORDER) => self.orders = true,
                (true, ORDER) => typed.push(ORDER),
                // What is no order was meant for the container, Ctrl-A and all.
                (true, other) => typed.extend([ORDER, other]),
                (false, other) => typed.push(other),
            }
        }
        Some(typed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_order_is_typed_wherever_a_piece_ends() {
        let mut keys = Keys::default();
        assert_eq!(keys.take(b"ls\x01\x01q\r"), Some(b"ls\x01q\r".to_vec()));
        assert_eq!(keys.take(b"\x01"), Some(vec![]));
        assert_eq!(keys.take(b"xq"), Some(b"\x01xq".to_vec()));
        assert_eq!(keys.take(b"a\x01"), Some(b"a".to_vec()));
        assert_eq!(keys.take(b"q and more"), None);
    }
}
