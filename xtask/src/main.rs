//! `cargo xtask`, for the boards of this tree. A vendor's is the same with boards of its own: `xtask::main_for`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    xtask::main()
}
