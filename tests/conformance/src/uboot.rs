//! U-Boot boards and their script: what their cells can look like, in which worlds they boot, and wrong scripts that
//! must be caught.
//!
//! What is particular about this bootloader: it sees a torn cell by the same checksum as Linux, so there is nothing that
//! one of them takes for whole and the other does not; and `Wanted` has a second copy.

mod disk;
mod images;
mod session;
mod slots;
mod takeover;

use std::collections::BTreeSet;

use anyhow::Result;
use board_qemu_arm_orangepi_pc::{LOADER, LOADER_AT, OrangePiPc};
use board_qemu_arm64_uboot::QemuArm64Uboot;
use boards_api::Board as _;
use boards_api::board::Layout;
use formats::bootenv::raw::{self, SECTOR};
use formats::bootenv::uboot::Head;
use machine::Kind;
use statemachine::boot::{Note, Spent, Trial, Wanted};
use statemachine::ids::RevisionId;

use crate::cases::{self, Case, Cells, World, case, revision};
use crate::jobs::{self, Job};
use crate::report::{Control, Row, Seen};
use disk::{Bench, Medium};
use session::{Fault, Session, stubbed};

pub(crate) use slots::jobs as slots;
pub(crate) use takeover::jobs as takeover;

/// These U-Boots have one environment: no flag behind the checksum.
const HEAD: Head = Head::Plain;

/// The cells as sectors. That of `Wanted` is both copies, one behind the other.
struct Sectors;

impl Cells for Sectors {
    fn wanted(&self, wanted: &Wanted) -> Option<Vec<u8>> {
        raw::encode_wanted(wanted, HEAD).ok().map(|copy| [copy, copy].concat())
    }

    fn spent(&self, spent: &Spent) -> Vec<u8> {
        raw::encode_spent(spent, HEAD).unwrap_or_else(|error| panic!("{spent:?}: {error}")).to_vec()
    }

    fn read_wanted(&self, bytes: &[u8]) -> Option<Wanted> {
        let (first, second) = bytes.split_at_checked(SECTOR)?;
        raw::decode_pair(first, second, HEAD).ok().map(|pair| pair.wanted)
    }

    fn read_spent(&self, bytes: &[u8]) -> Note {
        raw::note(bytes, HEAD)
    }
}

/// A board, as far as its script and its machine go.
struct Subject {
    name: &'static str,
    script: &'static [&'static str],
    layout: Layout,
    kind: Kind,
    /// What a boot by itself sets before it finds the script.
    find: &'static str,
    /// Whether its disk tells the machine of an error. An SD card in QEMU does not: what cannot be written is lost without a
    /// word, and of what cannot be read it gives what was in its buffer.
    tells: bool,
    /// What the machine starts, where it lies on the disk instead of in a chip.
    loader: Option<Loader>,
}

/// A file of a Debian package of another architecture, on the disk itself.
struct Loader {
    architecture: &'static str,
    package: &'static str,
    path: &'static str,
    at: u64,
    /// As many entries has a partition table that ends before it.
    entries: u32,
}

/// QEMU's arm64 machine.
pub(crate) fn arm64() -> Result<Vec<Job>> {
    static SUBJECT: Subject = Subject {
        name: QemuArm64Uboot::NAME,
        script: QemuArm64Uboot::SCRIPT,
        layout: QemuArm64Uboot::LAYOUT,
        kind: Kind::Arm64UBoot,
        tells: true,
        find: "setenv devtype virtio; setenv devnum 0; virtio scan",
        loader: None,
    };
    jobs(&SUBJECT)
}

/// QEMU's Orange Pi.
pub(crate) fn orange_pi() -> Result<Vec<Job>> {
    static SUBJECT: Subject = Subject {
        name: OrangePiPc::NAME,
        script: OrangePiPc::SCRIPT,
        layout: OrangePiPc::LAYOUT,
        kind: Kind::OrangePiPc,
        tells: false,
        find: "setenv devtype mmc; setenv devnum 0; mmc dev 0",
        loader: Some(Loader { architecture: "armhf", package: LOADER.0, path: LOADER.1, at: LOADER_AT, entries: 56 }),
    };
    jobs(&SUBJECT)
}

