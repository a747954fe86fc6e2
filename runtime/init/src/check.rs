//! An ext4 that nobody has mounted: what its superblock says of it, and `e2fsck`, which mends it.
//!
//! ```text
//!   byte 1024 + 56   magic
//!              58    state: 1 was unmounted, 2 has errors, 4 has orphans
//!
//!   e2fsck -f -p -C 1 NODE      only what cannot be a wrong guess        exit code, bits:  1, 2  mended
//!   e2fsck -f -y -C 1 NODE      yes to everything                                          4     errors are left
//!                                                                                          other it could not work
//! ```
//!
//! The program comes with the base system if that wants it. It may take as long as it gets on: a large disk has many
//! minutes of work, and one that says nothing for [`SILENCE`] is ended. Source: `e2fsck(8)` of e2fsprogs.

use std::ffi::CString;
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use container::failure::Failure;
use container::{Spawned, spawn_tool};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::process::{Signal, WaitId, WaitIdOptions, WaitIdStatus, pidfd_send_signal, waitid};

/// Where the program lies in an initramfs.
pub const PROGRAM: &str = "/usr/lib/cairn/e2fsck";

/// How long it may say nothing. Its progress is something to say.
pub const SILENCE: Duration = Duration::from_secs(300);

/// The most lines of it that are passed on. The rest is counted.
pub const LINES_MAX: usize = 40;

/// The longest line that is passed on, in bytes.
const LINE_MAX: usize = 200;

/// The longest wait between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// What a superblock says of its file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Said {
    /// Nothing: there is no superblock.
    Nothing,
    /// Nothing is known to be wrong.
    Sound,
    /// The kernel has met errors in it.
    Errors,
}

/// Reads what the superblock of a device says.
///
/// # Errors
/// The device does not give it.
pub fn said(node: &Path) -> std::io::Result<Said> {
    const MAGIC: u16 = 0xEF53;
    const ERRORS: u16 = 2;
    let mut bytes = [0; 4];
    match File::open(node)?.read_exact_at(&mut bytes, 1024 + 56) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(Said::Nothing),
        read => read?,
    }
    let [magic_low, magic_high, state_low, state_high] = bytes;
    Ok(match u16::from_le_bytes([magic_low, magic_high]) {
        MAGIC if u16::from_le_bytes([state_low, state_high]) & ERRORS != 0 => Said::Errors,
        MAGIC => Said::Sound,
        _ => Said::Nothing,
    })
}

/// How far a repair goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extent {
    /// Only what cannot be a wrong guess.
    Preen,
    /// Everything, whatever has to be given up for it.
    Full,
}

/// Why a file system was not mended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CheckError {
    /// The program does not start; why.
    Start(String),
    /// It has left errors, which it would have to guess about.
    Left,
    /// It could not work; its exit code.
    Code(i32),
    /// A signal has ended it, or nobody knows what has.
    Killed(Option<i32>),
    /// It has said nothing for so long.
    Silent(Duration),
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(why) => f.write_str(why),
            Self::Left => f.write_str("e2fsck has left errors that it would have to guess about"),
            Self::Code(code) => write!(f, "e2fsck could not work on it (exit code {code})"),
            Self::Killed(Some(signal)) => write!(f, "e2fsck was ended by signal {signal}"),
            Self::Killed(None) => f.write_str("nobody knows how e2fsck has ended"),
            Self::Silent(time) => write!(f, "e2fsck got nowhere for {} seconds, and was ended", time.as_secs()),
        }
    }
}

impl std::error::Error for CheckError {}

/// Mends the file system of a device that is not mounted. `say` gets what the program says, line by line; `pause` is
/// called again and again, as long as it gets on.
///
/// # Errors
/// [`CheckError`]
pub fn mend(
    program: &Path,
    node: &Path,
    extent: Extent,
    silence: Duration,
    say: &mut dyn FnMut(&str),
    pause: &mut dyn FnMut(),
) -> Result<(), CheckError> {
    let answers = match extent {
        Extent::Preen => c"-p",
        Extent::Full => c"-y",
    };
    let unfit = |_| CheckError::Start("no path of it can be given to a program".to_owned());
    let path = |path: &Path| CString::new(path.as_os_str().as_bytes()).map_err(unfit);
    let (program, node) = (path(program)?, path(node)?);
    let args = [c"e2fsck", c"-f", answers, c"-C", c"1", node.as_c_str()];
    let Spawned { pidfd, log, error, .. } =
        spawn_tool(&program, &args).map_err(|error| CheckError::Start(error.to_string()))?;
    let heard = hear(File::from(log), silence, say, pause);
    if heard.is_err() {
        // It may have ended by itself meanwhile.
        let _ = pidfd_send_signal(&pidfd, Signal::KILL);
    }
    let judged = wait(&pidfd).and_then(judge);
    // Its end has closed the pipe, so this does not wait.
    if let Ok(Some(failure)) = Failure::read(&error) {
        return Err(CheckError::Start(format!("e2fsck does not start: {}", failure.errno)));
    }
    heard.and(judged)
}

