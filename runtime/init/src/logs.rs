//! Logs: what containers write to their outputs, and what PID 1 has to say.
//!
//! ```text
//!   STORAGE/logs/REVISION/web/console.log            as the container wrote it        at most `limit` bytes, then
//!                            /console.log.1          what was before                  … renamed to this
//!                            /console.log.times      when it was read: see `times.rs`
//!                         pantavisor/pantavisor.log  [pantavisor] SECONDS LEVEL\t -- [SOURCE]: TEXT
//! ```
//!
//! Nothing here fails its caller, and nothing is synced: a log is what there is time and room for. What cannot be
//! written is counted and dropped, and the next line tries again, so a disk that has room again has logs again.
//!
//! Every call blocks. Both kinds of logs are for one thread at a time.

pub mod follow;
mod times;

use std::cell::RefCell;
use std::fmt::{self, Display, Write as _};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use formats::log_times::Now;
use statemachine::container::Time;
use statemachine::ids::RevisionId;
use times::Times;

use crate::clock::Clock;

/// When a file is renamed, in bytes: at most, and where there is room for so many.
pub const LIMIT: u64 = 1 << 20;

/// On a small storage a file has this part of it, so that the logs of twenty containers, and their times, leave room for an
/// update.
const SHARE: u64 = 144;

/// Less is of no use to anybody.
const LIMIT_MIN: u64 = 16 * 1024;

/// The limit of a log where all logs are in this directory.
#[must_use]
pub fn limit_in(logs: &Path) -> u64 {
    // It is made with the first log.
    let storage = [Some(logs), logs.parent()].into_iter().flatten().find_map(|dir| rustix::fs::statvfs(dir).ok());
    storage.map_or(LIMIT_MIN, |storage| limit_of(storage.f_blocks.saturating_mul(storage.f_frsize)))
}

fn limit_of(storage: u64) -> u64 {
    (storage / SHARE).clamp(LIMIT_MIN, LIMIT)
}

/// Where the log of a container lies: `logs` is the directory of all logs.
#[must_use]
pub fn path_of_container(logs: &Path, id: &RevisionId, name: &str) -> PathBuf {
    logs.join(id.as_str()).join(name).join("console.log")
}

/// The longest text of a line, in bytes.
const TEXT_MAX: usize = 8 * 1024;

/// A log that several tasks write to: with one of its own, each would miss what the others have written, and rename the file
/// from under them.
pub type SharedLog = Rc<RefCell<Log>>;

/// A file that grows up to a limit and then begins anew, keeping one before it.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    limit: u64,
    /// The open file and its length.
    file: Option<(File, u64)>,
    lost: u64,
    /// When it was written is kept, too, by this clock.
    times: Option<(Times, Clock)>,
}

impl Log {
    /// A log at a path. The file and the directories above it are made with the first bytes.
    #[must_use]
    pub fn new(path: PathBuf, limit: u64) -> Self {
        Self { path, limit, file: None, lost: 0, times: None }
    }

    /// The log of a container, with its times: `logs` is the directory of all logs.
    #[must_use]
    pub fn of_container(logs: &Path, id: &RevisionId, name: &str, limit: u64, clock: Clock) -> Self {
        Self { times: Some((Times::default(), clock)), ..Self::new(path_of_container(logs, id, name), limit) }
    }

    /// The same for several tasks.
    #[must_use]
    pub fn shared(self) -> SharedLog {
        Rc::new(RefCell::new(self))
    }

    /// Writes bytes at the end, or drops them.
    pub fn append(&mut self, bytes: &[u8]) {
        let now = self.times.as_ref().map(|(_, clock)| clock.moment());
        self.append_at(bytes, now);
    }

    /// The same, as if it were then.
    fn append_at(&mut self, bytes: &[u8], now: Option<Now>) {
        for part in bytes.chunks(usize::try_from(self.limit.max(1)).unwrap_or(usize::MAX)) {
            if self.write(part, now).is_err() {
                // Half of it may be there; where it ends is found anew.
                self.file = None;
                self.lost = self.lost.saturating_add(length(part));
            }
        }
    }

