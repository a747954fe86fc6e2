//! What is asked of every boot script, and what [`pick`] answers.
//!
//! A case is the bytes of both cells and a number of boots in a row, so that the notes of a script are read by the same
//! script. What is expected is computed from **what Linux reads in those bytes**: a script that reads them in another way
//! differs, even where both make sense.
//!
//! ```text
//!   wanted ── bytes ──▶ Linux's reader ──▶ pick ──▶ role, revision, note ──▶ pick ──▶ …
//!   spent  ── bytes ──▶       │
//!                 └────▶ the script under its bootloader ──▶ the same?
//! ```
//!
//! [`pick`] says which entry is taken. Two things lie behind it, and are the same for all scripts: files that cannot be
//! read are a boot that was spent, and a boot that could not be counted goes on to recovery instead of coming again.

use std::collections::BTreeSet;

use statemachine::boot::{
    CHAIN_TRIES, Choice, Note, Spent, TRIAL_ATTEMPTS_CEILING, Trial, TrialKind, Wanted, pick, unnoted,
};
use statemachine::ids::RevisionId;

/// How Linux writes and reads the cells of one kind of bootloader. A cell is all the bytes that are read for it.
pub(crate) trait Cells {
    /// `None`: these names have no room.
    fn wanted(&self, wanted: &Wanted) -> Option<Vec<u8>>;
    fn spent(&self, spent: &Spent) -> Vec<u8>;
    /// `None`: unreadable.
    fn read_wanted(&self, bytes: &[u8]) -> Option<Wanted>;
    fn read_spent(&self, bytes: &[u8]) -> Note;
}

/// The cells before the first of a few boots.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// `None`: there is nothing where the cell should be.
    pub(crate) wanted: Option<Vec<u8>>,
    pub(crate) spent: Option<Vec<u8>>,
    /// Each way that is right: one, but where a script cannot see what Linux sees.
    pub(crate) expected: Vec<Vec<Boot>>,
}

impl Case {
    /// How many boots in a row.
    pub(crate) fn boots(&self) -> usize {
        self.expected.first().map_or(0, Vec::len)
    }
}

/// One boot, up to the jump or the reset.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Boot {
    /// What was started, or should have been.
    pub(crate) starts: Vec<Start>,
    /// The note that the script takes for written, as Linux reads it; `None`: it could not be written.
    pub(crate) note: Option<Spent>,
}

/// One attempt to start a kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Start {
    /// `cairn.role`
    pub(crate) role: String,
    /// Whose files; `None`: those of recovery.
    pub(crate) revision: Option<RevisionId>,
    pub(crate) files: Files,
}

/// What a script finds of a revision.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Files {
    Whole,
    NoKernel,
    NoInitrd,
}

/// What a device has besides its cells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct World {
    /// What becomes of the note.
    pub(crate) writes: Writes,
    /// Whether the factory revision is held.
    pub(crate) factory: bool,
}

/// What a medium makes of a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Writes {
    Kept,
    /// It is an error.
    Refused,
    /// It is none, and the old bytes stay. Nothing is lost of a note that is written once more, as in recovery.
    Lost,
}

impl World {
    pub(crate) const SOUND: Self = Self { writes: Writes::Kept, factory: true };
    pub(crate) const DEAF: Self = Self { writes: Writes::Refused, factory: true };
    pub(crate) const FORGETFUL: Self = Self { writes: Writes::Lost, factory: true };
    pub(crate) const BARE: Self = Self { writes: Writes::Kept, factory: false };
    pub(crate) const BARE_AND_DEAF: Self = Self { writes: Writes::Refused, factory: false };

    /// Whether a new note stands on the medium afterwards.
    fn keeps(self, new: Spent, old: Note) -> bool {
        match self.writes {
            Writes::Kept => true,
            Writes::Refused => false,
            Writes::Lost => Note::Read(new) == old,
        }
    }

    /// A name says what is missing, so that a storage can be made for any set of them.
    pub(crate) fn files(self, revision: &RevisionId) -> Files {
        match revision.as_str() {
            "0" if !self.factory => Files::NoKernel,
            name if name.contains("no-kernel") => Files::NoKernel,
            name if name.contains("no-initrd") => Files::NoInitrd,
            _ => Files::Whole,
        }
    }
}

