//! One `pvr` at a time changes a repository: a lock on `.pvr/lock`, which the kernel lets go of when its holder dies.
//!
//! Readers need none, because everything they read is replaced by renames. The file stays; its content, the holder's
//! process id, is for the error message only.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::error::{Context as _, Error, Result};

/// The right to change a repository, until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of the repository whose books are in `directory`, and sweeps what a dead holder left there.
    ///
    /// # Errors
    /// Another process has it; the message names it.
    pub fn take(directory: &Path) -> Result<Self> {
        let path = directory.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .context("open the lock", &path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                let _ = (&file).take(20).read_to_string(&mut pid);
                let holder = if pid.trim().is_empty() { String::new() } else { format!(" (process {})", pid.trim()) };
                return Err(Error::user(format!("another pvr{holder} is changing this repository"))
                    .hint("wait until it has finished, then run the command again"));
            }
            Err(errno) => return Err(errno).context("lock", &path),
        }
        // A pid that cannot be written (no room) only makes a message poorer.
        let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
        sweep(directory);
        Ok(Self { _file: file })
    }
}

/// Removes temporaries; nobody who could still want them holds the lock.
fn sweep(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(b"new.") {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_the_first_is_and_gets_it_afterwards() {
        let scratch = tempfile::tempdir().unwrap();
        let first = Lock::take(scratch.path()).unwrap();
        let error = Lock::take(scratch.path()).unwrap_err();
        assert!(error.message.contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        assert!(Lock::take(scratch.path()).is_ok());
    }

    #[test]
    fn what_a_dead_holder_left_is_swept_and_what_is_staged_is_not() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("new.1.0"), "half").unwrap();
        fs::write(scratch.path().join("new"), "{}").unwrap();
        let _lock = Lock::take(scratch.path()).unwrap();
        assert!(!scratch.path().join("new.1.0").exists());
        assert!(scratch.path().join("new").exists());
    }
}
