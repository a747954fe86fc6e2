//! `test`: every check there is, stage by stage. A failing stage does not stop the next; failures are listed at the end.
//!
//! The last line is always `N passed, N failed`, counted in stages. `--fast` is the loop while writing code: what needs
//! no optimised build. Of the whole test, stories are told beside the other stages ([`crate::lane`]).

use std::borrow::Cow;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::json;

use crate::explore::Explorer;
use crate::lane::{Lane, Teller, Told};
use crate::run::scene::Interrupted;
use crate::run::story::show::Show;
use crate::term::{Out, bold, green, red};
use crate::{Json, cargo, escape, flash, mtd, nostd, oci, pick_nostd, porting, pvr, run, setup, tidy};

#[derive(Args)]
pub(crate) struct Options {
    /// Only what is quick enough to run on every save: unit tests, and tidy without the compiler's tools
    #[arg(long)]
    fast: bool,
    /// Only these stages, by name (blanks as `-`): `mission`, `first-light`, `unit-tests`, …
    #[arg(conflicts_with = "fast")]
    only: Vec<String>,
    /// Of a stage that has parts, only these: stories of `containers` (`nginx` on this machine, `nginx-on-qemu-x86_64-grub` on a
    /// board, or a board for all that are told there), or attempts of `escape` and cases of `oci-conformance` whose names begin so
    #[arg(long = "only", value_name = "NAME", requires = "only")]
    parts: Vec<String>,
    /// Of `leaks` alone: how many starts; a fifth as many updates
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    #[command(flatten)]
    json: Json,
}

/// One row of the table.
#[derive(Clone)]
struct Stage {
    name: Cow<'static, str>,
    fast: bool,
    work: Work,
}

/// What a stage does.
#[derive(Clone)]
enum Work {
    Check(fn(Out) -> Result<()>),
    /// A story of `tests/e2e`.
    Story(String),
    /// The same on a board.
    Board {
        board: &'static str,
        story: String,
    },
}

impl Stage {
    const fn check(name: &'static str, fast: bool, check: fn(Out) -> Result<()>) -> Self {
        Self { name: Cow::Borrowed(name), fast, work: Work::Check(check) }
    }

    fn story(name: String) -> Self {
        Self { name: Cow::Owned(name.clone()), fast: false, work: Work::Story(name) }
    }

    fn on_board(story: &str, board: &'static str) -> Self {
        let work = Work::Board { board, story: story.to_owned() };
        Self { name: Cow::Owned(format!("{story}{ON}{board}")), fast: false, work }
    }

    /// Its name as a word of the command line.
    fn word(&self) -> String {
        self.name.replace(' ', "-")
    }

    /// Whether the word means it: its own, or that of the stages it belongs to (`containers` of `containers/nginx`).
    fn is(&self, word: &str) -> bool {
        self.word() == word || self.part().is_some_and(|(of, _)| of == word)
    }

    /// The stages it belongs to, and its name among them.
    fn part(&self) -> Option<(&str, &str)> {
        self.name.split_once('/')
    }

    /// Whether the word means it among those: its own, or that of the board it is on.
    fn is_part(&self, word: &str) -> bool {
        let Some((_, own)) = self.part() else { return false };
        own.replace(' ', "-") == word || own.split_once(ON).is_some_and(|(_, board)| board == word)
    }
}

/// Between the name of a story and that of the board on which it is told.
const ON: &str = " on ";

/// All but the stories, which come last: they take longest to find out what the others would have said.
const STAGES: &[Stage] = &[
    Stage::check("setup", true, setup::ensure),
    Stage::check("unit tests", true, unit_tests),
    Stage::check(pvr::NAME, false, pvr::check),
    Stage::check("doc tests", false, doc_tests),
    Stage::check("no std", false, nostd::check),
    Stage::check("bare metal", false, pick_nostd::check),
    Stage::check("model", false, |out| must(Explorer::MODEL.command::<&str>(&[]), out)),
    Stage::check("mutants", false, |out| must(Explorer::MUTANTS.command::<&str>(&[]), out)),
    Stage::check("replay", false, replay),
    Stage::check("power cuts", false, |out| must(Explorer::POWERCUT.command::<&str>(&[]), out)),
    // A moment for each target: a fault that takes longer to be found is looked for by hand, with `cargo xtask fuzz`.
    Stage::check("fuzz", false, |out| must(Explorer::FUZZ.command(&["--seconds", "2"]), out)),
    Stage::check("escape", false, escape::check),
    Stage::check(oci::NAME, false, oci::check),
    Stage::check("leaks", false, run::leaks::check),
    Stage::check("flash", false, flash::stage::check),
    Stage::check("mtd", false, mtd::check),
    Stage::check("porting", false, porting::check),
    Stage::check("conformance", false, |out| must(Explorer::CONFORMANCE.command::<&str>(&[]), out)),
    Stage::check("boards", false, run::board::check),
    Stage::check("tidy", false, |out| tidy::check(out, tidy::Depth::Full)),
    Stage::check("tidy (sources)", true, |out| tidy::check(out, tidy::Depth::Sources)),
];

