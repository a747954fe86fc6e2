//! `test leaks`: what a device holds after a thousand starts and two hundred updates is what it held before.
//!
//! ```text
//!   two-revisions.toml ─▶ a device with three apps, revisions A and B      a few rounds, so that all is in memory
//!   hold ─▶ restart an app, N times ─▶ run A, run B, N/5 times ─▶ hold     the same, memory within 5 %
//!        └▶ a mount, a group and a loop device are leaked on purpose       must be noticed
//! ```
//!
//! Asked for through the device's own socket, as `pvcontrol` does. Counted from outside, of this device alone: other
//! devices and tests may run beside it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::Telling;
use super::live::Live;
use super::story::show::Show;
use crate::Json;
use crate::term::{Out, bold, green, red};

/// Starts, if nobody says how many.
pub(crate) const ROUNDS: u32 = 1000;

/// As a stage of the whole test: enough for whatever leaks each time.
const FEW: u32 = 40;

/// Starts for one update.
const STARTS_PER_UPDATE: u32 = 5;

/// Rounds that are not counted: what is made once is there after them, and what lives on lies in as many pages of the heap as it
/// comes to, between what comes and goes.
const WARM_UP: (u32, u32) = (10, 20);

/// From this on somebody who waits wants to know for what.
const MANY: u32 = 40;

/// How much memory may grow, as a part of a hundred.
const MEMORY_PERCENT: u64 = 5;

/// How often it is counted again.
const LOOK: Duration = Duration::from_millis(100);

/// For what a device gives back a moment after it is idle.
const SETTLING: Duration = Duration::from_secs(5);

/// The app that is started, and the one whose change makes an update.
const STARTED: &str = "gamma";
const CHANGED: &str = "alpha";

/// The message of the older of the two revisions.
const FIRST: &str = "three apps";

/// What a device holds, by name; `memory` in kilobytes.
type Held = BTreeMap<&'static str, u64>;

/// As a stage.
pub(crate) fn check(out: Out) -> Result<()> {
    let report = measure(FEW, out)?;
    table(&report, out);
    ensure!(passed(&report), "the device leaks, or the leaks that were made on purpose were not noticed");
    Ok(())
}

/// In sight.
pub(crate) fn run(rounds: u32, json: Json) -> Result<ExitCode> {
    let out = json.out();
    let report = measure(rounds, out)?;
    table(&report, out);
    if json.json {
        println!("{report:#}");
    }
    Ok(if passed(&report) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn passed(report: &Value) -> bool {
    report["passed"] == Value::Bool(true)
}

fn measure(rounds: u32, out: Out) -> Result<Value> {
    let mut telling = Telling::begin("test-leaks", "leaks/two-revisions", None, Show::Timeline(out))?;
    telling.tell()?;
    let begun = Instant::now();
    let (program, dir) = telling.device.place();
    let device = Live::of(program, dir)?;
    let updates = (rounds / STARTS_PER_UPDATE).max(1);
    let [one, other] = device.revisions(FIRST)?;
    let go = |starts: u32, updates: u32| -> Result<()> {
        each(starts, "starts", out, |_| device.restart(STARTED))?;
        // B runs first of all, and so it does after each pair.
        each(updates.next_multiple_of(2), "updates", out, |number| {
            device.update(if number % 2 == 0 { &one } else { &other }, CHANGED).map(drop)
        })
    };
    go(WARM_UP.0, WARM_UP.1)?;
    let before = settled(&device, None)?;
    go(rounds, updates)?;
    let after = settled(&device, Some(&before))?;
    let leaks = differences(&before, &after);
    let noticed = leak_on_purpose(&device, &after)?;
    telling.scene.stop()?;
    let rows: Vec<_> = before
        .iter()
        .map(|(what, before)| {
            let after = after.get(what).copied().unwrap_or_default();
            json!({ "what": what, "before": before, "after": after, "met": !leaks.contains(what) })
        })
        .collect();
    let control: Vec<_> =
        LEAKED.iter().map(|what| json!({ "what": what, "noticed": noticed.contains(what) })).collect();
    Ok(json!({
        "command": "test leaks", "passed": leaks.is_empty() && LEAKED.iter().all(|what| noticed.contains(what)),
        "starts": rounds, "updates": updates.next_multiple_of(2), "seconds": begun.elapsed().as_secs_f64(),
        "rows": rows, "control": control,
    }))
}

/// Does it so many times, and says after each tenth of many how far it is.
fn each(count: u32, what: &str, out: Out, mut work: impl FnMut(u32) -> Result<()>) -> Result<()> {
    for number in 0..count {
        work(number)?;
        let done = number + 1;
        if count >= MANY && done.is_multiple_of(count.div_ceil(10)) {
            out.line(format!("{done:>8} of {count} {what}"));
        }
    }
    Ok(())
}

fn table(report: &Value, out: Out) {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let met = |yes: bool| if yes { green(out, "yes") } else { red(out, "NO") };
    out.line(bold(out, &format!("\n{:<26} {:>10} {:>10}  same", "a device holds", "before", "after")));
    for row in report["rows"].as_array().into_iter().flatten() {
        let is_met = met(row["met"] == true);
        out.line(format!(
            "{:<26} {:>10} {:>10}  {is_met}",
            text(&row["what"]),
            text(&row["before"]),
            text(&row["after"])
        ));
    }
    for row in report["control"].as_array().into_iter().flatten() {
        out.line(format!("leaked on purpose: {:<18} noticed: {}", text(&row["what"]), met(row["noticed"] == true)));
    }
    out.line(format!(
        "{} starts, {} updates in place, {:.0} s",
        report["starts"],
        report["updates"],
        report["seconds"].as_f64().unwrap_or_default()
    ));
}

const MEMORY: &str = "private memory, kB";
const MOUNTS: &str = "mounts";
const GROUPS: &str = "cgroups";
const LOOPS: &str = "loop devices";

/// What [`leak_on_purpose`] leaks.
const LEAKED: [&str; 3] = [MOUNTS, GROUPS, LOOPS];

/// What is there more of, or less; of memory, more than it may be.
fn differences(before: &Held, after: &Held) -> Vec<&'static str> {
    let differs = |what: &&&'static str| {
        let (Some(before), Some(after)) = (before.get(**what), after.get(**what)) else { return true };
        if **what == MEMORY { after * 100 > before * (100 + MEMORY_PERCENT) } else { before != after }
    };
    before.keys().filter(|what| differs(what)).copied().collect()
}

