//! The patterns of signatures, in the two dialects that signatures were made with.
//!
//! | pattern | [`Dialect::Device`] (`fnmatch` with path rules) | [`Dialect::Tool`] (doublestar) |
//! |---|---|---|
//! | `*` `?` `[a-z]` | within one component; a leading dot is matched | the same |
//! | `X/**` | everything below X | the same |
//! | `**` alone | nothing | everything |
//! | `**/x` | x exactly one level down | x at any depth |
//! | `{a,b}` | these five characters | a or b |
//!
//! `X/**` and literal names mean the same in both; whoever signs should stay with them. A verifier tries the device's
//! dialect first. Matching takes no recursion and at most length times length steps.
//!
//! API: [`Pattern::parse`], [`Pattern::matches`].

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// The longest pattern in bytes: as long as a key.
pub const PATTERN_MAX: usize = 1024;

/// The most patterns that the braces of one may stand for.
pub const ALTERNATIVES_MAX: usize = 64;

/// Who reads a pattern.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// Devices.
    Device,
    /// Workstation tools.
    Tool,
}

/// A pattern for keys of a state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern {
    text: String,
    device: Path,
    /// One for each alternative of the braces.
    tool: Vec<Path>,
}

/// Why a text is no pattern.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GlobError {
    /// Longer than [`PATTERN_MAX`].
    TooLong,
    /// `[` without `]`, an empty set, a character class, or a `/` in a set.
    Set,
    /// Ends in a backslash.
    Escape,
    /// Braces that do not match, or stand for more than [`ALTERNATIVES_MAX`] patterns.
    Braces,
}

