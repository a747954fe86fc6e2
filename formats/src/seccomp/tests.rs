//! Programs that the kernel accepts and refuses, and what becomes of calls.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use super::*;

const ALLOW: Step = end(0x7fff_0000);

const fn step(code: u16, k: u32) -> Step {
    Step { code, jt: 0, jf: 0, k }
}

const fn end(word: u32) -> Step {
    step(code::RETURN, word)
}

const fn test(code: u16, k: u32, jt: u8, jf: u8) -> Step {
    Step { code, jt, jf, k }
}

fn wrong(steps: &[Step]) -> (usize, Wrong) {
    match Filter::new(steps.to_vec()) {
        Err(FilterError::Step { at, wrong }) => (at, wrong),
        other => panic!("{steps:?}: {other:?}"),
    }
}

/// What a program comes to that computes `steps` and then returns A.
fn computed(steps: &[Step]) -> u32 {
    let steps: Vec<_> = steps.iter().copied().chain([step(0x16, 0)]).collect();
    Filter::new(steps).unwrap().decide(&Call::default()).word()
}

/// For one architecture: reads, starts and ends; all else is refused.
fn for_arch(arch: Arch) -> Filter {
    let [a, b, c] = arch.vital();
    let number = step(code::LOAD, 0);
    Filter::new(vec![
        step(code::LOAD, 4),
        test(code::EQUAL, arch.audit(), 1, 0),
        end(0x8000_0000),
        number,
        test(code::EQUAL, a, 3, 0),
        test(code::EQUAL, b, 2, 0),
        test(code::EQUAL, c, 1, 0),
        end(0x0005_0001),
        ALLOW,
    ])
    .unwrap()
}

#[test]
fn a_program_has_1_to_4096_instructions_of_8_bytes() {
    for bytes in [0, 7, 9, 8 * 4097] {
        assert_eq!(Filter::parse(&vec![0; bytes]), Err(FilterError::Length(bytes)));
    }
    let most: Vec<u8> = [6, 0, 0, 0, 0, 0, 0xff, 0x7f].repeat(4096);
    let filter = Filter::parse(&most).unwrap();
    assert_eq!(filter.decide(&Call::default()), Action::Allow);
    assert_eq!(filter.to_bytes(), most);
}

#[test]
fn a_program_ends_with_a_decision() {
    assert_eq!(wrong(&[ALLOW, step(0x00, 1)]), (1, Wrong::End));
    assert_eq!(wrong(&[step(0x02, 1)]), (0, Wrong::End));
    assert_eq!(wrong(&[step(0x07, 0)]), (0, Wrong::End));
}

#[test]
fn a_jump_lands_within_the_program() {
    assert_eq!(wrong(&[step(code::JUMP, 1), ALLOW]), (0, Wrong::Jump));
    assert_eq!(wrong(&[step(code::JUMP, u32::MAX), ALLOW]), (0, Wrong::Jump));
    assert_eq!(wrong(&[ALLOW, step(code::JUMP, 0)]), (1, Wrong::Jump));
    assert_eq!(wrong(&[test(code::EQUAL, 0, 0, 1), ALLOW]), (0, Wrong::Jump));
    assert_eq!(wrong(&[test(code::EQUAL, 0, 255, 0), ALLOW]), (0, Wrong::Jump));
    assert!(Filter::new(vec![step(code::JUMP, 1), end(0), ALLOW]).is_ok());
}

#[test]
fn a_load_is_of_a_whole_word_of_the_call() {
    for offset in [1, 2, 3, 6, 63, 64, 68, u32::MAX] {
        assert_eq!(wrong(&[step(code::LOAD, offset), ALLOW]), (0, Wrong::Offset(offset)));
    }
    assert!((0..16).all(|word| Filter::new(vec![step(code::LOAD, 4 * word), ALLOW]).is_ok()));
}

#[test]
fn what_is_read_from_memory_was_written_on_every_way_to_it() {
    assert_eq!(wrong(&[step(0x60, 0), ALLOW]), (0, Wrong::Unwritten(0)));
    assert_eq!(wrong(&[step(0x02, 16), ALLOW]), (0, Wrong::Slot(16)));
    assert_eq!(wrong(&[step(0x61, u32::MAX), ALLOW]), (0, Wrong::Slot(u32::MAX)));
    assert!(Filter::new(vec![step(0x02, 15), step(0x61, 15), ALLOW]).is_ok());
    // Written on one of two ways only, and on both.
    let one = [test(code::EQUAL, 0, 1, 0), step(0x02, 3), step(0x60, 3), ALLOW];
    assert_eq!(wrong(&one), (2, Wrong::Unwritten(3)));
    let both = [test(code::EQUAL, 0, 2, 0), step(0x02, 3), step(code::JUMP, 1), step(0x03, 3), step(0x60, 3), ALLOW];
    assert!(Filter::new(both.to_vec()).is_ok());
}

#[test]
fn a_constant_neither_divides_by_zero_nor_shifts_too_far() {
    assert_eq!(wrong(&[step(0x34, 0), ALLOW]), (0, Wrong::Divisor));
    assert_eq!(wrong(&[step(0x64, 32), ALLOW]), (0, Wrong::Shift(32)));
    assert_eq!(wrong(&[step(0x74, u32::MAX), ALLOW]), (0, Wrong::Shift(u32::MAX)));
    assert!(Filter::new(vec![step(0x34, 1), step(0x64, 31), ALLOW]).is_ok());
}