/// What it holds, as soon as that is what it held before; or after a while, whatever it is.
fn settled(device: &Live, wanted: Option<&Held>) -> Result<Held> {
    let start = Instant::now();
    loop {
        let held = held(device)?;
        let is_over = start.elapsed() > SETTLING;
        match wanted {
            Some(wanted) if differences(wanted, &held).is_empty() => return Ok(held),
            _ if is_over => return Ok(held),
            _ => std::thread::sleep(LOOK),
        }
    }
}

fn held(device: &Live) -> Result<Held> {
    let of = |file: &str| PathBuf::from(format!("/proc/{}/{file}", device.pid1));
    let lines = |file: &str| Ok::<_, std::io::Error>(fs::read_to_string(of(file))?.lines().count() as u64);
    let entries = |file: &str| Ok::<_, std::io::Error>(fs::read_dir(of(file))?.count() as u64);
    let memory = fs::read_to_string(of("smaps_rollup"))?;
    // Without pages of the program: those are mapped and let go as it works and rests, and would hide what is leaked.
    let private = memory.lines().filter(|line| line.starts_with("Anonymous:"));
    let mut groups = 0;
    device.groups(&mut |_| groups += 1);
    Ok(Held::from([
        (MEMORY, private.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()),
        ("descriptors of PID 1", entries("fd")?),
        ("threads of PID 1", entries("task")?),
        (MOUNTS, lines("mountinfo")?),
        // Two lines are a heading.
        ("network devices", lines("net/dev")?.saturating_sub(2)),
        (LOOPS, loops(device)?),
        (GROUPS, groups),
    ]))
}

/// Loop devices of files on its storage, whoever has them mounted.
fn loops(device: &Live) -> Result<u64> {
    let output = Command::new("losetup").args(["--list", "--noheadings", "--output", "BACK-MAJ:MIN"]).output();
    let output = output.context("cannot run losetup, of the package mount")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().filter(|line| line.trim() == device.storage).count() as u64)
}

/// A mount, a group and a loop device that nobody takes away: what is noticed of them.
fn leak_on_purpose(device: &Live, before: &Held) -> Result<Vec<&'static str>> {
    let does = |program: &str, words: &[&str]| -> Result<String> {
        let output = Command::new(program).args(words).output();
        let output = output.with_context(|| format!("cannot run {program}, of the package util-linux or mount"))?;
        if !output.status.success() {
            bail!("cannot leak on purpose: {program} {words:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    // A device has no program that mounts, so it gets one for as long as this takes. It goes by its name.
    let root = PathBuf::from(format!("/proc/{}/root", device.pid1));
    let (tool, place, file) = (root.join("busybox"), root.join("run/leaked"), root.join("storage/leaked"));
    let group = device.group.join("leaked");
    fs::copy(super::image::contents::busybox()?, &tool)?;
    let pid1 = device.pid1.to_string();
    let inside = |words: &[&str]| does("nsenter", &[&["--target", &pid1, "--mount", "/busybox"], words].concat());
    fs::create_dir(&place)?;
    fs::create_dir(&group)?;
    fs::write(&file, [0; 4096])?;
    inside(&["mount", "-t", "tmpfs", "leaked", "/run/leaked"])?;
    let looped = does("losetup", &["--find", "--show", &file.to_string_lossy()])?;
    let noticed = differences(before, &held(device)?);
    does("losetup", &["--detach", &looped])?;
    inside(&["umount", "/run/leaked"])?;
    fs::remove_dir(&place)?;
    fs::remove_dir(&group)?;
    fs::remove_file(&file)?;
    fs::remove_file(&tool)?;
    Ok(noticed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_a_leak_and_so_is_a_twentieth_more_of_memory() {
        let before = Held::from([(MEMORY, 1000), (MOUNTS, 7)]);
        let with = |memory, mounts| differences(&before, &Held::from([(MEMORY, memory), (MOUNTS, mounts)]));
        assert!(with(1050, 7).is_empty() && with(900, 7).is_empty());
        assert_eq!(with(1051, 7), [MEMORY]);
        assert_eq!(with(1000, 6), [MOUNTS]);
        assert_eq!(differences(&before, &Held::new()).len(), 2);
    }
}
