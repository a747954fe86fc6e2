//! Tests with real containers: on this kernel, as root, with BusyBox inside.
//!
//! ```text
//!   test program ── no arguments, or those of `cargo test` and `cargo nextest` ──▶ each test in a World of its own
//!        ▲   └───── clone3 ──▶ the same program as `stage` ──▶ the container's own program
//!        └─ is the only waiter, as PID 1 is on a device: therefore one test after the other
//! ```
//!
//! A test target with `harness = false` calls [`main`] with its table ([`tests!`]). Nothing is skipped: without root,
//! or without a program that is needed, a test fails and says so. After each test [`invariant_nothing_is_left`] looks
//! for mounts, loop devices, groups, processes, descriptors and files. Used by tests only, and never shipped.
#![forbid(unsafe_code)]

mod ground;
mod left;
mod request;
mod runner;
mod watch;

use std::time::Duration;

pub use ground::{Ground, host};
pub use left::{groups, invariant_nothing_is_left, loop_files};
pub use runner::{Test, World, main, passes};
pub use watch::{Run, is_ready, read_until, wait};

/// What a test says when it fails.
pub type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Longer than any step of a test takes on a slow machine.
pub const PATIENCE: Duration = Duration::from_secs(30);
