//! The files that depend on nothing but the kernel, the firmware and the recipe: made once, and kept.
//!
//! ```text
//!   target/boards/BOARD/kernels/KEY/kernel.img
//!                                   modules_RELEASE.squashfs     what is mounted at /lib/modules/RELEASE
//!                                   firmware.squashfs            what is mounted at /lib/firmware
//!                                   NAME.dtb
//! ```
//!
//! Promises: the same packages and recipe give the same bytes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::device_tree;
use super::initramfs::Early;
use super::modules::Modules;
use super::recipe::Recipe;
use super::source::{self, Source};
use crate::run::tools::quiet;
use crate::term::Out;

pub(crate) const KERNEL: &str = "kernel.img";
pub(crate) const FIRMWARE: &str = "firmware.squashfs";

/// The name of the image of modules.
pub(crate) fn modules_name(release: &str) -> String {
    format!("modules_{release}.squashfs")
}

/// Writes the files into an empty directory.
pub(crate) fn write(recipe: &Recipe, source: &Source, into: &Path, out: Out) -> Result<()> {
    copy(&source.image, &into.join(KERNEL))?;
    if let Some(fdt) = &source.fdt {
        let place = into.join(fdt.file_name().unwrap_or_default());
        copy(fdt, &place)?;
        device_tree::change(&place, &recipe.device_tree).with_context(|| fdt.display().to_string())?;
    }
    let work = into.join("work");
    let staged = stage_modules(recipe, source, &work, out)?;
    squashfs(&staged, &into.join(modules_name(&source.release)), source)?;
    if let Some(firmware) = &recipe.firmware {
        let from = source.firmware.as_deref().context("the recipe wants firmware, and there is none")?;
        let staged = work.join("firmware");
        for file in &firmware.files {
            let (name, path) = file.split_once(" from ").unwrap_or((file, file));
            copy_below(&from.join(path), &staged.join(name))?;
        }
        squashfs(&staged, &into.join(FIRMWARE), source)?;
    }
    fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))
}

/// The modules of the initramfs in the order of loading.
pub(crate) fn early(recipe: &Recipe, modules: &Modules) -> Result<Vec<Early>> {
    let wishes: Vec<_> =
        recipe.modules.early.iter().map(|wish| wish.split_once(' ').unwrap_or((wish.as_str(), ""))).collect();
    let paths = modules.order(wishes.iter().map(|(name, _)| *name))?;
    paths
        .into_iter()
        .map(|path| {
            let file = file_name(path);
            let stem = file.trim_end_matches(".ko").replace('-', "_");
            let told = wishes.iter().find(|(name, _)| name.replace('-', "_") == stem);
            let parameters = told.map_or("", |(_, parameters)| parameters).to_owned();
            Ok(Early { parameters, bytes: plain(&modules.dir.join(path))?, file })
        })
        .collect()
}

/// A tree with the modules that are shipped, and the lists of them.
fn stage_modules(recipe: &Recipe, source: &Source, work: &Path, out: Out) -> Result<PathBuf> {
    let modules = Modules::read(&source.modules)?;
    let wishes = recipe.modules.ship.iter().map(|wish| modules.named(wish)).collect::<Result<Vec<_>>>()?;
    let early = recipe.modules.early.iter().filter_map(|wish| wish.split(' ').next());
    let paths = modules.order(early.chain(wishes.into_iter().flatten()))?;
    let staged = work.join("lib/modules").join(&source.release);
    for path in paths {
        let place = staged.join(path).with_file_name(file_name(path));
        fs::create_dir_all(place.parent().unwrap_or(&place))?;
        fs::write(&place, plain(&source.modules.join(path))?)
            .with_context(|| format!("cannot write {}", place.display()))?;
    }
    for list in ["modules.order", "modules.builtin", "modules.builtin.modinfo"] {
        if source.modules.join(list).is_file() {
            copy(&source.modules.join(list), &staged.join(list))?;
        }
    }
    source::depmod(work, &staged, out)?;
    Ok(staged)
}

/// The name of a module's file once it is not compressed.
fn file_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split_once(".ko").map_or_else(|| file.to_owned(), |(name, _)| format!("{name}.ko"))
}

/// The bytes of a module, not compressed: the kernel is handed what it can link, and an image compresses better itself.
fn plain(path: &Path) -> Result<Vec<u8>> {
    let program = match path.extension().and_then(|kind| kind.to_str()) {
        Some("gz") => "gzip",
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => return fs::read(path).with_context(|| format!("cannot read {}", path.display())),
    };
    let output = Command::new(program).args(["--decompress", "--stdout"]).arg(path).output();
    let output = output.with_context(|| format!("{} needs the program {program}", path.display()))?;
    if !output.status.success() {
        bail!("{}: {}", path.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}

/// The image of a directory, compressed as well as the kernel can read it.
fn squashfs(dir: &Path, image: &Path, source: &Source) -> Result<()> {
    let compression: &[&str] = match () {
        () if source.has("CONFIG_SQUASHFS_ZSTD") => &["-comp", "zstd", "-Xcompression-level", "19"],
        () if source.has("CONFIG_SQUASHFS_XZ") => &["-comp", "xz"],
        () => &["-comp", "gzip"],
    };
    let mut command = Command::new("mksquashfs");
    command.args([dir, image]).args(["-noappend", "-quiet", "-no-progress", "-all-root", "-no-xattrs"]);
    quiet(command.args(["-all-time", "0", "-mkfs-time", "0"]).args(compression))
}

/// Copies a file or a directory of firmware, links as what they point to.
fn copy_below(from: &Path, to: &Path) -> Result<()> {
    if !from.is_dir() {
        fs::create_dir_all(to.parent().unwrap_or(to))?;
        return copy(from, to);
    }
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        copy_below(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Copies a file, readable for all.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(fs::set_permissions(to, fs::Permissions::from_mode(0o644))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_module_says_nothing_of_how_it_was_compressed() {
        for path in ["kernel/a/b.ko", "kernel/a/b.ko.xz", "b.ko.zst"] {
            assert_eq!(file_name(path), "b.ko");
        }
    }

    #[test]
    fn a_compressed_module_is_unpacked_and_a_broken_one_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.ko.gz");
        let gzip = super::super::initramfs::Compression::Gzip;
        fs::write(&path, gzip.pack(b"module").unwrap()).unwrap();
        assert_eq!(plain(&path).unwrap(), b"module");
        fs::write(&path, b"no gzip").unwrap();
        assert!(plain(&path).is_err());
    }
}