    /// How many bytes were dropped so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn write(&mut self, part: &[u8], now: Option<Now>) -> io::Result<()> {
        let (file, end) = match self.file.take() {
            Some(open) => open,
            None => self.open()?,
        };
        let full = end > 0 && end.saturating_add(length(part)) > self.limit;
        let (mut file, end) = if full { self.rotate(file)? } else { (file, end) };
        file.write_all(part)?;
        if let Some(((times, _), now)) = self.times.as_mut().zip(now) {
            times.note((&self.path, &file), self.limit, end, part, now);
        }
        self.file = Some((file, end.saturating_add(length(part))));
        Ok(())
    }

    fn open(&mut self) -> io::Result<(File, u64)> {
        self.times.iter_mut().for_each(|(times, _)| times.close());
        if let Some(dir) = self.path.parent() {
            fs::create_dir_all(dir)?;
        }
        let file = OpenOptions::new().create(true).append(true).mode(0o640).open(&self.path)?;
        let end = file.metadata()?.len();
        Ok((file, end))
    }

    fn rotate(&mut self, file: File) -> io::Result<(File, u64)> {
        let (before, marks) = (before(&self.path), times::path(&self.path));
        if fs::rename(&self.path, &before).is_err() {
            // Then what was before is given up instead of the bound.
            file.set_len(0)?;
            let _ = fs::remove_file(marks);
        } else if self.times.is_some() {
            // Marks in the wrong place are found by whose they are, or not at all. What is renamed over another file is written
            // to its medium at once by ext4, which nothing here asks for.
            let kept = times::path(&before);
            let _ = fs::remove_file(&kept);
            let _ = fs::rename(marks, kept);
        }
        drop(file);
        self.open()
    }
}

/// Where a log is moved to when it is full.
fn before(log: &Path) -> PathBuf {
    let mut before = log.as_os_str().to_owned();
    before.push(".1");
    before.into()
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// How much a line matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// The device cannot go on.
    Fatal,
    /// Something was not done.
    Error,
    /// Something deserves a look.
    Warn,
    /// What happens.
    Info,
    /// What happens inside.
    Debug,
}

impl Level {
    /// The word as tools know it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Fatal => "FATAL",
            Self::Error => "ERROR",
            Self::Warn => "WARN",
            Self::Info => "INFO",
            Self::Debug => "DEBUG",
        }
    }
}

/// What PID 1 has to say, to a file of the revision and to the console of the device.
#[derive(Debug)]
pub struct DeviceLog {
    /// There is none before the storage is mounted.
    log: Option<Log>,
    console: Option<File>,
}

impl DeviceLog {
    /// A log that speaks to the console only, until [`keep`](Self::keep).
    #[must_use]
    pub fn new(console: Option<File>) -> Self {
        Self { log: None, console }
    }

    /// From now on lines are kept in the logs of a revision: `logs` is the directory of all logs.
    pub fn keep(&mut self, logs: &Path, id: &RevisionId, limit: u64) {
        self.log = Some(Log::new(logs.join(id.as_str()).join("pantavisor/pantavisor.log"), limit));
    }

    /// From now on lines are for the console only: the file system of the logs is let go.
    pub fn let_go(&mut self) {
        self.log = None;
    }

    /// Writes one line. `source` is the part of PID 1 that speaks.
    pub fn line(&mut self, now: Time, level: Level, source: &str, text: impl Display) {
        let line = line(now, level, source, &text);
        if let Some(console) = &mut self.console {
            // A console that nobody holds is no reason to stop.
            let _ = console.write_all(line.as_bytes());
        }
        if let Some(log) = &mut self.log {
            log.append(line.as_bytes());
        }
    }

    /// How many bytes were dropped so far, of the file.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.log.as_ref().map_or(0, Log::lost)
    }
}

fn line(now: Time, level: Level, source: &str, text: &impl Display) -> String {
    let mut line = format!("[pantavisor] {}.{:03} {}\t -- [{source}]: ", now.0 / 1000, now.0 % 1000, level.word());
    let end = line.len().saturating_add(TEXT_MAX);
    // It stops at the limit by an error, which is no failure.
    let _ = write!(OneLine { line: &mut line, end }, "{text}");
    line.push('\n');
    line
}

/// Writes text without anything that would begin another line or speak to a terminal.
struct OneLine<'a> {
    line: &'a mut String,
    end: usize,
}

