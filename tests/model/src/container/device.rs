//! What is really there of a container: mounts, a process, an order being carried out; and what luck can make of it.
//!
//! The device obeys its machine and knows no rules. That a process never starts beside another is the machine's
//! promise, and what it is checked against is here.

use statemachine::container::{Container, Effect, Event, Outcome, Policy};
use statemachine::goals::Standing;

/// A process, as the device knows it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Process {
    None,
    Running,
    Terminated,
    Killed,
}

/// An order that will be answered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Job {
    Mount,
    Start,
    Unmount,
}

/// What was asked for last.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Wish {
    Up,
    Down,
    Gone,
}

/// Who is behind a fact.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum By {
    /// The driver owes it.
    Answer,
    /// It may happen or not.
    Luck,
    /// Somebody wants it.
    Person,
    /// The clock.
    Time,
}

/// What is really there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Device {
    pub(crate) mounted: bool,
    pub(crate) process: Process,
    pub(crate) job: Option<Job>,
    pub(crate) wish: Wish,
    /// A person had stopped it before the trial began.
    pub(crate) excused: bool,
    pub(crate) reboot_asked: bool,
}

impl Device {
    /// Nothing is there, and it is wanted up.
    pub(crate) const NEW: Self =
        Self { mounted: false, process: Process::None, job: None, wish: Wish::Up, excused: false, reboot_asked: false };

    /// What can come next from the container itself: the answer to an order, the end of its process, its signal.
    pub(crate) fn facts(&self, policy: &Policy, container: &Container) -> Vec<(Event, By)> {
        let exits =
            [Outcome::Code(0), Outcome::Code(1), Outcome::AskedReboot, Outcome::AskedPowerOff].map(Event::Exited);
        let mut next: Vec<(Event, By)> = Vec::new();
        match self.job {
            Some(Job::Mount) => next.extend([(Event::Mounted, By::Answer), (Event::Failed, By::Answer)]),
            Some(Job::Start) => {
                next.extend([(Event::Started, By::Answer), (Event::Failed, By::Answer)]);
                next.extend(exits.map(|event| (event, By::Answer)));
            }
            Some(Job::Unmount) => next.extend([(Event::Unmounted, By::Answer), (Event::Failed, By::Answer)]),
            None => {}
        }
        match self.process {
            Process::Running | Process::Terminated if self.job.is_none() => {
                next.extend(exits.map(|event| (event, By::Luck)));
                if container.expects_signal(policy) {
                    next.push((Event::Signalled, By::Luck));
                    // Said once more it changes nothing.
                    if container.standing(policy) == Some(Standing::Unmet) {
                        next.push((Event::FoundUnready, By::Luck));
                    }
                }
            }
            Process::Killed => next.push((Event::Exited(Outcome::Signal(9)), By::Answer)),
            Process::None | Process::Running | Process::Terminated => {}
        }
        next
    }

    /// What a fact means for what is there.
    pub(crate) fn happen(mut self, event: Event) -> Self {
        match (event, self.job) {
            (Event::Mounted, _) => (self.job, self.mounted) = (None, true),
            // Some volumes may be there.
            (Event::Failed, Some(Job::Mount)) => (self.job, self.mounted) = (None, true),
            (Event::Unmounted, _) | (Event::Failed, Some(Job::Unmount)) => (self.job, self.mounted) = (None, false),
            (Event::Started, _) => self.job = None,
            (Event::Failed, Some(Job::Start)) | (Event::Exited(_), _) => {
                (self.job, self.process) = (None, Process::None)
            }
            (Event::RebootRefused, _) => self.reboot_asked = false,
            (Event::StopAsked, _) if self.wish == Wish::Up => self.wish = Wish::Down,
            (Event::StartAsked | Event::RestartAsked, _) if self.wish == Wish::Down => {
                (self.wish, self.excused) = (Wish::Up, false);
            }
            (Event::TrialBegan, _) => self.excused = self.wish == Wish::Down,
            (Event::Withdrawn, _) => self.wish = Wish::Gone,
            _ => {}
        }
        self
    }

    /// Begins to carry an order out.
    pub(crate) fn obey(mut self, effect: Effect) -> Self {
        match effect {
            Effect::Mount => self.job = Some(Job::Mount),
            Effect::Start => (self.job, self.process) = (Some(Job::Start), Process::Running),
            Effect::Unmount => self.job = Some(Job::Unmount),
            Effect::Terminate => self.process = Process::Terminated,
            Effect::Kill => self.process = Process::Killed,
            Effect::AskReboot => self.reboot_asked = true,
            Effect::Report(_) => {}
        }
        self
    }
}
