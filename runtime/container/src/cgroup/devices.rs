//! Which device nodes a group may use, as a program that the kernel asks at every open and every making of a node.
//!
//! ```text
//!   asked     ·mknod read write·   what is still undecided, from the last rule back to the first
//!   rule      is it about this node?  no: the rule before it
//!             allow: asked &= !access, nothing left: yes      deny: any of access asked: no
//!   a         decides all that is left                        no rule left: yes
//! ```
//!
//! So the last rule that speaks about a bit of what is asked decides that bit, and all bits must be allowed. A kernel
//! with a v1 controller `devices` wants one rule to allow all that is asked at once; where two rules share it out, the
//! program says what the lines say. What a nested manager attaches further down is asked as well: both must allow.
//!
//! The program belongs to the group and goes with it. It reads `struct bpf_cgroup_dev_ctx`: kind and access in one
//! word, major, minor; instructions are those of `bpf(2)`, `struct bpf_insn`, with 32-bit jumps (Linux 5.1).

use std::fmt;

/// One rule about device nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeviceRule {
    /// Whether it allows, or denies.
    pub allow: bool,
    /// What it is about.
    pub nodes: Nodes,
}

/// What a rule is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Nodes {
    /// Everything: no rule before this one counts.
    All,
    /// These.
    Some {
        /// Block or character.
        kind: NodeKind,
        /// Major number; `None` is any.
        major: Option<u32>,
        /// Minor number; `None` is any.
        minor: Option<u32>,
        /// What is done with them.
        access: Access,
    },
}

/// Block or character device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NodeKind {
    /// Block.
    Block,
    /// Character.
    Character,
}

/// What is done with a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// It is read.
    pub read: bool,
    /// It is written.
    pub write: bool,
    /// It is made.
    pub mknod: bool,
}

/// `struct bpf_insn`: code, registers, offset of a jump, number.
pub(crate) type Instruction = [u8; 8];

/// A program that allows everything: what a kernel without such programs refuses.
pub(crate) const EMPTY: [Instruction; 2] = [verdict(true), EXIT];

/// The registers: the answer, the context, what is undecided, and the node.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const ASKED: u8 = 2;
const KIND: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// The codes that are used of the instruction set. All work on 32 bits but the exit.
const LOAD: u8 = 0x61;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const MOVE: u8 = 0xbc;
const SET: u8 = 0xb4;
const JUMP: u8 = 0x05;
const JUMP_IF_EQUAL: u8 = 0x16;
const JUMP_IF_BITS: u8 = 0x46;
const JUMP_UNLESS_EQUAL: u8 = 0x56;
const EXIT: Instruction = instruction(0x95, 0, 0, 0, 0);

const fn instruction(code: u8, to: u8, from: u8, offset: i16, number: u32) -> Instruction {
    // Two fields of four bits each, in the order of the machine.
    let registers = if cfg!(target_endian = "big") { to << 4 | from } else { from << 4 | to };
    let ([a, b], [c, d, e, f]) = (offset.to_ne_bytes(), number.to_ne_bytes());
    [code, registers, a, b, c, d, e, f]
}

const fn verdict(allow: bool) -> Instruction {
    instruction(SET, ANSWER, 0, 0, allow as u32)
}

/// The program of these rules.
pub(crate) fn program(rules: &[DeviceRule]) -> Vec<Instruction> {
    let mut program = vec![
        instruction(LOAD, ASKED, CONTEXT, 0, 0),
        instruction(MOVE, KIND, ASKED, 0, 0),
        instruction(AND, KIND, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT, ASKED, 0, 0, 16),
        instruction(LOAD, MAJOR, CONTEXT, 4, 0),
        instruction(LOAD, MINOR, CONTEXT, 8, 0),
    ];
    for rule in rules.iter().rev() {
        match rule.nodes {
            Nodes::All if rule.allow => break,
            Nodes::All => {
                // Who asks for nothing is denied nothing.
                program.extend([instruction(JUMP_IF_EQUAL, ASKED, 0, 2, 0), verdict(false), EXIT]);
                break;
            }
            Nodes::Some { kind, major, minor, access } => {
                let decide = decide(rule.allow, access.bits());
                let wanted = [(KIND, Some(kind.number())), (MAJOR, major), (MINOR, minor)];
                // Backwards, because each jump goes over all that follows.
                let mut over = decide.len() as i16;
                let mut guards = Vec::new();
                for (register, number) in wanted.into_iter().rev() {
                    if let Some(number) = number {
                        guards.push(instruction(JUMP_UNLESS_EQUAL, register, 0, over, number));
                        over += 1;
                    }
                }
                program.extend(guards.into_iter().rev().chain(decide));
            }
        }
    }
    program.extend(EMPTY);
    program
}

