//! Extended regular expressions, for names of devices.
//!
//! ```text
//!   .  [a-z]  [^/]  [[:digit:]]  \.      x*  x+  x?  x{2}  x{2,}  x{2,4}      (x|y)      ^ and $ at the ends
//!
//!   a(b|c)*      One a ▸ Save 2 ▸ Split ─┬▶ One b ▸ …      all ways at once, a character at a time, the earlier way first
//!                                        └▶ One c ▸ …
//! ```
//!
//! A match takes at most length times length steps, whatever the pattern: nothing is tried twice.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// The most steps of a pattern, with what its counts repeat.
const STEPS_MAX: usize = 512;

/// The most parts that are looked at to write them. What is repeated may come to no step at all.
const WORK_MAX: usize = 8 * STEPS_MAX;

/// The deepest nesting of groups.
const DEPTH_MAX: usize = 16;

/// The most groups that a name can be made of: `%1` to `%9`; and all that was matched, `%0`.
const GROUPS: usize = 10;

/// No such place. What is matched against names is shorter.
const NOWHERE: u8 = u8::MAX;

/// The longest text that can match, in bytes.
const TEXT_MAX: usize = NOWHERE as usize - 1;

/// A pattern, ready to be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Pattern {
    steps: Vec<Step>,
    begins: bool,
    ends: bool,
}

/// Where the groups of a pattern were found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Groups([u8; 2 * GROUPS]);

/// What cannot be read, and how many characters before it can.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Wrong {
    pub(super) at: usize,
    pub(super) what: super::What,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Step {
    One(char),
    Any,
    Set {
        negated: bool,
        ranges: Box<[(char, char)]>,
    },
    /// The first is tried before the second.
    Split(usize, usize),
    Jump(usize),
    Save(usize),
    Match,
}

/// A part of a pattern.
#[derive(Clone)]
enum Part {
    Char(Step),
    All(Vec<Part>),
    Either(Vec<Part>),
    Group(usize, Box<Part>),
    Repeat(Box<Part>, u8, Option<u8>),
}

impl Default for Groups {
    fn default() -> Self {
        Self([NOWHERE; 2 * GROUPS])
    }
}

impl Groups {
    /// A name with `%0` to `%9` in it, as it is for `text`, from which the groups are.
    pub(super) fn fill(&self, name: &str, text: &str) -> String {
        let mut filled = String::new();
        let mut chars = name.chars();
        while let Some(c) = chars.next() {
            match (c, chars.clone().next().and_then(|digit| digit.to_digit(10))) {
                ('%', Some(group)) => {
                    chars.next();
                    // The whole name, or its last part, was matched: places count from there.
                    filled.push_str(self.group(group as usize, text).unwrap_or_default());
                }
                _ => filled.push(c),
            }
        }
        filled
    }

    fn group<'t>(&self, group: usize, text: &'t str) -> Option<&'t str> {
        let end_of_all = usize::from(*self.0.get(1)?);
        let text = text.get(text.len().checked_sub(end_of_all)?..)?;
        let (from, to) = (*self.0.get(2 * group)?, *self.0.get(2 * group + 1)?);
        if from == NOWHERE || to == NOWHERE { None } else { text.get(from.into()..to.into()) }
    }
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, Wrong> {
        let chars: Vec<char> = text.chars().collect();
        let mut reader = Reader { chars: &chars, at: 0, groups: 0 };
        let begins = reader.eat('^');
        let part = reader.either(0)?;
        let ends = reader.eat('$');
        if reader.at < chars.len() {
            return Err(reader.wrong(super::What::Special));
        }
        let mut steps = vec![Step::Save(0)];
        emit(&part, &mut steps, &mut { WORK_MAX }).map_err(|()| Wrong { at: 0, what: super::What::TooLong })?;
        steps.extend([Step::Save(1), Step::Match]);
        Ok(Self { steps, begins, ends })
    }

    /// Whether it is all of a text.
    pub(super) fn matches(&self, text: &str) -> Option<Groups> {
        self.run(text, true, true)
    }

    /// Whether it is somewhere in a text.
    pub(super) fn is_in(&self, text: &str) -> bool {
        self.run(text, self.begins, self.ends).is_some()
    }

    fn run(&self, text: &str, from_start: bool, to_end: bool) -> Option<Groups> {
        if text.len() > TEXT_MAX {
            return None;
        }
        let mut now = Ways::new(self.steps.len());
        let mut next = Ways::new(self.steps.len());
        now.follow(self, 0, 0, Groups::default());
        for (at, c) in text.char_indices() {
            if !to_end && let Some(found) = now.done(self) {
                return Some(found);
            }
            if !from_start && at > 0 {
                now.follow(self, 0, at, Groups::default());
            }
            next.clear();
            for (step, groups) in now.list.drain(..) {
                if self.steps.get(step).is_some_and(|step| step.takes(c)) {
                    next.follow(self, step + 1, at + c.len_utf8(), groups);
                }
            }
            core::mem::swap(&mut now, &mut next);
        }
        if !from_start {
            now.follow(self, 0, text.len(), Groups::default());
        }
        now.done(self)
    }
}

