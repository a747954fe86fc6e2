//! How long a fresh container takes, beside the programs that others start containers with.
//!
//! ```text
//!   round 1:  floor  cairn  crun  runc  lxc      one sample of each, in an order that moves on by one each round,
//!   round 2:  cairn  crun  runc  lxc  floor      so that nobody always has the warm cache or the noisy neighbour
//!   …         medians, then ratios, then goals
//! ```
//!
//! Promises: everybody starts the same program in the same root with the same namespaces; what is measured ends when the
//! container is gone, with its group; a sample that fails ends the measurement. With `--check` the exit code is 1 if a goal
//! is missed. Needs root, and a cgroup v2 tree at `/sys/fs/cgroup`: `cargo xtask bench` sees to both.
#![deny(unsafe_code)]

mod candidates;
mod figures;
mod floor;
mod picture;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand};
use harness::host;

use crate::candidates::World;

/// Measure containers beside those of others.
#[derive(Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// A fresh container that runs `true` and is reaped
    Start(Options),
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

#[derive(clap::Args)]
struct Options {
    /// How many samples of each
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(5..=10_000))]
    rounds: u32,
    /// Fail if a goal is missed
    #[arg(long)]
    check: bool,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// Draw a picture, too, into this directory
    #[arg(long, value_name = "DIR")]
    svg: Option<PathBuf>,
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
        What::Start(options) => return start(&options),
    }
    Ok(ExitCode::SUCCESS)
}

fn start(options: &Options) -> Result<ExitCode> {
    ensure!(rustix::process::geteuid().is_root(), "needs root, for namespaces, mounts and cgroups: run it as root");
    let world = World::new()?;
    let samples = candidates::measure(&world, options.rounds)?;
    drop(world);
    let report = figures::Report::of(&samples);
    if let Some(dir) = &options.svg {
        let path = dir.join("start.svg");
        std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let day = host("date", &["-u", "+%F"]).map_err(|error| anyhow::anyhow!("{error}"))?;
        std::fs::write(&path, picture::draw(&report, &day))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    Ok(if options.check && !report.passed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
