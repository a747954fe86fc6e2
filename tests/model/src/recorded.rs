//! The log of a real run as a path of the model: every fact that a device took, between what its bootloader chose.
//!
//! ```text
//!   {"event":"boot","revision":"0","wanted":{…},"spent":{…},"mark":false}   the firmware, before the jump
//!   {"event":"began","limits":"03…"}                                        PID 1, with its bounds
//!   {"event":"state","state":"Opening","fact":"0000…"}                      one fact, and where it led
//!   {"event":"end","how":"killed"}                                          power, a mark, or an order
//! ```
//!
//! Other lines are for people and passed over. What is checked is what the explorer assumes of the world:
//!
//! 1. the firmware chose as [`pick`] does, from the cells as the machine left them, and counted before it jumped;
//! 2. what PID 1 read is what stands: the values that were acknowledged, or the one that was in flight at the end;
//! 3. the machine, given each fact, is in the state that the device says;
//! 4. a fact comes only where the world can bring it about: an acknowledgement of what is in flight, an answer to what
//!    was ordered, goals only while they are watched;
//! 5. a mark is told by the next boot that can tell, and by no other. A stand-in's firmware tells of each. On a board a
//!    panic surely is, if its kernel keeps its last words (`booted`, `kept`); a watchdog's is where the next kernel has its
//!    driver; and a boot that did not end in order may not have come to putting away what it was told.

use std::fmt::Debug;

use anyhow::{Context as _, Result, bail, ensure};
use serde::de::DeserializeOwned;
use serde_json::Value;
use statemachine::boot::{Choice, Note, Pick, Spent, Trial, TrialKind, Wanted, pick, unnoted};
use statemachine::ids::RevisionId;
use statemachine::journal::Journal;
use statemachine::limits::Limits;
use statemachine::recover::Boot;
use statemachine::update::{Effect, Event, Found, Machine, Pending, Running, State};

/// A value on flash, as far as the log tells: one of these. None of them is known before the first is read.
struct Stands<T>(Vec<T>);

impl<T: Clone + PartialEq + Debug> Stands<T> {
    /// It is read; from here on it is known.
    fn read(&mut self, value: &T, who: &str) -> Result<()> {
        ensure!(self.0.is_empty() || self.0.contains(value), "{who} reads {value:?}, and {:?} stands", self.0);
        self.0 = vec![value.clone()];
        Ok(())
    }

    /// It was written and acknowledged.
    fn written(&mut self, value: T) {
        self.0 = vec![value];
    }

    /// It was being written when the boot ended.
    fn perhaps(&mut self, value: T) {
        if !self.0.is_empty() {
            self.0.push(value);
        }
    }
}

/// What stands on the flash.
struct Flash {
    wanted: Stands<Option<Wanted>>,
    journal: Stands<Option<Journal>>,
    note: Note,
    /// What PID 1 may have made of a note that it could not read.
    anew: Option<Spent>,
}

/// What the boots so far have left to be told of.
#[derive(Default)]
struct Marks {
    /// The next boot that can tell has to.
    surely: bool,
    /// Hardware keeps it until a driver asks.
    by_watchdog: bool,
    /// The boot that was told of it may not have put it away.
    perhaps_again: bool,
    /// This boot: what it was told, and whether the end of its kernel is kept.
    told: bool,
    is_kept: bool,
}

impl Marks {
    /// A boot tells. One that could not say anything has been told of nothing.
    fn tell(&mut self, mark: Option<bool>) -> Result<()> {
        let Some(mark) = mark else { return Ok(()) };
        let left = self.surely || mark && (self.by_watchdog || self.perhaps_again);
        ensure!(
            mark == left,
            "the boot {} a mark, and the one before {}",
            told(mark),
            if left { "left one" } else { "left none" }
        );
        self.told = mark;
        // The driver that has asked has cleared it; where nothing was told of it there is no driver.
        self.by_watchdog &= !mark;
        self.perhaps_again &= mark;
        Ok(())
    }

