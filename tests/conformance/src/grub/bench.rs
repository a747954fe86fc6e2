//! One session: a disk with all cases, a GRUB that runs the script for each of them, and what it says.
//!
//! The script is the board's, and GRUB is started by the firmware as on a device. Two things are not as they are there:
//! `cells` names the directory of a case instead of `cairn`, and the commands that would end the session are functions:
//!
//! ```text
//!   linux PATH WORDS…     prints whether the script takes its note for written, the note that is on the disk, path and
//!                         words; true if the file is there
//!   initrd PATH           prints the path; true if the file is there
//!   boot                  is the real one, and says that no kernel was loaded
//!   reboot, sleep         print that
//! ```
//!
//! GRUB reads and parses a script in some tenths of a second, and the more of them it has read, the slower. So its functions
//! are defined once, and what stands between them becomes one more, which is called for each boot. The first case of a
//! session is run by the script in one piece.
//!
//! What a script does behind a jump or a reset is not looked at. After the session the blocks are read from the disk and
//! must be, byte for byte, what Linux would have written.

use std::collections::HashMap;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use boards_api::Booted;
use boards_api::slots::Places;
use formats::bootenv::{TALLY, grub};
use machine::{Disk, Kind, Plan};
use statemachine::boot::{Note, Spent};
use statemachine::ids::RevisionId;

use super::disk::{self, Trees};
use super::{Blocks, shipped};
use crate::cases::{self, Boot, Case, Cells as _, Files, Start, World};
use crate::report::Seen;

/// A script as the bench runs it.
#[derive(Clone)]
pub(crate) struct Script(String);

impl Script {
    /// The one that is shipped.
    pub(crate) fn real() -> Self {
        Self(replaced(&shipped(), "set cells=\"($disk,gpt1)/cairn\"\n", "set cells=\"$case\"\n"))
    }

    /// The same with other words in one place.
    pub(crate) fn with(&self, from: &str, to: &str) -> Self {
        Self(replaced(&self.0, from, to))
    }

    /// The same lines in the same order, those outside of functions as a function of their own.
    fn in_parts(&self) -> String {
        let (mut functions, mut decide, mut inside) = (String::new(), String::from("function decide {\n"), false);
        for line in self.0.lines().filter(|line| !line.is_empty() && !line.trim_start().starts_with('#')) {
            inside |= line.starts_with("function ");
            let part = if inside { &mut functions } else { &mut decide };
            *part += line;
            part.push('\n');
            inside &= line != "}";
        }
        functions + &decide + "}\n"
    }
}

/// A bench that replaced nothing would test something else.
fn replaced(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "the script should have this once: {from}");
    text.replace(from, to)
}

/// What the disk makes of a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Medium {
    Sound,
    /// Each write is an error; reads are not.
    FailingWrites,
    /// It says so itself.
    ReadOnly,
}

/// A session before it runs.
pub(crate) struct Bench {
    world: World,
    medium: Medium,
    scripts: Vec<Script>,
    /// With the number of the script that is asked.
    cases: Vec<(usize, Case)>,
}

/// All that was seen, case by case.
pub(crate) struct Answers(Vec<Seen>);

impl Answers {
    pub(crate) fn at(&self, cases: Range<usize>) -> &[Seen] {
        self.0.get(cases).unwrap_or_default()
    }
}

/// The commands that would end the session, and the run of one case. A variable of an earlier load must not be printed.
const STUBS: &str = r#"
serial --unit=0 --speed=115200
terminfo -g 1000x100 serial dumb
terminal_output serial
function on_disk {
  for variable in cairn_note cairn_spent cairn_boots cairn_noted; do unset $variable; done
  load_env --file "$case/spent" cairn_note cairn_spent cairn_boots cairn_noted
}
function linux {
  if [ -n "$over" ]; then return 1; fi
  on_disk
  echo "@note $noted $cairn_note $cairn_spent $cairn_boots $cairn_noted"
  echo "@linux $@"
  [ -f "$1" ]
}
function initrd {
  echo "@initrd $@"
  if [ -f "$1" ]; then set over=yes; else return 1; fi
}
function reboot { echo @reset; set over=yes; }
function sleep { echo @sleep; set over=yes; }
# run PLACE BOOTS COMMAND...
function run {
  set case="(hd0,gpt1)/$1"
  for step in $2; do
    echo "@case $1 $step"
    set over=
    $3 $4
  done
}
"#;

