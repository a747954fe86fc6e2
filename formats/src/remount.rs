//! Mount options that a policy adds to the mounts of a container: a pattern of places, and options.
//!
//! ```text
//!   "/data.*": "nosuid,nodev"          the whole place has to match
//!   .  a character     [a-z]  one of a set, [^/] none of it       x*  x+  x?  how often         \.  the character itself
//! ```
//!
//! Patterns are extended regular expressions in the existing format. Groups, alternatives and counts are not read: a
//! second entry says the same. Options only ever add: what a configuration has forbidden, no policy allows.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// The longest pattern in bytes.
pub const PATTERN_MAX: usize = 512;

/// One entry of a policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    atoms: Vec<Atom>,
    /// What it adds.
    pub options: Options,
}

/// What is added to a mount.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// It cannot be written.
    pub read_only: bool,
    /// Programs on it gain nothing.
    pub nosuid: bool,
    /// Device nodes on it do not open.
    pub nodev: bool,
    /// Programs on it do not run.
    pub noexec: bool,
    /// Reads leave no time.
    pub noatime: bool,
}

/// Why an entry is no rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RuleError {
    /// Longer than [`PATTERN_MAX`].
    TooLong,
    /// A character that stands for something that is not read.
    Special(char),
    /// A set without end or without members, or a repeat of nothing.
    Torn,
    /// An option that is none of those that can be added.
    Option(String),
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Atom {
    what: What,
    /// It may be absent.
    optional: bool,
    /// It may be repeated.
    many: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum What {
    Any,
    One(char),
    Set { negated: bool, ranges: Vec<(char, char)> },
}

impl Rule {
    /// Reads an entry: a pattern, and options with commas between.
    ///
    /// # Errors
    /// [`RuleError`]
    pub fn parse(pattern: &str, options: &str) -> Result<Self, RuleError> {
        Ok(Self { atoms: atoms(pattern)?, options: Options::parse(options)? })
    }

    /// Whether it is about this place, an absolute path of the container. At most length times length steps.
    #[must_use]
    pub fn is_about(&self, place: &str) -> bool {
        // Which atoms may come next; the one behind the last means that all have come.
        let mut next = alloc::vec![false; self.atoms.len() + 1];
        self.reach(&mut next, 0);
        for c in place.chars() {
            let mut after = alloc::vec![false; next.len()];
            for (at, atom) in self.atoms.iter().enumerate() {
                if next.get(at) == Some(&true) && atom.what.is(c) {
                    if atom.many {
                        self.reach(&mut after, at);
                    }
                    self.reach(&mut after, at + 1);
                }
            }
            next = after;
        }
        next.last() == Some(&true)
    }

    /// Marks an atom as one that may come next, and those behind it as far as they may be absent.
    fn reach(&self, next: &mut [bool], from: usize) {
        for (at, mark) in next.iter_mut().enumerate().skip(from) {
            *mark = true;
            if self.atoms.get(at).is_none_or(|atom| !atom.optional) {
                return;
            }
        }
    }
}

impl What {
    fn is(&self, c: char) -> bool {
        match self {
            Self::Any => true,
            Self::One(one) => *one == c,
            Self::Set { negated, ranges } => {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&c)) != *negated
            }
        }
    }
}

impl Options {
    fn parse(text: &str) -> Result<Self, RuleError> {
        let mut options = Self::default();
        for option in text.split(',').map(str::trim).filter(|option| !option.is_empty()) {
            match option {
                "ro" => options.read_only = true,
                "nosuid" => options.nosuid = true,
                "nodev" => options.nodev = true,
                "noexec" => options.noexec = true,
                "noatime" => options.noatime = true,
                other => return Err(RuleError::Option(crate::document::shown(other))),
            }
        }
        Ok(options)
    }
}

fn atoms(pattern: &str) -> Result<Vec<Atom>, RuleError> {
    if pattern.len() > PATTERN_MAX {
        return Err(RuleError::TooLong);
    }
    // It is about the whole place anyway.
    let pattern = pattern.strip_prefix('^').unwrap_or(pattern);
    let pattern = pattern.strip_suffix('$').filter(|rest| !rest.ends_with('\\')).unwrap_or(pattern);
    let mut atoms: Vec<Atom> = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        let what = match c {
            '*' | '+' | '?' => {
                let last = atoms.last_mut().ok_or(RuleError::Torn)?;
                last.optional |= c != '+';
                last.many |= c != '?';
                continue;
            }
            '.' => What::Any,
            '[' => set(&mut chars)?,
            '\\' => match chars.next() {
                Some(plain) if !plain.is_alphanumeric() => What::One(plain),
                Some(special) => return Err(RuleError::Special(special)),
                None => return Err(RuleError::Torn),
            },
            '(' | ')' | '|' | '{' | '}' | '^' | '$' => return Err(RuleError::Special(c)),
            plain => What::One(plain),
        };
        atoms.push(Atom { what, optional: false, many: false });
    }
    Ok(atoms)
}