/// Every case, and the planted scripts.
fn jobs(subject: &'static Subject) -> Result<Vec<Job>> {
    let sound = sound();
    let planted = plant(subject, sample(&sound))?;
    let (world, bare, deaf, forgetful) = (World::SOUND, World::BARE, World::DEAF, World::FORGETFUL);
    let (refused, lost): ((_, &[Fault]), (_, &[Fault])) = if subject.tells {
        ((Medium::NoteNotWritten, &[]), (Medium::Sound, &[LOSES]))
    } else {
        ((Medium::Sound, &[FAILS]), (Medium::NoteNotWritten, &[]))
    };
    let as_it_is = |medium| (medium, [].as_slice());
    let mut sessions = vec![
        ("every pair of cells", as_it_is(Medium::Sound), world, sound),
        ("no factory revision", as_it_is(Medium::Sound), bare, poor(bare)),
        ("every write of the note fails", refused, deaf, poor(deaf)),
        ("neither", refused, World::BARE_AND_DEAF, poor(World::BARE_AND_DEAF)),
        ("writes are lost without a word", lost, forgetful, poor(forgetful)),
        ("no partition for the note", as_it_is(Medium::NoNote), deaf, note_lost(deaf)),
        ("no partition for what is wanted", as_it_is(Medium::NoWanted), world, nothing_wanted()),
    ];
    if subject.tells {
        sessions.extend([
            ("a disk that is only read", as_it_is(Medium::ReadOnly), deaf, poor(deaf)),
            ("the first copy cannot be read", as_it_is(Medium::FirstNotRead), world, second_only()),
            ("the note cannot be read", as_it_is(Medium::NoteNotRead), deaf, note_lost(deaf)),
        ]);
    }
    let mut jobs = vec![planted];
    for (name, (medium, faults), world, cases) in sessions {
        let script = stubbed(&subject.script.concat(), faults)?;
        jobs.push(Job::new(subject.name, name, jobs::boots(&cases), move || {
            let seen = asked(subject, world, medium, &cases, script)?;
            Ok(Row::of(name, &cases, &seen))
        }));
    }
    let (name, cases, (medium, faults)) = ("ignores that the note was not written", poor(deaf), refused);
    let script = stubbed(&subject.script.concat(), &[faults, &[CARELESS]].concat())?;
    jobs.push(Job::new(subject.name, "planted", jobs::boots(&cases), move || {
        let seen = asked(subject, deaf, medium, &cases, script)?;
        Ok(vec![Control { name, differences: Row::of(name, &cases, &seen).differences.len() }])
    }));
    Ok(jobs)
}

/// All planted scripts that a sound medium shows, in one session.
fn plant(subject: &'static Subject, sample: Vec<Case>) -> Result<Job> {
    let (mut names, mut scripts) = (Vec::new(), Vec::new());
    for (name, fault) in wrong_scripts() {
        names.push(name);
        scripts.push(stubbed(&subject.script.concat(), &[fault])?);
    }
    Ok(Job::new(subject.name, "planted", names.len() * jobs::boots(&sample), move || {
        let mut session = begin(subject, World::SOUND, Medium::Sound, &sample, &scripts)?;
        let mut controls = Vec::new();
        for (script, name) in names.into_iter().enumerate() {
            let row = Row::of(name, &sample, &session.ask(script, &sample)?);
            controls.push(Control { name, differences: row.differences.len() });
        }
        session.end()?;
        Ok(controls)
    }))
}

/// A medium that takes a write, says so, and does not have it: what reading back is for.
const LOSES: Fault = ("${cairn_disk} write ${cairn_cell} ${cairn_note} 1", "true");

/// A command that fails, on a machine whose medium says nothing.
const FAILS: Fault = ("${cairn_disk} write ${cairn_cell} ${cairn_note} 1", "false");

/// The mistake that retries a bad revision for ever.
const CARELESS: Fault = ("if test -z \"${cairn_noted}\"; then", "if test -n \"\"; then");

/// What a script does in these cases.
fn asked(subject: &Subject, world: World, medium: Medium, cases: &[Case], script: String) -> Result<Vec<Seen>> {
    let mut session = begin(subject, world, medium, cases, &[script])?;
    let seen = session.ask(0, cases)?;
    session.end()?;
    Ok(seen)
}