/// Modules of the board that would bring the real commands.
const STUBBED: &[&str] = &["linux", "reboot", "sleep"];

/// So many cases are waited for at a time,
const PART: usize = 25;

/// so long: a hundred times what they take on a machine that does nothing else.
const PATIENCE: Duration = Duration::from_secs(200);

impl Bench {
    pub(crate) fn new(world: World, medium: Medium) -> Self {
        Self { world, medium, scripts: Vec::new(), cases: Vec::new() }
    }

    pub(crate) fn script(&mut self, script: Script) -> usize {
        self.scripts.push(script);
        self.scripts.len() - 1
    }

    /// Asks a script for all of these. The range is where [`Answers::at`] has the answers.
    pub(crate) fn cases(&mut self, script: usize, cases: &[Case]) -> Range<usize> {
        let start = self.cases.len();
        self.cases.extend(cases.iter().map(|case| (script, case.clone())));
        start..self.cases.len()
    }

    /// The number of the last part.
    fn last_part(&self) -> usize {
        self.cases.len().saturating_sub(1) / PART
    }

    /// Runs the session.
    pub(crate) fn run(&self) -> Result<Answers> {
        let work = tempfile::Builder::new().prefix("cairn-conformance-").tempdir()?;
        let image = work.path().join("disk.img");
        self.fill(work.path(), &image)?;
        let console = self.console(&image, work.path())?;
        let mut boots = parse(&console)?;
        let back = work.path().join("back");
        disk::read_back(&image, "c", &back)?;
        let mut answers = Vec::new();
        for (number, (_, case)) in self.cases.iter().enumerate() {
            let spoken = boots.remove(&number).with_context(|| {
                format!("GRUB said nothing of case {number} ({}); its last words: {}", case.name, tail(&console))
            })?;
            let file = |name: &str| fs::read(back.join(place(number)).join(name)).ok();
            answers.push(self.judge(case, spoken, file("wanted"), file("spent")));
        }
        Ok(Answers(answers))
    }

    fn fill(&self, work: &Path, image: &Path) -> Result<()> {
        let [firmware, recovery, storage] = ["firmware", "recovery", "storage"].map(|name| work.join(name));
        let mut driver = STUBS.to_owned();
        for (number, script) in self.scripts.iter().enumerate() {
            disk::put(&firmware.join(format!("script{number}")), script.0.as_bytes())?;
            disk::put(&firmware.join(format!("parts{number}")), script.in_parts().as_bytes())?;
        }
        let mut current = None;
        for (number, (script, case)) in self.cases.iter().enumerate() {
            let place = format!("c/{}", place(number));
            fs::create_dir_all(firmware.join(&place))?;
            for (name, bytes) in [("wanted", &case.wanted), ("spent", &case.spent)] {
                if let Some(bytes) = bytes {
                    disk::put(&firmware.join(&place).join(name), bytes)?;
                }
            }
            let steps: Vec<_> = (0..case.boots()).map(|step| step.to_string()).collect();
            if number > 0 && number % PART == 0 {
                driver += &format!("echo @part {}.\n", number / PART - 1);
            }
            let whole = number == 0;
            if !whole && current.replace(script) != Some(script) {
                driver += &format!("source (hd0,gpt1)/parts{script}\n");
            }
            let command = if whole { format!("source (hd0,gpt1)/script{script}") } else { "decide".into() };
            driver += &format!("run {place} \"{}\" {command}\n", steps.join(" "));
        }
        driver += &format!("echo @part {}.\n", self.last_part());
        // Parsed as it is read: GRUB holds one statement of it at a time.
        disk::put(&firmware.join("driver"), driver.as_bytes())?;
        disk::loader(work, &firmware, "source (hd0,gpt1)/driver\n", STUBBED, &["configfile", "echo", "true"])?;
        for file in ["kernel", "initrd"] {
            disk::put(&recovery.join(file), file.as_bytes())?;
        }
        for revision in cases::revisions(&Blocks, self.cases.iter().map(|(_, case)| case)) {
            let trail = storage.join("trails").join(revision.as_str()).join(".pv");
            fs::create_dir_all(&trail)?;
            let files = self.world.files(&revision);
            if files != Files::NoKernel {
                disk::put(&trail.join("pv-kernel.img"), b"kernel")?;
            }
            if files != Files::NoInitrd {
                disk::put(&trail.join("pv-initrd.img"), b"initrd")?;
            }
        }
        disk::make(image, &Trees { firmware: &firmware, recovery: &recovery, storage: &storage })
    }