    /// PID 1 has heard.
    fn heard(&mut self) {
        self.surely = false;
    }

    /// A boot has ended.
    fn end(&mut self, how: &str) {
        // A program that was not started could not hear of a mark, so that stays.
        match how {
            "killed" | "exit" => self.surely = true,
            "panic" => self.surely |= self.is_kept,
            "watchdog" => self.by_watchdog = true,
            _ => {}
        }
        self.perhaps_again |= self.told && !matches!(how, "killed" | "exit" | "reboot" | "poweroff");
        (self.told, self.is_kept) = (false, false);
    }
}

/// A boot under way.
struct Session {
    machine: Machine,
    /// What the firmware started.
    choice: Choice,
    mark: bool,
    /// The long order that waits for its answer.
    ordered: Option<Effect>,
    watched: bool,
    /// As far as the watch has told.
    met: bool,
    soaking: bool,
    ended_in_order: bool,
}

/// What a log came to.
pub(crate) struct Walk {
    pub(crate) boots: usize,
    pub(crate) facts: usize,
}

/// Follows a log to its end.
pub(crate) fn follow(text: &str) -> Result<Walk> {
    let mut walk = Walk { boots: 0, facts: 0 };
    let note = Note::Read(Spent { nonce: 0, boots: 0 });
    let mut flash = Flash { wanted: Stands(Vec::new()), journal: Stands(Vec::new()), note, anew: None };
    let (mut session, mut marks) = (None::<Session>, Marks::default());
    let mut firmware = None;
    for (number, line) in text.lines().enumerate() {
        let at = || format!("line {}", number + 1);
        let line: Value = serde_json::from_str(line).with_context(at)?;
        match line["event"].as_str() {
            Some("boot") => {
                firmware = Some(boot(&line, &mut flash, &mut marks).with_context(at)?);
                walk.boots += 1;
            }
            Some("booted") => marks.is_kept = line["kept"].as_bool().unwrap_or(false),
            Some("began") => {
                let (choice, mark) = firmware.take().with_context(at).context("PID 1 began, and nothing had booted")?;
                let limits: Limits = read(&line["limits"]).with_context(at)?;
                session = Some(Session::new(limits, choice, mark));
                marks.heard();
            }
            Some("state") => {
                let session = session.as_mut().with_context(at).context("a fact before PID 1 began")?;
                session.take(&line, &mut flash).with_context(at)?;
                walk.facts += 1;
            }
            Some("end") => {
                let how = line["how"].as_str().unwrap_or_default();
                if let Some(session) = session.take() {
                    session.end(how, &mut flash).with_context(at)?;
                }
                marks.end(how);
            }
            Some(_) => {}
            None => bail!("{}: no event", at()),
        }
    }
    ensure!(walk.boots > 0, "the log holds no boot");
    Ok(walk)
}

