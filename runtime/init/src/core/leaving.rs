//! The end of a boot, in order: containers are asked to end, then nothing is left of them, then the kernel hears of it.

use formats::control::{Refused, Reply};
use statemachine::container::{Span, Time};
use statemachine::update::Event;

use super::{Asker, Core};

/// How long containers may take, all together, beside what one may take, before what is left of them is killed.
const PATIENCE: Span = Span::seconds(10);

/// How a boot ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// Another follows.
    Restart,
    /// None does.
    PowerOff,
}

/// A boot that is ending.
pub(super) struct Leaving {
    trial: bool,
    /// When patience is over.
    pub(super) until: Time,
}

impl Core {
    /// Somebody wants this boot to end. The update machine says whether it may.
    pub(super) fn end_asked(&mut self, ending: Ending, asked: Option<u32>) {
        if self.leaving.is_none() {
            self.ending = ending;
        }
        self.updater.take(Event::RebootAsked { cause: None }, asked.map(Asker::Call));
    }

    /// The update machine has ordered it.
    pub(super) fn leave(&mut self, trial: bool) {
        self.log.info("update", &format_args!("leaving{}", if trial { " for a trial" } else { "" }));
        // A trial is asked for by a reboot, whatever a person wanted before.
        if trial {
            self.ending = Ending::Restart;
        }
        self.leaving = Some(Leaving { trial, until: self.now().after(self.settings.stop_timeout).after(PATIENCE) });
        self.end_hooks();
        let outputs = self.supervisor.withdraw(self.now());
        self.follow(outputs);
    }

    /// Whether the kernel may hear of it.
    pub(super) fn is_over(&mut self) -> Option<(Ending, bool)> {
        let leaving = self.leaving.as_ref()?;
        let (trial, late) = (leaving.trial, leaving.until <= self.now());
        let down = self.supervisor.is_down() && self.hooks.are_idle();
        if !late && !down {
            return None;
        }
        if late {
            let names: Vec<String> = self.table.keys().cloned().collect();
            for name in names {
                self.log.warn(&name, &"does not end; killed");
                let _ = self.engine.kill(&name);
            }
        }
        Some((self.ending, trial))
    }

    /// A call that wants this boot to end. Its answer comes with the update machine's, in the turn of the loop in which
    /// the containers are asked to end: there is still somebody to tell it.
    pub(super) fn end_call(&mut self, ending: Ending, id: u32) -> Option<Result<Reply, Refused>> {
        self.end_asked(ending, Some(id));
        None
    }
}
