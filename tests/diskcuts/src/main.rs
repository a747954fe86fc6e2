//! A whole disk under a device that takes updates, cut at any request: what boots is old or new, and nothing is lost that
//! was told.
//!
//! ```text
//!   device ──requests──▶ disk, served by us ──▶ log ──replay──▶ cut disks ─┬─▶ as a bootloader reads it
//!     │ console, answers to pvr ────────────────▶ what was told            ├─▶ as Linux reads it, journal replayed
//!                                                                          └─▶ switched on, some of them
//! ```
//!
//! The device is a real one: firmware, bootloader, kernel and PID 1 under QEMU, and the bootloader's own writes are cut
//! like all others. [`mod@record`] has the story, [`replay`] what a power cut does to a disk and [`card`] what it does to a
//! card, [`unreplayed`], [`replayed`] and [`boot`] the laws, [`promise`] what was told.
//!
//! Exit code 0: no law broken, and a disk that does not keep its word breaks some. 1: otherwise. 2: the arguments are wrong.
#![forbid(unsafe_code)]

mod boot;
mod card;
mod choose;
mod console;
mod disk;
mod ext4;
mod known;
mod log;
mod nbd;
mod promise;
mod record;
mod relay;
mod replay;
mod replayed;
mod report;
mod table;
mod unreplayed;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, Result, bail};
use boards_api::board::Role;
use boards_api::slots::Places;
use clap::Parser;
use clap::builder::PossibleValuesParser;
use machine::Kind;
use machine::ordeal::Dice;

use crate::boot::Bench;
use crate::choose::Cut;
use crate::disk::Disk;
use crate::log::What;
use crate::promise::Promises;
use crate::record::{Props, Story, record};
use crate::replay::{Flushes, Replay};
use crate::report::{Look, Report};
use crate::unreplayed::Shape;

/// Cuts that a disk which does not keep its word gets.
const CONTROLS: usize = 24;

