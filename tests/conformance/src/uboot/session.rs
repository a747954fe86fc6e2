//! One session with a U-Boot at its prompt: cells are put, a script is run, what it did is read.
//!
//! ```text
//!   host     overwrites the cells in the image ─┐            ┌─ reads the note in the image
//!   U-Boot                                      └─ source ───┘  ──▶ "cairn: ROLE …", "cairn-jump", what was loaded
//! ```
//!
//! Two lines of the script are not the board's own: its `cairn_start` tells what was loaded instead of jumping there, and
//! the `reset` at its end is left out, so that the session goes on. Each run begins with an empty cache of blocks, as a
//! boot does: what the host has changed on the disk since the last one is seen.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use boards_api::board::Role;
use formats::bootenv::raw;
use machine::{Machine, Plan};
use statemachine::boot::Note;
use statemachine::ids::RevisionId;

use super::HEAD;
use super::disk::{Bench, FILE};
use crate::cases::{Boot, Case, Files, Start};
use crate::report::Seen;

const POWER_ON: Duration = Duration::from_secs(90);
/// What it says before it starts something by itself.
const KEY: &str = "Hit any key";
const ONE_BOOT: Duration = Duration::from_secs(30);

/// A line of the script and what is put in its place.
pub(crate) type Fault = (&'static str, &'static str);

/// What U-Boot has in its cache of blocks when it is switched on: nothing. Its entries are larger than it was built with,
/// so that a table of partitions fits into one; it is read for nearly every command, on a card byte by byte.
pub(super) const EMPTY_CACHE: &str = "blkcache configure 0 0\nblkcache configure 40 20";

/// The script with its jump and its reset taken out, and with faults put in.
pub(crate) fn stubbed(script: &str, faults: &[Fault]) -> Result<String> {
    let script = script.strip_suffix("\nreset\n").context("the script does not end in a reset")?;
    let jumps = |line: &&str| line.starts_with("setenv cairn_start ");
    ensure!(script.lines().filter(jumps).count() == 1, "the script has no line, or several, that set cairn_start");
    let line =
        |line: &str| if jumps(&line) { "setenv cairn_start run bench_jump\n".into() } else { format!("{line}\n") };
    let stubbed: String = EMPTY_CACHE.lines().chain(script.lines()).map(line).collect();
    planted(&stubbed, faults)
}

/// A script with faults put in.
pub(crate) fn planted(script: &str, faults: &[Fault]) -> Result<String> {
    let mut script = script.to_owned();
    for (right, wrong) in faults {
        ensure!(script.matches(right).count() == 1, "the script has another form: no place for the fault {wrong}");
        script = script.replace(right, wrong);
    }
    Ok(script)
}

/// What is done instead of the jump: what lies where the kernel and the initramfs were loaded is told.
pub(crate) fn jump() -> String {
    format!(
        "setenv kernel; env import -t ${{kernel_addr_r}} {FILE:x} kernel; setenv initrd; \
         env import -t ${{ramdisk_addr_r}} {FILE:x} initrd; echo cairn-jump ${{kernel}} ${{initrd}} ${{filesize}} ${{bootargs}}"
    )
}

/// U-Boot at its prompt.
pub(crate) struct Session {
    machine: Machine,
    bench: Bench,
    /// What is typed first at a prompt.
    first: [String; 3],
}

impl Session {
    /// Switches the machine on and stops it at its prompt. `find`: what makes the disk known there; `jump`: what is done
    /// instead of a jump.
    pub(crate) fn begin(plan: Plan, find: &str, jump: &str, bench: Bench) -> Result<Self> {
        let first = [
            find.to_owned(),
            "part number ${devtype} ${devnum} storage bench_storage".to_owned(),
            format!("setenv bench_jump '{jump}'"),
        ];
        let mut session = Self { machine: plan.build()?, bench, first };
        session.machine.start()?;
        session.machine.expect(KEY, POWER_ON)?;
        session.stop()?;
        Ok(session)
    }

    /// Comes to the prompt.
    fn stop(&mut self) -> Result<()> {
        self.machine.send("")?;
        self.machine.expect("=> ", POWER_ON)?;
        self.first.clone().iter().try_for_each(|line| self.say(line).map(drop))
    }

    /// Runs one of the scripts as it is, to the reset that it ends in or that what it has started orders. Returns what was
    /// said until then.
    pub(crate) fn run(&mut self, script: usize) -> Result<String> {
        self.load(script)?;
        EMPTY_CACHE.lines().try_for_each(|line| self.say(line).map(drop))?;
        self.machine.send("source ${scriptaddr}")?;
        let said = self.machine.expect(KEY, POWER_ON)?.before;
        self.stop()?;
        Ok(said)
    }

    /// Switches it off.
    pub(crate) fn end(mut self) -> Result<()> {
        Ok(self.machine.power_cut()?)
    }

    /// Types a line; returns what came before the next prompt.
    fn say(&mut self, line: &str) -> Result<String> {
        self.machine.send(line)?;
        Ok(self.machine.expect("\n=> ", ONE_BOOT)?.before)
    }

