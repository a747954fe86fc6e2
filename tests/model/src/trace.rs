//! A path through the worlds as a text file, to read, to keep and to run again.
//!
//! ```text
//! # Why this path matters.
//! firmware: counted
//! view: every-fault
//! breaks: the cells name only what is there, whole and visible      (or `holds`)
//!
//! boot
//! write done
//! propose 1 by reboot
//! …
//! ```
//!
//! A trace that `holds` is played to its end: every move must be possible, and no rule may break. It is what a mended
//! fault leaves behind. A trace that `breaks` a rule is a counter-example as the explorer writes it.

use std::fmt::Write as _;

use statemachine::boot::TrialKind;

use crate::invariants::INVARIANTS;
use crate::liveness::{ENDLESS, STUCK};
use crate::moves::Move;
use crate::play::play;
use crate::views::{KINDS, View, kind_name};
use crate::world::World;

/// What a trace says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    Holds,
    Breaks(String),
}

/// A path with its setting.
pub(crate) struct Trace {
    pub(crate) kind: TrialKind,
    pub(crate) view: &'static View,
    pub(crate) claim: Claim,
    pub(crate) moves: Vec<Move>,
}

impl Trace {
    /// Reads a trace.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (mut kind, mut view, mut claim, mut moves) = (None, None, None, Vec::new());
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            let wrong = |what: String| format!("line {}: {what}", number + 1);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(name) = line.strip_prefix("firmware:") {
                let found = KINDS.iter().find(|(candidate, _)| *candidate == name.trim());
                kind = Some(found.ok_or_else(|| wrong(format!("no firmware is called `{}`", name.trim())))?.1);
            } else if let Some(name) = line.strip_prefix("view:") {
                let found = View::named(name.trim());
                view = Some(found.ok_or_else(|| wrong(format!("no view is called `{}`", name.trim())))?);
            } else if let Some(rule) = line.strip_prefix("breaks:") {
                claim = Some(Claim::Breaks(rule.trim().to_owned()));
            } else if line == "holds" {
                claim = Some(Claim::Holds);
            } else {
                moves.push(line.parse().map_err(wrong)?);
            }
        }
        Ok(Self {
            kind: kind.ok_or("there is no line `firmware: …`")?,
            view: view.ok_or("there is no line `view: …`")?,
            claim: claim.ok_or("there is no line `holds` or `breaks: …`")?,
            moves,
        })
    }

    /// Writes it.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("firmware: {}\nview: {}\n", kind_name(self.kind), self.view.name);
        match &self.claim {
            Claim::Holds => text.push_str("holds\n\n"),
            Claim::Breaks(rule) => {
                let _ = writeln!(text, "breaks: {rule}\n");
            }
        }
        for step in &self.moves {
            let _ = writeln!(text, "{step}");
        }
        text
    }

    /// Plays it, and tells each step. `Err`: it is not as it claims.
    pub(crate) fn replay(&self, mut tell: impl FnMut(&str, &World)) -> Result<(), String> {
        let setting = self.view.setting(self.kind);
        let mut world = World::factory(&setting);
        tell("factory", &world);
        let mut worlds = vec![world.clone().canonical(Vec::new())];
        for (number, step) in self.moves.iter().enumerate() {
            if !step.is_possible(&setting, &world) {
                return Err(format!("move {} (`{step}`) is not possible in the world before it", number + 1));
            }
            let played = play(&setting, &world, *step);
            world = played.world;
            tell(&step.to_string(), &world);
            let broken = INVARIANTS.iter().filter(|invariant| !(invariant.holds)(&world));
            let mut broken = played.broken.into_iter().chain(broken.map(|invariant| invariant.rule));
            if let Some(rule) = broken.next() {
                return match &self.claim {
                    Claim::Breaks(claimed) if claimed == rule => Ok(()),
                    _ => Err(format!("move {} (`{step}`) breaks: {rule}", number + 1)),
                };
            }
            worlds.push(world.clone().canonical(Vec::new()));
        }
        let came_back = worlds.pop().is_some_and(|last| worlds.contains(&last));
        match &self.claim {
            Claim::Holds => Ok(()),
            // What liveness finds is not in one world: a path that comes round, or one that ends on the way.
            Claim::Breaks(rule) if rule.starts_with(ENDLESS) && came_back => Ok(()),
            Claim::Breaks(rule) if rule.starts_with(STUCK) && !world.is_settled() => Ok(()),
            Claim::Breaks(rule) => Err(format!("the path does not break: {rule}")),
        }
    }
}

/// One line about a world, for a reader.
pub(crate) fn summary(world: &World) -> String {
    let mut text = String::new();
    match &world.session {
        None => text.push_str("off"),
        Some(session) => {
            let _ =
                write!(text, "{:?} runs {:?}, {:?}", session.machine.state(), session.machine.running(), session.live);
        }
    }
    match &world.flash.wanted {
        None => text.push_str(" | cells unreadable"),
        Some(wanted) => {
            let _ = write!(text, " | default {}", wanted.default);
            for (role, name) in [("previous", &wanted.previous), ("factory", &wanted.factory)] {
                if let Some(name) = name {
                    let _ = write!(text, ", {role} {name}");
                }
            }
            if let Some(trial) = &wanted.trial {
                let _ = write!(text, ", trial {} of {}", trial.revision, trial.max);
            }
        }
    }
    match &world.flash.journal {
        None => text.push_str(" | journal unreadable"),
        Some(journal) => {
            let _ = write!(text, " | {:?}", journal.body.record);
        }
    }
    text
}
