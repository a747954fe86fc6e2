//! Explores every reachable world of the state machines, and shows that exploring finds faults.
//!
//! `explore` searches: the update machine with free luck, the container machine by itself, and both together.
//! `mutants` plants faults in the update machine and expects each to be found; `replay` plays a recorded path.
#![allow(
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "an explorer that meets its own fault has to stop, and never runs on a device"
)]

mod compose;
mod container;
mod explore;
mod invariants;
mod liveness;
mod moves;
mod mutants;
mod play;
mod recorded;
mod trace;
mod views;
mod world;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use statemachine::boot::TrialKind;

use crate::explore::Finding;
use crate::trace::{Claim, Trace};
use crate::views::{KINDS, VIEWS, View, kind_name};

/// Worlds beyond which a search is given up. It is never met; if it is, that is a failure.
const BOUND: usize = 60_000_000;

/// Explores every reachable world of the state machine.
#[derive(Parser)]
#[command(name = "model", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Explore; exits with 1 if a rule is broken or a bound was hit.
    Explore(Explore),
    /// Plant faults in the machine one at a time; exits with 1 if one survives.
    Mutants {
        /// One JSON object for each fault.
        #[arg(long)]
        json: bool,
        /// Only faults whose name contains this.
        #[arg(long)]
        only: Option<String>,
    },
    /// Play recorded paths; exits with 1 if one is not as it claims.
    Replay {
        /// Trace files, or logs of real runs (`.jsonl`).
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// One JSON object for each file.
        #[arg(long)]
        json: bool,
        /// Tell each world on the way.
        #[arg(long, short)]
        verbose: bool,
    },
}

#[derive(Args)]
struct Explore {
    /// Only this firmware: counted, one-shot or toggling.
    #[arg(long)]
    firmware: Option<String>,
    /// Only the view of this name.
    #[arg(long)]
    view: Option<String>,
    /// The small views only.
    #[arg(long, conflicts_with = "deep")]
    fast: bool,
    /// The big views too: minutes, and gigabytes of memory.
    #[arg(long)]
    deep: bool,
    /// Stop an exploration at its first broken rule.
    #[arg(long)]
    stop: bool,
    /// One JSON object for each exploration.
    #[arg(long)]
    json: bool,
    /// Write counter-examples as trace files into this directory.
    #[arg(long, value_name = "DIR")]
    traces: Option<PathBuf>,
}

/// What one exploration came to.
#[derive(Serialize)]
struct Outcome {
    firmware: &'static str,
    view: &'static str,
    worlds: usize,
    edges: usize,
    seconds: f64,
    /// The bound was hit: nothing is proven.
    bounded: bool,
    findings: Vec<Found>,
}

#[derive(Serialize)]
struct Found {
    rule: String,
    /// Moves from the factory.
    length: usize,
    path: Vec<String>,
}

impl Explore {
    fn is_whole(&self) -> bool {
        self.firmware.is_none() && self.view.is_none() && !self.fast
    }
}

