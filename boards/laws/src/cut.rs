//! Power cut at every operation of a store, at every byte of the sector in work: old or new, never a third.
//!
//! ```text
//!   count    store with power for ever         how many operations has it?
//!   cut      n whole operations, one torn      what does a bootloader read now? and Linux, after its mount?
//!   again    the next store, cut as well       nothing older than what was read in between
//! ```
//!
//! How an operation may be torn is what the board [rests](boards_api::board::Rests) on.

use boards_api::Board;
use boards_api::board::Rests;
use boards_api::media::SECTOR;
use sim::{Fuel, Tear};
use statemachine::boot::Wanted;

use crate::Verdict;
use crate::media::Device;
use crate::store::{is, stored};
use crate::values::{is_of_others, life, made, noted};

/// Where power goes, in words and as fuel.
#[derive(Clone, Copy, Debug)]
struct Cut {
    operation: u64,
    tear: Tear,
}

impl Cut {
    fn fuel(self) -> Fuel {
        Fuel::limited(self.operation, self.tear, self.operation)
    }
}

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { operation, tear } = self;
        match tear {
            Tear::Old => write!(f, "before operation {operation}"),
            Tear::New => write!(f, "behind operation {operation}"),
            Tear::Half => write!(f, "half-way in operation {operation}"),
            Tear::At(byte) => write!(f, "in operation {operation}, at byte {byte} of its sector"),
            Tear::Zeros => write!(f, "in operation {operation}, whose sector is zeros"),
            Tear::Garbage => write!(f, "in operation {operation}, whose sector is garbage"),
        }
    }
}

/// Every cut of a store with so many operations.
fn cuts(operations: u64, tears: &[Tear]) -> impl Iterator<Item = Cut> + '_ {
    (0..operations).flat_map(move |operation| tears.iter().map(move |tear| Cut { operation, tear: *tear }))
}

/// How the medium that the board rests on may leave a sector.
fn promised<B: Board>(bytes: bool) -> Vec<Tear> {
    match B::RESTS {
        Rests::OnWholeSectors => Tear::ATOMIC.to_vec(),
        Rests::OnNothing if bytes => torn(),
        Rests::OnNothing => Tear::ALL.to_vec(),
    }
}

/// Every way to leave a sector that the simulation knows.
fn torn() -> Vec<Tear> {
    let bytes = (1..SECTOR).filter_map(|byte| u16::try_from(byte).ok());
    Tear::ALL.into_iter().chain(bytes.map(Tear::At)).collect()
}

/// How many operations a store of `new` takes on this device.
fn operations<B: Board>(device: &Device, new: &Wanted) -> Result<u64, String> {
    let (device, fuel) = (device.copy(), Fuel::unlimited());
    device.power_on(&fuel);
    device.mount();
    let before = fuel.spent();
    stored::<B>(&device, new)?;
    match fuel.spent() - before {
        0 => Err(format!("storing {new:?} wrote nothing")),
        operations => Ok(operations),
    }
}

/// A copy of the device after a store that was cut.
fn after<B: Board>(device: &Device, new: &Wanted, cut: Cut) -> Result<Device, String> {
    let device = device.copy();
    device.power_on(&Fuel::unlimited());
    device.mount();
    device.power_on(&cut.fuel());
    match device.store::<B>(new) {
        Ok(()) => Err(format!("cut {cut}, storing {new:?} still returned Ok")),
        Err(_) => Ok(device),
    }
}

/// The device of the cut before. A cut one byte later leaves the same where the old value and the new one agree.
#[derive(Default)]
struct Known(Option<Device>);

impl Known {
    /// Whether this one has been judged.
    fn is_again(&mut self, device: &Device) -> bool {
        let again = self.0.as_ref().is_some_and(|known| known.holds_the_same(device));
        self.0 = Some(device.copy());
        again
    }
}

/// What is read must be one of these.
fn one_of<B: Board>(device: &Device, allowed: [&Wanted; 2], who: &str, cut: &str) -> Result<Wanted, String> {
    let [old, new] = allowed;
    match device.load::<B>()?.0 {
        Ok(read) if read == *old || read == *new => Ok(read),
        Ok(read) => Err(format!("{cut}, storing {new:?} over {old:?}: {who} reads {read:?}")),
        Err(error) => Err(format!("{cut}, storing {new:?} over {old:?}: {who} reads nothing: {error}")),
    }
}

/// On the medium that the board names.
///
/// # Errors
/// The law is broken.
pub fn a_cut_store_leaves_the_old_value_or_the_new_one<B: Board>() -> Verdict {
    let (life, tears) = (life::<B>(), promised::<B>(true));
    for (old, new) in life.iter().zip(&life[1..]) {
        let (device, _) = made::<B>(old, noted(old))?;
        let mut known = Known::default();
        for cut in cuts(operations::<B>(&device, new)?, &tears) {
            let device = after::<B>(&device, new, cut)?;
            if known.is_again(&device) {
                continue;
            }
            one_of::<B>(&device.unreplayed(), [old, new], "a bootloader", &format!("cut {cut}"))?;
            device.power_on(&Fuel::unlimited());
            device.mount();
            one_of::<B>(&device, [old, new], "Linux", &format!("cut {cut}"))?;
        }
    }
    Ok(())
}

/// On any medium: what is torn is an error, and the next store puts it right. In a file that others write too, where their
/// words have no checksum, it may also read as theirs: as the firmware reads it.
///
/// # Errors
/// The law is broken.
pub fn a_torn_sector_never_gives_a_third_value<B: Board>() -> Verdict {
    let (life, tears) = (life::<B>(), torn());
    for ((old, new), next) in life.iter().zip(&life[1..]).zip(life[2..].iter().chain(&life)) {
        let (device, _) = made::<B>(old, noted(old))?;
        let mut known = Known::default();
        for cut in cuts(operations::<B>(&device, new)?, &tears) {
            let device = after::<B>(&device, new, cut)?;
            if known.is_again(&device) {
                continue;
            }
            let seen = device.unreplayed().load::<B>()?.0;
            if seen.is_ok_and(|seen| !is_of_others::<B>(&seen)) {
                one_of::<B>(&device.unreplayed(), [old, new], "a bootloader", &format!("cut {cut}"))?;
            }
            device.power_on(&Fuel::unlimited());
            device.mount();
            stored::<B>(&device, next).map_err(|what| format!("after a store that was cut {cut}, {what}"))?;
            is::<B>(&device.unreplayed(), next, &format!("after a store that was cut {cut}, and a whole one"))?;
        }
    }
    Ok(())
}

/// Two cuts in a row never show what was there before the value that was read in between.
///
/// # Errors
/// The law is broken.
pub fn a_second_cut_uncovers_nothing_older<B: Board>() -> Verdict {
    let (life, tears) = (life::<B>(), promised::<B>(false));
    for three in life.windows(3) {
        let [old, new, next] = three else { continue };
        let (device, _) = made::<B>(old, noted(old))?;
        for first in cuts(operations::<B>(&device, new)?, &tears) {
            let device = after::<B>(&device, new, first)?;
            device.power_on(&Fuel::unlimited());
            device.mount();
            let seen = one_of::<B>(&device, [old, new], "Linux", &format!("cut {first}"))?;
            for second in cuts(operations::<B>(&device, next)?, &tears) {
                let device = after::<B>(&device, next, second)?;
                let cuts = format!("cut {first} when {new:?} was stored over {old:?}, and then cut {second}");
                one_of::<B>(&device.unreplayed(), [&seen, next], "a bootloader", &cuts)?;
            }
        }
    }
    Ok(())
}