/// A choice of the firmware: what it read is what stands, what it chose is what a script must, and it counted first.
fn boot(line: &Value, flash: &mut Flash, marks: &mut Marks) -> Result<(Choice, bool)> {
    let wanted = wanted(&line["wanted"])?;
    flash.wanted.read(&wanted, "the firmware")?;
    match (line["note"].as_str(), flash.note, flash.anew.take()) {
        (Some("unreadable"), ..) => flash.note = Note::Unreadable,
        (Some("read"), Note::Unreadable, Some(anew)) => flash.note = Note::Read(anew),
        (Some("read"), Note::Unreadable, None) => {
            bail!("an unreadable note can be read again, and nobody made it anew")
        }
        _ => {}
    }
    let spent = spent(&line["spent"])?;
    let expected = match (&wanted, spent, flash.note) {
        // It cannot write down that it tries anything, so it tries nothing; what stood stands.
        (Some(wanted), ..) if line["protected"] == true => {
            let stood = if let Note::Read(stood) = flash.note { Some(stood) } else { None };
            Pick { choice: unnoted(wanted), note: stood }
        }
        // It cannot change what it cannot read, and so does not count this boot.
        (Some(wanted), None, Note::Unreadable) => Pick { choice: unnoted(wanted), note: None },
        _ => pick(TrialKind::Counted, wanted.as_ref(), &flash.note, false, Limits::FIELD.chain),
    };
    let revision = line["revision"].as_str().map(RevisionId::parse).transpose().context("the revision")?;
    match (&expected.choice, &revision) {
        (Choice::Revision(expected), Some(chosen)) => {
            ensure!(expected == chosen, "the firmware starts {chosen}, and should start {expected}");
        }
        (Choice::Factory, Some(chosen)) => ensure!(*chosen == RevisionId::factory(), "it starts {chosen} blindly"),
        (Choice::FirstSlot | Choice::Recovery, None) => {}
        (expected, chosen) => bail!("the firmware starts {chosen:?}, and should start {expected:?}"),
    }
    ensure!(spent == expected.note, "the firmware notes {spent:?}, and should note {:?}", expected.note);
    flash.note = spent.map_or(flash.note, Note::Read);
    let mark = line["mark"].as_bool();
    marks.tell(mark)?;
    Ok((expected.choice, mark.unwrap_or(false)))
}

fn told(mark: bool) -> &'static str {
    if mark { "is told of" } else { "is not told of" }
}

impl Session {
    fn new(limits: Limits, choice: Choice, mark: bool) -> Self {
        Self {
            machine: Machine::dark(limits),
            choice,
            mark,
            ordered: None,
            watched: false,
            met: false,
            soaking: false,
            ended_in_order: false,
        }
    }

    fn take(&mut self, line: &Value, flash: &mut Flash) -> Result<()> {
        let event: Event = read(&line["fact"])?;
        self.may_come(&event, flash)?;
        acknowledge(&event, &self.machine, flash);
        let (machine, orders) = self.machine.clone().step(event.clone());
        self.machine = machine;
        for order in orders {
            match order {
                Effect::Watch => (self.watched, self.met, self.soaking) = (true, false, false),
                Effect::Soak => self.soaking = true,
                Effect::Reboot { .. } => self.ended_in_order = true,
                Effect::Fetch(_) | Effect::Verify(_) | Effect::Stage(_) | Effect::Place(_) | Effect::Switch(_) => {
                    self.ordered = Some(order);
                }
                _ => {}
            }
        }
        let (state, said) = (name(self.machine.state()), line["state"].as_str().unwrap_or_default());
        ensure!(state == said, "after {event:?} the machine is {state}, and the device says {said}");
        Ok(())
    }

    /// Whether the world can bring this fact about here.
    fn may_come(&mut self, event: &Event, flash: &mut Flash) -> Result<()> {
        let pending = self.machine.pending();
        let answers = |order: fn(&Effect) -> bool| self.ordered.as_ref().is_some_and(order);
        let may = match event {
            Event::Booted(boot) => return self.booted(boot, flash),
            Event::Persisted => matches!(pending, Pending::Journal(_)),
            Event::Stored => matches!(pending, Pending::Cells(_)),
            Event::Synced => *pending == Pending::Barrier,
            Event::WriteFailed(_) => *pending != Pending::Nothing,
            Event::Fetched => answers(|order| matches!(order, Effect::Fetch(_))),
            Event::Verified => answers(|order| matches!(order, Effect::Verify(_))),
            Event::Staged(_) => answers(|order| matches!(order, Effect::Stage(_))),
            Event::Placed => answers(|order| matches!(order, Effect::Place(_))),
            Event::Switched => answers(|order| matches!(order, Effect::Switch(_))),
            Event::Failed => self.ordered.is_some(),
            Event::GoalMissed | Event::Crashed => self.watched,
            Event::GoalsMet => self.watched && !self.met,
            // Also after the verdict: an app can die while the commit is written.
            Event::GoalsLost => self.watched && self.met,
            Event::Soaked => self.soaking,
            Event::Proposed { .. }
            | Event::Cancelled
            | Event::RebootAsked { .. }
            | Event::RollbackAsked
            | Event::AdoptAsked
            | Event::Lasted => true,
        };
        ensure!(may, "{event:?} comes in {}, where nothing can bring it about", name(self.machine.state()));
        match event {
            Event::Fetched | Event::Verified | Event::Staged(_) | Event::Placed | Event::Switched | Event::Failed => {
                self.ordered = None;
            }
            Event::GoalMissed | Event::Crashed => (self.watched, self.met, self.soaking) = (false, false, false),
            Event::GoalsMet => self.met = true,
            Event::GoalsLost => (self.met, self.soaking) = (false, false),
            Event::Soaked => self.soaking = false,
            _ => {}
        }
        Ok(())
    }

