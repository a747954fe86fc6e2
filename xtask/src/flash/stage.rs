//! The stage `flash` of `test`: images onto a file and a loop device, and every refusal that a real machine can be asked for.
//!
//! It runs the command as a person would. What needs other machines (a system on a volume, a built-in disk that nobody
//! uses, power that goes at any write) is played in the unit tests of this module.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::image::build::build;
use crate::image::of_board;
use crate::image::source::{Blob, From, ImageSource};
use crate::image::table::Kind;
use crate::run::tools::quiet;
use crate::term::Out;
use crate::{cargo, setup};

/// The board whose image is flashed: raw cells and a FAT, and a table that is not the usual one.
const BOARD: &str = "qemu-arm-orangepi-pc";

pub(crate) fn check(out: Out) -> Result<()> {
    if !setup::is_root() {
        bail!("loop devices and mounts are root's: run it as root");
    }
    let dir = cargo::target_directory()?.join("flash");
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    fs::create_dir_all(dir.join("mounted")).with_context(|| format!("cannot create {}", dir.display()))?;
    let bench = Bench::new(dir)?;
    for (name, check) in CHECKS {
        check(&bench).with_context(|| (*name).to_owned())?;
        out.line(format!("flash: {name}"));
    }
    Ok(())
}

type Check = fn(&Bench) -> Result<()>;

/// What is seen, in words, and how.
const CHECKS: &[(&str, Check)] = &[
    ("an image made twice is the same bytes", twice),
    ("a file becomes the image", file),
    ("a dry run writes nothing", dry_run),
    ("a loop device of a larger disk is flashed and has its partitions", loop_device),
    ("nobody is asked where nobody is", unasked),
    ("the system's disk is refused", system),
    ("a mounted disk is refused until it is named", mounted),
    ("a file that a loop device has is refused", held),
    ("a disk that is too small is refused, named or not", small),
    ("a disk that cannot be written is refused", read_only),
    ("a partition is refused, and a disk of which one is mounted", partition),
    ("what is no disk is an error", no_disk),
    ("a disk that fails half-way is left without a table", half),
];

/// A directory with an image.
struct Bench {
    dir: PathBuf,
    image: PathBuf,
    bytes: u64,
}

impl Bench {
    fn new(dir: PathBuf) -> Result<Self> {
        let image = dir.join("image");
        let built = build(&source()?, &image)?;
        Ok(Self { bytes: built.bytes, image, dir })
    }

    /// `cargo xtask flash` of the image to this disk.
    fn flash(&self, device: &Path, more: &[&str]) -> Result<Ended> {
        let mut command = Command::new(cargo::THIS);
        command.args(["flash", "--json", "--image"]).arg(&self.image).arg("--device").arg(device).args(more);
        let Output { status, stdout, stderr } = command.stdin(std::process::Stdio::null()).output()?;
        let said = String::from_utf8_lossy(&stderr).trim().to_owned();
        let report = serde_json::from_slice(&stdout).unwrap_or_default();
        Ok(Ended { code: status.code(), report, said })
    }

    /// An empty disk of so many bytes.
    fn disk(&self, name: &str, bytes: u64) -> Result<PathBuf> {
        let path = self.dir.join(name);
        fs::File::create(&path)?.set_len(bytes)?;
        Ok(path)
    }
}

/// What a board alone decides, and something where the first-stage loader goes.
fn source() -> Result<ImageSource> {
    let mut source = of_board(BOARD, Kind::Gpt)?;
    source.blobs.push(Blob { at: board_qemu_arm_orangepi_pc::LOADER_AT, from: From::Bytes(vec![0xEE; 500_000]) });
    Ok(source)
}

/// How a command ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    report: Value,
    said: String,
}

impl Ended {
    /// What the report has at this place, if anything.
    fn says(&self, place: &str) -> &Value {
        self.report.pointer(place).unwrap_or(&Value::Null)
    }

    fn flashed(self) -> Result<()> {
        ensure!(self.code == Some(0) && self.says("/verified") == true, "{self:?}");
        Ok(())
    }

    /// Refused for this reason; the name that would force it.
    fn refused(self, reason: &str) -> Result<String> {
        let reasons = self.says("/refused").as_array().map(Vec::as_slice).unwrap_or_default();
        let found = reasons.iter().any(|refused| refused.get("reason").is_some_and(|found| found == reason));
        ensure!(self.code == Some(3) && found, "{self:?}");
        Ok(self.says("/device/force").as_str().unwrap_or_default().to_owned())
    }
}

