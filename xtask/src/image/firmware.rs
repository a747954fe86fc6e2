//! What the firmware of a board starts, made of the board's own script: GRUB in one file, `boot.scr`, a first-stage loader.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use boards_all::{Board as _, OrangePiPc, QemuArm64Uboot, QemuArm64UbootAb, QemuX86Grub};
use boards_api::board::Role;

use super::source::{Blob, From, ImageSource, Item};
use super::tool;
use crate::arch::Arch;
use crate::run::image::tree::Tree;
use crate::term::Out;
use crate::{bsp, packages, vendor};

/// Adds it to an image. `work` is a directory for passing files; `given`: `--firmware` has brought files already.
pub(super) fn add(source: &mut ImageSource, given: bool, work: &Path, out: Out) -> Result<()> {
    let board = source.board.clone();
    let script = vendor::script(&board).map(|script| with_arguments(script, &source.arguments)).transpose()?;
    match (vendor::like(&board), script) {
        (Some(QemuX86Grub::NAME), Some(script)) => {
            let loader = grub(script, work)?;
            source.add(Role::Firmware, Item::new(board_qemu_x86_64_grub::LOADER, From::Bytes(loader)))
        }
        (Some(QemuArm64Uboot::NAME | QemuArm64UbootAb::NAME), Some(script)) => boot_script(source, &script, work),
        (Some(OrangePiPc::NAME), Some(script)) => {
            let (package, path) = board_qemu_arm_orangepi_pc::LOADER;
            let [dir] = packages::fetch(Arch::Armv7.debian(), &[package], out)?
                .try_into()
                .map_err(|_| anyhow::anyhow!("{package} was fetched, and is not one package"))?;
            let loader = PathBuf::from(&dir).join(path);
            source.blobs.push(Blob { at: board_qemu_arm_orangepi_pc::LOADER_AT, from: From::File(loader) });
            boot_script(source, &script, work)
        }
        // A vendor's own U-Boot; what else it needs beside its script, nobody here can know.
        (None, Some(script)) => boot_script(source, &script, work),
        _ if given => Ok(()),
        _ => bail!("what the firmware of {board} starts comes from its maker: give it with --firmware"),
    }
}

/// What every script hands over to PID 1, behind all other words.
const ROLE: &str = "cairn.role=";

/// The script with more words on the kernel's command line.
fn with_arguments(script: String, words: &str) -> Result<String> {
    if words.is_empty() {
        return Ok(script);
    }
    // Neither shell of a bootloader would take others as they are.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || " .,:=/_-".contains(c);
    ensure!(words.chars().all(is_plain), "{words:?} are no words for a boot script: letters, digits, . , : = / _ -");
    ensure!(!words.contains(ROLE), "{ROLE} is said by the boot script alone");
    ensure!(script.contains(ROLE), "the boot script says no {ROLE}, so nobody knows where its words are");
    Ok(script.replace(ROLE, &format!("{words} {ROLE}")))
}

/// GRUB with its modules and the script of the board in one file.
fn grub(script: String, work: &Path) -> Result<Vec<u8>> {
    let list = packages::need("grub-efi-amd64-bin", "usr/lib/grub/x86_64-efi/moddep.lst")?;
    let modules = list.parent().context("a file without a directory")?;
    let (archive, loader) = (work.join("memdisk.tar"), work.join("loader.efi"));
    fs::write(&archive, Tree::default().file("boot/grub/grub.cfg", 0o644, script).tar()?)?;
    let mut make = tool("grub-mkimage");
    make.args(["-O", "x86_64-efi", "-p", "(memdisk)/boot/grub", "-d"]).arg(modules);
    run(make.arg("-m").arg(&archive).arg("-o").arg(&loader).args(board_qemu_x86_64_grub::MODULES), "grub-common")?;
    super::read(&loader)
}

/// The script of the board as U-Boot's `source` takes it.
fn boot_script(source: &mut ImageSource, of_board: &str, work: &Path) -> Result<()> {
    let (text, script) = (work.join("boot.cmd"), work.join("boot.scr"));
    fs::write(&text, of_board)?;
    let arch = match bsp::arch(&source.board)? {
        Arch::X86_64 => "x86_64",
        Arch::Aarch64 => "arm64",
        Arch::Armv7 => "arm",
    };
    let mut make = tool("mkimage");
    run(
        make.args(["-A", arch, "-T", "script", "-C", "none", "-n", &source.board, "-d"]).arg(&text).arg(&script),
        "u-boot-tools",
    )?;
    source.add(Role::Firmware, Item::new("boot.scr", From::Bytes(super::read(&script)?)))
}

fn run(command: &mut Command, package: &str) -> Result<()> {
    let shown = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {shown} (package {package})"))?;
    if !output.status.success() {
        bail!("{shown} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// The files of a directory, in the order of their names.
pub(super) fn directory(dir: &Path) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    let mut pending = vec![(dir.to_owned(), String::new())];
    while let Some((dir, prefix)) = pending.pop() {
        for entry in fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))? {
            let entry = entry?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            match entry.path() {
                path if path.is_dir() => pending.push((path, format!("{name}/"))),
                path => items.push(Item::new(name, From::File(path))),
            }
        }
    }
    items.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_the_kernel_stand_before_the_role_in_the_script_of_every_board() {
        for entry in boards_all::ENTRIES.iter().filter(|entry| !entry.script.is_empty()) {
            let script = entry.script.concat();
            let more = with_arguments(script.clone(), "mem=64M quiet").unwrap();
            assert!(more.contains("mem=64M quiet cairn.role=$"), "{}", entry.name);
            assert_eq!(with_arguments(script, "").unwrap(), more.replace("mem=64M quiet ", ""));
        }
    }

    #[test]
    fn words_that_a_shell_would_understand_are_refused() {
        let script = || "linux $1 cairn.role=$role".to_owned();
        for words in ["mem=$x", "a;b", "a\nb", "\"", "cairn.role=default"] {
            assert!(with_arguments(script(), words).is_err(), "{words}");
        }
        assert!(with_arguments("boot".to_owned(), "quiet").is_err());
    }
}