/// Cut a device's power at any request to its disk
#[derive(Parser)]
#[command(bin_name = "cargo xtask powercut")]
struct Options {
    /// The board
    #[arg(long, value_parser = PossibleValuesParser::new(boards()))]
    board: String,
    /// Its image; a copy of it is used
    #[arg(long, value_name = "FILE", required_unless_present = "again", requires_all = ["pvr", "keys"])]
    image: Option<PathBuf>,
    /// The program `pvr`
    #[arg(long, value_name = "PROGRAM")]
    pvr: Option<PathBuf>,
    /// The configuration of `pvr` that has the key of the image
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    /// Where the packages with QEMU's firmware are unpacked, if they are not installed
    #[arg(long, value_name = "DIR")]
    packages: Option<PathBuf>,
    /// Where the story is kept, and consoles of what has failed
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Cut the story that is kept once more
    #[arg(long)]
    again: bool,
    /// How many cut disks are read
    #[arg(long, default_value_t = 330)]
    cuts: usize,
    /// How many of them are booted
    #[arg(long, default_value_t = 40)]
    boots: usize,
    /// Read the disk after every request, in every way
    #[arg(long, conflicts_with = "cuts")]
    exhaustive: bool,
    /// Chooses the cuts, and what each of them loses
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many machines run at a time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// The boards that can be cut: they have a machine, and their kernels lie in trails.
fn boards() -> impl Iterator<Item = &'static str> {
    let has_trails = |name: &&str| boards_all::entry(name).is_some_and(|entry| entry.places == Places::Trails);
    machine::BOARDS.iter().map(|(name, _)| *name).filter(has_trails)
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(report) => {
            if options.json {
                println!("{:#}", report.json());
            } else {
                print!("{report}");
            }
            if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("powercut: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<Report> {
    let kind = Kind::of_board(&options.board).context("no machine is this board")?;
    let say = |text: &str| eprintln!("{}: {text}", options.board);
    let story = match (&options.image, &options.pvr, &options.keys) {
        (Some(image), Some(pvr), Some(keys)) if !options.again => {
            let (image, pvr, keys) = (image.clone(), pvr.clone(), keys.clone());
            record(&Props { kind, image, pvr, keys, packages: options.packages.clone() }, &options.dir, say)?
        }
        _ => Story::load(&options.dir)?,
    };
    let shape = shape(&options.board, &story.base)?;
    let storage = shape.part(Role::Store).context("the board has no storage")?;
    let stages = choose::stages(&story.log, |at| storage.contains(&at));
    let named = stages.iter().map(|stage| (stage.name.clone(), stage.places.len()));
    let liar =
        if kind.has_write_cache() { "a disk that ignores flushes" } else { "a card that answers before it writes" };
    let mut report = Report::new(&options.board, options.seed, named, story.log.written(), liar);
    judge_story(&story, &shape, &mut report);

    let cuts = match options.exhaustive {
        true => choose::all(&stages, options.seed),
        false => choose::cuts(&stages, options.cuts, options.seed),
    };
    say(&format!("reading {} cut disks", cuts.len()));
    let chosen = choose::some(&cuts, stages.len(), options.boots, options.seed);
    let tried = Tried { story: &story, shape: &shape, dir: &options.dir, jobs: options.jobs.max(1) };
    let disks = tried.read(&cuts, &chosen, Flushes::Counted, &mut report)?;
    let control = choose::some(&cuts, stages.len(), CONTROLS, options.seed ^ 1);
    let control: Vec<_> = control.into_iter().filter_map(|index| cuts.get(index).cloned()).collect();
    say(&format!("the same with {liar}"));
    tried.read(&control, &[], Flushes::Ignored, &mut report)?;

    let bench = Bench { kind, packages: options.packages.clone(), dir: options.dir.clone() };
    tried.boot(&bench, &cuts, disks, &mut report, |done, of| say(&format!("{done} of {of} booted")));
    Ok(report)
}

fn shape(board: &str, base: &Disk) -> Result<Shape> {
    let entry = boards_all::entry(board).with_context(|| format!("there is no board {board}"))?;
    let partitions = table::partitions(base).context("the disk has no partition table")?;
    if partitions.len() != entry.layout.partitions.len() {
        bail!("the disk has {} partitions, the board {}", partitions.len(), entry.layout.partitions.len());
    }
    Ok(Shape { board: entry.name, layout: entry.layout, partitions })
}

/// What must be true of the story as a whole: it has come to its end, and nobody wrote where nobody may.
fn judge_story(story: &Story, shape: &Shape, report: &mut Report) {
    let told = Promises::of(&story.log.entries);
    if !(told.posted == 2 && told.closed && told.objects.len() >= 2) {
        report.wrong(format!("the story has not come to its end: {told:?}"));
    }
    let mut replay = Replay::new(&story.log, story.base.clone(), Flushes::Counted);
    replay.advance(story.log.entries.len());
    let last = Arc::new(replay.cut(replay::Loss::Nothing, &mut Dice::new(0)));
    if let Err(why) = unreplayed::check(&last, shape, &story.revisions, &told) {
        report.wrong(format!("at the end of the story: {why}"));
    }
    let cells = unreplayed::cells(&last, shape);
    let collected = story.revisions.0.get(1);
    let names =
        |known: &known::Known| cells.is_none_or(|cells| cells.wanted.is_ok_and(|wanted| wanted.names(&known.id)));
    if collected.is_none_or(names) {
        report.wrong("at the end of the story the cells still name what was collected".to_owned());
    }
    let mut disk = story.base.clone();
    let places = unreplayed::places(&disk, shape);
    let mut strange: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in &story.log.entries {
        let What::Write { at, bytes, .. } = &entry.what else { continue };
        for (sector, bytes) in (*at..).step_by(512).zip(bytes.chunks(512)) {
            // A kernel writes whole pages: neighbours may be written, and must stay as they are.
            if !places.iter().any(|place| place.contains(&sector)) && disk.bytes(sector, bytes.len()) != bytes {
                *strange.entry(shape.label(sector)).or_default() += 1;
            }
        }
        disk.write(*at, bytes);
    }
    for (label, count) in strange {
        report.wrong(format!("{count} sectors of {label} have changed, where nobody may write"));
    }
}

/// A story and what is done with it.
struct Tried<'s> {
    story: &'s Story,
    shape: &'s Shape,
    dir: &'s Path,
    jobs: usize,
}

/// A cut disk that is to be booted: the index of its cut, and what was told.
type CutDisk = (usize, Disk, Promises);

/// The index of a cut, and what breaks a law.
type Judged = (usize, Result<(), String>);

impl Tried<'_> {
    /// Reads the disks of these cuts, side by side; those that were `chosen` come back.
    fn read(&self, cuts: &[Cut], chosen: &[usize], flushes: Flushes, report: &mut Report) -> Result<Vec<CutDisk>> {
        let look = if flushes == Flushes::Counted { Look::Content } else { Look::Control };
        let found = Mutex::new((Vec::new(), Vec::new()));
        thread::scope(|scope| {
            let workers: Vec<_> = (0..self.jobs)
                .map(|worker| {
                    let found = &found;
                    scope.spawn(move || self.read_some(cuts, chosen, flushes, worker, found))
                })
                .collect();
            workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| bail!("a reader has panicked")))
        })?;
        let (mut judged, mut disks) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        judged.sort_by_key(|(index, _): &Judged| *index);
        for (index, judged) in judged {
            if let Some(cut) = cuts.get(index) {
                report.note(look, cut, judged.map(|()| None));
            }
        }
        disks.sort_by_key(|(index, ..): &CutDisk| *index);
        Ok(disks)
    }

    fn read_some(
        &self,
        cuts: &[Cut],
        chosen: &[usize],
        flushes: Flushes,
        worker: usize,
        found: &Mutex<(Vec<Judged>, Vec<CutDisk>)>,
    ) -> Result<()> {
        let Story { base, log, revisions } = self.story;
        let memory = Path::new("/dev/shm");
        let work = if memory.is_dir() { tempfile::tempdir_in(memory)? } else { tempfile::tempdir_in(self.dir)? };
        let mut replay = Replay::new(log, base.clone(), flushes);
        let (mut told, mut heard) = (Promises::default(), 0);
        for (index, cut) in cuts.iter().enumerate().filter(|(index, _)| index % self.jobs == worker) {
            replay.advance(cut.after);
            for entry in log.entries.get(heard..cut.after.min(log.entries.len())).unwrap_or_default() {
                if let What::Told(text) = &entry.what {
                    told.hear(text);
                }
            }
            heard = cut.after.min(log.entries.len());
            let disk = Arc::new(replay.cut(cut.loss, &mut Dice::new(cut.seed)));
            let judged = unreplayed::check(&disk, self.shape, revisions, &told)
                .and_then(|()| replayed::check(&disk, self.shape, revisions, &told, work.path()));
            if judged.is_err() && flushes == Flushes::Counted {
                // For whoever looks into it; that there is no room for it is no news.
                let _ = disk.save(0, disk.size(), &self.dir.join(format!("failed-{}-{:x}.img", cut.after, cut.seed)));
            }
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            found.0.push((index, judged));
            if chosen.binary_search(&index).is_ok() {
                found.1.push((index, Disk::clone(&disk), told.clone()));
            }
        }
        Ok(())
    }

    /// Boots these disks, side by side.
    fn boot(
        &self,
        bench: &Bench,
        cuts: &[Cut],
        disks: Vec<CutDisk>,
        report: &mut Report,
        say: impl Fn(usize, usize) + Sync,
    ) {
        let (count, done) = (disks.len(), AtomicUsize::new(0));
        let (left, report) = (Mutex::new(disks), Mutex::new(report));
        thread::scope(|scope| {
            for _ in 0..self.jobs {
                scope.spawn(|| {
                    loop {
                        let next = left.lock().unwrap_or_else(PoisonError::into_inner).pop();
                        let Some((index, disk, told)) = next else { return };
                        let rested = bench.boot(disk, &self.story.revisions, &told, index);
                        if let Some(cut) = cuts.get(index) {
                            report.lock().unwrap_or_else(PoisonError::into_inner).note(
                                Look::Boot,
                                cut,
                                rested.map(Some),
                            );
                        }
                        say(done.fetch_add(1, Ordering::Relaxed) + 1, count);
                    }
                });
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::error::ErrorKind;

    fn refusal(board: &str) -> Option<ErrorKind> {
        Options::try_parse_from(["powercut", "--dir", "x", "--again", "--board", board]).err().map(|error| error.kind())
    }

    #[test]
    fn a_board_that_cannot_be_cut_is_refused_before_a_story_is_told() {
        for board in ["qemu-x86_64-grub", "qemu-arm64-uboot", "qemu-arm-orangepi-pc"] {
            assert_eq!(refusal(board), None, "{board}");
        }
        for board in ["qemu-arm64-uboot-ab", "rpi-tryboot", "host"] {
            assert_eq!(refusal(board), Some(ErrorKind::InvalidValue), "{board}");
        }
    }
}