/// One pattern, component by component.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Path {
    segments: Vec<Segment>,
    /// Whether everything below what matches is matched too.
    below: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Segment {
    /// Any number of components.
    Deep,
    Tokens(Vec<Token>),
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Token {
    /// `*`
    Many,
    /// `?`
    One,
    Char(char),
    Set {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Pattern {
    /// Reads a pattern for both dialects.
    ///
    /// # Errors
    /// [`GlobError`] says what is wrong.
    pub fn parse(text: &str) -> Result<Self, GlobError> {
        if text.len() > PATTERN_MAX {
            return Err(GlobError::TooLong);
        }
        // A lone `**` leaves nothing before the slash that is not there, and so selects nothing.
        let (head, below) = match text.strip_suffix("**") {
            Some("") => ("", true),
            Some(head) if head.ends_with('/') => (head.strip_suffix('/').unwrap_or(head), true),
            _ => (text, false),
        };
        let device = Path { segments: segments(head, false)?, below };
        let tool = alternatives(text)?
            .iter()
            .map(|text| Ok(Path { segments: segments(text, true)?, below: false }))
            .collect::<Result<_, _>>()?;
        Ok(Self { text: text.into(), device, tool })
    }

    /// The pattern as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a key is selected.
    #[must_use]
    pub fn matches(&self, key: &str, dialect: Dialect) -> bool {
        match dialect {
            Dialect::Device => self.device.matches(key),
            Dialect::Tool => self.tool.iter().any(|path| path.matches(key)),
        }
    }
}

impl Path {
    fn matches(&self, key: &str) -> bool {
        let components: Vec<&str> = key.split('/').collect();
        let components = if self.below {
            // What is below needs only the components above it to match.
            components.get(..self.segments.len()).unwrap_or(&components)
        } else {
            &components
        };
        wild(
            &self.segments,
            components,
            |segment| *segment == Segment::Deep,
            |segment, component| match segment {
                Segment::Deep => true,
                Segment::Tokens(tokens) => {
                    let characters: Vec<char> = component.chars().collect();
                    wild(tokens, &characters, |token| *token == Token::Many, Token::matches)
                }
            },
        )
    }
}

impl Token {
    fn matches(&self, c: &char) -> bool {
        match self {
            Self::Many | Self::One => true,
            Self::Char(own) => own == c,
            Self::Set { negated, ranges } => ranges.iter().any(|(low, high)| (low..=high).contains(&c)) != *negated,
        }
    }
}

/// Matches a list with wildcards against a list without: on a mismatch the last wildcard takes one more.
fn wild<P, T>(pattern: &[P], text: &[T], is_many: impl Fn(&P) -> bool, matches: impl Fn(&P, &T) -> bool) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut last: Option<(usize, usize)> = None;
    while let Some(item) = text.get(t) {
        match pattern.get(p) {
            Some(many) if is_many(many) => {
                last = Some((p, t));
                p += 1;
            }
            Some(one) if matches(one, item) => {
                p += 1;
                t += 1;
            }
            _ => match last {
                None => return false,
                Some((many, taken)) => {
                    last = Some((many, taken + 1));
                    p = many + 1;
                    t = taken + 1;
                }
            },
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(is_many)
}

/// Splits a pattern at its slashes. `deep` is whether a component `**` is any number of them.
fn segments(text: &str, deep: bool) -> Result<Vec<Segment>, GlobError> {
    text.split('/')
        .map(|part| if deep && part == "**" { Ok(Segment::Deep) } else { tokens(part).map(Segment::Tokens) })
        .collect()
}

fn tokens(part: &str) -> Result<Vec<Token>, GlobError> {
    let mut tokens = Vec::new();
    let mut rest = part.chars();
    while let Some(c) = rest.next() {
        tokens.push(match c {
            '*' if tokens.last() == Some(&Token::Many) => continue,
            '*' => Token::Many,
            '?' => Token::One,
            '\\' => Token::Char(rest.next().ok_or(GlobError::Escape)?),
            '[' => set(&mut rest)?,
            other => Token::Char(other),
        });
    }
    Ok(tokens)
}

/// Reads a set after its `[`. Patterns were split at slashes before, so a set with one in it does not close.
fn set(rest: &mut core::str::Chars<'_>) -> Result<Token, GlobError> {
    let negated = rest.as_str().starts_with(['!', '^']);
    if negated {
        rest.next();
    }
    let mut ranges = Vec::new();
    loop {
        let low = match rest.next().ok_or(GlobError::Set)? {
            ']' if !ranges.is_empty() => return Ok(Token::Set { negated, ranges }),
            '[' if rest.as_str().starts_with([':', '.', '=']) => return Err(GlobError::Set),
            '\\' => rest.next().ok_or(GlobError::Escape)?,
            other => other,
        };
        let mut ahead = rest.clone();
        let high = match (ahead.next(), ahead.next()) {
            (Some('-'), Some(high)) if high != ']' => {
                *rest = ahead;
                if high == '\\' { rest.next().ok_or(GlobError::Escape)? } else { high }
            }
            _ => low,
        };
        ranges.push((low, high));
    }
}

/// The patterns that the braces of one stand for.
fn alternatives(text: &str) -> Result<Vec<String>, GlobError> {
    let mut done = Vec::new();
    let mut open = Vec::from([String::from(text)]);
    while let Some(text) = open.pop() {
        match first_braces(&text)? {
            None => done.push(text),
            Some(Braces { before, choices, after }) => {
                open.extend(choices.iter().map(|choice| alloc::format!("{before}{choice}{after}")));
            }
        }
        if open.len() + done.len() > ALTERNATIVES_MAX {
            return Err(GlobError::Braces);
        }
    }
    Ok(done)
}

/// `before{choice,choice}after`
struct Braces<'t> {
    before: &'t str,
    choices: Vec<&'t str>,
    after: &'t str,
}

/// The first braces of a pattern.
fn first_braces(text: &str) -> Result<Option<Braces<'_>>, GlobError> {
    let mut depth = 0_u32;
    let mut escaped = false;
    let mut start = 0;
    let mut cuts = Vec::new();
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '{' => {
                if depth == 0 {
                    start = at;
                    cuts.push(at + 1);
                }
                depth += 1;
            }
            ',' if depth == 1 => cuts.push(at + 1),
            '}' if depth == 1 => {
                cuts.push(at + 1);
                let choices = cuts.windows(2).filter_map(|cut| match cut {
                    [from, to] => text.get(*from..to - 1),
                    _ => None,
                });
                let (before, after) = (text.get(..start).unwrap_or_default(), text.get(at + 1..).unwrap_or_default());
                return Ok(Some(Braces { before, choices: choices.collect(), after }));
            }
            '}' => depth = depth.checked_sub(1).ok_or(GlobError::Braces)?,
            _ => {}
        }
    }
    if depth > 0 { Err(GlobError::Braces) } else { Ok(None) }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Display for GlobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "a pattern has at most {PATTERN_MAX} bytes"),
            Self::Set => f.write_str("a set is [a-z] or [!a-z], without `/` and without classes"),
            Self::Escape => f.write_str("a pattern cannot end in a backslash"),
            Self::Braces => write!(f, "braces must match, and stand for at most {ALTERNATIVES_MAX} patterns"),
        }
    }
}

