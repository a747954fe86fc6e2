//! GRUB and its script: what its cells can look like, in which worlds it boots, and wrong scripts that must be caught.
//!
//! What is particular about this bootloader: a note can only be written into a block that GRUB takes for one, and it
//! sees of a torn block that its first and last variable differ, where Linux also has a sum over what is between.

mod bench;
mod disk;

use std::collections::BTreeSet;

use anyhow::Result;
use board_qemu_x86_64_grub::QemuX86Grub;
use boards_api::Board as _;
use formats::bootenv::grub;
use statemachine::boot::{Note, Spent, Trial, Wanted};
use statemachine::ids::RevisionId;

use crate::cases::{self, Case, Cells, World, case, revision};
use crate::jobs::{self, Job};
use crate::report::{Control, Row};
use bench::{Bench, Medium, Script};

/// GRUB's environment blocks.
struct Blocks;

impl Cells for Blocks {
    fn wanted(&self, wanted: &Wanted) -> Option<Vec<u8>> {
        grub::encode_wanted(wanted).ok().map(Vec::from)
    }

    fn spent(&self, spent: &Spent) -> Vec<u8> {
        grub::encode_spent(spent).unwrap_or_else(|error| panic!("{spent:?}: {error}")).to_vec()
    }

    fn read_wanted(&self, bytes: &[u8]) -> Option<Wanted> {
        grub::decode_wanted(bytes).ok()
    }

    fn read_spent(&self, bytes: &[u8]) -> Note {
        grub::note(bytes)
    }
}

/// Every case, and the planted scripts.
pub(crate) fn jobs() -> Result<Vec<Job>> {
    // What reading the note back is for.
    let lost = Script::real().with("if ! save_env --file \"$cells/spent\" $note_names; then", "if ! true; then");
    let (sound, deaf, forgetful) = (sound(), poor(World::DEAF), forgetful());
    let tried = "odd names, default trial x 2 previous factory, from";
    let planted = [
        plant(Medium::Sound, World::SOUND, wrong_scripts(), sample(&sound)),
        plant(Medium::FailingWrites, World::DEAF, careless_scripts(), cases::sample(&deaf, &[tried])),
        plant(
            Medium::Sound,
            World::FORGETFUL,
            credulous_scripts(&lost),
            cases::sample(&forgetful, &[tried, "note: too short"]),
        ),
    ];
    let sessions = [
        ("every pair of cells", Medium::Sound, World::SOUND, Script::real(), sound),
        ("every write fails", Medium::FailingWrites, World::DEAF, Script::real(), deaf),
        ("a disk that is only read", Medium::ReadOnly, World::DEAF, Script::real(), poor(World::DEAF)),
        ("no factory revision", Medium::Sound, World::BARE, Script::real(), poor(World::BARE)),
        ("neither", Medium::FailingWrites, World::BARE_AND_DEAF, Script::real(), poor(World::BARE_AND_DEAF)),
        ("writes are lost without a word", Medium::Sound, World::FORGETFUL, lost, forgetful),
    ];
    let session = |(name, medium, world, script, cases): (_, _, _, _, Vec<Case>)| {
        Job::new(QemuX86Grub::NAME, name, jobs::boots(&cases), move || {
            let mut bench = Bench::new(world, medium);
            let script = bench.script(script);
            let asked = bench.cases(script, &cases);
            Ok(Row::of(name, &cases, bench.run()?.at(asked)))
        })
    };
    Ok(sessions.into_iter().map(session).chain(planted).collect())
}

