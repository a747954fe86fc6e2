//! A machine: switched on, watched, pressed, cut off, switched on again.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{fmt, io};

use serde_json::Value;
use tempfile::TempDir;

use crate::console::{Keyboard, Mark, Match, Nothing};
use crate::disk::{Access, Disk};
use crate::error::{Error, Result};
use crate::kind::{Kind, Stuck};
use crate::plan::Listener;
use crate::ports::Port;
use crate::process::Process;
use crate::qmp::{Door, Qmp};
use crate::record::{Event, Record};

/// Lines of the console in an error.
const TAIL: usize = 40;

/// For QEMU itself: to start, to answer, to end. It takes milliseconds on an idle host.
const QEMU: Duration = Duration::from_secs(20);

/// How long a console is silent that has said its last words.
const SILENCE: Duration = Duration::from_secs(1);

/// How often somebody who waits beside a machine looks whether it has got stuck.
const GLANCE: Duration = Duration::from_millis(500);

/// How a machine went off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Its power was cut.
    Cut,
    /// It went off in order.
    Shutdown {
        /// Whether the guest wanted it.
        by_guest: bool,
        /// The reason as QEMU says it: `guest-shutdown`, `guest-reset` (with [`crate::Plan::no_reboot`]),
        /// `guest-panic`, `host-qmp-quit`, …
        reason: String,
    },
    /// QEMU ended by itself, or somebody else ended it.
    Died {
        /// Its status, and what it has said.
        why: String,
    },
}

impl fmt::Display for End {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut => out.write_str("power cut"),
            Self::Shutdown { reason, .. } => out.write_str(reason),
            Self::Died { why } => write!(out, "QEMU died: {why}"),
        }
    }
}

/// A machine. Dropped, it is off and its files are gone.
pub struct Machine {
    kind: Kind,
    program: PathBuf,
    arguments: Vec<String>,
    record: Arc<Record>,
    disks: Vec<Disk>,
    ports: Vec<Port>,
    dir: PathBuf,
    listener: Option<Listener>,
    patience: f64,
    /// Where the next search begins.
    cursor: u64,
    /// How many events were looked at.
    seen: u64,
    /// Up to where last words were looked for.
    heard: u64,
    power: Option<Power>,
    end: Option<End>,
    _own: Option<TempDir>,
}

/// One QEMU.
struct Power {
    process: Process,
    keyboard: Keyboard,
    qmp: Qmp,
    console: JoinHandle<()>,
}

impl Machine {
    pub(crate) fn new(kind: Kind, program: PathBuf, arguments: Vec<String>, record: Record) -> Self {
        Self {
            kind,
            program,
            arguments,
            record: Arc::new(record),
            disks: Vec::new(),
            ports: Vec::new(),
            dir: PathBuf::new(),
            listener: None,
            patience: 1.0,
            cursor: 0,
            seen: 0,
            heard: 0,
            power: None,
            end: None,
            _own: None,
        }
    }

    pub(crate) fn with_parts(self, disks: Vec<Disk>, ports: Vec<Port>, dir: PathBuf, own: Option<TempDir>) -> Self {
        Self { disks, ports, dir, _own: own, ..self }
    }

    pub(crate) fn with_ways(self, listener: Option<Listener>, patience: f64) -> Self {
        Self { listener, patience, ..self }
    }

