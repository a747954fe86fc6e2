//! The update machine at work: facts go in, one by one, and what is ordered comes back to the executor.
//!
//! ```text
//!   executor ── fact (and who asked) ──▶ thread `update`: Driver::take, durable writes to their end
//!            ◀── Taken { orders, machine } ──
//! ```
//!
//! The driver and the flash live on that thread; the executor has the machine as it was after the last fact.

use std::sync::Arc;

use formats::control::{LawView, Refused, Reply};
use smol::channel::Sender;
use statemachine::limits::Limits;
use statemachine::update::{Effect, Event, Machine, State};

use crate::boards::AnyFlash;
use crate::core::{Asker, Message};
use crate::driver::{Driver, Hands};
use crate::threads::Worker;
use crate::trace::Trace;

/// What came of one fact.
pub struct Taken {
    /// Who waits for it, if somebody does.
    pub asked: Option<Asker>,
    /// What is to be done, in order.
    pub orders: Vec<Effect>,
    /// The machine afterwards.
    pub machine: Box<Machine>,
    /// Durable writes that reported an error.
    pub failures: Vec<String>,
}

/// The way to the update machine.
pub struct Updater {
    worker: Worker<Seat>,
}

/// What sits on the thread.
struct Seat {
    driver: Driver,
    flash: AnyFlash,
    trace: Arc<Trace>,
    tell: Sender<Message>,
    opened: Option<Opened>,
}

/// What is done once, when the journal has this boot open. It must not wait.
pub type Opened = Box<dyn FnOnce() + Send>;

impl Updater {
    /// Starts the thread. `tell` hears of every fact that was taken.
    ///
    /// # Errors
    /// There is no room for a thread.
    pub fn start(
        limits: Limits,
        flash: AnyFlash,
        trace: Arc<Trace>,
        tell: Sender<Message>,
        opened: Opened,
    ) -> std::io::Result<Self> {
        let seat = Seat { driver: Driver::new(limits), flash, trace, tell, opened: Some(opened) };
        Ok(Self { worker: Worker::start("update", seat)? })
    }

    /// Hands a fact in.
    pub fn take(&self, event: Event, asked: Option<Asker>) {
        self.worker.order(move |seat| seat.take(event, asked));
    }

    /// [`Driver::rewrite`], told as the answer to a call. What was handed in before comes first, so whether the device
    /// is at rest is known there and nowhere else.
    pub fn rewrite(&self, ask: u32, busy: Refused) {
        self.worker.order(move |seat| {
            let laws = seat.driver.rewrite(&mut seat.flash).ok_or(busy);
            let _ = seat.tell.send_blocking(Message::Answered(ask, laws.map(|laws| Reply::Laws(laws.map(law).into()))));
        });
    }
}

fn law((name, found): (&str, Result<(), String>)) -> LawView {
    LawView { law: name.to_owned(), fault: found.err() }
}

impl Seat {
    fn take(&mut self, event: Event, asked: Option<Asker>) {
        let before = self.driver.machine().state().clone();
        let mut desk =
            Desk { orders: Vec::new(), failures: Vec::new(), before, trace: &self.trace, opened: &mut self.opened };
        self.driver.take(event, &mut self.flash, &mut desk);
        let Desk { orders, failures, .. } = desk;
        let machine = Box::new(self.driver.machine().clone());
        // The executor has gone only if the process has.
        let _ = self.tell.send_blocking(Message::Taken(Taken { asked, orders, machine, failures }));
    }
}

/// Collects what one fact brings about.
struct Desk<'t> {
    orders: Vec<Effect>,
    failures: Vec<String>,
    before: State,
    trace: &'t Trace,
    opened: &'t mut Option<Opened>,
}

impl Hands for Desk<'_> {
    fn carry_out(&mut self, order: Effect, _: &Machine) {
        self.trace.ordered(&order);
        self.orders.push(order);
    }

    fn took(&mut self, event: &Event, machine: &Machine) {
        self.trace.took(event, &self.before, machine);
        // The first journal of a boot is the one that opens it, or says why it cannot.
        if *event == Event::Persisted
            && let Some(opened) = self.opened.take()
        {
            opened();
        }
        self.before = machine.state().clone();
    }

    fn failed(&mut self, order: &Effect, error: &dyn core::fmt::Display) {
        self.failures.push(format!("{order:?}: {error}"));
    }
}
