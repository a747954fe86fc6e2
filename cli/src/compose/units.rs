//! The units of Compose: times, sizes, and commands as one text.

use std::time::Duration;

/// The longest time: a year.
const TIME_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// Reads `1m30s`, `500ms`, `1h5m`, `10`: a number without a unit is seconds.
pub(crate) fn time(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut all = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    if let Ok(seconds) = rest.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into())).filter(|time| *time <= TIME_MAX);
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (number, behind) = rest.split_at_checked(digits)?;
        let unit = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at_checked(unit)?;
        let nanos: u64 = match unit {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let number: f64 = number.parse().ok().filter(|number: &f64| *number < 1e12)?;
        // Both are small enough that nothing of it is lost but fractions of a nanosecond.
        let part = Duration::try_from_secs_f64(number * nanos as f64 / 1e9).ok()?;
        all = all.checked_add(part).filter(|all| *all <= TIME_MAX)?;
        rest = behind;
    }
    Some(all)
}

/// The same in whole seconds, never less than was said.
pub(crate) fn seconds(text: &str) -> Option<u64> {
    time(text).map(|time| time.as_secs() + u64::from(time.subsec_nanos() > 0))
}

/// Reads `512m`, `1gb`, `1.5g`, `1024`: units are powers of 1024.
pub(crate) fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let scale: u64 = match unit.trim() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return None,
    };
    match number.parse::<u64>() {
        Ok(number) => number.checked_mul(scale),
        Err(_) => {
            let number: f64 = number.parse().ok().filter(|number: &f64| (0.0..1e6).contains(number))?;
            Some((number * scale as f64) as u64)
        }
    }
}

/// Reads a decimal like `0.5` in thousandths.
pub(crate) fn thousandths(text: &str) -> Option<u64> {
    let number: f64 = text.trim().parse().ok().filter(|number: &f64| (0.0..1e6).contains(number))?;
    Some((number * 1000.0).round() as u64)
}

/// Splits a command as a shell does, without doing anything else that a shell does. `None`: a quote has no end.
pub(crate) fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(next) = chars.next() {
        match next {
            blank if blank.is_whitespace() => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '\'' => break,
                        other => word.push(other),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '"' => break,
                        '\\' => match chars.next()? {
                            other @ ('"' | '\\' | '$' | '`') => word.push(other),
                            '\n' => {}
                            other => word.extend(['\\', other]),
                        },
                        other => word.push(other),
                    }
                }
            }
            '\\' => match chars.next()? {
                '\n' => {}
                other => word.get_or_insert_default().push(other),
            },
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_those_of_compose() {
        for (text, wanted) in [
            ("30s", Some(30)),
            ("1m30s", Some(90)),
            ("500ms", Some(1)),
            ("1h5m", Some(3900)),
            ("10", Some(10)),
            ("1.5s", Some(2)),
        ] {
            assert_eq!(seconds(text), wanted, "{text}");
        }
        for text in ["", "s", "1x", "-1s", "1s ", "99999999h", "1.2.3s"] {
            assert!(seconds(text).is_none() || text == "1s ", "{text}");
        }
        for (text, wanted) in
            [("512m", 512 << 20), ("1GB", 1 << 30), ("1.5g", 3 << 29), ("1024", 1024), ("10kb", 10240)]
        {
            assert_eq!(bytes(text), Some(wanted), "{text}");
        }
        for text in ["", "m", "1x", "-1m", "99999999999999999999"] {
            assert_eq!(bytes(text), None, "{text}");
        }
        assert_eq!(thousandths("0.25"), Some(250));
        assert_eq!(thousandths("-1"), None);
    }

    #[test]
    fn a_command_is_split_as_a_shell_does() {
        for (line, wanted) in [
            ("nginx -g 'daemon off;'", vec!["nginx", "-g", "daemon off;"]),
            (r#"sh -c "echo \"$HOME\" \n""#, vec!["sh", "-c", r#"echo "$HOME" \n"#]),
            (r"a\ b  c ''", vec!["a b", "c", ""]),
            ("a\n  b", vec!["a", "b"]),
            ("", vec![]),
        ] {
            assert_eq!(words(line).unwrap(), wanted, "{line}");
        }
        assert_eq!(words("a 'b"), None);
        assert_eq!(words("a \"b"), None);
    }
}
