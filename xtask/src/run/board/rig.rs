//! A board under QEMU as the device of a story.
//!
//! ```text
//!   machine ─┬─ second serial line ──▶ trace.log ──▶ lines of PID 1 ──┐
//!            ├─ QMP: RESET, WATCHDOG, off ──▶ ends                    ├──▶ witness ──▶ events.jsonl ──▶ story, model
//!            └─ disk ──▶ boot cells ──────────────────────────────────┘
//!   scripts ──▶ desk ──▶ keys of its console, power
//! ```
//!
//! Promise: a boot is told with the cells as they stood when it began, and with what stood when PID 1 spoke. A machine that
//! cannot reset itself or switch itself off has that done, as by its user.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use machine::{End as PowerEnd, Machine, Mark, Stuck};
use serde_json::{Map, Value};

use super::cells::Cells;
use super::desk::{Desk, Switch};
use super::witness::{End, Witness};
use crate::run::stage::Rig;
use crate::run::story::event::{Event, Log};
use crate::run::story::play::Blow;

/// What a line of the trace begins with, whatever a firmware has left before it.
const LINE: &str = "{\"event\":";

const PANIC: &str = "Kernel panic - not syncing";

pub(crate) struct Board {
    machine: Machine,
    cells: Cells,
    witness: Witness,
    trace: Tail,
    desk: Desk,
    out: File,
    log: Log,
    began: Instant,
    /// Starts and resets that were seen, and events of QEMU.
    starts: u32,
    resets: u32,
    /// The console from where this boot began.
    boot: Option<Mark>,
}

impl Board {
    /// `booted` is how many milliseconds after the run it is switched on.
    pub(super) fn new(machine: Machine, cells: Cells, files: &Files, booted: u64) -> Result<Self> {
        let out = File::create(&files.events).with_context(|| format!("cannot create {}", files.events.display()))?;
        Ok(Self {
            machine,
            cells,
            witness: Witness::new(),
            trace: Tail { path: files.trace.clone(), read: 0, rest: Vec::new() },
            desk: Desk::open(files.desk.clone()),
            out,
            log: Log::new(files.events.clone(), booted),
            began: Instant::now(),
            starts: 0,
            resets: 0,
            boot: None,
        })
    }

    /// Switches it on.
    pub(crate) fn start(&mut self) -> Result<()> {
        let found = self.cells.read();
        self.machine.start()?;
        self.starts = self.machine.starts();
        self.resets = self.machine.resets();
        self.begins(found);
        Ok(())
    }

    /// Switches it off for good.
    pub(crate) fn stop(&mut self) -> Result<()> {
        if self.machine.is_on() { Ok(self.machine.power_cut()?) } else { Ok(()) }
    }

    /// The last lines of its console.
    pub(crate) fn tail(&self) -> String {
        self.machine.tail(40)
    }

    /// How many boots have begun.
    pub(crate) fn boots(&self) -> u64 {
        self.witness.boots()
    }

    /// Whether it is on.
    pub(crate) fn is_on(&mut self) -> bool {
        self.machine.is_on()
    }

    /// For how long its console has said nothing.
    pub(crate) fn quiet(&self) -> Duration {
        self.machine.quiet()
    }

    fn begins(&mut self, found: super::cells::Read) {
        self.witness.begins(found);
        let mark = self.machine.mark(&format!("boot {}", self.witness.boots()));
        self.boot = Some(mark);
        self.desk.begins(mark);
    }

