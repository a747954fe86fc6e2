//! A card instead of a disk: which sectors came with one command, and what a power cut can take from it.
//!
//! ```text
//!   guest    CMD25 ▢▢▢▢▢▢▢▢ CMD12 ··· CMD24 ▢ ···        one write of the guest is one command
//!   QEMU     ▢ ▢ ▢ ▢ ▢ ▢ ▢ ▢          ▢                  asks its disk for one sector after the other
//!   our log  write of 8 sectors       write of 1         each to the medium
//! ```
//!
//! **QEMU's card has no cache.** It has each sector on its disk before it takes the next one, there is no flush in the
//! protocol of such cards, and Linux, told of no cache, sends none: a log of one has no flush, and [`Commands::gather`]
//! fails if it has. So what was answered stays, and the power can only be cut in the midst of the one command that is under
//! way; of that one any sectors may be there, in any order, as a card that writes them promises none. Dropped, reordered
//! or torn *behind* an answer nothing can be: that is what the control does, a card that answers before it writes.
//!
//! Real cards with a cache (from version 6 of their specification on) have it off until the system switches it on, which
//! Linux does from 5.13 on together with flushes. Those are disks as all others, and cut as such on the other boards. A
//! card that damages sectors nobody wrote, when its power goes, is not among what is tried here.
//!
//! Which sectors belong to one command QEMU says when asked to trace (`hw/sd/sd.c`). Its words are put beside the log,
//! sector by sector, and must agree with it.

use std::fs;
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};
use machine::Plan;
use tempfile::TempDir;

use crate::log::{Log, What};

/// What QEMU is asked to trace.
const COMMAND: &str = "sdcard_normal_command";
const SECTOR: &str = "sdcard_write_block";

/// What QEMU says of the commands to its card, a file for each of its starts.
pub(crate) struct Commands(TempDir);

impl Commands {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(TempDir::with_prefix("cairn-card-").context("cannot create a directory")?))
    }

    /// A machine that says it.
    pub(crate) fn traced(&self, plan: Plan) -> Plan {
        // The number of its process makes a name of its own for each start.
        let file = self.0.path().join("%d.trace").display().to_string();
        ["-trace", COMMAND, "-trace", SECTOR, "-D", &file].into_iter().fold(plan, Plan::arg)
    }

    /// The log of a card, with a write to the medium for each command.
    pub(crate) fn gather(&self, log: Log) -> Result<Log> {
        let mut files: Vec<(SystemTime, String)> = Vec::new();
        for entry in fs::read_dir(self.0.path()).context("cannot read what QEMU has traced")? {
            let entry = entry?;
            files.push((entry.metadata()?.modified()?, fs::read_to_string(entry.path())?));
        }
        // One was written to its end before the next one began.
        files.sort_unstable();
        gather(log, files.iter().flat_map(|(_, text)| text.lines().filter_map(Traced::parse)))
    }
}

/// A line of the trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Traced {
    /// A command has come.
    Command,
    /// A sector of the one before goes to the disk.
    Sector { at: u64, length: u64 },
}

impl Traced {
    /// `None`: it is about something else.
    fn parse(line: &str) -> Option<Self> {
        if line.contains(COMMAND) {
            return Some(Self::Command);
        }
        let (_, said) = line.split_once(SECTOR)?;
        let number = |name: &str| {
            let (_, rest) = said.split_once(name)?;
            u64::from_str_radix(rest.split_ascii_whitespace().next()?.strip_prefix("0x")?, 16).ok()
        };
        Some(Self::Sector { at: number(" addr ")?, length: number(" size ")? })
    }
}

/// Sectors that came with one command become one write.
fn gather(log: Log, traced: impl Iterator<Item = Traced>) -> Result<Log> {
    let mut traced = traced.peekable();
    let mut gathered = Log::default();
    let mut open: Option<(u64, Vec<u8>)> = None;
    for entry in log.entries {
        match entry.what {
            What::Told(text) => {
                // In the midst of a command the guest stands still: what it says then it has said before.
                if !matches!(traced.peek(), Some(Traced::Sector { .. })) {
                    close(&mut gathered, open.take());
                }
                gathered.tell(text);
            }
            What::Write { at, bytes, .. } => {
                let mut is_new = false;
                while traced.next_if_eq(&Traced::Command).is_some() {
                    is_new = true;
                }
                let found = traced.next();
                if found != Some(Traced::Sector { at, length: bytes.len() as u64 }) {
                    bail!("QEMU's trace and the log of its card disagree: {found:x?}, and a write at {at:#x}");
                }
                match &mut open {
                    Some((start, sectors)) if !is_new && *start + sectors.len() as u64 == at => sectors.extend(bytes),
                    _ => close(&mut gathered, open.replace((at, bytes))),
                }
            }
            What::Flush | What::Trim { .. } => bail!("a card without a cache was asked for more than reads and writes"),
        }
    }
    close(&mut gathered, open);
    Ok(gathered)
}

