//! The storage of a machine that is ours: found, mounted at `/storage`, and mended if it has to be.
//!
//! ```text
//!   mount: the kernel replays the journal ──▶ sound ─────────────────────────────────────────▶ to be written
//!        │ errors are on record, or it is refused                                          ▲
//!        ▼                                                                               │
//!   e2fsck -p, if the base system has it; -y in recovery, or if it is allowed ──▶ mount ───┘
//!        │ no                                                                            ▲
//!        ▼                                                                               │
//!   mount read-only; without its journal if that cannot be replayed ──────────────────────┼──▶ read-only
//!        │ no: there is nothing left to lose                                             │
//!        ▼                                                                               │
//!   e2fsck -y ──▶ mount ────────────────────────────────────────────────────────────────────┘
//!        │ no
//!        ▼
//!   an error, and what becomes of the boot is said in `stranded`
//! ```
//!
//! Nothing is repaired that is mounted, and nothing without a superblock of ext4, which may be somebody else's. One on a disk
//! that is larger than its image was grows, and is no worse where it cannot. See decision
//! [0015](../../../docs/decisions/0015-a-storage-is-mended-or-read.md).

use std::fmt;
use std::path::Path;
use std::time::Duration;

use metal::disks::{Device, Part, Roots};
use metal::grow;
use metal::place::{self, Place, PlaceError};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};
use store::file::{FileError, FileSectors};

use crate::check::{self, Extent, Said};

/// What it is formatted as.
const KIND: &str = "ext4";

/// After an error of the medium nothing more is written, so that what was good stays so.
const OPTIONS: &std::ffi::CStr = c"errors=remount-ro";

/// Without a journal that cannot be replayed. Of what that would have completed some is missing then.
const WITHOUT_JOURNAL: &std::ffi::CStr = c"noload";

/// The word by which a command line says how far a repair may go, as other systems have it: `yes`, `no` or `preen`.
pub const REPAIR: &str = "fsck.repair";

/// How a storage may be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Access {
    /// As it is meant.
    Write,
    /// To be read only; why.
    Read(String),
}

impl Access {
    /// Why it cannot be written, if it cannot.
    #[must_use]
    pub fn why_not_written(self) -> Option<String> {
        match self {
            Self::Write => None,
            Self::Read(why) => Some(why),
        }
    }
}

/// What mends a file system.
#[derive(Clone, Copy, Debug)]
pub struct Mender<'m> {
    /// The program.
    pub program: &'m Path,
    /// How far it goes while the storage could be read without it. `None`: it is not used.
    pub extent: Option<Extent>,
}

impl<'m> Mender<'m> {
    /// What this initramfs has, as far as the command line lets it go. In recovery, which is there to take a revision, no
    /// other one runs any more.
    #[must_use]
    pub fn new(program: &'m Path, word: Option<&str>, is_recovery: bool) -> Self {
        let extent = match word {
            Some("no") => None,
            Some("yes") => Some(Extent::Full),
            Some("preen") => Some(Extent::Preen),
            _ if is_recovery => Some(Extent::Full),
            _ => Some(Extent::Preen),
        };
        Self { program, extent: extent.filter(|_| program.exists()) }
    }
}

/// Whom to tell, and what to do meanwhile.
pub struct Hands<'h> {
    /// Waits for as long as it is told.
    pub pause: &'h mut dyn FnMut(Duration),
    /// Tells a person.
    pub say: &'h mut dyn FnMut(&str),
}

/// Why there is no storage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StorageError {
    /// It was not found.
    Place(PlaceError),
    /// The directory to mount it on cannot be made.
    Directory(std::io::ErrorKind),
    /// It was found and cannot be mounted.
    Mount {
        /// What was found.
        device: String,
        /// What the kernel says.
        errno: Errno,
    },
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Place(error) => write!(f, "no storage: {error}"),
            Self::Directory(kind) => write!(f, "no directory to mount the storage on: {kind}"),
            Self::Mount { device, errno } => {
                write!(f, "the storage {device} cannot be mounted as {KIND}: {errno}")?;
                match *errno {
                    Errno::INVAL => f.write_str("; it holds none, or its superblock does not fit its partition"),
                    Errno::NODEV => f.write_str("; this kernel does not know it, is a module missing?"),
                    _ if *errno == DAMAGED => f.write_str("; it is damaged, and e2fsck has to mend it"),
                    _ => Ok(()),
                }
            }
        }
    }
}

impl std::error::Error for StorageError {}

/// `EUCLEAN` ("structure needs cleaning"), with which ext4 refuses what it finds corrupted.
const DAMAGED: Errno = Errno::UCLEAN;