/// What a rule does about a node that it is about.
fn decide(allow: bool, access: u32) -> [Instruction; 4] {
    if allow {
        let left = instruction(AND, ASKED, 0, 0, !access);
        [left, instruction(JUMP_UNLESS_EQUAL, ASKED, 0, 2, 0), verdict(true), EXIT]
    } else {
        let any = instruction(JUMP_IF_BITS, ASKED, 0, 1, access);
        [any, instruction(JUMP, 0, 0, 2, 0), verdict(false), EXIT]
    }
}

impl NodeKind {
    /// `BPF_DEVCG_DEV_…`
    const fn number(self) -> u32 {
        match self {
            Self::Block => 1,
            Self::Character => 2,
        }
    }
}

impl Access {
    /// `BPF_DEVCG_ACC_…`
    const fn bits(self) -> u32 {
        self.mknod as u32 | (self.read as u32) << 1 | (self.write as u32) << 2
    }
}

/// As `devices.allow` and `devices.deny` of v1 take it: `c 1:3 rwm`.
impl fmt::Display for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Some { kind, major, minor, access } = self else { return f.write_str("a") };
        let number = |f: &mut fmt::Formatter<'_>, number: &Option<u32>| match number {
            Some(number) => write!(f, "{number}"),
            None => f.write_str("*"),
        };
        f.write_str(if *kind == NodeKind::Block { "b " } else { "c " })?;
        number(f, major)?;
        f.write_str(":")?;
        number(f, minor)?;
        f.write_str(" ")?;
        let letters = [(access.read, "r"), (access.write, "w"), (access.mknod, "m")];
        letters.into_iter().filter(|(on, _)| *on).try_for_each(|(_, letter)| f.write_str(letter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine that knows what the program uses, and nothing else.
    fn run(program: &[Instruction], kind: u32, asked: u32, major: u32, minor: u32) -> bool {
        let context = [asked << 16 | kind, major, minor];
        let mut registers = [None; 11];
        let mut at = 0;
        loop {
            let [code, both, a, b, number @ ..] = program[at];
            let (to, from) = if cfg!(target_endian = "big") { (both >> 4, both & 15) } else { (both & 15, both >> 4) };
            let (to, from) = (usize::from(to), usize::from(from));
            let (offset, number) = (i16::from_ne_bytes([a, b]), u32::from_ne_bytes(number));
            at += 1;
            let value = |register: usize| registers[register].expect("a register is read before it is written");
            let jump = match code {
                LOAD => {
                    assert_eq!(from, 1);
                    registers[to] = Some(context[usize::try_from(offset / 4).unwrap()]);
                    false
                }
                MOVE => {
                    registers[to] = Some(value(from));
                    false
                }
                SET => {
                    registers[to] = Some(number);
                    false
                }
                AND => {
                    registers[to] = Some(value(to) & number);
                    false
                }
                SHIFT_RIGHT => {
                    registers[to] = Some(value(to) >> number);
                    false
                }
                JUMP => true,
                JUMP_IF_EQUAL => value(to) == number,
                JUMP_UNLESS_EQUAL => value(to) != number,
                JUMP_IF_BITS => value(to) & number != 0,
                0x95 => return value(0) != 0,
                other => panic!("no instruction: {other:#x}"),
            };
            if jump {
                // The kernel takes no program that jumps back.
                at += usize::try_from(offset).unwrap();
            }
        }
    }

    fn access(bits: u32) -> Access {
        Access { mknod: bits & 1 != 0, read: bits & 2 != 0, write: bits & 4 != 0 }
    }

    fn rule(allow: bool, kind: NodeKind, major: Option<u32>, minor: Option<u32>, bits: u32) -> DeviceRule {
        DeviceRule { allow, nodes: Nodes::Some { kind, major, minor, access: access(bits) } }
    }

    /// What the rules mean, said without a program: bit by bit, the last rule that speaks about it.
    fn meant(rules: &[DeviceRule], kind: NodeKind, asked: u32, major: u32, minor: u32) -> bool {
        [1, 2, 4].into_iter().filter(|bit| asked & bit != 0).all(|bit| {
            let speaks = |rule: &&DeviceRule| match rule.nodes {
                Nodes::All => true,
                Nodes::Some { kind: its, major: x, minor: y, access } => {
                    its == kind
                        && x.is_none_or(|x| x == major)
                        && y.is_none_or(|y| y == minor)
                        && access.bits() & bit != 0
                }
            };
            rules.iter().rev().find(speaks).is_none_or(|rule| rule.allow)
        })
    }

    fn all_agree(rules: &[DeviceRule]) {
        let program = program(rules);
        for (kind, major, minor) in [NodeKind::Block, NodeKind::Character]
            .into_iter()
            .flat_map(|kind| [1, 2].map(|major| (kind, major)))
            .flat_map(|(kind, major)| [3, u32::MAX].map(|minor| (kind, major, minor)))
        {
            for asked in 0..8 {
                assert_eq!(
                    run(&program, kind.number(), asked, major, minor),
                    meant(rules, kind, asked, major, minor),
                    "{rules:?}: {kind:?} {major}:{minor} {asked:03b}"
                );
            }
        }
    }

    #[test]
    fn every_order_of_any_three_rules_means_what_its_lines_say() {
        let mut shapes = vec![];
        for allow in [false, true] {
            shapes.push(DeviceRule { allow, nodes: Nodes::All });
            for bits in 0..8 {
                shapes.push(rule(allow, NodeKind::Character, Some(1), Some(3), bits));
            }
            for (major, minor) in [(None, None), (Some(1), None), (None, Some(u32::MAX))] {
                shapes.push(rule(allow, NodeKind::Character, major, minor, 2));
                shapes.push(rule(allow, NodeKind::Block, major, minor, 5));
            }
        }
        for first in &shapes {
            all_agree(&[*first]);
            for second in &shapes {
                all_agree(&[*first, *second]);
                for third in &shapes {
                    all_agree(&[*first, *second, *third]);
                }
            }
        }
    }

    #[test]
    fn without_a_rule_everything_is_allowed() {
        all_agree(&[]);
        assert!(run(&program(&[]), 2, 7, 1, 3));
    }

    #[test]
    fn two_rules_may_share_out_what_is_asked_at_once() {
        let deny = DeviceRule { allow: false, nodes: Nodes::All };
        let read = rule(true, NodeKind::Character, Some(1), Some(3), 2);
        let write = rule(true, NodeKind::Character, None, None, 4);
        let program = program(&[deny, read, write]);
        assert_eq!([6, 2, 4, 7, 1].map(|asked| run(&program, 2, asked, 1, 3)), [true, true, true, false, false]);
        assert_eq!([4, 6].map(|asked| run(&program, 2, asked, 1, 5)), [true, false]);
    }

    #[test]
    fn what_stands_before_a_rule_about_everything_is_not_even_in_the_program() {
        let deny = DeviceRule { allow: false, nodes: Nodes::All };
        let null = rule(true, NodeKind::Character, Some(1), Some(3), 7);
        assert_eq!(program(&[null, null, deny, null]), program(&[deny, null]));
        assert_eq!(program(&[deny, null, DeviceRule { allow: true, ..deny }]), program(&[]));
    }

    #[test]
    fn a_rule_is_written_as_v1_reads_it() {
        assert_eq!(Nodes::All.to_string(), "a");
        assert_eq!(rule(true, NodeKind::Character, Some(1), None, 7).nodes.to_string(), "c 1:* rwm");
        assert_eq!(rule(true, NodeKind::Block, None, Some(0), 2).nodes.to_string(), "b *:0 r");
    }
}