impl Outcome {
    fn holds(&self) -> bool {
        self.findings.is_empty() && !self.bounded
    }
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Explore(options) => explore_all(&options),
        Command::Mutants { json, only } => all_mutants(json, only.as_deref()),
        Command::Replay { files, json, verbose } => replay_all(&files, json, verbose),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn explore_all(options: &Explore) -> Result<bool> {
    let mut jobs = Vec::new();
    for view in VIEWS {
        let chosen = match &options.view {
            Some(name) => name == view.name,
            None => (!view.deep || options.deep) && (!options.fast || view.fast),
        };
        for (name, kind) in KINDS {
            if chosen && options.firmware.as_deref().is_none_or(|firmware| firmware == name) {
                jobs.push((view, kind));
            }
        }
    }
    anyhow::ensure!(!jobs.is_empty(), "no exploration is chosen: see `explore --help` for the names");
    // The longest first, so that two threads end together; but for whoever waits for one finding, the shortest.
    if !options.stop {
        jobs.reverse();
        // A firmware that counts has the longest list, and by far the most worlds.
        jobs.sort_by_key(|(_, kind)| *kind != TrialKind::Counted);
    }
    if !options.json {
        println!("{:<28}{:<10}{:>12}{:>14}{:>9}  broken rules", "view", "firmware", "worlds", "edges", "seconds");
    }
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::new());
    let work = || -> Result<()> {
        while let Some((view, kind)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let outcome = explore_one(view, *kind, options);
            tell(&outcome, options)?;
            if let Ok(mut outcomes) = outcomes.lock() {
                outcomes.push(outcome.holds());
            }
        }
        Ok(())
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(jobs.len());
    std::thread::scope(|scope| -> Result<()> {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        running.into_iter().try_for_each(|thread| match thread.join() {
            Ok(result) => result,
            Err(_) => anyhow::bail!("an explorer panicked"),
        })
    })?;
    let mut outcomes = outcomes.into_inner().context("an explorer panicked")?;
    // Part of every whole run; a choice among the views leaves them out.
    let rest: &[fn() -> Outcome] = if options.is_whole() { &[explore_container, explore_composition] } else { &[] };
    for explore in rest {
        let outcome = explore();
        tell(&outcome, options)?;
        outcomes.push(outcome.holds());
    }
    if !options.json && outcomes.iter().all(|holds| *holds) {
        println!("{} explorations, 0 violations", outcomes.len());
    }
    Ok(outcomes.len() == jobs.len() + rest.len() && outcomes.iter().all(|holds| *holds))
}

/// The container machine by itself.
fn explore_container() -> Outcome {
    let start = Instant::now();
    let report = container::explore();
    let findings = report.violations.into_iter().map(|rule| Found { rule, length: 0, path: Vec::new() });
    Outcome {
        firmware: "-",
        view: "container-alone",
        worlds: report.worlds,
        edges: report.edges,
        seconds: start.elapsed().as_secs_f64(),
        bounded: false,
        findings: findings.collect(),
    }
}

/// Both machines together.
fn explore_composition() -> Outcome {
    let report = compose::explore();
    let findings = report.violations.into_iter().map(|(rule, path)| Found { rule, length: path.len(), path });
    Outcome {
        firmware: "-",
        view: "container-composed",
        worlds: report.worlds,
        edges: report.edges,
        seconds: report.seconds,
        bounded: false,
        findings: findings.collect(),
    }
}

fn explore_one(view: &'static View, kind: TrialKind, options: &Explore) -> Outcome {
    let start = Instant::now();
    let shows = std::io::stderr().is_terminal() && !options.json;
    let graph = explore::explore(view.setting(kind), BOUND, options.stop, |done, open| {
        if shows {
            eprint!("\r{} {}: {done} worlds, {open} open\x1b[K\r", view.name, kind_name(kind));
        }
    });
    let mut findings: Vec<Finding> = graph.findings.iter().map(Finding::clone).collect();
    if !graph.bounded && findings.is_empty() {
        findings.extend(liveness::check(&graph));
    }
    Outcome {
        firmware: kind_name(kind),
        view: view.name,
        worlds: graph.nodes.len(),
        edges: graph.edges.len(),
        seconds: start.elapsed().as_secs_f64(),
        bounded: graph.bounded,
        findings: findings
            .into_iter()
            .map(|finding| Found {
                length: finding.path.len(),
                path: finding.path.iter().map(ToString::to_string).collect(),
                rule: finding.rule,
            })
            .collect(),
    }
}

fn tell(outcome: &Outcome, options: &Explore) -> Result<()> {
    let mut out = std::io::stdout().lock();
    if options.json {
        writeln!(out, "{}", serde_json::to_string(outcome)?)?;
    } else {
        let verdict = if outcome.bounded {
            "BOUND HIT, nothing is proven".to_owned()
        } else {
            outcome.findings.len().to_string()
        };
        writeln!(
            out,
            "{:<28}{:<10}{:>12}{:>14}{:>9.1}  {verdict}",
            outcome.view, outcome.firmware, outcome.worlds, outcome.edges, outcome.seconds
        )?;
    }
    for (number, finding) in outcome.findings.iter().enumerate() {
        let Some((_, kind)) = KINDS.iter().find(|(name, _)| *name == outcome.firmware) else {
            // These paths have steps of their own, and are not replayed.
            if !options.json {
                writeln!(out, "\n{}\n    {}", finding.rule, finding.path.join("\n    "))?;
            }
            continue;
        };
        let trace = Trace {
            kind: *kind,
            view: View::named(outcome.view).context("a known view")?,
            claim: Claim::Breaks(finding.rule.clone()),
            moves: finding
                .path
                .iter()
                .map(|step| step.parse())
                .collect::<Result<_, _>>()
                .map_err(anyhow::Error::msg)?,
        };
        if !options.json {
            writeln!(out, "\n{}", trace.text())?;
        }
        if let Some(directory) = &options.traces {
            std::fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
            let file = directory.join(format!("{}-{}-{}.trace", outcome.view, outcome.firmware, number + 1));
            std::fs::write(&file, trace.text()).with_context(|| format!("write {}", file.display()))?;
        }
    }
    Ok(())
}

fn all_mutants(json: bool, only: Option<&str>) -> Result<bool> {
    let repository = std::env::current_dir().context("current directory")?;
    anyhow::ensure!(repository.join("statemachine/src").is_dir(), "run this at the root of the repository");
    let nursery = mutants::Nursery::new(&repository)?;
    let (mut planted, mut survivors) = (0, Vec::new());
    if !json {
        println!("{:<36}{:>6}{:>9}  broken rule", "fault", "moves", "seconds");
    }
    for fault in mutants::faults()? {
        if only.is_some_and(|only| !fault.name.contains(only)) {
            continue;
        }
        let caught = nursery.try_fault(&fault)?;
        planted += 1;
        if json {
            println!("{}", serde_json::to_string(&caught)?);
        } else {
            let length = caught.length.map_or("-".to_owned(), |length| length.to_string());
            let rule = match (&caught.rule, &caught.firmware, &caught.view) {
                (Some(rule), Some(firmware), Some(view)) => format!("{rule} ({firmware}, {view})"),
                _ => "SURVIVED".to_owned(),
            };
            println!("{:<36}{length:>6}{:>9.1}  {rule}", caught.name, caught.seconds);
        }
        if caught.rule.is_none() {
            survivors.push(caught.name);
        }
    }
    if !json {
        println!("{planted} faults planted, {} survived", survivors.len());
    }
    Ok(planted > 0 && survivors.is_empty())
}

/// Follows the log of a real run.
fn follow(file: &Path, text: &str, json: bool) -> Result<bool> {
    #[derive(Serialize)]
    struct Followed {
        file: String,
        boots: usize,
        facts: usize,
        error: Option<String>,
    }
    let walk = recorded::follow(text);
    let (boots, facts) = walk.as_ref().map_or((0, 0), |walk| (walk.boots, walk.facts));
    let error = walk.err().map(|error| format!("{error:#}"));
    let followed = Followed { file: file.display().to_string(), boots, facts, error };
    if json {
        println!("{}", serde_json::to_string(&followed)?);
    } else {
        match &followed.error {
            None => println!("{}: {boots} boots, {facts} facts, a path of the model", followed.file),
            Some(error) => println!("{}: no path of the model: {error}", followed.file),
        }
    }
    Ok(followed.error.is_none())
}

fn replay_all(files: &[PathBuf], json: bool, verbose: bool) -> Result<bool> {
    #[derive(Serialize)]
    struct Replayed {
        file: String,
        moves: usize,
        error: Option<String>,
    }
    let mut all_hold = true;
    for file in files {
        let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        if file.extension().is_some_and(|extension| extension == "jsonl") {
            all_hold &= follow(file, &text, json)?;
            continue;
        }
        let trace = Trace::parse(&text).map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?;
        let error = trace
            .replay(|step, world| {
                if verbose {
                    println!("{step:<44} {}", trace::summary(world));
                }
            })
            .err();
        all_hold &= error.is_none();
        let replayed = Replayed { file: file.display().to_string(), moves: trace.moves.len(), error };
        if json {
            println!("{}", serde_json::to_string(&replayed)?);
        } else {
            let verdict = replayed.error.as_deref().unwrap_or("as it claims");
            println!("{}: {} moves, {verdict}", replayed.file, replayed.moves);
        }
    }
    Ok(all_hold)
}
