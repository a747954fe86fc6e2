//! PID 1: where facts become events, and orders become deeds.
//!
//! [`driver`] is the only place where the state machine and the world meet. It decides nothing.
#![forbid(unsafe_code)]

pub mod driver;
