//! Descriptors that somebody else has made, until it is known what they are.
//!
//! To close a file of a stranger may take as long as the stranger wants: a file system of a user's program is asked first, and
//! a socket may linger. So what nobody has taken is closed by a thread of its own, and never by the loop.

use std::mem::ManuallyDrop;

use rustix::fd::OwnedFd;

/// A thread that only closes needs no more, in bytes.
const STACK: usize = 64 * 1024;

/// What came with a packet.
#[derive(Debug, Default)]
pub struct Handed(Vec<OwnedFd>);

impl Handed {
    /// As they came.
    #[must_use]
    pub fn new(descriptors: Vec<OwnedFd>) -> Self {
        Self(descriptors)
    }

    /// To be looked at, by calls that never wait.
    #[must_use]
    pub fn as_slice(&self) -> &[OwnedFd] {
        &self.0
    }

    /// Takes them: whoever does closes them, and has seen that this takes no time.
    #[must_use]
    pub fn take(mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        if !self.0.is_empty() {
            let unknown = ManuallyDrop::new(std::mem::take(&mut self.0));
            // Without a thread they stay open, which harms less than a loop that waits.
            let _ =
                std::thread::Builder::new().stack_size(STACK).spawn(move || drop(ManuallyDrop::into_inner(unknown)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use rustix::pipe::pipe;

    use super::*;

    #[test]
    fn what_is_not_taken_is_closed_by_another_thread() {
        let ((from, to), (other, kept)) = (pipe().unwrap(), pipe().unwrap());
        drop(Handed::new(vec![to]));
        // Its end of file is seen once it is closed.
        assert_eq!(rustix::io::read(&from, &mut [0; 1]), Ok(0));
        let taken = Handed::new(vec![kept]).take();
        std::thread::sleep(Duration::from_millis(20));
        let before = Instant::now();
        assert_eq!(rustix::io::write(&taken[0], b"x"), Ok(1));
        assert_eq!(rustix::io::read(&other, &mut [0; 1]), Ok(1));
        assert!(before.elapsed() < Duration::from_secs(5));
    }
}