/// A machine at its prompt, whose disk holds what these cases name.
fn begin(subject: &Subject, world: World, medium: Medium, cases: &[Case], scripts: &[String]) -> Result<Session> {
    let held: BTreeSet<RevisionId> = cases::revisions(&Sectors, cases);
    let bench = Bench::make(subject, &held, world, scripts, medium.hides())?;
    Session::begin(bench.plan(subject.kind, medium)?, subject.find, &session::jump(), bench)
}

/// What a device with everything can meet.
fn sound() -> Vec<Case> {
    let mut cases = cases::whole(&Sectors, World::SOUND);
    let (wish, before) = (wish(8, 3), wish(7, 0));
    let (new, old) = (copy(&wish), copy(&before));
    let note = |boots| Some(Sectors.spent(&Spent { nonce: 8, boots }));
    let mut add = |name: String, first: &[u8], second: &[u8], spent| {
        cases.push(case(&Sectors, World::SOUND, name, (Some([first, second].concat()), spent), 2));
    };
    for (name, wrong) in unreadable(&new, &old) {
        add(format!("first copy: {name}"), &wrong, &old, note(1));
        add(format!("first copy: {name}, second behind it is the same"), &wrong, &new, note(1));
        add(format!("second copy: {name}"), &new, &wrong, note(1));
        add(format!("both copies: {name}"), &wrong, &wrong, note(1));
    }
    add("the second copy is behind".into(), &new, &old, note(1));
    add("the first copy is behind".into(), &old, &new, note(1));
    let pair = [new, new].concat();
    for boots in [0, 1, 3] {
        let (old, new) = (spent(8, boots), spent(8, boots + 1));
        for (name, wrong) in unreadable(&new, &old) {
            let name = format!("note of {boots} boots: {name}");
            cases.push(case(&Sectors, World::SOUND, name, (Some(pair.clone()), Some(wrong)), 5));
        }
    }
    for (name, wrong) in unreadable(&copy(&wish), &old) {
        let both = [wrong.as_slice(), &wrong].concat();
        cases.extend(cases::blind(&Sectors, World::SOUND, &format!("wanted: {name}"), Some(&both)));
        cases.push(case(&Sectors, World::SOUND, format!("all three: {name}"), (Some(both), Some(wrong)), 9));
    }
    cases
}

/// The same, smaller: for worlds in which something is missing.
fn poor(world: World) -> Vec<Case> {
    let mut cases: Vec<_> = cases::whole(&Sectors, world).into_iter().step_by(11).collect();
    cases.extend(cases::blind(&Sectors, world, "no wanted", None));
    cases
}

/// Lists whose first copy the medium does not give back.
fn second_only() -> Vec<Case> {
    let whole = cases::whole(&Sectors, World::SOUND).into_iter().step_by(9);
    let of = |Case { name, wanted, spent, .. }: Case| {
        let second = wanted.and_then(|pair| pair.get(SECTOR..).map(<[u8]>::to_vec)).unwrap_or_default();
        let pair = [vec![0; SECTOR], second].concat();
        case(&Sectors, World::SOUND, name, (Some(pair), spent), 2)
    };
    whole.map(of).collect()
}

/// Lists beside a note that the medium does not give back, nor when it has been written.
fn note_lost(world: World) -> Vec<Case> {
    let of = |case: Case| self::case(&Sectors, world, case.name, (case.wanted, None), 2);
    cases::whole(&Sectors, world).into_iter().step_by(9).map(of).collect()
}

/// What is wanted is nowhere.
fn nothing_wanted() -> Vec<Case> {
    cases::blind(&Sectors, World::SOUND, "no wanted", None)
}

fn wish(nonce: u32, max: u8) -> Wanted {
    Wanted {
        nonce,
        default: revision("locals/now"),
        previous: Some(revision("locals/was")),
        factory: Some(RevisionId::factory()),
        trial: (max > 0).then(|| Trial { revision: revision("locals/next"), max, issued: 0 }),
    }
}

fn copy(wanted: &Wanted) -> [u8; SECTOR] {
    raw::encode_wanted(wanted, HEAD).unwrap_or_else(|error| panic!("{wanted:?}: {error}"))
}

