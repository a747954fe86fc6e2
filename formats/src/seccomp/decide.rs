//! What a filter decides about a call: the kernel's interpreter of classic BPF, in the number of steps that it has.

use super::step::{Arithmetic, DATA, Op, Operand, Result, Step, Test, Word};

/// A call as a filter sees it: `struct seccomp_data`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Call {
    /// `AUDIT_ARCH_…`
    pub arch: u32,
    /// Its number there.
    pub number: u32,
    /// Where it was made.
    pub pointer: u64,
    /// What it was made with.
    pub args: [u64; 6],
}

/// What becomes of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// It is done.
    Allow,
    /// It is done, and logged.
    Log,
    /// A tracer is asked.
    Trace(u16),
    /// A supervisor is asked.
    Notify,
    /// It fails with this number.
    Errno(u16),
    /// The thread gets `SIGSYS`.
    Trap(u16),
    /// The thread dies.
    KillThread,
    /// The process dies.
    KillProcess,
}

impl Action {
    /// As it is decided: `SECCOMP_RET_…` with 16 bits of its own.
    #[must_use]
    pub const fn word(self) -> u32 {
        match self {
            Self::KillProcess => 0x8000_0000,
            Self::KillThread => 0,
            Self::Trap(data) => 0x0003_0000 | data as u32,
            Self::Errno(data) => 0x0005_0000 | data as u32,
            Self::Notify => 0x7fc0_0000,
            Self::Trace(data) => 0x7ff0_0000 | data as u32,
            Self::Log => 0x7ffc_0000,
            Self::Allow => 0x7fff_0000,
        }
    }

    /// What the kernel makes of a word: one that it does not know kills the process.
    #[must_use]
    pub const fn of_word(word: u32) -> Self {
        let data = (word & 0xffff) as u16;
        match word & 0xffff_0000 {
            0 => Self::KillThread,
            0x0003_0000 => Self::Trap(data),
            0x0005_0000 => Self::Errno(data),
            0x7fc0_0000 => Self::Notify,
            0x7ff0_0000 => Self::Trace(data),
            0x7ffc_0000 => Self::Log,
            0x7fff_0000 => Self::Allow,
            _ => Self::KillProcess,
        }
    }
}

impl Call {
    /// The word at an offset. Both halves of a long one are in the order of little-endian machines.
    fn word(&self, offset: u32) -> u32 {
        let half = |long: u64| if offset.is_multiple_of(8) { long as u32 } else { (long >> 32) as u32 };
        match offset {
            0 => self.number,
            4 => self.arch,
            8 | 12 => half(self.pointer),
            _ => {
                let index = offset.wrapping_sub(16) as usize / 8;
                self.args.get(index).copied().map_or(0, half)
            }
        }
    }
}

/// Runs checked instructions. What a checked program cannot do ends as the kernel ends what it does not know.
pub(super) fn decide(steps: &[Step], call: &Call) -> Action {
    let (mut a, mut x, mut memory) = (0_u32, 0_u32, [0_u32; 16]);
    let mut at = 0_usize;
    while let Some(Ok(op)) = steps.get(at).map(Step::op) {
        at += 1;
        let value = |operand| match operand {
            Operand::Constant(k) => k,
            Operand::Index => x,
        };
        let word = |word: Word| match word {
            Word::Data(offset) if offset < DATA => call.word(offset),
            Word::Data(_) => 0,
            Word::Constant(k) => k,
            Word::Slot(slot) => memory.get(slot as usize).copied().unwrap_or_default(),
        };
        match op {
            Op::Load(from) => a = word(from),
            Op::LoadIndex(from) => x = word(from),
            Op::Store(slot) => memory.get_mut(slot as usize).into_iter().for_each(|place| *place = a),
            Op::StoreIndex(slot) => memory.get_mut(slot as usize).into_iter().for_each(|place| *place = x),
            Op::Compute(how, with) => match compute(how, a, value(with)) {
                Some(result) => a = result,
                // A division by an index of zero decides zero.
                None => return Action::KillThread,
            },
            Op::Negate => a = a.wrapping_neg(),
            Op::Jump(skipped) => at = at.saturating_add(skipped as usize),
            Op::Test(test, with, yes, no) => {
                let with = value(with);
                let holds = match test {
                    Test::Equal => a == with,
                    Test::Greater => a > with,
                    Test::AtLeast => a >= with,
                    Test::AnyBit => a & with != 0,
                };
                at += usize::from(if holds { yes } else { no });
            }
            Op::Return(Result::Constant(k)) => return Action::of_word(k),
            Op::Return(Result::Accumulator) => return Action::of_word(a),
            Op::ToIndex => x = a,
            Op::FromIndex => a = x,
        }
    }
    Action::KillProcess
}

fn compute(how: Arithmetic, a: u32, with: u32) -> Option<u32> {
    Some(match how {
        Arithmetic::Add => a.wrapping_add(with),
        Arithmetic::Subtract => a.wrapping_sub(with),
        Arithmetic::Multiply => a.wrapping_mul(with),
        Arithmetic::Divide => return a.checked_div(with),
        Arithmetic::Or => a | with,
        Arithmetic::And => a & with,
        Arithmetic::Left => a.wrapping_shl(with),
        Arithmetic::Right => a.wrapping_shr(with),
        Arithmetic::Xor => a ^ with,
    })
}
