//! The one program of a device, for any list of boards: `ln -s cairn init`, `cairn init`.
//!
//! ```ignore
//! // The whole program of a vendor's device.
//! fn main() -> std::process::ExitCode {
//!     cairn::main(&[cairn::AnyBoard::of::<board_acme::Acme>()])
//! }
//! ```
//!
//! Promises: dispatch and nothing else. `ROLES` is the whole list; a role that is not in it is an error that shows the
//! list and exits with 2. No panic: a closed output is an exit code too.
#![forbid(unsafe_code)]

use std::env::{self, ArgsOs};
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

pub use init::boards::{AnyBoard, OURS};

/// What the program can be.
struct Role {
    name: &'static str,
    /// One line of help.
    help: &'static str,
    /// Gets the arguments after the name, and what boards this program knows.
    run: fn(ArgsOs, &[AnyBoard]) -> io::Result<ExitCode>,
}

const ROLES: &[Role] = &[
    Role { name: "buildinfo", help: "say what this program was built from", run: buildinfo },
    Role { name: "front", help: "speak HTTP for PID 1, without its rights; called by PID 1 only", run: front },
    Role { name: "init", help: "be PID 1 of a device", run: init },
    // What the boot scripts of the reference system call it: `rdinit=/usr/bin/pantavisor`.
    Role { name: "pantavisor", help: "the same as init, by the name that a device taken over starts", run: init },
    Role { name: "pvcontrol", help: "ask PID 1, and tell it what to do; `pvcontrol --help`", run: control },
    Role { name: "pvtx", help: "change the state of a device, part by part; `pvtx --help`", run: transaction },
    Role { name: "selftest", help: "ask a device whether it is as its board says; `selftest --help`", run: selftest },
    // The name is what `container::spawn` executes.
    Role { name: "stage", help: "become the first process of a container; called by PID 1 only", run: stage },
];

const VERSION: &str = concat!("cairn ", env!("CARGO_PKG_VERSION"), " (", env!("CAIRN_COMMIT"), ")");

/// Becomes what its name or its first argument says, on a device that is one of these boards.
#[must_use]
pub fn main(boards: &[AnyBoard]) -> ExitCode {
    let mut args = env::args_os();
    let own = args.next().unwrap_or_default();
    // Called by the name of a role, all arguments are the role's.
    let done = match role(Path::new(&own).file_name().unwrap_or_default()) {
        Some(role) => (role.run)(args, boards),
        None => first_argument(args, boards),
    };
    done.unwrap_or(ExitCode::FAILURE)
}

fn first_argument(mut args: ArgsOs, boards: &[AnyBoard]) -> io::Result<ExitCode> {
    let first: Option<OsString> = args.next();
    match first.as_ref().and_then(|first| first.to_str()) {
        Some("-h" | "--help") => help(&mut io::stdout()).map(|()| ExitCode::SUCCESS),
        Some("-V" | "--version") => writeln!(io::stdout(), "{VERSION}").map(|()| ExitCode::SUCCESS),
        _ => match first.as_ref().and_then(|first| role(first)) {
            Some(role) => (role.run)(args, boards),
            None => unknown(first),
        },
    }
}

fn role(name: &std::ffi::OsStr) -> Option<&'static Role> {
    ROLES.iter().find(|role| name == role.name)
}

fn unknown(name: Option<OsString>) -> io::Result<ExitCode> {
    let mut stderr = io::stderr();
    match name {
        Some(name) => writeln!(stderr, "cairn: there is no role {name:?}\n")?,
        None => writeln!(stderr, "cairn: which role?\n")?,
    }
    help(&mut stderr).map(|()| ExitCode::from(2))
}

fn help(out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{VERSION}: boots a device and runs all of it as one signed revision\n")?;
    writeln!(out, "usage: cairn ROLE [ARGUMENT…]   or called by the name of a role\n\nroles:")?;
    ROLES.iter().try_for_each(|Role { name, help, .. }| writeln!(out, "  {name:<12} {help}"))
}

fn init(args: ArgsOs, boards: &[AnyBoard]) -> io::Result<ExitCode> {
    let words: Vec<String> = args.map(|word| word.to_string_lossy().into_owned()).collect();
    Ok(init::run::main(&words, boards))
}

fn selftest(args: ArgsOs, boards: &[AnyBoard]) -> io::Result<ExitCode> {
    init::selftest::main(args, boards, &ctl::rewrite)
}

fn front(_: ArgsOs, boards: &[AnyBoard]) -> io::Result<ExitCode> {
    Ok(front::main(&build(boards)))
}

fn control(args: ArgsOs, _: &[AnyBoard]) -> io::Result<ExitCode> {
    Ok(ctl::main(args))
}

fn transaction(args: ArgsOs, _: &[AnyBoard]) -> io::Result<ExitCode> {
    Ok(ctl::tx::main(args))
}

fn stage(_: ArgsOs, _: &[AnyBoard]) -> io::Result<ExitCode> {
    Ok(container::stage::main())
}

fn buildinfo(_: ArgsOs, boards: &[AnyBoard]) -> io::Result<ExitCode> {
    io::stdout().write_all(build(boards).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// What this program was built from, a line each.
fn build(boards: &[AnyBoard]) -> String {
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let linked = if cfg!(target_feature = "crt-static") { "static" } else { "dynamic" };
    let (version, commit, target) = (env!("CARGO_PKG_VERSION"), env!("CAIRN_COMMIT"), env!("CAIRN_TARGET"));
    let boards = boards.iter().map(AnyBoard::name).collect::<Vec<_>>().join(" ");
    format!(
        "version {version}\ncommit  {commit}\ntarget  {target}\nprofile {profile}\nlinked  {linked}\nboards  {boards}\n"
    )
}
