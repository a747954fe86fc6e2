//! The hardware watchdog of a machine that is ours, fed by the loop that it watches.
//!
//! ```text
//!   modules ▸ armed ▸ storage ▸ board ▸ loop ──feeds──▶ the watchdog
//!                  └── each step feeds it once ──┘        a loop that stands still ends the boot, and the firmware counts
//! ```
//!
//! What feeds it is a task of the loop's own executor: nothing runs there while the loop is stuck in one message. It stays
//! armed over a restart, so that one which hangs half-way ends too.

use std::cell::RefCell;
use std::num::NonZeroU16;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use metal::watchdog::{NODE, Watchdog};
use smol::{LocalExecutor, Timer};

use crate::voice::Voice;

/// How often a loop without a watchdog would feed it: seldom.
const NONE: Duration = Duration::from_secs(3600);

/// The watchdog, if there is one. Its clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Guard(Rc<RefCell<Option<Watchdog>>>);

impl Guard {
    /// Arms the watchdog of the machine, and says whether it has ended the boot before. One that is not there is told to a
    /// person, and is no reason not to boot.
    pub fn arm(&self, seconds: NonZeroU16, log: &Voice) -> bool {
        match Watchdog::open(Path::new(NODE), seconds) {
            Ok((watchdog, warning)) => {
                let period = watchdog.period().as_secs();
                log.info("watchdog", &format_args!("armed; fed every {period} seconds"));
                if let Some(warning) = warning {
                    log.warn("watchdog", &warning);
                }
                let fired = watchdog.has_fired();
                self.0.replace(Some(watchdog));
                fired
            }
            Err(error) => {
                log.warn("watchdog", &error);
                false
            }
        }
    }

    /// A step is done.
    pub fn feed(&self) {
        if let Some(watchdog) = self.0.borrow_mut().as_mut() {
            watchdog.feed();
        }
    }

    /// How often it wants to be fed.
    #[must_use]
    pub fn period(&self) -> Duration {
        self.0.borrow().as_ref().map_or(NONE, Watchdog::period)
    }

    /// Has it fed by a loop, for as long as that goes round.
    pub fn watch(&self, tasks: &LocalExecutor<'static>) {
        let guard = self.clone();
        if guard.0.borrow().is_none() {
            return;
        }
        let task = tasks.spawn(async move {
            loop {
                guard.feed();
                Timer::after(guard.period()).await;
            }
        });
        task.detach();
    }

    /// The power goes off, by order.
    pub fn disarm(&self) {
        if let Some(watchdog) = self.0.take() {
            watchdog.disarm();
        }
    }
}
