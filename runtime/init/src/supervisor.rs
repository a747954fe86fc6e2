//! The containers of what runs, seen together: who may start, what they come to, when a trial has held.
//!
//! The supervisor stands between the machine of each container and the update machine. It owns no process and no
//! clock: facts about containers come in with the time, orders for containers and facts for the update machine go
//! out. It decides nothing that `statemachine` decides; it asks, in one place, in the right order:
//!
//! ```text
//!   fact about one container ──▶ Container::step ──▶ orders for it
//!                                      │
//!              goals::may_start ◀──────┤ all of them, again and again until nothing changes
//!              goals::fold ▸ Watch ────┴──▶ GoalsMet · GoalsLost · GoalMissed · Crashed
//!              goals::settled, soak  ─────▶ Soaked
//! ```
//!
//! Cost: each fact looks at every container. A device has tens of them.

use statemachine::container::{Container, Effect, Event, Policy, RestartPolicy, Span, Time};
use statemachine::goals::{self, Occasion, Standing, Turn, Watch};
use statemachine::update;

/// What the supervisor asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// An order, or a report, about the container of this name.
    Container(String, Effect),
    /// A fact for the update machine.
    Update(Fact),
}

/// What the update machine hears about the containers, all together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fact {
    /// The changed containers have been stopped, and the new ones are known.
    Switched,
    /// The goals took a turn.
    Goals(Turn),
    /// The goals held long enough.
    Soaked,
}

impl From<Fact> for update::Event {
    fn from(fact: Fact) -> Self {
        match fact {
            Fact::Switched => Self::Switched,
            Fact::Goals(Turn::GoalsMet) => Self::GoalsMet,
            Fact::Goals(Turn::GoalsLost) => Self::GoalsLost,
            Fact::Goals(Turn::GoalMissed) => Self::GoalMissed,
            Fact::Goals(Turn::Crashed) => Self::Crashed,
            Fact::Soaked => Self::Soaked,
        }
    }
}

/// A container as its revision describes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Its name, unique in the revision.
    pub name: String,
    /// The index of its group, in the order of starting.
    pub group: usize,
    /// What its machine has to know.
    pub policy: Policy,
    /// Names of others that have to be up before it starts; as an earlier group, in an order within the group.
    pub after: Vec<String>,
}

/// How long apps are held back, because boots keep ending early.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hold {
    /// Until then.
    Until(Time),
    /// For all of this boot.
    ThisBoot,
}

/// The time for which met goals have to hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Soak {
    /// It goes on until then.
    Until(Time),
    /// It is over, and some container has not been up for as long as it must be.
    Over,
}

#[derive(Clone, Debug)]
struct Row {
    member: Member,
    container: Container,
    /// It belongs to the old revision of an update in place, and leaves once it is down.
    leaves: bool,
}

/// What became of the containers of a revision.
#[derive(Clone, Debug)]
pub struct Supervisor {
    rows: Vec<Row>,
    /// Whether any may start.
    begun: bool,
    occasion: Occasion,
    watch: Option<Watch>,
    /// Until when the goals must hold; every container's own `stable_timeout` counts besides.
    soak: Option<Soak>,
    hold: Option<Hold>,
    /// Containers of the new revision that wait until the old ones are down.
    incoming: Option<Vec<Member>>,
}

/// What an update in place does to the containers, total before anything is stopped.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Switch {
    /// They stop, and are not seen again.
    pub stop: Vec<String>,
    /// They start once those are down; a replaced container stands in both lists.
    pub start: Vec<Member>,
}

impl Supervisor {
    /// The containers of the revision that boots. Nothing starts before [`begin`](Self::begin).
    #[must_use]
    pub fn new(members: Vec<Member>) -> Self {
        let rows = members.into_iter().map(Row::new).collect();
        Self { rows, begun: false, occasion: Occasion::Boot, watch: None, soak: None, hold: None, incoming: None }
    }

