//! What a device is doing and what it rests on, from its events alone.
//!
//! ```text
//!   boot, state, container ──▶ what runs, where the update machine is, which goals are reached
//!   proposed, refused      ──▶ what became of the offer
//!   cuts                   ──▶ what the device is forgiven
//! ```
//!
//! Promise: rest is the state `Idle` with every container of what runs at its goal. A device that rests is where it must
//! be: on the offer, or on what it ran before. Older revisions are allowed to one whose firmware was cut [`CHAIN`] times
//! in a row only: so many boots are what the boot list grants a revision.

use std::collections::BTreeMap;

use machine::ordeal::{Outcome, Update};
use statemachine::boot::CHAIN_TRIES;

use crate::run::story::event::Event;

/// Boots in a row after which a firmware passes a revision over.
const CHAIN: u32 = CHAIN_TRIES as u32;

/// The goals of a revision's containers.
pub(super) type Goals = BTreeMap<String, String>;

/// An update on its way.
#[derive(Clone, Debug)]
struct Offer {
    update: Update,
    /// Its name on the device and its goals, once that has taken it.
    revision: Option<String>,
    goals: Goals,
    /// Why the device did not.
    refused: Option<String>,
    /// Nobody has cut the power since.
    calm: bool,
}

/// What is known about a device.
pub(super) struct Watch {
    running: Option<String>,
    role: String,
    state: Option<String>,
    containers: BTreeMap<String, String>,
    offer: Option<Offer>,
    /// Revisions that were good, the oldest first; the last one is what it must run.
    good: Vec<(String, Goals)>,
    /// Boots that a cut has ended since it was at rest.
    cuts: u32,
    /// Why it has given up the last revision that it has.
    reason: String,
}

impl Watch {
    /// A device with the revision of its factory.
    pub(super) fn new(factory: &str, goals: Goals) -> Self {
        Self {
            running: None,
            role: String::new(),
            state: None,
            containers: BTreeMap::new(),
            offer: None,
            good: vec![(factory.to_owned(), goals)],
            cuts: 0,
            reason: String::new(),
        }
    }

    /// The power was cut.
    pub(super) fn cut(&mut self) {
        self.over();
        self.cuts += 1;
        if let Some(offer) = &mut self.offer {
            offer.calm = false;
        }
    }

    /// It is offered an update.
    pub(super) fn offers(&mut self, update: Update) {
        self.reason.clear();
        self.offer = Some(Offer { update, revision: None, goals: Goals::new(), refused: None, calm: true });
    }

    /// What the update that was proposed wants to reach.
    pub(super) fn proposes(&mut self, goals: Goals) {
        if let Some(offer) = &mut self.offer {
            offer.goals = goals;
        }
    }

    /// Whether the device has said what it thinks of the offer.
    pub(super) fn has_answered(&self) -> bool {
        self.offer.as_ref().is_none_or(|offer| offer.revision.is_some() || offer.refused.is_some())
    }

    pub(super) fn hears(&mut self, event: &Event) {
        let text = |member| event.text(member).to_owned();
        match event.kind.as_str() {
            "boot" => {
                self.over();
                (self.role, self.running) = (text("role"), Some(text("revision")));
            }
            "end" => self.over(),
            "state" => self.state = Some(text("state")),
            "container" => {
                self.containers.insert(text("name"), text("status"));
            }
            "proposed" => {
                if let Some(offer) = &mut self.offer {
                    offer.revision = Some(text("revision"));
                }
            }
            "refused" => {
                if let Some(offer) = &mut self.offer {
                    offer.refused = Some(text("why"));
                }
            }
            // What was committed in place runs; what was committed after a reboot did already.
            "commit" => self.running = Some(text("revision")),
            "rollback" => self.reason = text("reason"),
            _ => {}
        }
    }

    /// A boot is over.
    fn over(&mut self) {
        (self.running, self.state) = (None, None);
        self.containers.clear();
    }

