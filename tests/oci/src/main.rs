//! The front of an OCI runtime on the engine of PID 1, and the cases that runtimes are validated with.
//!
//! ```text
//!   config.json ─▶ lxc.container.conf ─▶ Assembly ─▶ Engine      the way of every container on a device, from the second
//!   for each case:   the bundle that asks for it     must be so                        passed
//!                    one that does not               must not be so, or nothing is shown
//!                    one that cannot be carried out  must be refused, with its reason  skipped
//! ```
//!
//! The cases are those of the public list (`opencontainers/runtime-tools`, *validation*), whose programs no package has: of
//! its sources distributions ship the libraries only. So they are told anew, under the names of that list, each with the
//! place in the specification. What is refused is refused aloud: nothing of a bundle is passed over. Only for tests; this
//! program is also the stage of its containers.
#![forbid(unsafe_code)]

mod cases;
mod document;
mod front;
mod report;
mod spec;
mod table;
mod translate;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, anyhow, ensure};
use clap::Parser;

use report::{Report, Row};
use table::Case;
use world::World;

/// Validate the engine as OCI runtimes are validated.
#[derive(Parser)]
#[command(name = "cargo xtask test oci-conformance")]
struct Options {
    /// Only cases whose names begin so
    #[arg(long, value_name = "PREFIX")]
    only: Option<String>,
    /// Run a bundle to its end instead of the cases
    #[arg(long, value_name = "DIR", conflicts_with = "only")]
    bundle: Option<PathBuf>,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(container::spawn::ROLE) {
        return container::stage::main();
    }
    let options = Options::parse();
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<bool> {
    if let Some(bundle) = &options.bundle {
        let outcome = world::run_bundle(bundle)?;
        eprintln!("{outcome:?}");
        return Ok(outcome == statemachine::container::Outcome::Code(0));
    }
    let wanted = |case: &&Case| options.only.as_ref().is_none_or(|prefix| case.name.starts_with(prefix.as_str()));
    let cases: Vec<&Case> = table::all().filter(wanted).collect();
    ensure!(!cases.is_empty(), "no case begins so; without --only all are tried, and each is named");
    let before = std::fs::read_dir("/proc/self/fd")?.count();
    let mut world = World::new()?;
    let mut rows = Vec::new();
    for case in cases {
        rows.push(Row { name: case.name, section: case.section, verdict: case.judge(&mut world) });
    }
    let name = world.name();
    drop(world);
    harness::invariant_nothing_is_left(&name, before).map_err(|left| anyhow!("{left}"))?;
    let report = Report::of(rows, options.only.is_none());
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    Ok(report.passed)
}
