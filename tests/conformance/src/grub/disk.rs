//! Disks as the board's image has them, with many pairs of cells instead of one. No mount, no loop device, no root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use board_qemu_x86_64_grub::{LOADER, MODULES, QemuX86Grub};
use boards_api::Board;
use boards_api::board::{Content, Role};

const MIB: u64 = 1 << 20;

/// Mebibytes of the last partition, which the layout leaves open.
const REST: u64 = 16;

/// What the partitions of a disk are filled with, as directories.
pub(crate) struct Trees<'t> {
    pub(crate) firmware: &'t Path,
    pub(crate) recovery: &'t Path,
    pub(crate) storage: &'t Path,
}

impl Trees<'_> {
    fn of(&self, role: Role) -> Option<&Path> {
        match role {
            Role::Firmware => Some(self.firmware),
            Role::Recovery => Some(self.recovery),
            Role::Store => Some(self.storage),
            _ => None,
        }
    }
}

/// A GRUB that runs this configuration, at the place where UEFI looks for it; made as the board says, but for the modules
/// in `without`, whose commands the configuration replaces by functions of its own.
pub(crate) fn loader(work: &Path, firmware: &Path, config: &str, without: &[&str], with: &[&str]) -> Result<()> {
    let tree = work.join("memdisk");
    put(&tree.join("boot/grub/grub.cfg"), config.as_bytes())?;
    let archive = work.join("memdisk.tar");
    tool(Command::new("tar").arg("--format=ustar").arg("-C").arg(&tree).arg("-cf").arg(&archive).arg("boot"))?;
    let place = firmware.join(LOADER);
    fs::create_dir_all(place.parent().unwrap_or(firmware))?;
    let modules = MODULES.iter().filter(|module| !without.contains(module)).chain(with);
    let mut make = Command::new("grub-mkimage");
    make.args(["-O", "x86_64-efi", "-p", "(memdisk)/boot/grub", "-d"])
        .arg(modules_directory())
        .arg("-m")
        .arg(&archive)
        .arg("-o")
        .arg(&place)
        .args(modules);
    tool(&mut make)
}

/// Where the parts of GRUB are: unpacked below the target directory by `cargo xtask setup`, or installed.
fn modules_directory() -> PathBuf {
    const MODULES: &str = "usr/lib/grub/x86_64-efi";
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"));
    let unpacked = target.join("packages/grub-efi-amd64-bin").join(MODULES);
    if unpacked.is_dir() { unpacked } else { Path::new("/").join(MODULES) }
}

/// Makes the disk.
pub(crate) fn make(image: &Path, trees: &Trees<'_>) -> Result<()> {
    let mut table = String::from("label: gpt\n");
    let places = places();
    for (role, label, _, start, size) in &places {
        let kind = if *role == Role::Firmware { "U" } else { "L" };
        table += &format!("start={}, size={}, type={kind}, name={label}\n", start / 512, size / 512);
    }
    let end = places.last().map_or(0, |(.., start, size)| start + size) + MIB;
    fs::File::create(image)
        .and_then(|file| file.set_len(end))
        .with_context(|| format!("cannot make {}", image.display()))?;
    let script = image.with_extension("table");
    fs::write(&script, table)?;
    tool(Command::new("sfdisk").arg("--quiet").arg(image).stdin(fs::File::open(&script)?))?;
    for (role, _, content, start, size) in places {
        match (content, trees.of(role)) {
            (Content::Fat, Some(tree)) => {
                let at = format!("--offset={}", start / 512);
                let fat = ["-F", "32", "-s", "1", &at];
                tool(Command::new("mkfs.vfat").args(fat).arg(image).arg((size / 1024).to_string()))?;
                let all =
                    fs::read_dir(tree)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
                tool(Command::new("mcopy").args(["-s", "-Q", "-i"]).arg(part(image, start)).args(all).arg("::/"))?;
            }
            (Content::Ext4, Some(tree)) => {
                let place = format!("offset={start},root_owner=0:0");
                let mut make = Command::new("mkfs.ext4");
                make.args(["-q", "-F", "-b", "1024", "-E", &place, "-d"]).arg(tree).arg(image);
                tool(make.arg((size / 1024).to_string()))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Copies a directory of the firmware's FAT into `to`.
pub(crate) fn read_back(image: &Path, directory: &str, to: &Path) -> Result<()> {
    let start = places().into_iter().find(|(role, ..)| *role == Role::Firmware).map_or(0, |(.., start, _)| start);
    tool(
        Command::new("mcopy")
            .args(["-s", "-n", "-Q", "-i"])
            .arg(part(image, start))
            .arg(format!("::/{directory}"))
            .arg(to),
    )
}

/// Writes a file and the directories above it.
pub(crate) fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(path))
        .and_then(|()| fs::write(path, bytes))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Role, label, content, first byte and length of each partition.
fn places() -> Vec<(Role, &'static str, Content, u64, u64)> {
    let mut at = MIB;
    let mut places = Vec::new();
    for partition in QemuX86Grub::LAYOUT.partitions {
        let start = partition.start_kib.map_or(at, |kib| u64::from(kib) * 1024).next_multiple_of(MIB);
        let size = partition.size_kib.map_or(REST * MIB, |kib| u64::from(kib) * 1024);
        places.push((partition.role, partition.label, partition.content, start, size));
        at = start + size;
    }
    places
}

/// How mtools name a partition.
fn part(image: &Path, start: u64) -> PathBuf {
    PathBuf::from(format!("{}@@{start}", image.display()))
}

fn tool(command: &mut Command) -> Result<()> {
    let path = std::env::var("PATH").unwrap_or_default();
    // Where a user's path may lack the tools of administrators.
    let output = command.env("PATH", format!("{path}:/usr/sbin:/sbin")).env("MTOOLS_SKIP_CHECK", "1").output();
    let name = command.get_program().to_string_lossy().into_owned();
    let output = output.with_context(|| format!("cannot run {name}: run `cargo xtask setup`"))?;
    if !output.status.success() {
        bail!("{name} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