    /// Starts them, group by group, as carefully as the update machine says.
    pub fn begin(&mut self, care: update::Care, now: Time) -> Vec<Output> {
        self.begun = true;
        self.hold = match care {
            update::Care::All => None,
            // A minute, two, four, … at most an hour.
            update::Care::DelayApps(steps) => {
                let minutes = 1_u64.checked_shl(u32::from(steps)).unwrap_or(u64::MAX).min(60);
                Some(Hold::Until(now.after(Span::seconds(minutes * 60))))
            }
            update::Care::WithoutApps => Some(Hold::ThisBoot),
        };
        self.settle(now, Vec::new())
    }

    /// From now on goals are judged, and groups open only when the ones before them hold: a trial, or a proving boot.
    /// Containers that an update in place has kept get a new deadline.
    pub fn watch(&mut self, now: Time) -> Vec<Output> {
        self.occasion = Occasion::Trial;
        self.watch = Some(Watch::default());
        self.soak = None;
        let mut out = Vec::new();
        for index in 0..self.rows.len() {
            self.step(index, now, Event::TrialBegan, &mut out);
        }
        self.settle(now, out)
    }

    /// The goals are met; they have to hold for this long.
    pub fn soak(&mut self, length: Span, now: Time) -> Vec<Output> {
        self.soak = Some(Soak::Until(now.after(length)));
        self.settle(now, Vec::new())
    }

    /// The update machine has decided: goals are no longer judged.
    pub fn rest(&mut self) {
        self.occasion = Occasion::Boot;
        self.watch = None;
        self.soak = None;
    }

    /// Goes from one set of containers to another. `Switched` follows when all that had to go is down, and the new
    /// ones are known; whether they reach their goals is then watched.
    pub fn switch(&mut self, switch: Switch, now: Time) -> Vec<Output> {
        self.rest();
        let mut out = Vec::new();
        for index in 0..self.rows.len() {
            let goes = self.rows.get(index).is_some_and(|row| switch.stop.contains(&row.member.name));
            if goes {
                if let Some(row) = self.rows.get_mut(index) {
                    row.leaves = true;
                }
                self.step(index, now, Event::Withdrawn, &mut out);
            }
        }
        self.incoming = Some(switch.start);
        self.settle(now, out)
    }

    /// A switch was given up. What leaves goes on leaving, but nothing comes in for it, and no `Switched` follows, however
    /// late the last of them ends: the update machine undoes by then, and would take it for the way back.
    pub fn forget_switch(&mut self) {
        self.incoming = None;
    }

    /// Stops everything, for the end of this boot.
    pub fn withdraw(&mut self, now: Time) -> Vec<Output> {
        self.rest();
        self.incoming = None;
        let mut out = Vec::new();
        for index in 0..self.rows.len() {
            self.step(index, now, Event::Withdrawn, &mut out);
        }
        out
    }

    /// Takes a fact about one container. An unknown name is a fact that came too late.
    pub fn take(&mut self, name: &str, event: Event, now: Time) -> Vec<Output> {
        let mut out = Vec::new();
        // A name that is being replaced belongs to the old container until that is down.
        if let Some(index) = self.rows.iter().position(|row| row.member.name == name) {
            self.step(index, now, event, &mut out);
        }
        self.settle(now, out)
    }

    /// Time has passed.
    pub fn elapse(&mut self, now: Time) -> Vec<Output> {
        let mut out = Vec::new();
        for index in 0..self.rows.len() {
            self.step(index, now, Event::Elapsed, &mut out);
        }
        self.settle(now, out)
    }

