//! What the kernel checks when a filter is loaded, so that it is known when a revision is staged.

use alloc::vec;

use super::step::{Arithmetic, DATA, Op, Operand, Step, Word};
use super::{FilterError, Wrong};

/// The places of memory that a program has.
const SLOTS: u32 = 16;

pub(super) fn check(steps: &[Step]) -> Result<(), FilterError> {
    // For each instruction, which places are written on all ways to it that were seen; every way is seen before the
    // instruction itself is, because jumps go forward.
    let mut known = vec![u16::MAX; steps.len()];
    // Those on the way from the instruction before; all, where there is no such way.
    let mut written = 0_u16;
    for (at, step) in steps.iter().enumerate() {
        let wrong = |wrong| FilterError::Step { at, wrong };
        let last = at + 1 == steps.len();
        written &= known.get(at).copied().unwrap_or_default();
        let mut reaches = |skipped: usize, written: u16| {
            let target = at.checked_add(1).and_then(|next| next.checked_add(skipped)).and_then(|to| known.get_mut(to));
            *target.ok_or(wrong(Wrong::Jump))? &= written;
            Ok(())
        };
        match step.op().map_err(wrong)? {
            Op::Load(Word::Data(offset)) if offset >= DATA || offset % 4 != 0 => {
                return Err(wrong(Wrong::Offset(offset)));
            }
            Op::Load(Word::Slot(slot)) | Op::LoadIndex(Word::Slot(slot))
                if written & bit(slot).map_err(wrong)? == 0 =>
            {
                return Err(wrong(Wrong::Unwritten(slot)));
            }
            Op::Store(slot) | Op::StoreIndex(slot) if !last => written |= bit(slot).map_err(wrong)?,
            Op::Compute(Arithmetic::Divide, Operand::Constant(0)) => return Err(wrong(Wrong::Divisor)),
            Op::Compute(Arithmetic::Left | Arithmetic::Right, Operand::Constant(bits @ 32..)) => {
                return Err(wrong(Wrong::Shift(bits)));
            }
            Op::Jump(skipped) => {
                reaches(usize::try_from(skipped).map_err(|_| wrong(Wrong::Jump))?, written)?;
                written = u16::MAX;
            }
            Op::Test(_, _, yes, no) => {
                reaches(yes.into(), written)?;
                reaches(no.into(), written)?;
                written = u16::MAX;
            }
            Op::Return(_) => {}
            _ if last => return Err(wrong(Wrong::End)),
            _ => {}
        }
    }
    Ok(())
}

fn bit(slot: u32) -> Result<u16, Wrong> {
    if slot < SLOTS { Ok(1 << slot) } else { Err(Wrong::Slot(slot)) }
}
