//! `test`: every check there is, stage by stage. A failing stage does not stop the next; failures are listed at the end.
//!
//! The last line is always `N passed, N failed`, counted in stages. `--fast` is the loop while writing code: what needs
//! no optimised build.

use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::json;

use crate::explore::Explorer;
use crate::term::{Out, bold, green, red};
use crate::{Json, cargo, nostd, setup, tidy};

#[derive(Args)]
pub(crate) struct Options {
    /// Only what is quick enough to run on every save: unit tests, and tidy without the compiler's tools
    #[arg(long)]
    fast: bool,
    #[command(flatten)]
    json: Json,
}

/// One row of the table.
struct Stage {
    name: &'static str,
    fast: bool,
    run: fn(Out) -> Result<()>,
}

const STAGES: &[Stage] = &[
    Stage { name: "setup", fast: true, run: setup::ensure },
    Stage { name: "unit tests", fast: true, run: unit_tests },
    Stage { name: "doc tests", fast: false, run: doc_tests },
    Stage { name: "no std", fast: false, run: nostd::check },
    Stage { name: "model", fast: false, run: |out| must(Explorer::MODEL.command::<&str>(&[]), out) },
    Stage { name: "mutants", fast: false, run: |out| must(Explorer::MUTANTS.command::<&str>(&[]), out) },
    Stage { name: "replay", fast: false, run: replay },
    Stage { name: "power cuts", fast: false, run: |out| must(Explorer::POWERCUT.command::<&str>(&[]), out) },
    Stage { name: "fuzz", fast: false, run: |out| must(Explorer::FUZZ.command::<&str>(&[]), out) },
    Stage { name: "tidy", fast: false, run: |out| tidy::check(out, tidy::Depth::Full) },
    Stage { name: "tidy (sources)", fast: true, run: |out| tidy::check(out, tidy::Depth::Sources) },
];

/// What became of a stage.
struct Outcome {
    name: &'static str,
    seconds: f64,
    error: Option<String>,
}

pub(crate) fn run(options: Options) -> Result<ExitCode> {
    let out = options.json.out();
    let outcomes: Vec<_> =
        STAGES.iter().filter(|stage| is_due(stage, options.fast)).map(|stage| once(stage, out)).collect();
    let failed = outcomes.iter().filter(|outcome| outcome.error.is_some()).count();
    if options.json.json {
        println!("{:#}", as_json(&outcomes, options.fast));
    }
    table(&outcomes, out);
    out.line(format!("{} passed, {failed} failed", outcomes.len() - failed));
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The whole tidy contains the quick one.
fn is_due(stage: &Stage, fast: bool) -> bool {
    if fast { stage.fast } else { stage.name != "tidy (sources)" }
}

fn once(stage: &Stage, out: Out) -> Outcome {
    out.line(bold(out, &format!("\n── {} ──", stage.name)));
    let start = Instant::now();
    let error = (stage.run)(out).err().map(|error| format!("{error:#}"));
    if let Some(error) = &error {
        out.line(format!("{} {}: {error}", red(out, "failed"), stage.name));
    }
    Outcome { name: stage.name, seconds: start.elapsed().as_secs_f64(), error }
}

fn table(outcomes: &[Outcome], out: Out) {
    out.line(bold(out, "\nstage            result    seconds"));
    for Outcome { name, seconds, error } in outcomes {
        let result = if error.is_none() { green(out, "passed") } else { red(out, "failed") };
        out.line(format!("{name:<16} {result} {seconds:>10.1}"));
    }
    for Outcome { name, error, .. } in outcomes {
        if let Some(error) = error {
            out.line(format!("\n{} {name}: {error}", red(out, "failed")));
        }
    }
    out.line("");
}

fn as_json(outcomes: &[Outcome], fast: bool) -> serde_json::Value {
    let failed = outcomes.iter().filter(|outcome| outcome.error.is_some()).count();
    let stages: Vec<_> = outcomes
        .iter()
        .map(|Outcome { name, seconds, error }| {
            json!({ "name": name, "passed": error.is_none(), "seconds": seconds, "error": error })
        })
        .collect();
    json!({ "command": "test", "fast": fast, "passed": outcomes.len() - failed, "failed": failed, "stages": stages })
}

fn must(mut command: Command, out: Out) -> Result<()> {
    cargo::must(&mut command, out)
}

/// With nextest where it is installed (all binaries at once), else with cargo's own runner.
fn unit_tests(out: Out) -> Result<()> {
    let nextest = cargo::command(["nextest", "--version"]).output().is_ok_and(|output| output.status.success());
    let args: &[&str] = if nextest {
        &["nextest", "run", "--workspace", "--no-fail-fast"]
    } else {
        &["test", "--workspace", "--no-fail-fast", "--lib", "--bins", "--tests"]
    };
    must(cargo::command(args.iter().copied()), out)
}

fn doc_tests(out: Out) -> Result<()> {
    must(cargo::command(["test", "--workspace", "--no-fail-fast", "--doc"]), out)
}

/// Where every failure ever found has left its trace.
const TRACES: &str = "tests/traces";

fn replay(out: Out) -> Result<()> {
    let mut traces = Vec::new();
    for entry in std::fs::read_dir(cargo::root().join(TRACES)).with_context(|| format!("cannot read {TRACES}"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".trace") {
            traces.push(format!("{TRACES}/{name}"));
        }
    }
    traces.sort();
    if traces.is_empty() {
        bail!("{TRACES} holds no .trace file, so nothing was replayed");
    }
    must(Explorer::REPLAY.command(&traces), out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_stage_is_counted_and_keeps_its_reason() {
        let stage = Stage { name: "bad", fast: true, run: |_| bail!("the reason") };
        let outcome = once(&stage, Out::Stderr);
        assert_eq!(outcome.error.as_deref(), Some("the reason"));
        let json = as_json(&[outcome], false);
        assert_eq!((json["passed"].as_u64(), json["failed"].as_u64()), (Some(0), Some(1)));
    }

    #[test]
    fn every_stage_runs_in_the_whole_test_or_within_a_larger_one() {
        let skipped: Vec<_> = STAGES.iter().filter(|stage| !is_due(stage, false)).map(|stage| stage.name).collect();
        assert_eq!(skipped, ["tidy (sources)"]);
    }
}
