//! The supervisor of one container, as small as it can be: what it does by itself, and what it says to whom.
//!
//! It gives a container its turn, replaces it once the one before is down, watches goals and runs the soak. It decides
//! nothing else; whatever it must not do is checked from outside, in [`rules`](super::rules).

use statemachine::container::{Container, Effect, Event, Policy, Status, Time};
use statemachine::goals::{Standing, Turn, Watch, fold, settled};
use statemachine::update::Care;

use crate::container::TICK;
use crate::container::device::{Device, Job, Process, Wish};
use crate::moves::Move;

/// How long goals have to hold, and how long apps wait while power flaps; in ticks.
const SOAK: u8 = 1;
const DELAY: u8 = 1;

/// What the update machine orders of the supervisor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    Start { revision: u8, care: Care },
    Switch { to: u8, trial: bool },
    Watch,
    Soak,
    Refuse,
}

/// What the supervisor says to the update machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Word {
    Goals(Turn),
    Soaked,
    RebootAsked,
}

impl Word {
    /// The move of free luck that says the same.
    pub(super) fn as_move(self) -> Move {
        match self {
            Self::Goals(Turn::GoalsMet) => Move::GoalsMet,
            Self::Goals(Turn::GoalsLost) => Move::GoalsLost,
            Self::Goals(Turn::GoalMissed) => Move::GoalMissed,
            Self::Goals(Turn::Crashed) => Move::Crashed,
            Self::Soaked => Move::Soaked,
            Self::RebootAsked => Move::Reboot { policy: true },
        }
    }
}

/// What a scenario says about the container.
#[derive(Clone, Copy)]
pub(super) struct Manifest {
    pub(super) policy: Policy,
    pub(super) keeps: bool,
}

/// The supervisor with its container, in one boot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Supervisor {
    /// The revision that the container belongs to; `None`: none was started in this boot.
    pub(super) owner: Option<u8>,
    pub(super) container: Container,
    pub(super) device: Device,
    /// The revision whose container is to follow, once this one is down.
    pub(super) coming: Option<u8>,
    /// Apps of this revision stay down in this boot.
    pub(super) kept_down: Option<u8>,
    /// Ticks before apps may start.
    pub(super) delay: u8,
    pub(super) watch: Option<Watch>,
    /// Ticks before the goals have held long enough.
    pub(super) soak: Option<u8>,
}

/// An order was given that what is really there does not allow.
pub(super) struct Clash;

impl Supervisor {
    /// At the beginning of a boot.
    pub(super) const NEW: Self = Self {
        owner: None,
        container: Container::new(),
        device: Device::NEW,
        coming: None,
        kept_down: None,
        delay: 0,
        watch: None,
        soak: None,
    };

    /// Takes an order.
    pub(super) fn obey(&mut self, manifest: &Manifest, order: Order) -> Result<(), Clash> {
        match order {
            Order::Start { revision, care } => {
                self.owner = Some(revision);
                match care {
                    Care::All => {}
                    Care::DelayApps(_) => self.delay = DELAY,
                    Care::WithoutApps => self.kept_down = Some(revision),
                }
            }
            Order::Switch { to, trial } => {
                (self.watch, self.soak, self.delay) = (None, None, 0);
                if manifest.keeps {
                    self.owner = Some(to);
                    if trial {
                        return self.tell(manifest, Event::TrialBegan);
                    }
                } else {
                    self.coming = Some(to);
                    return self.tell(manifest, Event::Withdrawn);
                }
            }
            Order::Watch => (self.watch, self.soak) = (Some(Watch::default()), None),
            Order::Soak => self.soak = Some(SOAK),
            Order::Refuse if self.device.reboot_asked => return self.tell(manifest, Event::RebootRefused),
            Order::Refuse => {}
        }
        Ok(())
    }

    /// The switch under way was given up.
    pub(super) fn abandon(&mut self) {
        self.coming = None;
    }

