//! `takeover-uboot`: a script that keeps the rules of the reference's, under a real U-Boot, against `pick` of the toggling kind.
//!
//! ```text
//!   firmware  FAT    pv.env           put and read with mtools between two boots
//!   storage   ext4   boot/uboot.txt   overwritten in the blocks it has, while the machine runs: as Linux stores
//!                    its journal      in one session holds other words for those very blocks, and nobody replays it
//! ```
//!
//! The script is [`SCRIPT`], in words of our own: the script of a device in the field is not ours, and not here. What is started is
//! read from the words that the kernel would get, by the reader of the board.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use board_takeover_uboot::TakeoverUboot;
use boards_api::Board as _;
use boards_api::board::{BootedAs, Content, Layout, Role};
use boards_api::takeover::{FOREIGN_MAX, LENGTH, Text as _, UbootTxt};
use boards_api::uboot::partition;
use formats::bootenv::reference::{self, open_txt};
use machine::Kind;
use statemachine::boot::{CHAIN_TRIES, Choice, Note, Trial, TrialKind, Wanted, pick};
use statemachine::ids::RevisionId;

use super::Subject;
use super::disk::{Bench, Medium, run};
use super::session::{EMPTY_CACHE, Session};
use crate::cases::{World, revision};
use crate::jobs::{Findings, Job};
use crate::report::{Control, Row};

/// Two notes in a row would do; a walk of four shows that it goes on so.
const BOOTS: usize = 4;

/// Bytes of a block of the storage.
const BLOCK: usize = 4096;

const SCRIPT: &str = "\
for name in pv_rev pv_try pv_trying kernel; do setenv ${name}; done
if load ${devtype} ${devnum}:2 ${ramdisk_addr_r} boot/uboot.txt; then env import -b ${ramdisk_addr_r} ${filesize}; fi
if load ${devtype} ${devnum}:1 ${ramdisk_addr_r} pv.env; then env import -b ${ramdisk_addr_r} ${filesize}; fi
setenv started ${pv_rev}
if test -n \"${pv_try}\"; then
  if test \"${pv_trying}\" = \"${pv_try}\"; then
    setenv pv_trying
  else
    setenv pv_trying ${pv_try}
    setenv started ${pv_try}
  fi
  mw.b ${ramdisk_addr_r} 0 400
  env export -b -s 400 ${ramdisk_addr_r} pv_trying
  fatwrite ${devtype} ${devnum}:1 ${ramdisk_addr_r} pv.env 400
fi
if load ${devtype} ${devnum}:2 ${ramdisk_addr_r} trails/${started}/.pv/pv-kernel.img; then
  env import -t ${ramdisk_addr_r} ${filesize} kernel
fi
echo cairn-jump ${kernel} panic=3 pv_try=${pv_try} pv_rev=${started} panic=2 pv_quickboot
";

/// Mistakes that somebody could make of it.
const WRONG: &[(&str, (&str, &str))] = &[
    ("notes nothing", ("  fatwrite ${devtype} ${devnum}:1 ${ramdisk_addr_r} pv.env 400\n", "")),
    ("keeps the note for ever", ("    setenv pv_trying\n", "    true\n")),
    ("takes any note for its own", ("test \"${pv_trying}\" = \"${pv_try}\"", "test -n \"${pv_trying}\"")),
    ("never tries", ("    setenv started ${pv_try}\n", "")),
    ("does not read its note", ("if load ${devtype} ${devnum}:1 ${ramdisk_addr_r} pv.env; then", "if false; then")),
];

static SUBJECT: Subject = Subject {
    name: TakeoverUboot::NAME,
    script: &[SCRIPT],
    layout: Layout {
        partitions: &[
            partition(Role::Firmware, "firmware", 48, Content::Fat),
            partition(Role::Store, "storage", 64, Content::Ext4),
        ],
    },
    kind: Kind::Arm64UBoot,
    tells: true,
    find: "setenv devtype virtio; setenv devnum 0; virtio scan",
    loader: None,
};

/// Both files before the first of a few boots.
#[derive(Clone)]
struct Case {
    name: String,
    txt: Vec<u8>,
    /// `pv.env`; `None`: there is none yet.
    env: Option<Vec<u8>>,
}

/// A device, its U-Boot at the prompt.
struct Bed {
    session: Session,
    /// Where `uboot.txt` lies on the disk, from the start of the storage.
    at: u64,
}

