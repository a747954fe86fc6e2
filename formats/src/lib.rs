//! Bytes to types and back: the contract with users, with existing devices and with bootloaders.
//!
//! This crate promises: no I/O, no clock, no log, no panic; every reader is bounded in size, depth and count, and input
//! that it does not know is an error that names the place. What a caller may act on has a type of its own; what a
//! person should see is returned as a value, because libraries never print.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod bootenv;
pub mod bsp_json;
pub mod ceiling;
pub mod compatible;
pub mod config;
pub mod control;
pub mod crc32;
pub mod date;
pub mod device_json;
pub mod dhcp;
pub mod document;
pub mod drivers_json;
pub mod glob;
pub mod group;
pub mod journal;
pub mod json;
pub mod leases;
pub mod log_times;
pub mod lxc;
pub mod mdev;
pub mod metadata;
pub mod modules;
pub mod network;
pub mod object;
pub mod options;
pub mod pairing;
pub mod path;
pub mod progress;
pub mod readiness;
pub mod remount;
pub mod resolve;
pub mod rows;
pub mod run_json;
pub mod seccomp;
pub mod services_json;
pub mod signature;
pub mod state;
pub mod trust;
pub mod verify;
pub mod volume;
mod words;