/// What must happen in the first `count` boots.
pub(crate) fn expected(wanted: Option<&Wanted>, mut note: Note, world: World, count: usize) -> Vec<Boot> {
    let once = |_| {
        let picked = pick(TrialKind::Counted, wanted, &note, false, CHAIN_TRIES);
        let written = picked.note.filter(|new| world.keeps(*new, note));
        let (choice, role) = match (written, wanted) {
            (None, Some(wanted)) => (unnoted(wanted), "default".to_owned()),
            _ => (picked.choice, role(wanted, &note)),
        };
        note = written.map_or(note, Note::Read);
        Boot { starts: starts(choice, role, written.is_some(), world), note: written }
    };
    (0..count).map(once).collect()
}

fn starts(choice: Choice, role: String, counted: bool, world: World) -> Vec<Start> {
    let recovery = Start { role: "recovery".into(), revision: None, files: Files::Whole };
    let (revision, wished) = match choice {
        Choice::Recovery => return vec![recovery],
        Choice::Revision(revision) => (revision, true),
        // Without slots the first place is the trail that the device left the factory with.
        Choice::Factory | Choice::FirstSlot => (RevisionId::factory(), false),
    };
    let files = world.files(&revision);
    if !wished && files == Files::NoKernel {
        return vec![recovery];
    }
    let start = Start { role, revision: Some(revision), files };
    if files == Files::Whole || counted { vec![start] } else { vec![start, recovery] }
}

/// The word for the entry that [`pick`] takes: asked again with names that are words.
fn role(wanted: Option<&Wanted>, note: &Note) -> String {
    let word = |name: &str| revision(&format!("locals/{name}"));
    let named = wanted.map(|wanted| Wanted {
        nonce: wanted.nonce,
        default: word("default"),
        previous: wanted.previous.as_ref().map(|_| word("previous")),
        factory: wanted.factory.as_ref().map(|_| word("factory")),
        trial: wanted.trial.as_ref().map(|trial| Trial { revision: word("trial"), ..trial.clone() }),
    });
    match pick(TrialKind::Counted, named.as_ref(), note, false, CHAIN_TRIES).choice {
        Choice::Revision(word) => word.as_str().trim_start_matches("locals/").to_owned(),
        Choice::Factory => "factory".to_owned(),
        Choice::FirstSlot => "first-slot".to_owned(),
        Choice::Recovery => "recovery".to_owned(),
    }
}

/// A case whose cells are these bytes.
pub(crate) fn case(
    cells: &impl Cells,
    world: World,
    name: impl Into<String>,
    (wanted, spent): (Option<Vec<u8>>, Option<Vec<u8>>),
    boots: usize,
) -> Case {
    let wish = wanted.as_ref().and_then(|bytes| cells.read_wanted(bytes));
    let note = spent.as_ref().map_or(Note::Unreadable, |bytes| cells.read_spent(bytes));
    let expected = vec![expected(wish.as_ref(), note, world, boots)];
    Case { name: name.into(), wanted, spent, expected }
}

/// Every pair of whole cells: each list that `Wanted` can be, beside each note that can stand there. A walk writes all
/// notes that a script can write; those that another store has left, or a longer list, are put there.
pub(crate) fn whole(cells: &impl Cells, world: World) -> Vec<Case> {
    let mut cases = Vec::new();
    for (label, wish) in wishes() {
        let Some(wanted) = cells.wanted(&wish) else { continue };
        let end = end(&wish);
        let mut add = |what: String, nonce, boots, count| {
            let spent = cells.spent(&Spent { nonce, boots });
            let pair = (Some(wanted.clone()), Some(spent));
            cases.push(case(cells, world, format!("{label}, {what}"), pair, count));
        };
        // From the store to recovery and on, by the script's own notes.
        add("from the store".into(), wish.nonce, 0, usize::from(end) + 3);
        for boots in [1, end, end + 1] {
            add(format!("{boots} boots"), wish.nonce, boots, 1);
        }
        for (nonce, boots) in foreign(wish.nonce).into_iter().zip([0, 1, 2, end, 40]) {
            add(format!("{boots} boots of store {nonce}"), nonce, boots, 1);
        }
    }
    cases
}

/// The note of a `Wanted` that is not there: its own list, its own nonce.
pub(crate) fn blind(cells: &impl Cells, world: World, name: &str, wanted: Option<&[u8]>) -> Vec<Case> {
    let notes =
        (0..=8).map(|boots| Spent { nonce: 0, boots }).chain([1, 7, u32::MAX].map(|nonce| Spent { nonce, boots: 4 }));
    let of = |note: Spent| {
        let count = if note.boots == 0 { 9 } else { 1 };
        let pair = (wanted.map(<[u8]>::to_vec), Some(cells.spent(&note)));
        case(cells, world, format!("{name}, {} boots of store {}", note.boots, note.nonce), pair, count)
    };
    notes.map(of).collect()
}