/// A loop device on a file, for as long as this lives.
struct Loop(PathBuf);

impl Loop {
    fn on(file: &Path, more: &[&str]) -> Result<Self> {
        let mut losetup = Command::new("losetup");
        let output = losetup.args(["--find", "--show"]).args(more).arg(file).output().context("cannot run losetup")?;
        ensure!(output.status.success(), "losetup failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(Self(String::from_utf8(output.stdout)?.trim().into()))
    }

    /// The same with its partitions, also where the kernel itself reads no tables.
    fn with_partitions(file: &Path) -> Result<Self> {
        let device = Self::on(file, &[])?;
        quiet(Command::new("partx").arg("--add").arg(&device.0))?;
        Ok(device)
    }

    fn partition(&self, number: u8) -> PathBuf {
        format!("{}p{number}", self.0.display()).into()
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // Where there are partitions; without them it has nothing to do and says so.
        let _ = quiet(Command::new("partx").arg("--delete").arg(&self.0));
        if let Err(error) = quiet(Command::new("losetup").arg("--detach").arg(&self.0)) {
            eprintln!("error: {error:#}");
        }
    }
}

/// A mounted file system, for as long as this lives.
struct Mounted(PathBuf);

impl Mounted {
    fn at(device: &Path, at: &Path) -> Result<Self> {
        quiet(Command::new("mount").arg(device).arg(at))?;
        Ok(Self(at.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = quiet(Command::new("umount").arg(&self.0)) {
            eprintln!("error: {error:#}");
        }
    }
}

/// Whether a disk has a partition table that somebody would believe.
fn has_table(disk: &Path) -> Result<bool> {
    let bytes = fs::read(disk)?;
    Ok(bytes.get(510..512) == Some(&[0x55, 0xAA]))
}

fn twice(bench: &Bench) -> Result<()> {
    let again = bench.dir.join("again");
    build(&source()?, &again)?;
    ensure!(fs::read(&again)? == fs::read(&bench.image)?, "the images differ");
    Ok(())
}

fn file(bench: &Bench) -> Result<()> {
    let disk = bench.dir.join("file");
    bench.flash(&disk, &["--yes"])?.flashed()?;
    ensure!(fs::read(&disk)? == fs::read(&bench.image)?, "the file is not the image");
    Ok(())
}

fn dry_run(bench: &Bench) -> Result<()> {
    let disk = bench.disk("dry", bench.bytes)?;
    let ended = bench.flash(&disk, &["--dry-run"])?;
    ensure!(ended.code == Some(0) && ended.said.contains("partition table, last"), "{ended:?}");
    ensure!(ended.says("/verified") == false, "{ended:?}");
    ensure!(fs::read(&disk)?.iter().all(|byte| *byte == 0), "something was written");
    Ok(())
}

fn loop_device(bench: &Bench) -> Result<()> {
    // A disk of an earlier life, not a whole number of MiB.
    let disk = bench.dir.join("larger");
    fs::write(&disk, vec![0xA5; usize::try_from(bench.bytes + (5 << 20) + 4096)?])?;
    let device = Loop::on(&disk, &[])?;
    bench.flash(&device.0, &["--yes"])?.flashed()?;
    drop(device);
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let verified = Command::new("sfdisk").env("PATH", path).arg("--verify").arg(&disk).output()?;
    let said = String::from_utf8_lossy(&verified.stdout) + String::from_utf8_lossy(&verified.stderr);
    ensure!(said.contains("No errors detected"), "{said}");
    let device = Loop::with_partitions(&disk)?;
    quiet(Command::new("fsck.vfat").arg("-n").arg(device.partition(1)))?;
    let partition = device.partition(6);
    quiet(Command::new("e2fsck").args(["-f", "-n"]).arg(&partition))?;
    let mounted = Mounted::at(&partition, &bench.dir.join("mounted"))?;
    ensure!(mounted.0.join("lost+found").is_dir(), "the storage is not what was made");
    Ok(())
}

fn unasked(bench: &Bench) -> Result<()> {
    let disk = bench.disk("unasked", bench.bytes)?;
    let ended = bench.flash(&disk, &[])?;
    ensure!(ended.code == Some(1) && ended.said.contains("--yes"), "{ended:?}");
    ensure!(!has_table(&disk)?, "something was written");
    Ok(())
}

fn system(bench: &Bench) -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let places = ["/", "/etc/hosts", "/boot"];
    let device = |line: &'_ str| {
        let (device, rest) = line.split_once(' ')?;
        let at = rest.split(' ').next()?;
        (device.starts_with("/dev/") && places.contains(&at)).then(|| device.to_owned())
    };
    let root = mounts.lines().find_map(device).context("this machine runs from no disk that could be refused")?;
    let root = Path::new(&root);
    let ended = bench.flash(root, &["--dry-run"])?;
    ended.refused("system")?;
    // Neither is it forced by a name that is not its own.
    bench.flash(root, &["--dry-run", "--force-device", "sdz"])?.refused("system").map(drop)
}

fn mounted(bench: &Bench) -> Result<()> {
    let disk = bench.disk("busy", bench.bytes)?;
    quiet(Command::new("mke2fs").args(["-q", "-F"]).arg(&disk))?;
    let device = Loop::on(&disk, &[])?;
    let mounted = Mounted::at(&device.0, &bench.dir.join("mounted"))?;
    let name = bench.flash(&device.0, &["--yes"])?.refused("in-use")?;
    bench.flash(&device.0, &["--yes", "--force-device", "another"])?.refused("in-use")?;
    let ended = bench.flash(&device.0, &["--dry-run", "--force-device", &name])?;
    ensure!(ended.code == Some(0), "{ended:?}");
    drop(mounted);
    bench.flash(&device.0, &["--yes"])?.flashed()
}

fn held(bench: &Bench) -> Result<()> {
    let disk = bench.disk("held", bench.bytes)?;
    let _device = Loop::on(&disk, &[])?;
    bench.flash(&disk, &["--yes"])?.refused("in-use").map(drop)
}

fn small(bench: &Bench) -> Result<()> {
    let disk = bench.disk("small", bench.bytes / 2)?;
    let name = bench.flash(&disk, &["--yes"])?.refused("too-small")?;
    bench.flash(&disk, &["--yes", "--force-device", &name])?.refused("too-small").map(drop)
}

fn read_only(bench: &Bench) -> Result<()> {
    let disk = bench.disk("locked", bench.bytes)?;
    let device = Loop::on(&disk, &["--read-only"])?;
    bench.flash(&device.0, &["--yes"])?.refused("read-only").map(drop)
}

fn partition(bench: &Bench) -> Result<()> {
    let disk = bench.dir.join("file");
    let device = Loop::with_partitions(&disk)?;
    bench.flash(&device.partition(1), &["--yes"])?.refused("partition")?;
    // One that is mounted makes its disk one that is used.
    let mounted = Mounted::at(&device.partition(6), &bench.dir.join("mounted"))?;
    bench.flash(&device.0, &["--yes"])?.refused("in-use")?;
    drop(mounted);
    bench.flash(&device.0, &["--yes"])?.flashed()
}

fn no_disk(bench: &Bench) -> Result<()> {
    for path in ["/dev/null", "/dev/there-is-no-such-disk", "/proc"] {
        let ended = bench.flash(Path::new(path), &["--yes"])?;
        ensure!(ended.code == Some(1), "{ended:?}");
    }
    Ok(())
}

/// A disk on a file system that has not the room that the disk promises: writes fail on the way.
fn half(bench: &Bench) -> Result<()> {
    let at = bench.dir.join("mounted");
    quiet(Command::new("mount").args(["-t", "tmpfs", "-o", "size=6m", "tmpfs"]).arg(&at))?;
    let mounted = Mounted(at);
    let disk = mounted.0.join("disk");
    let file = fs::File::create(&disk)?;
    file.set_len(bench.bytes)?;
    let ended = bench.flash(&disk, &["--yes"])?;
    ensure!(ended.code == Some(1) && ended.said.contains("no partition table now"), "{ended:?}");
    ensure!(!has_table(&disk)?, "the disk looks whole");
    ensure!(fs::read(&disk)?.starts_with(super::write::UNFINISHED), "the disk does not say what happened to it");
    Ok(())
}
