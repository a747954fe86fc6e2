//! The threads beside the executor, one for each kind of work that waits for a medium or for hardware.
//!
//! | thread | what waits there | why alone |
//! |---|---|---|
//! | `update` | the driver: journal, boot cells, barrier | a durable write is never raced and never waits for hashing |
//! | `store` | objects, trails, sweep, reports | reading a gigabyte takes its time |
//! | `mounts` | images, volumes, starts and ends of containers | a hanging medium must not hold up a verdict |
//! | `drivers` | modules of the kernel; only once a container needs some | hardware that answers late holds up nobody else |
//!
//! The executor itself does no more than it can do at once. A queue holds what was ordered and nothing else: who orders
//! is the one state machine, whose orders are bounded, or a call through `front`, of which there are at most so many.

use std::io;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;

use rest::Stack;

type Job<T> = Box<dyn FnOnce(&mut T) + Send>;

/// A thread that owns a value and does one job after the other with it.
pub struct Worker<T>(Sender<Job<T>>);

impl<T: Send + 'static> Worker<T> {
    /// Starts it.
    ///
    /// # Errors
    /// There is no room for another thread.
    pub fn start(name: &str, mut value: T) -> io::Result<Self> {
        let (sender, jobs) = channel::<Job<T>>();
        // What these threads do needs little stack; the default of 8 MiB is address space that is never used.
        thread::Builder::new().name(name.to_owned()).stack_size(512 * 1024).spawn(move || {
            let stack = Stack::of_this_thread();
            while let Some(job) = next(&jobs, stack) {
                job(&mut value);
            }
        })?;
        Ok(Self(sender))
    }

    /// Adds a job. It reports by itself; a thread that has ended has ended the process with it.
    pub fn order(&self, job: impl FnOnce(&mut T) + Send + 'static) {
        let _ = self.0.send(Box::new(job));
    }
}

/// The next job. Before a thread waits for one it gives back what those before it have left behind: they parse states, hash
/// objects and build what containers need, and then there may be nothing to do for months.
fn next<T>(jobs: &Receiver<Job<T>>, stack: Option<Stack>) -> Option<Job<T>> {
    match jobs.try_recv() {
        Ok(job) => Some(job),
        Err(TryRecvError::Empty) => {
            rest::give_back(stack);
            jobs.recv().ok()
        }
        Err(TryRecvError::Disconnected) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_done_in_the_order_in_which_they_were_given() {
        let worker = Worker::start("test", Vec::new()).unwrap();
        (0..100).for_each(|n| worker.order(move |seen: &mut Vec<u32>| seen.push(n)));
        let (tell, told) = channel();
        worker.order(move |seen| tell.send(std::mem::take(seen)).unwrap());
        assert_eq!(told.recv().unwrap(), (0..100).collect::<Vec<_>>());
    }
}
