//! The heart of PID 1: one loop, one message at a time, and nothing in it that waits.
//!
//! ```text
//!   signals, pipes, frames of `front` ─┐                       ┌─▶ thread update   facts
//!   answers of the three threads ──────┼─▶ Message ─▶ Core ────┼─▶ thread store    objects, trails
//!   time ──────────────────────────────┘     │    ▲            └─▶ thread mounts   containers
//!                                            └────┘ supervisor
//! ```
//!
//! The core owns the supervisor, the table of containers and the uploads, and has the latest update machine to look at.
//! It decides nothing about an update: it hands facts to the machine and carries out what that orders (`orders`).
//! What tools ask is in `calls`, what they start in containers in `programs`, how these are asked whether they
//! are ready in `readiness`, whose consoles they see in `consoles`, who may
//! in `permissions`, what they send in `uploads`, what makes room for it in `sweeping`, what the machine of one container
//! orders is in `containers`, its drivers in `drivers`, its device nodes in `devices`, hooks of the base system in `hooks`,
//! the bootloader of the default in `bootloader`, published ports during an update in place in `ports`.

mod bootloader;
mod calls;
mod consoles;
mod containers;
mod devices;
mod drivers;
mod hooks;
mod inspecting;
mod leaving;
mod metadata;
mod orders;
mod pairings;
mod permissions;
mod ports;
mod programs;
mod readiness;
mod reports;
mod shared_pipe;
mod sweeping;
mod uploads;
mod views;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use container::failure::Failure;
use formats::control::{Ask, Refused, Reply};
use formats::pairing::Pairing;
use smol::LocalExecutor;
use smol::channel::{Receiver, Sender};
use statemachine::container::{Outcome, Span, Time};
use statemachine::ids::RevisionId;
use statemachine::journal::Record;
use statemachine::recover::Boot;
use statemachine::update::{Event, Machine, Running, State};
use store::dir::DirError;

use crate::clock::Clock;
use crate::engine::{Engine, EngineError, Mounts};
use crate::handed::Handed;
use crate::helpers::{FromHelper, Helpers};
use crate::holdings::{Candidate, HoldError, Holdings};
use crate::pairing::Pairings;
use crate::settings::Settings;
use crate::supervisor::{Supervisor, Switch};
use crate::threads::Worker;
use crate::trace::Trace;
use crate::updater::{Taken, Updater};
use crate::voice::Voice;

use containers::Seat;
use leaving::Leaving;
use sweeping::Arrived;
use uploads::{Delivered, Uploads};

pub use leaving::Ending;

/// How many messages wait before whoever sends one waits too. Their places are memory for as long as PID 1 lives.
pub const QUEUE: usize = 64;

/// How long the containers that leave in an update in place may take, all together. Longer than any grace: who is still
/// there then does not die of a kill either.
const SWITCH: Span = Span::seconds(120);

/// After this long the end of a boot is no longer counted against it.
const LASTED: Span = Span::seconds(600);

/// Everything that can happen. What is large is behind a pointer: the queue has [`QUEUE`] places of the largest.
pub enum Message {
    /// Children have ended.
    ChildEnded,
    /// Somebody wants the device to end this boot: a signal from outside.
    EndAsked(Ending),
    /// The update machine has taken a fact.
    Taken(Taken),
    /// Long work for the update machine is done; with why it was not, if so.
    Worked(Box<Event>, Option<String>),
    /// A revision that was asked for, to be proposed or switched to.
    Loaded(Purpose, Result<Arc<Candidate>, HoldError>),
    /// The volumes of a container are mounted, or not.
    Mounted(String, u64, Result<Mounts, EngineError>),
    /// The process of a container was started, or not.
    Spawned(String, u64, Result<crate::engine::Running, EngineError>),
    /// The drivers of a container are loaded, or one that it requires is not; and what a person should hear.
    Driven(String, u64, Vec<String>, Result<(), String>),
    /// What a person should hear about the drivers of a container.
    Remarked(String, Vec<String>),
    /// What becomes of system hooks.
    Hook(hooks::Step),
    /// A device has come or gone.
    DevicesChanged,
    /// Containers have the nodes that their rules want, but for what is said of each.
    DevicesSettled(Vec<(String, Vec<String>)>),
    /// Its own program runs, or a step before that failed.
    Executed(String, u64, Result<Option<Failure>, String>),
    /// No volume of a container is left, or something is.
    Unmounted(String, u64, Result<(), EngineError>),
    /// A helper says something.
    Helper(FromHelper),
    /// A piece of an upload was taken.
    Delivered(Box<Delivered>),
    /// A child is on its way into a container, or there is none.
    Entered(u32, Result<container::enter::Entered, String>),
    /// What became of that child.
    Reported(u32, Result<container::enter::Report, String>),
    /// Whoever started a program in a container is gone.
    CallerGone(u32),
    /// The answer to a call is known.
    Answered(u32, Result<Reply, Refused>),
    /// A list of pairings is durable, or not: the call, the list, what has changed, and its answer.
    PairingsKept(u32, Result<Vec<Pairing>, DirError>, String, Reply),
    /// A sweep is over, and the call that waits for it.
    Swept(Option<u32>, Result<u64, String>),
    /// What a person should know of the networks that were made.
    NetworksSettled(Vec<String>),
    /// Nobody is refused at the ports of the containers that an update in place replaces, or somebody may be.
    PortsHeld(Result<(), EngineError>),
    /// What is done about the bootloader next.
    BootloaderChanges(String),
    /// The bootloader of this default boots, with what has changed for that; or does not, and why.
    BootloaderRenewed(RevisionId, Result<Option<String>, String>),
}

