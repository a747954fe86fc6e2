//! The two passes for anything that holds one value: count, cut at each operation, cut again in the recovery.
//!
//! ```text
//!   put 1, 2, … n      power goes at operation i          reader: last acknowledged, or the one in flight
//!   recover            power goes at operation j          reader: the same two, and never back to the older
//!   recover            to the end                         reader: the same
//!   put the next       to the end                         reader: the next
//! ```

use sim::{Fuel, Tear};

use crate::Effort;
use crate::report::{Expect, Stage};

/// A place for one value, on media that lose power.
pub(crate) trait Place: Clone {
    /// Power is back, for as long as this fuel lasts.
    fn power_on(&mut self, fuel: &Fuel);
    /// What a boot does before anything else: mount, scrub. `Err`: power has gone, or something else is wrong.
    fn recover(&mut self) -> Result<(), String>;
    /// Replaces the value.
    fn put(&mut self, value: u32) -> Result<(), String>;
    /// Reads as whoever reads first after power-on, with no recovery. Zero is what the place was made with.
    fn get(&self) -> Result<u32, String>;
}

/// Cuts `puts` replacements everywhere.
pub(crate) fn cut_everywhere<P: Place>(
    name: &str,
    expect: Expect,
    tears: &[Tear],
    puts: u32,
    effort: Effort,
    make: impl Fn(u64) -> P,
) -> Stage {
    let mut stage = Stage::new(name, expect);
    let fuel = Fuel::unlimited();
    let mut place = make(effort.seed);
    place.power_on(&fuel);
    // A place that cannot even do this without a cut has nothing to lose; its row says so as a violation.
    if let Err(why) = (1..=puts).try_for_each(|value| place.put(value)) {
        stage.note(Err(format!("  without any cut a put failed: {why}")));
        return stage;
    }
    stage.points = fuel.spent();
    for tear in tears {
        for cut in 0..stage.points {
            let mut place = make(effort.seed);
            place.power_on(&Fuel::limited(cut, *tear, effort.seed));
            let done = (1..=puts).take_while(|value| place.put(*value).is_ok()).last().unwrap_or(0);
            let first = format!("  put {} was cut at operation {cut}, {tear:?}", done + 1);
            recover_everywhere(&mut stage, &place, done, &first, *tear, cut, effort);
        }
    }
    stage
}

fn recover_everywhere<P: Place>(
    stage: &mut Stage,
    place: &P,
    done: u32,
    first: &str,
    tear: Tear,
    cut: u64,
    effort: Effort,
) {
    let fuel = Fuel::unlimited();
    stage.note(settle(place.clone(), [done, done + 1], &fuel).map_err(|why| format!("{first}\n  {why}")));
    for second in (cut % effort.every..fuel.spent()).step_by(usize::try_from(effort.every).unwrap_or(1)) {
        let mut place = place.clone();
        place.power_on(&Fuel::limited(second, tear, effort.seed ^ 0xCAFE));
        // What was seen once is never taken back.
        let seen = place.get().unwrap_or(done);
        let allowed = match place.recover().and_then(|()| place.get()) {
            // Not the recovery is cut, but the put that follows it.
            Ok(value) => {
                let _cut = place.put(value + 100);
                [value, value + 100]
            }
            Err(_) => [seen, done + 1],
        };
        let found = settle(place, allowed, &Fuel::unlimited());
        stage.note(found.map_err(|why| format!("{first}\n  after it, operation {second} was cut too\n  {why}")));
    }
}

/// One of the two now, one of the two after recovery, and the next value after the next put.
fn settle<P: Place>(mut place: P, allowed: [u32; 2], fuel: &Fuel) -> Result<(), String> {
    place.power_on(fuel);
    let old_or_new = |place: &P, when: &str| match place.get() {
        Ok(value) if allowed.contains(&value) => Ok(value),
        Ok(value) => Err(format!("{when} it holds {value}, and not one of {allowed:?}")),
        Err(why) => Err(format!("{when} it holds none of {allowed:?}: {why}")),
    };
    old_or_new(&place, "at power-on")?;
    place.recover().map_err(|why| format!("recovery failed: {why}"))?;
    let before = old_or_new(&place, "after recovery")?;
    let next = before + 100;
    place.put(next).map_err(|why| format!("the next put failed: {why}"))?;
    match place.get() {
        Ok(value) if value == next => Ok(()),
        other => Err(format!("put {next} was acknowledged, and {other:?} is read")),
    }
}
