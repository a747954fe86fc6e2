//! From what becomes of each call to the kernel's instructions.
//!
//! ```text
//!   number:   0 ………… 100 │ 101 │ 102 ………… 164 │ 165 … 170 │ 171 ……        runs of numbers with one verdict
//!             allowed    │ no  │ allowed      │ no        │ allowed
//!                                  ┌──── ≥ 102 ? ────┐
//!                             ┌─ ≥ 101 ? ─┐     ┌─ ≥ 165 ? ─┐               the tree that finds the run:
//!                          allow        refuse allow      ≥ 171 ? …         seven to eight comparisons
//! ```
//!
//! Words of arguments are told apart by trees of the same kind. The kernel jumps at most 255 instructions with a
//! comparison; beyond that, it falls onto a jump that is not bounded.

use std::fmt;

use formats::seccomp::{Action, Arch, Filter, FilterError, Step, code};

use super::table;

/// What becomes of calls.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Policy {
    /// Of those that are named.
    pub(super) rules: Vec<Rule>,
    /// Of those that are not, and not newer than all of these.
    pub(super) otherwise: Action,
    /// Of numbers that are no call, and of calls that are newer than all that are named.
    pub(super) unknown: Action,
    /// Of calls of an architecture that the filter does not know.
    pub(super) foreign: Action,
}

/// What becomes of a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Rule {
    /// Its name; an architecture without it has no such rule.
    pub(super) name: String,
    /// What becomes of it; the last rule of a name counts.
    pub(super) verdict: Verdict,
}

/// What becomes of a call, by its arguments.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Whatever they are.
    Always(Action),
    /// One, if a part of an argument is in one of these ranges, else the other.
    If {
        /// Which argument, from 0.
        argument: u8,
        /// Which bits of its lower half. The upper one is not looked at: an argument of 32 bits is what counts to the
        /// kernel, and a caller who fills the rest would get around a comparison of the whole.
        mask: u32,
        /// From and to, both included, in order.
        ranges: Vec<(u32, u32)>,
        /// If it is.
        then: Action,
        /// If not.
        otherwise: Action,
    },
}

/// Why a policy has no filter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CompileError(FilterError);

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the filter cannot be compiled: {}", self.0)
    }
}

impl std::error::Error for CompileError {}

/// A part of a program that decides.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Node {
    Decide(Action),
    /// Bits of a word of the call, and what becomes of it from which value on. The first one is 0.
    Split {
        offset: u32,
        mask: u32,
        cases: Vec<(u32, Node)>,
    },
}

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

/// The first call that belongs to an architecture alone; 32-bit ARM has some.
const PRIVATE: u32 = 0x000f_0000;

/// Compiles a policy for these architectures.
pub(super) fn compile(policy: &Policy, arches: &[Arch]) -> Result<Filter, CompileError> {
    let mut known: Vec<Arch> = arches.to_vec();
    known.sort_by_key(|arch| arch.audit());
    let runs = known.iter().map(|arch| (arch.audit(), arch.audit(), numbers(policy, *arch)));
    let root = split(ARCH, u32::MAX, runs, &Node::Decide(policy.foreign));
    let mut steps = Vec::new();
    root.emit(&mut steps);
    Filter::new(steps).map_err(CompileError)
}

/// What becomes of each number.
fn numbers(policy: &Policy, arch: Arch) -> Node {
    let rule = |name: &str| policy.rules.iter().rfind(|rule| rule.name == name);
    let newest = table::calls(arch).filter(|(number, name)| *number < PRIVATE && rule(name).is_some()).last();
    let newest = newest.map_or(0, |(number, _)| number);
    let runs = table::calls(arch).filter_map(|(number, name)| {
        let node = match rule(name) {
            Some(rule) => rule.verdict.node(),
            None if number > newest && number < PRIVATE => return None,
            None => Node::Decide(policy.otherwise),
        };
        Some((number, number, node))
    });
    split(NUMBER, u32::MAX, runs, &Node::Decide(policy.unknown))
}

impl Verdict {
    fn node(&self) -> Node {
        match self {
            Self::Always(action) => Node::Decide(*action),
            Self::If { argument, mask, ranges, then, otherwise } => {
                let runs = ranges.iter().map(|(from, to)| (*from, *to, Node::Decide(*then)));
                split(ARGUMENTS + 8 * u32::from(*argument), *mask, runs, &Node::Decide(*otherwise))
            }
        }
    }
}

/// Ranges of a word in order, with what is between them.
fn split(offset: u32, mask: u32, runs: impl Iterator<Item = (u32, u32, Node)>, between: &Node) -> Node {
    let mut cases: Vec<(u32, Node)> = Vec::new();
    let mut push = |from: u32, node: Node| {
        if cases.last().is_none_or(|(_, last)| *last != node) {
            cases.push((from, node));
        }
    };
    // The first number that nothing is said about yet; `None` beyond the last one.
    let mut next = Some(0);
    for (from, to, node) in runs {
        if let Some(gap) = next.filter(|next| *next < from) {
            push(gap, between.clone());
        }
        push(from, node);
        next = to.checked_add(1);
    }
    if let Some(rest) = next {
        push(rest, between.clone());
    }
    Node::Split { offset, mask, cases }
}

impl Node {
    fn emit(&self, steps: &mut Vec<Step>) {
        match self {
            Self::Decide(action) => steps.push(step(code::RETURN, action.word())),
            Self::Split { offset, mask, cases } => {
                steps.push(step(code::LOAD, *offset));
                if *mask != u32::MAX {
                    steps.push(step(code::AND, *mask));
                }
                search(cases, steps);
            }
        }
    }
}

/// Finds the case in halves.
fn search(cases: &[(u32, Node)], steps: &mut Vec<Step>) {
    let (low, high) = cases.split_at(cases.len() / 2);
    match (low, high) {
        ([], high) => high.iter().for_each(|(_, node)| node.emit(steps)),
        (low, [(from, _), ..]) => {
            let mut below = Vec::new();
            search(low, &mut below);
            match u8::try_from(below.len()) {
                Ok(jt) => steps.push(Step { code: code::AT_LEAST, jt, jf: 0, k: *from }),
                Err(_) => {
                    steps.push(Step { code: code::AT_LEAST, jt: 0, jf: 1, k: *from });
                    // A length beyond 32 bits is no filter either way.
                    steps.push(step(code::JUMP, u32::try_from(below.len()).unwrap_or(u32::MAX)));
                }
            }
            steps.append(&mut below);
            search(high, steps);
        }
        (_, []) => {}
    }
}

const fn step(code: u16, k: u32) -> Step {
    Step { code, jt: 0, jf: 0, k }
}
