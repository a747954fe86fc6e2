//! `bench update`: how long a device takes for an update in place of one of its apps, how soon a bad one is undone, and
//! how it answers meanwhile; beside what the reference system was measured to take (`recorded`: on another day).
//!
//! ```text
//!   command ────────────▶ new first process        two good revisions in turns, the median of all
//!   bad verdict ────────▶ old program up again     by the device's own clock, from its log of events
//!   GET /containers, again and again meanwhile     99 of 100 answers come in
//!   connections to a port that the app publishes   refused ones, during as many updates again
//! ```

use std::ffi::OsString;
use std::fs;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use clap::Parser;
use serde_json::{Value, json};

use super::Telling;
use super::figures::{Goal, Report, Wishes, quantile};
use super::live::Live;
use super::outside::Outside;
use super::story::show::Show;
use crate::setup;

/// How long an update in place of one of three apps takes.
#[derive(Parser)]
#[command(name = "cargo xtask bench update")]
struct Options {
    /// How many updates
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=1000))]
    rounds: u32,
    #[command(flatten)]
    wishes: Wishes,
}

/// The app that changes.
const CHANGED: &str = "alpha";

/// What it publishes.
const PORT: u16 = 8080;

/// The message of the older of the two revisions.
const FIRST: &str = "three apps";

/// Between two questions, so that they are those of somebody who watches, not an attack.
const PAUSE: Duration = Duration::from_millis(2);

/// What the reference system takes (fair: with its log helpers off), and the most that is good.
const GOALS: [Goal; 4] = [
    Goal { figure: "command to new first process", unit: "ms", recorded: Some(3100.0), most: 300.0 },
    // It reboots.
    Goal { figure: "bad verdict to old program up", unit: "ms", recorded: None, most: 1000.0 },
    // It is silent for up to so long.
    Goal { figure: "GET /containers, 99 of 100", unit: "ms", recorded: Some(6000.0), most: 10.0 },
    Goal { figure: "connections refused meanwhile", unit: "", recorded: None, most: 0.0 },
];

/// `args` begin with the name of this command.
pub(crate) fn run(args: &[OsString]) -> Result<ExitCode> {
    let options = Options::parse_from(args);
    setup::ensure(options.wishes.out())?;
    let show = Show::Timeline(options.wishes.out());
    let mut telling = Telling::begin("bench-update", "bench/update", None, show)?;
    telling.tell()?;
    let undone = undone(&fs::read_to_string(&telling.device.events)?)?;
    let (program, dir) = telling.device.place();
    let device = Live::of(program, dir)?;
    let [one, other] = device.revisions(FIRST)?;
    let to = |number: u32| if number.is_multiple_of(2) { &one } else { &other };
    let (updates, answers) = measure(&device, &to, options.rounds)?;
    // Apart from the others: clients take time of the processor, too.
    let again = options.rounds..options.rounds * 2;
    let update = || again.map(to).try_for_each(|revision| device.update(revision, CHANGED).map(drop));
    let ((), tally) = Outside::of(&device)?.connect(PORT, update)?;
    telling.scene.stop()?;
    let longest = tally.longest.as_secs_f64() * 1e3;
    options.wishes.out().line(format!("connections made: {}; the longest took {longest:.0} ms", tally.made));
    if let Some(why) = &tally.first {
        options.wishes.out().line(format!("the first that was refused: {why}"));
    }
    // Nobody was refused where nobody came through.
    let refused = if tally.made > 0 { f64::from(u32::try_from(tally.refused)?) } else { f64::NAN };
    let ours = [quantile(&updates, 50), undone, quantile(&answers, 99), refused];
    let more = json!({
        "updates": options.rounds, "answers": answers.len(), "connections": tally.made,
        "longest_connection_ms": longest, "first_refusal": tally.first,
    });
    Report::of("update", "An update in place", &GOALS, ours, more).tell(&options.wishes)
}

/// Updates in turns, and the answers to somebody who asks all the time; each in milliseconds.
fn measure<'a>(device: &Live, to: &dyn Fn(u32) -> &'a String, rounds: u32) -> Result<(Vec<f64>, Vec<f64>)> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut answers = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let begin = Instant::now();
                device.ask("GET", "/containers", "")?;
                answers.push(begin.elapsed().as_secs_f64() * 1e3);
                std::thread::sleep(PAUSE);
            }
            Ok::<_, anyhow::Error>(answers)
        });
        let updates: Result<Vec<f64>> =
            (0..rounds).map(|number| Ok(device.update(to(number), CHANGED)?.as_secs_f64() * 1e3)).collect();
        over.store(true, Ordering::Relaxed);
        let answers = asking.join().map_err(|_| anyhow!("the thread that asks has panicked"))?;
        Ok((updates?, answers?))
    })
}

fn is(event: &Value, member: &str, wanted: impl Into<Value>) -> bool {
    event.get(member) == Some(&wanted.into())
}

/// How long after the bad verdict the app was up again.
fn undone(events: &str) -> Result<f64> {
    let mut verdict = None;
    for line in events.lines() {
        let event: Value = serde_json::from_str(line).with_context(|| format!("no event: {line}"))?;
        let Some(at) = event.get("at").and_then(Value::as_f64) else { continue };
        if is(&event, "event", "verdict") && is(&event, "good", false) {
            verdict = Some(at);
        }
        if let Some(verdict) = verdict
            && is(&event, "event", "container")
            && is(&event, "name", CHANGED)
            && is(&event, "status", "STARTED")
        {
            return Ok(at - verdict);
        }
    }
    Err(anyhow!("the device's log has no bad verdict with a start of {CHANGED} after it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_an_undoing_is_from_the_bad_verdict_to_the_next_start_of_the_app() {
        let events = r#"{"event":"container","name":"alpha","status":"STARTED","at":5}
{"event":"verdict","good":false,"at":100}
{"event":"container","name":"beta","status":"STARTED","at":110}
{"event":"container","name":"alpha","status":"STARTED","at":175}"#;
        assert!((undone(events).unwrap() - 75.0).abs() < 0.1);
        assert!(undone("{\"event\":\"up\",\"at\":1}").is_err());
    }
}
