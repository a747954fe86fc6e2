//! The role `selftest`: whether a device is as its board says, asked on the device itself while it runs.
//!
//! ```text
//!   passed   partition wanted         vda2: 8192 KiB from byte 67108864
//!   failed   note                     it cannot be read: a trial would count as spent
//!   skipped  watchdog                 the settings say watchdog=off
//! ```
//!
//! Promises: without `--write` nothing is written, armed or fed, and every medium is opened for reading only; with it, what
//! reads comes first, and only if all of that holds is something written, which changes nothing. What could not be asked is
//! skipped with a reason, and never passed. Exit: 0 no law fails, 1 one does, 2 nothing could be asked.
//!
//! It has to stand where PID 1 stands: it looks for the settings below its own root, and else enters that of process 1.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use formats::json::Json;

use crate::boards::{self, AnyBoard};
use crate::settings::{self, Settings};

const HELP: &str = "\
usage: cairn selftest board [--write] [--json]

Asks the device that it runs on whether it is as its board says: what the firmware said, partitions, boot cells, journal,
watchdog, and every file that the firmware would boot, read from the disk as the firmware reads it and compared with the
signed state. Each law is passed, failed, or skipped with a reason. Nothing is written.

  --write   afterwards, and only if no law failed: PID 1 writes journal and boot cells once more as they are, and reads them
            back; a new file in the storage has to be on the disk behind its barrier, without a replay; then everything is
            asked again. Refused while an update is under way. A power cut inside changes nothing.
  --json    one document

What takes a reboot is not asked here: that a note is counted, that the watchdog ends a boot. Updates, bad ones too, and a
pulled plug show that.

As root, in the root of PID 1; or in a container that shares the processes of the device (lxc.namespace.keep = … pid), may
read block devices, and has the capabilities sys_chroot and sys_ptrace.

exit: 0 no law fails, 1 one does, 2 nothing could be asked
";

/// Where the root of PID 1 is for those who see its processes.
const ROOT: &str = "/proc/1/root";

/// Where PID 1 keeps things.
const STORAGE: &str = "/storage";

/// What became of a law.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Outcome {
    /// It holds.
    Passed,
    /// It does not.
    Failed,
    /// It was not asked.
    Skipped,
}

