//! How long a fresh container takes, beside the programs that others start containers with: the samples, and nothing made of
//! them. `cargo xtask bench start` compares, judges and draws.
//!
//! ```text
//!   round 1:  unshare  cairn  crun  runc  lxc      one sample of each, in an order that moves on by one each round,
//!   round 2:  cairn  crun  runc  lxc  unshare      so that nobody always has the warm cache or the noisy neighbour
//! ```
//!
//! There are two floors, and both are shown. What a person can have for nothing, and what the goal counts from, are
//! commands: `unshare` with the same namespaces, which executes `chroot`, which executes the program. Below that is the *bare
//! clone* ([`floor`]): one process, one `clone` and one `execve`, which no program that starts containers can reach, for it
//! has no mounts, no group, and nobody to tell why something failed. It carries no goal and hides nothing: whoever wants to
//! know what a container of ours costs beyond the kernel's own work reads that row.
//!
//! Promises: everybody starts the same program in the same root with the same namespaces; what is measured ends when the
//! container is gone, with its group; a sample that fails ends the measurement. Needs root, and a cgroup v2 tree at
//! `/sys/fs/cgroup`: `cargo xtask bench` sees to both.
#![deny(unsafe_code)]

mod candidates;
mod floor;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use serde_json::{Map, Value, json};

use crate::candidates::World;

/// Measures containers beside those of others, for `cargo xtask bench start`.
#[derive(Parser)]
#[command(name = "bench")]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// A fresh container that runs `true` and is reaped, by everybody in turns: all samples in microseconds, as JSON
    Start {
        /// How many samples of each
        #[arg(long, value_parser = clap::value_parser!(u32).range(5..=10_000))]
        rounds: u32,
    },
    /// One container of ours, as a process that does nothing else
    #[command(hide = true)]
    One {
        /// Where its root is
        root: PathBuf,
        /// The group that it is made in
        instance: String,
    },
    /// The least that can be done, as a process that does nothing else
    #[command(hide = true)]
    Floor {
        /// Where its root is
        root: PathBuf,
    },
}

fn main() -> ExitCode {
    // The containers of this program are its children, as those of PID 1 are.
    if std::env::args_os().nth(1).as_deref() == Some(OsStr::new(container::spawn::ROLE)) {
        return container::stage::main();
    }
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    match cli.what {
        What::One { root, instance } => candidates::one(&root, &instance)?,
        What::Floor { root } => floor::run(&root)?,
        What::Start { rounds } => start(rounds)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn start(rounds: u32) -> Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "needs root, for namespaces, mounts and cgroups: run it as root");
    let world = World::new()?;
    let samples = candidates::measure(&world, rounds)?;
    let micros = |one: &Duration| json!(one.as_secs_f64() * 1e6);
    let all = |taken: Vec<Duration>| Value::Array(taken.iter().map(micros).collect());
    let samples: Map<_, _> = samples.into_iter().map(|(who, taken)| (who.name().to_owned(), all(taken))).collect();
    println!("{}", Value::Object(samples));
    Ok(())
}