    /// What GRUB says.
    fn console(&self, image: &Path, work: &Path) -> Result<String> {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ear = Arc::clone(&heard);
        let plan = Plan::new(Kind::X86_64Uefi).dir(work.join("machine")).listen(move |bytes| {
            if let Ok(mut heard) = ear.lock() {
                heard.extend_from_slice(bytes);
            }
        });
        let plan = match self.medium {
            Medium::Sound => plan.disk(Disk::of(image)),
            Medium::ReadOnly => plan.disk(Disk::read_only(image)),
            Medium::FailingWrites => plan
                .arg("-drive")
                .arg(format!(
                    "if=none,id=bad,driver=raw,file.driver=blkdebug,file.image.driver=file,file.image.filename={},\
                     file.inject-error.0.event=none,file.inject-error.0.iotype=write,file.inject-error.0.errno=5",
                    image.display()
                ))
                .arg("-device")
                .arg("nvme,drive=bad,serial=bad,bootindex=0"),
        };
        let mut machine = plan.build()?;
        machine.start()?;
        for part in 0..=self.last_part() {
            machine.expect(&format!("@part {part}."), PATIENCE)?;
        }
        machine.quit()?;
        let heard = heard.lock().map_err(|_| anyhow!("the console was lost"))?;
        Ok(String::from_utf8_lossy(&heard).into_owned())
    }

    /// Puts together what GRUB said and what it left.
    fn judge(&self, case: &Case, spoken: Vec<Spoken>, wanted: Option<Vec<u8>>, spent: Option<Vec<u8>>) -> Seen {
        let mut faults = Vec::new();
        let before = case.spent.as_deref().map_or(Note::Unreadable, grub::note);
        let boots: Vec<_> = spoken
            .into_iter()
            .map(|spoken| {
                faults.extend(spoken.faults);
                Boot { starts: spoken.starts, note: spoken.note }
            })
            .collect();
        if wanted != case.wanted {
            faults.push("the script has changed the cell of Linux".into());
        }
        match boots.last().and_then(|boot| boot.note) {
            // What GRUB makes of a block that Linux could not read is GRUB's affair.
            _ if before == Note::Unreadable => {}
            None if spent != case.spent => faults.push("the note has changed, and cannot be read".into()),
            Some(note) if spent != Some(Blocks.spent(&note)) => {
                faults.push(format!("Linux would not have written {note:?} as GRUB has"));
            }
            _ => {}
        }
        Seen { boots, faults }
    }
}

/// The directory of a case. Few in each, because FAT is searched from the front.
fn place(number: usize) -> String {
    format!("{}/{}", number / 32, number % 32)
}

fn tail(console: &str) -> String {
    let from = console.char_indices().rev().nth(600).map_or(0, |(at, _)| at);
    console.get(from..).unwrap_or_default().to_owned()
}

/// One boot in GRUB's words.
#[derive(Default)]
struct Spoken {
    starts: Vec<Start>,
    note: Option<Spent>,
    faults: Vec<String>,
    /// A jump or a reset: nothing that follows would have happened.
    over: bool,
}

