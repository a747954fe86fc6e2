//! The microcontroller: an STM32F100 with 8 KiB of RAM, emulated by QEMU instruction by instruction.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

const QEMU: &str = "qemu-system-arm";

/// A run takes a second or two; one that has lost its way would take for ever.
const LIMIT: Duration = Duration::from_secs(120);

/// What became of a run.
pub(super) struct Run {
    /// The bytes that the program has logged. They also stay beside it.
    pub(super) log: Vec<u8>,
    /// An error: it has not come to its end, but to a fault, a panic or the limit of time.
    pub(super) ended: Result<()>,
}

/// Runs the program from reset to its exit.
pub(super) fn run(program: &Path, spoiled: Option<usize>) -> Result<Run> {
    let log = log(program, spoiled);
    let mut machine = Command::new(QEMU);
    machine.args(["-machine", "stm32vldiscovery", "-accel", "tcg", "-nodefaults", "-display", "none"]);
    let argument = spoiled.map(|number| format!(",arg={number}")).unwrap_or_default();
    // Without a character device of its own, what the program writes is what QEMU writes.
    machine.args(["-semihosting-config", &format!("enable=on,target=native,arg=pick{argument}")]);
    machine.arg("-kernel").arg(program);
    let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    machine.stdin(Stdio::null()).stdout(file);
    let child = machine.spawn().with_context(|| format!("cannot run {QEMU}: run `cargo xtask setup`"))?;
    let ended = wait(child).with_context(|| format!("{} on {QEMU}", program.display()));
    let log = fs::read(&log).with_context(|| format!("cannot read {}", log.display()))?;
    Ok(Run { log, ended })
}

/// Beside the program, a file for each run.
fn log(program: &Path, spoiled: Option<usize>) -> PathBuf {
    program.with_extension(if spoiled.is_some() { "spoiled.log" } else { "log" })
}

fn wait(mut child: Child) -> Result<()> {
    let start = Instant::now();
    loop {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => bail!("it has not come to its end: {status}"),
            None if start.elapsed() > LIMIT => {
                child.kill().and_then(|()| child.wait())?;
                bail!("it was still running after {} seconds", LIMIT.as_secs());
            }
            None => sleep(Duration::from_millis(20)),
        }
    }
}
