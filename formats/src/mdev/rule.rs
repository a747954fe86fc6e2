//! One line of rules.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::pattern::{Pattern, Wrong};
use crate::path;

/// The longest line, in bytes.
const LINE_MAX: usize = 512;

/// The most conditions before a pattern.
const CONDITIONS_MAX: usize = 8;

/// See the module above.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Rule {
    /// Those behind it have a word, too.
    pub(super) continues: bool,
    /// Variables, and what has to be in each.
    pub(super) conditions: Vec<(String, Pattern)>,
    pub(super) about: About,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mode: u32,
    pub(super) naming: Naming,
}

/// Which devices.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum About {
    Name(Pattern),
    Numbers { major: u32, minors: (u32, u32) },
    Variable(String, Pattern),
}

/// Where the node is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Naming {
    Own,
    Other { name: String, link: bool },
    None,
}

/// Why a line is no rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RuleError {
    /// The column, from 1, in characters.
    pub column: usize,
    /// What is wrong there.
    pub what: What,
}

/// What is wrong with a rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// There is no owner or no mode.
    Fields,
    /// No `OWNER:GROUP` in numbers.
    Owner,
    /// No mode in octal digits.
    Mode,
    /// No `MAJOR,MINOR` or `MAJOR,MINOR-MINOR`.
    Numbers,
    /// No `VARIABLE=pattern`.
    Variable,
    /// A name that would lead out of `/dev`.
    Name,
    /// A program to be run.
    Command,
    /// Something behind the end.
    Rest,
    /// A character of a pattern that stands for something that is not read.
    Special,
    /// A repeat of nothing, or a count that is none.
    Repeat,
    /// A group or set without its end.
    Open,
    /// A range from a later character to an earlier one.
    Range,
    /// More than is read.
    TooLong,
}

impl Rule {
    /// Reads a line. `None`: there is nothing in it.
    pub(super) fn parse(line: &str) -> Result<Option<Self>, RuleError> {
        let column = |at: usize| line.get(..at).unwrap_or(line).chars().count() + 1;
        let wrong = |at: usize, what| RuleError { column: column(at), what };
        if line.len() > LINE_MAX {
            return Err(wrong(LINE_MAX, What::TooLong));
        }
        let line_end = line.find('#').unwrap_or(line.len());
        let mut fields = Fields { line: line.get(..line_end).unwrap_or(line), at: 0 };
        let Some((at, first)) = fields.next() else { return Ok(None) };
        let (continues, at, first) = match first.strip_prefix('-') {
            Some(rest) => (true, at + 1, rest),
            None => (false, at, first),
        };
        let in_pattern =
            |at: usize| move |Wrong { at: inner, what }: Wrong| RuleError { column: column(at) + inner, what };
        let variable = |at: usize, text: &str| {
            let (name, pattern) = text.split_once('=').ok_or_else(|| wrong(at, What::Variable))?;
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            if name.is_empty() || !name.bytes().all(is_name) {
                return Err(wrong(at, What::Variable));
            }
            let pattern = Pattern::parse(pattern).map_err(in_pattern(at + name.len() + 1))?;
            Ok((name.to_owned(), pattern))
        };
        let (mut conditions, mut at, mut rest) = (Vec::new(), at, first);
        while let Some((condition, behind)) = rest.split_once(';') {
            if conditions.len() == CONDITIONS_MAX {
                return Err(wrong(at, What::TooLong));
            }
            conditions.push(variable(at, condition)?);
            (at, rest) = (at + condition.len() + 1, behind);
        }
        let about = match rest.strip_prefix(['@', '$']) {
            Some(numbers) if rest.starts_with('@') => numbers_of(numbers).ok_or_else(|| wrong(at, What::Numbers))?,
            Some(text) => {
                let (name, pattern) = variable(at + 1, text)?;
                About::Variable(name, pattern)
            }
            None => About::Name(Pattern::parse(rest).map_err(in_pattern(at))?),
        };
        let (at, owner) = fields.next().ok_or_else(|| wrong(line_end, What::Fields))?;
        let (uid, gid) = owner_of(owner).ok_or_else(|| wrong(at, What::Owner))?;
        let (at, mode) = fields.next().ok_or_else(|| wrong(line_end, What::Fields))?;
        let mode = mode_of(mode).ok_or_else(|| wrong(at, What::Mode))?;
        let mut naming = Naming::Own;
        let mut next = fields.next();
        if let Some((at, field)) = next {
            let other = |name: &str, link| {
                // What stands for a part of the device's name is looked at when that is known.
                let plain = name.strip_suffix('/').unwrap_or(name);
                if path::relative(plain).is_err() || name.len() > super::NAME_MAX {
                    return Err(wrong(at + 1, What::Name));
                }
                Ok(Naming::Other { name: name.to_owned(), link })
            };
            let known = match (field.strip_prefix('='), field.strip_prefix('>')) {
                (Some(name), _) => Some(other(name, false)?),
                (_, Some(name)) => Some(other(name, true)?),
                _ if field == "!" => Some(Naming::None),
                _ => None,
            };
            if let Some(known) = known {
                naming = known;
                next = fields.next();
            }
        }
        match next {
            None => Ok(Some(Self { continues, conditions, about, uid, gid, mode, naming })),
            Some((at, field)) if field.starts_with(['@', '$', '*']) => Err(wrong(at, What::Command)),
            Some((at, _)) => Err(wrong(at, What::Rest)),
        }
    }
}

