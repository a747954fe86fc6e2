//! PID 1: where facts become events, and orders become deeds.
//!
//! | module | what |
//! |---|---|
//! | [`run`] | from the first instruction to `reboot(2)` |
//! | [`core`] | the loop: one message at a time, and nothing in it waits |
//! | [`driver`] | the only place where the update machine and the flash meet; it decides nothing |
//! | [`supervisor`] | between the machines of the containers and that of the update |
//! | [`mod@flash`], [`boards`] | what is durable: journal, boot cells, barrier; and the boards that have them |
//! | [`assembly`], [`engine`] | what a revision asks for, and the hands that do it |
//! | [`readiness`] | when a container is asked whether it is ready, and what its answers come to |
//! | [`holdings`] | from bytes to a revision that may run |
//! | [`places`] | where its boot files go, on boards whose firmware reads slots too |
//! | [`pairing`] | who may use the endpoint from outside |
//! | [`recovery`] | the network of a device that can boot nothing else |
//! | [`helpers`], [`handed`] | the unprivileged roles that parse what others send, and what comes with it |
//! | [`threads`], [`updater`], [`pipes`] | what waits, so that the loop does not |
//! | [`early`], [`settings`], [`clock`] | what comes first |
//! | [`storage`], [`check`] | of a machine that is ours: what it keeps things on, and what mends that |
//! | [`uevents`] | devices that come and go |
//! | [`guard`], [`base`] | its watchdog, its modules |
//! | [`selftest`] | the role of that name: whether a device is as its board says |
//! | [`marks`], [`seed`] | and what its last boot has left: how it ended, and random numbers |
//! | [`console`] | terminals of containers that are systems |
//! | [`logs`], [`voice`], [`trace`] | what people and tools hear |
#![forbid(unsafe_code)]

pub mod assembly;
pub mod base;
pub mod boards;
pub mod check;
pub mod clock;
pub mod console;
pub mod core;
pub mod driver;
pub mod drivers;
pub mod early;
pub mod engine;
pub mod flash;
pub mod guard;
pub mod handed;
pub mod helpers;
pub mod holdings;
pub mod logs;
pub mod marks;
pub mod pairing;
pub mod pipes;
pub mod places;
pub mod readiness;
pub mod recovery;
pub mod run;
pub mod seed;
pub mod selftest;
pub mod settings;
pub mod storage;
pub mod stranded;
pub mod supervisor;
pub mod threads;
pub mod trace;
pub mod uevents;
pub mod updater;
pub mod voice;