    /// What it is doing, in a word; `None` while PID 1 has said nothing.
    pub(super) fn place(&self) -> Option<&str> {
        match (self.state.as_deref(), &self.running) {
            (Some("Idle"), Some(running)) => match self.goals(running) {
                Some(goals) if missing(goals, &self.containers).is_none() => Some("at rest"),
                _ => Some("starting containers"),
            },
            (Some(state), _) => Some(state),
            (None, Some(_)) => Some("PID 1"),
            (None, None) => None,
        }
    }

    /// What it waits for, for somebody who wants to know why it does not come to rest.
    pub(super) fn waits_for(&self) -> String {
        let running = self.running.as_deref().unwrap_or("nothing");
        let state = self.state.as_deref().unwrap_or("no state");
        let missing = self.goals(running).and_then(|goals| missing(goals, &self.containers));
        let missing = missing.map(|name| format!(", {name} is not at its goal")).unwrap_or_default();
        format!("{running} runs ({}), in {state}{missing}", self.role)
    }

    /// What it rests on, if it does.
    pub(super) fn rest(&mut self) -> Option<Outcome> {
        let running = self.running.clone()?;
        match self.state.as_deref()? {
            // Nothing that anybody could still want to run, or nothing that could be updated.
            stays @ ("Serving" | "Frozen") => {
                return Some(Outcome::Brick(format!("it stays in {stays}: {}", self.waits_for())));
            }
            "Idle" => {}
            _ => return None,
        }
        let Some(goals) = self.goals(&running) else {
            return Some(Outcome::Brick(format!("it rests on {running}, which it was never to keep")));
        };
        if missing(goals, &self.containers).is_some() {
            return None;
        }
        let goals = goals.clone();
        let outcome = self.judge(&running);
        if let Outcome::Updated | Outcome::Before = outcome {
            // An older one counts from now on as what it runs.
            self.good.retain(|(revision, _)| *revision != running);
            self.good.push((running, goals));
            (self.offer, self.cuts) = (None, 0);
        }
        Some(outcome)
    }

    fn judge(&self, running: &str) -> Outcome {
        let before = self.good.last().is_some_and(|(revision, _)| revision == running);
        match &self.offer {
            Some(offer) if offer.revision.as_deref() == Some(running) => Outcome::Updated,
            Some(Offer { update: Update::Good, calm: true, refused, .. }) if before => {
                let why = refused.as_deref().unwrap_or(&self.reason);
                Outcome::Brick(format!("it has not kept a good update, and nobody had cut its power: {why}"))
            }
            _ if before || self.cuts >= CHAIN => Outcome::Before,
            _ => Outcome::Brick(format!("it went back to {running} after {} cuts: {}", self.cuts, self.reason)),
        }
    }

    /// The goals of a revision that may run.
    fn goals(&self, running: &str) -> Option<&Goals> {
        let offer = self.offer.as_ref().filter(|offer| offer.revision.as_deref() == Some(running));
        let good = self.good.iter().find(|(revision, _)| revision == running);
        offer.map(|offer| &offer.goals).or(good.map(|(_, goals)| goals))
    }

    /// What it must run unless it takes another.
    pub(super) fn default(&self) -> &str {
        self.good.last().map_or("", |(revision, _)| revision)
    }
}