    /// What PID 1 read is what stands.
    fn booted(&self, boot: &Boot, flash: &mut Flash) -> Result<()> {
        ensure!(*self.machine.state() == State::Dark, "a boot began twice");
        flash.wanted.read(&boot.wanted, "PID 1")?;
        flash.journal.read(&boot.journal, "PID 1")?;
        ensure!(boot.note == flash.note, "PID 1 reads the note {:?}, and {:?} stands", boot.note, flash.note);
        if boot.note == Note::Unreadable {
            flash.anew = Some(Note::spelled_out(boot.wanted.as_ref()));
        }
        ensure!(boot.marked == self.mark, "PID 1 {} a mark, and the firmware says otherwise", told(boot.marked));
        let running = match &self.choice {
            Choice::Revision(revision) => Running::Revision(revision.clone()),
            Choice::Factory | Choice::FirstSlot => Running::Revision(RevisionId::factory()),
            Choice::Recovery => Running::Recovery,
        };
        ensure!(boot.running == running, "PID 1 says that {:?} runs, and {running:?} was started", boot.running);
        Ok(())
    }

    /// The end of a boot. A write that was in flight may have been done: the next boot shows it.
    fn end(self, how: &str, flash: &mut Flash) -> Result<()> {
        let in_order = matches!(how, "reboot" | "poweroff");
        if in_order {
            ensure!(self.ended_in_order, "the boot ended with {how:?}, and the machine had ordered none");
        }
        match self.machine.pending() {
            Pending::Nothing | Pending::Barrier => {}
            Pending::Journal(_) | Pending::Cells(_) if in_order => bail!("a boot ended with a write in flight"),
            Pending::Journal(journal) => flash.journal.perhaps(Some(journal.clone())),
            Pending::Cells(wanted) => flash.wanted.perhaps(Some(wanted.clone())),
        }
        Ok(())
    }
}

/// An acknowledged write stands; of one that failed it stands what was found.
fn acknowledge(event: &Event, machine: &Machine, flash: &mut Flash) {
    match (event, machine.pending()) {
        (Event::Persisted, Pending::Journal(journal)) => flash.journal.written(Some(journal.clone())),
        (Event::Stored, Pending::Cells(wanted)) => flash.wanted.written(Some(wanted.clone())),
        // It failed, and a look showed it there; or nothing could be seen, as when a medium goes before what it serves.
        (Event::WriteFailed(Found::New), Pending::Journal(journal)) => flash.journal.written(Some(journal.clone())),
        (Event::WriteFailed(Found::New), Pending::Cells(wanted)) => flash.wanted.written(Some(wanted.clone())),
        (Event::WriteFailed(Found::Unreadable), Pending::Journal(journal)) => {
            flash.journal.perhaps(Some(journal.clone()));
        }
        (Event::WriteFailed(Found::Unreadable), Pending::Cells(wanted)) => flash.wanted.perhaps(Some(wanted.clone())),
        _ => {}
    }
}