impl fmt::Write for OneLine<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if self.line.len() >= self.end {
                return Err(fmt::Error);
            }
            if c.is_control() {
                write!(self.line, "{}", c.escape_default())?;
            } else {
                self.line.push(c);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("cairn-logs-{}-{name}", std::process::id()));
            fs::create_dir_all(&dir).unwrap();
            Self(dir)
        }

        fn read(&self, below: &str) -> String {
            fs::read_to_string(self.0.join(below)).unwrap()
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_log_keeps_the_last_bytes_and_once_as_many_before_them() {
        let place = Place::new("rotate");
        let id = RevisionId::parse("locals/x").unwrap();
        let mut log = Log::of_container(&place.0, &id, "web", 10, Clock::start());
        for part in ["aaaa\n", "bbbb\n", "cccc\n", "dddd\n", "eeee\n"] {
            log.append(part.as_bytes());
        }
        assert_eq!(place.read("locals/x/web/console.log"), "eeee\n");
        assert_eq!(place.read("locals/x/web/console.log.1"), "cccc\ndddd\n");
        log.append(&[b'x'; 25]);
        assert_eq!((place.read("locals/x/web/console.log").len(), log.lost()), (5, 0));
    }

    #[test]
    fn what_two_tasks_write_to_a_log_that_they_share_is_in_one_order_and_nothing_of_it_is_renamed_away() {
        let place = Place::new("shared");
        let one = Log::new(place.0.join("log"), 10).shared();
        let other = Rc::clone(&one);
        for (log, part) in [(&one, "aaaa\n"), (&other, "bbbb\n"), (&one, "cccc\n"), (&other, "dddd\n"), (&one, "ee\n")]
        {
            log.borrow_mut().append(part.as_bytes());
        }
        assert_eq!((place.read("log").as_str(), place.read("log.1").as_str()), ("ee\n", "cccc\ndddd\n"));
    }

    #[test]
    fn a_log_goes_on_where_an_earlier_life_has_ended() {
        let place = Place::new("again");
        for part in ["one\n", "two\n", "three\n"] {
            Log::new(place.0.join("log"), 9).append(part.as_bytes());
        }
        assert_eq!((place.read("log").as_str(), place.read("log.1").as_str()), ("three\n", "one\ntwo\n"));
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_the_next_bytes_are_tried_again() {
        let place = Place::new("lost");
        fs::write(place.0.join("dir"), "in the way").unwrap();
        let mut log = Log::new(place.0.join("dir/log"), LIMIT);
        log.append(b"12345");
        assert_eq!(log.lost(), 5);
        fs::remove_file(place.0.join("dir")).unwrap();
        log.append(b"6");
        assert_eq!((place.read("dir/log").as_str(), log.lost()), ("6", 5));
    }

    #[test]
    fn the_logs_of_many_containers_leave_room_on_a_small_storage() {
        let two_files_each_of_twenty = |storage: u64| 40 * limit_of(storage) * 9 / 8;
        assert!(two_files_each_of_twenty(16 << 20) < (16 << 20) / 3);
        assert_eq!((limit_of(1 << 40), limit_of(1 << 20)), (LIMIT, LIMIT_MIN));
        assert!(limit_in(Path::new("/proc/self/none")) >= LIMIT_MIN, "nothing there is no failure");
    }

    #[test]
    fn a_full_disk_fails_nobody() {
        let mut log = Log::new(PathBuf::from("/dev/full"), LIMIT);
        log.append(b"12345");
        assert_eq!(log.lost(), 5);
    }

    #[test]
    fn a_line_is_one_line_whatever_its_text_holds() {
        let place = Place::new("line");
        let console = File::create(place.0.join("tty")).unwrap();
        let mut log = DeviceLog::new(Some(console));
        log.line(Time(59), Level::Info, "init", "before the storage");
        log.keep(&place.0, &RevisionId::factory(), LIMIT);
        log.line(Time(12_345), Level::Warn, "engine", format_args!("a\nb\u{1b}[2J"));
        let kept = "[pantavisor] 12.345 WARN\t -- [engine]: a\\nb\\u{1b}[2J\n";
        assert_eq!(place.read("0/pantavisor/pantavisor.log"), kept);
        assert_eq!(place.read("tty"), format!("[pantavisor] 0.059 INFO\t -- [init]: before the storage\n{kept}"));
        assert!(line(Time(0), Level::Debug, "x", &"y".repeat(TEXT_MAX * 2)).len() < TEXT_MAX + 64);
    }
}
