//! Machines under QEMU: switched on and off, their consoles read, their power cut.
//!
//! ```text
//!   Plan ──build──▶ Machine ──start──▶ running ──power_cut · quit · the guest ends──▶ off ──start──▶ …
//!                      │                  │
//!                      │ disks, firmware  ├─ console: text since the first start, searched by `expect`
//!                      │ variables, ports └─ QMP: power button, reset; events RESET, SHUTDOWN, WATCHDOG, …
//!                      └ stay from one start to the next
//! ```
//!
//! Promises: QEMU emulates (`-accel tcg`) and never asks for a display, a monitor or a default device; no byte of the
//! console and no event is lost, because the guest starts only when we listen; what is kept in memory is bounded, the
//! log file has everything; no QEMU outlives the process that has started it, however that ends, and nothing of it is
//! left but files in the directory of its plan.
//!
//! ```no_run
//! use std::time::Duration;
//! use machine::{Disk, Kind, Plan};
//!
//! let mut machine = Plan::new(Kind::Arm64UBoot)
//!     .disk(Disk::copy_of("device.img"))
//!     .forward(12368)
//!     .log("console.log")
//!     .build()?;
//! machine.start()?;
//! machine.expect("Hit any key", Duration::from_secs(20))?;
//! println!("http://127.0.0.1:{}/", machine.port(12368)?);
//! machine.power_cut()?;
//! machine.start()?; // the same disk
//! # Ok::<(), machine::Error>(())
//! ```

mod console;
mod disk;
mod error;
mod firmware;
mod kind;
pub mod ordeal;
mod plain;
mod plan;
mod ports;
mod power;
mod process;
mod qmp;
mod record;

pub use console::{Keyboard, Mark, Match};
pub use disk::Disk;
pub use error::{Error, Result};
pub use kind::{BOARDS, Kind, Stuck};
pub use plan::Plan;
pub use power::{End, Machine};
pub use record::Event;
