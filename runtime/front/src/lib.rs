//! The role `front`: everything that parses what containers and people send, in a process that may do nothing.
//!
//! ```text
//!   container ─ HTTP ─▶ pv-ctrl  ┐                       ┌────────┐
//!   person ──── HTTP ─▶ pv-ctrl  ├─▶ front ── Ask ─────▶ │ PID 1  │   descriptor 3, a SOCK_SEQPACKET,
//!   pvr ─────── HTTP ─▶ 12368    ┘        ◀── Tell ───── │        │   frames of `formats::control`
//!                                                        └────────┘
//! ```
//!
//! Promises: it opens nothing. Every socket that it serves comes from PID 1, and so does the name of who speaks on it:
//! a request cannot claim to be somebody else. It decides nothing either, except what is a request and what is not; who
//! may do what is decided by PID 1. If it is taken over, its attacker has one socket on which to ask (`confine`).
//!
//! API: [`main`]. Public for tests with hostile input: [`http`], [`control::route`], [`endpoint::route`],
//! [`endpoint::host`].

mod channel;
mod confine;
pub mod control;
pub mod endpoint;
pub mod http;
mod serve;
mod sys;
mod transfer;

use std::io::Write as _;
use std::process::ExitCode;

pub use confine::{GROUP, USER};

/// The body of the role. `buildinfo` is what `GET /buildinfo` answers.
///
/// It returns success when PID 1 closes the channel, and failure if it cannot be confined or the channel breaks; what
/// happened is on the standard error output then.
#[must_use]
pub fn main(buildinfo: &str) -> ExitCode {
    let served = sys::channel().and_then(|channel| {
        rest::share_one_heap();
        // Before nothing can be opened any more, with which it is found out.
        let stack = rest::Stack::of_this_thread();
        confine::confine()?;
        serve::run(channel, buildinfo, http::conn::Times::default(), stack)
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If nobody reads it, nobody does.
            let _ = writeln!(std::io::stderr(), "front: {error}");
            ExitCode::FAILURE
        }
    }
}
