//! `flash`: puts an image on a disk, and on no disk by mistake.
//!
//! Promises: what this machine uses, what is built in and what is too small is refused, and forced only by the name
//! that the disk gives itself; nothing is written before that is decided and answered. A disk that was not finished
//! never looks whole. What is reported as done was read back from the medium.

mod disk;
mod machine;
mod progress;
mod refusal;
pub(crate) mod stage;
#[cfg(test)]
mod tests;
mod write;

use std::fs::{self, File};
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::{Value, json};

use self::disk::Device;
use self::machine::{Kind, Machine, Target};
use self::progress::Progress;
use self::refusal::{Refusal, refusals};
use self::write::{Plan, Table, UNFINISHED};
use crate::image::build::map_path;
use crate::image::map::Map;
use crate::term::{Out, green, red};
use crate::{Json, image};

/// Below the options in the help.
pub(crate) const EXIT: &str = "Exit: 0 flashed, 1 failed, 2 wrong arguments, 3 refused and nothing written.";

/// What is exited with when nothing was written because something spoke against it.
const REFUSED: u8 = 3;

#[derive(Args)]
pub(crate) struct Options {
    /// Make the image of this board and flash it
    #[arg(long, required_unless_present = "image")]
    board: Option<String>,
    /// Flash this image, with its block map beside it (IMAGE.bmap) if there is one
    #[arg(long, conflicts_with = "board", value_name = "FILE")]
    image: Option<PathBuf>,
    /// The disk, or a file that plays one: /dev/sdb, disk.img
    #[arg(long, value_name = "DEV|FILE")]
    device: PathBuf,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Flash a disk that is refused: its name, model and serial number, as the refusal spells them
    #[arg(long, value_name = "NAME")]
    force_device: Option<String>,
    /// Say what would be written where, and write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    json: Json,
}

/// An image to flash.
struct Source {
    path: PathBuf,
    file: File,
    bytes: u64,
    map: Option<Map>,
    table: Table,
}

impl Source {
    fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let bytes = file.metadata()?.len();
        let map = match fs::read_to_string(map_path(path)) {
            Ok(text) => Some(Map::read(&text).with_context(|| format!("{}", map_path(path).display()))?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", map_path(path).display())),
        };
        if let Some(map) = map.as_ref().filter(|map| map.image != bytes) {
            bail!("{} has {bytes} bytes, and its block map is of one with {}", path.display(), map.image);
        }
        let table = Table::of(&file).with_context(|| format!("{}", path.display()))?;
        Ok(Self { path: path.to_owned(), file, bytes, map, table })
    }
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let out = options.json.out();
    let machine = Machine::this();
    let target = machine.inspect(&options.device)?;
    // Before an image is made that will not be written.
    if let Some(code) = refused(&target, 0, options) {
        return Ok(code);
    }
    let path = match (&options.image, &options.board) {
        (Some(image), _) => image.clone(),
        (None, Some(board)) => image::for_flashing(board, out)?,
        (None, None) => bail!("neither --board nor --image"),
    };
    let source = Source::open(&path)?;
    if same_file(&path, &options.device) {
        bail!("{} is the image itself", path.display());
    }
    // Something may have been plugged, pulled or mounted while the image was made.
    let target = machine.inspect(&options.device)?;
    if let Some(code) = refused(&target, source.table.needs(source.bytes), options) {
        return Ok(code);
    }
    let bytes = if target.bytes == 0 { source.bytes } else { target.bytes };
    let plan = Plan::new(&source.table, source.bytes, source.map.as_ref(), bytes)?;
    if options.dry_run {
        show(&source, &target, &plan, bytes, out);
        report(options, &source, &target, &plan, None);
        return Ok(ExitCode::SUCCESS);
    }
    if !options.yes && !is_confirmed(&target, bytes)? {
        out.line("nothing was written");
        return Ok(ExitCode::from(REFUSED));
    }
    let start = Instant::now();
    write_to(&source, &target, &plan, bytes, options.force_device.is_none()).with_context(|| {
        format!("{} was not flashed; if anything was written, it has no partition table now", target.path.display())
    })?;
    let seconds = start.elapsed().as_secs_f64();
    out.line(green(out, &done(&source, &target, &plan, seconds)));
    report(options, &source, &target, &plan, Some(seconds));
    Ok(ExitCode::SUCCESS)
}

/// Says why not, if so.
fn refused(target: &Target, needs: u64, options: &Options) -> Option<ExitCode> {
    let out = options.json.out();
    let named = options.force_device.as_deref() == Some(&target.identity());
    let found = refusals(target, needs);
    let standing: Vec<&Refusal> = found.iter().filter(|refusal| !(named && refusal.can_be_forced())).collect();
    if standing.is_empty() {
        found.iter().for_each(|refusal| out.line(format!("forced, although {refusal}")));
        return None;
    }
    for refusal in &standing {
        out.line(format!("{} {}: {refusal}", red(out, "refused"), target.path.display()));
    }
    if standing.iter().all(|refusal| refusal.can_be_forced()) {
        out.line(format!("To flash it nevertheless, name it: --force-device '{}'", target.identity()));
    }
    if options.json.json {
        let reasons = standing.iter().map(|refusal| json!({ "reason": refusal.word(), "text": refusal.to_string() }));
        let forced = standing.iter().all(|refusal| refusal.can_be_forced());
        println!(
            "{}",
            json!({
                "command": "flash", "passed": false, "device": device(target),
                "refused": reasons.collect::<Vec<_>>(), "can_be_forced": forced,
            })
        );
    }
    Some(ExitCode::from(REFUSED))
}