/// Makes the file system whole on its medium, so that the next boot has nothing to replay. Nothing can be written after
/// that.
///
/// # Errors
/// Something is still open for writing (`EBUSY`). Nothing is lost by that: the next boot replays.
pub fn rest(on: &Path) -> Result<(), Errno> {
    mount_remount(on, MountFlags::RDONLY | MountFlags::NOATIME, "")
}

/// Makes the storage as large as its disk lets it be; `pause` is called on the way. Tells how many bytes it had and has,
/// if it has grown.
///
/// # Errors
/// Why it has not, in words. It is as it was then, or larger.
pub fn grow(device: &Device, on: &Path, pause: &mut dyn FnMut()) -> Result<Option<(u64, u64)>, String> {
    // Only a GPT has names, and only a GPT grows.
    let Some(Part { disk, label: Some(_), .. }) = &device.part else { return Ok(None) };
    let node = Roots::of_machine().dev.join(disk);
    let mut sectors = FileSectors::open(&node).map_err(|error| format!("{disk}: {error}"))?;
    let partition = grow::partition(&mut sectors, &node, device);
    pause();
    // What an earlier boot has begun goes on all the same.
    let bytes = *partition.as_ref().unwrap_or(&device.size);
    let grown = grow::ext4::<FileError>(&device.node, on, bytes, pause).map_err(|error| error.to_string());
    match partition {
        Ok(_) => grown,
        Err(error) => grown.and(Err(error.to_string())),
    }
}

/// Waits for the storage and mounts it; mends it, if it must be.
///
/// # Errors
/// [`StorageError`]
pub fn take(
    wanted: &Place,
    limit: Duration,
    on: &Path,
    mender: Mender<'_>,
    hands: &mut Hands<'_>,
) -> Result<(Device, Access), StorageError> {
    let device = place::find(&Roots::of_machine(), wanted, limit, hands.pause).map_err(StorageError::Place)?;
    std::fs::create_dir_all(on).map_err(|error| StorageError::Directory(error.kind()))?;
    let access = mount_or_mend(&device.node, on, mender, hands)
        .map_err(|errno| StorageError::Mount { device: device.to_string(), errno })?;
    Ok((device, access))
}

fn mount_or_mend(node: &Path, on: &Path, mender: Mender<'_>, hands: &mut Hands<'_>) -> Result<Access, Errno> {
    let has_errors = || check::said(node).is_ok_and(|said| said == Said::Errors);
    let first = match mount_to_write(node, on) {
        Ok(()) if !has_errors() => return Ok(Access::Write),
        Ok(()) if mender.extent.is_none() => {
            (hands.say)("errors of it are on record, and nothing is here that mends them: it goes on with them");
            return Ok(Access::Write);
        }
        Ok(()) => {
            // Nothing was opened in it yet.
            unmount(on, UnmountFlags::empty())?;
            DAMAGED
        }
        Err(errno) => errno,
    };
    let has_superblock = check::said(node).is_ok_and(|said| said != Said::Nothing);
    let extent = mender.extent.filter(|_| has_superblock && is_of_the_file_system(first));
    let mut mend = |extent| mend(mender.program, node, extent, hands);
    let mended = match extent {
        None => false,
        Some(Extent::Preen) => mend(Extent::Preen),
        Some(Extent::Full) => mend(Extent::Preen) || mend(Extent::Full),
    };
    if mended && mount_to_write(node, on).is_ok() {
        return Ok(Access::Write);
    }
    if let Some(without) = mount_to_read(node, on) {
        return Ok(Access::Read(why(first, without)));
    }
    // Nobody has anything of it as it is.
    if extent == Some(Extent::Preen) && mend(Extent::Full) && mount_to_write(node, on).is_ok() {
        return Ok(Access::Write);
    }
    Err(first)
}

fn mount_to_write(node: &Path, on: &Path) -> Result<(), Errno> {
    mount(node, on, KIND, MountFlags::NOATIME, OPTIONS)
}

/// Tells whether it is there without what its journal would have completed; `None`: it cannot be read at all.
fn mount_to_read(node: &Path, on: &Path) -> Option<bool> {
    let flags = MountFlags::NOATIME | MountFlags::RDONLY;
    let mut ways = [(OPTIONS, false), (WITHOUT_JOURNAL, true)].into_iter();
    ways.find_map(|(options, without)| mount(node, on, KIND, flags, options).is_ok().then_some(without))
}

/// Whether the kernel's answer is about what the file system holds.
fn is_of_the_file_system(errno: Errno) -> bool {
    matches!(errno, DAMAGED | Errno::BADMSG | Errno::IO | Errno::INVAL)
}

fn why(errno: Errno, without_journal: bool) -> String {
    let why = match errno {
        Errno::ACCESS | Errno::ROFS => "its medium is write-protected".to_owned(),
        DAMAGED => "it has errors that are not mended".to_owned(),
        Errno::IO => "its medium does not take what is written, or gives nothing back".to_owned(),
        errno => errno.to_string(),
    };
    let journal = if without_journal { ", and its journal could not be replayed" } else { "" };
    format!("the storage is read-only: {why}{journal}")
}

