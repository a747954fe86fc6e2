//! PID 1: where facts become events, and orders become deeds.
//!
//! [`driver`] is the only place where the state machine and the world meet. It decides nothing.
//! [`mod@flash`] is what it writes to on a real device: journal, boot cells and barrier. [`supervisor`] stands between the
//! machines of the containers and that of the update.
#![forbid(unsafe_code)]

pub mod driver;
pub mod flash;
pub mod supervisor;
