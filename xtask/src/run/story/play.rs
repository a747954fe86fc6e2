//! Tells a story: one loop per step, in which events, the script and the clock are looked at in turn.
//!
//! Promises: a step has passed only when its script has ended as it must, every expected event has come in its order,
//! every strike has been dealt and none of the forbidden events has come. The first step that fails ends the story.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::json;

use super::event::{Event, Pattern};
use super::show::Show;
use super::{Step, Story, Strike};

/// What is done to a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Blow {
    /// PID 1 dies.
    Kill,
    /// The power goes.
    Cut,
}

/// How a script has ended.
pub(crate) struct Ended {
    pub(crate) success: bool,
    /// What it said on both its streams.
    pub(crate) output: String,
}

/// What a story happens in.
pub(crate) trait World {
    /// Milliseconds since the run began.
    fn now(&self) -> u64;
    /// Sets a variable for all scripts.
    fn set(&mut self, name: &str, value: &str);
    /// Starts a script.
    fn begin(&mut self, script: &str, dir: Option<&str>) -> Result<()>;
    /// How the script has ended, once it has.
    fn ended(&mut self) -> Result<Option<Ended>>;
    /// Events since the last call.
    fn events(&mut self) -> Result<Vec<Event>>;
    /// Hits the device.
    fn strike(&mut self, blow: Blow) -> Result<()>;
    /// Lets a moment pass, or says that somebody wants an end.
    fn rest(&mut self) -> Result<()>;
}

/// Tells the story. An error is the first thing that did not come out.
pub(crate) fn play(story: &Story, world: &mut impl World, show: &mut Show) -> Result<()> {
    for step in &story.step {
        let name = &step.name;
        show.event(&Event::new("story", world.now(), json!({ "step": name, "is": "begun" })));
        let done = Player { step, world: &mut *world, show: &mut *show, start: Instant::now() }.play();
        let members = match &done {
            Ok(()) => json!({ "step": name, "is": "passed" }),
            Err(error) => json!({ "step": name, "is": "failed", "why": format!("{error:#}") }),
        };
        show.event(&Event::new("story", world.now(), members));
        if let Err(error) = done {
            // What kind of error it is, whoever called this may want to know.
            return Err(error.context(format!("\"{name}\"")));
        }
    }
    Ok(())
}

struct Player<'a, W> {
    step: &'a Step,
    world: &'a mut W,
    show: &'a mut Show,
    start: Instant,
}

impl<W: World> Player<'_, W> {
    fn play(&mut self) -> Result<()> {
        for (name, script) in &self.step.save {
            let value = self.saved(script)?;
            self.world.set(name, &value);
        }
        if let Some(script) = &self.step.run {
            self.world.begin(script, self.step.dir.as_deref())?;
        }
        let mut running = self.step.run.is_some();
        let mut expected: VecDeque<&Pattern> = self.step.expect.iter().collect();
        let mut strikes: Vec<(Blow, Strike)> = Vec::new();
        strikes.extend(self.step.kill.clone().map(|strike| (Blow::Kill, strike)));
        strikes.extend(self.step.cut.clone().map(|strike| (Blow::Cut, strike)));
        let mut settled: Option<Instant> = None;
        loop {
            for event in self.world.events()? {
                self.show.event(&event);
                if let Some(never) = self.step.never.iter().find(|never| never.matches(&event)) {
                    bail!("this must not come: {never}\n  {}", event.line());
                }
                if expected.front().is_some_and(|pattern| pattern.matches(&event)) {
                    expected.pop_front();
                }
                for (blow, strike) in &mut strikes {
                    if strike.times > 0 && strike.on.matches(&event) {
                        strike.times -= 1;
                        self.world.strike(*blow)?;
                    }
                }
            }
            if running && let Some(ended) = self.world.ended()? {
                running = false;
                self.judge(&ended)?;
            }
            if !running && expected.is_empty() && strikes.iter().all(|(_, strike)| strike.times == 0) {
                let since = *settled.get_or_insert_with(Instant::now);
                if since.elapsed() >= Duration::from_secs(self.step.wait) {
                    return Ok(());
                }
            } else if self.start.elapsed() > Duration::from_secs(self.step.within) {
                bail!("{} s are over; {}", self.step.within, missing(running, &expected, &strikes));
            }
            self.world.rest()?;
        }
    }

    /// The output of a script that is quick and must succeed.
    fn saved(&mut self, script: &str) -> Result<String> {
        self.world.begin(script, self.step.dir.as_deref())?;
        loop {
            if let Some(ended) = self.world.ended()? {
                if !ended.success {
                    bail!("`{script}` has failed:\n{}", ended.output.trim_end());
                }
                return Ok(ended.output.trim().to_owned());
            }
            if self.start.elapsed() > Duration::from_secs(self.step.within) {
                bail!("`{script}` does not end");
            }
            self.world.rest()?;
        }
    }

    fn judge(&mut self, ended: &Ended) -> Result<()> {
        let output = ended.output.trim_end();
        if self.step.show {
            let members = json!({ "step": self.step.name, "is": "told", "output": output });
            self.show.event(&Event::new("story", self.world.now(), members));
        }
        if ended.success == self.step.fails {
            let how = if ended.success { "succeeded, and must not" } else { "failed" };
            bail!("the script has {how}:\n{output}");
        }
        if let Some(text) = self.step.output.iter().find(|text| !output.contains(text.as_str())) {
            bail!("the script does not say \"{text}\":\n{output}");
        }
        Ok(())
    }
}

