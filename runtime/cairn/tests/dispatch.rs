//! The program as a caller sees it: what it prints, and with which code it ends.

#![allow(clippy::expect_used, reason = "a test that cannot start the program has failed")]

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output};

fn cairn(args: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_cairn")).args(args).output();
    output.expect("the program starts")
}

#[test]
fn help_and_version_are_asked_for_and_succeed() {
    for flag in ["--help", "-h", "--version", "-V"] {
        let output = cairn(&[flag]);
        assert!(output.status.success() && output.stdout.starts_with(b"cairn 0."), "{flag}");
    }
}

#[test]
fn a_role_is_chosen_by_the_first_argument_or_by_name() {
    let by_argument = cairn(&["buildinfo"]);
    let by_name = Command::new(env!("CARGO_BIN_EXE_cairn")).arg0("/sbin/buildinfo").output().unwrap();
    assert!(by_argument.stdout.starts_with(b"version "));
    assert_eq!(by_argument, by_name);
}

#[test]
fn an_unknown_role_is_an_error_that_shows_the_list() {
    for args in [&["no-such-role"][..], &[]] {
        let output = cairn(args);
        assert_eq!(output.status.code(), Some(2));
        assert!(output.stdout.is_empty());
        assert!(String::from_utf8(output.stderr).unwrap().contains("buildinfo"));
    }
}

#[test]
fn a_closed_output_is_a_failure_and_no_panic() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_cairn")).arg("--help").stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stderr.is_empty());
}

#[test]
fn a_stage_that_pid_1_did_not_start_is_a_wrong_call() {
    assert_eq!(cairn(&["stage"]).status.code(), Some(2));
}

#[test]
fn a_selftest_of_what_is_no_device_has_asked_nothing() {
    for args in [&["selftest"][..], &["selftest", "board"], &["selftest", "board", "--write"], &["selftest", "x"]] {
        let output = cairn(args);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{args:?}");
    }
    let help = cairn(&["selftest", "board", "--help"]);
    assert!(help.status.success() && String::from_utf8(help.stdout).unwrap().contains("Nothing is written"));
}