    /// The disk, to be changed while the machine runs.
    pub(crate) fn bench(&self) -> &Bench {
        &self.bench
    }

    /// Loads one of the scripts on the disk.
    pub(crate) fn load(&mut self, script: usize) -> Result<()> {
        let read =
            self.say(&format!("load ${{devtype}} ${{devnum}}:${{bench_storage}} ${{scriptaddr}} {script}.scr"))?;
        ensure!(read.contains("bytes read"), "U-Boot does not find the script on the disk:\n{read}");
        Ok(())
    }

    /// Runs the script that was loaded; returns what it said.
    pub(crate) fn source(&mut self) -> Result<String> {
        self.say("source ${scriptaddr}; echo cairn-noted ${cairn_noted}")
    }

    /// Asks all these cases of one of the scripts on the disk.
    pub(crate) fn ask(&mut self, script: usize, cases: &[Case]) -> Result<Vec<Seen>> {
        self.load(script)?;
        cases.iter().map(|case| self.case(case).with_context(|| case.name.clone())).collect()
    }

    fn case(&mut self, case: &Case) -> Result<Seen> {
        let nothing = [0; 2 * raw::SECTOR];
        let (wanted, spent) = (case.wanted.as_deref().unwrap_or(&nothing), case.spent.as_deref());
        self.machine.mark(&case.name);
        self.bench.put_wanted(wanted)?;
        self.bench.put(Role::Spent, 0, spent.unwrap_or(&[0; raw::SECTOR]))?;
        let boots: Vec<_> = (0..case.boots()).map(|_| self.boot()).collect::<Result<_>>()?;
        let mut faults = Vec::new();
        if self.bench.wanted()?.as_slice() != wanted {
            faults.push("the script has changed the cell of Linux".into());
        }
        if let Some(note) = boots.last().and_then(|boot| boot.note)
            && self.bench.note()? != raw::encode_spent(&note, HEAD)?
        {
            faults.push(format!("Linux would not have written {note:?} as U-Boot has"));
        }
        Ok(Seen { boots, faults })
    }

    /// One boot, up to the jump or the reset.
    fn boot(&mut self) -> Result<Boot> {
        let said = self.source()?;
        // What the script takes for written, as Linux reads it.
        let note = match raw::note(&self.bench.note()?, HEAD) {
            Note::Read(spent) if said.contains("\ncairn-noted yes") => Some(spent),
            _ => None,
        };
        Ok(Boot { starts: starts(&said), note })
    }
}

/// What the script has tried to start, up to the jump.
fn starts(said: &str) -> Vec<Start> {
    let mut starts: Vec<Start> = Vec::new();
    for line in said.lines().map(str::trim) {
        let words: Vec<_> = line.split(' ').collect();
        match (words.as_slice(), starts.last_mut()) {
            (["cairn:", role, _, kernel], _) => {
                let trail = kernel.strip_prefix("trails/").and_then(|path| path.strip_suffix("/.pv/pv-kernel.img"));
                let role = match trail.map(RevisionId::parse) {
                    Some(Err(_)) => line.to_owned(),
                    _ => (*role).to_owned(),
                };
                let revision = trail.and_then(|name| RevisionId::parse(name).ok());
                starts.push(Start { role, revision, files: Files::NoKernel });
            }
            ([bytes, "bytes", "read", ..], Some(last)) if *bytes == FILE.to_string() => last.files = Files::NoInitrd,
            (["cairn-jump", kernel, initrd, size, arguments @ ..], Some(last)) => {
                let name = last.revision.as_ref().map_or("recovery", |revision| revision.as_str());
                let role = arguments.iter().rev().find_map(|word| word.strip_prefix("cairn.role="));
                let right = *kernel == name && *initrd == name && *size == format!("{FILE:x}");
                // Whatever is not the start that was announced is told as it is, and equals nothing that is expected.
                if right && role == Some(&*last.role) && arguments.contains(&"panic=5") {
                    last.files = Files::Whole;
                } else {
                    last.role = format!("{line}, announced as {}", last.role);
                }
                break;
            }
            _ => {}
        }
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_into_other_files_than_announced_is_not_a_start_of_those() {
        let said = "cairn: default 0:0x6 trails/2/.pv/pv-kernel.img\r\n256 bytes read\r\n256 bytes read\r\n";
        let right = format!("{said}cairn-jump 2 2 100 console=ttyAMA0 panic=5 cairn.role=default\r\n");
        assert_eq!(starts(&right).first().map(|start| start.files), Some(Files::Whole));
        let other = format!("{said}cairn-jump 1 2 100 console=ttyAMA0 panic=5 cairn.role=default\r\n");
        assert_ne!(starts(&other), starts(&right));
        assert_eq!(starts(said).first().map(|start| start.files), Some(Files::NoInitrd));
    }

    #[test]
    fn a_script_of_another_form_takes_no_fault() {
        let script = "setenv cairn_start booti\nreset\n";
        assert!(stubbed(script, &[("no such line", "true")]).is_err());
        assert!(stubbed("setenv cairn_start booti\n", &[]).is_err());
        assert!(!stubbed(script, &[]).unwrap().contains("reset"));
    }
}
