//! Ways out of a container, each tried where its guard stands and where it does not.
//!
//! ```text
//!   for each row of the table:   the configuration of `pvr app add`       must be refused
//!                                the same without its guards              must succeed
//!                                of several guards, each one alone        must be refused
//! ```
//!
//! An attempt that fails without its guards proves nothing about them, so it is a failure of the table; unless this kernel
//! has nothing of the kind, which is counted apart. Containers are started by PID 1's own engine from what `pvr app add`
//! makes of an image. This program is also their stage.
#![forbid(unsafe_code)]

mod guard;
mod image;
mod report;
mod table;
mod world;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;

use guard::Guard;
use report::{Report, Row, Verdict};
use table::Case;
use world::{End, World};

/// Try ways out of a container, with their guards and without.
#[derive(Parser)]
#[command(name = "cargo xtask test escape")]
struct Options {
    /// The program that attempts, linked statically
    #[arg(long, value_name = "FILE")]
    program: PathBuf,
    /// Only attempts whose names begin so
    #[arg(long, value_name = "PREFIX")]
    only: Option<String>,
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
    let wanted = |case: &&Case| options.only.as_ref().is_none_or(|prefix| case.name.starts_with(prefix.as_str()));
    let cases: Vec<&Case> = table::ALL.iter().filter(wanted).collect();
    ensure!(!cases.is_empty(), "no attempt begins so; without --only all are made, and each is named");
    complete(&options.program)?;
    let before = std::fs::read_dir("/proc/self/fd")?.count();
    let world = World::new(&options.program)?;
    let mut rows = Vec::new();
    for case in cases {
        rows.push(row(&world, case).unwrap_or_else(|error| broken(case, &error)));
    }
    let name = world.name();
    drop(world);
    harness::invariant_nothing_is_left(&name, before).map_err(|left| anyhow::anyhow!("{left}"))?;
    let report = Report::of(rows, options.only.is_none());
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    Ok(report.passed)
}

/// Every attempt that the program knows is in the table.
fn complete(program: &PathBuf) -> Result<()> {
    let output =
        Command::new(program).arg("list").output().with_context(|| format!("cannot run {}", program.display()))?;
    for name in String::from_utf8_lossy(&output.stdout).lines() {
        ensure!(table::ALL.iter().any(|case| case.attempt() == name), "{name} is in no row of the table");
    }
    Ok(())
}

fn row(world: &World, case: &Case) -> Result<Row> {
    let row = |with: &End, without: &End, alone: &[End], verdict| Row {
        attempt: case.name,
        guards: case.guards.iter().map(|guard| guard.words()).collect(),
        with: shown(with),
        without: shown(without),
        alone: alone.iter().map(shown).collect(),
        verdict,
    };
    let with = world.run(case, &[])?;
    let lacking = case.guards.iter().fold(0, |all, guard| all | guard.grants()) & !possible()?;
    if lacking != 0 {
        let why = "this machine itself has not the capability, so nobody can be granted it".to_owned();
        return Ok(row(&with, &End::Absent("not tried".into()), &[], Verdict::NotShown(why)));
    }
    let without = world.run(case, case.guards)?;
    let mut alone = Vec::new();
    if case.guards.len() > 1 {
        for guard in case.guards {
            let others: Vec<Guard> = case.guards.iter().copied().filter(|other| other != guard).collect();
            alone.push(world.run(case, &others)?);
        }
    }
    let verdict = judge(case, &with, &without, &alone);
    Ok(row(&with, &without, &alone, verdict))
}

/// A row that could not be tried.
fn broken(case: &Case, error: &anyhow::Error) -> Row {
    let guards = case.guards.iter().map(|guard| guard.words()).collect();
    let verdict = Verdict::Fails(format!("cannot be tried: {error:#}"));
    Row { attempt: case.name, guards, with: String::new(), without: String::new(), alone: vec![], verdict }
}

fn judge(case: &Case, with: &End, without: &End, alone: &[End]) -> Verdict {
    match (with, without) {
        (End::Done, _) => Verdict::Escapes("it succeeds in a confined container".into()),
        (End::Wrong(why), _) | (_, End::Wrong(why)) => Verdict::Fails(why.clone()),
        (_, End::Absent(what)) => Verdict::NotShown(what.clone()),
        (_, End::Refused(why)) if is_missing(why) => Verdict::NotShown(format!("this kernel has none: {why}")),
        (_, End::Refused(why)) => Verdict::Fails(format!("it does not succeed without its guards either: {why}")),
        (End::Absent(why), End::Done) => Verdict::Fails(format!("the guard hides it as if it were missing: {why}")),
        (End::Refused(_), End::Done) => {
            let weak = case.guards.iter().zip(alone).find(|(_, end)| !matches!(end, End::Refused(_) | End::Absent(_)));
            weak.map_or(Verdict::Shown, |(guard, end)| {
                Verdict::Fails(format!("{} alone does not hold: {}", guard.words(), shown(end)))
            })
        }
    }
}

/// What kernels say of what they are built without: ENOSYS, EAFNOSUPPORT, EPROTONOSUPPORT, EOPNOTSUPP, ENODEV, ENXIO.
fn is_missing(said: &str) -> bool {
    [38, 97, 93, 95, 19, 6].iter().any(|errno| said.ends_with(&format!("(os error {errno})")))
}

fn shown(end: &End) -> String {
    match end {
        End::Done => "done".to_owned(),
        End::Refused(why) | End::Absent(why) | End::Wrong(why) => why.clone(),
    }
}

/// The capabilities that root has here.
fn possible() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapPrm:")).context("no capabilities in /proc")?;
    Ok(u64::from_str_radix(line.trim(), 16)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CASE: Case = Case { name: "x", guards: &[Guard::Filter, Guard::Proc], with: &[] };

    fn refused(why: &str) -> End {
        End::Refused(why.to_owned())
    }

    #[test]
    fn a_row_is_shown_when_all_fail_but_the_one_without_guards() {
        let no = refused("Operation not permitted (os error 1)");
        assert_eq!(judge(&CASE, &no, &End::Done, &[no.clone(), no.clone()]), Verdict::Shown);
        let weak = judge(&CASE, &no, &End::Done, &[no.clone(), End::Done]);
        assert_eq!(weak, Verdict::Fails("proc:mixed alone does not hold: done".into()));
    }

    #[test]
    fn an_attempt_that_never_succeeds_shows_nothing() {
        let no = refused("Operation not permitted (os error 1)");
        assert!(matches!(judge(&CASE, &no, &no, &[]), Verdict::Fails(_)));
        let none = refused("Function not implemented (os error 38)");
        assert!(matches!(judge(&CASE, &no, &none, &[]), Verdict::NotShown(_)));
        assert!(matches!(judge(&CASE, &End::Done, &End::Done, &[]), Verdict::Escapes(_)));
    }

    #[test]
    fn names_are_given_once() {
        let names: std::collections::BTreeSet<_> = table::ALL.iter().map(|case| case.name).collect();
        assert_eq!(names.len(), table::ALL.len());
    }
}