    /// The next moment at which [`elapse`](Self::elapse) does something; after it, always a later one. A moment that stayed
    /// would have the loop of PID 1 come back at once, for ever.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let containers = self.rows.iter().filter_map(|row| row.container.deadline());
        let hold = self.hold.and_then(|hold| match hold {
            Hold::Until(time) => Some(time),
            Hold::ThisBoot => None,
        });
        let soak = self.soak.and_then(|soak| match soak {
            Soak::Until(time) => Some(time),
            Soak::Over => None,
        });
        containers.chain(soak).chain(hold).min()
    }

    /// Whether neither process nor mount of any container is left.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.rows.iter().all(|row| row.container.is_down())
    }

    /// Whether all have been started, and every goal is met.
    #[must_use]
    pub fn is_met(&self) -> bool {
        self.begun && goals::fold(self.standings()) == Standing::Met
    }

    /// Every container with its machine, for listings.
    pub fn containers(&self) -> impl Iterator<Item = (&Member, &Container)> {
        self.rows.iter().map(|row| (&row.member, &row.container))
    }

    /// Whether apps are held back at all.
    #[must_use]
    pub fn is_holding(&self) -> bool {
        self.hold.is_some()
    }

    /// How long this container is held back, if it is.
    #[must_use]
    pub fn holds_back(&self, member: &Member) -> Option<Hold> {
        self.hold.filter(|_| is_app(member))
    }

    fn step(&mut self, index: usize, now: Time, event: Event, out: &mut Vec<Output>) {
        let Some(row) = self.rows.get_mut(index) else { return };
        let (container, orders) = row.container.step(&row.member.policy, now, event);
        row.container = container;
        out.extend(orders.into_iter().map(|order| Output::Container(row.member.name.clone(), order)));
    }

    /// Asks everything that depends on all containers, until the answers stay the same.
    fn settle(&mut self, now: Time, mut out: Vec<Output>) -> Vec<Output> {
        if matches!(self.hold, Some(Hold::Until(time)) if time <= now) {
            self.hold = None;
        }
        self.exchange(&mut out);
        self.open_groups(now, &mut out);
        self.judge(now, &mut out);
        out
    }

    /// Lets the new containers in once the old ones are down.
    fn exchange(&mut self, out: &mut Vec<Output>) {
        let waits = self.rows.iter().any(|row| row.leaves && !row.container.is_down());
        if waits {
            return;
        }
        if let Some(incoming) = self.incoming.take() {
            self.rows.retain(|row| !row.leaves);
            self.rows.extend(incoming.into_iter().map(Row::new));
            self.rows.sort_by_key(|row| row.member.group);
            out.push(Output::Update(Fact::Switched));
        }
    }

    fn open_groups(&mut self, now: Time, out: &mut Vec<Output>) {
        if !self.begun {
            return;
        }
        // A start changes no standing by itself, so one look at all of them serves every container.
        let standings = self.standings();
        for index in 0..self.rows.len() {
            let Some(row) = self.rows.get(index).filter(|row| row.container.waits()) else { continue };
            let held = row.leaves || self.holds_back(&row.member).is_some();
            let needed = row.member.after.iter().filter_map(|name| {
                let at = self.rows.iter().position(|other| other.member.name == *name)?;
                standings.get(at).map(|(_, standing)| (0, *standing))
            });
            let opens = goals::may_start(row.member.group, self.occasion, standings.iter().copied())
                && goals::may_start(1, self.occasion, needed);
            self.step(index, now, if opens && !held { Event::Allowed } else { Event::Held }, out);
        }
    }

    fn judge(&mut self, now: Time, out: &mut Vec<Output>) {
        let standing = goals::fold(self.standings());
        if let Some(watch) = self.watch {
            let (watch, turn) = watch.see(standing);
            self.watch = Some(watch);
            if turn.is_some() {
                self.soak = None;
            }
            out.extend(turn.map(|turn| Output::Update(Fact::Goals(turn))));
        }
        if matches!(self.soak, Some(Soak::Until(time)) if time <= now) {
            self.soak = Some(Soak::Over);
        }
        let settled = || goals::settled(self.rows.iter().map(|row| (row.standing(), row.container.is_stable())));
        if standing == Standing::Met && self.soak == Some(Soak::Over) && settled() {
            self.soak = None;
            out.push(Output::Update(Fact::Soaked));
        }
    }

    fn standings(&self) -> Vec<goals::Row> {
        let standing = |row: &Row| match self.hold {
            // It will not run in this boot; a trial that waited for it would wait for ever.
            Some(Hold::ThisBoot) if is_app(&row.member) => Some(Standing::Crashed),
            _ => row.standing(),
        };
        self.rows.iter().map(|row| (row.member.group, standing(row))).collect()
    }
}

impl Row {
    fn new(member: Member) -> Self {
        Self { member, container: Container::new(), leaves: false }
    }

    fn standing(&self) -> Option<Standing> {
        self.container.standing(&self.member.policy)
    }
}

/// An app is what a device can do without: a container whose failure costs only itself.
fn is_app(member: &Member) -> bool {
    member.policy.restart == RestartPolicy::Container
}

#[cfg(test)]
mod tests;
