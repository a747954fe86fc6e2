//! The disk that a U-Boot board's script is asked on: its partitions, and files that say which revision they are of.
//!
//! ```text
//!   wanted   first copy, second copy ┐  overwritten from outside for each question, while the machine runs;
//!   spent    note                    ┘  QEMU and we share the pages of one file
//!   storage  trails/REVISION/.pv/pv-kernel.img = "kernel=REVISION", pv-initrd.img = "initrd=REVISION", 256 bytes
//!   recovery kernel, initrd, the same of "recovery"
//! ```

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use boards_api::board::{Content, Layout, Role};
use boards_api::uboot::APART;
use formats::bootenv::raw::SECTOR;
use machine::{Kind, Plan};
use statemachine::ids::RevisionId;
use tempfile::TempDir;

use super::{Loader, Subject};
use crate::cases::{Files, World};

/// Bytes of each file, its text first; so no import of one file reads a byte of another.
pub(crate) const FILE: usize = 256;

/// All disks have this size: a power of two, because SD cards have to.
const DISK: u64 = 256 << 20;

/// A disk image.
pub(crate) struct Bench {
    image: PathBuf,
    file: File,
    /// Where each partition starts, in bytes.
    places: Vec<(Role, u64)>,
    _own: TempDir,
}

impl Bench {
    /// Makes the disk, with these revisions in its storage, and beside them the scripts as `0.scr`, `1.scr`, …
    /// The partition with the role `hidden` gets another name.
    pub(crate) fn make(
        subject: &Subject,
        held: &BTreeSet<RevisionId>,
        world: World,
        scripts: &[String],
        hidden: Option<Role>,
    ) -> Result<Self> {
        let (own, layout) = (tempfile::tempdir()?, subject.layout);
        let dir = &own.path().to_owned();
        let image = dir.join("disk.img");
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&image)?;
        file.set_len(DISK)?;
        let places = partition(&image, layout, subject.loader.as_ref().map(|loader| loader.entries), hidden)?;
        let bench = Self { image, file, places, _own: own };
        if let Some(loader) = &subject.loader {
            bench.file.write_all_at(&loader.bytes()?, loader.at)?;
        }
        let storage = dir.join("storage");
        for revision in held {
            let trail = storage.join("trails").join(revision.as_str()).join(".pv");
            fs::create_dir_all(&trail)?;
            let files = world.files(revision);
            if files != Files::NoKernel {
                fs::write(trail.join("pv-kernel.img"), text("kernel", revision.as_str()))?;
            }
            if files != Files::NoInitrd {
                fs::write(trail.join("pv-initrd.img"), text("initrd", revision.as_str()))?;
            }
        }
        fs::create_dir_all(&storage)?;
        for (number, script) in scripts.iter().enumerate() {
            fs::write(storage.join(format!("{number}.scr")), compiled(dir, script)?)?;
        }
        let at = bench.place(Role::Store)?;
        let mut mke2fs = Command::new("mke2fs");
        mke2fs.args(["-q", "-F", "-t", "ext4", "-b", "4096", "-O", "^metadata_csum_seed,^orphan_file"]);
        mke2fs.args(["-E", &format!("offset={at}"), "-d"]).arg(&storage).arg(&bench.image);
        run(mke2fs.arg(((DISK - at) / 4096 - 16).to_string()))?;
        if layout.partition(Role::Recovery).is_some_and(|recovery| recovery.content == Content::Fat) {
            recovery(dir, &bench.image, bench.place(Role::Recovery)?, layout)?;
        }
        Ok(bench)
    }

    /// The disk.
    pub(crate) fn image(&self) -> &Path {
        &self.image
    }

    /// Where the partition of a role starts, in bytes.
    pub(crate) fn place(&self, role: Role) -> Result<u64> {
        let place = self.places.iter().find(|(its, _)| *its == role);
        place.map(|(_, at)| *at).with_context(|| format!("no partition for {role:?}"))
    }

    /// Overwrites bytes of a partition.
    pub(crate) fn put(&self, role: Role, at: u64, bytes: &[u8]) -> Result<()> {
        Ok(self.file.write_all_at(bytes, self.place(role)? + at)?)
    }

    /// Overwrites both copies of `Wanted`, one behind the other in `pair`, or the first of them.
    pub(crate) fn put_wanted(&self, pair: &[u8]) -> Result<()> {
        pair.chunks(SECTOR).zip([0, APART]).try_for_each(|(copy, at)| self.put(Role::Wanted, at, copy))
    }

    /// Both copies of `Wanted`, one behind the other.
    pub(crate) fn wanted(&self) -> Result<[u8; 2 * SECTOR]> {
        let mut pair = [0; 2 * SECTOR];
        let place = self.place(Role::Wanted)?;
        for (copy, at) in pair.chunks_mut(SECTOR).zip([0, APART]) {
            self.file.read_exact_at(copy, place + at)?;
        }
        Ok(pair)
    }

    /// What stands where the note is.
    pub(crate) fn note(&self) -> Result<[u8; SECTOR]> {
        let mut sector = [0; SECTOR];
        self.file.read_exact_at(&mut sector, self.place(Role::Spent)?)?;
        Ok(sector)
    }

    /// A machine with this disk, on such a medium.
    pub(crate) fn plan(&self, kind: Kind, medium: Medium) -> Result<Plan> {
        let image = self.image.display();
        let failing = match medium {
            Medium::NoteNotWritten => Some(("write", Role::Spent)),
            Medium::NoteNotRead => Some(("read", Role::Spent)),
            Medium::FirstNotRead => Some(("read", Role::Wanted)),
            Medium::Sound | Medium::ReadOnly | Medium::NoNote | Medium::NoWanted => None,
        };
        let file = match failing {
            None => format!("file.driver=file,file.filename={image}"),
            Some((operation, role)) => format!(
                "file.driver=blkdebug,file.image.driver=file,file.image.filename={image},\
                 file.inject-error.0.event=none,file.inject-error.0.iotype={operation},\
                 file.inject-error.0.sector={},file.inject-error.0.errno=5",
                self.place(role)? / SECTOR as u64
            ),
        };
        let read_only = if medium == Medium::ReadOnly { "on" } else { "off" };
        // Nobody cuts the power here, so nothing has to reach the disk of the host.
        let drive = format!("driver=raw,{file},cache=unsafe,readonly={read_only}");
        let plan = Plan::new(kind).arg("-drive");
        Ok(match kind {
            Kind::OrangePiPc => plan.arg(format!("if=sd,index=0,{drive}")),
            _ => plan.arg(format!("if=none,id=disk,{drive}")).arg("-device").arg("virtio-blk-pci,drive=disk"),
        })
    }
}

