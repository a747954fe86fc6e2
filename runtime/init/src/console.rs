//! Consoles of containers that are systems: PID 1 has the controlling end of a terminal, keeps what is written there, and
//! shows it to whoever attaches.
//!
//! ```text
//!   container ── terminal ──▶ task ──▶ log, lines without the carriage returns that a terminal adds
//!                  ▲              └──▶ readers, at most READERS_MAX: what one has no room for, it misses
//!                  └── words of readers: what is typed there, the size of a window
//! ```
//!
//! Promises:
//! * A container waits for room in its terminal and for nobody who reads it. What is typed and not read waits in the
//!   socket of who has typed it.
//! * A terminal that is hung up in the container (`vhangup(2)`) is one again. The end of the container ends it, whoever else
//!   has got hold of it.
//! * Nothing here waits but a task for itself: sockets of strangers are never waited for by a system call.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use formats::control::console::{PACKET_MAX, Word};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::termios::{InputModes, SpecialCodeIndex, Winsize, tcgetattr, tcsetwinsize};
use smol::channel::{Receiver, Sender, bounded};
use smol::{Async, LocalExecutor, Task};

use crate::logs::SharedLog;

/// The most who are attached to one console.
pub const READERS_MAX: usize = 4;

/// What is read at once; a terminal has no more.
const PIECE: usize = 4096;

/// What is still kept of what was written before the end: more than the kernel holds back for a terminal.
const LAST: usize = 128 * 1024;

/// After a hang-up: slower than a program could make PID 1 spin, faster than a person notices.
const HUNG_UP: Duration = Duration::from_millis(50);

/// The console of one run of a container. When this is dropped, it ends.
pub struct Console {
    shared: Rc<Shared>,
    /// Closed with this.
    _open: Sender<()>,
}

/// Why nobody was attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// There is no terminal yet.
    NotYet,
    /// There are as many as there may be.
    Full,
    /// The kernel says so.
    System(Errno),
}

struct Shared {
    controlling: RefCell<Option<Rc<Async<OwnedFd>>>>,
    readers: RefCell<Vec<Reader>>,
    /// Numbers them.
    attached: Cell<u32>,
}

struct Reader {
    number: u32,
    socket: Rc<Async<OwnedFd>>,
    /// Bytes that it had no room for.
    missed: u64,
    /// Hears what it has to say, and ends with this.
    _task: Task<()>,
}

impl Console {
    /// Waits for the terminal to come from the stage of the container, and keeps what is written there.
    #[must_use]
    pub fn new(tasks: &LocalExecutor<'_>, way: OwnedFd, log: SharedLog) -> Self {
        let shared =
            Rc::new(Shared { controlling: RefCell::default(), readers: RefCell::default(), attached: Cell::new(0) });
        let (open, closed) = bounded(1);
        tasks.spawn(keep(Rc::clone(&shared), way, closed, log)).detach();
        Self { shared, _open: open }
    }

