//! `cargo xtask fuzz [TARGET…] [--seconds N]`: mutates inputs until a law breaks or the time is over.
//!
//! Prints how many inputs each target has taken. An input that breaks a law is written to a file, can be tried again
//! with `--replay`, and makes the exit status 1; a call that makes no sense makes it 2.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use fuzz::run::{Broken, Budget, Report};
use fuzz::{TARGETS, Target, corpus, run};

/// Mutate inputs until a law breaks or the time is over.
#[derive(Parser)]
#[command(name = "fuzz", bin_name = "cargo xtask fuzz")]
#[command(after_help = "Exit code: 0 every law held; 1 one broke, and its input was kept; 2 a wrong command line.")]
struct Options {
    /// Only these [default: every target]
    #[arg(value_name = "TARGET", value_parser = target)]
    targets: Vec<&'static Target>,
    /// How long each target is tried
    #[arg(long, value_name = "N", default_value_t = 5)]
    seconds: u64,
    /// Chooses the mutations
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// One JSON object for each target
    #[arg(long)]
    json: bool,
    /// Say which targets there are, and what each promises
    #[arg(long)]
    list: bool,
    /// Where inputs that break a law are kept
    #[arg(long, value_name = "DIR", default_value = "target/fuzz-crashes")]
    crashes: PathBuf,
    /// Try this input once, with the one target that is named
    #[arg(long, value_name = "FILE", requires = "targets")]
    replay: Option<PathBuf>,
}

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let mut options = Options::parse();
    if options.targets.is_empty() {
        options.targets = TARGETS.iter().collect();
    }
    match fuzz(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fuzz: {error}");
            ExitCode::from(2)
        }
    }
}

fn target(name: &str) -> Result<&'static Target, String> {
    fuzz::target(name).ok_or_else(|| "there is no such target; --list shows them".to_owned())
}

/// Whether all laws held.
fn fuzz(options: &Options) -> Result<bool, Failure> {
    if options.list {
        TARGETS.iter().for_each(|target| println!("{:<16} {}", target.name, target.promise));
        return Ok(true);
    }
    if cfg!(panic = "abort") {
        return Err("this build aborts on panics and could not report one: use the profile dev or explore".into());
    }
    if let Some(file) = &options.replay {
        return replay(options, &std::fs::read(file)?);
    }
    // The message is in the report; the default hook would print it, with a backtrace, into the table.
    std::panic::set_hook(Box::new(|_| {}));
    let mut held = true;
    for target in &options.targets {
        let budget = Budget::Time(Duration::from_secs(options.seconds));
        let report = run::run(target, &corpus::seeds(target.name)?, options.seed, budget);
        let file = report.broken.as_ref().map(|broken| keep(options, target, broken)).transpose()?;
        held &= report.broken.is_none();
        show(options, target, &report, file);
    }
    Ok(held)
}

fn replay(options: &Options, input: &[u8]) -> Result<bool, Failure> {
    let [target] = options.targets.as_slice() else { return Err("--replay takes exactly one target".into()) };
    match run::once(target, input) {
        Ok(()) => {
            println!("{} holds: {}", target.name, target.promise);
            Ok(true)
        }
        Err(message) => {
            println!("{} is broken: {message}", target.name);
            Ok(false)
        }
    }
}

fn keep(options: &Options, target: &Target, broken: &Broken) -> Result<PathBuf, Failure> {
    std::fs::create_dir_all(&options.crashes)?;
    let file = options.crashes.join(format!("{}-seed{}.bin", target.name, options.seed));
    std::fs::write(&file, &broken.input)?;
    Ok(file)
}

fn show(options: &Options, target: &Target, report: &Report, file: Option<PathBuf>) {
    let message = report.broken.as_ref().map(|broken| broken.message.as_str());
    let slowest = report.slowest.as_micros() as u64;
    if options.json {
        let line = serde_json::json!({
            "target": target.name, "executions": report.executions, "slowest_us": slowest, "seed": options.seed,
            "broken": message, "input": file.map(|file| file.display().to_string()),
        });
        println!("{line}");
        return;
    }
    println!("{:<16} {:>9} inputs, slowest {slowest} us", target.name, report.executions);
    if let (Some(message), Some(file)) = (message, file) {
        println!("    broken: {message}");
        println!("    not so: {}", target.promise);
        println!("    again:  cargo xtask fuzz {} --replay {}", target.name, file.display());
    }
}
