//! A board under QEMU as the device of an ordeal.
//!
//! ```text
//!   ordeal ──▶ propose ──▶ deck ──▶ script with pvr ──▶ endpoint ──▶ PID 1 ──trace──▶ watch ──▶ place, rest
//!         └──▶ cut, power on ──▶ machine                firmware, kernel ──console──▶ place
//! ```
//!
//! Promise: a device that says nothing for [`SILENCE`], that starts [`BOOTS`] times by itself or that is not at rest after
//! [`RESTLESS`] is a brick. What fails beside it is an error: an update that cannot even be made, a QEMU that dies.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use machine::ordeal::{self, Fault, Outcome, Update};
use serde_json::{Map, Value};

use super::deck::{Deck, POST};
use super::screen::Screen;
use super::watch::{Goals, Watch};
use crate::run::board::rig::Board;
use crate::run::stage::Stage;
use crate::run::story::play::World as _;
use crate::term::red;

/// For how long a device that is not at rest may say nothing, on its console and its trace.
pub(super) const SILENCE: Duration = Duration::from_secs(120);

/// How often it may start by itself after it was switched on or offered an update: attempts of a trial, the default's
/// three, and some for an update that was on its way before.
pub(super) const BOOTS: u64 = 10;

/// How long it may take until it is at rest, if nobody cuts its power.
pub(super) const RESTLESS: Duration = Duration::from_secs(900);

/// How long making and offering an update may take.
const OFFERING: Duration = Duration::from_secs(180);

/// What a kernel says first, on the boards that let it.
const KERNEL: [&str; 2] = ["Linux version ", "Booting Linux"];

/// The repository of the factory revision, and its name on the device.
const FACTORY: &str = "0";

pub(super) struct Subject<'a> {
    stage: Stage<'a, Board>,
    work: PathBuf,
    watch: Watch,
    deck: Deck,
    screen: Rc<RefCell<Screen>>,
    patience: u32,
    /// The number of the last update, which is the name of its repository.
    number: u32,
    /// Repositories by the revision that they became.
    repositories: BTreeMap<String, String>,
    script: Option<Script>,
    /// An update that was offered is not decided yet.
    is_offered: bool,
    /// When somebody did something to it, how many boots had begun by then, and when it has said something.
    touched: (Instant, u64),
    heard: Instant,
}

/// What is done with an update beside the device.
struct Script {
    name: &'static str,
    does: Does,
    since: Instant,
    is_over: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Does {
    Make,
    Post,
}

impl<'a> Subject<'a> {
    pub(super) fn new(
        stage: Stage<'a, Board>,
        work: PathBuf,
        factory: &Path,
        deck: Deck,
        screen: Rc<RefCell<Screen>>,
        patience: u32,
    ) -> Result<Self> {
        Ok(Self {
            stage,
            work,
            watch: Watch::new(FACTORY, goals(factory)?),
            deck,
            screen,
            patience,
            number: 0,
            repositories: BTreeMap::from([(FACTORY.to_owned(), FACTORY.to_owned())]),
            script: None,
            is_offered: false,
            touched: (Instant::now(), 0),
            heard: Instant::now(),
        })
    }

    /// The board, when it is over.
    pub(super) fn into_rig(self) -> Board {
        self.stage.into_rig()
    }

    fn say(&self, text: &str) {
        self.screen.borrow_mut().line(text);
    }

    fn touch(&mut self) {
        self.touched = (Instant::now(), self.stage.rig().boots());
        self.heard = Instant::now();
    }

    /// The repository of the last update.
    fn repository(&self) -> PathBuf {
        self.work.join(self.number.to_string())
    }