/// Reads the console; the boots of each case by its number.
fn parse(console: &str) -> Result<HashMap<usize, Vec<Spoken>>> {
    let mut cases: HashMap<usize, Vec<Spoken>> = HashMap::new();
    let mut now: Option<usize> = None;
    for line in console.lines() {
        // The real `boot`, which was given nothing to start.
        let line = if line.contains("you need to load the kernel first") { "@boot" } else { line.trim_end() };
        let Some(said) = line.find('@').and_then(|at| line.get(at + 1..)) else { continue };
        let (word, rest) = said.split_once(' ').unwrap_or((said, ""));
        if word == "case" {
            let mut parts = rest.split(['/', ' ']).skip(1).map(str::parse::<usize>);
            let (Some(Ok(row)), Some(Ok(column)), Some(Ok(step))) = (parts.next(), parts.next(), parts.next()) else {
                bail!("GRUB names no case: {line}");
            };
            let boots = cases.entry(row * 32 + column).or_default();
            if boots.len() != step {
                bail!("GRUB left out a boot: {line}");
            }
            boots.push(Spoken::default());
            now = Some(row * 32 + column);
            continue;
        }
        let Some(boot) = now.and_then(|now| cases.get_mut(&now)?.last_mut()).filter(|boot| !boot.over) else {
            continue;
        };
        boot.hear(word, rest);
    }
    Ok(cases)
}

impl Spoken {
    fn hear(&mut self, word: &str, rest: &str) {
        match (word, self.starts.last_mut()) {
            ("note", None) => match note(rest) {
                Ok(note) => self.note = note,
                Err(fault) => self.faults.push(fault),
            },
            ("linux", _) => match start(rest) {
                Ok(start) => self.starts.push(start),
                Err(fault) => self.faults.push(fault),
            },
            ("initrd", Some(start)) => {
                start.files = Files::NoInitrd;
                if rest != path(start.revision.as_ref(), "initrd") {
                    self.faults.push(format!("{start:?} with an initrd of something else: {rest}"));
                }
            }
            ("boot", Some(start)) => {
                start.files = Files::Whole;
                self.over = true;
            }
            ("reset" | "sleep", _) => self.over = true,
            ("initrd" | "boot", None) => self.faults.push(format!("{word} without a kernel")),
            _ => {}
        }
    }
}

/// The note that the script takes for written, as the bench prints it: what the script says, and the four values on the
/// disk.
fn note(said: &str) -> Result<Option<Spent>, String> {
    let ["yes", first, nonce, tally, last] = *said.split(' ').collect::<Vec<_>>() else { return Ok(None) };
    let whole = first == format!("{nonce}:{tally}") && first == last && tally.bytes().all(|mark| mark == TALLY);
    let spent = nonce.parse().ok().zip(u8::try_from(tally.len()).ok());
    let spent = spent.filter(|_| whole).map(|(nonce, boots)| Spent { nonce, boots });
    spent.map(Some).ok_or_else(|| format!("the script takes its note for written, and there is this: {said}"))
}

/// The path and the words that `linux` was given. Its files are not there until the commands behind it are reached.
fn start(line: &str) -> Result<Start, String> {
    let (kernel, words) = line.split_once(' ').unwrap_or((line, ""));
    let last = words.split(' ').rfind(|word| word.starts_with("cairn.role="));
    let role = last.map(|word| word.trim_start_matches("cairn.role=").to_owned()).unwrap_or_default();
    if Booted::from_cmdline(words, Places::Trails).is_none() {
        return Err(format!("PID 1 does not understand this command line: {words}"));
    }
    if !["console=ttyS0", "panic=5"].iter().all(|word| words.split([' ', ',']).any(|given| given == *word)) {
        return Err(format!("a word is missing on this command line: {words}"));
    }
    let trail = kernel.strip_prefix("(hd0,gpt4)/trails/").and_then(|trail| trail.strip_suffix("/.pv/pv-kernel.img"));
    let revision = trail.map(RevisionId::parse).transpose().map_err(|error| format!("{kernel}: {error}"))?;
    if kernel != path(revision.as_ref(), "kernel") {
        return Err(format!("a kernel in no place of this board: {kernel}"));
    }
    Ok(Start { role, revision, files: Files::NoKernel })
}

/// Where a file is.
fn path(revision: Option<&RevisionId>, file: &str) -> String {
    match revision {
        Some(revision) => format!("(hd0,gpt4)/trails/{revision}/.pv/pv-{file}.img"),
        None => format!("(hd0,gpt3)/{file}"),
    }
}
