//! The revisions that a device may have, as the workstation made them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use formats::bsp_json::{Boot, Bsp};
use formats::object::ObjectId;
use formats::state::{Class, Revision};
use statemachine::ids::RevisionId;

/// A revision with everything that belongs to it.
pub(crate) struct Known {
    pub(crate) id: RevisionId,
    /// Its state, byte for byte.
    pub(crate) state: Vec<u8>,
    /// What its trail holds, by path: objects, and values as text.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// Which of them are objects.
    pub(crate) objects: BTreeMap<ObjectId, String>,
    /// What a bootloader is given: the name in `.pv/`, and the path of the object.
    pub(crate) boot: Vec<(&'static str, String)>,
}

impl Known {
    /// A state with its objects.
    pub(crate) fn new(
        id: &RevisionId,
        state: Vec<u8>,
        mut object: impl FnMut(ObjectId) -> Result<Vec<u8>>,
    ) -> Result<Self> {
        let revision = Revision::parse(&state).map_err(|why| anyhow::anyhow!("the state of {id}: {why}"))?;
        let (mut files, mut objects) = (BTreeMap::new(), BTreeMap::new());
        for entry in revision.entries() {
            let bytes = match entry.class {
                Class::Object(of) => {
                    objects.insert(of, entry.key.to_owned());
                    object(of)?
                }
                Class::Manifest | Class::Services | Class::Inline => entry.raw.as_bytes().to_vec(),
                Class::Spec | Class::Ignored => continue,
            };
            files.insert(entry.key.to_owned(), bytes);
        }
        let bsp =
            Bsp::of(&revision, &mut Vec::new()).map_err(|why| anyhow::anyhow!("the base system of {id}: {why}"))?;
        let boot = match bsp.context("a revision without a base system boots nothing")?.boot {
            Boot::Linux { kernel, initrd, fdt } => {
                let linux = [("pv-kernel.img", Some(kernel)), ("pv-initrd.img", Some(initrd)), ("pv-fdt.dtb", fdt)];
                linux.into_iter().filter_map(|(name, file)| Some((name, format!("bsp/{}", file?)))).collect()
            }
            Boot::Fit(_) | Boot::Rpiab(_) => anyhow::bail!("only kernels in trails are looked at"),
        };
        Ok(Self { id: id.clone(), state, files, objects, boot })
    }
}

/// All of them, the oldest first.
pub(crate) struct Revisions(pub(crate) Vec<Known>);

impl Revisions {
    pub(crate) fn get(&self, id: &RevisionId) -> Option<&Known> {
        self.0.iter().find(|known| known.id == *id)
    }

    /// The bytes of an object of any of them.
    pub(crate) fn object(&self, id: ObjectId) -> Option<&[u8]> {
        self.0.iter().find_map(|known| known.files.get(known.objects.get(&id)?).map(Vec::as_slice))
    }
}
