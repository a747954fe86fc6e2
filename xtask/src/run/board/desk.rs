//! What scripts of a story ask of the machine: a command for the device's own shell, or a switch.
//!
//! ```text
//!   script ──▶ N.ask: "shell pvcontrol ls", "on", "off" ──▶ desk ──keys──▶ shell on the serial line
//!   script ◀── N.out, then N.rc ◀──────────────────────────── desk ◀─console── @@B N ─ what it says ─ @@E N CODE
//! ```
//!
//! PID 1 writes to the same console, so its lines between the two marks are passed over. Only whole lines are said, and a
//! command's output is one piece of the shell's. A command during which the boot ends in order has succeeded: that is what
//! it asked for.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use machine::{Machine, Mark};

use crate::run::device::{INSIDE, KEYS};

/// How the shell of the factory state asks for a command.
const PROMPT: &str = "device# ";

/// How long it may take until it does, and until a command has ended: one may wait for a whole system to boot.
const PATIENCE: Duration = Duration::from_secs(300);

/// What the lines of PID 1 on the console begin with.
const VOICE: &str = "[pantavisor] ";

/// Programs for scripts, beside those of every story; `$DESK` is the directory.
///
/// | | |
/// |---|---|
/// | `ask shell LINE` | a line for the device's shell |
/// | `ask on`, `ask on protected`, `ask off` | the switch |
/// | `shell COMMAND…` | a command of the device's shell |
/// | `pvcontrol` | in the device |
pub(super) const PROGRAMS: [(&str, &str); 3] = [
    (
        "ask",
        r#"n=$(mktemp "$DESK/XXXXXXXX")
printf '%s\n' "$*" > "$n.new"
mv "$n.new" "$n.ask"
while [ ! -e "$n.rc" ]; do sleep 0.1; done
cat "$n.out"
exit "$(cat "$n.rc")"
"#,
    ),
    (
        "shell",
        r#"line=
for word do line="$line '$(printf %s "$word" | sed "s/'/'\\\\''/g")'"; done
exec ask shell "$line"
"#,
    ),
    ("pvcontrol", "exec shell pvcontrol \"$@\"\n"),
];

/// Further ones for stories about the device itself: `inside` is its shell.
pub(super) const OF_DEVICES: [(&str, &str); 1] = [("inside", "exec shell \"$@\"\n")];

/// Further ones for stories about containers; they mean what they do where the device is a directory. Its shell counts
/// processes as the device does, and may look at every root.
pub(super) fn of_containers() -> Vec<(&'static str, String)> {
    vec![
        ("inside", INSIDE.to_owned()),
        ("peek", "exec shell cat \"/proc/$(pid \"$1\")/root$2\"\n".to_owned()),
        ("tell", TELL.to_owned()),
        ("slay", "exec shell kill -KILL \"$(pid \"$1\")\"\n".to_owned()),
        ("types", format!("exec shell sh -c '{KEYS} | pvcontrol console \"$1\"' sh \"$@\"\n")),
        ("says", "exec pvcontrol logs -n 1 \"$1\"\n".to_owned()),
    ]
}

const TELL: &str = r#"there=/proc/$(pid "$1")/root/tmp
exec shell sh -c 'echo "$1" > "$2/do.new" && busybox mv "$2/do.new" "$2/do"' sh "$2" "$there"
"#;

/// What the machine has to do for a script.
pub(super) enum Switch {
    On {
        /// Its disk cannot be written in this life.
        protected: bool,
    },
    Off,
}

pub(super) struct Desk {
    dir: PathBuf,
    /// The console from where this boot began.
    boot: Option<Mark>,
    is_prompted: bool,
    asked: Option<Asked>,
    number: u32,
}

/// A command that waits for the shell, or for its end.
struct Asked {
    path: PathBuf,
    command: String,
    until: Instant,
    /// Once it was typed: where the console was, and its number.
    typed: Option<(Mark, u32)>,
}

impl Desk {
    pub(super) fn open(dir: PathBuf) -> Self {
        Self { dir, boot: None, is_prompted: false, asked: None, number: 0 }
    }

    /// A boot begins.
    pub(super) fn begins(&mut self, console: Mark) {
        (self.boot, self.is_prompted) = (Some(console), false);
    }

    /// A boot has ended; whether in order. What was typed will not be answered any more.
    pub(super) fn ends(&mut self, in_order: bool) -> Result<()> {
        self.boot = None;
        match self.asked.take() {
            Some(asked) if asked.typed.is_some() && in_order => answer(&asked.path, "", 0),
            Some(asked) if asked.typed.is_some() => answer(&asked.path, "the boot has ended meanwhile", 255),
            asked => {
                self.asked = asked;
                Ok(())
            }
        }
    }

