//! A cut disk in a machine that is switched on again, with nobody there to help.
//!
//! Law: it comes to rest on the old revision or the new one, with every container at its goal, and on the new one if
//! that was told to be the default. Keys are pressed only to look, once a shell asks for them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use machine::{Kind, Machine};

use crate::disk::Disk;
use crate::known::Revisions;
use crate::nbd::Shared;
use crate::promise::Promises;
use crate::record::plan;

/// From power on to rest: three boots of a trial and one of what was before, under emulation on a busy machine.
const LONGEST: Duration = Duration::from_secs(400);

/// How long an answer of the shell takes.
const ANSWER: Duration = Duration::from_secs(30);

/// Where machines are made.
pub(crate) struct Bench {
    pub(crate) kind: Kind,
    pub(crate) packages: Option<PathBuf>,
    /// For consoles of those that failed.
    pub(crate) dir: PathBuf,
}

impl Bench {
    /// Boots a disk; the name of the revision that it rests on, or why it is a brick. `number` names its files.
    pub(crate) fn boot(
        &self,
        disk: Disk,
        revisions: &Revisions,
        told: &Promises,
        number: usize,
    ) -> Result<String, String> {
        let socket = std::env::temp_dir().join(format!("cairn-diskcuts-{}-{number}.disk", std::process::id()));
        let log = self.dir.join(format!("boot-{number}.log"));
        let _ = std::fs::remove_file(&socket);
        let rested = self.rested(disk, &socket, &log);
        let _ = std::fs::remove_file(&socket);
        let id = rested.map_err(|why| format!("{why}\n      its console: {}", log.display()))?;
        let allowed = revisions.0.get(told.committed..=told.posted).unwrap_or_default();
        if allowed.iter().any(|known| known.id.as_str() == id) {
            let _ = std::fs::remove_file(&log);
            Ok(id)
        } else {
            Err(format!("it rests on {id}; its console: {}", log.display()))
        }
    }

    fn rested(&self, disk: Disk, socket: &Path, log: &Path) -> Result<String, String> {
        let shared = Shared::new(disk, None);
        shared.serve_at(socket).map_err(|error| error.to_string())?;
        let plan = plan(self.kind, self.packages.as_deref(), socket).log(log);
        let mut machine = plan.build().map_err(|error| error.to_string())?;
        machine.start().map_err(|error| error.to_string())?;
        let rested = rest(&mut machine);
        // It is done with, whatever it says.
        let _ = machine.power_cut();
        rested
    }
}

/// Waits until it rests; on what.
fn rest(machine: &mut Machine) -> Result<String, String> {
    let patience = machine.patience();
    let end = Instant::now() + LONGEST.mul_f64(patience);
    // The machine is as patient once more.
    let left = || end.saturating_duration_since(Instant::now()).div_f64(patience);
    let first_line = |error: machine::Error| error.to_string().lines().next().unwrap_or_default().to_owned();
    loop {
        // Both stand in every boot that comes so far; the shell is the last container to start.
        machine.expect_through_resets(&["-> Idle"], left()).map_err(first_line)?;
        machine.send("").map_err(first_line)?;
        // Until it leaves that boot.
        while machine.expect_through_resets(&["device# ", "[boot]: "], left()).map_err(first_line)?.which == 0 {
            // The echo of the order comes first, and what PID 1 says may come into the midst of it: so nobody waits for
            // the echo, and it is nothing that the answer could be taken for.
            machine.send("pvcontrol ls; echo loo''ked").map_err(first_line)?;
            let found = machine.expect_through_resets(&["\nlooked", "[boot]: "], ANSWER).map_err(first_line)?;
            if found.which != 0 {
                break;
            }
            if let Some(id) = at_rest(&found.before) {
                return Ok(id);
            }
            if left().is_zero() {
                return Err(format!("it does not come to rest: {}", found.before.trim()));
            }
            std::thread::sleep(Duration::from_secs(1));
            machine.send("").map_err(first_line)?;
        }
    }
}

/// The revision, if what `pvcontrol ls` says is rest: nothing is under way, what runs is the default, and every container
/// is at its goal.
fn at_rest(said: &str) -> Option<String> {
    let value = |name: &str| {
        let line = said.lines().find_map(|line| line.trim().strip_prefix(name))?;
        line.split_ascii_whitespace().next().map(str::to_owned)
    };
    let update = said.lines().find(|line| line.trim().starts_with("update "))?;
    let mut rows = said.lines().skip_while(|line| !line.starts_with("NAME")).skip(1);
    let mut count = 0;
    let all = rows.by_ref().take_while(|line| !line.trim().is_empty()).all(|line| {
        // Words of PID 1 may stand between.
        if line.contains("[pantavisor]") {
            return true;
        }
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        count += 1;
        matches!(words.as_slice(), [_, _, status, goal, ..] if status == goal)
    });
    let id = value("revision ")?;
    (update.contains("(Idle)") && value("default ")? == id && all && count > 0).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "board     b/first-light\r\nrevision  locals/two\r\ndefault   locals/two DONE\r\nfactory   0\r\n\
                        update    locals/two committed (Idle)\r\nup        12s\r\n\r\n\
                        NAME   GROUP     STATUS   GOAL     RESTARTS\r\n\
                        heart  root      STARTED  STARTED  0\r\nready  platform  READY    READY    0\r\n";

    #[test]
    fn rest_is_nothing_under_way_and_everything_at_its_goal() {
        assert_eq!(at_rest(SAID).as_deref(), Some("locals/two"));
        assert_eq!(at_rest(&SAID.replace("READY    READY", "STARTED  READY")), None);
        assert_eq!(at_rest(&SAID.replace("(Idle)", "(Testing)")), None);
        assert_eq!(at_rest(&SAID.replace("default   locals/two", "default   0")), None);
        assert_eq!(at_rest("revision  0\r\ndefault 0\r\nupdate 0 (Idle)\r\nNAME\r\n"), None);
    }
}
