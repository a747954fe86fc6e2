//! `bsp-containers/BOARD/NAME.toml`: what the base system of a board is made of. `NAME.lock` beside it says of which
//! bytes: a version, a hash and a size for each package, written by `cargo xtask bsp bump`.
//!
//! Promises: an unknown key is an error, in both files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use formats::object::ObjectId;
use serde::{Deserialize, Serialize};

use super::device_tree::Changes;
use super::initramfs::Conf;
use crate::arch::Arch;
use crate::packages::Pinned;
use crate::packages::apt::Apt;
use crate::term::Out;
use crate::vendor;

/// The name of a recipe when nobody names one.
pub(crate) const DEFAULT: &str = "bsp";

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Recipe {
    /// The processor.
    pub(crate) architecture: Arch,
    pub(crate) kernel: Kernel,
    /// Kernel and initramfs in one image, where the firmware starts such a thing.
    pub(crate) fit: Option<Fit>,
    pub(crate) modules: Wishes,
    pub(crate) firmware: Option<Firmware>,
    /// Properties of the device tree that are not as the kernel's makers have them.
    #[serde(default)]
    pub(crate) device_tree: Changes,
    /// What PID 1 uses if it is in the initramfs, by name: each an archive of its own, behind that of `cairn`.
    #[serde(default)]
    pub(crate) addons: BTreeMap<String, Addon>,
    /// Names for lists of modules with parameters, which a container may ask for: `bsp/drivers.json`.
    #[serde(default)]
    pub(crate) drivers: BTreeMap<String, Vec<String>>,
    /// Settings of every device of this board.
    #[serde(default)]
    conf: BTreeMap<String, String>,
    /// Where it was read.
    #[serde(skip)]
    path: PathBuf,
    /// As it was read.
    #[serde(skip)]
    pub(crate) text: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Kernel {
    /// The package; one that only names the newest of its kind is followed.
    package: String,
    /// The archive whose newest version `bump` takes; without it the newest of all.
    archive: Option<String>,
    /// What the board adds to the kernel's command line.
    #[serde(default)]
    pub(crate) command_line: String,
    /// The device tree, by the name of its file.
    pub(crate) fdt: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Fit {
    /// What the machine calls itself in its device tree; that of the image has no more than this.
    pub(crate) compatible: String,
    /// Where in memory the kernel is unpacked to.
    pub(crate) load: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Wishes {
    /// Loaded from the initramfs: a name, and after a blank its parameters.
    pub(crate) early: Vec<String>,
    /// In the image of modules, with what they need: names, or directories below `kernel/`, which end with `/`.
    pub(crate) ship: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Firmware {
    package: String,
    archive: Option<String>,
    /// Below `lib/firmware`: files and directories, `NAME`, or `NAME from PATH` where the package calls it otherwise.
    pub(crate) files: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Addon {
    package: String,
    archive: Option<String>,
    /// Files of the initramfs, `PATH`, or `PATH from PATH` where the package has it elsewhere.
    pub(crate) files: Vec<String>,
}

impl Recipe {
    pub(crate) fn read(board: &str, name: &str) -> Result<Self> {
        let dir = vendor::recipes(board);
        if [board, name].iter().any(|word| word.is_empty() || word.starts_with('.') || word.contains('/')) {
            bail!("{board} {name}: no names of a board and a recipe");
        }
        let path = dir.join(board).join(format!("{name}.toml"));
        if !path.is_file() {
            bail!("there is no {}; there are: {}", path.display(), boards(&dir).join(", "));
        }
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let recipe: Self = toml::from_str(&text).with_context(|| path.display().to_string())?;
        if recipe.kernel.fdt.is_none() && !recipe.device_tree.is_empty() {
            bail!("{}: changes a device tree and names none: add `fdt` to [kernel]", path.display());
        }
        Ok(Self { path, text, ..recipe })
    }

    /// The settings of every device of this board.
    pub(crate) fn conf(&self) -> Conf {
        self.conf.iter().fold(Conf::default(), |conf, (key, value)| conf.set(key, value))
    }

    fn lock_path(&self) -> PathBuf {
        self.path.with_extension("lock")
    }

    /// What is pinned.
    pub(crate) fn lock(&self) -> Result<Lock> {
        let path = self.lock_path();
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}: bump it", path.display()))?;
        toml::from_str(&text).with_context(|| path.display().to_string())
    }

    /// What the distribution serves now.
    pub(crate) fn newest(&self, out: Out) -> Result<Lock> {
        let apt = Apt::open(self.architecture.debian(), out)?;
        apt.update(out)?;
        let firmware = self.firmware.as_ref();
        let addons = self.addons.iter();
        Ok(Lock {
            kernel: newest(&apt, &self.kernel.package, self.kernel.archive.as_deref())?,
            firmware: firmware
                .map(|firmware| newest(&apt, &firmware.package, firmware.archive.as_deref()))
                .transpose()?,
            addons: addons
                .map(|(name, addon)| Ok((name.clone(), newest(&apt, &addon.package, addon.archive.as_deref())?)))
                .collect::<Result<_>>()?,
        })
    }

    /// Pins it.
    pub(crate) fn write_lock(&self, lock: &Lock) -> Result<()> {
        let text = format!("# Written by `cargo xtask bsp bump`.\n\n{}", toml::to_string(lock)?);
        let path = self.lock_path();
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// The boards that have a recipe, sorted.
fn boards(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    let with = entries.filter(|entry| entry.path().join(format!("{DEFAULT}.toml")).is_file());
    let mut names: Vec<_> = with.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Packages by their bytes.
#[derive(Serialize, Deserialize, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lock {
    pub(crate) kernel: Locked,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) firmware: Option<Locked>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) addons: BTreeMap<String, Locked>,
}

/// A package by its bytes.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Locked {
    pub(crate) package: String,
    pub(crate) version: String,
    /// SHA-256 of the archive.
    pub(crate) sha256: String,
    /// Bytes of the archive.
    pub(crate) size: u64,
}

impl Locked {
    /// The same, for whoever fetches it.
    pub(crate) fn pinned(&self, arch: Arch) -> Result<Pinned<'_>> {
        let sha256 = ObjectId::parse(&self.sha256).with_context(|| format!("{} is no SHA-256", self.sha256))?;
        Ok(Pinned { arch, name: &self.package, version: &self.version, sha256, size: self.size })
    }
}

impl Lock {
    /// What another one has instead, a line for each package.
    pub(crate) fn changes(&self, new: &Self) -> Vec<String> {
        let show = |locked: Option<&Locked>| {
            locked.map_or_else(|| "nothing".into(), |l| format!("{} {} ({} bytes)", l.package, l.version, l.size))
        };
        let fixed = [
            ("kernel", Some(&self.kernel), Some(&new.kernel)),
            ("firmware", self.firmware.as_ref(), new.firmware.as_ref()),
        ];
        let names: BTreeSet<&str> = self.addons.keys().chain(new.addons.keys()).map(String::as_str).collect();
        let addons = names.into_iter().map(|name| (name, self.addons.get(name), new.addons.get(name)));
        fixed
            .into_iter()
            .chain(addons)
            .filter(|(_, old, new)| old != new)
            .map(|(what, old, new)| format!("{what}: {} → {}", show(old), show(new)))
            .collect()
    }
}

/// The newest version of a package, followed to the package with the bytes.
fn newest(apt: &Apt, name: &str, archive: Option<&str>) -> Result<Locked> {
    let served = apt.versions(name)?;
    let served = served.into_iter().find(|served| archive.is_none_or(|archive| served.archive == archive));
    let place = archive.map_or_else(String::new, |archive| format!(" in {archive}"));
    let served = served.with_context(|| format!("the distribution serves no {name}{place}"))?;
    let fields = apt.fields(name, &served.version)?;
    let field = |key: &str| fields.iter().find(|(one, _)| one == key).map(|(_, value)| value.as_str());
    if let Some(real) = field("Depends").and_then(|depends| follows(name, depends)) {
        return newest(apt, real, archive);
    }
    let need = |key: &str| field(key).with_context(|| format!("the index has no {key} of {name}"));
    Ok(Locked {
        sha256: need("SHA256")?.to_owned(),
        size: need("Size")?.parse().with_context(|| format!("the size of {name}"))?,
        package: served.name,
        version: served.version,
    })
}

/// The kernel that a package without files stands for: `linux-image-arm64` depends on `linux-image-6.1.0-50-arm64`.
fn follows<'a>(name: &str, depends: &'a str) -> Option<&'a str> {
    let mut names = depends.split(',').filter_map(|one| one.split_whitespace().next());
    names.find(|other| *other != name && name.starts_with("linux-image-") && other.starts_with("linux-image-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo;

    fn locked(version: &str) -> Locked {
        Locked { package: "linux-image-6.1".into(), version: version.into(), sha256: "00".repeat(32), size: 7 }
    }

    #[test]
    fn a_package_without_files_is_followed_and_no_other_is() {
        let depends = "linux-image-6.1.0-50-arm64 (= 6.1.1-1), other";
        assert_eq!(follows("linux-image-arm64", depends), Some("linux-image-6.1.0-50-arm64"));
        assert_eq!(follows("linux-image-6.1.0-50-arm64", "kmod, linux-base (>= 4.3~)"), None);
        assert_eq!(follows("wireless-regdb", depends), None);
    }

    #[test]
    fn a_lock_is_read_as_it_was_written_and_an_unknown_key_is_an_error() {
        let lock = Lock { kernel: locked("6.1.1-1"), firmware: None, addons: BTreeMap::new() };
        let text = toml::to_string(&lock).unwrap();
        assert_eq!(toml::from_str::<Lock>(&text).unwrap(), lock);
        assert!(toml::from_str::<Lock>(&format!("{text}other = 1\n")).is_err());
    }

    #[test]
    fn changes_are_named_by_package_and_version() {
        let [old, new] =
            ["1", "2"].map(|version| Lock { kernel: locked(version), firmware: None, addons: BTreeMap::new() });
        assert!(old.changes(&old).is_empty());
        assert_eq!(old.changes(&new), ["kernel: linux-image-6.1 1 (7 bytes) → linux-image-6.1 2 (7 bytes)"]);
        let addons = BTreeMap::from([("e2fsck".to_owned(), locked("4"))]);
        let with = Lock { firmware: Some(locked("3")), addons, ..new };
        let changes = old.changes(&with);
        assert_eq!(changes.len(), 3);
        assert_eq!(changes.last().unwrap(), "e2fsck: nothing → linux-image-6.1 4 (7 bytes)");
    }

    #[test]
    fn every_recipe_of_the_tree_and_its_lock_are_understood() {
        let dir = cargo::root().join("bsp-containers");
        let boards = boards(&dir);
        assert!(!boards.is_empty());
        for board in boards {
            for entry in fs::read_dir(dir.join(&board)).unwrap().filter_map(Result::ok) {
                let path = entry.path();
                if path.extension().is_some_and(|kind| kind == "toml") {
                    let recipe = Recipe::read(&board, path.file_stem().unwrap().to_str().unwrap()).unwrap();
                    let lock = recipe.lock().unwrap();
                    assert!(lock.kernel.pinned(recipe.architecture).is_ok(), "{}", path.display());
                    assert_eq!(lock.firmware.is_some(), recipe.firmware.is_some(), "{}", path.display());
                    assert!(lock.addons.keys().eq(recipe.addons.keys()), "{}", path.display());
                }
            }
        }
    }
}
