//! Whether a device is as its board says: the laws of a board that can be looked at while it runs, and without a write.
//!
//! ```text
//!   words of the firmware ── layout ── boot cells ── journal        read as PID 1 reads them
//!   kernel, initramfs, device tree of every revision in the cell    read as the firmware reads them, and hashed
//! ```
//!
//! Every medium is opened for reading only. Boot files are read from the whole disk, by [`metal::ext4`]: what the kernel
//! has only in memory, or in the journal of the file system, is not seen, just as no firmware sees it.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use boards_api::board::{Board, BootedAs};
use boards_api::env::BootEnv;
use boards_api::slots::Places;
use formats::json::Limits;
use formats::object::{Hasher, ObjectId};
use formats::state::Revision;
use metal::disks::{Device, Roots};
use metal::ext4::Ext4;
use metal::mtd::Geometry;
use metal::partitions::Partitions;
use metal::place;
use metal::slots::{Image, Slots};
use metal::window::Window;
use statemachine::boot::{Note, TrialKind, Wanted};
use statemachine::ids::RevisionId;
use store::file::FileSectors;
use store::journal::{Copies, Journal};
use store::nor::SectorNor;
use store::trails::boot_files;

use super::media::{OnDevice, Part};
use super::running;
use crate::selftest::Findings;
use crate::settings::Settings;

/// Asks everything.
pub(super) fn inspect_as<B: Board>(settings: &Settings, storage: &Path, findings: &mut Findings) {
    let booted = B::booted(&settings.words);
    let word = booted.map(|booted| format!("{:?}", booted.role));
    findings.law("firmware-word", word.ok_or_else(|| format!("it is not in {:?}", settings.shown())));
    findings.law("reboot-argument", reboot_argument::<B>());
    let Some((device, partitions)) = disk::<B>(settings, findings) else { return };
    if let Some(partitions) = &partitions {
        for partition in B::LAYOUT.partitions {
            findings.law(&format!("partition {}", partition.label), fits(partitions, partition));
        }
    }
    let mut media = OnDevice::to_read::<B>(storage.to_owned(), partitions);
    let wanted = cells::<B>(&mut media, findings);
    let default = journal(&media, findings);
    let Some(wanted) = wanted else {
        for law in ["boots", "agreement", "boot-files"] {
            findings.skip(law, "the boot cell is not readable");
        }
        return;
    };
    match booted.map(|booted| (booted.role, running(&booted, Some(&wanted), &[], None))) {
        Some((BootedAs::Recovery, _)) => findings.skip("boots", "recovery runs, which no boot cell names"),
        Some((role, Ok(_))) => findings.law("boots", Ok(format!("{role:?} is a revision of the boot cell"))),
        Some((_, Err(error))) => findings.law("boots", Err(error.to_string())),
        None => findings.skip("boots", "the firmware said nothing"),
    }
    match (default, &wanted.trial) {
        (None, _) => findings.skip("agreement", "the journal has no record that is read here"),
        (Some(_), Some(trial)) => findings.skip("agreement", format!("{} is on trial", trial.revision)),
        (Some(default), None) if default == wanted.default => {
            findings.law("agreement", Ok(format!("boot cell and journal have the default {default}")));
        }
        (Some(default), None) => {
            let why = format!("the boot cell has the default {}, the journal {default}", wanted.default);
            findings.law("agreement", Err(why));
        }
    }
    match B::PLACES {
        Places::Trails => boot(&device, &wanted, storage, findings),
        Places::Slots(_) => match media.slots::<B>(None) {
            Ok(Some(mut slots)) => in_slots(&mut slots, &wanted, storage, findings),
            Ok(None) => findings.skip("boot-files", "the board does not say what its slots are like"),
            Err(why) => findings.law("slots", Err(why)),
        },
    }
}

/// A firmware that tries once does so when it is asked; one that counts may not care.
fn reboot_argument<B: Board>() -> Result<String, String> {
    let [trial, plain] = [true, false].map(B::reboot_arg);
    let shown = |arg: Option<&std::ffi::CStr>| arg.map_or("nothing".into(), |arg| arg.to_string_lossy().into_owned());
    match B::TRIAL {
        TrialKind::OneShot if trial.is_none() || trial == plain => {
            Err("a firmware that tries once has to be asked, and a trial is not asked for".into())
        }
        _ => Ok(format!("{} for a trial, {} otherwise", shown(trial), shown(plain))),
    }
}