const _: () = assert!(size_of::<Message>() <= 256, "a place of the queue is large: box what the largest message holds");

/// For what a revision was loaded.
#[derive(Clone, Debug)]
pub enum Purpose {
    /// A tool wants it to run.
    Propose {
        /// The call.
        ask: u32,
        /// Also if it was found bad before.
        retry: bool,
    },
    /// The update machine verifies it.
    Verify,
    /// The update machine goes to it.
    Switch,
}

/// On whose behalf the update machine was told something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asker {
    /// A call of a tool.
    Call(u32),
    /// A container whose policy wants a reboot.
    Container(String),
}

/// What PID 1 was made of before the loop begins.
pub struct Parts {
    /// Settings of the device.
    pub settings: Settings,
    /// The clock.
    pub clock: Clock,
    /// Where events go.
    pub trace: Arc<Trace>,
    /// Where lines for people go.
    pub log: Rc<Voice>,
    /// The way to the update machine.
    pub updater: Updater,
    /// The thread of the store.
    pub store: Worker<Holdings>,
    /// The thread of the mounts.
    pub mounts: Worker<Arc<Engine>>,
    /// The engine itself, for what is prompt.
    pub engine: Arc<Engine>,
    /// The helpers.
    pub helpers: Helpers,
    /// Who may use the endpoint from outside.
    pub pairings: Pairings,
    /// What the firmware started, if it may run.
    pub current: Option<Arc<Candidate>>,
    /// Where messages go.
    pub tell: Sender<Message>,
    /// The tasks beside the loop.
    pub tasks: Rc<LocalExecutor<'static>>,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// Why the storage cannot be written, if it cannot.
    pub read_only: Option<String>,
}

/// PID 1 at work.
pub struct Core {
    settings: Settings,
    clock: Clock,
    trace: Arc<Trace>,
    log: Rc<Voice>,
    updater: Updater,
    /// As it was after the last fact.
    machine: Machine,
    store: Worker<Holdings>,
    mounts: Worker<Arc<Engine>>,
    engine: Arc<Engine>,
    /// The thread of the drivers, once there is something to do for it.
    drivers: Option<Worker<drivers::OfDevice>>,
    /// At the nodes of containers.
    looks: devices::Looks,
    hooks: hooks::Hooks,
    helpers: Helpers,
    pairings: Pairings,
    supervisor: Supervisor,
    /// What the containers are of.
    current: Option<Arc<Candidate>>,
    /// What an update is about.
    target: Option<Arc<Candidate>>,
    /// What an update in place can be undone to.
    fallback: Option<Arc<Candidate>>,
    /// What the containers will be of, once those that leave are down.
    incoming: Option<Arc<Candidate>>,
    /// By when those are to be down.
    switch_until: Option<Time>,
    /// What is done as soon as ports are held.
    held_switch: Option<Switch>,
    /// Until when those of the containers that came may be silent.
    ports_until: Option<Time>,
    /// A switch was given up half-way: only a reboot puts the containers back.
    torn: bool,
    table: BTreeMap<String, Seat>,
    /// Numbers the runs of containers, so that what comes late is known to be late.
    runs: u64,
    /// Children that ended before anybody knew whose they were.
    unclaimed: VecDeque<(rustix::process::Pid, Outcome)>,
    /// Programs in containers that somebody has started, by the numbers that they were given.
    guests: BTreeMap<u32, programs::Guest>,
    asked_programs: u32,
    uploads: Uploads,
    /// Objects that arrived for a revision that is not here yet.
    arrived: Arrived,
    /// Revisions that were posted in this boot and have not run.
    posted: BTreeSet<RevisionId>,
    /// Those that a call over the network has brought, and the call that shall run them.
    offered: BTreeMap<RevisionId, Option<u32>>,
    /// The record that the latest report was made of.
    reported: Option<Record>,
    /// The default whose bootloader was looked after in this boot.
    renewed: Option<RevisionId>,
    /// Why the latest long work failed.
    why: Option<String>,
    /// What was wrong with containers when the latest verdict was made.
    failures: Vec<(String, String)>,
    /// This boot is one of recovery: nothing runs in which a person could ask for anything.
    recovery: bool,
    /// When this boot has lasted.
    lasts: Option<Time>,
    leaving: Option<Leaving>,
    ending: Ending,
    /// Pages of the program were needed since it was last given back.
    is_mapped: bool,
    warnings: Vec<String>,
    /// Why the storage cannot be written. Nothing is accepted then.
    read_only: Option<String>,
    tell: Sender<Message>,
    tasks: Rc<LocalExecutor<'static>>,
}