/// The set behind a `[`. A `]` that stands first is a member.
fn set(chars: &mut core::str::Chars<'_>) -> Result<What, RuleError> {
    let (text, rest) = {
        let text = chars.as_str();
        let skipped = usize::from(text.starts_with('^'));
        let first = skipped + usize::from(text.get(skipped..).is_some_and(|text| text.starts_with(']')));
        let end = text.get(first..).and_then(|text| text.find(']')).ok_or(RuleError::Torn)? + first;
        (text.get(..end).ok_or(RuleError::Torn)?, text.get(end + 1..).ok_or(RuleError::Torn)?)
    };
    *chars = rest.chars();
    let (negated, members) = text.strip_prefix('^').map_or((false, text), |members| (true, members));
    if members.contains("[:") || members.contains("[.") || members.contains("[=") {
        return Err(RuleError::Special('['));
    }
    let members: Vec<char> = members.chars().collect();
    let (mut ranges, mut rest) = (Vec::new(), members.as_slice());
    while let [first, behind @ ..] = rest {
        let (last, behind) = match behind {
            ['-', last, behind @ ..] => (last, behind),
            _ => (first, behind),
        };
        ranges.push((*first, *last));
        rest = behind;
    }
    if ranges.is_empty() { Err(RuleError::Torn) } else { Ok(What::Set { negated, ranges }) }
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "a pattern has at most {PATTERN_MAX} bytes"),
            Self::Special(c) => {
                write!(f, "{c:?} is not read in a pattern; write an entry for each place, or \\ before it")
            }
            Self::Torn => f.write_str("a set in the pattern has no end, or a repeat nothing to repeat"),
            Self::Option(option) => write!(f, "{option:?} is none of ro, nosuid, nodev, noexec, noatime"),
        }
    }
}

impl core::error::Error for RuleError {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_pattern_is_about_whole_places() {
        for (pattern, place, is_about) in [
            ("/data", "/data", true),
            ("/data", "/data/x", false),
            ("/data", "/my/data", false),
            ("^/data$", "/data", true),
            ("/data.*", "/data/x/y", true),
            ("/.+/[a-c]x?", "/q/b", true),
            ("/.+/[a-c]x?", "/q/bx", true),
            ("/.+/[a-c]x?", "/q/d", false),
            ("/[^/]*", "/a", true),
            ("/[^/]*", "/a/b", false),
            (r"/a\.b", "/a.b", true),
            (r"/a\.b", "/axb", false),
            ("/[]x]", "/]", true),
            (".*", "/", true),
            ("", "/", false),
        ] {
            let rule = Rule::parse(pattern, "");
            assert_eq!(rule.is_ok_and(|rule| rule.is_about(place)), is_about, "{pattern} {place}");
        }
    }

    #[test]
    fn a_pattern_that_could_take_for_ever_does_not() {
        let rule = Rule::parse(&"x*".repeat(PATTERN_MAX / 2), "ro").unwrap();
        assert!(!rule.is_about(&("x".repeat(4096) + "y")));
    }

    #[test]
    fn what_is_not_read_is_refused_and_said() {
        for (pattern, options, why) in [
            ("/(a|b)", "ro", "'('"),
            ("/a|b", "ro", "'|'"),
            ("/a{2}", "ro", "'{'"),
            (r"/\w", "ro", "'w'"),
            ("/[[:alpha:]]", "ro", "'['"),
            ("*", "ro", "nothing to repeat"),
            ("/[a", "ro", "no end"),
            ("/a\\", "ro", "no end"),
            ("/a", "rw", "\"rw\" is none of ro"),
            ("/a", "nosuid,exec", "\"exec\" is none of"),
        ] {
            let error = Rule::parse(pattern, options).unwrap_err().to_string();
            assert!(error.contains(why), "{pattern} {options}: {error}");
        }
        assert_eq!(Rule::parse(&"x".repeat(PATTERN_MAX + 1), ""), Err(RuleError::TooLong));
        let options = Rule::parse("/a", "nosuid, nodev,ro").unwrap().options;
        assert_eq!(options, Options { read_only: true, nosuid: true, nodev: true, ..Options::default() });
    }
}