fn spent(nonce: u32, boots: u8) -> [u8; SECTOR] {
    raw::encode_spent(&Spent { nonce, boots }, HEAD).unwrap_or_else(|error| panic!("{boots} boots: {error}"))
}

/// A sector that is none: blank, of another program, with a wrong bit in each part, or torn between an old and a new one.
fn unreadable(new: &[u8; SECTOR], old: &[u8; SECTOR]) -> Vec<(String, Vec<u8>)> {
    let mut wrong = vec![
        ("zeros".to_owned(), vec![0; SECTOR]),
        ("erased flash".to_owned(), vec![0xFF; SECTOR]),
        ("a boot sector".to_owned(), [&[0xEB, 0x3C, 0x90][..], &[b'F'; SECTOR - 3][..]].concat()),
    ];
    for (part, at) in [("checksum", 0), ("first name", 4), ("middle", 40), ("filling", 300), ("last byte", SECTOR - 1)]
    {
        let bytes = new.iter().enumerate().map(|(place, byte)| if place == at { byte ^ 0x40 } else { *byte });
        wrong.push((format!("a wrong bit in its {part}"), bytes.collect()));
    }
    for at in [2, 4, 13, 16, 24, 32, 64, 128] {
        let torn: Vec<u8> = new.iter().take(at).chain(old.iter().skip(at)).copied().collect();
        if torn != new && torn != old {
            wrong.push((format!("new up to byte {at}"), torn));
        }
    }
    wrong
}

/// Those in which a wrong script must show.
fn sample(sound: &[Case]) -> Vec<Case> {
    const SORTS: &[&str] = &[
        "plain names, default trial x 6 previous factory, from",
        "plain names, default trial x 6 previous factory, 1 boots of",
        "plain names, default trial x 6 previous factory, 2 boots of",
        "no-kernel names, default trial x 1 previous factory, 1 boots",
        "no-initrd names, default trial x 8 previous factory, 1 boots",
        "first copy: zeros",
        "second copy: zeros",
        "both copies: zeros",
        "the second copy is behind",
        "note of 1 boots: zeros",
        "wanted: zeros, 0",
        "wanted: zeros, 4",
    ];
    cases::sample(sound, SORTS)
}

/// The real script with one line that is wrong, each of a kind that somebody may write.
fn wrong_scripts() -> Vec<(&'static str, Fault)> {
    vec![
        (
            "counts the boots of another store",
            ("elif test ${cairn_spent} != ${cairn_nonce}; then", "elif test -n \"\"; then"),
        ),
        ("begins anew beside a torn note", ("  setenv cairn_boots ${cairn_max}\n", "  setenv cairn_boots\n")),
        (
            "takes a copy without its checksum",
            ("env import -c ${cairn_cell} 200 cairn_nonce", "env import -b ${cairn_cell} 200 cairn_nonce"),
        ),
        ("knows no second copy", ("in ${cairn_first} ${cairn_second}; do", "in ${cairn_first}; do")),
        ("prefers the second copy", ("in ${cairn_first} ${cairn_second}; do", "in ${cairn_second} ${cairn_first}; do")),
        (
            "gives the default one boot less",
            (
                "if test -n \"${cairn_default}\"; then setenv cairn_end ${cairn_end}xxx; fi",
                "setenv cairn_end ${cairn_end}xx",
            ),
        ),
        ("knows no previous revision", ("if test -n \"${cairn_previous}\"; then", "if test -n \"\"; then")),
        ("counts on in recovery", ("  setenv cairn_boots ${cairn_end}\n", "  setenv cairn_boots ${cairn_boots}x\n")),
        ("does not count", ("  setenv cairn_boots ${cairn_boots}x\n", "  true\n")),
        ("counts under the wrong number when blind", ("  setenv cairn_nonce 0\n", "  setenv cairn_nonce 1\n")),
        (
            "goes to recovery when a kernel is missing",
            ("in ${cairn_role} ${cairn_after}; do", "in ${cairn_role} recovery; do"),
        ),
        (
            "keeps what an earlier boot has left",
            (
                "for cairn_key in nonce default previous factory trial max spent boots; do",
                "for cairn_key in nothing; do",
            ),
        ),
    ]
}
