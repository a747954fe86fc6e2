//! Marks: how PID 1 of a machine that is ours learns that the boot before did not end by a cut of the power.
//!
//! ```text
//!   watchdog    the hardware remembers that it has reset the machine      its driver clears that
//!   pstore      a record of a kernel that gave up, also for PID 1's end   removed here, once the boot is opened
//!   cairn.mark  a word of the firmware: the stand-in of a host            –
//! ```
//!
//! A cut is nobody's fault, and a trial gets its attempt back for one. So a mark that is lost is an attempt given back that
//! should not have been, and one that is told twice is an attempt too many that is spent. Records are removed after the
//! journal has this boot open: a cut before that tells them again to a boot that has counted nothing of them, and a cut
//! between the two has them counted twice, which costs one attempt. The other order would lose them. The watchdog's is
//! lost by a cut between its driver and the opening; then the attempt of the boot in between, which opened nothing, is not
//! given back either.
//!
//! Every error here is a warning.

use std::fs::File;
use std::path::{Path, PathBuf};

use metal::pstore::{self, Record};

use crate::logs::{Log, limit_in};
use crate::voice::Voice;

/// The longest log of last words, in bytes; there is one before it.
const LIMIT: u64 = 256 * 1024;

/// What is known of the end of the boot before.
#[derive(Debug, Default)]
pub struct Marks {
    told: bool,
    fired: bool,
    records: Vec<Record>,
    keeper: Option<String>,
}

impl Marks {
    /// `told`: the firmware has said so.
    #[must_use]
    pub fn new(told: bool) -> Self {
        Self { told, ..Self::default() }
    }

    /// The watchdog has, or has not, ended the boot before.
    pub fn add_watchdog(&mut self, fired: bool) {
        self.fired = fired;
    }

    /// Looks at what kernels have left. For after the modules: who keeps that may be one.
    pub fn add_records(&mut self, log: &Voice) {
        let dir = Path::new(pstore::DIR);
        self.keeper = pstore::backend(Path::new(pstore::BACKEND));
        if self.keeper.is_none() {
            return log.info("marks", &"what this kernel says when it gives up is not kept");
        }
        let records = pstore::show(dir).map_err(std::io::Error::from).and_then(|()| pstore::records(dir));
        match records {
            Ok(records) => self.records = records,
            Err(error) => log.warn("marks", &format_args!("{}: {error}", dir.display())),
        }
    }

    /// Whether there is a mark.
    #[must_use]
    pub fn any(&self) -> bool {
        self.told || self.fired || !self.records.is_empty()
    }

    /// Whether the end of this kernel will be told to the next one.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.keeper.is_some()
    }

    /// How the boot before has ended, for a person.
    #[must_use]
    pub fn words(&self) -> Option<String> {
        match (self.records.is_empty(), self.fired) {
            (false, _) => {
                let why = pstore::last_words(&self.records).map(|why| format!(": {why}")).unwrap_or_default();
                // Not in the words of a kernel: who watches a console takes those for the end of this boot.
                Some(format!("the kernel of the boot before gave up{why}"))
            }
            (true, true) => Some("the boot before was ended by the watchdog".into()),
            (true, false) => None,
        }
    }

    /// Keeps what the records say in a log, and removes them. For after this boot was opened, on a thread that may wait:
    /// firmware is slow. `logs` is the directory of all logs.
    pub fn put_away(self, logs: &Path) {
        if self.records.is_empty() {
            return;
        }
        let path = last_words_in(logs);
        let mut log = Log::new(path.clone(), LIMIT.min(limit_in(logs)));
        log.append(b"---- the kernel gave up\n");
        for record in &self.records {
            log.append(record.text.as_bytes());
        }
        // A disk without room has no log of it, and still no mark that is told for ever.
        let _ = File::open(path).and_then(|file| file.sync_all());
        for record in &self.records {
            if let Err(error) = pstore::remove(record) {
                log.append(format!("---- {}: {error}; it will be told again\n", record.path.display()).as_bytes());
            }
        }
    }
}

/// The log of what kernels said last, in the directory of all logs.
fn last_words_in(logs: &Path) -> PathBuf {
    logs.join("helpers").join("kernel.log")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_record(dir: &Path) -> Marks {
        let text = "Panic#1 Part1\n<0>[ 9.1] Kernel panic - not syncing: Attempted to kill init!\n";
        std::fs::write(dir.join("dmesg-ramoops-0"), text).unwrap();
        Marks { records: pstore::records(dir).unwrap(), ..Marks::default() }
    }

    #[test]
    fn each_source_is_a_mark_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!Marks::default().any() && Marks::default().words().is_none());
        assert!(Marks::new(true).any());
        let mut marks = Marks::default();
        marks.add_watchdog(true);
        assert!(marks.any() && marks.words().unwrap().contains("watchdog"));
        let mut marks = with_record(dir.path());
        marks.add_watchdog(true);
        assert!(marks.any() && marks.words().unwrap().ends_with("gave up: Attempted to kill init!"));
    }

    #[test]
    fn what_a_kernel_said_last_is_kept_before_it_is_removed() {
        let (dir, logs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let marks = with_record(dir.path());
        let record = marks.records[0].path.clone();
        assert!(record.exists(), "looking at it leaves it there");
        marks.put_away(logs.path());
        let kept = std::fs::read_to_string(last_words_in(logs.path())).unwrap();
        assert!(kept.contains("Attempted to kill init!"));
        assert!(!record.exists());
    }

    #[test]
    fn a_mark_does_not_outlive_a_log_that_cannot_be_written() {
        let dir = tempfile::tempdir().unwrap();
        let marks = with_record(dir.path());
        marks.put_away(Path::new("/proc/self/none"));
        assert_eq!(pstore::records(dir.path()).unwrap(), []);
    }
}
