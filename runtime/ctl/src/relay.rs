//! Bytes between the descriptors of this process and those of a program in a container, until it has ended.
//!
//! ```text
//!   standard input ─▶ Flow ─▶ pipe or terminal        one loop; it waits for whoever is ready, and for nobody alone
//!   pipe or terminal ─▶ Flow ─▶ standard output       held back in between: at most one piece
//! ```
//!
//! Promises: not a byte is changed, added or lost, whatever is slow. What the program has said before its end is passed on
//! after it; what others that it has left behind may say later is not waited for.

use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::io::Errno;

/// What is written at once. A pipe that is ready takes so much without waiting.
const PIECE: usize = 4096;

/// How long something may still come after the end: a terminal is a little behind.
const LINGER: Duration = Duration::from_millis(100);

/// One direction.
pub(crate) struct Flow {
    from: Option<OwnedFd>,
    to: Option<OwnedFd>,
    held: Vec<u8>,
    /// Said when there is no more to be read.
    last: Option<u8>,
    /// Whether what comes from here is waited for after the end.
    answers: bool,
}

/// What the loop is left for.
pub(crate) enum Woken {
    /// A signal is there to be read.
    Signal,
    /// The end can be read, and all has been said.
    Ended,
}

impl Flow {
    /// What the program reads. `last` stands for the end where closing cannot: on a terminal.
    pub(crate) fn input(from: OwnedFd, to: OwnedFd, last: Option<u8>) -> Self {
        Self { from: Some(from), to: Some(to), held: Vec::new(), last, answers: false }
    }

    /// What the program says.
    pub(crate) fn output(from: OwnedFd, to: OwnedFd) -> Self {
        Self { from: Some(from), to: Some(to), held: Vec::new(), last: None, answers: true }
    }

    /// What is to be waited for.
    fn wants(&self) -> Option<PollFd<'_>> {
        if self.held.is_empty() {
            self.from.as_ref().map(|from| PollFd::new(from, PollFlags::IN))
        } else {
            self.to.as_ref().map(|to| PollFd::new(to, PollFlags::OUT))
        }
    }

    /// It is ready: goes on by one piece.
    fn step(&mut self) {
        if self.held.is_empty() {
            let Some(from) = &self.from else { return };
            let mut piece = [0; PIECE];
            match rustix::io::read(from, &mut piece) {
                Ok(0) => self.no_more(),
                Ok(length) => self.held.extend_from_slice(piece.get(..length).unwrap_or_default()),
                Err(Errno::INTR | Errno::AGAIN) => {}
                // A terminal that nobody else has open any more ends so.
                Err(_) => self.no_more(),
            }
        } else if let Some(to) = &self.to {
            match rustix::io::write(to, &self.held) {
                Ok(length) => drop(self.held.drain(..length.min(self.held.len()))),
                Err(Errno::INTR | Errno::AGAIN) => {}
                // Nobody takes it: whoever sends shall see that, too.
                Err(_) => self.close(),
            }
            if self.held.is_empty() && self.from.is_none() {
                self.close();
            }
        }
    }

    fn no_more(&mut self) {
        self.from = None;
        match self.last.take() {
            Some(last) => self.held.push(last),
            None => self.close(),
        }
    }

    fn close(&mut self) {
        (self.from, self.to, self.last) = (None, None, None);
        self.held.clear();
    }
}