impl Step {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::One(one) => *one == c,
            Self::Any => true,
            Self::Set { negated, ranges } => {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&c)) != *negated
            }
            _ => false,
        }
    }
}

/// The ways that are open, the preferred one first.
struct Ways {
    list: Vec<(usize, Groups)>,
    seen: Vec<bool>,
    stack: Vec<(usize, Groups)>,
}

impl Ways {
    fn new(steps: usize) -> Self {
        Self { list: Vec::new(), seen: vec![false; steps], stack: Vec::new() }
    }

    fn clear(&mut self) {
        self.list.clear();
        self.seen.fill(false);
    }

    /// Opens a way, as far as it goes without a character.
    fn follow(&mut self, pattern: &Pattern, step: usize, at: usize, groups: Groups) {
        self.stack.push((step, groups));
        while let Some((step, mut groups)) = self.stack.pop() {
            match self.seen.get_mut(step) {
                Some(seen) if !*seen => *seen = true,
                _ => continue,
            }
            match pattern.steps.get(step) {
                Some(Step::Jump(to)) => self.stack.push((*to, groups)),
                Some(Step::Split(first, second)) => self.stack.extend([(*second, groups), (*first, groups)]),
                Some(Step::Save(slot)) => {
                    if let Some(place) = groups.0.get_mut(*slot) {
                        *place = u8::try_from(at).unwrap_or(NOWHERE);
                    }
                    self.stack.push((step + 1, groups));
                }
                Some(_) => self.list.push((step, groups)),
                None => {}
            }
        }
    }

    fn done(&self, pattern: &Pattern) -> Option<Groups> {
        let is_match = |step: &usize| pattern.steps.get(*step) == Some(&Step::Match);
        self.list.iter().find(|(step, _)| is_match(step)).map(|(_, groups)| *groups)
    }
}

/// Writes the steps of a part. `Err`: there would be too many, or too many times none.
fn emit(part: &Part, steps: &mut Vec<Step>, work: &mut usize) -> Result<(), ()> {
    *work = work.checked_sub(1).ok_or(())?;
    if steps.len() >= STEPS_MAX {
        return Err(());
    }
    match part {
        Part::Char(step) => steps.push(step.clone()),
        Part::All(parts) => parts.iter().try_for_each(|part| emit(part, steps, work))?,
        Part::Group(group, part) => {
            steps.push(Step::Save(2 * group));
            emit(part, steps, work)?;
            steps.push(Step::Save(2 * group + 1));
        }
        Part::Either(parts) => {
            let mut jumps = Vec::new();
            for (index, part) in parts.iter().enumerate() {
                let split = steps.len();
                let is_last = index + 1 == parts.len();
                if !is_last {
                    steps.push(Step::Split(split + 1, 0));
                }
                emit(part, steps, work)?;
                if !is_last {
                    jumps.push(steps.len());
                    steps.push(Step::Jump(0));
                    let end = steps.len();
                    set(steps, split, Step::Split(split + 1, end));
                }
            }
            let end = steps.len();
            jumps.into_iter().for_each(|jump| set(steps, jump, Step::Jump(end)));
        }
        Part::Repeat(part, least, most) => {
            for _ in 0..*least {
                emit(part, steps, work)?;
            }
            match most {
                None => {
                    let split = steps.len();
                    steps.push(Step::Split(split + 1, 0));
                    emit(part, steps, work)?;
                    steps.push(Step::Jump(split));
                    let end = steps.len();
                    set(steps, split, Step::Split(split + 1, end));
                }
                Some(most) => {
                    let mut splits = Vec::new();
                    for _ in *least..*most {
                        splits.push(steps.len());
                        steps.push(Step::Split(steps.len() + 1, 0));
                        emit(part, steps, work)?;
                    }
                    let end = steps.len();
                    splits.into_iter().for_each(|split| set(steps, split, Step::Split(split + 1, end)));
                }
            }
        }
    }
    Ok(())
}

fn set(steps: &mut [Step], at: usize, step: Step) {
    if let Some(place) = steps.get_mut(at) {
        *place = step;
    }
}

struct Reader<'c> {
    chars: &'c [char],
    at: usize,
    groups: usize,
}

