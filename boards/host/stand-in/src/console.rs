//! What a device says: its console into a bounded file, its trace as lines of events.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use anyhow::{Context as _, Result};
use rustix::fd::OwnedFd;
use serde_json::{Value, json};

/// Bytes of `console.log`; as many again are kept in `console.log.1`.
const CONSOLE_MAX: u64 = 4 << 20;

/// Bytes of one line of the trace; what is longer is cut, and then no JSON.
const LINE_MAX: u64 = 64 << 10;

/// The file of events, if there is one, and the time since the stand-in has started.
#[derive(Clone)]
pub(crate) struct Events {
    file: Option<Arc<Mutex<File>>>,
    start: Instant,
}

impl Events {
    /// Events go to the end of this file.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self> {
        let open = |path: &Path| {
            let file = File::options().create(true).append(true).open(path);
            file.with_context(|| format!("cannot open {}", path.display()))
        };
        let file = path.map(open).transpose()?.map(|file| Arc::new(Mutex::new(file)));
        Ok(Self { file, start: Instant::now() })
    }

    /// Whether anybody wants to know.
    pub(crate) fn wanted(&self) -> bool {
        self.file.is_some()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Adds an event of the stand-in.
    pub(crate) fn add(&self, boot: u64, event: &str, mut members: Value) {
        if let Some(object) = members.as_object_mut() {
            object.insert("event".to_owned(), event.into());
            object.insert("boot".to_owned(), boot.into());
            object.insert("t".to_owned(), self.now().into());
        }
        self.write(&format!("{members}\n"));
    }

    /// Adds a line of PID 1.
    fn forward(&self, boot: u64, line: &[u8]) {
        let at = self.now();
        let text = String::from_utf8_lossy(line);
        let text = text.trim();
        let line = match serde_json::from_str(text) {
            // Its own members stay as they were written.
            Ok(Value::Object(members)) => {
                let rest = text.strip_prefix('{').unwrap_or_default();
                format!("{{\"boot\":{boot},\"at\":{at}{}{rest}", if members.is_empty() { "" } else { "," })
            }
            _ => json!({"event": "unreadable", "boot": boot, "at": at, "line": text}).to_string(),
        };
        self.write(&format!("{line}\n"));
    }

    fn write(&self, line: &str) {
        let Some(file) = &self.file else { return };
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.write_all(line.as_bytes()) {
            eprintln!("an event is lost: {error}: {line}");
        }
    }
}

/// Forwards the trace of one boot until nobody is left who could write to it.
pub(crate) fn trace(pipe: OwnedFd, boot: u64, events: Events) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut pipe = BufReader::new(File::from(pipe));
        let mut line = Vec::new();
        while matches!(pipe.by_ref().take(LINE_MAX).read_until(b'\n', &mut line), Ok(length) if length > 0) {
            events.forward(boot, &line);
            line.clear();
        }
    })
}

/// Keeps the console of one boot until nobody is left who could write to it.
pub(crate) fn keep(pipe: OwnedFd, path: PathBuf, shown: bool) -> Result<JoinHandle<()>> {
    let mut log = Log::open(path)?;
    Ok(thread::spawn(move || {
        let mut pipe = File::from(pipe);
        let mut bytes = [0; 4096];
        while let Ok(length @ 1..) = pipe.read(&mut bytes) {
            let said = bytes.get(..length).unwrap_or_default();
            if let Err(error) = log.write(said) {
                eprintln!("the console log is incomplete: {error}");
            }
            if shown {
                let _ = std::io::stderr().write_all(said);
            }
        }
    }))
}

/// A file that is rotated when it is full.
struct Log {
    path: PathBuf,
    file: File,
    length: u64,
}

impl Log {
    fn open(path: PathBuf) -> Result<Self> {
        let file = File::options().create(true).append(true).open(&path);
        let file = file.with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self { length: file.metadata()?.len(), path, file })
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        if self.length >= CONSOLE_MAX {
            let mut old = self.path.clone().into_os_string();
            old.push(".1");
            fs::rename(&self.path, old)?;
            self.file = File::options().create(true).append(true).open(&self.path)?;
            self.length = 0;
        }
        self.file.write_all(bytes)?;
        self.length += bytes.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_pid_1_keeps_its_members_and_one_that_is_no_object_is_told_apart() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("events");
        let events = Events::open(Some(&path)).unwrap();
        events.add(3, "up", json!({"pid1": 9}));
        for line in [r#"{"b":1,"a":2}"#, "{}", "[1]", "oops\"", r#"{"cut"#] {
            events.forward(3, line.as_bytes());
        }
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(lines.iter().all(|line| line["boot"] == 3));
        assert_eq!((&lines[0]["event"], &lines[0]["pid1"]), (&json!("up"), &json!(9)));
        assert!(text.lines().nth(1).unwrap().ends_with(r#","b":1,"a":2}"#));
        let unreadable: Vec<_> =
            lines.iter().filter(|line| line["event"] == "unreadable").map(|line| &line["line"]).collect();
        assert_eq!(unreadable, ["[1]", "oops\"", r#"{"cut"#]);
    }

    #[test]
    fn a_log_that_is_full_is_rotated_once() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("console.log");
        let mut log = Log::open(path.clone()).unwrap();
        log.length = CONSOLE_MAX;
        log.write(b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert!(scratch.path().join("console.log.1").exists());
    }
}