/// Whether the person has typed the name of the disk.
fn is_confirmed(target: &Target, bytes: u64) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("nobody is there to be asked: run it on a terminal, or with --yes");
    }
    let what = match target.kind {
        Kind::File => "file",
        _ => "disk",
    };
    eprintln!("{}", described(target, bytes));
    if is_unfinished(&target.path) {
        eprintln!("An earlier flash of this {what} was cut short.");
    }
    eprint!("Everything on this {what} will be lost. Type {} to go on: ", target.name);
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim() == target.name)
}

fn is_unfinished(path: &Path) -> bool {
    let mut first = vec![0; UNFINISHED.len()];
    File::open(path).and_then(|file| file.read_exact_at(&mut first, 0)).is_ok() && first == UNFINISHED
}

fn write_to(source: &Source, target: &Target, plan: &Plan, bytes: u64, alone: bool) -> Result<()> {
    if target.kind == Kind::File {
        let file = File::options().write(true).create(true).truncate(false).open(&target.path)?;
        if file.metadata()?.len() == 0 {
            file.set_len(bytes)?;
        }
    }
    // `O_EXCL` has another meaning for a file.
    let alone = alone && target.kind != Kind::File;
    let mut device = Device::open(&target.path, bytes, alone)
        .with_context(|| format!("cannot open {} for flashing", target.path.display()))?;
    let mut progress = Progress::new(plan.bytes());
    let done = write::flash(&mut device, &source.file, plan, &mut |step, bytes| progress.advance(step, bytes));
    progress.end();
    done?;
    drop(device);
    if target.kind != Kind::File {
        // Best effort: where the kernel goes on with the old table, pulling the card does it.
        let path = std::env::var("PATH").unwrap_or_default();
        let mut reread = Command::new("blockdev");
        let _ = reread.env("PATH", format!("{path}:/usr/sbin:/sbin")).arg("--rereadpt").arg(&target.path).output();
    }
    Ok(())
}

fn same_file(one: &Path, other: &Path) -> bool {
    matches!((fs::canonicalize(one), fs::canonicalize(other)), (Ok(one), Ok(other)) if one == other)
}

/// A line about the disk.
fn described(target: &Target, bytes: u64) -> String {
    let known = [target.model.as_deref(), target.serial.as_deref()].into_iter().flatten();
    known.fold(format!("{}: {}", target.path.display(), size(bytes)), |line, known| format!("{line}, {known}"))
}

fn show(source: &Source, target: &Target, plan: &Plan, bytes: u64, out: Out) {
    out.line(described(target, bytes));
    out.line(format!("{:>14} {:>14}  what", "byte", "bytes"));
    let row = |at: u64, bytes: u64, what: &str| out.line(format!("{at:>14} {bytes:>14}  {what}"));
    for range in plan.wipe.iter().filter(|range| !range.is_empty()) {
        row(range.start, range.end - range.start, "wiped first");
    }
    for range in plan.data.iter().map(|data| &data.write).filter(|range| !range.is_empty()) {
        row(range.start, range.end - range.start, "data");
    }
    for (at, bytes) in &plan.table {
        row(*at, bytes.len() as u64, "partition table, last");
    }
    let skipped = source.bytes.saturating_sub(plan.bytes());
    out.line(format!("{} to write, {} of the image skipped; nothing was written", size(plan.bytes()), size(skipped)));
}

fn done(source: &Source, target: &Target, plan: &Plan, seconds: f64) -> String {
    let rate = plan.bytes() as f64 / seconds.max(0.001) / f64::from(1 << 20);
    format!(
        "{}: {} of {} written and read back in {seconds:.1} s ({rate:.0} MiB/s)",
        target.path.display(),
        size(plan.bytes()),
        size(source.bytes)
    )
}

fn report(options: &Options, source: &Source, target: &Target, plan: &Plan, seconds: Option<f64>) {
    if !options.json.json {
        return;
    }
    let data = plan.data.iter().filter(|data| !data.write.is_empty());
    let ranges: Vec<_> = data.map(|data| json!([data.write.start, data.write.end])).collect();
    println!(
        "{}",
        json!({
            "command": "flash", "passed": true, "dry_run": options.dry_run, "device": device(target),
            "image": source.path, "image_bytes": source.bytes, "written": plan.bytes(), "ranges": ranges,
            "verified": seconds.is_some(), "seconds": seconds,
        })
    );
}

fn device(target: &Target) -> Value {
    json!({
        "path": target.path, "name": target.name, "bytes": target.bytes, "removable": target.removable,
        "model": target.model, "serial": target.serial, "force": target.identity(),
    })
}

/// As a person reads it.
fn size(bytes: u64) -> String {
    match bytes {
        0..0x10_0000 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        0x10_0000..0x8000_0000 => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
        _ => format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)),
    }
}
