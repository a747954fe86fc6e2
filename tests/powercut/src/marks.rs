//! Boots that end with a mark: PID 1 dies, power stays, and the boot after hears of it.
//!
//! ```text
//!   script, PID 1 dies at i      then: boots, to rest        the same two promises as after a cut
//!   script, PID 1 dies at i      then it dies at j, or power goes there
//!   every boot of 1 dies at i    until the firmware's list or the journal's count gives 1 up; 0 comes to rest
//! ```
//!
//! What the page cache held is lost as in a power cut, but no sector is torn. Beyond the rules of a cut: a boot that
//! left a mark is never given back to a trial.

use std::collections::VecDeque;

use sim::{Fuel, Tear};
use statemachine::boot::TrialKind;

use crate::Effort;
use crate::device::{Device, Kind, Planted};
use crate::places::numbered;
use crate::report::{Expect, Report, Stage};
use crate::stories::Story;
use crate::updates::{Ending, count, end_at, settled};
use crate::world::{End, Script, Trace, boot};

/// What is played: one device of each kind of firmware, and the slots.
const PLAYED: [(Kind, &str); 9] = [
    (Kind::Grub, "reboot-good"),
    (Kind::Grub, "reboot-bad"),
    (Kind::Grub, "in-place-proven"),
    (Kind::Slots, "two-commits"),
    (Kind::Reference, "reboot-good"),
    (Kind::Reference, "reboot-bad"),
    (Kind::OneShot, "reboot-good"),
    (Kind::OneShot, "reboot-bad"),
    (Kind::Files, "undo-by-order"),
];

/// Boots after which a default that keeps dying must have been left behind: six that leave a mark in the journal, three
/// of the list in case they die before that, and some of what comes after.
const BOOTS: usize = 14;

pub(crate) fn run(effort: Effort, report: &mut Report) {
    for (kind, story) in PLAYED {
        let name = format!("marks/{}/{story}", kind.name());
        if report.wants(&name) {
            report.add(row(&name, kind, Planted::Nothing, Story::named(story), effort));
        }
    }
    for kind in Kind::ALL.into_iter().filter(|kind| kind.trial() == TrialKind::Counted) {
        let name = format!("marks/{}/default-dies", kind.name());
        if report.wants(&name) {
            report.add(default_dies(&name, kind, Planted::Nothing, effort));
        }
    }
}

/// One story on one device, with PID 1 dying at each operation.
pub(crate) fn row(name: &str, kind: Kind, planted: Planted, story: &Story, effort: Effort) -> Stage {
    let mut row = Stage::new(name, Expect::Clean);
    let made = Device::new(kind, planted, story);
    match count(&made, story) {
        Ok((operations, _)) => {
            row.points = operations;
            for (cut, tear) in (0..operations).flat_map(|cut| Tear::ATOMIC.map(|tear| (cut, tear))) {
                end_at(&mut row, &made, story, cut, tear, Ending::Mark, effort);
            }
        }
        Err(why) => row.note(Err(why)),
    }
    row
}

/// A default that dies at the same operation of each of its boots, or as soon as it is at rest.
pub(crate) fn default_dies(name: &str, kind: Kind, planted: Planted, effort: Effort) -> Stage {
    let mut row = Stage::new(name, Expect::Clean);
    let made = Device::new(kind, planted, Story::named("reboot-good"));
    let mut operation = 0;
    loop {
        let mut survived = false;
        for tear in Tear::ATOMIC {
            let mut trace = Trace::default();
            let found = keeps_dying(made.clone(), operation, tear, effort, &mut trace);
            survived |= found.as_ref().is_ok_and(|survived| *survived);
            let head = format!("  each boot of 1 dies at its operation {operation}, {tear:?}");
            row.note(found.map(drop).map_err(|why| format!("{head}: {why}\n{}", trace.lines.join("\n"))));
        }
        row.points += 1;
        operation += 1;
        // From here on it dies at rest, every time.
        if survived || row.violations > 0 {
            return row;
        }
    }
}

/// Whether the default has come to rest in all of its boots before it died.
fn keeps_dying(mut device: Device, at: u64, tear: Tear, effort: Effort, trace: &mut Trace) -> Result<bool, String> {
    let mut survived = true;
    for _ in 0..BOOTS {
        device.power_on(&Fuel::unlimited());
        trace.stage(0, "firmware");
        let revision = device.firmware()?.ok_or("power has gone, and nobody cut it")?;
        trace.lines.push(format!("        boots {revision}"));
        let dies = revision == numbered(1);
        device.power_on(&if dies { Fuel::limited(at, tear, effort.seed) } else { Fuel::unlimited() });
        let mut quiet = Script { facts: VecDeque::new(), bad: None };
        match boot(&mut device, revision, &mut quiet, trace)? {
            // It has been given up by the count of its journal.
            (End::Reboot { .. }, _) => device.unmount()?,
            (end, machine) if !dies => {
                settled(&mut device, &machine, &end, Story::named("reboot-good"), &[0])?;
                return Ok(survived);
            }
            (end, _) => {
                survived &= end == End::Rest;
                device.marked = true;
            }
        }
    }
    Err(format!("it is not given up after {BOOTS} boots"))
}
