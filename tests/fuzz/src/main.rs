//! `cargo run -p cairn-tests-fuzz -- [TARGET…] [--seconds N]`: mutates inputs until a law breaks or the time is over.
//!
//! Prints how many inputs each target has taken. An input that breaks a law is written to a file, can be tried again
//! with `--replay`, and makes the exit status 1; a call that makes no sense makes it 2.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use fuzz::run::{Broken, Budget, Report};
use fuzz::{TARGETS, Target, corpus, run, target};
use lexopt::prelude::{Long, Short, Value, ValueExt};

const USAGE: &str = "\
usage: cairn-tests-fuzz [TARGET…] [--seconds N] [--seed N] [--json] [--crashes DIR]
       cairn-tests-fuzz TARGET --replay FILE
       cairn-tests-fuzz --list";

struct Options {
    targets: Vec<&'static Target>,
    seconds: u64,
    seed: u64,
    json: bool,
    list: bool,
    crashes: PathBuf,
    replay: Option<PathBuf>,
}

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match parse().and_then(|options| fuzz(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn parse() -> Result<Options, Failure> {
    let mut options = Options {
        targets: Vec::new(),
        seconds: 5,
        seed: 1,
        json: false,
        list: false,
        crashes: PathBuf::from("target/fuzz-crashes"),
        replay: None,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("seconds") => options.seconds = parser.value()?.parse()?,
            Long("seed") => options.seed = parser.value()?.parse()?,
            Long("json") => options.json = true,
            Long("list") => options.list = true,
            Long("crashes") => options.crashes = parser.value()?.into(),
            Long("replay") => options.replay = Some(parser.value()?.into()),
            Long("help") | Short('h') => return Err("mutates inputs until a law breaks or the time is over".into()),
            Value(name) => {
                let name = name.string()?;
                options.targets.push(target(&name).ok_or_else(|| format!("there is no target {name}; see --list"))?);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    if options.targets.is_empty() {
        options.targets = TARGETS.iter().collect();
    }
    Ok(options)
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
        println!("    again:  cargo run -p cairn-tests-fuzz -- {} --replay {}", target.name, file.display());
    }
}
