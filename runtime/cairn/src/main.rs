//! The program of every device whose board is in this tree. A vendor's program is the same line with a list of its own.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    cairn::main(cairn::OURS)
}
