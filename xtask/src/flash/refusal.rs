//! Why a disk is not flashed. One list of rules, over what the machine says and nothing else.

use std::fmt;

use super::machine::{Kind, Target, Use};

/// Where a system lies, besides the root itself.
const SYSTEM: &[&str] = &["/boot", "/etc", "/home", "/nix", "/opt", "/root", "/srv", "/usr", "/var"];

/// A reason.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// A partition cannot take a partition table.
    Partition { name: String, disk: String },
    /// The image does not fit.
    TooSmall { has: u64, needs: u64 },
    /// It cannot be written.
    ReadOnly,
    /// This machine runs from it.
    System { what: Use },
    /// Somebody uses it.
    InUse { what: Use },
    /// It is built in.
    NotRemovable,
}

impl Refusal {
    /// Whether naming the device helps. Against what cannot work, nothing does.
    pub(super) fn can_be_forced(&self) -> bool {
        matches!(self, Self::System { .. } | Self::InUse { .. } | Self::NotRemovable)
    }

    /// A word for machines.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Partition { .. } => "partition",
            Self::TooSmall { .. } => "too-small",
            Self::ReadOnly => "read-only",
            Self::System { .. } => "system",
            Self::InUse { .. } => "in-use",
            Self::NotRemovable => "not-removable",
        }
    }
}

/// Everything that speaks against writing `needs` bytes to this disk.
pub(super) fn refusals(target: &Target, needs: u64) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    if let Kind::Partition(disk) = &target.kind {
        refusals.push(Refusal::Partition { name: target.name.clone(), disk: disk.clone() });
    }
    if target.read_only {
        refusals.push(Refusal::ReadOnly);
    }
    // An empty file becomes as large as it has to.
    let grows = target.kind == Kind::File && target.bytes == 0;
    if target.bytes < needs && !grows {
        refusals.push(Refusal::TooSmall { has: target.bytes, needs });
    }
    for what in &target.uses {
        let is_system = match what {
            Use::Swap { .. } => true,
            Use::Mounted { at, .. } => {
                at == "/" || SYSTEM.iter().any(|place| at.strip_prefix(place).is_some_and(is_path_end))
            }
            Use::Held { .. } => false,
        };
        let what = what.clone();
        refusals.push(if is_system { Refusal::System { what } } else { Refusal::InUse { what } });
    }
    if !target.removable {
        refusals.push(Refusal::NotRemovable);
    }
    refusals
}

fn is_path_end(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with('/')
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partition { name, disk } => {
                write!(f, "{name} is a partition; an image is a whole disk: give /dev/{disk}")
            }
            Self::TooSmall { has, needs } => write!(f, "it has {has} bytes, and the image needs {needs}"),
            Self::ReadOnly => f.write_str("it is read-only; look for the switch on the card"),
            Self::System { what } => write!(f, "this machine runs from it: {what}"),
            Self::InUse { what: what @ Use::Mounted { at, .. } } => write!(f, "{what}; try `umount {at}`"),
            Self::InUse { what } => write!(f, "it is in use: {what}"),
            Self::NotRemovable => f.write_str("it is built in: neither a card nor on USB"),
        }
    }
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mounted { device, at } => write!(f, "{device} is mounted at {at}"),
            Self::Swap { device } => write!(f, "{device} is swapped to"),
            Self::Held { by } => write!(f, "{by} lies on it"),
        }
    }
}
