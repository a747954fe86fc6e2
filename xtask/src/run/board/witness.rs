//! What happens on a board, put together by somebody who looks at it from outside: boots and ends, in the words in which
//! the stand-in of a host tells its own.
//!
//! ```text
//!   boot cells on the disk ──▶ what the firmware had read, and what it noted ──┐
//!   trace on a serial line ──▶ as what PID 1 was started, and what it does ────┼──▶ events.jsonl
//!   machine: reset, watchdog, off ──▶ how a boot has ended ────────────────────┘
//! ```
//!
//! Nobody sees a firmware choose. Either PID 1 says as what it was started; or the boot ends before it could, and then the
//! note tells which entry of the list that was. So the event of such a boot comes only with its end, and nobody knows
//! whether it would have been told of a mark: `"mark": null`.

use serde_json::{Map, Value, json};
use statemachine::boot::{Note, Spent, Wanted};
use statemachine::limits::Limits;

use super::cells::Read;

/// How a boot has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// Linux asked for another boot, or the firmware did.
    Reset,
    /// Linux switched the machine off.
    Off,
    /// The kernel gave up.
    Panic,
    /// Nobody fed the watchdog.
    Watchdog,
    /// Somebody pressed the button.
    Button,
    /// The power went.
    Cut,
}

/// Who looks.
pub(super) struct Witness {
    number: u64,
    /// The cells as the firmware of this boot finds them. `None`: the machine is off.
    found: Option<Read>,
    /// Whether the event of this boot was told.
    is_told: bool,
    /// Nothing can be written in this life of the machine, also not by its firmware.
    is_protected: bool,
}

impl Witness {
    pub(super) fn new() -> Self {
        Self { number: 0, found: None, is_told: false, is_protected: false }
    }

    /// How many boots have begun.
    pub(super) fn boots(&self) -> u64 {
        self.number
    }

    /// From the next boot on its disk is write-protected, or not any more.
    pub(super) fn protect(&mut self, is_protected: bool) {
        self.is_protected = is_protected;
    }

    /// A boot begins: the machine is switched on, or starts anew. `found` is what its firmware will read.
    pub(super) fn begins(&mut self, found: Read) {
        self.number += 1;
        (self.found, self.is_told) = (Some(found), false);
    }

    /// PID 1 has said something. `now` is what the cells hold.
    pub(super) fn hears(&mut self, said: Map<String, Value>, at: u64, now: &Read) -> Vec<Value> {
        let mut events = Vec::new();
        if !self.is_told && said.get("event").is_some_and(|event| event == "booted") {
            let role = said.get("role").and_then(Value::as_str).unwrap_or_default();
            let mark = said.get("mark").and_then(Value::as_bool);
            events.extend(self.boot(role, mark, at, now));
        }
        let mut line = json!({ "boot": self.number, "at": at });
        if let Some(members) = line.as_object_mut() {
            members.extend(said);
        }
        events.push(line);
        events
    }

    /// The boot has ended.
    pub(super) fn ends(&mut self, how: End, at: u64, now: &Read) -> Vec<Value> {
        let was_told = self.is_told;
        let mut events = Vec::new();
        if let (false, Some((Some(wanted), _)), Note::Read(spent)) = (was_told, &self.found, now.1)
            && Some(now) != self.found.as_ref()
        {
            let role = entry(wanted, spent.boots.saturating_sub(1));
            events.extend(self.boot(role, None, at, now));
        }
        if self.found.take().is_some() && self.is_told {
            let how = match how {
                End::Reset if was_told => "reboot",
                End::Reset => "not-started",
                End::Off => "poweroff",
                End::Panic => "panic",
                End::Watchdog => "watchdog",
                End::Button => "reset",
                End::Cut => "power-cut",
            };
            events.push(json!({ "event": "end", "t": at, "boot": self.number, "how": how }));
        }
        events
    }

    fn boot(&mut self, role: &str, mark: Option<bool>, at: u64, now: &Read) -> Option<Value> {
        let (wanted, note) = self.found.as_ref()?;
        self.is_told = true;
        let unreadable = *note == Note::Unreadable;
        let spent = match now.1 {
            // What PID 1 makes of such a note counts no boot: the firmware has not written it.
            Note::Read(spent) if unreadable && spent == Note::spelled_out(wanted.as_ref()) => None,
            Note::Read(spent) => Some(spent),
            Note::Unreadable => None,
        };
        let mut event = json!({
            "event": "boot", "t": at, "boot": self.number, "role": role, "revision": revision(role, wanted.as_ref()),
            "mark": mark, "wanted": wanted.as_ref().map(of_wanted), "spent": spent.as_ref().map(of_spent),
            "note": if unreadable { "unreadable" } else { "read" },
        });
        if let Some(members) = event.as_object_mut().filter(|_| self.is_protected) {
            members.insert("protected".into(), true.into());
        }
        Some(event)
    }
}

/// The role of the entry that a list has at this place, after so many boots.
fn entry(wanted: &Wanted, boots: u8) -> &'static str {
    let chain = Limits::FIELD.chain;
    let entries = [
        ("trial", wanted.trial.as_ref().map_or(0, |trial| trial.max)),
        ("default", chain),
        ("previous", if wanted.previous.is_some() { chain } else { 0 }),
        ("factory", if wanted.factory.is_some() { chain } else { 0 }),
    ];
    let mut end = 0_u8;
    for (role, tries) in entries {
        end = end.saturating_add(tries);
        if boots < end {
            return role;
        }
    }
    "recovery"
}