fn missing(running: bool, expected: &VecDeque<&Pattern>, strikes: &[(Blow, Strike)]) -> String {
    let script = running.then(|| "the script has not ended".to_owned());
    let event = expected.front().map(|pattern| format!("no event has come with {pattern}"));
    let blows = strikes.iter().filter(|(_, strike)| strike.times > 0);
    let blows = blows.map(|(_, strike)| format!("no {} events for a blow, with {}", strike.times, strike.on));
    script.into_iter().chain(event).chain(blows).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::story::show::Show;

    /// A world in which everything is written down beforehand: one batch of events per look.
    #[derive(Default)]
    struct Paper {
        looks: VecDeque<Vec<Event>>,
        scripts: VecDeque<(bool, &'static str)>,
        set: Vec<(String, String)>,
        blows: Vec<Blow>,
    }

    impl World for Paper {
        fn now(&self) -> u64 {
            0
        }
        fn set(&mut self, name: &str, value: &str) {
            self.set.push((name.into(), value.into()));
        }
        fn begin(&mut self, _: &str, _: Option<&str>) -> Result<()> {
            Ok(())
        }
        fn ended(&mut self) -> Result<Option<Ended>> {
            Ok(self.scripts.pop_front().map(|(success, output)| Ended { success, output: output.into() }))
        }
        fn events(&mut self) -> Result<Vec<Event>> {
            Ok(self.looks.pop_front().unwrap_or_default())
        }
        fn strike(&mut self, blow: Blow) -> Result<()> {
            self.blows.push(blow);
            Ok(())
        }
        fn rest(&mut self) -> Result<()> {
            Ok(())
        }
    }

    fn event(kind: &str, name: &str) -> Event {
        Event::new(kind, 1, json!({ "name": name }))
    }

    fn tell(step: &str, world: &mut Paper) -> Result<()> {
        let story = toml::from_str(&format!("title = \"t\"\n[[step]]\nname = \"s\"\nwithin = 0\n{step}")).unwrap();
        play(&story, world, &mut Show::nothing())
    }

    #[test]
    fn expected_events_come_in_their_order_with_others_between_them() {
        let expect = "expect = [{ event = \"a\" }, { event = \"b\" }]";
        let look = |kinds: &[&str]| kinds.iter().map(|kind| event(kind, "x")).collect();
        let world = |kinds: &[&str]| Paper { looks: [look(kinds)].into(), ..Paper::default() };
        tell(expect, &mut world(&["a", "c", "b"])).unwrap();
        let error = tell(expect, &mut world(&["b", "a"])).map_err(|error| format!("{error:#}")).unwrap_err();
        assert!(error.contains("no event has come with event = \"b\""), "{error}");
    }

    #[test]
    fn a_forbidden_event_fails_the_step_although_everything_has_come() {
        let step = "expect = [{ event = \"a\" }]\nnever = [{ name = \"heart\" }]";
        let mut world = Paper { looks: [vec![event("c", "heart"), event("a", "x")]].into(), ..Paper::default() };
        assert!(tell(step, &mut world).map_err(|error| format!("{error:#}")).unwrap_err().contains("must not come"));
    }

    #[test]
    fn a_script_must_end_as_the_step_says() {
        let world = |success| Paper { scripts: [(success, "a page")].into(), ..Paper::default() };
        tell("run = \"x\"\noutput = [\"page\"]", &mut world(true)).unwrap();
        tell("run = \"x\"\nfails = true", &mut world(false)).unwrap();
        assert!(tell("run = \"x\"", &mut world(false)).is_err());
        assert!(tell("run = \"x\"\nfails = true", &mut world(true)).is_err());
        assert!(tell("run = \"x\"\noutput = [\"another\"]", &mut world(true)).is_err());
    }

    #[test]
    fn a_blow_falls_at_each_of_its_events_and_must_fall_as_often_as_was_said() {
        let step = "expect = [{ event = \"b\" }]\nkill = { on = { event = \"a\" }, times = 2 }";
        let mut world = Paper {
            looks: [vec![event("a", ""), event("a", ""), event("a", ""), event("b", "")]].into(),
            ..Paper::default()
        };
        tell(step, &mut world).unwrap();
        assert_eq!(world.blows, [Blow::Kill, Blow::Kill]);
        let mut world = Paper { looks: [vec![event("a", ""), event("b", "")]].into(), ..Paper::default() };
        assert!(tell(step, &mut world).map_err(|error| format!("{error:#}")).unwrap_err().contains("for a blow"));
    }

    #[test]
    fn what_was_saved_is_known_to_the_script() {
        let mut world = Paper { scripts: [(true, " 17\n"), (true, "")].into(), ..Paper::default() };
        tell("save = { PID = \"pid heart\" }\nrun = \"x\"", &mut world).unwrap();
        assert_eq!(world.set, [("PID".into(), "17".into())]);
    }
}
