//! What PID 1 says to people, from the executor: lines on the console and in the log of the revision.

use std::cell::RefCell;
use std::fmt::Display;
use std::fs::File;
use std::path::PathBuf;

use statemachine::ids::RevisionId;

use crate::clock::Clock;
use crate::logs::{DeviceLog, Level, Log, SharedLog, limit_in};

/// Lines with a source and a level.
pub struct Voice {
    clock: Clock,
    device: RefCell<DeviceLog>,
    /// The directory of all logs.
    dir: PathBuf,
}

impl Voice {
    /// Speaks to the console until [`keep`](Self::keep). `dir` is the directory of all logs.
    #[must_use]
    pub fn new(clock: Clock, console: Option<File>, dir: PathBuf) -> Self {
        Self { clock, device: RefCell::new(DeviceLog::new(console)), dir }
    }

    /// From now on lines are kept in the logs of this revision.
    pub fn keep(&self, revision: &RevisionId) {
        self.device.borrow_mut().keep(&self.dir, revision, limit_in(&self.dir));
    }

    /// From now on lines are for the console only.
    pub fn let_go(&self) {
        self.device.borrow_mut().let_go();
    }

    /// What happens.
    pub fn info(&self, source: &str, text: &dyn Display) {
        self.line(Level::Info, source, text);
    }

    /// Something deserves a look.
    pub fn warn(&self, source: &str, text: &dyn Display) {
        self.line(Level::Warn, source, text);
    }

    /// Something was not done.
    pub fn error(&self, source: &str, text: &dyn Display) {
        self.line(Level::Error, source, text);
    }

    /// The log of a container.
    #[must_use]
    pub fn console_of(&self, revision: &RevisionId, name: &str) -> SharedLog {
        Log::of_container(&self.dir, revision, name, limit_in(&self.dir), self.clock).shared()
    }

    /// Where the log of a container lies.
    #[must_use]
    pub fn path_of_console(&self, revision: &RevisionId, name: &str) -> PathBuf {
        crate::logs::path_of_container(&self.dir, revision, name)
    }

    /// The log of a helper, which belongs to no revision.
    #[must_use]
    pub fn log_of_helper(&self, name: &str) -> SharedLog {
        Log::new(self.dir.join("helpers").join(format!("{name}.log")), limit_in(&self.dir)).shared()
    }

    fn line(&self, level: Level, source: &str, text: &dyn Display) {
        self.device.borrow_mut().line(self.clock.now(), level, source, text);
    }
}