/// Numbers that are not this one, some of which look much like it.
fn foreign(nonce: u32) -> [u32; 5] {
    let longer = nonce.checked_mul(10).unwrap_or(nonce / 10);
    [0, nonce.wrapping_add(1), nonce - 1, longer, nonce ^ 1]
}

/// How many boots a list has.
pub(crate) fn end(wanted: &Wanted) -> u8 {
    let chain = 1 + u8::from(wanted.previous.is_some()) + u8::from(wanted.factory.is_some());
    wanted.trial.as_ref().map_or(0, |trial| trial.max) + chain * CHAIN_TRIES
}

/// Every form of list, with names of every form.
fn wishes() -> Vec<(String, Wanted)> {
    let mut wishes = Vec::new();
    let names = names();
    for max in 0..=TRIAL_ATTEMPTS_CEILING {
        for (previous, factory) in [(false, false), (false, true), (true, false), (true, true)] {
            let number = wishes.len();
            let Some((kind, [trial, default, before, first])) = names.get(number % names.len()) else { continue };
            let nonce = match number % 4 {
                0 => 7,
                1 => 1,
                2 => u32::MAX,
                _ => 4_000_000_000,
            };
            let trial = (max > 0).then(|| Trial { revision: trial.clone(), max, issued: 0 });
            let wish = Wanted {
                nonce,
                default: default.clone(),
                previous: previous.then(|| before.clone()),
                factory: factory.then(|| first.clone()),
                trial,
            };
            let list =
                [(max > 0, format!("trial x {max}")), (previous, "previous".into()), (factory, "factory".into())];
            let list: Vec<_> = list.into_iter().filter_map(|(there, word)| there.then_some(word)).collect();
            wishes.push((format!("{kind} names, default {}", list.join(" ")), wish));
        }
    }
    wishes
}

/// Trial, default, previous and factory. The number of rows shares no factor with that of the forms of a list, so that
/// every row meets every form of chain.
fn names() -> Vec<(&'static str, [RevisionId; 4])> {
    let long = |length: usize, end: char| format!("locals/{}{end}", "n".repeat(length - 8));
    let of = |names: [&str; 4]| names.map(revision);
    vec![
        ("plain", of(["3", "2", "1", "0"])),
        ("local", of(["locals/next", "locals/now", "locals/was", "0"])),
        ("odd", of(["locals/-x_y.z", "locals/x", "locals/_", "locals/0"])),
        ("equal", of(["0", "0", "0", "0"])),
        ("long", [long(86, 'a'), long(86, 'b'), long(86, 'c'), long(86, 'd')].map(|name| revision(&name))),
        ("longest", [long(96, 'a'), long(96, 'b'), long(96, 'c'), "0".into()].map(|name| revision(&name))),
        ("big", of(["4294967296", "18446744073709551616", "10", "0"])),
        ("no-kernel", of(["locals/no-kernel-3", "locals/no-kernel-2", "locals/no-kernel-1", "0"])),
        ("no-initrd", of(["locals/no-initrd-3", "locals/now", "locals/no-initrd-1", "0"])),
    ]
}

/// The revisions that these cases name and Linux can read, and the factory's.
pub(crate) fn revisions<'c>(cells: &impl Cells, cases: impl IntoIterator<Item = &'c Case>) -> BTreeSet<RevisionId> {
    let wishes = cases.into_iter().filter_map(|case| cells.read_wanted(case.wanted.as_ref()?));
    let names = |wish: Wanted| {
        [Some(wish.default), wish.previous, wish.factory, wish.trial.map(|trial| trial.revision)].into_iter().flatten()
    };
    wishes.flat_map(names).chain([RevisionId::factory()]).collect()
}

/// The cases whose names begin so: a few of each sort, in which a wrong script must show. A sort without a case would
/// look for nothing.
pub(crate) fn sample(cases: &[Case], sorts: &[&str]) -> Vec<Case> {
    let is_of = |case: &Case, sort: &str| case.name.starts_with(sort);
    if let Some(sort) = sorts.iter().find(|sort| !cases.iter().any(|case| is_of(case, sort))) {
        panic!("no case is of this sort: {sort}");
    }
    cases.iter().filter(|case| sorts.iter().any(|sort| is_of(case, sort))).cloned().collect()
}

/// A name that is right.
pub(crate) fn revision(name: &str) -> RevisionId {
    RevisionId::parse(name).unwrap_or_else(|error| panic!("{name}: {error}"))
}