/// Planted scripts in one session.
fn plant(medium: Medium, world: World, planted: Vec<(&'static str, Script)>, sample: Vec<Case>) -> Job {
    Job::new(QemuX86Grub::NAME, "planted", planted.len() * jobs::boots(&sample), move || {
        let mut bench = Bench::new(world, medium);
        let mut asked = Vec::new();
        for (name, wrong) in planted {
            let script = bench.script(wrong);
            asked.push((name, bench.cases(script, &sample)));
        }
        let seen = bench.run()?;
        let control =
            |(name, asked)| Control { name, differences: Row::of(name, &sample, seen.at(asked)).differences.len() };
        Ok(asked.into_iter().map(control).collect::<Vec<_>>())
    })
}

/// What a device with everything can meet.
fn sound() -> Vec<Case> {
    let mut cases = cases::whole(&Blocks, World::SOUND);
    let wish = wish(7, 3);
    let wanted = grub_wanted(&wish);
    for (name, bytes) in no_blocks() {
        // No block, so it cannot be written either.
        let boots = if bytes.is_none() { 4 } else { 2 };
        cases.push(case(&Blocks, World::DEAF, format!("note: {name}"), (Some(wanted.clone()), bytes.clone()), boots));
        cases.extend(cases::blind(&Blocks, World::SOUND, &format!("wanted: {name}"), bytes.as_deref()));
        cases.push(case(&Blocks, World::DEAF, format!("both: {name}"), (bytes.clone(), bytes), 2));
    }
    cases.extend(torn_notes(&wanted));
    cases.extend(torn_wishes());
    cases.extend(of_another_length(&wish));
    cases
}

/// The same, smaller: for worlds in which something is missing.
fn poor(world: World) -> Vec<Case> {
    let mut cases: Vec<_> = cases::whole(&Blocks, world).into_iter().step_by(11).collect();
    cases.extend(cases::blind(&Blocks, world, "no wanted", None));
    cases
}

/// For a medium that loses writes: also one on which no variable stands where the note should be.
fn forgetful() -> Vec<Case> {
    let wanted = grub_wanted(&wish(7, 3));
    let empty = no_blocks().into_iter().find(|(name, _)| *name == "too short").and_then(|(_, block)| block);
    let mut cases = poor(World::FORGETFUL);
    cases.push(case(&Blocks, World::FORGETFUL, "note: too short", (Some(wanted), empty), 2));
    cases
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

fn grub_wanted(wanted: &Wanted) -> Vec<u8> {
    Blocks.wanted(wanted).unwrap_or_default()
}

/// Files that GRUB does not take for a block, or in which there is no room.
fn no_blocks() -> Vec<(&'static str, Option<Vec<u8>>)> {
    let small = [b"# GRUB Environment Block\n".as_slice(), &[b'#'; 12]].concat();
    let mut full = vec![b'x'; grub::BLOCK];
    full.splice(..25, *b"# GRUB Environment Block\n");
    let mut unsigned = grub_wanted(&wish(7, 3));
    unsigned.splice(..4, [0; 4]);
    vec![
        ("missing", None),
        ("empty", Some(Vec::new())),
        ("zeros", Some(vec![0; grub::BLOCK])),
        ("erased flash", Some(vec![0xFF; grub::BLOCK])),
        ("without its first bytes", Some(unsigned)),
        ("too short", Some(small)),
        ("full of one line", Some(full)),
    ]
}

/// A new block up to here and the old one from there on, and the other way round, at each `step`th byte, where that is neither.
fn tears(old: &[u8], new: &[u8], step: usize) -> Vec<(String, Vec<u8>)> {
    let mut tears = Vec::new();
    for at in (1..grub::CHANGING).step_by(step) {
        for (what, front, back) in [("new", new, old), ("old", old, new)] {
            let torn: Vec<u8> = front.iter().take(at).chain(back.iter().skip(at)).copied().collect();
            if torn != old && torn != new {
                tears.push((format!("{what} up to byte {at}"), torn));
            }
        }
    }
    tears
}

/// The note, torn while GRUB wrote it. Only the first boot: what GRUB leaves of a torn block, PID 1 may not read.
fn torn_notes(wanted: &[u8]) -> Vec<Case> {
    let pairs = [
        (Spent { nonce: 7, boots: 1 }, Spent { nonce: 7, boots: 2 }),
        (Spent { nonce: 6, boots: 9 }, Spent { nonce: 7, boots: 0 }),
        (Spent { nonce: 10, boots: 1 }, Spent { nonce: 7, boots: 1 }),
    ];
    let mut cases = Vec::new();
    for (old, new) in pairs {
        for (name, torn) in tears(&Blocks.spent(&old), &Blocks.spent(&new), 1) {
            let read = Read::of(&torn);
            let beyond = !read.is_torn("cairn_note", "cairn_noted");
            let pair = (Some(wanted.to_vec()), Some(torn));
            let mut case = case(&Blocks, World::SOUND, format!("note {old:?} to {new:?}: {name}"), pair, 1);
            if beyond {
                let ways = [old, new].map(|note| (Blocks.read_wanted(wanted), Note::Read(note)));
                allow(&mut case, ways);
            }
            if !read.mendable {
                let uncounted = cases::expected(Blocks.read_wanted(wanted).as_ref(), Note::Unreadable, World::DEAF, 1);
                case.expected.push(uncounted);
            }
            cases.push(case);
        }
    }
    cases
}

/// `Wanted`, torn while Linux wrote it.
fn torn_wishes() -> Vec<Case> {
    let committed =
        Wanted { trial: None, previous: Some(revision("locals/now")), default: revision("locals/next"), ..wish(8, 0) };
    let pairs = [(wish(7, 0), wish(8, 3)), (wish(7, 3), committed)];
    let note = Spent { nonce: 7, boots: 1 };
    let mut cases = Vec::new();
    for (number, (old, new)) in pairs.into_iter().enumerate() {
        for (name, torn) in tears(&grub_wanted(&old), &grub_wanted(&new), 3) {
            let beyond = !Read::of(&torn).is_torn("cairn_sum", "cairn_end");
            let pair = (Some(torn), Some(Blocks.spent(&note)));
            let mut case = case(&Blocks, World::SOUND, format!("wanted {number}: {name}"), pair, 1);
            if beyond {
                allow(&mut case, [&old, &new].map(|wish| (Some(wish.clone()), Note::Read(note))));
            }
            cases.push(case);
        }
    }
    cases
}

/// Whole lines in a file that is not as long as it should be: Linux refuses it, GRUB cannot know.
fn of_another_length(wish: &Wanted) -> Vec<Case> {
    let note = Spent { nonce: wish.nonce, boots: 1 };
    let (wanted, spent) = (grub_wanted(wish), Blocks.spent(&note));
    let longer = |block: &[u8]| [block, &[b'#'; 1024]].concat();
    let shorter = |block: &[u8]| block.iter().take(grub::CHANGING).copied().collect::<Vec<_>>();
    let cells = [
        ("wanted is longer", longer(&wanted), spent.clone()),
        ("wanted is shorter", shorter(&wanted), spent.clone()),
        ("the note is longer", wanted.clone(), longer(&spent)),
        ("the note is shorter", wanted.clone(), shorter(&spent)),
    ];
    let of = |(name, wanted, spent): (&str, Vec<u8>, Vec<u8>)| {
        let mut case = case(&Blocks, World::SOUND, name, (Some(wanted), Some(spent)), 2);
        allow(&mut case, [(Some(wish.clone()), Note::Read(note))]);
        case
    };
    cells.map(of).into()
}

/// A block as GRUB reads it.
struct Read {
    variables: Vec<(String, String)>,
    /// Whether GRUB can write each variable over. It takes a line without `=` for a part of the next name.
    mendable: bool,
}

impl Read {
    fn of(block: &[u8]) -> Self {
        let text = String::from_utf8_lossy(block);
        let mut rest = text.strip_prefix("# GRUB Environment Block\n").unwrap_or_default();
        let mut variables: Vec<(String, String)> = Vec::new();
        loop {
            if let Some(remark) = rest.strip_prefix('#') {
                rest = remark.split_once('\n').map_or("", |(_, next)| next);
            } else if let Some((name, after)) = rest.split_once('=')
                && let Some((value, next)) = after.split_once('\n')
            {
                variables.push((name.to_owned(), value.to_owned()));
                rest = next;
            } else {
                break;
            }
        }
        let names: BTreeSet<_> = variables.iter().map(|(name, _)| name).collect();
        let lines = names.len() == variables.len() && names.iter().all(|name| !name.contains('\n'));
        Self { mendable: lines && rest.is_empty() && grub::open(block).is_ok(), variables }
    }

    fn get(&self, name: &str) -> Option<&String> {
        self.variables.iter().rfind(|(its, _)| its == name).map(|(_, value)| value)
    }

    /// Whether a script can see that the block is torn: its first and last variable differ.
    fn is_torn(&self, first: &str, last: &str) -> bool {
        self.get(first).is_none() || self.get(first) != self.get(last)
    }
}

/// What Linux refuses may be taken for what was there before or came after, and for nothing else.
fn allow<const N: usize>(case: &mut Case, ways: [(Option<Wanted>, Note); N]) {
    let boots = case.boots();
    let ways = ways.into_iter().map(|(wish, note)| cases::expected(wish.as_ref(), note, World::SOUND, boots));
    case.expected.extend(ways);
}

/// Those in which a wrong script must show.
fn sample(sound: &[Case]) -> Vec<Case> {
    const SORTS: &[&str] = &[
        "plain names, default trial x 6 previous factory, from",
        "plain names, default trial x 6 previous factory, 1 boots of",
        "plain names, default trial x 6 previous factory, 2 boots of",
        "no-kernel names, default trial x 1 previous factory, 1 boots",
        "note: missing",
        "note: zeros",
        "note: too short",
        "wanted: zeros, 0",
        "wanted 0: new up to byte 61",
        "note Spent { nonce: 7, boots: 1 } to Spent { nonce: 7, boots: 2 }: new up to byte 42",
        "note Spent { nonce: 7, boots: 1 } to Spent { nonce: 7, boots: 2 }: new up to byte 72",
    ];
    cases::sample(sound, SORTS)
}

/// The real script with one line that is wrong, each of a kind that somebody may write.
fn wrong_scripts() -> Vec<(&'static str, Script)> {
    let wrong = |name, right: &str, wrong: &str| (name, Script::real().with(right, wrong));
    vec![
        wrong("counts the boots of another store", "elif [ \"$cairn_spent\" = \"$nonce\" ]; then", "elif true; then"),
        wrong("begins anew beside a torn note", "    set boots=\"$cairn_max\"\n", "    set boots=\n"),
        wrong("believes a torn note", "  [ \"$cairn_noted\" = \"$cairn_note\" ]\n", "  true\n"),
        wrong("believes a torn wish", "  if [ \"$cairn_sum\" != \"$cairn_end\" ]; then return 1; fi\n", ""),
        wrong("gives one boot too many", "[ \"$boots\" '<' \"$end\" ]", "[ \"$boots\" '<=' \"$end\" ]"),
        wrong(
            "boots the default twice",
            "  if next xxx; then set role=default;",
            "  if next xx; then set role=default;",
        ),
        wrong("knows no previous revision", "  if [ -n \"$cairn_previous\" ]; then", "  if false; then"),
        wrong("counts on in recovery", "  set boots=\"$end\"\n", "  set boots=\"${end}x\"\n"),
        wrong("counts under the wrong number when blind", "  set nonce=0\n", "  set nonce=1\n"),
        wrong("goes to recovery when a kernel is missing", "  if [ \"$noted\" = yes ]; then reboot; fi\n", ""),
    ]
}

/// Those that only a medium shows which takes no writes.
fn careless_scripts() -> Vec<(&'static str, Script)> {
    let wrong = |name, right: &str, wrong: &str| (name, Script::real().with(right, wrong));
    vec![
        wrong(
            "ignores that the note was not written",
            "  if ! save_env --file \"$cells/spent\" $note_names; then return 1; fi\n",
            "  save_env --file \"$cells/spent\" $note_names\n  return 0\n",
        ),
        wrong("tries although it could not count", "    set role=default\n", "    true\n"),
    ]
}

/// Those that only a medium shows which loses writes.
fn credulous_scripts(lost: &Script) -> Vec<(&'static str, Script)> {
    let wrong = |name, right: &str, wrong: &str| (name, lost.with(right, wrong));
    vec![
        wrong("keeps what an earlier load has left", "do unset $variable; done", "do true; done"),
        wrong(
            "does not read its note again",
            "  if ! load \"$cells/spent\" \"$note_names\"; then return 1; fi\n  [",
            "  [",
        ),
    ]
}

/// The script as the board ships it.
fn shipped() -> String {
    QemuX86Grub::SCRIPT.concat()
}
