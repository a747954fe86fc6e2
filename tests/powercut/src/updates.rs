//! Whole updates, cut at every durable operation and once more in the recovery.
//!
//! ```text
//!   script, to the end           counts operations and names the stage of each
//!   script, cut at i             then: firmware, boot, firmware, boot … with power, to rest
//!   script, cut at i             then the same, cut at j; then with power, to rest
//! ```

use std::collections::{BTreeMap, VecDeque};

use init::driver::Flash;
use sim::{Fuel, Tear};
use statemachine::ids::RevisionId;
use statemachine::update::{Machine, Running, State};

use crate::Effort;
use crate::device::{Device, Kind, Planted, condemned};
use crate::places::numbered;
use crate::report::{Expect, Report, Stage};
use crate::stories::{STORIES, Story};
use crate::world::{End, Script, Trace, boot, word};

/// Boots after which a device must be at rest: three of a trial, a rollback, and some to spare.
const BOOTS: usize = 12;

pub(crate) fn run(effort: Effort, report: &mut Report) {
    for kind in Kind::ALL {
        for story in STORIES.iter().filter(|story| story.on.contains(&kind)) {
            let prefix = format!("{}/{}", kind.name(), story.name);
            if report.wants(&prefix) {
                stages(kind, Planted::Nothing, story, effort, &prefix).into_iter().for_each(|stage| report.add(stage));
            }
        }
    }
}

/// One row per stage of a story on a device.
pub(crate) fn stages(kind: Kind, planted: Planted, story: &Story, effort: Effort, prefix: &str) -> Vec<Stage> {
    let made = Device::new(kind, planted, story);
    let (operations, trace) = match count(&made, story) {
        Ok(counted) => counted,
        Err(why) => {
            let mut stage = Stage::new(prefix, Expect::Clean);
            stage.note(Err(why));
            return vec![stage];
        }
    };
    let mut rows: BTreeMap<String, Stage> = BTreeMap::new();
    let mut order: Vec<String> = Vec::new();
    for cut in 0..operations {
        let name = format!("{prefix}/{}", trace.stage_of(cut));
        if !rows.contains_key(&name) {
            order.push(name.clone());
        }
        let row = rows.entry(name.clone()).or_insert_with(|| Stage::new(name, Expect::Clean));
        row.points += 1;
        for tear in kind.tears() {
            end_at(row, &made, story, cut, *tear, Ending::Power, effort);
        }
    }
    order.into_iter().filter_map(|name| rows.remove(&name)).collect()
}

/// The first pass: no cut, and the end that the story promises.
pub(crate) fn count(made: &Device, story: &Story) -> Result<(u64, Trace), String> {
    let fuel = Fuel::unlimited();
    let mut device = made.clone();
    let mut trace = Trace::default();
    let mut script = script(story);
    device.power_on(&fuel);
    let (end, machine) = live(&mut device, &mut script, &mut trace)?;
    settled(&mut device, &machine, &end, story, &[story.ends])
        .map_err(|why| format!("  without any cut: {why}\n{}", trace.lines.join("\n")))?;
    Ok((fuel.spent(), trace))
}

fn script(story: &Story) -> Script {
    Script { facts: VecDeque::from((story.facts)()), bad: story.bad.map(numbered) }
}

/// How a boot is ended from outside, in the middle of an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// Power goes.
    Power,
    /// PID 1 dies and power stays: the next boot finds a mark.
    Mark,
}

impl Ending {
    /// Tells the device, after power has been taken from it. A firmware cannot leave a mark.
    fn leave(self, device: &mut Device, trace: &mut Trace) {
        if self == Self::Mark && trace.stages.last().is_some_and(|(_, stage)| stage != FIRMWARE) {
            device.marked = true;
            trace.lines.push("        PID 1 died and left a mark".to_owned());
        }
    }
}

const FIRMWARE: &str = "firmware";

/// The second pass at one operation, with one way of tearing.
pub(crate) fn end_at(
    row: &mut Stage,
    made: &Device,
    story: &Story,
    cut: u64,
    tear: Tear,
    ending: Ending,
    effort: Effort,
) {
    let mut device = made.clone();
    let mut trace = Trace::default();
    device.power_on(&Fuel::limited(cut, tear, effort.seed));
    let head = format!("  {ending:?} at operation {cut}, {tear:?}");
    let mut first = script(story);
    if let Err(why) = live(&mut device, &mut first, &mut trace) {
        row.note(Err(format!("{head}: before it, {why}\n{}", trace.lines.join("\n"))));
        return;
    }
    ending.leave(&mut device, &mut trace);
    // Nobody offers it again: the device has to find its way alone.
    let quiet = Script { facts: VecDeque::new(), bad: first.bad };
    let fuel = Fuel::unlimited();
    row.note(recover(device.clone(), &quiet, &fuel, story, trace.clone()).map_err(|why| format!("{head}: {why}")));
    for second in (cut % effort.every..fuel.spent()).step_by(usize::try_from(effort.every).unwrap_or(1)) {
        // After a mark the second end is of either kind.
        let again = if (cut + second).is_multiple_of(2) { ending } else { Ending::Power };
        let mut device = device.clone();
        let mut trace = trace.clone();
        device.power_on(&Fuel::limited(second, tear, effort.seed ^ 0xCAFE));
        trace.stage(0, format!("power is back until operation {second}"));
        let head = format!("{head}, and {again:?} at operation {second} of the recovery");
        let found = match live(&mut device, &mut quiet.clone(), &mut trace) {
            Ok(_) => {
                again.leave(&mut device, &mut trace);
                recover(device, &quiet, &Fuel::unlimited(), story, trace)
            }
            Err(why) => Err(format!("{why}\n{}", trace.lines.join("\n"))),
        };
        row.note(found.map_err(|why| format!("{head}: {why}")));
    }
}

