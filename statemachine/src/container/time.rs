//! Time as an argument: milliseconds since boot, and spans of them.
//!
//! Nothing here reads a clock. All arithmetic saturates: a time that does not fit is "never", not the past.

use serde::{Deserialize, Serialize};

/// Milliseconds since boot, from a clock that also counts while the device is suspended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Time(pub u64);

/// A length of time in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Span(pub u64);

impl Time {
    /// This time and a span.
    #[must_use]
    pub fn after(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// How long this time is still away; zero when it has come.
    #[must_use]
    pub fn until(self, now: Self) -> Span {
        Span(self.0.saturating_sub(now.0))
    }
}

impl Span {
    /// No time at all. In policies it mostly means "not wanted".
    pub const ZERO: Self = Self(0);

    /// A span of whole seconds, the unit of every manifest.
    #[must_use]
    pub const fn seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000))
    }

    /// Whether it is no time at all.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}
