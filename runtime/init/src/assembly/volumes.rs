//! What is mounted for a container, from its manifest: images, trees of the trail, and storage.

use container::image::Kind;
use formats::device_json::{Device, DiskKind};
use formats::run_json::Manifest;
use formats::volume::{self, Persistence, Storage};

use super::error::{AssemblyError, Refusal};

/// A volume of a container. Its place is `/volumes/CONTAINER/NAME`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Volume {
    /// Its name: the file of an image, or that of its storage.
    pub name: String,
    /// What is there.
    pub what: What,
}

/// What a volume is made of. Files of the revision are named by their key in the state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// A file system in an image, read-only.
    Image(Kind),
    /// A copy of a file, gone with its container.
    Copy,
    /// A directory of the trail, read-only: its files are the store's own.
    Tree,
    /// A writable directory.
    Storage {
        /// How long its content lives.
        persistence: Persistence,
        /// The `volume-disk` it lies on; `None` is the storage of the device.
        disk: Option<String>,
    },
}

/// The volumes of a container, in the order in which they are mounted.
pub(super) fn of(manifest: &Manifest, device: &Device) -> Result<Vec<Volume>, AssemblyError> {
    let mut volumes: Vec<Volume> = Vec::new();
    for (at, image) in manifest.images().enumerate() {
        let member = if at == 0 && manifest.root_volume.is_some() { "root-volume" } else { "volumes" };
        let what = what(image).map_err(|why| AssemblyError::member(manifest, member, why))?;
        let volume = Volume { name: image.file.clone(), what };
        // A root that is listed once more is still one image.
        if !volumes.contains(&volume) {
            add(&mut volumes, volume).map_err(|why| AssemblyError::member(manifest, member, why))?;
        }
    }
    for storage in &manifest.storage {
        let member = format!("storage.{}", storage.name);
        let disk = disk(storage, device).map_err(|why| AssemblyError::member(manifest, member.clone(), why))?;
        let what = What::Storage { persistence: storage.persistence, disk };
        let volume = Volume { name: storage.name.clone(), what };
        add(&mut volumes, volume).map_err(|why| AssemblyError::member(manifest, member, why))?;
    }
    Ok(volumes)
}

pub(super) fn what(image: &volume::Volume) -> Result<What, Refusal> {
    if image.verity {
        return Err(Refusal::Verity);
    }
    match image.mount() {
        Some(volume::Mount::Bind) => Ok(What::Copy),
        Some(volume::Mount::Data) => Ok(What::Tree),
        Some(volume::Mount::FileSystem(kind)) => {
            Kind::parse(kind).map(What::Image).ok_or_else(|| Refusal::FileSystem(kind.to_owned()))
        }
        None => Err(Refusal::FileSystem(String::new())),
    }
}

fn add(volumes: &mut Vec<Volume>, volume: Volume) -> Result<(), Refusal> {
    let within = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if volumes.iter().any(|other| within(&other.name, &volume.name) || within(&volume.name, &other.name)) {
        return Err(Refusal::Taken(volume.name));
    }
    volumes.push(volume);
    Ok(())
}

/// The disk that storage lies on.
fn disk(storage: &Storage, device: &Device) -> Result<Option<String>, Refusal> {
    let named = storage.disk.as_deref().and_then(|name| device.disk(name));
    // Memory is no disk: what lives until the next boot goes to one only where it asks for it.
    let default = device.disks.iter().find(|disk| disk.default && storage.persistence != Persistence::Boot);
    let Some(disk) = named.or(default) else { return Ok(None) };
    if disk.kind != DiskKind::Volume || disk.provision.is_some() {
        return Err(Refusal::Disk(disk.kind.as_str().to_owned()));
    }
    Ok(Some(disk.name.clone()))
}
