//! A firmware that says what nobody understands, or is not understood, or is told what it does not need.

use std::ffi::CStr;

use board_laws::words;
use boards_api::TrialKind;
use boards_api::board::{Booted, BootedAs};

use crate::caught;
use crate::faulty::{Fault, Faulty};

/// A word that is no role is a default.
struct Guesses;

impl Fault for Guesses {
    fn booted(cmdline: &str) -> Option<Booted> {
        Some(Booted { slot: None, role: BootedAs::from_cmdline(cmdline).unwrap_or(BootedAs::Default) })
    }
}

#[test]
fn a_role_that_is_guessed_is_caught() {
    caught(words::every_word_of_the_firmware_is_understood_and_no_other::<Faulty<Guesses>>(), "instead of None");
}

/// Understands a trial, and nothing that comes after it on the list.
struct TrialOnly;

impl Fault for TrialOnly {
    fn booted(cmdline: &str) -> Option<Booted> {
        let booted = Booted::from_cmdline(cmdline, Self::PLACES)?;
        Some(booted).filter(|booted| matches!(booted.role, BootedAs::Trial | BootedAs::Default))
    }
}

#[test]
fn a_role_that_is_not_understood_is_caught() {
    caught(words::every_word_of_the_firmware_is_understood_and_no_other::<Faulty<TrialOnly>>(), "is read as None");
}

macro_rules! scripts {
    ($($test:ident: $law:ident, $script:expr => $says:literal;)*) => {$(
        #[test]
        fn $test() {
            struct This;
            impl Fault for This {
                const SCRIPT: &'static [&'static str] = &$script;
            }
            caught(words::$law::<Faulty<This>>(), $says);
        }
    )*};
}

scripts! {
    a_script_with_a_word_of_its_own_is_caught: every_word_of_the_firmware_is_understood_and_no_other,
        ["for as in trial fallback; do\n", "  setenv bootargs cairn.role=${as}\ndone\n"] => "cairn.role=fallback";
    a_script_of_grub_with_a_word_of_its_own_is_caught: every_word_of_the_firmware_is_understood_and_no_other,
        ["if true; then set role=\"last\"; fi\nlinux /vmlinuz \"cairn.role=${role}\" quiet\n"] => "cairn.role=last";
    a_script_that_never_falls_back_is_caught: a_script_says_every_role_of_its_list,
        ["set role=trial\nset role=default\nlinux /vmlinuz cairn.role=$role\n"]
            => "[\"previous\", \"factory\", \"recovery\"]";
    a_script_that_says_no_role_at_all_is_caught: a_script_says_every_role_of_its_list,
        ["# cairn is started here\nbooti ${a} ${b} ${c}\n"] => "it says {}";
}

/// Tells a firmware that counts of the trial.
struct Talks;

impl Fault for Talks {
    fn reboot_arg(trial: bool) -> Option<&'static CStr> {
        trial.then_some(c"0 tryboot")
    }
}

/// Never asks a firmware that has to be asked.
struct Silent;

impl Fault for Silent {
    const TRIAL: TrialKind = TrialKind::OneShot;
}

/// Asks at every reboot.
struct Always;

impl Fault for Always {
    const TRIAL: TrialKind = TrialKind::OneShot;

    fn reboot_arg(_: bool) -> Option<&'static CStr> {
        Some(c"0 tryboot")
    }
}

#[test]
fn an_argument_of_reboot_for_the_wrong_kind_is_caught() {
    caught(words::only_a_one_shot_firmware_is_told_of_a_trial::<Faulty<Talks>>(), "needs no word about a trial");
    caught(words::only_a_one_shot_firmware_is_told_of_a_trial::<Faulty<Silent>>(), "is never asked");
    caught(words::only_a_one_shot_firmware_is_told_of_a_trial::<Faulty<Always>>(), "a reboot that is no trial");
}
