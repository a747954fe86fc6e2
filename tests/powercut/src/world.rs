//! Runs one boot of a device: the real driver, and a world that answers its orders.

use std::collections::VecDeque;

use init::driver::{Driver, Flash, Hands};
use statemachine::ids::RevisionId;
use statemachine::limits::Limits;
use statemachine::recover::Boot;
use statemachine::update::{Effect, Event, Machine, Running, State};

use crate::device::Device;

/// What happens to the device from outside, once it is at rest.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// Facts, one each time the device comes to rest.
    pub(crate) facts: VecDeque<Event>,
    /// The revision whose goals are missed.
    pub(crate) bad: Option<RevisionId>,
}

/// How a boot ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// Power has gone.
    Cut,
    /// A reboot was ordered. `trial`: a one-shot firmware is asked for the trial.
    Reboot { trial: bool },
    /// At rest, and the script is at its end.
    Rest,
}

/// What was seen, to be read by people: one line per event, with the operations spent until then.
#[derive(Clone, Default, Debug)]
pub(crate) struct Trace {
    pub(crate) lines: Vec<String>,
    /// From which operation on which stage was under way.
    pub(crate) stages: Vec<(u64, String)>,
}

impl Trace {
    pub(crate) fn stage(&mut self, spent: u64, name: impl Into<String>) {
        let name = name.into();
        self.lines.push(format!("{spent:>6}  {name}"));
        self.stages.push((spent, name));
    }

    /// The stage of one operation.
    pub(crate) fn stage_of(&self, operation: u64) -> &str {
        let before = self.stages.iter().rev().find(|(from, _)| *from <= operation);
        before.map_or("start", |(_, name)| name.as_str())
    }
}

/// The first word of a debug text: `Trying` of `Trying(Plan { … })`.
pub(crate) fn word(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}").chars().take_while(char::is_ascii_alphanumeric).collect()
}

struct Orders<'a> {
    queue: VecDeque<Effect>,
    trace: &'a mut Trace,
    fuel: sim::Fuel,
    /// The boot before this one left a mark.
    marked: bool,
    /// The first rule that was broken.
    broken: Option<&'static str>,
}

impl Orders<'_> {
    /// What no state may be entered with.
    fn judge(&mut self, machine: &Machine) {
        let broken = match machine.state() {
            State::Refunding(_) if self.marked => "a boot that ended with a mark is given back",
            State::Trying(plan) | State::Testing(plan) => {
                let condemned = &machine.journal().header.condemned;
                match plan.what.digest {
                    Some(digest) if condemned.holds(&digest) => "the containers of a condemned revision are started",
                    _ => return,
                }
            }
            _ => return,
        };
        self.broken.get_or_insert(broken);
    }
}

impl Hands for Orders<'_> {
    fn carry_out(&mut self, order: Effect, _: &Machine) {
        self.queue.push_back(order);
    }

    fn took(&mut self, event: &Event, machine: &Machine) {
        self.trace.lines.push(format!("        {}", word(event)));
        self.trace.stage(self.fuel.spent(), word(machine.state()));
        self.judge(machine);
    }

    fn failed(&mut self, order: &Effect, error: &dyn std::fmt::Display) {
        self.trace.lines.push(format!("        {} failed: {error}", word(order)));
    }
}

/// One boot, from the jump of the firmware into `revision`. Rest is where nothing is under way.
///
/// # Errors
/// The device did something that it must not do even once.
pub(crate) fn boot(
    device: &mut Device,
    revision: RevisionId,
    script: &mut Script,
    trace: &mut Trace,
) -> Result<(End, Machine), String> {
    let mut driver = Driver::new(Limits::FIELD);
    trace.stage(device.fuel.spent(), "mount");
    let mounted = device.mount();
    if device.fuel.is_out() {
        return Ok((End::Cut, driver.machine().clone()));
    }
    mounted?;
    let marked = device.marked;
    let factory = RevisionId::factory();
    let (journal, head) = device.told();
    let first = Event::Booted(Boot {
        kind: device.kind.trial(),
        running: Running::Revision(revision),
        wanted: device.wanted().ok(),
        note: device.unreplayed_note(),
        journal,
        head,
        marked: device.told_of_mark(),
        factory: device.holds(&factory).then_some(factory),
        default_verifies: true,
    });
    let fuel = device.fuel.clone();
    let mut orders = Orders { queue: VecDeque::new(), trace, fuel, marked, broken: None };
    let mut next = Some(first);
    // Far more than any update takes; a machine that goes round in circles ends here.
    for _ in 0..500 {
        let Some(event) = next.take() else {
            return Ok((End::Rest, driver.machine().clone()));
        };
        driver.take(event, device, &mut orders);
        if let Some(broken) = orders.broken {
            return Err(broken.to_owned());
        }
        while next.is_none() && !device.fuel.is_out() {
            let Some(order) = orders.queue.pop_front() else { break };
            if let Effect::Reboot { trial } = order {
                return Ok((End::Reboot { trial }, driver.machine().clone()));
            }
            next = answer(order, device, driver.machine(), script)?;
        }
        if device.fuel.is_out() {
            return Ok((End::Cut, driver.machine().clone()));
        }
        if next.is_none() && matches!(driver.machine().state(), State::Idle | State::Frozen | State::Serving) {
            next = script.facts.pop_front();
        }
    }
    Err(format!("the device never comes to rest; it is {:?}", driver.machine().state()))
}

/// What the world does with an order that is not durable.
fn answer(order: Effect, device: &mut Device, machine: &Machine, script: &Script) -> Result<Option<Event>, String> {
    Ok(match order {
        Effect::Fetch(_) => Some(Event::Fetched),
        Effect::Verify(_) => Some(Event::Verified),
        Effect::Stage(revision) => match device.stage(&revision) {
            Ok(()) => match (machine.state(), machine.wanted()) {
                (State::Staging(plan), Some(wanted)) => match device.prepare(plan, wanted) {
                    Ok(evicts) => Some(Event::Staged(evicts)),
                    Err(_) if device.fuel.is_out() => None,
                    Err(_) => Some(Event::Failed),
                },
                _ => Some(Event::Failed),
            },
            Err(_) if device.fuel.is_out() => None,
            Err(error) => return Err(format!("the trail of {revision} was not written: {error}")),
        },
        Effect::Place(revision) => match machine.wanted().map(|wanted| device.place(&revision, wanted)) {
            Some(Ok(())) => Some(Event::Placed),
            _ if device.fuel.is_out() => None,
            why => return Err(format!("the slot of {revision} was not written: {why:?}")),
        },
        Effect::Switch(_) => Some(Event::Switched),
        Effect::Watch => {
            let bad = matches!((machine.running(), &script.bad), (Running::Revision(runs), Some(bad)) if runs == bad);
            Some(if bad { Event::GoalMissed } else { Event::GoalsMet })
        }
        Effect::Soak => Some(Event::Soaked),
        Effect::Start(_) | Effect::Decline(..) | Effect::Refuse(_) => None,
        Effect::Reboot { .. } | Effect::Persist | Effect::Store | Effect::Sync => {
            return Err(format!("{order:?} is not for the world"));
        }
    })
}