/// The revision that has a role.
fn revision(role: &str, wanted: Option<&Wanted>) -> Option<String> {
    let revision = match (role, wanted) {
        ("factory" | "first-slot", _) => return Some("0".into()),
        ("trial", Some(wanted)) => wanted.trial.as_ref().map(|trial| &trial.revision),
        ("default", Some(wanted)) => Some(&wanted.default),
        ("previous", Some(wanted)) => wanted.previous.as_ref(),
        _ => None,
    };
    revision.map(ToString::to_string)
}

fn of_wanted(wanted: &Wanted) -> Value {
    let trial = wanted.trial.as_ref();
    json!({
        "nonce": wanted.nonce, "default": wanted.default.as_str(),
        "previous": wanted.previous.as_ref().map(ToString::to_string),
        "factory": wanted.factory.as_ref().map(ToString::to_string),
        "trial": trial.map(|trial| json!({
            "revision": trial.revision.as_str(), "max": trial.max, "issued": trial.issued,
        })),
    })
}

fn of_spent(spent: &Spent) -> Value {
    json!({ "nonce": spent.nonce, "boots": spent.boots })
}

#[cfg(test)]
mod tests {
    use statemachine::boot::Trial;
    use statemachine::ids::RevisionId;

    use super::*;

    fn cells(boots: u8) -> Read {
        let id = |name: &str| RevisionId::parse(name).unwrap();
        let trial = Some(Trial { revision: id("locals/a"), max: 3, issued: 0 });
        let wanted = Wanted { nonce: 7, default: id("1"), previous: None, factory: Some(id("0")), trial };
        (Some(wanted), Note::Read(Spent { nonce: 7, boots }))
    }

    fn said(text: &str) -> Map<String, Value> {
        serde_json::from_str(text).unwrap()
    }

    fn words(events: &[Value]) -> Vec<String> {
        let word = |event: &Value, name: &str| event[name].as_str().unwrap_or("-").to_owned();
        events
            .iter()
            .map(|event| ["event", "role", "revision", "how"].map(|name| word(event, name)).join(" "))
            .collect()
    }

    #[test]
    fn a_boot_is_told_when_pid_1_says_as_what_it_was_started() {
        let mut witness = Witness::new();
        witness.begins(cells(0));
        let events = witness.hears(said(r#"{"event":"booted","t":3,"role":"trial","mark":false}"#), 9, &cells(1));
        assert_eq!(words(&events), ["boot trial locals/a -", "booted trial - -"]);
        assert_eq!((&events[0]["spent"]["boots"], &events[0]["mark"]), (&json!(1), &json!(false)));
        assert_eq!((&events[1]["at"], &events[1]["t"], &events[1]["boot"]), (&json!(9), &json!(3), &json!(1)));
        assert_eq!(words(&witness.ends(End::Reset, 10, &cells(1))), ["end - - reboot"]);
    }

    #[test]
    fn a_boot_that_dies_before_is_told_by_its_note() {
        for (boots, role) in [(1, "boot trial locals/a -"), (4, "boot default 1 -"), (7, "boot factory 0 -")] {
            let mut witness = Witness::new();
            witness.begins(cells(boots - 1));
            let events = witness.ends(End::Panic, 5, &cells(boots));
            assert_eq!(words(&events), [role, "end - - panic"]);
            assert!(events[0]["mark"].is_null());
        }
        let mut witness = Witness::new();
        witness.begins(cells(0));
        assert_eq!(words(&witness.ends(End::Reset, 5, &cells(1))), ["boot trial locals/a -", "end - - not-started"]);
    }

    #[test]
    fn a_boot_that_the_firmware_could_not_count_is_told_so_whether_or_not_the_note_was_made_anew() {
        let (wanted, _) = cells(0);
        let (broken, anew) = (Note::Unreadable, Note::Read(Note::spelled_out(wanted.as_ref())));
        for (now, spent) in [(broken, &Value::Null), (anew, &Value::Null), (cells(4).1, &json!(4))] {
            let mut witness = Witness::new();
            witness.begins((wanted.clone(), broken));
            let said = said(r#"{"event":"booted","t":3,"role":"default","mark":false}"#);
            let events = witness.hears(said, 9, &(wanted.clone(), now));
            assert_eq!((&events[0]["note"], &events[0]["spent"]["boots"]), (&json!("unreadable"), spent));
        }
    }

    #[test]
    fn a_boot_on_a_disk_that_cannot_be_written_is_told_so() {
        let mut witness = Witness::new();
        let mut protected = |is_protected: bool| {
            witness.protect(is_protected);
            witness.begins(cells(1));
            let events = witness.hears(said(r#"{"event":"booted","t":3,"role":"default","mark":false}"#), 9, &cells(1));
            events[0].get("protected").cloned()
        };
        assert_eq!(protected(true), Some(json!(true)));
        assert_eq!(protected(false), None);
    }

    #[test]
    fn power_that_goes_before_the_note_was_written_ends_no_boot() {
        let mut witness = Witness::new();
        witness.begins(cells(2));
        assert_eq!(witness.ends(End::Cut, 5, &cells(2)), Vec::<Value>::new());
        assert_eq!(witness.boots(), 1);
    }
}
