//! The boot decision where there is no operating system: [`statemachine::boot::pick`] on a Cortex-M3, asked for every
//! cell of a table, its answers logged with defmt and compared with those of this machine.
//!
//! ```text
//!   microcontroller (target_os = "none")          this machine
//!   cells ──▶ pick ──▶ defmt, a few bytes ──────▶ decoded with the texts of the program's file
//!                                                 the same text?  ◀── pick ◀── cells
//! ```
//!
//! One package, two programs, by the target that it is built for. Promises: no cell is left out, a log that ends early or
//! cannot be decoded is a failure, and a planted wrong answer is found, at its cell and nowhere else. `cargo xtask
//! pick-nostd` builds both and runs them.
#![cfg_attr(target_os = "none", no_std, no_main)]

mod cells;
#[cfg(target_os = "none")]
mod device;
#[cfg(not(target_os = "none"))]
mod host;

#[cfg(not(target_os = "none"))]
fn main() -> std::process::ExitCode {
    host::main()
}