    fn at(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// How the boot has ended, if it has since the last look.
    fn has_ended(&mut self) -> Result<Option<End>> {
        if self.boot.is_none() {
            return Ok(None);
        }
        let resets = self.machine.resets();
        if resets > self.resets {
            let end = self.why(self.resets);
            self.resets = resets;
            return Ok(Some(end));
        }
        if self.machine.is_on() {
            return Ok(None);
        }
        match self.machine.end() {
            Some(PowerEnd::Shutdown { by_guest: true, .. }) => Ok(Some(End::Off)),
            Some(end) => bail!("the machine went off: {end}"),
            None => Ok(None),
        }
    }

    /// Why the machine was reset after so many resets.
    fn why(&self, before: u32) -> End {
        let mut resets = 0;
        let mut watchdog = false;
        for event in self.machine.events() {
            match event.name.as_str() {
                "RESET" if resets == before => {
                    if event.data.get("guest").and_then(Value::as_bool) == Some(false) {
                        return End::Button;
                    }
                    break;
                }
                "RESET" => (resets, watchdog) = (resets + 1, false),
                "WATCHDOG" => watchdog = true,
                _ => {}
            }
        }
        match () {
            () if watchdog => End::Watchdog,
            () if self.says(PANIC) => End::Panic,
            () => End::Reset,
        }
    }

    /// Whether its console has said this during this boot.
    pub(crate) fn says(&self, text: &str) -> bool {
        self.boot.is_some_and(|boot| self.machine.since(boot).contains(text))
    }

    /// A boot is over; unless the machine is off, the next one has begun.
    fn ended(&mut self, how: End) -> Result<()> {
        let (at, now) = (self.at(), self.cells.read());
        let events = self.witness.ends(how, at, &now);
        self.tell(&events)?;
        self.trace.rest.clear();
        self.boot = None;
        self.desk.ends(matches!(how, End::Reset | End::Off))?;
        if self.machine.is_on() {
            self.starts = self.machine.starts();
            self.begins(now);
        }
        Ok(())
    }

    /// Cuts its power.
    pub(crate) fn cut(&mut self) -> Result<()> {
        self.machine.power_cut()?;
        self.hear()?;
        self.ended(End::Cut)
    }

    /// Lines of PID 1 since the last look.
    fn hear(&mut self) -> Result<()> {
        for line in self.trace.lines()? {
            let Some(start) = line.rfind(LINE) else { continue };
            // What is left of a line when the power has gone is none.
            let Ok(said) = serde_json::from_str::<Map<String, Value>>(line.get(start..).unwrap_or_default()) else {
                continue;
            };
            let (at, now) = (self.at(), self.cells.read());
            let events = self.witness.hears(said, at, &now);
            self.tell(&events)?;
        }
        Ok(())
    }

    fn tell(&mut self, events: &[Value]) -> Result<()> {
        let text: String = events.iter().map(|event| format!("{event}\n")).collect();
        Ok(self.out.write_all(text.as_bytes())?)
    }
}

impl Rig for Board {
    fn news(&mut self) -> Result<Vec<Event>> {
        self.log.news()
    }

    fn strike(&mut self, blow: Blow) -> Result<()> {
        match blow {
            Blow::Cut => {
                self.cut()?;
                self.start()
            }
            // PID 1 of another machine cannot be reached, but its reset button can.
            Blow::Kill => Ok(self.machine.reset()?),
        }
    }

    /// Looks at everything once.
    fn turn(&mut self) -> Result<()> {
        let before = self.machine.end().is_some();
        // The end first: whatever was traced before it is there by then.
        let end = self.has_ended()?;
        self.hear()?;
        match end {
            Some(how) => self.ended(how)?,
            None if before => {}
            None => match self.machine.unstick()? {
                Some(Stuck::Reset) if self.says(PANIC) => self.ended(End::Panic)?,
                Some(Stuck::Reset) => self.ended(End::Reset)?,
                Some(Stuck::Halt) => self.ended(End::Off)?,
                None => {}
            },
        }
        if let Some((path, switch)) = self.desk.turn(&mut self.machine)? {
            match (switch, self.machine.is_on()) {
                (Switch::On { protected }, false) => {
                    self.machine.protect(0, protected);
                    self.witness.protect(protected);
                    self.start()?;
                }
                (Switch::Off, true) => self.cut()?,
                _ => {}
            }
            Desk::done(&path)?;
        }
        Ok(())
    }
}

/// Where a board leaves its traces.
pub(crate) struct Files {
    pub(crate) trace: PathBuf,
    pub(crate) events: PathBuf,
    pub(crate) desk: PathBuf,
}

impl Files {
    pub(crate) fn in_dir(dir: &Path) -> Result<Self> {
        let desk = dir.join("desk");
        fs::create_dir_all(&desk).with_context(|| format!("cannot create {}", desk.display()))?;
        Ok(Self { trace: dir.join("trace.log"), events: dir.join("events.jsonl"), desk })
    }
}

/// A file that grows.
struct Tail {
    path: PathBuf,
    read: u64,
    /// The beginning of a line that has no end yet.
    rest: Vec<u8>,
}

impl Tail {
    fn lines(&mut self) -> Result<Vec<String>> {
        let mut file = match File::open(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            file => file.with_context(|| format!("cannot read {}", self.path.display()))?,
        };
        file.seek(SeekFrom::Start(self.read))?;
        self.read += file.read_to_end(&mut self.rest)? as u64;
        let mut lines = Vec::new();
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            lines.push(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
        Ok(lines)
    }
}