impl Bed {
    /// With so long a file, and these scripts. `journal`: what the journal of the storage holds for its first block.
    fn make(cases: &[Case], length: usize, scripts: &[String], journal: Option<&[u8]>) -> Result<Self> {
        let mut held = BTreeSet::new();
        for case in cases {
            let wanted = reference::decode(open_txt(&case.txt)?)?;
            held.extend([Some(wanted.default), wanted.trial.map(|trial| trial.revision)].into_iter().flatten());
        }
        let bench = Bench::make(&SUBJECT, &held, World::SOUND, scripts, None)?;
        let sectors = (48_u64 << 11).to_string();
        run(Command::new("mformat").args(["-i", &fat(&bench)?, "-T", &sectors, "-h", "64", "-s", "32", "::"]))?;
        let own = tempfile::tempdir()?;
        let (txt, list, block) = (own.path().join("txt"), own.path().join("list"), own.path().join("block"));
        fs::write(&txt, vec![b'.'; length])?;
        let ext4 = format!("{}?offset={}", bench.image().display(), bench.place(Role::Store)?);
        let debugfs = |commands: &str| {
            fs::write(&list, commands)?;
            run(Command::new("debugfs").arg("-w").arg("-f").arg(&list).arg(&ext4))
        };
        debugfs(&format!("mkdir boot\nwrite {} boot/uboot.txt\n", txt.display()))?;
        let said = debugfs("blocks boot/uboot.txt\n")?;
        let numbers = |line: &str| line.split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>().ok();
        let blocks = said.lines().filter_map(numbers).find(|blocks| !blocks.is_empty()).context("no blocks")?;
        let first = *blocks.first().context("no blocks")?;
        ensure!(
            blocks.iter().copied().eq((first..).take(length.div_ceil(BLOCK))),
            "uboot.txt lies in pieces: {blocks:?}"
        );
        if let Some(words) = journal {
            let mut bytes = words.to_vec();
            bytes.resize(BLOCK, 0);
            fs::write(&block, bytes)?;
            debugfs(&format!("journal_open\njournal_write -b {first} {}\njournal_close\n", block.display()))?;
            ensure!(replayed(&bench, own.path())?.as_bytes().starts_with(words), "a replay would change nothing");
        }
        let at = first * BLOCK as u64;
        let session = Session::begin(bench.plan(SUBJECT.kind, Medium::Sound)?, SUBJECT.find, "true", bench)?;
        Ok(Self { session, at })
    }

    /// Asks a script; tells where it differs from `pick`.
    fn ask(&mut self, script: usize, cases: &[Case]) -> Result<Vec<String>> {
        self.session.load(script)?;
        let mut differences = Vec::new();
        for case in cases {
            if let Some(difference) = self.case(case).with_context(|| case.name.clone())? {
                differences.push(format!("{}: {difference}", case.name));
            }
        }
        Ok(differences)
    }

    fn case(&mut self, case: &Case) -> Result<Option<String>> {
        self.session.bench().put(Role::Store, self.at, &case.txt)?;
        let image = fat(self.session.bench())?;
        let own = tempfile::tempdir()?;
        let file = own.path().join("pv.env");
        match &case.env {
            Some(env) => {
                fs::write(&file, env)?;
                run(Command::new("mcopy").args(["-o", "-i", &image]).arg(&file).arg("::pv.env"))?;
            }
            // It may be gone already.
            None => drop(run(Command::new("mdel").args(["-i", &image, "::pv.env"]))),
        }
        let wanted = reference::decode(open_txt(&case.txt)?)?;
        let mut note = noted(&wanted, case.env.as_deref())?;
        for boot in 0..BOOTS {
            let picked = pick(TrialKind::Toggling, Some(&wanted), &note, false, CHAIN_TRIES);
            note = picked.note.map_or(note, Note::Read);
            let said = self.session.source()?;
            let seen = said.lines().map(str::trim).find_map(|line| line.strip_prefix("cairn-jump "));
            let seen = seen.with_context(|| format!("the script does not jump:\n{said}"))?;
            let expected = expected(&wanted, &picked.choice);
            if started(seen).as_ref() != Some(&expected) {
                return Ok(Some(format!("boot {boot} should start {expected:?}, and does {seen:?}")));
            }
            let read = run(Command::new("mcopy").args(["-o", "-i", &image, "::pv.env"]).arg(&file)).ok();
            let env = read.map(|_| fs::read(&file)).transpose()?;
            let left = noted(&wanted, env.as_deref())?;
            if wanted.trial.is_some() && left != note {
                return Ok(Some(format!("boot {boot} should leave {note:?}, and leaves {left:?}")));
            }
        }
        Ok(None)
    }
}

/// What Linux would read of `uboot.txt`, after a replay of the journal: asked of a copy.
fn replayed(bench: &Bench, dir: &Path) -> Result<String> {
    let copy = dir.join("copy");
    run(Command::new("cp").arg("--sparse=always").arg(bench.image()).arg(&copy))?;
    let ext4 = format!("{}?offset={}", copy.display(), bench.place(Role::Store)?);
    run(Command::new("debugfs").args(["-w", "-R", "journal_run"]).arg(&ext4))?;
    run(Command::new("debugfs").args(["-R", "cat boot/uboot.txt"]).arg(&ext4))
}

/// The FAT as mtools want to hear it.
fn fat(bench: &Bench) -> Result<String> {
    Ok(format!("{}@@{}", bench.image().display(), bench.place(Role::Firmware)?))
}

/// What Linux makes of the note, if it looks.
fn noted(wanted: &Wanted, env: Option<&[u8]>) -> Result<Note> {
    Ok(reference::note(wanted, open_txt(env.unwrap_or_default())?))
}

/// Whose kernel, and as what.
type Started = (RevisionId, BootedAs);