/// The storage and its disk.
fn disk<B: Board>(settings: &Settings, findings: &mut Findings) -> Option<(Device, Option<Partitions>)> {
    let Some(place) = &settings.storage else {
        findings.skip("storage", "the settings name no storage=, so this machine has no disk of ours");
        return None;
    };
    let roots = Roots::of_machine();
    let found = place::find(&roots, place, std::time::Duration::ZERO, &mut |_| ()).map_err(|error| error.to_string());
    let found = found.and_then(|device| {
        let partitions = super::beside(B::LAYOUT, &device)?;
        Ok((device, partitions))
    });
    findings.law("storage", found.as_ref().map(|(device, _)| format!("{place} is {device}")).map_err(Clone::clone));
    found.ok()
}

/// Whether a partition lies where the layout says, and is as large. In flash, the device tree says where.
fn fits(partitions: &Partitions, wanted: &boards_api::board::Partition) -> Result<String, String> {
    const KIB: u64 = 1024;
    if let Some(flash) = partitions.flash(wanted.role) {
        let Geometry { size, erase, .. } = flash.geometry;
        if let Some(kib) = wanted.size_kib.filter(|kib| u64::from(*kib) * KIB > size) {
            return Err(format!("{flash} has {size} bytes, and should have {}", u64::from(kib) * KIB));
        }
        return Ok(format!("{flash}: {} KiB of {} in erase blocks of {erase} bytes", size / KIB, flash.kind));
    }
    let device = partitions.role(wanted.role).map_err(|error| error.to_string())?;
    let device = device.ok_or("the layout has lost it")?;
    let start = device.start().ok_or("the kernel does not say where it starts")?;
    if let Some(kib) = wanted.start_kib.filter(|kib| u64::from(*kib) * KIB != start) {
        return Err(format!("{} starts at byte {start}, and should at {}", device.name, u64::from(kib) * KIB));
    }
    if let Some(kib) = wanted.size_kib.filter(|kib| u64::from(*kib) * KIB != device.size) {
        return Err(format!("{} has {} bytes, and should have {}", device.name, device.size, u64::from(kib) * KIB));
    }
    Ok(format!("{}: {} KiB from byte {start}", device.name, device.size / KIB))
}

/// The boot cells as the runtime reads them.
fn cells<B: Board>(media: &mut OnDevice, findings: &mut Findings) -> Option<Wanted> {
    let Some(mut env) = B::boot_env(media) else {
        let why = media.failed.take().unwrap_or_else(|| "no boot cells".into());
        findings.law("wanted", Err(why.clone()));
        findings.law("note", Err(why));
        return None;
    };
    let (wanted, note) = env.load();
    let shown = |id: Option<&RevisionId>| id.map_or("none".to_owned(), RevisionId::to_string);
    findings.law(
        "wanted",
        wanted.as_ref().map_err(ToString::to_string).map(|wanted| {
            let trial = shown(wanted.trial.as_ref().map(|trial| &trial.revision));
            let (previous, factory) = (shown(wanted.previous.as_ref()), shown(wanted.factory.as_ref()));
            format!("default {}, previous {previous}, factory {factory}, trial {trial}", wanted.default)
        }),
    );
    findings.law(
        "note",
        match note {
            Note::Read(spent) => Ok(format!("{} boots beside the number {}", spent.boots, spent.nonce)),
            Note::Unreadable => Err("it cannot be read: a trial would count as spent".into()),
        },
    );
    wanted.ok()
}

/// The regions of the journal; the default in its head.
fn journal(media: &OnDevice, findings: &mut Findings) -> Option<RevisionId> {
    let opened = media.journal().and_then(|[a, b]| {
        let region = |part| SectorNor::new(part).map_err(|error| error.to_string());
        Journal::new(region(a)?, region(b)?).map_err(|error| error.to_string())
    });
    let looked = opened.and_then(|mut journal| {
        let copies = journal.look().map_err(|error| error.to_string())?;
        Ok((copies, journal.read().map_err(|error| error.to_string())?))
    });
    let (copies, stored) = match looked {
        Ok(looked) => looked,
        Err(why) => {
            findings.law("journal", Err(why));
            return None;
        }
    };
    findings.law(
        "journal",
        match copies {
            Copies::Both => Ok("both regions hold the newest record".into()),
            Copies::None => Ok("both regions are erased: nothing was recorded yet".into()),
            Copies::Only(side) => Err(format!("only region {side:?} holds the newest record")),
        },
    );
    let stored = stored?;
    match formats::journal::decode(&stored.bytes) {
        Ok(decoded) => Some(decoded.header.default.revision),
        Err(error) => {
            findings.law("journal-record", Err(error.to_string()));
            None
        }
    }
}