fn mend(program: &Path, node: &Path, extent: Extent, hands: &mut Hands<'_>) -> bool {
    let Hands { pause, say } = hands;
    let how = match extent {
        Extent::Preen => "only what is certain",
        Extent::Full => "whatever has to be given up",
    };
    say(&format!("it is damaged, and is mended: {how}"));
    match check::mend(program, node, extent, check::SILENCE, say, &mut || pause(Duration::ZERO)) {
        Ok(()) => {
            say("it is mended");
            true
        }
        Err(error) => {
            say(&error.to_string());
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt as _;
    use std::path::PathBuf;
    use std::process::Command;

    use super::*;

    const E2FSCK: &str = "/usr/sbin/e2fsck";

    /// A storage of 8 MiB on a loop device, and where it is mounted.
    struct Disk {
        dir: tempfile::TempDir,
        node: PathBuf,
        on: PathBuf,
    }

    impl Disk {
        /// `spoil` gets the image before it is attached.
        fn new(options: &[&str], spoil: impl FnOnce(&Path)) -> Self {
            assert!(rustix::process::geteuid().is_root(), "mounting takes root");
            let dir = tempfile::tempdir().unwrap();
            let (image, on) = (dir.path().join("image"), dir.path().join("on"));
            std::fs::create_dir(&on).unwrap();
            File::create(&image).unwrap().set_len(8 << 20).unwrap();
            run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image));
            spoil(&image);
            let node = run(Command::new("losetup").args(options).args(["--find", "--show"]).arg(&image));
            Self { dir, node: node.trim().into(), on }
        }

        fn mount(&self, word: Option<&str>) -> (Result<Access, Errno>, Vec<String>) {
            self.mount_with(Mender::new(Path::new(E2FSCK), word, false))
        }

        fn mount_with(&self, mender: Mender<'_>) -> (Result<Access, Errno>, Vec<String>) {
            let mut said = Vec::new();
            let mut hands = Hands { pause: &mut |_| (), say: &mut |line| said.push(line.to_owned()) };
            let access = mount_or_mend(&self.node, &self.on, mender, &mut hands);
            (access, said)
        }

        fn is_writable(&self) -> bool {
            std::fs::write(self.on.join("x"), "x").is_ok()
        }
    }

    impl Drop for Disk {
        fn drop(&mut self) {
            let _ = unmount(&self.on, UnmountFlags::DETACH);
            run(Command::new("losetup").arg("--detach").arg(&self.node));
            let _ = self.dir.path();
        }
    }

    fn run(command: &mut Command) -> String {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Repeats what finds the file system in use. Other tests start programs at the same time, and a child that has not come
    /// to its `exec` yet has every file open that any thread of this process has.
    fn once_nobody_uses_it(mut done: impl FnMut() -> Result<(), Errno>) {
        let end = std::time::Instant::now() + Duration::from_secs(20);
        while let Err(errno) = done() {
            assert!(errno == Errno::BUSY && std::time::Instant::now() < end, "{errno}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn debugfs(image: &Path, requests: &[&str]) {
        for request in requests {
            run(Command::new("debugfs").args(["-w", "-R", request]).arg(image));
        }
    }

    /// Leaves a journal that has to be replayed, as a power cut does.
    fn cut_off(image: &Path) {
        let dir = tempfile::tempdir().unwrap();
        let node = run(Command::new("losetup").args(["--find", "--show"]).arg(image));
        let node = Path::new(node.trim());
        mount_to_write(node, dir.path()).unwrap();
        std::fs::write(dir.path().join("cut"), "cut").unwrap();
        rustix::fs::syncfs(File::open(dir.path()).unwrap()).unwrap();
        let bytes = std::fs::read(image).unwrap();
        once_nobody_uses_it(|| unmount(dir.path(), UnmountFlags::empty()));
        run(Command::new("losetup").arg("--detach").arg(node));
        std::fs::write(image, bytes).unwrap();
    }

    const SOUND: &[&str] = &[];
    const MARKED: &[&str] = &["set_super_value state 2"];
    /// A file whose directory is gone: nobody can be certain about that.
    const TORN: &[&str] = &["set_super_value state 2", "mkdir d", "write /etc/hostname d/f", "clri d"];

    #[test]
    fn a_sound_storage_and_one_that_was_cut_off_are_mounted_and_nothing_is_said() {
        for disk in [Disk::new(&[], |_| ()), Disk::new(&[], cut_off)] {
            assert_eq!(disk.mount(None), (Ok(Access::Write), vec![]));
            assert!(disk.is_writable());
        }
    }

    #[test]
    fn errors_on_record_are_mended_before_anything_is_written() {
        let disk = Disk::new(&[], |image| debugfs(image, MARKED));
        let (access, said) = disk.mount(None);
        assert_eq!(access, Ok(Access::Write), "{said:?}");
        assert!(disk.is_writable() && said.iter().any(|line| line == "it is mended"), "{said:?}");
        assert_eq!(check::said(&disk.node).unwrap(), Said::Sound);
    }

    #[test]
    fn what_e2fsck_would_have_to_guess_about_is_read_only_unless_the_command_line_says_yes() {
        let disk = Disk::new(&[], |image| debugfs(image, TORN));
        let (access, said) = disk.mount(None);
        assert!(matches!(access, Ok(Access::Read(why)) if why.contains("not mended")), "{said:?}");
        assert!(!disk.is_writable());
        once_nobody_uses_it(|| unmount(&disk.on, UnmountFlags::empty()));
        assert_eq!(disk.mount(Some("yes")).0, Ok(Access::Write));
        assert!(disk.is_writable());
    }

    #[test]
    fn in_recovery_it_is_mended_at_any_price_unless_the_command_line_says_no() {
        let e2fsck = Path::new(E2FSCK);
        let disk = Disk::new(&[], |image| debugfs(image, TORN));
        assert_eq!(disk.mount_with(Mender::new(e2fsck, None, true)).0, Ok(Access::Write));
        assert!(disk.is_writable());
        for (word, extent) in
            [(Some("no"), None), (Some("preen"), Some(Extent::Preen)), (Some("yes"), Some(Extent::Full))]
        {
            assert_eq!(Mender::new(e2fsck, word, true).extent, extent, "{word:?}");
        }
    }

    #[test]
    fn a_device_without_e2fsck_goes_on_as_its_kernel_does() {
        for (program, word) in [("/nowhere", None), (E2FSCK, Some("no"))] {
            let disk = Disk::new(&[], |image| debugfs(image, MARKED));
            let (access, said) = disk.mount_with(Mender::new(Path::new(program), word, false));
            assert_eq!(access, Ok(Access::Write));
            assert!(matches!(&said[..], [line] if line.contains("on record")), "{said:?}");
        }
    }

    #[test]
    fn a_write_protected_medium_is_read_and_so_is_one_whose_journal_cannot_be_replayed() {
        for (spoil, without) in [(None, false), (Some(cut_off as fn(&Path)), true)] {
            let disk = Disk::new(&["--read-only"], |image| spoil.into_iter().for_each(|spoil| spoil(image)));
            let (access, _) = disk.mount(None);
            let Ok(Access::Read(why)) = access else { panic!("{access:?}") };
            assert!(why.contains("write-protected"), "{why}");
            assert_eq!(why.contains("journal"), without, "{why}");
        }
    }

    #[test]
    fn what_nobody_can_mount_is_mended_at_any_price() {
        // A group whose descriptor leads nowhere: the kernel takes it neither way.
        let disk = Disk::new(&[], |image| debugfs(image, &["set_bg 0 inode_table 0", "set_bg 0 checksum 1"]));
        let (access, said) = disk.mount(None);
        assert_eq!(access, Ok(Access::Write), "{said:?}");
        assert!(disk.is_writable());
    }

    #[test]
    fn what_is_no_ext4_is_left_as_it_is() {
        let disk = Disk::new(&[], |image| {
            File::options().write(true).open(image).unwrap().write_all_at(&[7; 65536], 0).unwrap();
        });
        let before = std::fs::read(&disk.node).unwrap();
        // There are copies of the superblock: what they describe may be somebody else's now.
        assert_eq!(disk.mount(Some("yes")), (Err(Errno::INVAL), vec![]));
        assert!(std::fs::read(&disk.node).unwrap() == before);
    }

    #[test]
    fn one_that_is_larger_than_its_partition_cannot_be_used() {
        let disk = Disk::new(&[], |image| {
            File::options().write(true).open(image).unwrap().set_len(4 << 20).unwrap();
        });
        let (access, said) = disk.mount(None);
        assert_eq!(access, Err(Errno::INVAL), "{said:?}");
        let error = StorageError::Mount { device: "sda6".into(), errno: Errno::INVAL }.to_string();
        assert!(error.contains("does not fit its partition"), "{error}");
    }

    #[test]
    fn a_full_storage_is_mounted_like_any_other() {
        let disk = Disk::new(&[], |image| debugfs(image, SOUND));
        assert_eq!(disk.mount(None).0, Ok(Access::Write));
        let full = std::fs::write(disk.on.join("fill"), vec![1; 8 << 20]);
        assert!(full.is_err());
        once_nobody_uses_it(|| rest(&disk.on));
        once_nobody_uses_it(|| unmount(&disk.on, UnmountFlags::empty()));
        assert_eq!(disk.mount(None), (Ok(Access::Write), vec![]));
    }
}