/// A value in hexadecimal postcard.
fn read<T: DeserializeOwned>(value: &Value) -> Result<T> {
    let text = value.as_str().context("no text")?;
    ensure!(text.len().is_multiple_of(2) && text.is_ascii(), "an odd number of digits");
    let bytes: Vec<u8> = (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).with_context(|| format!("digit {at}")))
        .collect::<Result<_>>()?;
    let (value, rest) = postcard::take_from_bytes(&bytes).context("no value of the machine")?;
    ensure!(rest.is_empty(), "{} bytes too many", rest.len());
    Ok(value)
}

fn wanted(value: &Value) -> Result<Option<Wanted>> {
    if value.is_null() {
        return Ok(None);
    }
    let id = |value: &Value| value.as_str().map(RevisionId::parse).transpose().context("a revision");
    let number = |value: &Value| value.as_u64().context("a number");
    let trial = match &value["trial"] {
        Value::Null => None,
        trial => Some(Trial {
            revision: id(&trial["revision"])?.context("a trial of nothing")?,
            max: u8::try_from(number(&trial["max"])?)?,
            issued: u8::try_from(number(&trial["issued"])?)?,
        }),
    };
    Ok(Some(Wanted {
        nonce: u32::try_from(number(&value["nonce"])?)?,
        default: id(&value["default"])?.context("no default")?,
        previous: id(&value["previous"])?,
        factory: id(&value["factory"])?,
        trial,
    }))
}

fn spent(value: &Value) -> Result<Option<Spent>> {
    if value.is_null() {
        return Ok(None);
    }
    let number = |name: &str| value[name].as_u64().with_context(|| format!("no {name}"));
    Ok(Some(Spent { nonce: u32::try_from(number("nonce")?)?, boots: u8::try_from(number("boots")?)? }))
}