    /// Attaches whoever has the other end of this socket.
    ///
    /// # Errors
    /// [`Refusal`]
    pub fn attach(&self, tasks: &LocalExecutor<'_>, socket: OwnedFd) -> Result<(), Refusal> {
        let Some(controlling) = self.shared.controlling.borrow().clone() else { return Err(Refusal::NotYet) };
        if self.shared.readers.borrow().len() >= READERS_MAX {
            return Err(Refusal::Full);
        }
        let socket =
            Async::new(socket).map_err(|error| Refusal::System(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
        let (socket, number) = (Rc::new(socket), self.shared.attached.get());
        self.shared.attached.set(number.wrapping_add(1));
        let task = tasks.spawn(listen(Rc::clone(&self.shared), controlling, Rc::clone(&socket), number));
        self.shared.readers.borrow_mut().push(Reader { number, socket, missed: 0, _task: task });
        Ok(())
    }
}

/// Keeps what is written, from the moment at which there is a terminal to the end of the container.
async fn keep(shared: Rc<Shared>, way: OwnedFd, closed: Receiver<()>, log: SharedLog) {
    let Some(controlling) = arrival(way, &closed).await else { return };
    let controlling = Rc::new(controlling);
    *shared.controlling.borrow_mut() = Some(Rc::clone(&controlling));
    // While somebody has the other end, a container that lets go of its own is no end.
    let mut other = container::console::other_end(&*controlling);
    let (mut piece, mut lines, mut left) = (vec![0; PIECE], Lines::default(), LAST);
    loop {
        let ends = closed.is_closed();
        match rustix::io::read(&*controlling, piece.as_mut_slice()) {
            Ok(length @ 1..) => {
                let bytes = piece.get(..length).unwrap_or_default();
                log.borrow_mut().append(&lines.plain(bytes));
                shared.show(bytes);
                if ends {
                    left = left.saturating_sub(length);
                    if left == 0 {
                        break;
                    }
                }
                // One that floods its console must not keep the others from their turn.
                smol::future::yield_now().await;
            }
            Err(Errno::INTR) => {}
            _ if ends => break,
            Err(Errno::AGAIN) => {
                let end = async {
                    let _ = closed.recv().await;
                    Ok(())
                };
                if smol::future::or(controlling.readable(), end).await.is_err() {
                    break;
                }
            }
            // Hung up, or the kernel could not open the other end before.
            _ => {
                drop(other);
                smol::Timer::after(HUNG_UP).await;
                other = container::console::other_end(&*controlling);
            }
        }
    }
    *shared.controlling.borrow_mut() = None;
    // With them go the sockets, which says to their readers that this was all.
    let readers = std::mem::take(&mut *shared.readers.borrow_mut());
    drop(readers);
}

/// The controlling end, once it has come.
async fn arrival(way: OwnedFd, closed: &Receiver<()>) -> Option<Async<OwnedFd>> {
    let way = Async::new(way).ok()?;
    loop {
        match container::console::take(&way) {
            Ok(terminal) => return Async::new(terminal?).ok(),
            Err(Errno::AGAIN) if !closed.is_closed() => {
                let end = async {
                    let _ = closed.recv().await;
                    Ok(())
                };
                smol::future::or(way.readable(), end).await.ok()?;
            }
            Err(_) => return None,
        }
    }
}

impl Shared {
    /// Shows all readers what was written. Never waits.
    fn show(&self, bytes: &[u8]) {
        self.readers.borrow_mut().retain_mut(|reader| reader.show(bytes));
    }

    /// A reader is gone. When it was the last, a container that was stopped by Ctrl-S goes on: nobody could say Ctrl-Q.
    fn leave(&self, number: u32, controlling: &OwnedFd) {
        self.readers.borrow_mut().retain(|reader| reader.number != number);
        if self.readers.borrow().is_empty()
            && let Ok(modes) = tcgetattr(controlling)
            && modes.input_modes.contains(InputModes::IXON)
            && let start @ 1.. = modes.special_codes[SpecialCodeIndex::VSTART]
        {
            let _ = rustix::io::write(controlling, &[start]);
        }
    }
}

impl Reader {
    /// Whether it is still there.
    fn show(&mut self, bytes: &[u8]) -> bool {
        if self.missed > 0 {
            let note = format!("\r\n[{} bytes are missing here]\r\n", self.missed);
            match self.send(note.as_bytes()) {
                Ok(()) => self.missed = 0,
                Err(Errno::AGAIN) => {}
                Err(_) => return false,
            }
        }
        let sent = if self.missed > 0 { Err(Errno::AGAIN) } else { self.send(bytes) };
        match sent {
            Err(Errno::AGAIN) => {
                self.missed = self.missed.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
                true
            }
            sent => sent.is_ok(),
        }
    }

    /// One packet, whatever its owner has made of the socket meanwhile.
    fn send(&self, bytes: &[u8]) -> Result<(), Errno> {
        loop {
            match send(&*self.socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Err(Errno::INTR) => {}
                other => return other.map(drop),
            }
        }
    }
}

/// Hears one reader until it is gone, or says what nobody understands.
async fn listen(shared: Rc<Shared>, controlling: Rc<Async<OwnedFd>>, socket: Rc<Async<OwnedFd>>, number: u32) {
    let mut packet = vec![0; PACKET_MAX + 1];
    loop {
        match recv(&*socket, packet.as_mut_slice(), RecvFlags::DONTWAIT) {
            Ok((length @ 1.., _)) => match Word::parse(packet.get(..length).unwrap_or_default()) {
                Some(Word::Typed(bytes)) => {
                    if type_in(&controlling, bytes).await.is_err() {
                        break;
                    }
                }
                Some(Word::Window { rows, columns }) => {
                    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
                    // A terminal that has gone meanwhile has no size.
                    let _ = tcsetwinsize(&*controlling, size);
                }
                None => break,
            },
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                if socket.readable().await.is_err() {
                    break;
                }
            }
            _ => break,
        }
        smol::future::yield_now().await;
    }
    shared.leave(number, controlling.get_ref());
}

/// Types it, as there is room.
async fn type_in(controlling: &Async<OwnedFd>, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(controlling, bytes) {
            Ok(length) => bytes = bytes.get(length..).unwrap_or_default(),
            Err(Errno::AGAIN) => controlling.writable().await?,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// What of a terminal goes to a log.
#[derive(Default)]
struct Lines {
    /// A carriage return that may be of the end of a line.
    held: bool,
}

impl Lines {
    /// The bytes without the carriage returns before the ends of lines.
    fn plain(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut plain = Vec::with_capacity(bytes.len().saturating_add(1));
        for byte in bytes {
            if std::mem::take(&mut self.held) && *byte != b'\n' {
                plain.push(b'\r');
            }
            match byte {
                b'\r' => self.held = true,
                other => plain.push(*other),
            }
        }
        plain
    }
}

#[cfg(test)]
mod tests;