    /// Switches it on. Its console is searched from here on.
    pub fn start(&mut self) -> Result<()> {
        if self.is_on() {
            return Err(Error::Power { on: true });
        }
        let wrong = |why: String| Error::Start { program: self.kind.program(), why };
        let system = |error: io::Error| wrong(error.to_string());
        let door = Door::open().map_err(system)?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).args(self.drives()?).arg("-chardev").arg(door.chardev());
        command.args(["-mon", "chardev=qmp,mode=control", "-S"]);
        let said = self.dir.join("qemu.log");
        let stderr = File::create(&said).map_err(Error::file("create", &said))?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
        let mut process = Process::start(command).map_err(system)?;
        let (Some(keys), Some(mut text)) = (process.child().stdin.take(), process.child().stdout.take()) else {
            return Err(wrong("it has no pipes".to_owned()));
        };
        let end = Instant::now() + QEMU.mul_f64(self.patience);
        let line = loop {
            match door.listener.accept() {
                Ok((line, _)) => break line,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(system(error)),
                Err(_) => {}
            }
            if let Some(status) = process.ended().map_err(system)? {
                return Err(wrong(self.last_words(status)));
            }
            if Instant::now() > end {
                return Err(wrong("it does not report".to_owned()));
            }
            thread::sleep(Duration::from_millis(5));
        };
        let (record, listener) = (Arc::clone(&self.record), self.listener.clone());
        self.cursor = self.record.lock().end();
        self.heard = self.cursor;
        self.record.switched_on();
        let console = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = text.read(&mut buffer) {
                let raw = buffer.get(..count).unwrap_or_default();
                record.push(raw);
                if let Some(listener) = &listener {
                    listener.lock().unwrap_or_else(PoisonError::into_inner)(raw);
                }
            }
            record.went_off();
        });
        let greeted = Qmp::greet(line, Arc::clone(&self.record), QEMU.mul_f64(self.patience));
        let qmp = match greeted.and_then(|mut qmp| qmp.order("cont").map(|_| qmp)) {
            Ok(qmp) => qmp,
            // It reports before it has looked at all of its arguments, and the line may end before the console does.
            Err(error) => {
                let has_ended = self.record.wait_off(Duration::from_secs(1));
                return Err(if has_ended { wrong(self.last_words(process.wait().map_err(system)?)) } else { error });
            }
        };
        self.end = None;
        self.power = Some(Power { process, keyboard: Keyboard::new(keys), qmp, console });
        Ok(())
    }

    /// The arguments for the disks, whose logs of writes begin anew.
    fn drives(&self) -> Result<Vec<String>> {
        let mut arguments = Vec::new();
        for (number, disk) in self.disks.iter().enumerate() {
            let (id, drive) = (format!("disk{number}"), disk.drive()?);
            let device = self.kind.disk_device(&id, number == 0, disk.is_served());
            let interface = if device.is_some() { "none" } else { "sd" };
            arguments.extend(["-drive".to_owned(), format!("if={interface},id={id},{drive}")]);
            arguments.extend(device.into_iter().flat_map(|device| ["-device".to_owned(), device]));
        }
        Ok(arguments)
    }

    fn last_words(&self, status: ExitStatus) -> String {
        let said = fs::read_to_string(self.dir.join("qemu.log")).unwrap_or_default();
        format!("{status}; {}", said.trim_end())
    }

    /// Whether it is on.
    pub fn is_on(&mut self) -> bool {
        if self.power.is_some() && self.record.lock().is_off {
            self.settle(false);
        }
        self.power.is_some()
    }

    /// How it went off last, if it is off and was on.
    pub fn end(&mut self) -> Option<&End> {
        if self.is_on() { None } else { self.end.as_ref() }
    }

    fn on(&mut self) -> Result<&mut Power> {
        if !self.is_on() {
            return Err(Error::Power { on: false });
        }
        self.power.as_mut().ok_or(Error::Power { on: false })
    }

    /// Takes note of the end of QEMU, which has ended or, if it was cut, is about to.
    fn settle(&mut self, cut: bool) {
        let Some(mut power) = self.power.take() else { return };
        let status = if cut { power.process.kill() } else { power.process.wait() };
        power.qmp.finish();
        // The listener may have panicked; that was said on its own thread.
        let _ = power.console.join();
        let state = self.record.lock();
        let shutdown = state.events.iter().rev().take_while(|event| event.start == state.start);
        let shutdown = shutdown.into_iter().find(|event| event.name == "SHUTDOWN").map(|event| event.data.clone());
        drop(state);
        let end = match (status, shutdown) {
            (_, _) if cut => End::Cut,
            (Ok(status), Some(data)) if status.success() => End::Shutdown {
                by_guest: data.get("guest").and_then(Value::as_bool).unwrap_or_default(),
                reason: data.get("reason").and_then(Value::as_str).unwrap_or("unknown").to_owned(),
            },
            (Ok(status), _) => End::Died { why: self.last_words(status) },
            (Err(error), _) => End::Died { why: error.to_string() },
        };
        self.record.lock().note(&format!("off: {end}"));
        self.end = Some(end);
    }

    /// Waits until the console says this text, after what was found before.
    pub fn expect(&mut self, text: &str, time: Duration) -> Result<Match> {
        self.expect_any(&[text], time)
    }

    /// Waits until the console says one of these texts; the first to come counts.
    pub fn expect_any(&mut self, texts: &[&str], time: Duration) -> Result<Match> {
        let time = time.mul_f64(self.patience);
        let found = self.record.find(&mut self.cursor, texts, time);
        found.map_err(|nothing| self.nothing(nothing, one_of(texts), time))
    }

    /// The same for a machine that may reset itself meanwhile, with a person beside it: see [`Machine::unstick`].
    pub fn expect_through_resets(&mut self, texts: &[&str], time: Duration) -> Result<Match> {
        let time = time.mul_f64(self.patience);
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.record.find(&mut self.cursor, texts, left.min(GLANCE)) {
                Ok(found) => return Ok(found),
                Err(Nothing::Late) if !left.is_zero() => {
                    self.unstick()?;
                }
                Err(nothing) => return Err(self.nothing(nothing, one_of(texts), time)),
            }
        }
    }

    fn nothing(&mut self, nothing: Nothing, what: String, waited: Duration) -> Error {
        let tail = self.record.tail(TAIL);
        match nothing {
            Nothing::Late => Error::Late { what, waited, tail },
            Nothing::Off => {
                let end = self.end().map_or_else(|| "it was never on".to_owned(), End::to_string);
                Error::WentOff { what, end, tail }
            }
        }
    }

    /// Types a line and Enter.
    pub fn send(&mut self, line: &str) -> Result<()> {
        // Carriage return is what the key sends; firmware knows nothing else, and Linux makes a newline of it.
        self.keyboard()?
            .press(format!("{line}\r").as_bytes())
            .map_err(|error| Error::Order { order: "a key", why: error.to_string() })
    }

    /// Its keyboard, also for another thread.
    pub fn keyboard(&mut self) -> Result<Keyboard> {
        Ok(self.on()?.keyboard.clone())
    }

    /// Where the console is now. The log says so too.
    pub fn mark(&mut self, text: &str) -> Mark {
        let mut state = self.record.lock();
        state.note(text);
        Mark(state.end())
    }

    /// What the console has said since.
    #[must_use]
    pub fn since(&self, mark: Mark) -> String {
        self.record.since(mark)
    }

    /// Lets the next search begin there.
    pub fn rewind(&mut self, mark: Mark) {
        self.cursor = mark.0;
    }

    /// The last lines of the console.
    #[must_use]
    pub fn tail(&self, lines: usize) -> String {
        self.record.tail(lines)
    }

    /// Presses the power button. What the guest does with it is its own affair.
    pub fn power_button(&mut self) -> Result<()> {
        self.on()?.qmp.order("system_powerdown").map(drop)
    }

    /// Presses the reset button.
    pub fn reset(&mut self) -> Result<()> {
        self.on()?.qmp.order("system_reset").map(drop)
    }

    /// What QEMU says of the guest: `running`, `paused`, `shutdown`, `guest-panicked`, …
    pub fn status(&mut self) -> Result<String> {
        let status = self.on()?.qmp.order("query-status")?;
        Ok(status.get("status").and_then(Value::as_str).unwrap_or("unknown").to_owned())
    }

    /// Ends QEMU in order: what it has of the disks' contents is written. The guest is not asked.
    pub fn quit(&mut self) -> Result<End> {
        self.on()?.qmp.order("quit")?;
        self.wait_off(QEMU)
    }

    /// Cuts the power: QEMU is killed in the midst of whatever it does.
    ///
    /// What it had handed to the host stays written, so this tests the end of a machine and not what a disk loses; for
    /// that there is [`Disk::log_writes`].
    pub fn power_cut(&mut self) -> Result<()> {
        self.on()?;
        self.settle(true);
        Ok(())
    }

    /// Where a machine has got stuck on its way off or to another start ([`Kind::resets_warm`]), cuts its power as a person
    /// would, and switches on again if that was wanted. To be asked again and again.
    pub fn unstick(&mut self) -> Result<Option<Stuck>> {
        let words = self.kind.last_words();
        if words.is_empty() || !self.is_on() || self.record.lock().spoke.elapsed() < SILENCE {
            return Ok(None);
        }
        let texts: Vec<_> = words.iter().map(|(text, _)| *text).collect();
        let found = self.record.find(&mut self.heard, &texts, Duration::ZERO).ok();
        let Some((_, stuck)) = found.and_then(|found| words.get(found.which)) else {
            // Silent, so none of them is half said.
            self.heard = self.record.lock().end();
            return Ok(None);
        };
        self.mark(if *stuck == Stuck::Halt { "cannot switch itself off" } else { "stuck in a warm reset" });
        self.power_cut()?;
        if *stuck == Stuck::Reset {
            self.start()?;
        }
        Ok(Some(*stuck))
    }

    /// Waits until it is off by itself.
    pub fn wait_off(&mut self, time: Duration) -> Result<End> {
        let time = time.mul_f64(self.patience);
        self.record.wait_off(time);
        match self.end().cloned() {
            Some(end) => Ok(end),
            None if self.power.is_none() => Err(Error::Power { on: false }),
            None => Err(self.nothing(Nothing::Late, "the machine to go off".to_owned(), time)),
        }
    }

    /// Waits for the next event of this name, after those that were looked at before.
    pub fn wait_event(&mut self, name: &str, time: Duration) -> Result<Event> {
        let time = time.mul_f64(self.patience);
        let end = Instant::now() + time;
        let mut state = self.record.lock();
        let nothing = loop {
            let skipped = usize::try_from(self.seen.saturating_sub(state.forgotten)).unwrap_or_default();
            for event in state.events.iter().skip(skipped) {
                self.seen = self.seen.max(state.forgotten) + 1;
                if event.name == name {
                    return Ok(event.clone());
                }
            }
            if state.is_off {
                break Nothing::Off;
            }
            let more;
            (state, more) = self.record.wait(state, end);
            if !more {
                break Nothing::Late;
            }
        };
        drop(state);
        Err(self.nothing(nothing, format!("the event {name}"), time))
    }

    /// Every event so far, the oldest first.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.record.lock().events.iter().cloned().collect()
    }

    /// How often it was switched on.
    #[must_use]
    pub fn starts(&self) -> u32 {
        self.record.lock().start
    }

    /// How often it was reset while on, by whomever.
    #[must_use]
    pub fn resets(&self) -> u32 {
        self.record.lock().resets
    }

    /// Since its console has said something, or since it was switched on.
    #[must_use]
    pub fn quiet(&self) -> Duration {
        let state = self.record.lock();
        state.spoke.elapsed().min(state.elapsed())
    }

    /// Since it was switched on last.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.record.lock().elapsed()
    }

    /// The port of loopback that leads to this one of the guest. The same for as long as the machine exists.
    pub fn port(&self, guest: u16) -> Result<u16> {
        let port = self.ports.iter().find(|port| port.guest == guest);
        port.map(|port| port.host).ok_or(Error::NotForwarded(guest))
    }

    /// Every forwarded port: that of the guest, and that of loopback.
    pub fn ports(&self) -> impl Iterator<Item = (u16, u16)> {
        self.ports.iter().map(|port| (port.guest, port.host))
    }

    /// The image of a disk, 0 for the first, as the machine uses it: to be read while it is off.
    #[must_use]
    pub fn disk(&self, number: usize) -> Option<&Path> {
        self.disks.get(number).map(|disk| disk.image.as_path())
    }

    /// Has a disk write-protected, or not any more, from its next start on: 0 is the first. One that others serve stays as
    /// it is.
    pub fn protect(&mut self, number: usize, is_protected: bool) {
        if let Some(disk) = self.disks.get_mut(number).filter(|disk| !disk.is_served()) {
            disk.access = if is_protected { Access::Read } else { Access::Change };
        }
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// By what every limit of time is multiplied.
    #[must_use]
    pub fn patience(&self) -> f64 {
        self.patience
    }
}

/// For an error: what was waited for.
fn one_of(texts: &[&str]) -> String {
    texts.iter().map(|text| format!("{text:?}")).collect::<Vec<_>>().join(" or ")
}
