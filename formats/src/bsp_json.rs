//! `bsp/run.json`: what the base system boots and mounts.
//!
//! ```text
//!   { "linux": "kernel.img", "initrd": "pantavisor", "fdt": "board.dtb" }     or  { "fit": "pantavisor.fit" }
//!   "modules_<release>" before "modules", "firmware", "addons": [ … ]         or  { "rpiab": "rpiboot.img.gz" }
//!   "bootloader": "u-boot.bin"                                                what loads all of that, where it can be replaced
//!   "root-volume": "root.squashfs"                                            where programs of the base system lie: its hooks
//! ```
//!
//! The bootloader is an image of the place that it boots from, from its first byte on, and taken over once the revision is the
//! default and at rest; a board that has one copy of it refuses the revision.
//!
//! API: [`Bsp::of`] a [`Revision`].

use alloc::string::String;
use alloc::vec::Vec;

use crate::document::{self, DocumentError, Item, Warning, Wrong};
use crate::state::Revision;
use crate::volume::Volume;

/// What a bootloader is given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Boot {
    /// One image that holds kernel, initramfs and device trees.
    Fit(String),
    /// The image of a Raspberry Pi boot partition, possibly compressed.
    Rpiab(String),
    /// Separate files.
    Linux {
        /// The kernel.
        kernel: String,
        /// The initramfs.
        initrd: String,
        /// The device tree.
        fdt: Option<String>,
    },
}

/// What the base system boots and mounts. Files are relative to `bsp/` and present in the revision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bsp {
    /// What a bootloader is given.
    pub boot: Boot,
    /// The image of `/lib/firmware`.
    pub firmware: Option<Volume>,
    /// Images of modules with the kernel release they are for; without one, for any.
    pub modules: Vec<(Option<String>, Volume)>,
    /// Archives that are added to the initramfs, in order.
    pub addons: Vec<String>,
    /// A bootloader. Cairn's own word: the formats of other tools have none for it.
    pub bootloader: Option<String>,
    /// The image with the programs of the base system. Cairn's own word, too.
    pub root: Option<Volume>,
}

impl Bsp {
    /// Reads the base system of a revision; `None` if it has none, as inside another system.
    ///
    /// # Errors
    /// [`DocumentError`] names the member, also when a file is not in the revision.
    pub fn of(revision: &Revision, warnings: &mut Vec<Warning>) -> Result<Option<Self>, DocumentError> {
        let Some(entry) = revision.get("bsp/run.json") else { return Ok(None) };
        let value = document::parse(entry.key, entry.raw)?;
        let members = Item::root(entry.key, &value).members()?;
        let known = [
            "#spec",
            "fit",
            "rpiab",
            "linux",
            "initrd",
            "fdt",
            "firmware",
            "addons",
            "initrd_config",
            "modules",
            "bootloader",
            "root-volume",
        ];
        warnings.extend(
            members
                .iter()
                .filter(|(key, _)| !known.contains(key) && !key.starts_with("modules_"))
                .map(|(_, item)| item.warning(document::Doubt::UnknownMember)),
        );
        let file = |item: &Item<'_, '_>| present(revision, item, item.file()?);
        let image = |item: &Item<'_, '_>| {
            let volume = Volume::read(item)?;
            present(revision, item, volume.file.clone())?;
            Ok(volume)
        };
        let boot = if let Some(fit) = members.read("fit", file)? {
            Boot::Fit(fit)
        } else if let Some(image) = members.read("rpiab", file)? {
            Boot::Rpiab(image)
        } else {
            Boot::Linux {
                kernel: file(&members.need("linux")?)?,
                initrd: file(&members.need("initrd")?)?,
                fdt: members.read("fdt", file)?,
            }
        };
        let mut modules = Vec::new();
        for (key, item) in members.iter() {
            match key.strip_prefix("modules_") {
                Some(release) => modules.push((Some(release.into()), image(&item)?)),
                None if key == "modules" => modules.push((None, image(&item)?)),
                None => {}
            }
        }
        Ok(Some(Self {
            boot,
            firmware: members.read("firmware", image)?,
            modules,
            addons: members.read("addons", |item| item.items()?.iter().map(file).collect())?.unwrap_or_default(),
            bootloader: members.read("bootloader", file)?,
            root: members.read("root-volume", image)?,
        }))
    }

    /// The image of modules for a kernel release: the one that names it, else the one for any.
    #[must_use]
    pub fn modules_for(&self, release: &str) -> Option<&Volume> {
        let of = |wanted: Option<&str>| self.modules.iter().find(|(one, _)| one.as_deref() == wanted);
        of(Some(release)).or_else(|| of(None)).map(|(_, volume)| volume)
    }
}

/// The file, if the revision has it.
fn present(revision: &Revision, item: &Item<'_, '_>, file: String) -> Result<String, DocumentError> {
    match revision.get(&alloc::format!("bsp/{file}")) {
        Some(_) => Ok(file),
        None => Err(item.error(Wrong::Unknown { what: "file", name: alloc::format!("bsp/{file}") })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;

    const ID: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn bsp(document: &str) -> Result<Bsp, String> {
        let files: String =
            ["kernel.img", "pantavisor", "b.dtb", "m.squashfs", "m6.squashfs", "pantavisor.fit", "a.xz4"]
                .iter()
                .map(|file| format!(r#","bsp/{file}":"{ID}""#))
                .collect();
        let text = format!(r##"{{"#spec":"pantavisor-service-system@1","bsp/run.json":{document}{files}}}"##);
        let revision = Revision::parse(text.as_bytes()).unwrap();
        Bsp::of(&revision, &mut Vec::new()).map(Option::unwrap).map_err(|error| error.to_string())
    }

    #[test]
    fn the_modules_that_name_the_kernel_win() {
        let bsp = bsp(r#"{"linux":"kernel.img","initrd":"pantavisor","fdt":"b.dtb","modules":"dm:m.squashfs",
            "modules_6.6.0":"m6.squashfs","addons":["a.xz4"],"initrd_config":""}"#)
        .unwrap();
        assert_eq!(bsp.modules_for("6.6.0").unwrap().file, "m6.squashfs");
        assert!(bsp.modules_for("6.6.1").unwrap().verity);
        assert_eq!(bsp.addons, ["a.xz4"]);
    }

    #[test]
    fn a_base_that_cannot_boot_is_refused() {
        for (document, why) in [
            (r#"{"linux":"kernel.img"}"#, "bsp/run.json: initrd: is missing"),
            ("{}", "linux: is missing"),
            (r#"{"fit":"other.fit"}"#, "no file \"bsp/other.fit\""),
            (r#"{"fit":"../x"}"#, "`..`"),
            (r#"{"fit":"pantavisor.fit","modules":"x.squashfs"}"#, "no file"),
            (r#"{"fit":"pantavisor.fit","addons":["x"]}"#, "no file"),
            (r#"{"fit":"pantavisor.fit","bootloader":"x"}"#, "no file"),
            (r#"{"fit":"pantavisor.fit","root-volume":"x.squashfs"}"#, "no file"),
        ] {
            let error = bsp(document).unwrap_err();
            assert!(error.contains(why), "{document}: {error}");
        }
        assert_eq!(bsp(r#"{"fit":"pantavisor.fit"}"#).unwrap().boot, Boot::Fit("pantavisor.fit".into()));
    }
}
