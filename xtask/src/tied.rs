//! `tied`, which nobody calls but this program: what a command starts ends with the command.
//!
//! ```text
//!   cargo xtask test ──▶ xtask tied PID cargo test … ──▶ cargo ──▶ a test ──▶ its children       one process group
//!     ends, in any way       is told by the kernel, or by Ctrl-C: SIGTERM to the group, and SIGKILL when that is not enough
//! ```
//!
//! What makes a group of its own there ties itself to whoever has started it (QEMU of `tests/machine`), or is swept when the
//! next run of its name begins (devices of stories).

use std::ffi::OsString;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use rustix::process::{Pid, Signal, getppid, kill_process_group, set_parent_process_death_signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::cargo;

/// How often it is looked whether something has ended.
const SLICE: Duration = Duration::from_millis(10);

/// How long what was asked to end may take.
const GRACE: Duration = Duration::from_secs(3);

#[derive(Args)]
pub(crate) struct Options {
    /// Whose end is the end of all
    parent: i32,
    /// A program and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    words: Vec<OsString>,
}

/// The same command, tied to this process.
pub(crate) fn tied(command: &Command) -> Command {
    let mut tied = Command::new(cargo::THIS);
    tied.arg("tied").arg(std::process::id().to_string()).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => tied.env(name, value),
            None => tied.env_remove(name),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        tied.current_dir(dir);
    }
    tied
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let [program, args @ ..] = options.words.as_slice() else { bail!("nothing to run") };
    let told = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        flag::register(signal, Arc::clone(&told))?;
    }
    set_parent_process_death_signal(Some(Signal::TERM))?;
    // It may have ended before the kernel knew that we want to know.
    if getppid().map(Pid::as_raw_pid) != Some(options.parent) {
        return Ok(ExitCode::FAILURE);
    }
    let shown = program.display();
    let mut child =
        Command::new(program).args(args).process_group(0).spawn().with_context(|| format!("cannot run {shown}"))?;
    let status = wait(&mut child, &told)?;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    Ok(ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

/// Waits for the end of a child; once we are told to end, for that of its whole group.
fn wait(child: &mut Child, told: &AtomicBool) -> Result<ExitStatus> {
    let group = Pid::from_child(child);
    while !told.load(Ordering::Relaxed) {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        std::thread::sleep(SLICE);
    }
    let end = Instant::now() + GRACE;
    // An error: nobody is left in it.
    while kill_process_group(group, Signal::TERM).is_ok() && Instant::now() < end {
        let _ = child.try_wait()?;
        std::thread::sleep(SLICE);
    }
    let _ = kill_process_group(group, Signal::KILL);
    Ok(child.wait()?)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::process::Stdio;

    use super::*;

    const ROLE: &str = "CAIRN_XTASK_TIED";

    fn runs(pid: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.starts_with(" Z"))
    }

    /// This test, in a process of its own.
    fn again(role: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "tied::tests::nothing_outlives_a_command_however_it_ends", "--nocapture"])
            .env(ROLE, role);
        command
    }

    #[test]
    fn nothing_outlives_a_command_however_it_ends() {
        match std::env::var(ROLE).as_deref() {
            // One that listens to SIGTERM, and one that does not.
            Ok("tied") => {
                let script = "sleep 600 & a=$!; sh -c 'trap \"\" TERM; echo pids '$a' $$; while :; do sleep 1; done'";
                let words = ["sh", "-c", script].map(Into::into).to_vec();
                let parent = getppid().unwrap().as_raw_pid();
                run(&Options { parent, words }).unwrap();
            }
            Ok(_) => drop(again("tied").status().unwrap()),
            Err(_) => {
                for signal in [Signal::KILL, Signal::TERM] {
                    let mut parent = again("parent").stdout(Stdio::piped()).spawn().unwrap();
                    let mut lines = BufReader::new(parent.stdout.take().unwrap()).lines();
                    let line = lines.find_map(|line| Some(line.unwrap().split_once("pids ")?.1.to_owned())).unwrap();
                    assert!(line.split(' ').all(runs), "{line}");
                    rustix::process::kill_process(Pid::from_child(&parent), signal).unwrap();
                    parent.wait().unwrap();
                    let begin = Instant::now();
                    while line.split(' ').any(runs) {
                        assert!(begin.elapsed() < Duration::from_secs(30), "{line} after {signal:?}");
                        std::thread::sleep(SLICE);
                    }
                }
            }
        }
    }

    #[test]
    fn a_command_keeps_its_arguments_its_directory_and_its_variables() {
        let mut command = Command::new("cargo");
        command.args(["test", "--x"]).current_dir("/").env("A", "b").env_remove("C");
        let tied = tied(&command);
        let args: Vec<_> = tied.get_args().map(|arg| arg.to_str().unwrap().to_owned()).collect();
        assert_eq!(args, ["tied", &std::process::id().to_string(), "cargo", "test", "--x"]);
        assert!(tied.get_envs().eq(command.get_envs()) && tied.get_current_dir() == command.get_current_dir());
    }
}
