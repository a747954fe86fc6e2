//! One instruction, as it is stored and as what it does.

use super::{STEP_BYTES, Wrong};

/// The codes of the instructions that compiled filters are made of. A filter may have all that the kernel knows.
pub mod code {
    /// Load a word of the call.
    pub const LOAD: u16 = 0x20;
    /// Keep of it what is set in `k` too.
    pub const AND: u16 = 0x54;
    /// Jump over `k` instructions.
    pub const JUMP: u16 = 0x05;
    /// Jump over `jt` instructions if it is `k`, else over `jf`.
    pub const EQUAL: u16 = 0x15;
    /// The same if it is greater than `k`.
    pub const GREATER: u16 = 0x25;
    /// The same if it is `k` or more.
    pub const AT_LEAST: u16 = 0x35;
    /// The same if it has a bit of `k`.
    pub const ANY_BIT: u16 = 0x45;
    /// Decide `k`.
    pub const RETURN: u16 = 0x06;
}

/// An instruction: `struct sock_filter`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// What it does.
    pub code: u16,
    /// How many instructions are left out if its test holds.
    pub jt: u8,
    /// How many if it does not.
    pub jf: u8,
    /// Its operand.
    pub k: u32,
}

/// What an instruction does. The accumulator is A, the index X.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Op {
    /// A is a word.
    Load(Word),
    /// X is a word, which is none of the call.
    LoadIndex(Word),
    /// A goes to a place of memory.
    Store(u32),
    /// X does.
    StoreIndex(u32),
    /// A is computed of A and another.
    Compute(Arithmetic, Operand),
    /// A is −A.
    Negate,
    /// So many instructions are left out.
    Jump(u32),
    /// A is compared with another; then so many are left out if it holds, or so many.
    Test(Test, Operand, u8, u8),
    /// It ends with this.
    Return(Result),
    /// X is A.
    ToIndex,
    /// A is X.
    FromIndex,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Word {
    /// What is known of the call, from this byte.
    Data(u32),
    /// Of the instruction.
    Constant(u32),
    /// Of memory.
    Slot(u32),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operand {
    Constant(u32),
    Index,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Result {
    Constant(u32),
    Accumulator,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Or,
    And,
    Left,
    Right,
    Xor,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Test {
    Equal,
    Greater,
    AtLeast,
    AnyBit,
}

/// The bytes of `struct seccomp_data`, which is also what a program is told as the length.
pub(super) const DATA: u32 = 64;

impl Step {
    pub(super) fn from_bytes(bytes: &[u8; STEP_BYTES]) -> Self {
        let [a, b, jt, jf, k @ ..] = *bytes;
        Self { code: u16::from_le_bytes([a, b]), jt, jf, k: u32::from_le_bytes(k) }
    }

    pub(super) fn to_bytes(self) -> [u8; STEP_BYTES] {
        let [a, b] = self.code.to_le_bytes();
        let [c, d, e, f] = self.k.to_le_bytes();
        [a, b, self.jt, self.jf, c, d, e, f]
    }

    /// What it does, if the kernel lets a filter do it.
    pub(super) fn op(&self) -> core::result::Result<Op, Wrong> {
        let k = self.k;
        Ok(match self.code {
            0x20 => Op::Load(Word::Data(k)),
            0x80 => Op::Load(Word::Constant(DATA)),
            0x00 => Op::Load(Word::Constant(k)),
            0x60 => Op::Load(Word::Slot(k)),
            0x81 => Op::LoadIndex(Word::Constant(DATA)),
            0x01 => Op::LoadIndex(Word::Constant(k)),
            0x61 => Op::LoadIndex(Word::Slot(k)),
            0x02 => Op::Store(k),
            0x03 => Op::StoreIndex(k),
            0x84 => Op::Negate,
            0x05 => Op::Jump(k),
            0x06 => Op::Return(Result::Constant(k)),
            0x16 => Op::Return(Result::Accumulator),
            0x07 => Op::ToIndex,
            0x87 => Op::FromIndex,
            code => {
                // What is left has a class, an operation, and one bit that says with what.
                let operand = if code & 0x08 == 0 { Operand::Constant(k) } else { Operand::Index };
                match code & !0x08 {
                    0x04 => Op::Compute(Arithmetic::Add, operand),
                    0x14 => Op::Compute(Arithmetic::Subtract, operand),
                    0x24 => Op::Compute(Arithmetic::Multiply, operand),
                    0x34 => Op::Compute(Arithmetic::Divide, operand),
                    0x44 => Op::Compute(Arithmetic::Or, operand),
                    0x54 => Op::Compute(Arithmetic::And, operand),
                    0x64 => Op::Compute(Arithmetic::Left, operand),
                    0x74 => Op::Compute(Arithmetic::Right, operand),
                    0xa4 => Op::Compute(Arithmetic::Xor, operand),
                    0x15 => Op::Test(Test::Equal, operand, self.jt, self.jf),
                    0x25 => Op::Test(Test::Greater, operand, self.jt, self.jf),
                    0x35 => Op::Test(Test::AtLeast, operand, self.jt, self.jf),
                    0x45 => Op::Test(Test::AnyBit, operand, self.jt, self.jf),
                    _ => return Err(Wrong::Code(code)),
                }
            }
        })
    }
}