impl Core {
    /// Puts the parts together. Nothing has happened yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let members = parts.current.as_ref().map(|current| current.assembly.members()).unwrap_or_default();
        let limits = parts.settings.limits;
        let mut core = Self {
            settings: parts.settings,
            clock: parts.clock,
            trace: parts.trace,
            log: parts.log,
            updater: parts.updater,
            machine: Machine::dark(limits),
            store: parts.store,
            mounts: parts.mounts,
            engine: parts.engine,
            drivers: None,
            looks: devices::Looks::default(),
            hooks: hooks::Hooks::default(),
            helpers: parts.helpers,
            pairings: parts.pairings,
            supervisor: Supervisor::new(members),
            current: parts.current.clone(),
            target: None,
            fallback: None,
            incoming: None,
            switch_until: None,
            held_switch: None,
            ports_until: None,
            torn: false,
            table: BTreeMap::new(),
            runs: 0,
            unclaimed: VecDeque::new(),
            guests: BTreeMap::new(),
            asked_programs: 0,
            uploads: Uploads::default(),
            arrived: Arrived::default(),
            posted: BTreeSet::new(),
            offered: BTreeMap::new(),
            reported: None,
            renewed: None,
            why: None,
            failures: Vec::new(),
            recovery: false,
            lasts: Some(parts.clock.now().after(LASTED)),
            leaving: None,
            ending: Ending::Restart,
            is_mapped: false,
            warnings: parts.warnings,
            read_only: parts.read_only,
            tell: parts.tell,
            tasks: parts.tasks,
        };
        if let Some(current) = parts.current {
            core.seat(&current);
        }
        core
    }

    /// Tells the update machine what this boot is, then takes one message after the other. It returns when nothing is
    /// left to be done before the device may end this boot: in which way, and whether a trial is to be asked for.
    pub async fn run(mut self, boot: Boot, messages: Receiver<Message>) -> (Ending, bool) {
        self.recovery = boot.running == Running::Recovery;
        self.load_all_drivers();
        self.updater.take(Event::Booted(boot), None);
        self.helpers.start(&self.log, self.now());
        loop {
            if let Some(end) = self.is_over() {
                return end;
            }
            if self.is_mapped && messages.is_empty() && self.is_quiet() {
                self.is_mapped = false;
                rest::give_back_program();
            }
            // Never at once: the tasks beside this one, signals and the watchdog among them, run while it waits.
            let wait = self.next_deadline().map(|at| Duration::from_millis(at.until(self.now()).0.max(1)));
            let message = match wait {
                None => messages.recv().await.ok(),
                Some(wait) => {
                    let timer = async {
                        smol::Timer::after(wait).await;
                        None
                    };
                    smol::future::or(async { messages.recv().await.ok() }, timer).await
                }
            };
            self.is_mapped = true;
            match message {
                Some(message) => self.take(message),
                None => self.elapse(),
            }
        }
    }

    fn now(&self) -> Time {
        self.clock.now()
    }

    fn next_deadline(&self) -> Option<Time> {
        let deadlines = [
            self.supervisor.deadline(),
            self.lasts,
            self.switch_until,
            self.ports_until,
            self.leaving.as_ref().map(|leaving| leaving.until),
            self.helpers.deadline(),
            self.guests_deadline(),
            self.asking_deadline(),
            self.hooks.deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    fn elapse(&mut self) {
        let now = self.now();
        if self.lasts.is_some_and(|at| at <= now) {
            self.lasts = None;
            self.updater.take(Event::Lasted, None);
        }
        if self.switch_until.is_some_and(|at| at <= now) {
            self.give_up_switch();
        }
        if self.ports_until.is_some_and(|at| at <= now) {
            self.release_ports();
        }
        self.helpers.elapse(&self.log, now);
        self.elapse_guests(now);
        self.elapse_hooks(now);
        self.elapse_asking(now);
        let outputs = self.supervisor.elapse(now);
        self.follow(outputs);
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::ChildEnded => self.reap(),
            Message::EndAsked(ending) => self.end_asked(ending, None),
            Message::Taken(taken) => self.taken(taken),
            Message::Worked(event, why) => {
                if let Some(why) = why {
                    self.log.error("update", &why);
                    self.why = Some(why);
                }
                self.worked(event);
            }
            Message::Loaded(purpose, loaded) => self.loaded(purpose, loaded),
            Message::Mounted(name, run, result) => self.mounted(&name, run, result),
            Message::Spawned(name, run, result) => self.spawned(&name, run, result),
            Message::Driven(name, run, remarks, result) => self.driven(&name, run, remarks, result),
            Message::Remarked(name, remarks) => self.remarked(&name, remarks),
            Message::Hook(step) => self.hook_step(step),
            Message::DevicesChanged => self.devices_changed(),
            Message::DevicesSettled(remarks) => self.devices_settled(remarks),
            Message::Executed(name, run, failure) => self.executed(&name, run, failure),
            Message::Unmounted(name, run, result) => self.unmounted(&name, run, result),
            Message::Helper(FromHelper::Asked(life, ask, handed)) => self.asked(life, ask, handed),
            Message::Helper(FromHelper::Listens) => self.helpers.flush(),
            Message::Helper(FromHelper::Broken(life, why)) => self.helpers.broken(&self.log, life, &why),
            Message::Delivered(delivered) => self.delivered(*delivered),
            Message::Entered(id, result) => self.entered(id, result),
            Message::Reported(id, report) => self.reported(id, report),
            Message::CallerGone(id) => self.caller_gone(id),
            Message::Answered(id, result) => self.helpers.answer(id, result),
            Message::PairingsKept(id, kept, what, reply) => self.pairings_kept(id, kept, &what, reply),
            Message::Swept(id, result) => self.swept(id, result),
            Message::NetworksSettled(warnings) => {
                warnings.iter().for_each(|warning| self.log.warn("network", warning));
            }
            Message::PortsHeld(result) => self.ports_held(result),
            Message::BootloaderChanges(what) => self.log.info("bootloader", &what),
            Message::BootloaderRenewed(default, result) => self.bootloader_renewed(&default, result),
        }
    }

    fn asked(&mut self, life: u64, ask: Ask, handed: Handed) {
        let Some(ask) = self.helpers.admit(life, ask) else { return };
        let id = ask.id;
        if let Some(result) = self.call(ask, handed) {
            self.answer(id, result);
        }
    }

    /// Answers a call. Who has sent a revision to be run, and is refused, has sent it in vain.
    fn answer(&mut self, ask: u32, result: Result<Reply, Refused>) {
        let offered = self.offered.iter().find(|(_, by)| **by == Some(ask)).map(|(id, _)| id.clone());
        if let Some(id) = offered {
            self.offered.remove(&id);
            if result.is_err() {
                self.withdraw(&id);
            }
        }
        self.helpers.answer(ask, result);
    }

    /// Whether nobody waits for an answer, and nothing is on its way here or being updated.
    fn is_quiet(&self) -> bool {
        self.machine_rests() && self.uploads.is_empty() && !self.helpers.is_asked()
    }

    /// Whether the update machine judges the goals of what runs.
    fn is_judging(&self) -> bool {
        matches!(
            self.machine.state(),
            State::Switching(_)
                | State::Trying(_)
                | State::Testing(_)
                | State::Proving
                | State::Confirming
                | State::Undoing
        )
    }

    /// What runs, by name.
    fn running(&self) -> Option<&RevisionId> {
        match self.machine.running() {
            Running::Revision(revision) => Some(revision),
            Running::Recovery => None,
        }
    }
}