/// The fields of a line, each with its place.
struct Fields<'l> {
    line: &'l str,
    at: usize,
}

impl<'l> Fields<'l> {
    fn next(&mut self) -> Option<(usize, &'l str)> {
        let blank = |c: char| c == ' ' || c == '\t';
        let rest = self.line.get(self.at..)?;
        let begin = self.at + rest.find(|c| !blank(c))?;
        let rest = self.line.get(begin..)?;
        let end = begin + rest.find(blank).unwrap_or(rest.len());
        self.at = end;
        Some((begin, self.line.get(begin..end)?))
    }
}

/// Digits and nothing else.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn numbers_of(text: &str) -> Option<About> {
    let (major, minors) = text.split_once(',')?;
    let (first, last) = minors.split_once('-').unwrap_or((minors, minors));
    let minors = (number(first)?, number(last)?);
    (minors.0 <= minors.1).then_some(About::Numbers { major: number(major)?, minors })
}

/// Names are those of the image, and another image has others; but for one.
fn owner_of(text: &str) -> Option<(u32, u32)> {
    let (user, group) = text.split_once(':')?;
    let id = |text: &str| if text == "root" { Some(0) } else { number(text).filter(|id| *id != u32::MAX) };
    Some((id(user)?, id(group)?))
}

fn mode_of(text: &str) -> Option<u32> {
    let octal = text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    let mode = u32::from_str_radix(text, 8).ok().filter(|_| octal)?;
    (mode <= 0o777).then_some(mode)
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.what {
            What::Fields => "a rule has a pattern, OWNER:GROUP and a mode",
            What::Owner => "OWNER:GROUP are numbers here, or root: other names are the image's",
            What::Mode => "a mode is written in octal digits, up to 777",
            What::Numbers => "@MAJOR,MINOR or @MAJOR,MINOR-MINOR is wanted",
            What::Variable => "VARIABLE=pattern is wanted",
            What::Name => "a name lies below /dev: no `..`, no `.`, not absolute, at most 128 bytes",
            What::Command => {
                "no program is run when a device comes or goes; remove it, and let a program of the container watch /dev"
            }
            What::Rest => "nothing is read behind the name: =NAME, >NAME or !",
            What::Special => "this is not read in a pattern; write \\ before it if it stands for itself",
            What::Repeat => "there is nothing to repeat, or no count such as {2}, {2,} or {2,4}",
            What::Open => "a group or set has no end",
            What::Range => "a range goes from an earlier character to a later one",
            What::TooLong => "this is more than is read of a rule",
        };
        write!(f, "column {}: {what}", self.column)
    }
}