/// A command is over.
fn close(log: &mut Log, command: Option<(u64, Vec<u8>)>) {
    if let Some((at, bytes)) = command {
        log.begin_batch();
        log.push(What::Write { at, bytes, fua: true });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use board_qemu_arm_orangepi_pc::{LOADER, LOADER_AT};
    use machine::Kind;

    use crate::disk::Disk;
    use crate::nbd::Shared;

    const BOOT: Duration = Duration::from_secs(60);

    const TRACE: &str = "1@2.3:sdcard_normal_command SD WRITE_MULTIPLE_BLOCK/ CMD25 arg 0x00000200 (mode transfer)\n\
                         1@2.4:sdcard_write_block addr 0x200 size 0x200\n\
                         sdcard_write_block addr 0x400 size 0x200\n\
                         sdcard_normal_command SD STOP_TRANSMISSION/ CMD12 arg 0x00000000\n\
                         sdcard_response ...\n\
                         sdcard_normal_command SD WRITE_BLOCK/ CMD24 arg 0x00000600\n\
                         sdcard_write_block addr 0x600 size 0x200\n";

    fn sector(number: u64) -> What {
        What::Write { at: number * 512, bytes: vec![number as u8; 512], fua: false }
    }

    /// A log in which everything came alone.
    fn log(of: impl IntoIterator<Item = What>) -> Log {
        let mut log = Log::default();
        for what in of {
            log.begin_batch();
            log.push(what);
        }
        log
    }

    fn gathered(of: impl IntoIterator<Item = What>) -> Result<Vec<What>> {
        let log = gather(log(of), TRACE.lines().filter_map(Traced::parse))?;
        assert!(log.entries.is_sorted_by(|one, other| one.batch < other.batch), "each stands alone");
        Ok(log.entries.into_iter().map(|entry| entry.what).collect())
    }

    fn command(first: u64, count: u64) -> What {
        let bytes = (first..first + count).flat_map(|number| [number as u8; 512]).collect();
        What::Write { at: first * 512, bytes, fua: true }
    }

    #[test]
    fn sectors_of_one_command_are_one_write_even_where_the_next_one_goes_on() {
        assert_eq!(gathered([1, 2, 3].map(sector)).unwrap(), [command(1, 2), command(3, 1)]);
    }

    /// QEMU's own card under a real U-Boot: what this file takes for granted.
    #[test]
    fn a_card_is_never_flushed_and_has_its_commands_from_both_sides_of_a_power_cycle() {
        let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"));
        let loader = fs::read(target.join("packages/armhf").join(LOADER.0).join(LOADER.1)).expect("cargo xtask setup");
        let mut card = Disk::new(vec![0; 8 << 20]);
        card.write(LOADER_AT, &loader);
        let (shared, dir) = (Shared::new(card, Some(Log::default())), tempfile::tempdir().unwrap());
        let socket = dir.path().join("disk");
        shared.serve_at(&socket).unwrap();
        let commands = Commands::new().unwrap();
        let plan = Plan::new(Kind::OrangePiPc).disk(machine::Disk::served_at(&socket));
        let mut machine = commands.traced(plan.packages(target.join("packages"))).build().unwrap();
        machine.start().unwrap();
        for order in ["reset", ""] {
            machine.expect_through_resets(&["Hit any key"], BOOT).unwrap();
            machine.keyboard().unwrap().press(b" ").unwrap();
            machine.expect("\n=> ", BOOT).unwrap();
            machine.send("mmc write ${loadaddr} 1000 8; mmc write ${loadaddr} 1008 1").unwrap();
            machine.expect("8 blocks written: OK", BOOT).unwrap();
            machine.expect("1 blocks written: OK", BOOT).unwrap();
            machine.send(order).unwrap();
        }
        assert_eq!(machine.starts(), 2);
        machine.power_cut().unwrap();
        let log = shared.lock().log.take().unwrap();
        let writes: Vec<_> = commands.gather(log).unwrap().entries.into_iter().map(|entry| entry.what).collect();
        let places = writes.iter().map(|what| match what {
            What::Write { at, bytes, fua: true } => (at / 512, bytes.len() / 512),
            other => panic!("{other:?}"),
        });
        assert_eq!(places.collect::<Vec<_>>(), [(0x1000, 8), (0x1008, 1), (0x1000, 8), (0x1008, 1)]);
    }

    #[test]
    fn what_is_told_between_commands_stays_there_and_within_one_it_was_said_before() {
        let told = |text: &str| What::Told(text.to_owned());
        let between = [sector(1), sector(2), told("done"), sector(3), told("end")];
        assert_eq!(gathered(between).unwrap(), [command(1, 2), told("done"), command(3, 1), told("end")]);
        let within = [sector(1), told("still"), sector(2), sector(3)];
        assert_eq!(gathered(within).unwrap(), [told("still"), command(1, 2), command(3, 1)]);
    }

    #[test]
    fn a_trace_of_other_writes_and_a_card_that_is_flushed_are_refused() {
        assert!(gathered([1, 3].map(sector)).is_err());
        assert!(gathered([1, 2, 3, 4].map(sector)).is_err(), "more than was traced");
        assert!(gathered([sector(1), What::Flush]).is_err());
    }
}
