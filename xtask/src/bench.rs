//! `bench`: what Cairn takes, beside the programs that others use, in one run and on this machine. What is measured how:
//! `docs/benchmarks`.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use crate::run::{memory, pvr, start, update};

#[derive(Args)]
pub(crate) struct Options {
    /// What to measure, and how: `start`, `memory`, `update` or `pvr`; `start --help` has all of it
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    args: Vec<OsString>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let args = &options.args;
    match args.first().and_then(|what| what.to_str()).unwrap_or_default() {
        "start" => start::run(args),
        "memory" => memory::run(args),
        "update" => update::run(args),
        "pvr" => pvr::run(args),
        what => bail!("bench knows start, memory, update and pvr, and not {what:?}"),
    }
}