/// What the medium does to the cells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Medium {
    Sound,
    /// It says so itself.
    ReadOnly,
    NoteNotWritten,
    NoteNotRead,
    FirstNotRead,
    /// The partition is not there.
    NoNote,
    NoWanted,
}

impl Medium {
    /// The partition that nobody finds.
    pub(crate) fn hides(self) -> Option<Role> {
        match self {
            Self::NoNote => Some(Role::Spent),
            Self::NoWanted => Some(Role::Wanted),
            _ => None,
        }
    }
}

impl Loader {
    /// As `cargo xtask setup` has unpacked it.
    fn bytes(&self) -> Result<Vec<u8>> {
        let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"));
        let place = target.join("packages").join(self.architecture).join(self.package).join(self.path);
        fs::read(&place).with_context(|| format!("{} is missing: run `cargo xtask setup`", place.display()))
    }
}

/// A file of so many bytes that begins with `what=revision`, as `env import -t` reads it.
pub(crate) fn text(what: &str, revision: &str) -> Vec<u8> {
    let mut bytes = format!("{what}={revision}\n").into_bytes();
    bytes.resize(FILE, 0);
    bytes
}

/// Writes the partition table; returns where each partition starts, in bytes.
fn partition(image: &Path, layout: Layout, entries: Option<u32>, hidden: Option<Role>) -> Result<Vec<(Role, u64)>> {
    let mut table = "label: gpt\n".to_owned();
    if let Some(entries) = entries {
        table += &format!("table-length: {entries}\n");
    }
    let (mut places, mut end) = (Vec::new(), 1024);
    for partition in layout.partitions {
        let start = partition.start_kib.map_or(end, u64::from).next_multiple_of(1024);
        // The copy of the table stands at the end of the disk.
        let size = partition.size_kib.map_or((DISK >> 10) - start - 1024, u64::from);
        let label = if hidden == Some(partition.role) { "lost" } else { partition.label };
        table += &format!("start={}, size={}, name={label}\n", start * 2, size * 2);
        places.push((partition.role, start << 10));
        end = start + size;
    }
    ensure!(end <= (DISK >> 10) - 1024, "the layout does not fit on {} MiB", DISK >> 20);
    let mut sfdisk = Command::new("sfdisk");
    sfdisk.args(["--quiet", "--no-reread", "--no-tell-kernel"]).arg(image).stdin(Stdio::piped());
    let mut child = sfdisk.spawn().context("cannot run sfdisk: run `cargo xtask setup`")?;
    if let Some(mut input) = child.stdin.take() {
        std::io::Write::write_all(&mut input, table.as_bytes())?;
    }
    ensure!(child.wait()?.success(), "sfdisk refused:\n{table}");
    Ok(places)
}

/// The recovery kernel and its initramfs, on the file system that the layout names.
fn recovery(dir: &Path, image: &Path, at: u64, layout: Layout) -> Result<()> {
    let partition = layout.partition(Role::Recovery).context("no partition for recovery")?;
    let kib = partition.size_kib.context("the recovery partition has no size")?;
    let volume = format!("{}@@{at}", image.display());
    run(Command::new("mformat").args([
        "-i",
        &volume,
        "-T",
        &(u64::from(kib) * 2).to_string(),
        "-h",
        "64",
        "-s",
        "32",
        "::",
    ]))?;
    for name in ["kernel", "initrd"] {
        let file = dir.join(name);
        fs::write(&file, text(name, "recovery"))?;
        run(Command::new("mcopy").args(["-i", &volume]).arg(file).arg("::"))?;
    }
    Ok(())
}

/// What `source` takes.
fn compiled(dir: &Path, script: &str) -> Result<Vec<u8>> {
    let (text, image) = (dir.join("boot.cmd"), dir.join("boot.scr"));
    fs::write(&text, script)?;
    let mut mkimage = Command::new("mkimage");
    run(mkimage.args(["-A", "arm", "-T", "script", "-C", "none", "-d"]).arg(&text).arg(&image))?;
    Ok(fs::read(image)?)
}

/// Runs a program of the host; returns what it says.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {program}: run `cargo xtask setup`"))?;
    if !output.status.success() {
        bail!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