/// What the firmware would boot of every revision that the cell names.
fn boot(storage: &Device, wanted: &Wanted, mounted: &Path, findings: &mut Findings) {
    for id in named(wanted) {
        let files = files(mounted, id);
        let files = match files {
            Ok(files) => files,
            Err(why) => {
                findings.law(&format!("boot-files {id}"), Err(why));
                continue;
            }
        };
        if files.is_empty() {
            findings.law(&format!("boot-files {id}"), Err("its state boots nothing".into()));
        }
        for (path, object) in files {
            let found = unreplayed(storage, &format!("trails/{id}/{path}"));
            findings.law(
                &format!("boot-file {id} {path}"),
                match found {
                    Ok((found, bytes)) if found == object => Ok(format!("{bytes} bytes, as its state says")),
                    Ok((found, _)) => Err(format!("the firmware would read {found}, and the state has {object}")),
                    Err(why) => Err(why),
                },
            );
        }
    }
}

/// What the firmware would boot of every revision that the cell names, where it reads slots.
fn in_slots(slots: &mut Slots<Part>, wanted: &Wanted, mounted: &Path, findings: &mut Findings) {
    for id in named(wanted) {
        let found = files(mounted, id).and_then(|files| {
            let (path, object) = files.into_iter().next().ok_or("its state boots nothing")?;
            let file = mounted.join("trails").join(id.as_str()).join(&path);
            let length = std::fs::metadata(&file).map_err(|error| format!("{}: {error}", file.display()))?.len();
            let slot =
                slots.verify(id, &Image { name: path, id: object, length }).map_err(|error| error.to_string())?;
            Ok(format!("slot {slot}: {length} bytes, as its state says"))
        });
        findings.law(&format!("slot-image {id}"), found);
    }
}

/// The revisions in the cell, each once.
fn named(wanted: &Wanted) -> Vec<&RevisionId> {
    let trial = wanted.trial.as_ref().map(|trial| &trial.revision);
    let named = [Some(&wanted.default), wanted.previous.as_ref(), wanted.factory.as_ref(), trial];
    let mut seen: Vec<&RevisionId> = Vec::new();
    for id in named.into_iter().flatten() {
        if !seen.contains(&id) {
            seen.push(id);
        }
    }
    seen
}

/// The boot files of a revision: paths in its trail, and whose bytes they are.
fn files(mounted: &Path, id: &RevisionId) -> Result<Vec<(String, ObjectId)>, String> {
    let revision = Revision::parse(&state(mounted, id)?).map_err(|error| error.to_string())?;
    boot_files(&revision, id).map_err(|error| error.to_string())
}

/// The bytes of a revision's state, as the running system has them.
fn state(mounted: &Path, id: &RevisionId) -> Result<Vec<u8>, String> {
    let path = mounted.join("trails").join(id.as_str()).join(".pvr/json");
    let about = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let file = std::fs::File::open(&path).map_err(|error| about(&error))?;
    let mut bytes = Vec::new();
    let most = Limits::STATE.bytes as u64;
    file.take(most + 1).read_to_end(&mut bytes).map_err(|error| about(&error))?;
    if bytes.len() as u64 > most { Err(about(&"it is too long for a state")) } else { Ok(bytes) }
}

/// The id and length of a file of the storage, as the medium has it.
pub(super) fn unreplayed(storage: &Device, path: &str) -> Result<(ObjectId, u64), String> {
    let part = storage.part.as_ref().ok_or("the storage is no partition")?;
    let start = storage.start().ok_or("the kernel does not say where the storage starts")?;
    let disk = PathBuf::from("/dev").join(&part.disk);
    let about = |error: &dyn std::fmt::Display| format!("{}: {error}", disk.display());
    let disk_sectors = FileSectors::open_to_read(&disk).map_err(|error| about(&error))?;
    let window = Window::new(disk_sectors, start, storage.size).map_err(|error| about(&error))?;
    let mut hash = Hasher::default();
    let mut ext4 = Ext4::open(window).map_err(|error| error.to_string())?;
    let bytes = ext4.read(path, &mut |piece| hash.update(piece)).map_err(|error| error.to_string())?;
    Ok((hash.finish(), bytes))
}