    /// Goes on with what is asked; the result is for the machine itself, and is to be [done](Self::done).
    pub(super) fn turn(&mut self, machine: &mut Machine) -> Result<Option<(PathBuf, Switch)>> {
        let Some(asked) = &mut self.asked else { return self.next() };
        if asked.until < Instant::now() {
            let path = asked.path.clone();
            self.asked = None;
            answer(&path, "the device's shell does not answer", 124)?;
            return Ok(None);
        }
        let (Some(boot), true) = (self.boot, machine.is_on()) else { return Ok(None) };
        match asked.typed {
            None => {
                if !self.is_prompted {
                    machine.rewind(boot);
                    self.is_prompted = machine.expect(PROMPT, Duration::ZERO).is_ok();
                }
                if self.is_prompted {
                    self.number += 1;
                    let (number, command) = (self.number, &asked.command);
                    asked.typed = Some((machine.mark(&format!("asked: {command}")), number));
                    // Marked so that the echo of this line is no mark.
                    machine.send(&format!(
                        "{{ {command}; }} >/tmp/asked 2>&1 </dev/null; rc=$?; \
                         echo; echo @@\"B\" {number}; cat /tmp/asked; echo; echo @@\"E\" {number} $rc"
                    ))?;
                }
            }
            Some((mark, number)) => {
                if let Some((said, code)) = answered(&machine.since(mark), number) {
                    let path = asked.path.clone();
                    self.asked = None;
                    answer(&path, &said, code)?;
                }
            }
        }
        Ok(None)
    }

    /// The machine was switched.
    pub(super) fn done(path: &Path) -> Result<()> {
        answer(path, "", 0)
    }

    fn next(&mut self) -> Result<Option<(PathBuf, Switch)>> {
        let entries = fs::read_dir(&self.dir).with_context(|| format!("cannot read {}", self.dir.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_none_or(|kind| kind != "ask") {
                continue;
            }
            let text = fs::read_to_string(&path)?;
            fs::remove_file(&path)?;
            let (word, rest) = text.trim_end().split_once(' ').unwrap_or((text.trim_end(), ""));
            let path = path.with_extension("");
            match word {
                "on" if rest.is_empty() => return Ok(Some((path, Switch::On { protected: false }))),
                "on" if rest == "protected" => return Ok(Some((path, Switch::On { protected: true }))),
                "off" => return Ok(Some((path, Switch::Off))),
                "shell" if !rest.contains('\n') => {
                    let command = rest.trim().to_owned();
                    self.asked = Some(Asked { path, command, until: Instant::now() + PATIENCE, typed: None });
                    return Ok(None);
                }
                _ => answer(&path, "ask: shell COMMAND (one line), on, on protected, off", 2)?,
            }
        }
        Ok(None)
    }
}

/// What the shell said between the marks of this number, once it has.
fn answered(console: &str, number: u32) -> Option<(String, u8)> {
    let (_, rest) = console.split_once(&format!("\n@@B {number}\n"))?;
    let (said, end) = rest.split_once(&format!("\n@@E {number} "))?;
    let (code, _) = end.split_once('\n')?;
    let lines = said.lines().filter(|line| !line.starts_with(VOICE));
    Some((lines.map(|line| format!("{line}\n")).collect(), code.trim().parse().ok()?))
}

fn answer(path: &Path, said: &str, code: u8) -> Result<()> {
    let place = |kind: &str| path.with_extension(kind);
    fs::write(place("out"), said).with_context(|| format!("cannot write {}", path.display()))?;
    fs::write(place("rc.new"), code.to_string())?;
    Ok(fs::rename(place("rc.new"), place("rc"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_lies_between_the_marks_of_its_question() {
        let echo = "device# { ls; } >/tmp/asked; echo @@\"B\" 7; cat /tmp/asked; echo @@\"E\" 7 $rc\n";
        let console = format!("{echo}\n@@B 7\nheart\n[pantavisor] 3.1 INFO -- [web]: READY\nlink\n\n@@E 7 0\ndevice# ");
        assert_eq!(answered(&console, 7), Some(("heart\nlink\n".into(), 0)));
        assert_eq!(answered(&console, 8), None);
        assert_eq!(answered(console.trim_end_matches("0\ndevice# "), 7), None, "not yet whole");
    }
}