/// Waits for the program, which has closed its outputs, or was killed.
fn wait(pidfd: &OwnedFd) -> Result<WaitIdStatus, CheckError> {
    loop {
        match waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {
            Ok(Some(status)) => return Ok(status),
            Err(rustix::io::Errno::INTR) => {}
            Ok(None) | Err(_) => return Err(CheckError::Killed(None)),
        }
    }
}

fn judge(status: WaitIdStatus) -> Result<(), CheckError> {
    match status.exit_status() {
        None => Err(CheckError::Killed(status.terminating_signal())),
        Some(code) => exited(code),
    }
}

fn exited(code: i32) -> Result<(), CheckError> {
    match code {
        // The second bit asks for a reboot, which is for file systems that are mounted.
        code if code & !3 == 0 => Ok(()),
        code if code & !7 == 0 => Err(CheckError::Left),
        code => Err(CheckError::Code(code)),
    }
}

/// Passes on what the program says until it closes its output.
fn hear(
    mut output: File,
    silence: Duration,
    say: &mut dyn FnMut(&str),
    pause: &mut dyn FnMut(),
) -> Result<(), CheckError> {
    let (mut lines, mut bytes) = (Lines::default(), [0; 4096]);
    let mut last = Instant::now();
    loop {
        pause();
        let left = silence.saturating_sub(last.elapsed());
        if left.is_zero() {
            lines.end(say);
            return Err(CheckError::Silent(silence));
        }
        let within = Timespec::try_from(left.min(LOOK)).ok();
        let mut fds = [PollFd::new(&output, PollFlags::IN)];
        if !matches!(poll(&mut fds, within.as_ref()), Ok(1..)) {
            continue;
        }
        match output.read(&mut bytes) {
            Ok(0) => break,
            Ok(length) => {
                last = Instant::now();
                lines.take(bytes.get(..length).unwrap_or_default(), say);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    lines.end(say);
    Ok(())
}

/// Lines on their way to a person: so many, and no longer than they may be. Progress is none of them.
#[derive(Default)]
struct Lines {
    line: Vec<u8>,
    said: usize,
    dropped: usize,
}

impl Lines {
    fn take(&mut self, bytes: &[u8], say: &mut dyn FnMut(&str)) {
        for &byte in bytes {
            match byte {
                b'\n' | b'\r' => self.finish(say),
                _ if self.line.len() < LINE_MAX => self.line.push(byte),
                _ => {}
            }
        }
    }

    fn finish(&mut self, say: &mut dyn FnMut(&str)) {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let line = line.trim();
        match () {
            () if line.is_empty() || is_progress(line) => {}
            () if self.said < LINES_MAX => {
                self.said += 1;
                say(line);
            }
            () => self.dropped += 1,
        }
    }

    fn end(mut self, say: &mut dyn FnMut(&str)) {
        self.finish(say);
        if self.dropped > 0 {
            say(&format!("… and {} lines more", self.dropped));
        }
    }
}

/// `PASS DONE ALL NODE`
fn is_progress(line: &str) -> bool {
    let mut words = line.split(' ');
    let numbers = words.by_ref().take(3).filter(|word| word.parse::<u64>().is_ok()).count();
    numbers == 3 && words.next().is_some_and(|node| node.starts_with('/')) && words.next().is_none()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
    use std::path::PathBuf;
    use std::process::Command;

    use super::*;

    /// A file system of 8 MiB in a file.
    fn image() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        File::create(&image).unwrap().set_len(8 << 20).unwrap();
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image));
        (dir, image)
    }

    fn run(command: &mut Command) {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn debugfs(image: &Path, request: &str) {
        run(Command::new("debugfs").args(["-w", "-R", request]).arg(image));
    }

    fn mended(image: &Path, extent: Extent) -> (Result<(), CheckError>, Vec<String>) {
        let mut lines = Vec::new();
        let e2fsck = Path::new("/usr/sbin/e2fsck");
        let result = mend(e2fsck, image, extent, SILENCE, &mut |line| lines.push(line.to_owned()), &mut || ());
        (result, lines)
    }

    /// A program that is no `e2fsck`.
    fn script(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("e2fsck");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        (dir, path)
    }

    #[test]
    fn errors_that_the_kernel_has_met_are_mended_and_forgotten() {
        let (_dir, image) = image();
        assert_eq!(said(&image).unwrap(), Said::Sound);
        debugfs(&image, "set_super_value state 2");
        assert_eq!(said(&image).unwrap(), Said::Errors);
        let (result, lines) = mended(&image, Extent::Preen);
        assert_eq!(result, Ok(()));
        assert!(lines.iter().all(|line| !is_progress(line)) && lines.len() <= LINES_MAX, "{lines:?}");
        assert_eq!(said(&image).unwrap(), Said::Sound);
    }

    #[test]
    fn what_has_to_be_guessed_is_left_unless_everything_is_allowed() {
        let (_dir, image) = image();
        debugfs(&image, "set_super_value state 2");
        // A file whose directory is gone.
        for request in ["mkdir d", "write /etc/hostname d/f", "clri d"] {
            debugfs(&image, request);
        }
        assert_eq!(mended(&image, Extent::Preen).0, Err(CheckError::Left));
        assert_eq!(said(&image).unwrap(), Said::Errors);
        assert_eq!(mended(&image, Extent::Full).0, Ok(()));
        assert_eq!(said(&image).unwrap(), Said::Sound);
        assert_eq!(mended(&image, Extent::Preen).0, Ok(()));
    }

    #[test]
    fn what_is_no_file_system_or_less_than_one_is_no_work_for_it() {
        let (_dir, image) = image();
        File::options().write(true).open(&image).unwrap().set_len(4 << 20).unwrap();
        for extent in [Extent::Preen, Extent::Full] {
            assert!(mended(&image, extent).0.is_err(), "{extent:?}");
        }
        let file = File::options().write(true).open(&image).unwrap();
        file.write_all_at(&[0; 4096], 0).unwrap();
        assert_eq!(said(&image).unwrap(), Said::Nothing);
        file.set_len(512).unwrap();
        assert_eq!(said(&image).unwrap(), Said::Nothing);
        assert!(matches!(mended(&image, Extent::Preen).0, Err(CheckError::Code(8 | 12))));
    }

    #[test]
    fn one_that_gets_nowhere_is_ended_and_one_that_gets_on_is_not() {
        let silence = Duration::from_millis(400);
        let (mut said, mut paused) = (Vec::new(), 0);
        let (_dir, stuck) = script("echo begun\nexec sleep 600");
        let began = Instant::now();
        let result = mend(
            &stuck,
            Path::new("/dev/null"),
            Extent::Preen,
            silence,
            &mut |line| said.push(line.to_owned()),
            &mut || paused += 1,
        );
        assert_eq!(result, Err(CheckError::Silent(silence)));
        assert!(began.elapsed() < Duration::from_secs(60) && paused > 0);
        assert_eq!(said, ["begun"]);

        let (_dir, slow) = script("for i in 1 2 3 4 5 6; do sleep 1; echo 1 $i 6 /dev/x; done");
        let silence = Duration::from_secs(5);
        let mut say = |line: &str| panic!("{line}");
        assert_eq!(mend(&slow, Path::new("/dev/null"), Extent::Preen, silence, &mut say, &mut || ()), Ok(()));
    }

    #[test]
    fn a_long_story_is_cut_and_says_so() {
        let (_dir, talks) = script("i=0; while [ $i -lt 1000 ]; do echo line $i; i=$((i+1)); done; exit 1");
        let mut lines = Vec::new();
        let mut say = |line: &str| lines.push(line.to_owned());
        assert_eq!(mend(&talks, Path::new("/dev/null"), Extent::Preen, SILENCE, &mut say, &mut || ()), Ok(()));
        assert_eq!(lines.len(), LINES_MAX + 1);
        assert_eq!(lines.last().unwrap(), "… and 960 lines more");
    }

    #[test]
    fn exit_codes_are_bits() {
        for (codes, expected) in [(&[0, 1, 2, 3][..], Ok(())), (&[4, 5, 6, 7], Err(CheckError::Left))] {
            codes.iter().for_each(|code| assert_eq!(exited(*code), expected, "{code}"));
        }
        assert_eq!(exited(12), Err(CheckError::Code(12)));
        let (_dir, dies) = script("kill -9 $$");
        let result = |program: &Path| mend(program, Path::new("/x"), Extent::Full, SILENCE, &mut |_| (), &mut || ());
        assert_eq!(result(&dies), Err(CheckError::Killed(Some(9))));
        assert!(matches!(result(Path::new("/nowhere")), Err(CheckError::Start(_))));
    }
}