/// What became of a stage.
struct Outcome {
    name: Cow<'static, str>,
    seconds: f64,
    error: Option<String>,
}

pub(crate) fn run(options: Options) -> Result<ExitCode> {
    let out = options.json.out();
    if !options.only.is_empty() {
        // The whole test has it as its first stage.
        setup::ensure(out)?;
    }
    // A stage that is run alone and has figures of its own shows those instead of a table with one line.
    let alone = if let [name] = options.only.as_slice() { Some(name.as_str()) } else { None };
    match (alone, options.rounds, options.parts.as_slice()) {
        (Some("escape"), None, []) => return escape::run(None, options.json.json),
        (Some("escape"), None, [prefix]) => return escape::run(Some(prefix), options.json.json),
        (Some(oci::NAME), None, []) => return oci::run(None, options.json.json),
        (Some(oci::NAME), None, [prefix]) => return oci::run(Some(prefix), options.json.json),
        (Some(one @ ("escape" | oci::NAME)), None, _) => bail!("`test {one}` takes one --only"),
        (Some(pvr::NAME), None, []) => return pvr::run(options.json),
        (Some("leaks"), rounds, []) => return run::leaks::run(rounds.unwrap_or(run::leaks::ROUNDS), options.json),
        (_, Some(_), _) => bail!("--rounds belongs to `test leaks`"),
        _ => {}
    }
    let stages = select(&options)?;
    let outcomes = if options.only.is_empty() { whole(stages, out)? } else { each(stages, out) };
    let failed = outcomes.iter().filter(|outcome| outcome.error.is_some()).count();
    if options.json.json {
        println!("{:#}", as_json(&outcomes, options.fast));
    }
    table(&outcomes, out);
    out.line(format!("{} passed, {failed} failed", outcomes.len() - failed));
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Before this stage everything that the stories need is built and sound enough.
const LANE_BEGINS: &str = "model";

fn each(stages: Vec<Stage>, out: Out) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for stage in stages {
        let (outcome, is_interrupted) = once(stage, out);
        outcomes.push(outcome);
        if is_interrupted {
            break;
        }
    }
    outcomes
}

/// All stages, the stories beside the others.
fn whole(stages: Vec<Stage>, out: Out) -> Result<Vec<Outcome>> {
    let mut stories = Vec::new();
    let mut checks = Vec::new();
    for stage in stages {
        match stage.work {
            Work::Story(_) | Work::Board { .. } => stories.push(stage),
            Work::Check(_) => checks.push(stage),
        }
    }
    let later = checks.iter().position(|stage| stage.name == LANE_BEGINS).unwrap_or(checks.len());
    let later = checks.split_off(later);
    let mut outcomes = each(checks, out);
    // One at a time, because they want the same port.
    let teller = |stage: &Stage| Teller { args: vec!["test".into(), stage.word()], name: stage.name.replace('/', "-") };
    let lane = Lane::start(stories.iter().map(teller).collect::<Vec<_>>(), 1)?;
    outcomes.extend(each(later, out));
    while let Some(Told { name, seconds, said, result }) = lane.next() {
        out.line(said.trim_end());
        let error = result.err().map(|error| format!("{error:#}"));
        outcomes.push(Outcome { name: name.into(), seconds, error });
    }
    Ok(outcomes)
}

/// The table, with a row for every story that there is.
fn stages() -> Result<Vec<Stage>> {
    let containers = run::containers()?;
    let on_boards = run::board::TOLD_CONTAINERS
        .iter()
        .flat_map(|board| containers.iter().map(|story| Stage::on_board(story, board)))
        .collect::<Vec<_>>();
    let stories = run::stories()?.into_iter().chain(containers).map(Stage::story);
    Ok(STAGES.iter().cloned().chain(stories).chain(on_boards).collect())
}

/// The stages that were asked for, in the order of the table. A name that nothing has is an error.
fn select(options: &Options) -> Result<Vec<Stage>> {
    let stages = stages()?;
    if options.only.is_empty() {
        return Ok(stages.into_iter().filter(|stage| is_due(stage, options.fast)).collect());
    }
    if let Some(name) = options.only.iter().find(|name| !stages.iter().any(|stage| stage.is(name))) {
        let words: Vec<_> = stages.iter().map(Stage::word).collect();
        bail!("there is no stage {name}; there are: {}", words.join(", "));
    }
    let mut wanted: Vec<_> =
        stages.into_iter().filter(|stage| options.only.iter().any(|word| stage.is(word))).collect();
    if let Some(name) = options.parts.iter().find(|name| !wanted.iter().any(|stage| stage.is_part(name))) {
        let words: Vec<_> = wanted.iter().filter_map(|stage| Some(stage.part()?.1.replace(' ', "-"))).collect();
        bail!("no part of these stages is called {name}; there are: {}", words.join(", "));
    }
    wanted.retain(|stage| {
        options.parts.is_empty() || stage.part().is_none() || options.parts.iter().any(|name| stage.is_part(name))
    });
    Ok(wanted)
}