fn expected(wanted: &Wanted, choice: &Choice) -> Started {
    let Choice::Revision(revision) = choice else { panic!("{choice:?} is not in this list") };
    let tried = wanted.trial.as_ref().is_some_and(|trial| trial.revision == *revision);
    (revision.clone(), if tried { BootedAs::Trial } else { BootedAs::Default })
}

/// What the kernel would be and be told. `None`: another kernel than its words say.
fn started(seen: &str) -> Option<Started> {
    let (kernel, words) = seen.split_once(' ')?;
    let named = words.split(' ').find_map(|word| word.strip_prefix("pv_rev="))?;
    let role = TakeoverUboot::booted(words)?.role;
    (named == kernel).then_some((RevisionId::parse(kernel).ok()?, role))
}

/// Every case, and the planted scripts.
pub(crate) fn jobs() -> Result<Vec<Job>> {
    let whole = |wrong: &[(&str, (&str, &str))]| -> Result<Vec<String>> {
        let mut scripts = vec![format!("{EMPTY_CACHE}\n{SCRIPT}")];
        for (_, (right, wrong)) in wrong {
            ensure!(SCRIPT.matches(right).count() == 1, "no place for the fault {wrong}");
            scripts.push(format!("{EMPTY_CACHE}\n{}", SCRIPT.replace(right, wrong)));
        }
        Ok(scripts)
    };
    let ours = move || {
        let cases = cases(LENGTH);
        let mut bed = Bed::make(&cases, LENGTH, &whole(WRONG)?, None)?;
        let name = "every pair of cells, as Cairn writes it";
        let rows = vec![row(name, &mut bed, &cases)?];
        let mut controls = Vec::new();
        for (index, (name, _)) in WRONG.iter().enumerate() {
            controls.push(Control { name, differences: bed.ask(index + 1, &cases)?.len() });
        }
        bed.session.end()?;
        Ok(Findings { rows, controls, ..Findings::default() })
    };
    let theirs = move || {
        let cases = cases(FOREIGN_MAX);
        let mut bed = Bed::make(&cases, FOREIGN_MAX, &whole(&[])?, None)?;
        let row = row("as the reference writes it, 64 KiB", &mut bed, &cases)?;
        bed.session.end()?;
        Ok(row)
    };
    let unreplayed = move || {
        let cases = cases(LENGTH);
        let mut bed = Bed::make(&cases, LENGTH, &whole(&[])?, Some(b"pv_rev=locals/of-the-journal\0pv_try=\0"))?;
        let row = row("its journal holds another file", &mut bed, &cases)?;
        bed.session.end()?;
        Ok(row)
    };
    let boots = cases(LENGTH).len() * BOOTS;
    Ok(vec![
        Job::new(SUBJECT.name, "every pair of cells", boots * (1 + WRONG.len()), ours),
        Job::new(SUBJECT.name, "as the reference writes it", boots, theirs),
        Job::new(SUBJECT.name, "a journal that nobody replays", boots, unreplayed),
    ])
}

fn row(name: &'static str, bed: &mut Bed, cases: &[Case]) -> Result<Row> {
    let differences = bed.ask(0, cases)?;
    Ok(Row { name, cases: cases.len(), boots: cases.len() * BOOTS, differences })
}

/// Every form of list beside every note that can stand there, in a file of this length.
fn cases(length: usize) -> Vec<Case> {
    let lists = [
        ("at rest", "5", None),
        ("a trial", "5", Some("6")),
        ("names of one beginning", "1", Some("10")),
        ("local names", "locals/now", Some("locals/next_one.-x")),
        ("the trial is the default", "7", Some("7")),
    ];
    let mut cases = Vec::new();
    for (list, default, trial) in lists {
        let tried = trial.unwrap_or("6");
        let beginning = tried.get(..tried.len() - 1);
        let notes = [None, Some(""), Some(tried), Some(default), Some("locals/other"), beginning];
        for note in notes {
            let env = note.map(|name| {
                let mut env = if name.is_empty() { Vec::new() } else { format!("pv_trying={name}\0").into_bytes() };
                env.resize(LENGTH, 0);
                env
            });
            let name = format!("{list}, pv_trying {note:?}");
            cases.push(Case { name, txt: txt(length, default, trial), env });
        }
    }
    cases
}

fn txt(length: usize, default: &str, trial: Option<&str>) -> Vec<u8> {
    let mut old = [0; LENGTH];
    let theirs = format!("fdtfile=a.dtb\0pv_rev={default}\0pv_try={}\0", trial.unwrap_or_default());
    if length > LENGTH {
        let mut file = theirs.into_bytes();
        file.resize(length, 0);
        return file;
    }
    old.iter_mut().zip(theirs.as_bytes()).for_each(|(place, byte)| *place = *byte);
    let trial = trial.map(|name| Trial { revision: revision(name), max: 1, issued: 0 });
    let previous = Some(revision("4"));
    let wanted =
        Wanted { nonce: 70_000, default: revision(default), previous, factory: Some(RevisionId::factory()), trial };
    UbootTxt::write(&old, &wanted).unwrap_or_else(|error| panic!("{wanted:?}: {error}")).to_vec()
}
