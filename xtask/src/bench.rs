//! `bench`: what Cairn takes, beside the programs that others use, in one run and on this machine.
//!
//! ```text
//!   tests/bench, built as a device's program is (release, static)
//!     └ in a mount namespace of its own with a pure cgroup v2 tree: on a hybrid host not every peer would start
//! ```

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::Result;
use clap::Args;

use crate::cargo;
use crate::run;
use crate::setup;
use crate::sizes::{FLAGS, TARGET, flags};
use crate::term::Out;

#[derive(Args)]
pub(crate) struct Options {
    /// What to measure, and how: `start`, `memory` or `update`; `start --help` has all of it
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    args: Vec<OsString>,
}

const PACKAGE: &str = "cairn-tests-bench";

/// A cgroup tree of its own kind, in a mount namespace of its own; then the program.
const PURE: &str = "grep -q '^cgroup2 /sys/fs/cgroup ' /proc/self/mounts \
    || { umount -R /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup; } || exit 2; exec \"$@\"";

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    // Of a whole device on this machine.
    let what = options.args.first().and_then(|what| what.to_str()).unwrap_or_default();
    if ["memory", "update"].contains(&what) {
        setup::ensure(Out::Stderr)?;
        return if what == "memory" { run::memory::run(&options.args) } else { run::update::run(&options.args) };
    }
    // Standard output may be JSON.
    setup::ensure_peers(Out::Stderr)?;
    let mut build = cargo::command(["build", "--quiet", "--release", "--target", TARGET, "--package", PACKAGE]);
    cargo::must(build.env(FLAGS, flags()), Out::Stderr)?;
    let program = cargo::target_directory()?.join(TARGET).join("release/bench");
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", PURE, "sh"]).arg(program).args(&options.args);
    let status = cargo::status(&mut command, Out::Stdout)?;
    // Without a code it was killed by a signal, which is no success.
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}