/// Passes bytes on until something else is to be done. `end` becomes readable when the program has ended.
///
/// # Errors
/// The kernel refuses to wait.
pub(crate) fn run(flows: &mut [Flow], end: &OwnedFd, signals: &OwnedFd) -> Result<Woken, Errno> {
    let mut ended = false;
    loop {
        if ended && flows.iter().all(|flow| !flow.answers || flow.to.is_none()) {
            return Ok(Woken::Ended);
        }
        let (others, which): (Vec<PollFd<'_>>, Vec<usize>) =
            flows.iter().enumerate().filter_map(|(at, flow)| Some((flow.wants()?, at))).unzip();
        let mut all = vec![PollFd::new(signals, PollFlags::IN), PollFd::from_borrowed_fd(end.as_fd(), PollFlags::IN)];
        if ended {
            // It stays readable.
            all.truncate(1);
        }
        let own = all.len();
        all.extend(others);
        // Whoever is slow to take what is held is waited for.
        let is_idle = ended && flows.iter().all(|flow| !flow.answers || flow.held.is_empty());
        let linger = Timespec::try_from(LINGER).ok().filter(|_| is_idle);
        match poll(&mut all, linger.as_ref()) {
            Ok(0) if is_idle => return Ok(Woken::Ended),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        let ready: Vec<bool> = all.iter().map(|one| !one.revents().is_empty()).collect();
        drop(all);
        if ready.first() == Some(&true) {
            return Ok(Woken::Signal);
        }
        ended = ended || ready.get(1) == Some(&true) && own > 1;
        for (at, ready) in which.into_iter().zip(ready.into_iter().skip(own)) {
            if let Some(flow) = flows.get_mut(at).filter(|_| ready) {
                flow.step();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use rustix::pipe::pipe;

    use super::*;

    #[test]
    fn what_was_said_before_the_end_comes_after_it_however_slow_the_reader() {
        let ((from, mut said), (heard, to), (end, over), (signals, _none)) =
            (pipe().unwrap(), pipe().unwrap(), pipe().unwrap(), pipe().unwrap());
        let bytes: Vec<u8> = (0..1_u32 << 20).map(|at| at.to_le_bytes()[1]).collect();
        let sent = bytes.clone();
        let sender = std::thread::spawn(move || {
            let mut file = std::fs::File::from(std::mem::replace(&mut said, pipe().unwrap().1));
            file.write_all(&sent).unwrap();
            // Somebody keeps it open, as a child that was left behind does.
            std::fs::File::from(over).write_all(b"exit 0\n").unwrap();
            file
        });
        let reader = std::thread::spawn(move || {
            let mut back = Vec::new();
            std::thread::sleep(LINGER * 3);
            std::fs::File::from(heard).read_to_end(&mut back).unwrap();
            back
        });
        let mut flows = [Flow::output(from, to)];
        assert!(matches!(run(&mut flows, &end, &signals), Ok(Woken::Ended)));
        drop(flows);
        assert!(reader.join().unwrap() == bytes);
        drop(sender.join().unwrap());
    }

    #[test]
    fn an_end_of_input_is_passed_on_and_on_a_terminal_is_said() {
        for last in [None, Some(4)] {
            let ((from, said), (heard, to), (end, over), (signals, _none)) =
                (pipe().unwrap(), pipe().unwrap(), pipe().unwrap(), pipe().unwrap());
            std::fs::File::from(said).write_all(b"in").unwrap();
            let mut flows = [Flow::input(from, to, last)];
            let reader = std::thread::spawn(move || {
                let mut back = Vec::new();
                std::fs::File::from(heard).read_to_end(&mut back).unwrap();
                drop(over);
                back
            });
            assert!(matches!(run(&mut flows, &end, &signals), Ok(Woken::Ended)));
            assert_eq!(reader.join().unwrap(), [b"in".as_slice(), last.as_slice()].concat());
        }
    }

    #[test]
    fn who_does_not_listen_any_more_is_told_by_a_closed_pipe() {
        let ((from, said), (heard, to), (end, over), (signals, signal)) =
            (pipe().unwrap(), pipe().unwrap(), pipe().unwrap(), pipe().unwrap());
        drop(heard);
        rustix::io::write(&said, b"x").unwrap();
        let watcher = std::thread::spawn(move || {
            while rustix::io::write(&said, b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(1));
            }
            drop((over, signal));
        });
        // Signals come first; a closed pipe of them is one here.
        let mut flows = [Flow::output(from, to)];
        assert!(run(&mut flows, &end, &signals).is_ok());
        watcher.join().unwrap();
    }
}