impl Reader<'_> {
    fn wrong(&self, what: super::What) -> Wrong {
        Wrong { at: self.at, what }
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn eat(&mut self, c: char) -> bool {
        let is = self.peek() == Some(c);
        self.at += usize::from(is);
        is
    }

    fn either(&mut self, depth: usize) -> Result<Part, Wrong> {
        if depth > DEPTH_MAX {
            return Err(self.wrong(super::What::TooLong));
        }
        let mut parts = vec![self.all(depth)?];
        while self.eat('|') {
            parts.push(self.all(depth)?);
        }
        // One is itself.
        Ok(if parts.len() == 1 { parts.swap_remove(0) } else { Part::Either(parts) })
    }

    fn all(&mut self, depth: usize) -> Result<Part, Wrong> {
        let mut parts = Vec::new();
        while let Some(c) = self.peek() {
            let part = match c {
                '|' | ')' => break,
                '$' if self.at + 1 == self.chars.len() => break,
                '^' | '$' => return Err(self.wrong(super::What::Special)),
                '*' | '+' | '?' | '{' => return Err(self.wrong(super::What::Repeat)),
                '(' => {
                    self.at += 1;
                    self.groups += 1;
                    let group = self.groups;
                    let part = self.either(depth + 1)?;
                    if !self.eat(')') {
                        return Err(self.wrong(super::What::Open));
                    }
                    if group < GROUPS { Part::Group(group, Box::new(part)) } else { part }
                }
                '[' => Part::Char(self.set()?),
                '\\' => {
                    self.at += 1;
                    let c = self.peek().filter(|c| !c.is_alphanumeric());
                    let c = c.ok_or_else(|| self.wrong(super::What::Special))?;
                    self.at += 1;
                    Part::Char(Step::One(c))
                }
                c => {
                    self.at += 1;
                    Part::Char(if c == '.' { Step::Any } else { Step::One(c) })
                }
            };
            parts.push(self.repeated(part)?);
        }
        Ok(Part::All(parts))
    }

    fn repeated(&mut self, mut part: Part) -> Result<Part, Wrong> {
        // `a**` means `a*`; more than a few of them mean nothing.
        for _ in 0..DEPTH_MAX {
            let (least, most) = match self.peek() {
                Some('*') => (0, None),
                Some('+') => (1, None),
                Some('?') => (0, Some(1)),
                Some('{') => {
                    part = self.counted(part)?;
                    continue;
                }
                _ => return Ok(part),
            };
            self.at += 1;
            part = Part::Repeat(Box::new(part), least, most);
        }
        Err(self.wrong(super::What::TooLong))
    }

    /// `{2}`, `{2,}` or `{2,4}`.
    fn counted(&mut self, part: Part) -> Result<Part, Wrong> {
        let begin = self.at;
        self.at += 1;
        let least = self.count();
        let most = if self.eat(',') { self.count() } else { least };
        let is_open = most.is_none();
        let in_order = least.is_some() && most.is_none_or(|most| Some(most) >= least);
        if !in_order || !self.eat('}') || (is_open && self.chars.get(self.at.saturating_sub(2)) != Some(&',')) {
            self.at = begin;
            return Err(self.wrong(super::What::Repeat));
        }
        Ok(Part::Repeat(Box::new(part), least.unwrap_or_default(), most))
    }

    fn count(&mut self) -> Option<u8> {
        let begin = self.at;
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
        }
        let digits: String = self.chars.get(begin..self.at)?.iter().collect();
        digits.parse().ok()
    }

    /// What stands between `[` and `]`. A `]` that stands first is a member.
    fn set(&mut self) -> Result<Step, Wrong> {
        let begin = self.at;
        self.at += 1;
        let negated = self.eat('^');
        let mut ranges = Vec::new();
        loop {
            let Some(first) = self.peek() else {
                self.at = begin;
                return Err(self.wrong(super::What::Open));
            };
            self.at += 1;
            match (first, self.peek()) {
                (']', _) if !ranges.is_empty() => break,
                ('[', Some(':')) => ranges.extend(self.class(begin)?),
                ('[', Some('.' | '=')) => return Err(self.wrong(super::What::Special)),
                (first, Some('-')) if self.chars.get(self.at + 1).is_some_and(|c| *c != ']') => {
                    self.at += 1;
                    let last = self.peek().unwrap_or(first);
                    if last < first {
                        return Err(self.wrong(super::What::Range));
                    }
                    self.at += 1;
                    ranges.push((first, last));
                }
                (first, _) => ranges.push((first, first)),
            }
        }
        Ok(Step::Set { negated, ranges: ranges.into_boxed_slice() })
    }

    /// `[:digit:]`, behind its `[`.
    fn class(&mut self, begin: usize) -> Result<&'static [(char, char)], Wrong> {
        let rest = self.chars.get(self.at..).unwrap_or_default();
        for (name, ranges) in CLASSES {
            let len = name.len();
            if rest.iter().take(len).copied().eq(name.chars()) {
                self.at += len;
                return Ok(ranges);
            }
        }
        self.at = begin;
        Err(self.wrong(super::What::Special))
    }
}

/// The classes that names of devices are made of.
const CLASSES: [(&str, &[(char, char)]); 6] = [
    (":digit:]", &[('0', '9')]),
    (":xdigit:]", &[('0', '9'), ('a', 'f'), ('A', 'F')]),
    (":lower:]", &[('a', 'z')]),
    (":upper:]", &[('A', 'Z')]),
    (":alpha:]", &[('a', 'z'), ('A', 'Z')]),
    (":alnum:]", &[('0', '9'), ('a', 'z'), ('A', 'Z')]),
];
