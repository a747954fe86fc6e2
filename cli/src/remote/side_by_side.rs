//! The same work on many things, some at a time, watched as one.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use crate::error::{Error, Result};
use crate::http::CONNECTIONS;
use crate::watch::Watch;

enum Told {
    Bytes(u64),
    Line(String),
}

/// A watch for a worker: whoever waits for the workers hears what they tell.
struct Relay(Sender<Told>);

impl Watch for Relay {
    fn advance(&self, bytes: u64) {
        // Whoever waits has gone: nobody wants to know.
        let _ = self.0.send(Told::Bytes(bytes));
    }

    fn say(&self, line: &str) {
        let _ = self.0.send(Told::Line(line.into()));
    }
}

/// Does `work` on each item, [`CONNECTIONS`] at a time. Results are in the order of the items.
///
/// # Errors
/// The first that occurs; nothing new is begun then.
pub(crate) fn each<T, R>(
    items: &[T],
    watch: &dyn Watch,
    work: impl Fn(&T, &dyn Watch) -> Result<R> + Sync,
) -> Result<Vec<R>>
where
    T: Sync,
    R: Send,
{
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (telling, told) = channel();
    let worker = |relay: Relay| {
        let mut done = Vec::new();
        while !failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { break };
            let result = work(item, &relay);
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
            done.push((index, result));
        }
        done
    };
    let worker = &worker;
    let results = thread::scope(|scope| {
        let count = CONNECTIONS.min(items.len());
        let workers: Vec<_> = (0..count)
            .map(|_| {
                let relay = Relay(telling.clone());
                scope.spawn(move || worker(relay))
            })
            .collect();
        drop(telling);
        for told in told {
            match told {
                Told::Bytes(bytes) => watch.advance(bytes),
                Told::Line(line) => watch.say(&line),
            }
        }
        let joined = workers.into_iter().map(|worker| worker.join().map_err(|_| Error::internal("a worker panicked")));
        joined.collect::<Result<Vec<_>>>()
    })?;
    let mut results: Vec<_> = results.into_iter().flatten().collect();
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    struct Sum(Cell<u64>);

    impl Watch for Sum {
        fn advance(&self, bytes: u64) {
            self.0.set(self.0.get() + bytes);
        }
    }

    #[test]
    fn results_are_in_order_and_every_byte_is_told() {
        let items: Vec<u64> = (0..100).collect();
        let sum = Sum(Cell::new(0));
        let work = |item: &u64, watch: &dyn Watch| {
            watch.advance(*item);
            Ok(item * 2)
        };
        assert_eq!(each(&items, &sum, work).unwrap(), (0..100).map(|item| item * 2).collect::<Vec<_>>());
        assert_eq!(sum.0.get(), 4950);
    }

    #[test]
    fn after_a_failure_nothing_new_is_begun() {
        let items: Vec<u64> = (0..1000).collect();
        let begun = AtomicUsize::new(0);
        let work = |_: &u64, _: &dyn Watch| -> Result<()> {
            begun.fetch_add(1, Ordering::Relaxed);
            Err(Error::user("no"))
        };
        assert!(each(&items, &crate::watch::Unwatched, work).is_err());
        assert!(begun.load(Ordering::Relaxed) <= CONNECTIONS);
    }
}
