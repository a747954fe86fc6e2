//! Sizes on a command line: `4096`, `16K`, `256M`, `1G`.

use std::str::FromStr;

/// Bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Size(pub(crate) u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, shift) = match text.as_bytes().last() {
            Some(b'K') => (text.trim_end_matches('K'), 10),
            Some(b'M') => (text.trim_end_matches('M'), 20),
            Some(b'G') => (text.trim_end_matches('G'), 30),
            _ => (text, 0),
        };
        let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
        bytes.map(Self).ok_or_else(|| format!("{text:?} is no size: expected bytes, or a number with K, M or G"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_multiplies_and_nonsense_is_refused() {
        assert_eq!("256M".parse(), Ok(Size(256 << 20)));
        assert_eq!("512".parse(), Ok(Size(512)));
        for wrong in ["", "M", "1KK ", "-1", "1T", "99999999999999G"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
    }
}
