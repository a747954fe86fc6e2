//! `create`: a device as it leaves a factory, with revision 0 as its default.
//!
//! The image gets what `pvr deploy` has made, then the boot files: every byte of them written, so that none is ever
//! allocated later, and all of it durable. `conf` comes last: a directory without it is no device.

use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use board_host::{BOOT_DIRECTORY, Codec, JOURNAL, JOURNAL_BYTES, PROGRAM, SPENT, WANTED};
use boards_api::env::Codec as _;
use boards_api::media::SECTOR;
use clap::Args;
use formats::bootenv::raw;
use formats::bootenv::uboot::Head;
use rustix::fs::{Mode, OFlags};
use serde_json::json;
use statemachine::boot::{Spent, TRIAL_ATTEMPTS_CEILING, Wanted};
use statemachine::ids::RevisionId;

use crate::device::{Conf, Device};
use crate::firmware;
use crate::size::Size;
use crate::storage::{self, Eyes, Storage};

/// Bytes of a page of the journal's emulated flash; a region has at least two.
const PAGE: u64 = 4096;

#[derive(Args)]
pub(crate) struct Options {
    /// The device directory; it must not exist yet, or be empty
    device: PathBuf,
    /// What the storage holds: objects/ and trails/0/, as `pvr deploy` makes them
    #[arg(long, value_name = "DIR")]
    storage: PathBuf,
    /// A public key or an authority that the device trusts
    #[arg(long, value_name = "PEM", required = true, num_args = 1..)]
    trust: Vec<PathBuf>,
    /// The device line, as signed revisions name it
    #[arg(long)]
    line: String,
    /// The size of the storage
    #[arg(long, default_value = "256M")]
    size: Size,
    /// The size of each of the two regions of the journal
    #[arg(long, value_name = "SIZE")]
    journal: Option<Size>,
    /// Boots that a trial may have, where it differs from the usual number
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=i64::from(TRIAL_ATTEMPTS_CEILING)))]
    attempts: Option<u8>,
    /// Seconds for which the goals of a trial must hold, where it differs from the usual time.
    #[arg(long, value_name = "SECONDS")]
    commit_delay: Option<u16>,
    /// Where the endpoint for `pvr` listens [default: 127.0.0.1:12368]; on any other address it wants pairing
    #[arg(long, value_name = "ADDRESS:PORT")]
    endpoint: Option<SocketAddr>,
    /// Report as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn create(options: &Options) -> Result<()> {
    check(options)?;
    let device = Device::at(&options.device)?;
    let root = device.root();
    if fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_some()) {
        bail!("{} exists and is not empty; remove it, or choose another directory", root.display());
    }
    fs::create_dir_all(root).with_context(|| format!("cannot make {}", root.display()))?;
    // The kernel calls the image by its real name.
    let device = Device::at(&fs::canonicalize(root)?)?;
    let root = device.root();
    if let Err(error) = fill(&device, options) {
        // Best effort: half a device is none.
        let _ = fs::remove_dir_all(root);
        return Err(error);
    }
    if options.json {
        println!("{}", json!({"device": root, "image": device.image(), "size": options.size.0, "line": options.line}));
    } else {
        println!("{} is a device of the line {}; start it with: cairn-host run {0}", root.display(), options.line);
    }
    Ok(())
}

fn check(options: &Options) -> Result<()> {
    let storage = &options.storage;
    for directory in ["objects", "trails/0"] {
        if !storage.join(directory).is_dir() {
            bail!("{} has no {directory}/; make it with: pvr deploy {0}/trails/0", storage.display());
        }
    }
    if storage.join(BOOT_DIRECTORY).exists() {
        bail!("{} has a {BOOT_DIRECTORY}/ already; the device gets its own", storage.display());
    }
    let path = storage.join("trails/0").join(PROGRAM);
    let program =
        File::open(&path).with_context(|| format!("cannot open {}; the bsp needs an initrd", path.display()))?;
    firmware::fit(program).map_err(|why| anyhow::anyhow!("{}: {why}", path.display()))?;
    let journal = options.journal.map_or(JOURNAL_BYTES, |size| size.0);
    if journal < 2 * PAGE || !journal.is_multiple_of(PAGE) {
        bail!("a region of the journal is at least two whole pages of {PAGE} bytes, not {journal} bytes");
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if options.line.is_empty() || !options.line.chars().all(is_plain) {
        bail!("{:?} is no device line: letters, digits, -, _ and .", options.line);
    }
    Ok(())
}

fn fill(device: &Device, options: &Options) -> Result<()> {
    for directory in [device.trust(), device.mount_point()] {
        fs::create_dir(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    }
    for (index, key) in options.trust.iter().enumerate() {
        let text = fs::read_to_string(key).with_context(|| format!("cannot read {}", key.display()))?;
        if !text.contains("-----BEGIN ") {
            bail!("{} is not in PEM", key.display());
        }
        // Keys of two directories may have one name.
        let name = key.file_stem().unwrap_or_default().to_string_lossy();
        let path = device.trust().join(format!("{index}-{name}.pem"));
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let image = device.image();
    File::create_new(&image).and_then(|file| file.set_len(options.size.0)).context("cannot make the image")?;
    make_file_system(&image, &options.storage)?;
    let storage = Storage::mount(&image, Eyes::Linux)?;
    boot_files(&storage, options.journal.map_or(JOURNAL_BYTES, |size| size.0))
        .context("cannot write the boot files")?;
    drop(storage);
    storage::wait_until_unused(&image)?;
    File::open(&image).and_then(|file| file.sync_all()).context("cannot sync the image")?;
    device.set_conf(&Conf {
        line: options.line.clone(),
        attempts: options.attempts,
        commit_delay: options.commit_delay,
        endpoint: options.endpoint,
    })
}

/// Hard links of the source stay hard links.
fn make_file_system(image: &Path, from: &Path) -> Result<()> {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("mke2fs");
    command.env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin:/sbin"));
    command.args(["-q", "-F", "-t", "ext4", "-L", "storage", "-d"]).arg(from).arg(image);
    let output = command.output().context("cannot run mke2fs (package e2fsprogs)")?;
    if !output.status.success() {
        bail!("mke2fs failed, is --size large enough? {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

fn boot_files(storage: &Storage, journal: u64) -> Result<()> {
    let factory = RevisionId::factory();
    let wanted = Wanted { nonce: 1, default: factory.clone(), previous: None, factory: Some(factory), trial: None };
    let mut cell = [0; SECTOR];
    let length = Codec::encode_wanted(&wanted, &mut cell)?;
    let note =
        raw::encode_spent(&Spent { nonce: 1, boots: 0 }, Head::Plain).map_err(|error| anyhow::anyhow!("{error}"))?;
    rustix::fs::mkdirat(storage.root(), BOOT_DIRECTORY, Mode::from_raw_mode(0o700))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let boot = rustix::fs::openat(storage.root(), BOOT_DIRECTORY, flags, Mode::empty())?;
    // Erased flash, as the journal expects it before its first record.
    let erased = vec![0xFF; usize::try_from(journal)?];
    let [a, b] = JOURNAL;
    for (name, bytes) in [(WANTED, cell.get(..length).unwrap_or_default()), (SPENT, &note), (a, &erased), (b, &erased)]
    {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(&boot, name, flags, Mode::RUSR | Mode::WUSR)?);
        file.write_all(bytes)?;
        file.sync_all()?;
    }
    rustix::fs::fsync(&boot)?;
    Ok(rustix::fs::syncfs(storage.root())?)
}
