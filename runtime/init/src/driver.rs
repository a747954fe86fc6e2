//! Runs the update machine against flash: one event in, durable orders to their end, other orders handed out.
//!
//! A durable order is carried out before the next event is taken, never raced against a timer, and never retried: when
//! it reports an error the value is read back, and the machine hears what was found ([`Found`]). The driver compares
//! values; it does not know what they mean.

use statemachine::boot::Wanted;
use statemachine::journal::Journal;
use statemachine::limits::Limits;
use statemachine::update::{Effect, Event, Found, Machine, Pending};

/// What of the world survives a power cut.
///
/// On `Ok`, each write is seen by whoever reads next: after [`sync`](Self::sync) and [`store`](Self::store) that
/// includes a bootloader, which replays no file system journal.
pub trait Flash {
    /// What went wrong, for the log; the machine hears only what a read finds.
    type Error: core::fmt::Display;

    /// Replaces the journal.
    ///
    /// # Errors
    /// Either value may stand afterwards.
    fn persist(&mut self, journal: &Journal) -> Result<(), Self::Error>;

    /// Replaces the boot cell.
    ///
    /// # Errors
    /// Either value may stand afterwards.
    fn store(&mut self, wanted: &Wanted) -> Result<(), Self::Error>;

    /// Makes everything written so far visible to a reader that replays no journal.
    ///
    /// # Errors
    /// Nothing may be assumed to be visible.
    fn sync(&mut self) -> Result<(), Self::Error>;

    /// Reads the journal.
    ///
    /// # Errors
    /// It is absent, or neither copy is whole.
    fn journal(&mut self) -> Result<Journal, Self::Error>;

    /// Reads the boot cell as a bootloader would.
    ///
    /// # Errors
    /// It is not whole.
    fn wanted(&mut self) -> Result<Wanted, Self::Error>;
}

impl<F: Flash + ?Sized> Flash for Box<F> {
    type Error = F::Error;

    fn persist(&mut self, journal: &Journal) -> Result<(), Self::Error> {
        (**self).persist(journal)
    }

    fn store(&mut self, wanted: &Wanted) -> Result<(), Self::Error> {
        (**self).store(wanted)
    }

    fn sync(&mut self) -> Result<(), Self::Error> {
        (**self).sync()
    }

    fn journal(&mut self) -> Result<Journal, Self::Error> {
        (**self).journal()
    }

    fn wanted(&mut self) -> Result<Wanted, Self::Error> {
        (**self).wanted()
    }
}

/// What the driver hands everything else to.
pub trait Hands {
    /// Carries an order out, or starts to; its outcome comes back as an event.
    fn carry_out(&mut self, order: Effect, machine: &Machine);

    /// Hears of every event once it is taken, for log and trace.
    fn took(&mut self, event: &Event, machine: &Machine);

    /// Hears of a durable write that reported an error.
    fn failed(&mut self, order: &Effect, error: &dyn core::fmt::Display);
}

/// The machine between its events.
#[derive(Clone, Debug)]
pub struct Driver {
    machine: Machine,
}

impl Driver {
    /// A driver before its first event, [`Event::Booted`].
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { machine: Machine::dark(limits) }
    }

    /// The machine, to ask.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Writes what the flash holds once more as it is, reads it back, and has it made visible. Nothing changes for
    /// anybody, and if power goes inside, old and new are the same. Laws by name, and what is wrong with them; `None`
    /// while there is something in flight, or not all is known.
    pub fn rewrite(&self, flash: &mut impl Flash) -> Option<[(&'static str, Result<(), String>); 3]> {
        let machine = self.machine();
        let wanted = machine.wanted().filter(|_| machine.may_rewrite())?;
        let journal = machine.journal();
        Some([
            ("write journal", rewritten(flash, journal, Flash::persist, Flash::journal)),
            ("write wanted", rewritten(flash, wanted, Flash::store, Flash::wanted)),
            ("barrier", flash.sync().map_err(|error| error.to_string())),
        ])
    }

    /// Takes one event and everything that follows from it without waiting for the world.
    pub fn take(&mut self, event: Event, flash: &mut impl Flash, hands: &mut impl Hands) {
        let mut next = Some(event);
        while let Some(event) = next.take() {
            let (machine, orders) = self.machine.clone().step(event.clone());
            self.machine = machine;
            hands.took(&event, &self.machine);
            for order in orders {
                if order.is_durable() {
                    next = Some(write(&self.machine, &order, flash, hands));
                } else {
                    hands.carry_out(order, &self.machine);
                }
            }
        }
    }
}

/// Carries the durable value in flight to the flash, and reads it back if that reports an error.
fn write(machine: &Machine, order: &Effect, flash: &mut impl Flash, hands: &mut impl Hands) -> Event {
    match machine.pending() {
        Pending::Journal(new) => match flash.persist(new) {
            Ok(()) => Event::Persisted,
            Err(error) => {
                hands.failed(order, &error);
                Event::WriteFailed(found(flash.journal().ok().as_ref(), new, Some(machine.journal())))
            }
        },
        Pending::Cells(new) => match flash.store(new) {
            Ok(()) => Event::Stored,
            Err(error) => {
                hands.failed(order, &error);
                Event::WriteFailed(found(flash.wanted().ok().as_ref(), new, machine.wanted()))
            }
        },
        Pending::Barrier => match flash.sync() {
            Ok(()) => Event::Synced,
            Err(error) => {
                hands.failed(order, &error);
                Event::WriteFailed(Found::Old)
            }
        },
        // A durable order comes with its value. Should it not, nothing was written and nothing changed.
        Pending::Nothing => Event::WriteFailed(Found::Old),
    }
}

/// Writes a value that stands already, and asks for it.
fn rewritten<F: Flash, T: PartialEq>(
    flash: &mut F,
    value: &T,
    write: fn(&mut F, &T) -> Result<(), F::Error>,
    read: fn(&mut F) -> Result<T, F::Error>,
) -> Result<(), String> {
    write(flash, value).map_err(|error| format!("it was not written: {error}"))?;
    match read(flash) {
        Ok(read) if read == *value => Ok(()),
        Ok(_) => Err("it was written, and something else is read".into()),
        Err(error) => Err(format!("it was written, and cannot be read: {error}")),
    }
}

fn found<T: PartialEq>(read: Option<&T>, new: &T, old: Option<&T>) -> Found {
    match read {
        Some(read) if read == new => Found::New,
        Some(read) if Some(read) == old => Found::Old,
        _ => Found::Unreadable,
    }
}
