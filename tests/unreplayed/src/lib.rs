//! A real ext4 on a loop device, and two readers that know nothing of its journal: GRUB's own and `debugfs -c`.
//!
//! ```text
//!   Directory, FileSectors ──▶ ext4 ──▶ /dev/loopN ──▶ image file ◀── grub-fstest, debugfs -c
//! ```
//!
//! The readers open the image file, never the loop device: the device's page cache is where ext4 keeps metadata that it
//! has not written yet. So they see what the kernel has handed to the disk. Whether the disk keeps it (its own cache, a
//! torn sector) is not asked here; `tests/powercut` does.
//!
//! It takes root, loop devices, and the programs that [`NEEDS`] names. Where one is missing a test fails and says so.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

/// Programs, and the Debian packages that bring them.
pub const NEEDS: &[(&str, &str)] = &[
    ("mke2fs", "e2fsprogs"),
    ("tune2fs", "e2fsprogs"),
    ("debugfs", "e2fsprogs"),
    ("grub-fstest", "grub-common"),
    ("mount", "mount"),
    ("umount", "mount"),
];

/// Bytes of an image; the smallest ext4 that mke2fs gives a journal of usual size is smaller.
pub const SIZE: u64 = 16 << 20;

/// How a file system differs from an ext4 as mke2fs makes it.
#[derive(Clone, Copy, Default, Debug)]
pub struct Recipe<'a> {
    /// Further arguments of mke2fs.
    pub make: &'a [&'a str],
    /// Arguments of tune2fs, if it is to run at all.
    pub tune: &'a [&'a str],
    /// Commands for debugfs, which may write, before it is mounted.
    pub edit: &'a [&'a str],
    /// Options to mount it with.
    pub options: &'a str,
}

/// A mounted file system in an image file; unmounted and removed with it.
#[derive(Debug)]
pub struct Image {
    scratch: PathBuf,
    image: PathBuf,
    directory: PathBuf,
    mounted: bool,
}

impl Image {
    /// Makes an ext4 and mounts it; `name` tells it from others of the same process.
    ///
    /// # Errors
    /// What is missing, or what a program said.
    pub fn mounted(name: &str, recipe: Recipe<'_>) -> Result<Self, String> {
        let mut made = Self::unmounted(name)?;
        File::create(&made.image)
            .and_then(|file| file.set_len(SIZE))
            .map_err(|error| format!("{}: {error}", made.image.display()))?;
        ran(Command::new("mke2fs").args(["-q", "-F", "-t", "ext4"]).args(recipe.make).arg(&made.image))?;
        if !recipe.tune.is_empty() {
            ran(Command::new("tune2fs").args(recipe.tune).arg(&made.image))?;
        }
        for edit in recipe.edit {
            ran(Command::new("debugfs").args(["-w", "-R", edit]).arg(&made.image))?;
        }
        made.mount(recipe.options)?;
        Ok(made)
    }

    /// The device that comes up if power goes now: what the disk holds, with the journal replayed by Linux.
    ///
    /// # Errors
    /// As for [`mounted`](Self::mounted).
    pub fn after_a_cut(&self, name: &str) -> Result<Self, String> {
        let mut made = Self::unmounted(name)?;
        fs::copy(&self.image, &made.image).map_err(|error| format!("{}: {error}", made.image.display()))?;
        made.mount("")?;
        Ok(made)
    }

    fn unmounted(name: &str) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("mounting an image takes root: run these tests as root, on a kernel with loop devices".into());
        }
        let scratch = std::env::temp_dir().join(format!("cairn-unreplayed-{}-{name}", std::process::id()));
        let (image, directory) = (scratch.join("image"), scratch.join("mounted"));
        fs::create_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        Ok(Self { scratch, image, directory, mounted: false })
    }

    fn mount(&mut self, options: &str) -> Result<(), String> {
        let options = if options.is_empty() { "loop".to_owned() } else { format!("loop,{options}") };
        ran(Command::new("mount").args(["-o", &options]).arg(&self.image).arg(&self.directory))?;
        self.mounted = true;
        Ok(())
    }

    /// Where it is mounted.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The file that holds all of it.
    #[must_use]
    pub fn image(&self) -> &Path {
        &self.image
    }

    /// A file of its root directory, as a bootloader reads it.
    ///
    /// # Errors
    /// It is not there, GRUB and debugfs disagree, or a program is missing.
    pub fn unreplayed(&self, name: &str) -> Result<Vec<u8>, String> {
        let grub = ran(Command::new("grub-fstest").arg(&self.image).args(["cat", &format!("/{name}")]))?.stdout;
        let debugfs = ran(Command::new("debugfs").args(["-c", "-R", &format!("cat /{name}")]).arg(&self.image))?;
        if grub == debugfs.stdout {
            return Ok(grub);
        }
        Err(format!("GRUB reads {} bytes of {name}, debugfs reads {} others", grub.len(), debugfs.stdout.len()))
    }

    /// Whether the file system's journal holds nothing, as its superblock says it: replaying changes nothing.
    ///
    /// # Errors
    /// dumpe2fs is missing, or does not tell.
    pub fn has_empty_journal(&self) -> Result<bool, String> {
        let head = ran(Command::new("dumpe2fs").arg("-h").arg(&self.image))?.stdout;
        let head = String::from_utf8_lossy(&head).into_owned();
        let start = head.lines().find_map(|line| line.strip_prefix("Journal start:"));
        start.map(|start| start.trim() == "0").ok_or_else(|| format!("dumpe2fs tells of no journal: {head}"))
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // Another test that starts a program holds copies of all our descriptors for a moment, so it can be busy.
        for _ in 0..100 {
            if !self.mounted || ran(Command::new("umount").arg(&self.directory)).is_ok() {
                let _ = fs::remove_dir_all(&self.scratch);
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        // Removing through a mount that is still there would empty it, so then everything stays.
        eprintln!("{} cannot be unmounted and is left behind", self.directory.display());
    }
}

/// Runs a program to its end. It is found where administration programs live even if `PATH` does not say so.
fn ran(command: &mut Command) -> Result<Output, String> {
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin:/sbin"));
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| {
        let package = NEEDS.iter().find(|(name, _)| *name == program).map_or("", |(_, package)| package);
        format!("cannot run {program} (Debian package {package}): {error}")
    })?;
    if output.status.success() {
        return Ok(output);
    }
    Err(format!("{program} failed, {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
}