impl core::error::Error for GlobError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, key: &str) -> (bool, bool) {
        let pattern = Pattern::parse(pattern).unwrap();
        (pattern.matches(key, Dialect::Device), pattern.matches(key, Dialect::Tool))
    }

    #[test]
    fn the_safe_patterns_mean_the_same_to_devices_and_tools() {
        for (pattern, key, expected) in [
            ("web/**", "web/run.json", true),
            ("web/**", "web/a/b/c", true),
            ("web/**", "web/.hidden", true),
            ("web/**", "webb/x", false),
            ("web/**", "_config/web/x", false),
            ("_config/web/**", "_config/web/etc/x", true),
            ("#spec", "#spec", true),
            ("device.json", "device.json", true),
            ("device.json", "device-json", false),
            ("web/*", "web/a", true),
            ("web/*", "web/a/b", false),
            ("web/*.json", "web/run.json", true),
            ("web/*.json", "web/.json", true),
            ("w?b/x", "web/x", true),
            ("w?b/x", "w/b/x", false),
            ("w?b", "w/b", false),
            ("[a-w]eb/x", "web/x", true),
            ("[!a-v]eb/x", "web/x", true),
            ("[^w]eb/x", "web/x", false),
            ("a[]]b", "a]b", true),
            ("a[x-]b", "a-b", true),
            ("*/**", "a/b/c", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
        ] {
            assert_eq!(matches(pattern, key), (expected, expected), "{pattern} {key}");
        }
    }

    #[test]
    fn where_the_dialects_differ_both_are_as_their_makers_have_them() {
        for (pattern, key, device, tool) in [
            ("**", "web/run.json", false, true),
            ("**", "README.md", false, true),
            ("**/src.json", "web/src.json", true, true),
            ("**/src.json", "_config/foo/src.json", false, true),
            ("**/src.json", "src.json", false, true),
            ("a/**/b", "a/x/b", true, true),
            ("a/**/b", "a/x/y/b", false, true),
            ("a/**/b", "a/b", false, true),
            ("{a,b}/x", "a/x", false, true),
            ("{a,b}/x", "{a,b}/x", true, false),
            ("{a/b,c{d,e}}", "ce", false, true),
            ("{a/b,c{d,e}}", "a/b", false, true),
        ] {
            assert_eq!(matches(pattern, key), (device, tool), "{pattern} {key}");
        }
    }

    #[test]
    fn a_pattern_that_cannot_be_read_the_same_way_by_everybody_is_refused() {
        for (pattern, error) in [
            ("[a", GlobError::Set),
            ("[]", GlobError::Set),
            ("[a/b]", GlobError::Set),
            ("[[:alpha:]]", GlobError::Set),
            ("a\\", GlobError::Escape),
            ("{a,b", GlobError::Braces),
            ("{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}", GlobError::Braces),
        ] {
            assert_eq!(Pattern::parse(pattern), Err(error), "{pattern}");
        }
        assert_eq!(Pattern::parse(&"a".repeat(PATTERN_MAX + 1)), Err(GlobError::TooLong));
    }

    #[test]
    fn a_pattern_made_to_be_slow_is_not() {
        let pattern = Pattern::parse(&("*a".repeat(400) + "b")).unwrap();
        let key = "a".repeat(1024);
        for dialect in [Dialect::Device, Dialect::Tool] {
            assert!(!pattern.matches(&key, dialect));
        }
    }
}
