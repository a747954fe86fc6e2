//! How often is often enough: every bound of the machine in one place.
//!
//! Devices run with [`Limits::FIELD`]. The model explores smaller numbers too, because every bound multiplies the
//! worlds; no rule depends on a bound's size, only on its being finite.

use serde::{Deserialize, Serialize};

use crate::boot::{CHAIN_TRIES, TRIAL_ATTEMPTS, TRIAL_ATTEMPTS_CEILING};

/// Bounds of attempts, tries and ends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Limits {
    /// Boots of a trial, and of a proving boot.
    pub attempts: u8,
    /// What refunds can raise the boots of a trial to.
    pub ceiling: u8,
    /// Boots that the firmware grants each later entry of its list.
    pub chain: u8,
    /// Short ends with a mark, in a row, before apps stay down; as many again before the default is given up.
    pub marks: u8,
    /// Short ends without a mark before apps wait; and the ends that a proving boot is forgiven.
    pub flaps: u8,
    /// Steps by which that wait grows: it doubles from a minute, and stays at an hour.
    pub delays: u8,
    /// Trials in place of one content that the device may die in.
    pub in_place: u8,
    /// Reboots that a policy may order for one cause and committed revision.
    pub policy_reboots: u8,
}

impl Limits {
    /// What devices run with.
    pub const FIELD: Self = Self {
        attempts: TRIAL_ATTEMPTS,
        ceiling: TRIAL_ATTEMPTS_CEILING,
        chain: CHAIN_TRIES,
        marks: 3,
        flaps: 8,
        delays: 6,
        in_place: 3,
        policy_reboots: 3,
    };
}
