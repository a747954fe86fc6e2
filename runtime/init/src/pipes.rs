//! Tasks beside the loop: each reads one descriptor and says what it read.
//!
//! A log is written here and not on a thread: a write to a file goes to memory, and a container that waits for room in
//! its pipe waits for itself alone. What cannot be written is dropped by the log, never kept.

use std::rc::Rc;

use container::enter::{REPORT_MAX, Report};
use container::failure::{FRAME_MAX, Failure};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use smol::channel::Sender;
use smol::{Async, LocalExecutor, Task};

use crate::core::Message;
use crate::logs::SharedLog;

/// What is read at once from a log.
const PIECE: usize = 16 * 1024;

/// Tells what the stage of a container came to: its end of file says that the container's own program runs.
pub fn read_failure(tasks: &LocalExecutor<'_>, tell: Sender<Message>, name: &str, run: u64, error: OwnedFd) {
    let name = name.to_owned();
    let task = tasks.spawn(async move {
        let mut frame = Vec::new();
        let mut piece = [0; FRAME_MAX];
        let pipe = Async::new(error);
        while let Ok(pipe) = &pipe
            && let Ok(length @ 1..) = read(pipe, &mut piece).await
            && frame.len() < FRAME_MAX
        {
            frame.extend_from_slice(piece.get(..length).unwrap_or_default());
        }
        // A frame that cannot be read is a failure whose process is about to end, as any other.
        let failure = Failure::decode(&frame).map_err(|bad| bad.to_string());
        let _ = tell.send(Message::Executed(name, run, failure)).await;
    });
    task.detach();
}

/// Tells what became of a child on its way into a container.
pub fn read_report(tasks: &LocalExecutor<'_>, tell: Sender<Message>, id: u32, report: OwnedFd) {
    let task = tasks.spawn(async move {
        let mut bytes = Vec::new();
        let mut piece = [0; REPORT_MAX];
        let pipe = Async::new(report);
        while let Ok(pipe) = &pipe
            && let Ok(length @ 1..) = read(pipe, &mut piece).await
            && bytes.len() <= REPORT_MAX
        {
            bytes.extend_from_slice(piece.get(..length).unwrap_or_default());
        }
        let report = Report::decode(&bytes).map_err(|bad| bad.to_string());
        let _ = tell.send(Message::Reported(id, report)).await;
    });
    task.detach();
}

/// Tells when nobody is left who reads how a program ended. The pipe is open until the task is dropped.
pub fn watch_caller(tasks: &LocalExecutor<'_>, tell: Sender<Message>, id: u32, end: Rc<Async<OwnedFd>>) -> Task<()> {
    tasks.spawn(async move {
        // The end of a pipe that is written is never readable but for this.
        if end.readable().await.is_ok() {
            let _ = tell.send(Message::CallerGone(id)).await;
        }
    })
}

/// Keeps what a container writes, until nobody is left who could.
pub fn keep_log(tasks: &LocalExecutor<'_>, pipe: OwnedFd, log: SharedLog) {
    let task = tasks.spawn(async move {
        let Ok(pipe) = Async::new(pipe) else { return };
        loop {
            match append(&pipe, &log) {
                Ok(0) => break,
                // One that floods its log must not keep the others from their turn.
                Ok(_) => smol::future::yield_now().await,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => match pipe.readable().await {
                    Ok(()) => {}
                    Err(_) => break,
                },
                Err(_) => break,
            }
        }
    });
    task.detach();
}

/// Moves one piece. It lies on the stack, which all have in common: a buffer of its own would be memory for each container.
fn append(pipe: &Async<OwnedFd>, log: &SharedLog) -> Result<usize, Errno> {
    let mut piece = [0; PIECE];
    let length = rustix::io::read(pipe, &mut piece)?;
    log.borrow_mut().append(piece.get(..length).unwrap_or_default());
    Ok(length)
}

/// Reads once there is something.
async fn read(fd: &Async<OwnedFd>, into: &mut [u8]) -> Result<usize, Errno> {
    loop {
        match rustix::io::read(fd, &mut *into) {
            Err(Errno::AGAIN) => fd.readable().await.map_err(|_| Errno::IO)?,
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}