/// What a state is called.
fn name(state: &State) -> String {
    let text = format!("{state:?}");
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device that takes two revisions by reboot and one in place, and is switched off.
    const RUN: &str = include_str!("../../traces/three-boots.jsonl");

    fn without(index: usize) -> String {
        let lines = RUN.lines().enumerate().filter(|(at, _)| *at != index);
        lines.map(|(_, line)| format!("{line}\n")).collect()
    }

    fn is(line: &str, event: &str) -> bool {
        line.contains(&format!("\"event\":\"{event}\""))
    }

    #[test]
    fn a_real_run_is_a_path_of_the_model() {
        let walk = follow(RUN).unwrap();
        assert_eq!((walk.boots, walk.facts), (3, 47));
    }

    #[test]
    fn a_run_that_lacks_any_one_fact_or_boot_is_none() {
        for (index, line) in RUN.lines().enumerate() {
            if is(line, "state") || is(line, "boot") || is(line, "began") {
                assert!(follow(&without(index)).is_err(), "line {}: {line}", index + 1);
            }
        }
    }

    #[test]
    fn an_app_may_die_while_its_revision_is_committed_and_only_once() {
        let lines: Vec<_> = RUN.lines().collect();
        let is_last = |at: &usize| !lines.iter().skip(at + 1).any(|line| is(line, "boot"));
        let rest = (0..lines.len()).find(|at| is_last(at) && lines[*at].contains(r#""state":"Idle""#)).unwrap();
        let lost = r#"{"event":"state","fact":"11","phase":"committed","state":"Idle"}"#;
        let with = |times: usize| {
            let (before, after) = lines.split_at(rest + 1);
            [before, &vec![lost; times], after].concat().join("\n")
        };
        assert_eq!(follow(&with(1)).unwrap().facts, 48);
        assert!(format!("{:#}", follow(&with(2)).err().unwrap()).contains("GoalsLost comes in Idle"));
    }

    #[test]
    fn a_firmware_that_forgets_to_count_is_found() {
        let forgot = RUN.replace(r#""spent":{"boots":1,"#, r#""spent":{"boots":0,"#);
        assert!(follow(&forgot).err().unwrap().to_string().starts_with("line 1"));
    }

    #[test]
    fn of_a_failed_write_stands_what_was_seen_or_either_where_nothing_was() {
        let line: Value = RUN.lines().find(|line| is(line, "state")).and_then(|line| line.parse().ok()).unwrap();
        let (machine, _) = Machine::dark(Limits::FIELD).step(read(&line["fact"]).unwrap());
        assert!(matches!(machine.pending(), Pending::Journal(_)));
        for (found, values) in [(Found::Old, 1), (Found::New, 1), (Found::Unreadable, 2)] {
            let old = Some(machine.journal().clone());
            let note = Note::Read(Spent { nonce: 0, boots: 0 });
            let mut flash = Flash { wanted: Stands(Vec::new()), journal: Stands(vec![old.clone()]), note, anew: None };
            acknowledge(&Event::WriteFailed(found), &machine, &mut flash);
            assert_eq!(flash.journal.0.len(), values, "{found:?}");
            assert_eq!(flash.journal.0.contains(&old), found != Found::New, "{found:?}");
        }
    }

    #[test]
    fn a_mark_that_nobody_left_is_found() {
        let marked = RUN.replacen(r#""mark":false"#, r#""mark":true"#, 1);
        assert!(follow(&marked).is_err());
    }

    #[test]
    fn a_panic_is_told_where_it_was_kept_and_a_watchdog_where_it_is_asked() {
        // Each end, whether its kernel's last words are kept, and whether the next boots are told.
        let may = |ends: &[(&str, bool)], told: &[Option<bool>]| {
            let mut marks = Marks::default();
            for (how, is_kept) in ends {
                marks.is_kept = *is_kept;
                marks.end(how);
            }
            let mut heard = told.iter().map(|mark| {
                marks.tell(*mark).map(|()| {
                    if mark.is_some() {
                        marks.heard()
                    }
                })
            });
            heard.all(|told| told.is_ok())
        };
        assert!(may(&[("panic", true)], &[Some(true), Some(false)]));
        assert!(may(&[("panic", true)], &[None, Some(true)]), "a boot that said nothing has not taken it");
        assert!(!may(&[("panic", true)], &[Some(false)]));
        assert!(!may(&[("panic", true)], &[Some(true), Some(true)]));
        assert!(may(&[("panic", false)], &[Some(false)]));
        assert!(!may(&[("panic", false)], &[Some(true)]));
        assert!(may(&[("watchdog", false)], &[Some(true), Some(false)]));
        assert!(may(&[("watchdog", false)], &[Some(false), Some(true), Some(false)]), "a kernel without its driver");
        assert!(!may(&[("watchdog", false)], &[Some(true), Some(true)]));
        assert!(!may(&[("power-cut", true)], &[Some(true)]));
    }

    #[test]
    fn a_mark_is_told_again_only_by_a_boot_after_one_that_broke_off() {
        let after = |how: &str| {
            let mut marks = Marks { surely: true, ..Marks::default() };
            marks.tell(Some(true)).unwrap();
            marks.heard();
            marks.end(how);
            marks.tell(Some(true)).is_ok()
        };
        assert!(after("power-cut") && after("killed"));
        assert!(!after("reboot"));
    }

    #[test]
    fn a_boot_that_ends_in_order_without_an_order_is_found() {
        let cut: String = RUN
            .lines()
            .filter(|line| !(is(line, "state") && line.contains("\"Leaving\"")))
            .map(|line| format!("{line}\n"))
            .collect();
        assert!(follow(&cut).is_err());
    }

    #[test]
    fn a_log_of_nothing_is_no_run() {
        assert!(follow("").is_err());
        assert!(follow("no json").is_err());
    }
}
