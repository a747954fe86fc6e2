//! What one asks a running device from outside: `exec`, `kill`, `stop`, `status`.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use rustix::fd::AsFd;
use rustix::process::Signal;
use rustix::thread::LinkNameSpaceType;
use serde_json::json;

use crate::cgroup::Group;
use crate::device::{Device, State};

#[derive(Args)]
pub(crate) struct Exec {
    /// The device directory
    device: PathBuf,
    /// The role of cairn, and its arguments
    #[arg(last = true, required = true, value_name = "ROLE ARGS")]
    words: Vec<String>,
}

#[derive(Args)]
pub(crate) struct Kill {
    /// The device directory
    device: PathBuf,
    /// Take power away instead: what was not synced is lost, and no mark is left
    #[arg(long)]
    power_cut: bool,
}

#[derive(Args)]
pub(crate) struct Stop {
    /// The device directory
    device: PathBuf,
}

#[derive(Args)]
pub(crate) struct Status {
    /// The device directory
    device: PathBuf,
    /// Report as JSON
    #[arg(long)]
    json: bool,
}

fn running(device: &Device) -> Result<State> {
    let state = device.running()?;
    state.with_context(|| format!("{} is not running; start it with: cairn-host run", device.root().display()))
}

/// Runs a role of the device's own program beside PID 1.
pub(crate) fn exec(options: &Exec) -> Result<ExitCode> {
    let device = Device::open(&options.device)?;
    let state = running(&device)?;
    let pid1 = state.pid1()?.as_raw_nonzero();
    let open = |name: &str| File::open(format!("/proc/{pid1}/{name}")).context("PID 1 of the device has just died");
    let spaces = [
        ("ns/cgroup", LinkNameSpaceType::ControlGroup),
        ("ns/ipc", LinkNameSpaceType::InterProcessCommunication),
        ("ns/uts", LinkNameSpaceType::HostNameAndNISDomainName),
        ("ns/net", LinkNameSpaceType::Network),
        ("ns/pid", LinkNameSpaceType::ProcessID),
        ("ns/mnt", LinkNameSpaceType::Mount),
    ];
    let opened = spaces.iter().map(|(name, kind)| Ok((open(name)?, *kind))).collect::<Result<Vec<_>>>()?;
    let root = rustix::fs::open(
        format!("/proc/{pid1}/root"),
        rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )?;
    // Whoever runs in a device dies with it.
    Group::of(&device.instance())?.join_beside(pid1.get())?;
    for (space, kind) in &opened {
        rustix::thread::move_into_link_name_space(space.as_fd(), Some(*kind)).context("cannot enter a namespace")?;
    }
    rustix::process::fchdir(&root)?;
    rustix::process::chroot(".")?;
    rustix::process::chdir("/")?;
    let mut command = Command::new("/cairn");
    command.args(&options.words).env_clear().env("HOME", "/");
    command.envs(std::env::var_os("TERM").map(|term| ("TERM", term)));
    let status = command.status().context("cannot execute /cairn of the device")?;
    // As a shell has it.
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

pub(crate) fn kill(options: &Kill) -> Result<()> {
    let state = running(&Device::open(&options.device)?)?;
    if options.power_cut {
        // Between two boots there is no power to take; the stand-in would not remember.
        state.pid1()?;
        rustix::process::kill_process(state.stand_in()?, Signal::USR2)?;
    } else {
        rustix::process::kill_process(state.pid1()?, Signal::KILL)?;
    }
    Ok(())
}

/// Returns when nothing is left.
pub(crate) fn stop(options: &Stop) -> Result<()> {
    let device = Device::open(&options.device)?;
    let Some(state) = device.running()? else {
        bail!("{} is not running", device.root().display());
    };
    rustix::process::kill_process(state.stand_in()?, Signal::TERM)?;
    while device.try_lock()?.is_none() {
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

pub(crate) fn status(options: &Status) -> Result<()> {
    let device = Device::open(&options.device)?;
    let (state, last) = (device.running()?, device.last_end()?);
    if options.json {
        let of = state.as_ref();
        println!(
            "{}",
            json!({
                "running": of.is_some(), "stand_in": of.map(|state| state.stand_in), "pid1": of.and_then(|state| state.pid1),
                "boot": of.map(|state| state.boot), "role": of.map(|state| &state.role),
                "revision": of.and_then(|state| state.revision.as_ref()), "cgroup": of.and_then(|state| state.cgroup.as_ref()),
                "last_end": last,
            })
        );
        return Ok(());
    }
    match state {
        Some(State { pid1: Some(pid1), stand_in, boot, role, revision, .. }) => {
            let revision =
                revision.map_or("the recovery program".to_owned(), |revision| format!("revision {revision}"));
            println!("running: boot {boot}, {revision} as {role}; PID 1 is {pid1} here, its stand-in {stand_in}");
        }
        Some(state) => println!("between two boots; the stand-in is {}", state.stand_in),
        None => println!("not running"),
    }
    if let Some(last) = last {
        println!("boot {} ended: {}{}", last.boot, last.how, if last.mark { ", with a mark" } else { "" });
    }
    Ok(())
}