/// A container that is not at its goal.
fn missing<'a>(goals: &'a Goals, containers: &BTreeMap<String, String>) -> Option<&'a str> {
    let reached = |name: &str, goal: &str| match containers.get(name).map(String::as_str) {
        Some("READY") => true,
        Some(status) => status == goal,
        None => false,
    };
    goals.iter().find(|(name, goal)| !reached(name, goal)).map(|(name, _)| name.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn goals(names: &[&str]) -> Goals {
        names.iter().map(|name| ((*name).to_owned(), "STARTED".to_owned())).collect()
    }

    fn device() -> Watch {
        Watch::new("0", goals(&["heart"]))
    }

    fn say(watch: &mut Watch, kind: &str, members: Value) {
        watch.hears(&Event::new(kind, 0, members));
    }

    fn state(watch: &mut Watch, state: &str) {
        say(watch, "state", json!({ "state": state }));
    }

    /// A boot to its end, with the heart beating.
    fn boots(watch: &mut Watch, role: &str, revision: &str) {
        say(watch, "boot", json!({ "role": role, "revision": revision }));
        state(watch, "Idle");
        say(watch, "container", json!({ "name": "heart", "status": "STARTED" }));
    }

    fn takes(watch: &mut Watch, update: Update, revision: &str) {
        watch.offers(update);
        say(watch, "proposed", json!({ "revision": revision }));
        watch.proposes(goals(&["heart"]));
        state(watch, "Fetching");
    }

    fn is_brick(watch: &mut Watch, word: &str) -> bool {
        matches!(watch.rest(), Some(Outcome::Brick(why)) if why.contains(word))
    }

    #[test]
    fn rest_is_idle_with_every_container_at_its_goal() {
        let mut watch = device();
        assert_eq!(watch.place(), None);
        assert_eq!(watch.rest(), None);
        say(&mut watch, "boot", json!({ "role": "default", "revision": "0" }));
        assert_eq!(watch.place(), Some("PID 1"));
        state(&mut watch, "Opening");
        assert_eq!(watch.place(), Some("Opening"));
        state(&mut watch, "Idle");
        assert_eq!(watch.place(), Some("starting containers"));
        assert_eq!(watch.rest(), None);
        say(&mut watch, "container", json!({ "name": "heart", "status": "STARTED" }));
        assert_eq!(watch.place(), Some("at rest"));
        assert_eq!(watch.rest(), Some(Outcome::Before));
    }

    #[test]
    fn an_update_that_runs_is_one_and_the_next_goes_from_there() {
        let mut watch = device();
        boots(&mut watch, "default", "0");
        watch.rest();
        takes(&mut watch, Update::Good, "locals/a");
        assert_eq!(watch.rest(), None);
        say(&mut watch, "commit", json!({ "revision": "locals/a" }));
        state(&mut watch, "Idle");
        assert_eq!((watch.rest(), watch.default()), (Some(Outcome::Updated), "locals/a"));
        takes(&mut watch, Update::Bad, "locals/b");
        state(&mut watch, "Idle");
        assert_eq!((watch.rest(), watch.default()), (Some(Outcome::Before), "locals/a"));
    }

    #[test]
    fn a_good_update_may_be_lost_with_the_power_only() {
        for (cut, fine) in [(true, true), (false, false)] {
            let mut watch = device();
            boots(&mut watch, "default", "0");
            watch.rest();
            takes(&mut watch, Update::Good, "locals/a");
            if cut {
                watch.cut();
                assert_eq!(watch.place(), None);
            }
            boots(&mut watch, "default", "0");
            assert_eq!(watch.rest() == Some(Outcome::Before), fine);
        }
    }

    #[test]
    fn a_revision_that_it_was_never_to_keep_is_a_brick() {
        let mut watch = device();
        boots(&mut watch, "default", "locals/of-somebody-else");
        assert!(is_brick(&mut watch, "never to keep"));
    }

    #[test]
    fn what_recovery_serves_is_a_brick() {
        let mut watch = device();
        say(&mut watch, "boot", json!({ "role": "recovery" }));
        state(&mut watch, "Rescuing");
        assert_eq!(watch.rest(), None, "it may still come back");
        state(&mut watch, "Serving");
        assert!(is_brick(&mut watch, "recovery"));
    }

    #[test]
    fn an_older_revision_is_excused_by_as_many_cuts_as_the_boot_list_grants_and_by_no_fewer() {
        for (cuts, fine) in [(CHAIN - 1, false), (CHAIN, true)] {
            let mut watch = device();
            boots(&mut watch, "default", "0");
            watch.rest();
            takes(&mut watch, Update::Good, "locals/a");
            say(&mut watch, "commit", json!({ "revision": "locals/a" }));
            state(&mut watch, "Idle");
            assert_eq!(watch.rest(), Some(Outcome::Updated));
            (0..cuts).for_each(|_| watch.cut());
            boots(&mut watch, "previous", "0");
            assert_eq!(watch.rest() == Some(Outcome::Before), fine, "{cuts}");
        }
    }
}
