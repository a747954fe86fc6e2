//! A bootloader of which the device has two copies: which of them is read, written, made to boot.
//!
//! ```text
//!   Look ▸ Read active ─┬─ holds it ──────────────────────────────▶ Rest
//!                       └─ other bytes ▸ Read the other ─┬─ holds it ▸ Switch ▸ Look …
//!                               ▲                        └─ other bytes ▸ Write the other ┐
//!                               └──────────────────────────────────────────────────────────┘
//! ```
//!
//! Promises: the copy that boots is never written; the other one boots only after it was read back and held what is wanted;
//! orders end. Nothing is remembered from boot to boot, because nothing has to be: what the copies hold says what is left
//! to be done, so a power cut anywhere is an ordinary beginning.

use core::fmt;

use crate::ids::Digest;

/// How often a copy is written in one boot: once, and once more where it does not give back what was written.
pub const WRITES: u8 = 2;

/// How often the other copy is made to boot in one boot.
pub const SWITCHES: u8 = 2;

/// One of the two copies.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Twin {
    /// The first.
    First,
    /// The second.
    Second,
}

impl Twin {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

/// What is known of a copy: of its first bytes, as many as the wanted bootloader has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
enum Held {
    /// Nothing yet, or nothing any more.
    #[default]
    Unknown,
    /// The medium does not give them back.
    Unreadable,
    Bytes(Digest),
}

/// What is to be done next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Order {
    /// Ask which copy boots: [`Replacement::looked`].
    Look,
    /// Read a copy, as the medium gives it back: [`Replacement::read`].
    Read(Twin),
    /// Write the wanted bootloader to a copy, durably: [`Replacement::wrote`].
    Write(Twin),
    /// Make a copy the one that boots, durably: [`Replacement::switched`].
    Switch(Twin),
    /// Nothing: what boots is what is wanted.
    Rest,
    /// Nothing more in this boot. What boots is whole, and not what is wanted.
    GiveUp(Reason),
}

/// Why nothing more is done.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Reason {
    /// The wanted bootloader has no bytes.
    Empty,
    /// It has more bytes than a copy has room for.
    TooLarge,
    /// Which copy boots is not known, or it is neither.
    NoneBoots,
    /// The copy does not give back what was written to it.
    NotHeld(Twin),
    /// The copy does not become the one that boots.
    NotSwitched(Twin),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "it is empty",
            Self::TooLarge => "it is larger than a copy",
            Self::NoneBoots => "neither copy is known to boot",
            Self::NotHeld(_) => {
                "the copy that does not boot does not give it back; its flash may be worn out or locked"
            }
            Self::NotSwitched(_) => "the copy that holds it does not become the one that boots",
        })
    }
}

/// One bootloader on its way to be what boots, within one boot.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Replacement {
    wanted: Digest,
    length: u64,
    room: u64,
    active: Active,
    first: Held,
    second: Held,
    writes: u8,
    switches: u8,
}

/// Which copy boots.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Active {
    Unknown,
    Neither,
    Copy(Twin),
}

impl Replacement {
    /// What a committed revision brings, of so many bytes, and how many bytes the smaller of the two copies has room for.
    #[must_use]
    pub const fn new(wanted: Digest, length: u64, room: u64) -> Self {
        let (first, second) = (Held::Unknown, Held::Unknown);
        Self { wanted, length, room, active: Active::Unknown, first, second, writes: 0, switches: 0 }
    }

    /// Whether bytes of this number have a place in a copy at all.
    ///
    /// # Errors
    /// [`Reason::Empty`], [`Reason::TooLarge`]
    pub const fn fits(length: u64, room: u64) -> Result<(), Reason> {
        match length {
            0 => Err(Reason::Empty),
            _ if length > room => Err(Reason::TooLarge),
            _ => Ok(()),
        }
    }

    /// What is to be done next.
    #[must_use]
    pub fn next(&self) -> Order {
        if let Err(reason) = Self::fits(self.length, self.room) {
            return Order::GiveUp(reason);
        }
        let active = match self.active {
            Active::Unknown => return Order::Look,
            Active::Neither => return Order::GiveUp(Reason::NoneBoots),
            Active::Copy(active) => active,
        };
        let other = active.other();
        let wanted = Held::Bytes(self.wanted);
        match (self.held(active), self.held(other)) {
            (Held::Unknown, _) => Order::Read(active),
            (held, _) if held == wanted => Order::Rest,
            // An active copy that cannot be read has booted this device a moment ago, and may not do so much longer.
            (_, Held::Unknown) => Order::Read(other),
            (_, held) if held == wanted && self.switches < SWITCHES => Order::Switch(other),
            (_, held) if held == wanted => Order::GiveUp(Reason::NotSwitched(other)),
            _ if self.writes < WRITES => Order::Write(other),
            _ => Order::GiveUp(Reason::NotHeld(other)),
        }
    }

    /// Which copy boots; `None`: neither, or nobody can tell.
    pub fn looked(&mut self, active: Option<Twin>) {
        self.active = active.map_or(Active::Neither, Active::Copy);
    }

    /// What a copy holds; `None`: it could not be read.
    pub fn read(&mut self, copy: Twin, held: Option<Digest>) {
        *self.held_mut(copy) = held.map_or(Held::Unreadable, Held::Bytes);
    }

    /// A copy was written, or that was attempted: only reading it tells.
    pub fn wrote(&mut self, copy: Twin) {
        self.writes = self.writes.saturating_add(1);
        *self.held_mut(copy) = Held::Unknown;
    }

    /// Another copy was made to boot, or that was attempted: only looking tells.
    pub fn switched(&mut self) {
        self.switches = self.switches.saturating_add(1);
        self.active = Active::Unknown;
    }

    const fn held(&self, copy: Twin) -> Held {
        match copy {
            Twin::First => self.first,
            Twin::Second => self.second,
        }
    }

    const fn held_mut(&mut self, copy: Twin) -> &mut Held {
        match copy {
            Twin::First => &mut self.first,
            Twin::Second => &mut self.second,
        }
    }
}

#[cfg(test)]
mod tests;