    /// Does the next thing that needs neither luck nor the update machine. `None`: there is nothing.
    pub(super) fn go_on(&mut self, manifest: &Manifest) -> Option<Result<(), Clash>> {
        if let Some(next) = self.coming
            && self.container.is_down()
        {
            (self.owner, self.coming, self.container) = (Some(next), None, Container::new());
            self.device = Device { wish: Wish::Up, excused: false, reboot_asked: false, ..self.device };
            return Some(Ok(()));
        }
        if self.owner.is_none() || !self.container.waits() || self.is_kept_down(manifest) {
            return None;
        }
        if self.delay == 0 {
            return Some(self.tell(manifest, Event::Allowed));
        }
        (self.container.status() == Status::Installed).then(|| self.tell(manifest, Event::Held))
    }

    /// What the update machine has to hear now.
    pub(super) fn speak(&mut self, manifest: &Manifest) -> Option<Word> {
        let standing = self.standing(manifest);
        if let Some(watch) = self.watch {
            let (watch, turn) = watch.see(fold([(0, standing)]));
            self.watch = Some(watch);
            if let Some(turn) = turn {
                self.soak = self.soak.filter(|_| turn == Turn::GoalsMet);
                return Some(Word::Goals(turn));
            }
        }
        if self.soak == Some(0) && settled([(standing, self.container.is_stable())]) {
            self.soak = None;
            return Some(Word::Soaked);
        }
        self.device.reboot_asked.then_some(Word::RebootAsked)
    }

    /// Hands a fact to the container and has its orders carried out.
    pub(super) fn tell(&mut self, manifest: &Manifest, event: Event) -> Result<(), Clash> {
        self.tell_at(manifest, Time(0), event)
    }

    fn tell_at(&mut self, manifest: &Manifest, now: Time, event: Event) -> Result<(), Clash> {
        self.device = self.device.happen(event);
        let Device { mounted, process, job, .. } = self.device;
        let still = process == Process::None && job.is_none();
        let (container, effects) = self.container.step(&manifest.policy, now, event);
        self.container = container.rebased(now);
        let mut outcome = Ok(());
        for effect in effects {
            let fits = match effect {
                Effect::Mount => !mounted && still,
                Effect::Start => mounted && still,
                Effect::Unmount => still,
                Effect::Terminate | Effect::Kill => process != Process::None,
                Effect::AskReboot | Effect::Report(_) => true,
            };
            if !fits {
                outcome = Err(Clash);
            }
            self.device = self.device.obey(effect);
        }
        outcome
    }

    /// Whether time changes anything.
    pub(super) fn waits_for_time(&self) -> bool {
        self.container.deadline().is_some() || self.delay > 0 || self.soak.is_some_and(|left| left > 0)
    }

    /// One tick of the clock passes.
    pub(super) fn tick(&mut self, manifest: &Manifest) -> Result<(), Clash> {
        self.delay = self.delay.saturating_sub(1);
        self.soak = self.soak.map(|left| left.saturating_sub(1));
        self.tell_at(manifest, Time(TICK.0), Event::Elapsed)
    }

    /// Apps that may not start have failed, as far as goals go: nothing would ever become of a watch over them.
    fn standing(&self, manifest: &Manifest) -> Option<Standing> {
        if self.is_kept_down(manifest) { Some(Standing::Crashed) } else { self.container.standing(&manifest.policy) }
    }

    /// Whether the container may not start in this boot. A revision that keeps it keeps it down.
    pub(super) fn is_kept_down(&self, manifest: &Manifest) -> bool {
        self.kept_down.is_some() && (manifest.keeps || self.owner == self.kept_down)
    }

    /// Whether nothing of a container is on the device.
    pub(super) fn is_bare(&self) -> bool {
        let Device { mounted, process, job, .. } = self.device;
        !mounted && process == Process::None && !matches!(job, Some(Job::Mount | Job::Start))
    }
}
