//! Starts, confines and ends containers. PID 1 is the parent of each: no process stands between.
//!
//! ```text
//!   PID 1                                       child of clone3, already in its cgroup and namespaces
//!   ─────                                       ──────────────────────────────────────────────────────
//!   Launch ──▶ sealed memory ──▶ clone3 ────────▶ exec of the same file: the role `stage`
//!     ▲                          │                mounts, pivot, limits, ids, capabilities, seccomp
//!     │                          ▼                exec of the container's own program
//!   what the revision says     Spawned            ─────────────────────────────────────────────────
//!                              pidfd, log, error ◀── end of file: it runs; a frame: the step that failed
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`console`] | the terminal that a container has as its console, from outside |
//! | [`mod@enter`] | a program in a container that runs, beside its own |
//! | [`launch`] | everything the stage is told, checked and bounded |
//! | [`mod@spawn`] | `clone3` into a cgroup and namespaces |
//! | [`stage`] | the role of the child, up to the exec |
//! | [`failure`] | the step of the stage that failed, and where |
//! | [`cgroup`] | kill, freeze, limits and events of a container |
//! | [`halt`] | the signal that asks a container to end |
//! | [`image`] | images and volumes: mount, unmount, checks of an overlay |
//! | [`loopdev`] | files as block devices that disappear with their last user |
//! | [`network`] | the loopback of the device, and in recovery its first wired link |
//! | [`power`] | the end of a boot |
//! | [`reaper`] | the only waiter |
//! | [`signals`] | what PID 1 is told, as something to read |
//!
//! Needs Linux 5.14: `clone3` into a cgroup (5.7), `LOOP_CONFIGURE` (5.8), close-on-exec by range (5.11),
//! `mount_setattr` (5.12), `cgroup.kill` (5.14). Users of its own need id-mapped mounts of what a container has: squashfs
//! (6.2), tmpfs (6.3). What is missing is an error that names the call, never a weaker container. All raw
//! system calls are in one file, `sys.rs`.
#![deny(unsafe_code)]

pub mod cgroup;
pub mod console;
pub mod enter;
mod error;
pub mod failure;
pub mod halt;
pub mod image;
pub mod launch;
pub mod loopdev;
pub mod network;
mod passing;
pub mod power;
pub mod reaper;
pub mod signals;
pub mod spawn;
pub mod stage;
mod sys;

pub use error::SystemError;
pub use launch::Launch;
pub use spawn::{Held, Spawned, spawn, spawn_held, spawn_helper, spawn_tool};