/// What runs only when it is named: the whole tidy contains the quick one, and the stories of boards take longer than all
/// other stages together. So do parts of stages, whose images are made of hundreds of packages, but for these. The tests of `pvr`
/// are among the unit tests.
const NAMED: &[&str] = &["tidy (sources)", "boards", pvr::NAME];

/// Parts that run unnamed: what a kernel with one cgroup tree does to containers, of which this machine may have none.
const UNNAMED: &[&str] = &["containers/ends on qemu-x86_64-grub"];

fn is_due(stage: &Stage, fast: bool) -> bool {
    let name = stage.name.as_ref();
    if fast { stage.fast } else { !NAMED.contains(&name) && (stage.part().is_none() || UNNAMED.contains(&name)) }
}

/// What became of a stage, and whether somebody has asked for the end of all.
fn once(stage: Stage, out: Out) -> (Outcome, bool) {
    out.line(bold(out, &format!("\n── {} ──", stage.name)));
    let start = Instant::now();
    let done = match &stage.work {
        Work::Check(check) => check(out),
        Work::Story(story) => run::check(story, out),
        Work::Board { board, story } => run::board::tell(board, story, Show::Timeline(out)),
    };
    let is_interrupted = done.as_ref().is_err_and(|error| error.is::<Interrupted>());
    let error = done.err().map(|error| format!("{error:#}"));
    if let Some(error) = &error {
        out.line(format!("{} {}: {error}", red(out, "failed"), stage.name));
    }
    (Outcome { name: stage.name, seconds: start.elapsed().as_secs_f64(), error }, is_interrupted)
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
    fn whoever_is_asked_to_end_begins_nothing_more() {
        let interrupted = Stage::check("first", true, |_| Err(Interrupted.into()));
        let told = each(vec![interrupted, Stage::check("second", true, |_| Ok(()))], Out::Stderr);
        assert_eq!(told.iter().map(|outcome| outcome.name.as_ref()).collect::<Vec<_>>(), ["first"]);
    }

    #[test]
    fn a_failed_stage_is_counted_and_keeps_its_reason() {
        let stage = Stage::check("bad", true, |_| bail!("the reason"));
        let (outcome, is_interrupted) = once(stage, Out::Stderr);
        assert!(!is_interrupted);
        assert_eq!(outcome.error.as_deref(), Some("the reason"));
        let json = as_json(&[outcome], false);
        assert_eq!((json["passed"].as_u64(), json["failed"].as_u64()), (Some(0), Some(1)));
    }

    #[test]
    fn a_stage_is_found_by_its_name_and_another_name_is_an_error() {
        let options = |only: &[&str]| Options {
            fast: false,
            only: only.iter().map(|name| (*name).to_owned()).collect(),
            rounds: None,
            parts: vec![],
            json: Json { json: false },
        };
        let names =
            |only: &[&str]| select(&options(only)).unwrap().into_iter().map(|stage| stage.name).collect::<Vec<_>>();
        assert_eq!(names(&["tidy", "power-cuts"]), ["power cuts", "tidy"]);
        assert_eq!(names(&["trials", "first-light"]), ["first-light", "trials"]);
        assert!(select(&options(&["missing"])).is_err_and(|error| error.to_string().contains("no stage missing")));
    }

    #[test]
    fn a_stage_of_several_stories_is_all_of_them_or_those_that_are_named() {
        let options = |parts: &[&str]| Options {
            fast: false,
            only: vec!["containers".into()],
            rounds: None,
            parts: parts.iter().map(|name| (*name).to_owned()).collect(),
            json: Json { json: false },
        };
        let all = select(&options(&[])).unwrap();
        assert!(all.iter().all(|stage| stage.name.starts_with("containers/")));
        let words = |parts: &[&str]| select(&options(parts)).unwrap().iter().map(Stage::word).collect::<Vec<_>>();
        assert_eq!(words(&["nginx"]), ["containers/nginx"]);
        assert_eq!(words(&["nginx-on-qemu-x86_64-grub"]), ["containers/nginx-on-qemu-x86_64-grub"]);
        let there = words(&["qemu-x86_64-grub"]);
        assert!(there.len() > 1 && there.len() * 2 == all.len() && there.iter().all(|word| word.ends_with("-grub")));
        assert!(select(&options(&["missing"])).is_err_and(|error| error.to_string().contains("called missing")));
    }

    #[test]
    fn every_stage_runs_in_the_whole_test_but_those_that_must_be_named() {
        let skipped: Vec<_> = STAGES.iter().filter(|stage| !is_due(stage, false)).map(|stage| &*stage.name).collect();
        // What `pvr` proves is among the unit tests.
        assert_eq!(skipped, ["pvr", "boards", "tidy (sources)"]);
        let told: Vec<_> =
            stages().unwrap().into_iter().filter(|stage| stage.part().is_some() && is_due(stage, false)).collect();
        assert_eq!(told.iter().map(|stage| &*stage.name).collect::<Vec<_>>(), UNNAMED);
    }
}
