//! Where a kernel comes from: a package of the distribution, or a directory that Yocto or Buildroot has left.
//!
//! | | package | directory |
//! |---|---|---|
//! | kernel | `boot/vmlinuz-RELEASE` | `bzImage`, `zImage`, `Image`, `vmlinuz…` in it, in `boot/` or in `images/` |
//! | modules | `lib/modules/RELEASE` | the same, or below `target/` |
//! | configuration | `boot/config-RELEASE` | the same, or `.config`; without one nothing is compressed |
//! | device tree | `usr/lib/linux-image-RELEASE/` | anywhere in it |
//! | firmware | another package | `lib/firmware`, or below `target/` |

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::recipe::{Lock, Recipe};
use crate::arch::Arch;
use crate::packages;
use crate::run::tools::quiet;
use crate::term::Out;

/// What a base system is made of.
pub(crate) struct Source {
    /// What `uname -r` says.
    pub(crate) release: String,
    /// The kernel.
    pub(crate) image: PathBuf,
    /// The text of its configuration, if it is known.
    pub(crate) config: String,
    /// The directory of its modules, which `depmod` has seen.
    pub(crate) modules: PathBuf,
    /// The device tree that was asked for.
    pub(crate) fdt: Option<PathBuf>,
    /// The directory of firmware.
    pub(crate) firmware: Option<PathBuf>,
}

impl Source {
    /// The packages that are pinned.
    pub(crate) fn packages(recipe: &Recipe, lock: &Lock, out: Out) -> Result<Self> {
        let arch = recipe.architecture;
        let bump = "if the distribution has moved on: cargo xtask bsp bump";
        let tree = packages::pinned(&lock.kernel.pinned(arch)?, out).context(bump)?;
        let firmware = match &lock.firmware {
            Some(locked) => Some(packages::pinned(&locked.pinned(arch)?, out).context(bump)?.join("lib/firmware")),
            None => None,
        };
        let modules = only_directory(&tree.join("lib/modules"))?;
        if !modules.join("modules.dep").is_file() {
            depmod(&tree, &modules, out)?;
        }
        Self::of(&tree, &modules, recipe.kernel.fdt.as_deref(), firmware)
    }

    /// A directory of somebody else's, which is not changed.
    pub(crate) fn directory(dir: &Path, recipe: &Recipe) -> Result<Self> {
        let below =
            |path: &str| ["", "target"].map(|root| dir.join(root).join(path)).into_iter().find(|path| path.is_dir());
        let modules = below("lib/modules").with_context(|| format!("{} has no lib/modules", dir.display()))?;
        let modules = only_directory(&modules)?;
        Self::of(dir, &modules, recipe.kernel.fdt.as_deref(), below("lib/firmware"))
    }

    fn of(dir: &Path, modules: &Path, fdt: Option<&str>, firmware: Option<PathBuf>) -> Result<Self> {
        let release = modules.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let config = [format!("boot/config-{release}"), ".config".into()];
        let config = config.iter().find_map(|name| fs::read_to_string(dir.join(name)).ok()).unwrap_or_default();
        let fdt =
            fdt.map(|name| find(dir, name).with_context(|| format!("{} has no {name}", dir.display()))).transpose()?;
        Ok(Self { image: image(dir)?, release, config, modules: modules.to_owned(), fdt, firmware })
    }

    /// Whether an option of the kernel's configuration is set, or made a module.
    pub(crate) fn has(&self, option: &str) -> bool {
        self.config.lines().any(|line| line.strip_prefix(option).is_some_and(|rest| matches!(rest, "=y" | "=m")))
    }
}

/// Lists what the modules of a tree need: `modules.dep` and its like.
pub(crate) fn depmod(tree: &Path, modules: &Path, out: Out) -> Result<()> {
    let release = modules.file_name().unwrap_or_default();
    // One program for all of its names; the links to it are absolute.
    let kmod = match packages::program("kmod", "bin/kmod") {
        Some(program) => program,
        None => {
            packages::fetch(Arch::host()?.debian(), &["kmod"], out)?.iter().map(|tree| tree.join("bin/kmod")).collect()
        }
    };
    quiet(Command::new(kmod).arg0("depmod").arg("-b").arg(tree).arg(release))
}

/// The only directory in a directory.
fn only_directory(dir: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut dirs: Vec<_> =
        entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    match (dirs.pop(), dirs.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(_), false) => bail!("{} has modules of several kernels", dir.display()),
        (None, _) => bail!("{} has no modules", dir.display()),
    }
}

/// The kernel in a directory.
fn image(dir: &Path) -> Result<PathBuf> {
    let is_kernel = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        path.is_file() && (matches!(name.as_str(), "bzImage" | "zImage" | "Image") || name.starts_with("vmlinuz"))
    };
    let places = ["", "boot", "images"].map(|sub| dir.join(sub));
    let entries = places.iter().filter_map(|place| fs::read_dir(place).ok()).flatten().filter_map(Result::ok);
    let mut kernels: Vec<_> = entries.map(|entry| entry.path()).filter(is_kernel).collect();
    match (kernels.pop(), kernels.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(one), false) => bail!("{} has several kernels, {} among them", dir.display(), one.display()),
        (None, _) => bail!("{} has no kernel", dir.display()),
    }
}

/// The first file of this name at any depth, in the order of names.
fn find(dir: &Path, name: &str) -> Option<PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(dir).ok()?.filter_map(Result::ok).map(|entry| entry.path()).collect();
    entries.sort();
    let here = entries.iter().find(|path| path.file_name().is_some_and(|file| file == name) && path.is_file());
    here.cloned()
        .or_else(|| entries.iter().filter(|path| path.is_dir() && !path.is_symlink()).find_map(|dir| find(dir, name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        dir
    }

    #[test]
    fn a_directory_of_yocto_and_one_of_buildroot_have_their_kernel_found() {
        for (files, kernel) in [
            (["boot/bzImage", "lib/modules/6.1/modules.dep"], "boot/bzImage"),
            (["images/Image", "target/lib/modules/6.1/modules.dep"], "images/Image"),
        ] {
            let dir = tree(&files);
            assert_eq!(image(dir.path()).unwrap(), dir.path().join(kernel));
        }
    }

    #[test]
    fn a_choice_that_nobody_made_is_an_error() {
        let dir = tree(&["Image", "zImage", "lib/modules/6.1/a", "lib/modules/6.2/a"]);
        assert!(image(dir.path()).is_err());
        assert!(only_directory(&dir.path().join("lib/modules")).unwrap_err().to_string().contains("several"));
        assert!(image(tree(&[]).path()).is_err());
    }

    #[test]
    fn a_device_tree_is_found_at_any_depth() {
        let dir = tree(&["usr/lib/linux-image-6.1/allwinner/board.dtb"]);
        assert!(find(dir.path(), "board.dtb").is_some());
        assert!(find(dir.path(), "other.dtb").is_none());
    }
}
