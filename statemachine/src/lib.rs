//! Decides what a Cairn device does about updates, boots and containers. Everything else obeys.
//!
//! This crate promises: no I/O, no clock, no log, no allocation, no `std`, no panic. Every (state, event) pair is
//! defined. Time, luck and the contents of flash arrive as events; orders leave as effects; at most one durable write
//! is ever in flight, and each wait for one is a named state, so that a power cut is an ordinary input.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod boot;
pub mod bootloader;
pub mod container;
pub mod goals;
pub mod ids;
pub mod journal;
pub mod limits;
pub mod recover;
pub mod transition;
pub mod update;
