//! Numbers as exact decimals. No float is involved, so no digit is ever lost.
//!
//! Canonical form: an integral value is written with plain digits (`1e3` → `1000`, `-0` → `0`); any other value as
//! `d.d…E±n` with at least one digit after the point, no `+` and no trailing zeros (`0.1` → `1.0E-1`).

use alloc::string::String;
use core::fmt;

/// The longest spelling of a number. A double has at most 309 digits before the point; more is an attack on memory.
pub(super) const TEXT_MAX: usize = 400;

/// The largest exponent in either direction; a double ends at 308.
pub(super) const EXPONENT_MAX: i32 = 400;

/// A JSON number in the spelling it was read or built with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Number(String);

impl Number {
    /// Takes the spelling of a number; `None` when it is not one or has more than 400
    /// characters or an exponent beyond ±400.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Decimal::parse(text).map(|_| Self(text.into()))
    }

    /// The spelling.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The canonical spelling.
    #[must_use]
    pub fn canonical(&self) -> String {
        // The text was checked when the number was made.
        Decimal::parse(&self.0).map_or_else(|| self.0.clone(), |decimal| decimal.canonical())
    }
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Self(alloc::format!("{value}"))
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Self(alloc::format!("{value}"))
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `±digits × 10^exponent`, digits without leading or trailing zeros; zero has no digits.
pub(super) struct Decimal {
    negative: bool,
    digits: String,
    exponent: i32,
}

impl Decimal {
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() > TEXT_MAX {
            return None;
        }
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, power) = match rest.find(['e', 'E']) {
            Some(at) => (rest.get(..at)?, power_of(rest.get(at + 1..)?)?),
            None => (rest, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
            Some(_) => return None,
            None => (mantissa, ""),
        };
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty()
            || (whole.len() > 1 && whole.starts_with('0'))
            || !all_digits(whole)
            || !all_digits(fraction)
        {
            return None;
        }
        let mut digits = String::from(whole);
        digits.push_str(fraction);
        let significant = digits.trim_start_matches('0').trim_end_matches('0');
        let zeros = digits.len() - digits.trim_end_matches('0').len();
        let exponent = power - i32::try_from(fraction.len()).ok()? + i32::try_from(zeros).ok()?;
        Some(Self { negative, digits: significant.into(), exponent })
    }

    fn canonical(&self) -> String {
        let mut out = String::new();
        let Some((first, rest)) = self.digits.split_at_checked(1) else {
            return "0".into();
        };
        if self.negative {
            out.push('-');
        }
        if let Ok(zeros) = usize::try_from(self.exponent) {
            out.push_str(&self.digits);
            out.extend(core::iter::repeat_n('0', zeros));
            return out;
        }
        out.push_str(first);
        out.push('.');
        out.push_str(if rest.is_empty() { "0" } else { rest });
        // At most TEXT_MAX digits, so the length fits.
        let power = self.exponent + i32::try_from(rest.len()).unwrap_or(0);
        out.push_str(&alloc::format!("E{power}"));
        out
    }

    /// The value when it is a non-negative integer that fits.
    pub(super) fn as_u64(&self) -> Option<u64> {
        if self.digits.is_empty() {
            return Some(0);
        }
        let power = u32::try_from(self.exponent).ok()?;
        let digits: u64 = self.digits.parse().ok()?;
        if self.negative { None } else { digits.checked_mul(10_u64.checked_pow(power)?) }
    }

    /// The value in thousandths, rounded down, when it is not negative and fits.
    pub(super) fn as_thousandths(&self) -> Option<u64> {
        if self.negative && !self.digits.is_empty() {
            return None;
        }
        let exponent = self.exponent + 3;
        if let Ok(power) = u32::try_from(exponent) {
            return if self.digits.is_empty() {
                Some(0)
            } else {
                self.digits.parse::<u64>().ok()?.checked_mul(10_u64.checked_pow(power)?)
            };
        }
        let dropped = usize::try_from(-exponent).ok()?;
        let kept = self.digits.len().saturating_sub(dropped);
        let digits = self.digits.get(..kept)?;
        if digits.is_empty() { Some(0) } else { digits.parse().ok() }
    }
}

/// The part after `e`: an optional sign and digits.
fn power_of(text: &str) -> Option<i32> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let power: i32 = digits.parse().ok()?;
    if power > EXPONENT_MAX {
        return None;
    }
    Some(if negative { -power } else { power })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        Number::parse(text).unwrap().canonical()
    }

    #[test]
    fn an_integral_value_is_written_with_plain_digits() {
        for (read, written) in [
            ("0", "0"),
            ("-0", "0"),
            ("-0.0e5", "0"),
            ("1e3", "1000"),
            ("1E+3", "1000"),
            ("100.0", "100"),
            ("-12.30e2", "-1230"),
            ("1e21", "1000000000000000000000"),
            ("12345678901234567890", "12345678901234567890"),
        ] {
            assert_eq!(canonical(read), written, "{read}");
        }
    }

    #[test]
    fn any_other_value_has_one_digit_before_the_point_and_a_capital_e() {
        for (read, written) in [
            ("1.5", "1.5E0"),
            ("1.50", "1.5E0"),
            ("0.1", "1.0E-1"),
            ("1e-6", "1.0E-6"),
            ("-123.456", "-1.23456E2"),
            ("0.00120", "1.2E-3"),
        ] {
            assert_eq!(canonical(read), written, "{read}");
        }
    }

    #[test]
    fn what_json_does_not_call_a_number_is_refused() {
        for text in ["", "-", "+1", "01", "-01", ".5", "1.", "1e", "1e+", "1.e1", "0x1", "1 ", "NaN", "1e1.0", "١"] {
            assert_eq!(Number::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_number_cannot_be_made_to_expand_into_gigabytes() {
        assert_eq!(Number::parse("1e401"), None);
        assert_eq!(Number::parse("1e99999999999999999999"), None);
        assert_eq!(Number::parse(&"1".repeat(TEXT_MAX + 1)), None);
        assert_eq!(canonical("1e400").len(), 401);
    }

    #[test]
    fn integers_are_exact_up_to_the_last_bit() {
        let number = |text: &str| Decimal::parse(text).unwrap().as_u64();
        assert_eq!(number("18446744073709551615"), Some(u64::MAX));
        assert_eq!(number("18446744073709551616"), None);
        assert_eq!(number("3.0e1"), Some(30));
        assert_eq!(number("-0"), Some(0));
        assert_eq!(number("-1"), None);
        assert_eq!(number("1.5"), None);
    }

    #[test]
    fn a_factor_is_read_in_thousandths() {
        let number = |text: &str| Decimal::parse(text).unwrap().as_thousandths();
        assert_eq!(number("2.0"), Some(2000));
        assert_eq!(number("1.5"), Some(1500));
        assert_eq!(number("1.2345"), Some(1234));
        assert_eq!(number("0.0001"), Some(0));
        assert_eq!(number("0"), Some(0));
        assert_eq!(number("-1"), None);
        assert_eq!(number("1e30"), None);
    }
}
