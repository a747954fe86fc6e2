//! Where the objects of a transaction go, and which are there.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::Path;

use formats::json::{self, Limits, Value};
use formats::object::ObjectId;
use store::dir::Dir;
use store::objects::{ObjectError, Objects};

use super::input::Bytes;
use super::package::{Package, Sink};
use super::place::{Target, storage};
use crate::client::{Body, Client, TEXT_MAX};
use crate::failure::{About, Failure};
use crate::run::Progress;
use crate::tx::Result;

/// A list of all objects of a device; most have some hundreds.
const LIST: Limits = Limits { bytes: TEXT_MAX as usize, depth: 4, values: 262_144 };

/// The store of a device, or a directory.
pub(super) enum Shelf {
    /// The device, and what it has had.
    Device(Client, BTreeSet<ObjectId>),
    Local(Objects),
}

impl Shelf {
    /// Opens what this transaction works with. `device` finds the device, if that is it.
    pub(super) fn open(target: &Target, device: impl FnOnce() -> Result<Client>) -> Result<Self> {
        match target {
            Target::Local(objects) => Self::local(objects),
            Target::Device => {
                let client = device()?;
                let list = client.get("/objects", About::Other)?.text(TEXT_MAX)?;
                Ok(Self::Device(client, ids(&list).ok_or(Failure::answer("no list of objects"))?))
            }
        }
    }

    pub(super) fn local(objects: &Path) -> Result<Self> {
        fs::create_dir_all(objects).map_err(Failure::at("cannot keep objects in", objects))?;
        Ok(Self::Local(Objects::at(Dir::open(objects).map_err(storage)?)))
    }

    fn has(&self, id: ObjectId) -> Result<bool> {
        match self {
            Self::Device(_, here) => Ok(here.contains(&id)),
            Self::Local(objects) => Ok(objects.size(id).map_err(|error| object(&error))?.is_some()),
        }
    }

    /// Takes a package in: its objects are here then, all that it names.
    pub(super) fn take(&mut self, bytes: &mut dyn Bytes, what: &str) -> Result<Package> {
        let package = Package::read(bytes, what, self)?;
        for (key, id) in package.parts.objects() {
            if !package.objects.contains(&id) && !self.has(id)? {
                let place = if matches!(self, Self::Local(_)) { "among the objects" } else { "on the device" };
                return Err(Failure::state(format!("{key}: its object {id} is neither in {what} nor {place}")));
            }
        }
        Ok(package)
    }
}

impl Sink for Shelf {
    fn object(&mut self, id: ObjectId, size: u64, bytes: &mut dyn Read) -> Result<()> {
        match self {
            // Whoever calls reads it to its end, to see that it is right.
            Self::Device(_, here) if here.contains(&id) => Ok(()),
            Self::Device(client, here) => {
                let mut progress = Progress::new("sent", true);
                let watch = &mut |done, all| progress.tell(done, all);
                let body = Body { bytes, length: size };
                client.request("PUT", &format!("/objects/{id}"), body, About::Object, watch)?;
                here.insert(id);
                Ok(())
            }
            Self::Local(objects) => {
                let mut bytes = bytes;
                objects.put(id, &mut bytes, size).map(drop).map_err(|error| object(&error))
            }
        }
    }
}

/// A failure of the store, with the code for it.
pub(super) fn object(error: &ObjectError) -> Box<Failure> {
    let exit = match error {
        ObjectError::NoSpace { .. } | ObjectError::NoRoom { .. } => 48,
        ObjectError::Refused { .. } | ObjectError::Damaged { .. } => 60,
        ObjectError::Dir(why) => return storage(why.clone()),
        _ => 255,
    };
    Failure::own(exit, error.to_string())
}

fn ids(list: &str) -> Option<BTreeSet<ObjectId>> {
    let value = json::parse(list.as_bytes(), LIST).ok()?;
    let mut ids = BTreeSet::new();
    for one in value.as_array()? {
        ids.insert(one.as_object()?.get("sha256").and_then(Value::as_str).and_then(ObjectId::parse)?);
    }
    Some(ids)
}