fn recover(mut device: Device, quiet: &Script, fuel: &Fuel, story: &Story, mut trace: Trace) -> Result<(), String> {
    device.power_on(fuel);
    trace.stage(0, "power is back");
    let found = live(&mut device, &mut quiet.clone(), &mut trace)
        .and_then(|(end, machine)| settled(&mut device, &machine, &end, story, story.may));
    found.map_err(|why| format!("{why}\n{}", trace.lines.join("\n")))
}

/// Boots until the device is at rest or power has gone.
fn live(device: &mut Device, script: &mut Script, trace: &mut Trace) -> Result<(End, Machine), String> {
    for _ in 0..BOOTS {
        trace.stage(device.fuel.spent(), FIRMWARE);
        let Some(revision) = device.firmware()? else {
            return Ok((End::Cut, Machine::dark(statemachine::limits::Limits::FIELD)));
        };
        trace.lines.push(format!("        boots {revision}"));
        match boot(device, revision, script, trace)? {
            (End::Reboot { trial }, machine) => {
                trace.stage(device.fuel.spent(), "unmount");
                let unmounted = device.unmount();
                if device.fuel.is_out() {
                    return Ok((End::Cut, machine));
                }
                unmounted?;
                device.power_on(&device.fuel.clone());
                device.asked = trial;
            }
            other => return Ok(other),
        }
    }
    Err(format!("not at rest after {BOOTS} boots"))
}

/// Settled: the default runs, nothing is tried, everything can be read, and the firmware would start the same.
pub(crate) fn settled(
    device: &mut Device,
    machine: &Machine,
    end: &End,
    story: &Story,
    may: &[u32],
) -> Result<(), String> {
    if *end != End::Rest || *machine.state() != State::Idle {
        return Err(format!("it is not at rest: {end:?}, {}", word(machine.state())));
    }
    let wanted = device.unreplayed_wanted().map_err(|why| format!("the boot cell is unreadable at rest: {why}"))?;
    let journal = device.journal().map_err(|why| format!("the journal is unreadable at rest: {why}"))?;
    let may: Vec<RevisionId> = may.iter().map(|number| numbered(*number)).collect();
    if !may.contains(&wanted.default) {
        return Err(format!("the default is {} at rest, and not one of {may:?} ({})", wanted.default, story.name));
    }
    if *machine.running() != Running::Revision(wanted.default.clone()) {
        return Err(format!("{:?} runs at rest, and the default is {}", machine.running(), wanted.default));
    }
    if wanted.trial.is_some() {
        return Err(format!("a trial is armed at rest: {wanted:?}"));
    }
    if !journal.header.condemned.holds(&condemned()) {
        return Err("what was found bad long ago is forgotten".to_owned());
    }
    device.versions_agree()?;
    if journal.header.default.revision != wanted.default {
        return Err(format!("the journal's default is {:?}, the cell's {}", journal.header.default, wanted.default));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEW: Effort = Effort { seed: 3, every: 997 };

    fn violations(kind: Kind, planted: Planted, story: &str) -> u64 {
        stages(kind, planted, Story::named(story), FEW, "test").iter().map(|stage| stage.violations).sum()
    }

    #[test]
    fn every_story_comes_to_its_end_on_every_device_when_power_stays() {
        for kind in Kind::ALL {
            for story in STORIES.iter().filter(|story| story.on.contains(&kind)) {
                let counted = count(&Device::new(kind, Planted::Nothing, story), story);
                let (name, kind) = (story.name, kind.name());
                assert!(
                    counted.as_ref().is_ok_and(|(operations, _)| *operations > 10),
                    "{name} on {kind}: {counted:?}"
                );
            }
        }
    }

    #[test]
    fn a_good_update_survives_a_cut_at_each_operation_and_the_same_without_a_barrier_does_not() {
        assert_eq!(violations(Kind::Files, Planted::Nothing, "reboot-good"), 0);
        assert_ne!(violations(Kind::Files, Planted::NoBarrier, "reboot-good"), 0);
    }
}
