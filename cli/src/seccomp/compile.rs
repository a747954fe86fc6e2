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
    /// The only architecture on which it is a rule, over one that all have.
    pub(super) on: Option<Arch>,
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
    /// The action of the first branch whose conditions hold, else the other one.
    First {
        /// In order.
        branches: Vec<Branch>,
        /// If none holds.
        otherwise: Action,
    },
}

/// What becomes of a call under conditions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Branch {
    /// All of them.
    pub(super) conditions: Vec<Condition>,
    /// What becomes of it then.
    pub(super) action: Action,
}

/// A whole argument, compared with a value without a sign.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Condition {
    /// Which argument, from 0.
    pub(super) argument: u8,
    /// How.
    pub(super) compare: Compare,
    /// With what.
    pub(super) value: u64,
}

/// How an argument is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Compare {
    Equal,
    NotEqual,
    Less,
    AtMost,
    AtLeast,
    Greater,
    /// Only these bits of it.
    Masked {
        mask: u64,
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
    /// Branches in order, and what is decided after them.
    First(Vec<Branch>, Action),
}

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

/// The first call that belongs to an architecture alone; 32-bit ARM has some.
const PRIVATE: u32 = 0x000f_0000;

/// The bit of numbers that 64-bit PCs have for calls with pointers of 32 bits.
const X32: u32 = 0x4000_0000;
const ENOSYS: u16 = 38;

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
    let find = |name: &str, on| policy.rules.iter().rfind(|rule| rule.name == name && rule.on == on);
    let rule = |name: &str| find(name, Some(arch)).or_else(|| find(name, None));
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
    // Nothing of them is in the table, and whatever a policy thinks of unknown calls, it does not mean these.
    let x32 = (arch == Arch::X86_64).then_some((X32, u32::MAX, Node::Decide(Action::Errno(ENOSYS))));
    split(NUMBER, u32::MAX, runs.chain(x32), &Node::Decide(policy.unknown))
}

impl Verdict {
    fn node(&self) -> Node {
        match self {
            Self::Always(action) => Node::Decide(*action),
            Self::If { argument, mask, ranges, then, otherwise } => {
                let runs = ranges.iter().map(|(from, to)| (*from, *to, Node::Decide(*then)));
                split(ARGUMENTS + 8 * u32::from(*argument), *mask, runs, &Node::Decide(*otherwise))
            }
            Self::First { branches, otherwise } => Node::First(branches.clone(), *otherwise),
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
            Self::First(branches, otherwise) => {
                branches.iter().for_each(|branch| branch.emit(steps));
                steps.push(step(code::RETURN, otherwise.word()));
            }
        }
    }
}

/// Where a comparison of a condition goes on.
#[derive(Clone, Copy)]
enum To {
    Next,
    /// Behind the condition, which holds.
    Holds,
    /// Behind the branch.
    Fails,
}

impl Branch {
    fn emit(&self, steps: &mut Vec<Step>) {
        let blocks: Vec<_> = self.conditions.iter().map(Condition::block).collect();
        let end = blocks.iter().map(Vec::len).sum::<usize>();
        let mut at = 0;
        for block in blocks {
            let holds = at + block.len();
            for (code, k, yes, no) in block {
                at += 1;
                // At most six conditions of six instructions: every distance is one that a comparison can jump.
                let distance = |to| match to {
                    To::Next => 0,
                    To::Holds => u8::try_from(holds - at).unwrap_or(u8::MAX),
                    To::Fails => u8::try_from(end + 1 - at).unwrap_or(u8::MAX),
                };
                steps.push(Step { code, jt: distance(yes), jf: distance(no), k });
            }
        }
        steps.push(step(code::RETURN, self.action.word()));
    }
}

impl Condition {
    /// The upper half decides, and where it is equal, the lower.
    fn block(&self) -> Vec<(u16, u32, To, To)> {
        use To::{Fails, Holds, Next};
        let offset = ARGUMENTS + 8 * u32::from(self.argument);
        let (high, low) = ((self.value >> 32) as u32, self.value as u32);
        let load = |offset| (code::LOAD, offset, Next, Next);
        match self.compare {
            Compare::Equal => {
                vec![load(offset + 4), (code::EQUAL, high, Next, Fails), load(offset), (code::EQUAL, low, Holds, Fails)]
            }
            Compare::NotEqual => {
                vec![load(offset + 4), (code::EQUAL, high, Next, Holds), load(offset), (code::EQUAL, low, Fails, Holds)]
            }
            Compare::Greater | Compare::AtLeast => vec![
                load(offset + 4),
                (code::GREATER, high, Holds, Next),
                (code::EQUAL, high, Next, Fails),
                load(offset),
                (if self.compare == Compare::Greater { code::GREATER } else { code::AT_LEAST }, low, Holds, Fails),
            ],
            Compare::Less | Compare::AtMost => vec![
                load(offset + 4),
                (code::GREATER, high, Fails, Next),
                (code::EQUAL, high, Next, Holds),
                load(offset),
                (if self.compare == Compare::Less { code::AT_LEAST } else { code::GREATER }, low, Fails, Holds),
            ],
            Compare::Masked { mask } => vec![
                load(offset + 4),
                (code::AND, (mask >> 32) as u32, Next, Next),
                (code::EQUAL, high, Next, Fails),
                load(offset),
                (code::AND, mask as u32, Next, Next),
                (code::EQUAL, low, Holds, Fails),
            ],
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
