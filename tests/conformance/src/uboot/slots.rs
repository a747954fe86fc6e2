//! The jump of `generic-uboot-ab`: the slot whose label has the wanted name, found by a real U-Boot.
//!
//! Its choice is the script of the other U-Boot boards, and is not asked again. This U-Boot has one environment, so cells
//! and labels are written without the flag that the board's own U-Boot wants; the script is the same for both. A slot
//! holds its name in place of a FIT image; real ones are in [`super::images`].

use anyhow::Result;
use board_generic_uboot_ab::UbootAb;
use boards_api::Board as _;
use boards_api::board::Role;
use boards_api::slots::Slot;
use boards_api::uboot_slots::{FIT_AT, LABELS_AT};
use formats::bootenv::label;
use formats::bootenv::raw::SECTOR;
use machine::Kind;
use statemachine::boot::Wanted;
use statemachine::ids::RevisionId;

use super::disk::{Bench, FILE, Medium, text};
use super::session::{Fault, Session, stubbed};
use super::{HEAD, Subject, copy, images, spent, wish};
use crate::cases::{World, revision};
use crate::jobs::{Findings, Job};
use crate::report::{Control, Row};

pub(super) const SLOTS: [Role; 2] = [Role::Slot(Slot(0)), Role::Slot(Slot(1))];

/// Labels, cells, and what has to be started.
struct Case {
    name: &'static str,
    /// Both copies of the label of each slot: the names in it, or none where the copy is torn.
    labels: [[Option<&'static [&'static str]>; 2]; 2],
    wanted: Option<Wanted>,
    boots: u8,
    /// What lies there and which words the kernel is told; nothing for a boot that is spent.
    starts: Option<(&'static str, &'static str)>,
}

pub(super) static SUBJECT: Subject = Subject {
    name: UbootAb::NAME,
    script: UbootAb::SCRIPT,
    layout: UbootAb::LAYOUT,
    kind: Kind::Arm64UBoot,
    tells: true,
    find: "setenv devtype virtio; setenv devnum 0; virtio scan",
    loader: None,
};

const WRONG: &[(&str, Fault)] = &[
    (
        "takes a label without its checksum",
        ("env import -c ${cairn_cell} 200 cairn_holds", "env import -b ${cairn_cell} 200 cairn_holds"),
    ),
    ("starts the first slot, whatever is wanted", ("if test ${cairn_held} = \"${cairn_revision}\"", "if true")),
];

/// Every case, and the planted scripts.
pub(crate) fn jobs() -> Result<Vec<Job>> {
    let sound = || {
        let mut scripts = vec![stubbed(&SUBJECT.script.concat(), &[])?];
        for (_, fault) in WRONG {
            scripts.push(stubbed(&SUBJECT.script.concat(), &[*fault])?);
        }
        let (mut session, cases) = (begin(Medium::Sound, &scripts)?, cases());
        let rows = vec![row("the slot of what is wanted", &mut session, &cases)?];
        let mut controls = Vec::new();
        for (index, (name, _)) in WRONG.iter().enumerate() {
            controls.push(Control { name, differences: differences(&mut session, index + 1, &cases)?.len() });
        }
        session.end()?;
        Ok(Findings { rows, controls, ..Findings::default() })
    };
    let deaf = || {
        let mut session = begin(Medium::NoteNotWritten, &[stubbed(&SUBJECT.script.concat(), &[])?])?;
        let row = row("every write of the note fails", &mut session, &uncounted())?;
        session.end()?;
        Ok(row)
    };
    let jobs = [Job::new(SUBJECT.name, "slots", 3 * cases().len(), sound), Job::new(SUBJECT.name, "deaf", 1, deaf)];
    Ok(jobs.into_iter().chain(images::jobs()).collect())
}

/// A machine at its prompt, with an image in each slot.
fn begin(medium: Medium, scripts: &[String]) -> Result<Session> {
    let bench = Bench::make(&SUBJECT, &[].into(), World::SOUND, scripts, None)?;
    for (role, name) in SLOTS.into_iter().zip(["slot-a", "slot-b"]) {
        bench.put(role, FIT_AT, &text("kernel", name))?;
    }
    bench.put(Role::Recovery, 0, &text("kernel", "recovery"))?;
    let jump = format!(
        "setenv kernel; env import -t ${{cairn_fit}} {FILE:x} kernel; echo cairn-jump ${{kernel}} ${{bootargs}}"
    );
    Session::begin(bench.plan(SUBJECT.kind, medium)?, SUBJECT.find, &jump, bench)
}

fn row(name: &'static str, session: &mut Session, cases: &[Case]) -> Result<Row> {
    Ok(Row { name, cases: cases.len(), boots: cases.len(), differences: differences(session, 0, cases)? })
}

