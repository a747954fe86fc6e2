//! The state machine where there is nothing: no `std`, no allocator, no C library, no operating system but `exit`.
//!
//! Promises: if the freestanding build links, the machine can sit in a bootloader; if it exits with 0, it also ran
//! there. `cargo xtask nostd` builds, inspects and runs it. Any other exit code is the number of the step in
//! [`walk`] that went wrong, or 101 after a panic.
#![cfg_attr(all(feature = "freestanding", panic = "abort"), no_std, no_main)]

#[cfg(all(feature = "freestanding", panic = "abort"))]
mod freestanding;
mod walk;

#[cfg(not(all(feature = "freestanding", panic = "abort")))]
fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(walk::walk().err().unwrap_or(0))
}