#[test]
fn an_operation_of_other_filters_is_refused() {
    // A remainder, a byte, a packet, a result in X.
    for code in [0x94, 0x9c, 0x30, 0x28, 0x40, 0xb1, 0x0e, 0x8c, 0x0d, 0x104, 0xffff] {
        assert_eq!(wrong(&[step(code, 1), ALLOW]), (0, Wrong::Code(code)));
    }
}

#[test]
fn the_interpreter_computes_as_the_kernel_does() {
    let a = |k| step(0x00, k);
    let x = |k| step(0x01, k);
    // 0x7fff_0000 + n is `Allow` whatever n is, so results are shifted to where they show: into an errno.
    let errno = |steps: &[Step]| {
        let steps: Vec<_> = steps.iter().copied().chain([step(0x54, 0xffff), step(0x44, 0x5_0000)]).collect();
        computed(&steps) & 0xffff
    };
    assert_eq!(errno(&[a(7), step(0x04, 5)]), 12);
    assert_eq!(errno(&[a(7), x(9), step(0x1c, 0)]), 0xfffe);
    assert_eq!(errno(&[a(7), step(0x24, 5)]), 35);
    assert_eq!(errno(&[a(7), x(2), step(0x3c, 0)]), 3);
    assert_eq!(errno(&[a(6), step(0x44, 1)]), 7);
    assert_eq!(errno(&[a(6), step(0xa4, 2)]), 4);
    assert_eq!(errno(&[a(1), step(0x64, 4), step(0x74, 2)]), 4);
    assert_eq!(errno(&[a(1), x(33), step(0x6c, 0)]), 2);
    assert_eq!(errno(&[a(1), step(0x84, 0)]), 0xffff);
    assert_eq!(errno(&[a(3), step(0x02, 9), a(0), step(0x60, 9)]), 3);
    assert_eq!(errno(&[x(5), step(0x03, 9), x(0), step(0x61, 9), step(0x87, 0)]), 5);
    assert_eq!(errno(&[a(5), step(0x07, 0), a(0), step(0x87, 0)]), 5);
    assert_eq!((errno(&[step(0x80, 0)]), errno(&[step(0x81, 0), step(0x87, 0)])), (64, 64));
    // Division by an index of zero kills.
    assert_eq!(computed(&[a(0x7fff_0000), x(0), step(0x3c, 0)]), 0);
    assert_eq!(computed(&[a(0x7fff_0000)]), 0x7fff_0000);
}

#[test]
fn each_word_of_a_call_is_where_the_kernel_has_it() {
    let call = Call {
        arch: 1,
        number: 2,
        pointer: 0x3_0000_0004,
        args: core::array::from_fn(|index| (index as u64 + 5) << 32 | (index as u64 + 11)),
    };
    let word = |offset| {
        let steps = vec![step(code::LOAD, offset), step(0x44, 0x5_0000), step(0x16, 0)];
        Filter::new(steps).unwrap().decide(&call).word() & 0xff
    };
    assert_eq!([0, 4, 8, 12].map(word), [2, 1, 4, 3]);
    assert_eq!([16, 20, 24, 28, 56, 60].map(word), [11, 5, 12, 6, 16, 10]);
}

#[test]
fn tests_jump_as_they_say() {
    let holds = |code, a: u32, k| {
        let steps = vec![step(0x00, a), test(code, k, 0, 1), ALLOW, end(0)];
        Filter::new(steps).unwrap().decide(&Call::default()) == Action::Allow
    };
    assert_eq!([4, 5, 6].map(|a| holds(code::EQUAL, a, 5)), [false, true, false]);
    assert_eq!([4, 5, 6].map(|a| holds(code::GREATER, a, 5)), [false, false, true]);
    assert_eq!([4, 5, 6].map(|a| holds(code::AT_LEAST, a, 5)), [false, true, true]);
    assert_eq!([4, 5, 2].map(|a| holds(code::ANY_BIT, a, 5)), [true, true, false]);
    // Not signed.
    assert!(holds(code::GREATER, 0x8000_0000, 1));
}

#[test]
fn every_action_is_the_word_that_it_is() {
    let all = [
        Action::Allow,
        Action::Log,
        Action::Trace(7),
        Action::Notify,
        Action::Errno(38),
        Action::Trap(1),
        Action::KillThread,
        Action::KillProcess,
    ];
    assert!(all.into_iter().all(|action| Action::of_word(action.word()) == action));
    assert_eq!(Action::of_word(0x1234_0000), Action::KillProcess);
}

#[test]
fn a_filter_for_another_machine_is_told_apart_by_what_it_decides() {
    for arch in Arch::ALL {
        let filter = for_arch(arch);
        for other in Arch::ALL {
            let served = filter.serves(other);
            if arch == other {
                assert_eq!(served, Ok(()));
            } else {
                assert_eq!(served, Err(FilterError::Machine { on: other, serves: vec![arch] }));
            }
        }
    }
    let none = Filter::new(vec![end(0x0005_0001)]).unwrap();
    assert_eq!(
        none.serves(Arch::Arm).unwrap_err().to_string(),
        "the filter lets no program start anywhere; compile one for arm"
    );
    let all = Filter::new(vec![ALLOW]).unwrap();
    assert!(Arch::ALL.into_iter().all(|arch| all.serves(arch) == Ok(())));
    assert_eq!(
        for_arch(Arch::Aarch64).serves(Arch::X86_64).unwrap_err().to_string(),
        "the filter is for another machine (aarch64); compile one for x86_64"
    );
}

#[test]
fn the_native_architecture_is_the_one_that_this_runs_on() {
    assert_eq!(Arch::NATIVE.as_str(), if cfg!(target_arch = "x86") { "i386" } else { std::env::consts::ARCH });
}
