//! What a revision fits: `"compatible": ["BOARD/LINE", …]` in `device.json`.
//!
//! BOARD is a board of this system, LINE the product line of whoever makes the device. `device.json` is signed together
//! with the base, so a signed revision states what it was made for; one that was signed for another product is refused
//! at receipt, at staging, and by the tool before it is sent. Names are compared whole; there is no pattern, because a
//! list is short and a pattern fits more than was meant.
//!
//! A state without the member states nothing. States of other tools are like that, so what it means is the device's
//! configuration: [`Unstated`].
//!
//! API: [`Fit::parse`], [`check`].

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// The longest name of a board or line in bytes.
pub const NAME_MAX: usize = 64;

/// One product that a revision fits, or the product that a device is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fit {
    board: String,
    line: String,
}

/// What it means that a revision states nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Unstated {
    /// It is refused.
    #[default]
    Refuse,
    /// It is taken to fit, as states of other tools must be.
    Accept,
}

/// A revision that is for something else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Misfit {
    /// It states nothing, and that is refused here.
    Unstated,
    /// It states other products.
    Others {
        /// What the device is.
        device: Fit,
        /// What the revision fits.
        fits: Vec<Fit>,
    },
}

impl Fit {
    /// Reads `BOARD/LINE`: two names of letters, digits, `-`, `_`, `.`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (board, line) = text.split_once('/')?;
        let is_name = |name: &str| {
            (1..=NAME_MAX).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        (is_name(board) && is_name(line)).then(|| Self { board: board.into(), line: line.into() })
    }

    /// The board.
    #[must_use]
    pub fn board(&self) -> &str {
        &self.board
    }

    /// The product line.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.line
    }
}

/// Whether a revision fits a device. `stated` is `None` where the revision states nothing; an empty list fits nothing.
///
/// # Errors
/// [`Misfit`] says what it is for.
pub fn check(stated: Option<&[Fit]>, device: &Fit, unstated: Unstated) -> Result<(), Misfit> {
    match stated {
        None if unstated == Unstated::Accept => Ok(()),
        None => Err(Misfit::Unstated),
        Some(fits) if fits.contains(device) => Ok(()),
        Some(fits) => Err(Misfit::Others { device: device.clone(), fits: fits.to_vec() }),
    }
}

impl fmt::Display for Fit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.board, self.line)
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unstated => {
                f.write_str("the revision does not state what it fits; add `compatible` to its device.json")
            }
            Self::Others { device, fits } => {
                write!(f, "this device is {device}, and the revision is made for ")?;
                if fits.is_empty() {
                    return f.write_str("nothing");
                }
                for (index, fit) in fits.iter().enumerate() {
                    write!(f, "{}{fit}", if index > 0 { ", " } else { "" })?;
                }
                Ok(())
            }
        }
    }
}

impl core::error::Error for Misfit {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn fit(text: &str) -> Fit {
        Fit::parse(text).unwrap()
    }

    #[test]
    fn a_revision_for_another_product_is_refused_by_name() {
        let device = fit("rpi4/kiosk");
        let stated = [fit("rpi4/gateway"), fit("rpi5/kiosk")];
        let error = check(Some(&stated), &device, Unstated::Accept).unwrap_err();
        assert_eq!(
            error.to_string(),
            "this device is rpi4/kiosk, and the revision is made for rpi4/gateway, rpi5/kiosk"
        );
        assert_eq!(check(Some(core::slice::from_ref(&device)), &device, Unstated::Refuse), Ok(()));
        assert!(check(Some(&[]), &device, Unstated::Accept).is_err());
    }

    #[test]
    fn a_revision_that_states_nothing_fits_only_where_that_is_allowed() {
        let device = fit("rpi4/kiosk");
        assert_eq!(check(None, &device, Unstated::default()), Err(Misfit::Unstated));
        assert_eq!(check(None, &device, Unstated::Accept), Ok(()));
    }

    #[test]
    fn a_fit_is_two_plain_names() {
        for bad in ["rpi4", "rpi4/", "/kiosk", "rpi4/kiosk/x", "rpi4/*", "a b/c", "", "ä/b"] {
            assert_eq!(Fit::parse(bad), None, "{bad}");
        }
    }
}
