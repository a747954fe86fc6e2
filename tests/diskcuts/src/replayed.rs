//! A cut disk as Linux sees it: the storage with its journal replayed, and what lies in it.
//!
//! Laws: replaying the journal is all that the file system needs (`e2fsck -p`); every revision that the cells name is
//! there, file by file; an object has its name only if it has its bytes; what was told is so.

use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use boards_api::board::Role;
use formats::object::ObjectId;

use crate::disk::Disk;
use crate::ext4::Ext4;
use crate::known::{Known, Revisions};
use crate::promise::Promises;
use crate::unreplayed::{Shape, cells};

/// Whether the laws hold; else what breaks one. `work` is a directory of this thread's own.
pub(crate) fn check(
    disk: &Arc<Disk>,
    shape: &Shape,
    revisions: &Revisions,
    told: &Promises,
    work: &Path,
) -> Result<(), String> {
    let (storage, part) = repaired(disk, shape, work)?;
    let ext4 = Ext4::open(&storage, part).map_err(|why| why.to_string())?;
    let cells = cells(disk, shape).ok_or("the board finds no cells on the disk")?;
    let wanted = cells.wanted.map_err(|why| format!("the cell that Linux writes cannot be read: {why}"))?;
    for known in revisions.0.iter().filter(|known| wanted.names(&known.id)) {
        held(&ext4, known)?;
    }
    let newest = revisions.0.get(told.posted).ok_or("the log is of other revisions")?;
    if told.trail {
        held(&ext4, newest).map_err(|why| format!("it was told that the revision is there; {why}"))?;
    }
    for name in ext4.list("objects").map_err(|why| why.to_string())? {
        let Some(id) = ObjectId::parse(&name) else { continue };
        let bytes = ext4.read(&format!("objects/{name}")).map_err(|why| why.to_string())?;
        // What is known is compared, which is quicker than its sum.
        let is_right = revisions.object(id).map_or_else(|| ObjectId::of(&bytes) == id, |known| known == bytes);
        if !is_right {
            return Err(format!("objects/{name} has {} other bytes", bytes.len()));
        }
    }
    for id in &told.objects {
        ext4.read(&format!("objects/{id}"))
            .map_err(|why| format!("it was told that an object of the revision is there; {why}"))?;
    }
    Ok(())
}

/// The storage, its journal replayed, on a disk of its own.
pub(crate) fn repaired(disk: &Disk, shape: &Shape, work: &Path) -> Result<(Disk, Range<u64>), String> {
    let part = shape.part(Role::Store).ok_or("the board has no storage")?;
    let file = work.join("storage");
    let length = part.end - part.start;
    disk.save(part.start, length, &file).map_err(|error| format!("{}: {error}", file.display()))?;
    let path = format!("{}:/usr/local/sbin:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    // Preening replays, and mends what a power cut may leave by the rules of the file system; more it does not touch.
    let output = Command::new("e2fsck").args(["-f", "-p"]).arg(&file).env("PATH", path).output();
    let output = output.map_err(|error| format!("cannot run e2fsck (package e2fsprogs): {error}"))?;
    // 0: nothing was to mend; 1: something was, and is.
    if !matches!(output.status.code(), Some(0 | 1)) {
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        // Its first lines are its own name and that of the file.
        let said: Vec<_> =
            said.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("e2fsck 1.")).collect();
        let line = said.join("; ").replace(&file.display().to_string(), "the storage");
        return Err(format!("e2fsck has more to mend than it may alone ({}): {line}", output.status));
    }
    let storage = Disk::open(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok((storage, 0..length))
}

/// Whether all of a revision is in its trail.
fn held(ext4: &Ext4<'_>, known: &Known) -> Result<(), String> {
    let same = |path: String, wanted: &[u8]| match ext4.read(&path) {
        Ok(bytes) if bytes == wanted => Ok(()),
        Ok(bytes) => Err(format!("{path} has {} bytes that are not those of the revision", bytes.len())),
        Err(why) => Err(why.to_string()),
    };
    let trail = format!("trails/{}", known.id);
    same(format!("{trail}/.pvr/json"), &known.state)?;
    for (path, bytes) in &known.files {
        same(format!("{trail}/{path}"), bytes)?;
    }
    for (name, object) in &known.boot {
        same(format!("{trail}/.pv/{name}"), known.files.get(object).map(Vec::as_slice).unwrap_or_default())?;
    }
    known.objects.iter().try_for_each(|(id, path)| {
        same(format!("objects/{id}"), known.files.get(path).map(Vec::as_slice).unwrap_or_default())
    })
}