impl Outcome {
    fn word(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// What was found, in the order of asking.
#[derive(Default, Debug)]
pub struct Findings(Vec<(String, Outcome, String)>);

impl Findings {
    /// A law that was asked: what was seen, or what is wrong.
    pub fn law(&mut self, name: &str, found: Result<String, String>) {
        let (outcome, said) = match found {
            Ok(said) => (Outcome::Passed, said),
            Err(said) => (Outcome::Failed, said),
        };
        self.0.push((name.to_owned(), outcome, said));
    }

    /// A law that was not asked, and why.
    pub fn skip(&mut self, name: &str, why: impl Into<String>) {
        self.0.push((name.to_owned(), Outcome::Skipped, why.into()));
    }

    fn count(&self, outcome: &Outcome) -> usize {
        self.0.iter().filter(|(_, one, _)| one == outcome).count()
    }

    /// Whether something was asked and nothing fails.
    fn hold(&self) -> bool {
        self.count(&Outcome::Failed) == 0 && self.count(&Outcome::Passed) > 0
    }

    /// In one line: how many hold, or the first that does not.
    fn summary(&self) -> Result<String, String> {
        match self.0.iter().find(|(_, outcome, _)| *outcome == Outcome::Failed) {
            Some((law, _, said)) => Err(format!("{law}: {said}")),
            None => Ok(format!("{} passed", self.count(&Outcome::Passed))),
        }
    }

    fn json(&self, board: &str) -> Json {
        let laws = self.0.iter().map(|(law, outcome, said)| {
            Json::object().with("law", law.as_str()).with("result", outcome.word()).with("said", said.as_str())
        });
        Json::object().with("board", board).with("passed", self.hold()).with("laws", Json::Array(laws.collect()))
    }

    fn show(&self, board: &str, out: &mut dyn Write) -> io::Result<()> {
        for (law, outcome, said) in &self.0 {
            writeln!(out, "{:<8} {law:<34} {said}", outcome.word())?;
        }
        let [passed, failed, skipped] =
            [Outcome::Passed, Outcome::Failed, Outcome::Skipped].map(|outcome| self.count(&outcome));
        writeln!(out, "{board}: {passed} passed, {failed} failed, {skipped} skipped")
    }
}

/// The body of the role. Takes the arguments after its name.
///
/// # Errors
/// Nobody takes the output.
pub fn main(
    args: impl Iterator<Item = OsString>,
    boards: &[AnyBoard],
    rewrite: &dyn Fn() -> Result<String, String>,
) -> io::Result<ExitCode> {
    let args: Vec<_> = args.map(|arg| arg.to_string_lossy().into_owned()).collect();
    let is_option = |word: &&str| matches!(*word, "--json" | "--write");
    let words: Vec<_> = args.iter().map(String::as_str).filter(|word| !is_option(word)).collect();
    let has = |option: &str| args.iter().any(|arg| arg == option);
    match words.as_slice() {
        ["board"] => {}
        ["-h" | "--help"] | ["board", "-h" | "--help"] => {
            return io::stdout().write_all(HELP.as_bytes()).map(|()| ExitCode::SUCCESS);
        }
        _ => return io::stderr().write_all(HELP.as_bytes()).map(|()| ExitCode::from(2)),
    }
    let asked = ask(boards).map(|(settings, mut findings)| {
        if has("--write") {
            write(boards, &settings, rewrite, &mut findings);
        }
        (settings.fit.board().to_owned(), findings)
    });
    let (name, findings) = match asked {
        Ok(asked) => asked,
        Err(why) => return writeln!(io::stderr(), "cairn selftest: {why}").map(|()| ExitCode::from(2)),
    };
    let mut out = io::stdout().lock();
    if has("--json") {
        writeln!(out, "{}", findings.json(&name).pretty())?;
    } else {
        findings.show(&name, &mut out)?;
    }
    Ok(if findings.hold() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Asks everything that can be read.
fn ask(boards: &[AnyBoard]) -> Result<(Settings, Findings), String> {
    enter()?;
    let mut settings = Settings::read(&words()).map_err(|error| error.to_string())?;
    boards::listen(boards, &mut settings, Path::new(boards::DEVICE_TREE));
    let mut findings = Findings::default();
    let name = settings.fit.board();
    boards::inspect(boards, &settings, Path::new(STORAGE), &mut findings)
        .ok_or_else(|| format!("this program has no board {name:?}"))?;
    match settings.watchdog {
        Some(_) => findings.law("watchdog", watchdog(Path::new("/"))),
        None => findings.skip("watchdog", "the settings ask for none"),
    }
    Ok((settings, findings))
}

/// What takes a write, and then what can be read once more. Where something is wrong already, nothing is risked.
fn write(
    boards: &[AnyBoard],
    settings: &Settings,
    rewrite: &dyn Fn() -> Result<String, String>,
    findings: &mut Findings,
) {
    if !findings.hold() {
        findings.skip("write", "a law that only reads fails, so nothing is written");
        return;
    }
    boards::exercise(boards, settings, Path::new(STORAGE), rewrite, findings);
    let mut again = Findings::default();
    boards::inspect(boards, settings, Path::new(STORAGE), &mut again);
    findings.law("all of that again", again.summary());
}

/// What PID 1 was called with.
fn words() -> Vec<String> {
    let line = std::fs::read("/proc/1/cmdline").unwrap_or_default();
    let words = line.split(|byte| *byte == 0).skip(1).filter(|word| !word.is_empty());
    words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// Goes where PID 1 is.
fn enter() -> Result<(), String> {
    let is_here = || Path::new(settings::FILE).exists();
    if is_here() {
        return Ok(());
    }
    rustix::process::chroot(ROOT)
        .and_then(|()| rustix::process::chdir("/"))
        .map_err(|errno| format!("cannot enter {ROOT}: {errno}; `cairn selftest --help` says what that takes"))?;
    if is_here() {
        Ok(())
    } else {
        Err(format!("there is no {} in the root of process 1: it is no device, or not its PID 1", settings::FILE))
    }
}

/// It is there, and PID 1 has armed it. It is not opened: that would arm one that nobody feeds.
fn watchdog(root: &Path) -> Result<String, String> {
    let there = root.join("dev/watchdog");
    if !there.exists() {
        return Err(format!("there is no {}: a boot that hangs stays so; is a module missing?", there.display()));
    }
    let field = |name: &str| std::fs::read_to_string(root.join("sys/class/watchdog/watchdog0").join(name)).ok();
    let text = |name: &str| field(name).map(|text| text.trim().to_owned());
    match (text("state"), text("identity"), text("timeout")) {
        (Some(state), identity, timeout) if state == "active" => Ok(format!(
            "{}, armed, {} seconds",
            identity.unwrap_or_else(|| "a watchdog".into()),
            timeout.unwrap_or_else(|| "unknown".into())
        )),
        (Some(state), ..) => Err(format!("it is {state}, and PID 1 should have armed it")),
        (None, ..) => Ok("it is there; this kernel does not tell whether it is armed".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_law_that_fails_fails_all_and_so_does_none_that_was_asked() {
        let mut findings = Findings::default();
        findings.skip("a", "no reason");
        assert!(!findings.hold(), "nothing was asked");
        findings.law("b", Ok("seen".into()));
        assert!(findings.hold());
        findings.law("c", Err("wrong".into()));
        assert!(!findings.hold());
        assert_eq!(findings.summary(), Err("c: wrong".into()));
        let mut shown = Vec::new();
        findings.show("acme", &mut shown).unwrap();
        let shown = String::from_utf8(shown).unwrap();
        assert!(shown.ends_with("acme: 1 passed, 1 failed, 1 skipped\n"), "{shown}");
        let json = findings.json("acme").compact();
        assert!(json.starts_with(r#"{"board":"acme","passed":false,"laws":[{"law":"a","result":"skipped""#), "{json}");
    }

    #[test]
    fn a_watchdog_that_nobody_has_armed_fails() {
        let root = tempfile::tempdir().unwrap();
        let asked = || watchdog(root.path());
        assert!(asked().unwrap_err().contains("is a module missing?"));
        std::fs::create_dir_all(root.path().join("dev")).unwrap();
        std::fs::write(root.path().join("dev/watchdog"), "").unwrap();
        assert!(asked().unwrap().contains("does not tell"));
        let class = root.path().join("sys/class/watchdog/watchdog0");
        std::fs::create_dir_all(&class).unwrap();
        std::fs::write(class.join("state"), "inactive\n").unwrap();
        assert!(asked().unwrap_err().contains("inactive"));
        std::fs::write(class.join("state"), "active\n").unwrap();
        std::fs::write(class.join("timeout"), "60\n").unwrap();
        assert_eq!(asked().unwrap(), "a watchdog, armed, 60 seconds");
    }
}
