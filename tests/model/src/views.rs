//! Which explorations there are. Each is complete within its setting: no world is cut off.
//!
//! All kinds of luck together with three proposals and the bounds of the field would be far more worlds than fit into
//! a machine, so the settings divide what they multiply: one takes every kind of fault, one stacks proposals, one uses
//! the real bounds. What interacts is together in at least one of them.

use statemachine::boot::TrialKind;
use statemachine::limits::Limits;

use crate::world::Setting;

/// An exploration.
pub(crate) struct View {
    pub(crate) name: &'static str,
    #[expect(dead_code, reason = "read by people")]
    about: &'static str,
    /// Run only with `--deep`: minutes, and gigabytes.
    pub(crate) deep: bool,
    /// Small enough for the inner loop and for planted faults.
    pub(crate) fast: bool,
    setting: Setting,
}

/// Two attempts and one refund: the smallest numbers at which every rule about a bound can still go wrong.
const SMALL: Limits =
    Limits { attempts: 2, ceiling: 3, chain: 1, marks: 1, flaps: 1, delays: 1, in_place: 2, policy_reboots: 1 };

/// Without refunds: what they interact with is seen in the others.
const STACKED: Limits = Limits { ceiling: 2, flaps: 0, delays: 0, policy_reboots: 0, ..SMALL };

/// One attempt each.
const SINGLE: Limits = Limits { attempts: 1, ceiling: 1, in_place: 1, ..STACKED };

const PLAIN: Setting = Setting {
    kind: TrialKind::Counted,
    limits: SMALL,
    proposals: 1,
    rot: 0,
    errors: false,
    orders: false,
    fine: false,
};

/// All explorations, the shorter ones first, as far as they are not deep.
pub(crate) const VIEWS: &[View] = &[
    View {
        name: "one-with-errors",
        about: "one proposal, errors of durable writes, orders of people and policies",
        deep: false,
        fast: true,
        setting: Setting { errors: true, orders: true, ..PLAIN },
    },
    View {
        name: "two-stacked",
        about: "two proposals over three revisions, one attempt each",
        deep: false,
        fast: true,
        setting: Setting { limits: SINGLE, proposals: 2, ..PLAIN },
    },
    View {
        name: "two-with-errors",
        about: "two proposals over three revisions, two attempts each, errors of durable writes",
        deep: false,
        fast: false,
        setting: Setting { limits: STACKED, proposals: 2, errors: true, ..PLAIN },
    },
    View {
        name: "three-stacked",
        about: "three proposals over three revisions, one attempt each",
        deep: false,
        fast: false,
        setting: Setting { limits: SINGLE, proposals: 3, ..PLAIN },
    },
    View {
        name: "every-fault",
        about: "one proposal, every step of it, errors, orders, and one unreadable cell, note or journal",
        deep: false,
        fast: false,
        setting: Setting { rot: 1, errors: true, orders: true, fine: true, ..PLAIN },
    },
    View {
        name: "three-stacked-twice-tried",
        about: "three proposals over three revisions, two attempts each",
        deep: true,
        fast: false,
        setting: Setting { limits: STACKED, proposals: 3, ..PLAIN },
    },
    View {
        name: "field-bounds",
        about: "one proposal, the bounds of the field",
        deep: false,
        fast: false,
        setting: Setting { limits: Limits::FIELD, ..PLAIN },
    },
];

/// The kinds of firmware by name.
pub(crate) const KINDS: [(&str, TrialKind); 3] =
    [("counted", TrialKind::Counted), ("one-shot", TrialKind::OneShot), ("toggling", TrialKind::Toggling)];

impl View {
    /// The setting for one kind of firmware.
    pub(crate) fn setting(&self, kind: TrialKind) -> Setting {
        Setting { kind, ..self.setting }
    }

    /// The view of this name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        VIEWS.iter().find(|view| view.name == name)
    }
}

/// The name of a kind of firmware.
pub(crate) fn kind_name(kind: TrialKind) -> &'static str {
    KINDS.iter().find(|(_, candidate)| *candidate == kind).map_or("", |(name, _)| name)
}