/// What is started when no boot can be counted: never a trial, and recovery rather than nothing.
fn uncounted() -> Vec<Case> {
    let [was, now]: [&[&str]; 2] = [&["locals/was"], &["locals/now"]];
    let (a, b) = (Some(("slot-a", "cairn.role=first-slot cairn.slot=a")), "cairn.role=default cairn.slot=b");
    let ab = [[Some(was); 2], [Some(now); 2]];
    let case = |name, labels, wanted, starts| Case { name, labels, wanted, boots: 0, starts };
    vec![
        case("the default instead of a trial", ab, Some(wish(8, 3)), Some(("slot-b", b))),
        case("no slot holds the default", [ab[0]; 2], Some(wish(8, 3)), Some(("recovery", "cairn.role=recovery"))),
        case("blind", ab, None, a),
    ]
}

fn cases() -> Vec<Case> {
    let (now, was): (&[&str], &[&str]) = (&["locals/older", "locals/now"], &["locals/was"]);
    let (next, factory, none): (&[&str], &[&str], &[&str]) = (&["locals/next"], &["0"], &[]);
    let whole = |held| [Some(held); 2];
    let ab = [whole(was), whole(now)];
    let case = |name, labels, wanted, boots, starts| Case { name, labels, wanted, boots, starts };
    let list = || Some(wish(8, 3));
    vec![
        case("the default in b", ab, list(), 3, Some(("slot-b", "cairn.role=default cairn.slot=b"))),
        case("the default in a", [ab[1], ab[0]], list(), 3, Some(("slot-a", "cairn.role=default cairn.slot=a"))),
        case("the previous one", ab, list(), 6, Some(("slot-a", "cairn.role=previous cairn.slot=a"))),
        case("a trial", [whole(next), ab[1]], list(), 0, Some(("slot-a", "cairn.role=trial cairn.slot=a"))),
        case("a trial that no slot holds", ab, list(), 0, None),
        case("recovery", ab, list(), 12, Some(("recovery", "cairn.role=recovery"))),
        case(
            "first label torn",
            [ab[0], [None, Some(now)]],
            list(),
            3,
            Some(("slot-b", "cairn.role=default cairn.slot=b")),
        ),
        case(
            "second label torn",
            [ab[0], [Some(now), None]],
            list(),
            3,
            Some(("slot-b", "cairn.role=default cairn.slot=b")),
        ),
        case("both labels torn", [ab[0], [None, None]], list(), 3, None),
        case("an empty label", [ab[0], whole(none)], list(), 3, None),
        case(
            "blind, factory in b",
            [ab[0], whole(factory)],
            None,
            0,
            Some(("slot-b", "cairn.role=factory cairn.slot=b")),
        ),
        case("blind, no factory", ab, None, 0, Some(("slot-a", "cairn.role=first-slot cairn.slot=a"))),
        case(
            "blind, the factory is spent",
            [ab[0], whole(factory)],
            None,
            3,
            Some(("slot-a", "cairn.role=first-slot cairn.slot=a")),
        ),
        case("blind, all is spent", ab, None, 6, Some(("recovery", "cairn.role=recovery"))),
    ]
}

fn differences(session: &mut Session, script: usize, cases: &[Case]) -> Result<Vec<String>> {
    let mut differences = Vec::new();
    for case in cases {
        let bench = session.bench();
        let (pair, nonce) = match &case.wanted {
            Some(wanted) => ([copy(wanted), copy(wanted)].concat(), wanted.nonce),
            None => (vec![0; 2 * SECTOR], 0),
        };
        bench.put_wanted(&pair)?;
        bench.put(Role::Spent, 0, &spent(nonce, case.boots))?;
        for (role, copies) in SLOTS.into_iter().zip(case.labels) {
            for (held, at) in copies.into_iter().zip(LABELS_AT) {
                let names: Vec<RevisionId> = held.unwrap_or_default().iter().map(|name| revision(name)).collect();
                let mut sector = label::encode(&names, HEAD)?;
                if let (None, Some(byte)) = (held, sector.last_mut()) {
                    *byte ^= 1;
                }
                bench.put(role, at, &sector)?;
            }
        }
        // Where the image is read to may be where the script lies.
        session.load(script)?;
        let said = session.source()?;
        let jump = said.lines().find_map(|line| line.trim().strip_prefix("cairn-jump "));
        let seen = jump.map(|jump| (jump.split(' ').next().unwrap_or_default(), jump.split_once(" panic=5 ")));
        let right = match (case.starts, seen) {
            (Some((place, words)), Some((seen, Some((_, said))))) => place == seen && words == said,
            (None, None) => true,
            _ => false,
        };
        if !right {
            differences.push(format!("{}: should start {:?}, and does {jump:?}", case.name, case.starts));
        }
    }
    Ok(differences)
}