    fn hear(&mut self) -> Result<()> {
        for event in self.stage.events()? {
            self.heard = Instant::now();
            self.watch.hears(&event);
            match event.kind.as_str() {
                "proposed" => self.watch.proposes(goals(&self.repository())?),
                "rollback" => {
                    self.say(&format!("  {} given up: {}", event.text("revision"), event.text("reason")));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Lets a moment pass and takes note of what has happened in it.
    fn look(&mut self) -> Result<()> {
        self.stage.rest()?;
        self.hear()?;
        let Some(script) = self.script.as_mut().filter(|script| !script.is_over) else { return Ok(()) };
        let what = if script.does == Does::Make { "made" } else { "offered" };
        match self.stage.ended()? {
            None if script.since.elapsed() > OFFERING * self.patience => {
                bail!("\"{}\" could not be {what} within {} s", script.name, OFFERING.as_secs());
            }
            None => {}
            Some(ended) => {
                script.is_over = true;
                // A device that refuses what it is offered has its reasons, which are judged.
                let refused = script.does == Does::Post && self.watch.has_answered();
                if !ended.success && !refused || script.does == Does::Post && !self.watch.has_answered() {
                    bail!("\"{}\" could not be {what}:\n{}", script.name, ended.output.trim_end());
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, does: Does, name: &'static str, text: &str, dir: Option<&str>) -> Result<()> {
        self.stage.begin(text, dir)?;
        self.script = Some(Script { name, does, since: Instant::now(), is_over: false });
        Ok(())
    }

    /// Whether this is still being done.
    fn is_at(&self, does: Does) -> bool {
        self.script.as_ref().is_some_and(|script| script.does == does && !script.is_over)
    }

    /// What it is doing, in a word.
    fn word(&mut self) -> &str {
        match self.watch.place() {
            Some("at rest") if self.is_at(Does::Post) => "being offered",
            Some(place) => place,
            None if !self.stage.rig().is_on() => "off",
            None if KERNEL.iter().any(|text| self.stage.rig().says(text)) => "kernel",
            None => "firmware",
        }
    }

    /// Why it is a brick although it has not come to rest, if it is.
    fn is_stuck(&mut self) -> Option<String> {
        if self.watch.place() == Some("at rest") {
            return None;
        }
        let restless = Restless {
            boots: self.stage.rig().boots().saturating_sub(self.touched.1),
            silence: self.heard.elapsed().min(self.stage.rig().quiet()),
            since: self.touched.0.elapsed(),
        };
        restless.is_stuck(self.patience).map(|what| format!("{what}: {}", self.watch.waits_for()))
    }

    /// Begins to make an update of this kind.
    fn make(&mut self, update: Update) -> Result<()> {
        let card = self.deck.draw(update).context("there is no such update")?;
        let from = self.watch.default();
        let from = self.repositories.get(from).with_context(|| format!("nothing is known of {from}"))?.clone();
        self.number += 1;
        let number = self.number.to_string();
        for (name, value) in [("NUMBER", number.as_str()), ("FROM", &from), ("NAME", card.name)] {
            self.stage.set(name, value);
        }
        self.begin(Does::Make, card.name, &card.script(), None)
    }

    /// Hands over what was made.
    fn offer(&mut self, update: Update) -> Result<()> {
        let name = self.script.as_ref().context("nothing was made")?.name;
        let kind = if update == Update::Good { "good" } else { "bad" };
        self.say(&format!("offered {}, a {kind} update: {name}", self.number));
        self.begin(Does::Post, name, POST, Some(&self.number.to_string()))?;
        self.watch.offers(update);
        self.is_offered = true;
        self.touch();
        Ok(())
    }

    fn judge(&mut self) -> Result<Option<Outcome>> {
        let rest = if self.is_at(Does::Post) { None } else { self.watch.rest() };
        let Some(outcome) = rest else { return Ok(self.is_stuck().map(Outcome::Brick)) };
        let work = self.repository();
        match &outcome {
            Outcome::Updated => {
                self.repositories.insert(self.watch.default().to_owned(), self.number.to_string());
                self.say(&format!("  kept: {}", self.watch.default()));
            }
            Outcome::Before => self.say(&format!("  at rest on what it had: {}", self.watch.default())),
            Outcome::Brick(_) => {}
        }
        self.script = None;
        if std::mem::take(&mut self.is_offered) && outcome == Outcome::Before && work.exists() {
            fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))?;
        }
        Ok(Some(outcome))
    }
}

impl ordeal::Device for Subject<'_> {
    fn power_on(&mut self) -> Result<(), Fault> {
        self.stage.rig().start()?;
        self.touch();
        Ok(())
    }

    fn prepare(&mut self, update: Update) -> Result<bool, Fault> {
        if self.script.is_none() {
            self.make(update)?;
        }
        Ok(!self.is_at(Does::Make))
    }

    fn propose(&mut self, update: Update) -> Result<(), Fault> {
        Ok(self.offer(update)?)
    }

    fn place(&mut self) -> Result<String, Fault> {
        self.look()?;
        Ok(self.word().to_owned())
    }

    fn cut(&mut self) -> Result<(), Fault> {
        let place = self.word().to_owned();
        let out = self.screen.borrow().out();
        self.say(&format!("  {} while {place}", red(out, "power cut")));
        self.stage.rig().cut()?;
        // What was said until then counts.
        self.hear()?;
        self.stage.abandon();
        self.script = None;
        self.watch.cut();
        Ok(())
    }

    fn rest(&mut self) -> Result<Option<Outcome>, Fault> {
        Ok(self.judge()?)
    }
}

/// A device that does not come to rest, since somebody did something to it.
struct Restless {
    /// How often it has started by itself.
    boots: u64,
    /// For how long it has said nothing.
    silence: Duration,
    since: Duration,
}

impl Restless {
    /// Why it is not waited for any longer, if it is not.
    fn is_stuck(&self, patience: u32) -> Option<String> {
        let Self { boots, silence, since } = self;
        match () {
            () if *boots > BOOTS => Some(format!("it has started {boots} times by itself and does not come to rest")),
            () if *silence > SILENCE * patience => Some(format!("it has said nothing for {} s", silence.as_secs())),
            () if *since > RESTLESS * patience => Some(format!("it is not at rest after {} s", since.as_secs())),
            () => None,
        }
    }
}

/// The goals of a state's containers.
fn goals(repository: &Path) -> Result<Goals> {
    let path = repository.join(".pvr/json");
    let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let state: Map<String, Value> = serde_json::from_slice(&text).with_context(|| format!("in {}", path.display()))?;
    let goal = |run: &Value| run.get("status_goal").and_then(Value::as_str).unwrap_or("STARTED").to_owned();
    let runs = state.iter().filter_map(|(name, run)| Some((name.strip_suffix("/run.json")?, run)));
    Ok(runs.filter(|(name, _)| *name != "bsp").map(|(name, run)| (name.to_owned(), goal(run))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_ever() {
        let second = Duration::from_secs(1);
        let fine = Restless { boots: BOOTS, silence: SILENCE, since: RESTLESS };
        assert_eq!(fine.is_stuck(1), None);
        let stuck = |restless: Restless, word: &str| restless.is_stuck(1).is_some_and(|why| why.contains(word));
        assert!(stuck(Restless { boots: BOOTS + 1, ..fine }, "started 11 times"));
        assert!(stuck(Restless { silence: SILENCE + second, ..fine }, "said nothing"));
        assert!(stuck(Restless { since: RESTLESS + second, ..fine }, "not at rest"));
        assert_eq!(Restless { silence: SILENCE + second, ..fine }.is_stuck(2), None);
    }

    #[test]
    fn the_goals_of_a_state_are_those_of_its_containers() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(".pvr")).unwrap();
        let state = r##"{"#spec":"pantavisor-service-system@1","bsp/run.json":{"linux":"kernel.img"},
            "ready/run.json":{"status_goal":"READY"},"app/run.json":{"name":"app"},"app/root.squashfs":"0a"}"##;
        fs::write(dir.path().join(".pvr/json"), state).unwrap();
        let goal = |name: &str, goal: &str| (name.to_owned(), goal.to_owned());
        assert_eq!(goals(dir.path()).unwrap(), Goals::from([goal("app", "STARTED"), goal("ready", "READY")]));
    }
}
