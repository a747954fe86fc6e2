//! A container's filter of system calls, compiled: the kernel's classic BPF, checked before it is ever loaded.
//!
//! ```text
//!   byte    0         2    3    4              8
//!           ├─────────┼────┼────┼──────────────┤  struct sock_filter, little endian, 1 to 4096 of them
//!           │ code    │ jt │ jf │ k            │
//!           └─────────┴────┴────┴──────────────┘
//!   it reads struct seccomp_data: number (0), architecture (4), instruction pointer (8), six arguments (16 … 63)
//! ```
//!
//! Promise: what [`Filter::parse`] accepts, every kernel that Cairn runs on loads, and it ends in at most as many steps
//! as it has, because it can only jump forward. [`Filter::decide`] is what the kernel would decide, so a filter for
//! another machine is found out before a container of it is started ([`Filter::serves`]).
//!
//! Source: `linux/filter.h`, `linux/seccomp.h` and `linux/audit.h`, and what `seccomp(2)` refuses.

mod arch;
mod check;
mod decide;
mod step;

#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::fmt;

pub use arch::Arch;
pub use decide::{Action, Call};
pub use step::{Step, code};

/// The most instructions, the kernel's own limit.
pub const STEPS_MAX: usize = 4096;

/// The bytes of one instruction.
pub const STEP_BYTES: usize = 8;

/// A program that the kernel accepts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filter(Vec<Step>);

/// Why bytes are no such program, or not for this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FilterError {
    /// So many bytes are no row of 1 to 4096 instructions.
    Length(usize),
    /// An instruction that the kernel refuses.
    Step {
        /// Its place, from 0.
        at: usize,
        /// Why.
        wrong: Wrong,
    },
    /// It lets no program start on this machine.
    Machine {
        /// The machine.
        on: Arch,
        /// Where programs could start.
        serves: Vec<Arch>,
    },
}

/// What is wrong with an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wrong {
    /// An operation that filters of system calls do not have.
    Code(u16),
    /// It jumps beyond the end.
    Jump,
    /// It loads from outside of what is known of a call, or across two words of it.
    Offset(u32),
    /// There are sixteen places of memory.
    Slot(u32),
    /// It reads a place that was not written on every way to it.
    Unwritten(u32),
    /// It divides by zero.
    Divisor,
    /// It shifts by the width of a word or more.
    Shift(u32),
    /// The last one decides nothing.
    End,
}

impl Filter {
    /// Reads a program.
    ///
    /// # Errors
    /// [`FilterError`] names the first instruction that the kernel would refuse.
    pub fn parse(bytes: &[u8]) -> Result<Self, FilterError> {
        let (steps, rest) = bytes.as_chunks::<STEP_BYTES>();
        if !rest.is_empty() || steps.len() > STEPS_MAX {
            return Err(FilterError::Length(bytes.len()));
        }
        Self::new(steps.iter().map(Step::from_bytes).collect())
    }

    /// Makes a program of instructions.
    ///
    /// # Errors
    /// As [`Filter::parse`].
    pub fn new(steps: Vec<Step>) -> Result<Self, FilterError> {
        if !(1..=STEPS_MAX).contains(&steps.len()) {
            return Err(FilterError::Length(steps.len() * STEP_BYTES));
        }
        check::check(&steps)?;
        Ok(Self(steps))
    }

    /// Its instructions.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// As it is stored.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().copied().flat_map(Step::to_bytes).collect()
    }

    /// What becomes of a call.
    #[must_use]
    pub fn decide(&self, call: &Call) -> Action {
        decide::decide(&self.0, call)
    }

    /// Whether a program can be started, read and end on a machine under this filter. One that is compiled for another
    /// machine lets nothing of this happen.
    ///
    /// # Errors
    /// [`FilterError::Machine`] names the machines on which it could.
    pub fn serves(&self, on: Arch) -> Result<(), FilterError> {
        let serves = |arch: &Arch| {
            arch.vital().into_iter().all(|number| {
                let call = Call { arch: arch.audit(), number, ..Call::default() };
                matches!(self.decide(&call), Action::Allow | Action::Log)
            })
        };
        if serves(&on) {
            return Ok(());
        }
        Err(FilterError::Machine { on, serves: Arch::ALL.into_iter().filter(serves).collect() })
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(bytes) => write!(
                f,
                "{bytes} bytes are no compiled filter, which has 1 to {STEPS_MAX} instructions of {STEP_BYTES} bytes"
            ),
            Self::Step { at, wrong } => write!(f, "instruction {at} {wrong}; compile the filter anew"),
            Self::Machine { on, serves } => {
                f.write_str("the filter ")?;
                match serves.as_slice() {
                    [] => f.write_str("lets no program start anywhere")?,
                    [first, others @ ..] => {
                        write!(f, "is for another machine ({first}")?;
                        others.iter().try_for_each(|arch| write!(f, ", {arch}"))?;
                        f.write_str(")")?;
                    }
                }
                write!(f, "; compile one for {on}")
            }
        }
    }
}

impl core::error::Error for FilterError {}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "has an operation ({code:#06x}) that the kernel refuses in such a filter"),
            Self::Jump => f.write_str("jumps beyond the end"),
            Self::Offset(offset) => write!(f, "loads from offset {offset}, where no word of a call is"),
            Self::Slot(slot) => write!(f, "uses place {slot} of sixteen"),
            Self::Unwritten(slot) => write!(f, "reads place {slot}, which was not written before"),
            Self::Divisor => f.write_str("divides by zero"),
            Self::Shift(bits) => write!(f, "shifts by {bits} of 32 bits"),
            Self::End => f.write_str("is the last and decides nothing"),
        }
    }
}
