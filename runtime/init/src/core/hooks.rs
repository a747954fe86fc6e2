//! System hooks: programs of the base system that are run at certain moments, one after the other.
//!
//! ```text
//!   order ─▶ root opened, hooks listed ─▶ hook started ─▶ it ends, or is killed ─▶ its group cleared ─▶ the next
//!              (thread `mounts`)          └────────────── within its time ──────┘                       │
//!   what waits for it goes on, or hears why not ◀── root closed ◀── none is left, or one has failed ◀───┘
//! ```
//!
//! Nothing is decided here. Of a failure the update machine is told in the words that it has for the work around which the
//! hooks are run: staging or placing has failed, or what is tried has crashed.

use std::collections::VecDeque;

use container::failure::Failure;
use rustix::process::Pid;
use statemachine::container::{Outcome, Span, Time};
use statemachine::ids::RevisionId;
use statemachine::journal::Transition;
use statemachine::update::{Care, Event, State};

use super::containers::in_words;
use super::{Core, Message};
use crate::engine::{BASE, EngineError, Running};
use crate::pipes;
use crate::trace::{phase_word, revision_of};

/// At which moment, by the word that hooks know it by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Moment {
    /// Before any container starts.
    Start,
    /// A revision is staged.
    Install,
    /// Its kernel is about to be put where a firmware finds it.
    BeforeInstall,
    /// It was.
    AfterInstall,
    /// A revision was committed.
    BootDone,
    /// Every container has reached its goal.
    Done,
}

/// What waits until the hooks of a moment are through.
pub(super) enum Then {
    /// The start of the containers; and whether their goals are judged.
    Begin { care: Care, judged: bool },
    /// A fact about the revision that is installed.
    Tell(RevisionId, Box<Event>),
    /// Its placing.
    Place(RevisionId),
    /// Nothing.
    Nothing,
}

/// What becomes of hooks.
pub enum Step {
    /// Which ones there are.
    Listed(Result<Vec<String>, EngineError>),
    /// One was started, or not.
    Started(Result<Running, EngineError>),
    /// Nothing is left of one.
    Cleared(Result<(), EngineError>),
}

/// One that runs.
struct Hook {
    pid: Pid,
    until: Time,
    late: bool,
    /// The stage has said why it was not executed.
    failure: Option<String>,
}

/// The hooks of one moment.
struct Chain {
    moment: Moment,
    then: Then,
    /// Those that are still to be run, the next one last.
    left: Vec<String>,
    /// The one whose turn it is.
    name: String,
    hook: Option<Hook>,
    /// How it came out.
    result: Result<(), String>,
}

/// Hooks that are run, and that wait for those.
#[derive(Default)]
pub(super) struct Hooks {
    queue: VecDeque<(Moment, Then)>,
    chain: Option<Chain>,
    /// The revision whose containers have all reached their goals in this boot.
    done: Option<RevisionId>,
    /// Why the base system of what is judged could not begin.
    pub(super) fault: Option<String>,
}

impl Moment {
    fn word(self) -> &'static str {
        match self {
            Self::Start => "system-start",
            Self::Install => "system-install-update",
            Self::BeforeInstall => "system-before-install-update",
            Self::AfterInstall => "system-after-install-update",
            Self::BootDone => "system-boot-done",
            Self::Done => "system-done",
        }
    }
}

impl Hooks {
    /// By when the one that runs has to end.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.chain.as_ref()?.hook.as_ref().filter(|hook| !hook.late).map(|hook| hook.until)
    }

    /// Whether containers wait for them.
    pub(super) fn hold_start(&self) -> bool {
        let chain = self.chain.iter().map(|chain| &chain.then);
        chain.chain(self.queue.iter().map(|(_, then)| then)).any(|then| matches!(then, Then::Begin { .. }))
    }

    /// The same, for the goals that are judged once the containers have started.
    pub(super) fn judges_later(&mut self) -> bool {
        let chain = self.chain.iter_mut().map(|chain| &mut chain.then);
        for then in chain.chain(self.queue.iter_mut().map(|(_, then)| then)) {
            if let Then::Begin { judged, .. } = then {
                *judged = true;
                return true;
            }
        }
        false
    }

    /// Whether any run.
    pub(super) fn are_idle(&self) -> bool {
        self.chain.is_none()
    }
}

impl Core {
    /// Runs the hooks of a moment, if the base system has some, and then goes on.
    pub(super) fn run_hooks(&mut self, moment: Moment, then: Then) {
        if !self.has_hooks() {
            return self.after_hooks(moment, then, Ok(()));
        }
        self.hooks.queue.push_back((moment, then));
        self.next_moment();
    }

    pub(super) fn has_hooks(&self) -> bool {
        self.leaving.is_none() && self.current.as_ref().is_some_and(|current| current.assembly.base.is_some())
    }

    fn next_moment(&mut self) {
        if self.hooks.chain.is_some() {
            return;
        }
        let Some((moment, then)) = self.hooks.queue.pop_front() else { return };
        let opens = self.current.clone().and_then(|current| Some((current.assembly.base.clone()?, current.id.clone())));
        let Some((base, id)) = opens else { return self.after_hooks(moment, then, Ok(())) };
        self.hooks.chain =
            Some(Chain { moment, then, left: Vec::new(), name: String::new(), hook: None, result: Ok(()) });
        let tell = self.tell.clone();
        self.mounts.order(move |engine| {
            let _ = tell.send_blocking(Message::Hook(Step::Listed(engine.open_hooks(&base, &id))));
        });
    }

    pub(super) fn hook_step(&mut self, step: Step) {
        match step {
            Step::Listed(Ok(mut hooks)) => {
                hooks.reverse();
                if let Some(chain) = &mut self.hooks.chain {
                    chain.left = hooks;
                }
                self.next_hook();
            }
            Step::Started(Ok(running)) => self.hook_started(running),
            Step::Cleared(Ok(())) => self.next_hook(),
            Step::Listed(Err(error)) | Step::Started(Err(error)) | Step::Cleared(Err(error)) => {
                self.fail_hooks(error.to_string());
                self.next_hook();
            }
        }
    }

    /// The first failure is the one that counts, and the last hook that is run.
    fn fail_hooks(&mut self, why: String) {
        let Some(chain) = &mut self.hooks.chain else { return };
        chain.left.clear();
        if chain.result.is_ok() {
            let name = if chain.name.is_empty() { "hooks" } else { &chain.name };
            chain.result = Err(format!("{}: {name}: {why}", chain.moment.word()));
        }
    }

    fn next_hook(&mut self) {
        let Some(chain) = &mut self.hooks.chain else { return };
        let tell = self.tell.clone();
        if let Some(hook) = chain.left.pop().filter(|_| self.leaving.is_none()) {
            chain.name = hook.rsplit('/').next().unwrap_or(&hook).to_owned();
            let variables = self.variables();
            self.mounts.order(move |engine| {
                let _ = tell.send_blocking(Message::Hook(Step::Started(engine.start_hook(&hook, variables))));
            });
            return;
        }
        let Some(Chain { moment, then, result, .. }) = self.hooks.chain.take() else { return };
        self.mounts.order(move |engine| {
            // What stays is opened anew, or said, the next time.
            let _ = engine.close_hooks();
        });
        self.after_hooks(moment, then, result);
        self.next_moment();
    }

    fn hook_started(&mut self, running: Running) {
        let until = self.now().after(Span(u64::try_from(self.settings.hook_time.as_millis()).unwrap_or(u64::MAX)));
        let Some((chain, current)) = self.hooks.chain.as_mut().zip(self.current.as_ref()) else { return };
        let Running { pid, log, error, .. } = running;
        self.log.info(BASE, &format_args!("{}: {} runs", chain.moment.word(), chain.name));
        chain.hook = Some(Hook { pid, until, late: false, failure: None });
        pipes::keep_log(&self.tasks, log, self.log.console_of(&current.id, BASE));
        pipes::read_failure(&self.tasks, self.tell.clone(), BASE, 0, error);
        if let Some(outcome) = self.take_unclaimed(pid) {
            self.hook_ended(pid, outcome);
        } else if self.leaving.is_some() {
            self.end_hooks();
        }
    }

    /// It runs, or was not executed.
    pub(super) fn hook_executed(&mut self, failure: Result<Option<Failure>, String>) {
        let why = match failure {
            Ok(None) => return,
            Ok(Some(failure)) => failure.to_string(),
            Err(bad) => bad,
        };
        match self.hooks.chain.as_mut().and_then(|chain| chain.hook.as_mut()) {
            Some(hook) => hook.failure = Some(why),
            // It has ended before it was heard.
            None => self.log.error(BASE, &why),
        }
    }

    /// Whether it was a hook that has ended.
    pub(super) fn hook_ended(&mut self, pid: Pid, outcome: Outcome) -> bool {
        let Some(chain) = &mut self.hooks.chain else { return false };
        let Some(hook) = chain.hook.take_if(|hook| hook.pid == pid) else { return false };
        let why = match (hook.late, hook.failure, outcome) {
            (true, ..) => {
                Some(format!("did not end within {} seconds, and was killed", self.settings.hook_time.as_secs()))
            }
            (false, Some(failure), _) => Some(failure),
            (false, None, Outcome::Code(0)) => None,
            (false, None, outcome) => Some(in_words(outcome, None)),
        };
        if let Some(why) = why {
            self.fail_hooks(why);
        }
        let tell = self.tell.clone();
        self.mounts.order(move |engine| {
            let _ = tell.send_blocking(Message::Hook(Step::Cleared(engine.end_hook())));
        });
        true
    }

    /// Kills the one whose time is over.
    pub(super) fn elapse_hooks(&mut self, now: Time) {
        if self.hooks.deadline().is_some_and(|until| until <= now) {
            if let Some(hook) = self.hooks.chain.as_mut().and_then(|chain| chain.hook.as_mut()) {
                hook.late = true;
            }
            self.kill_hook();
        }
    }

    /// This boot ends: none is started any more, and the one that runs is killed.
    pub(super) fn end_hooks(&mut self) {
        self.hooks.queue.clear();
        if let Some(chain) = &mut self.hooks.chain {
            (chain.then, chain.left) = (Then::Nothing, Vec::new());
            // One that is on its way is killed when it is there.
            if chain.hook.is_some() {
                self.kill_hook();
            }
        }
    }

    fn kill_hook(&self) {
        if let Err(error) = self.engine.kill(BASE) {
            self.log.warn(BASE, &error);
        }
    }

    /// The hooks of a moment are through, or one of them has failed.
    fn after_hooks(&mut self, moment: Moment, then: Then, result: Result<(), String>) {
        if let Err(why) = &result {
            self.log.error(BASE, why);
        }
        match then {
            Then::Nothing => {}
            Then::Begin { care, judged } => self.begin_containers(care, judged, result),
            Then::Tell(id, _) | Then::Place(id) if revision_of(self.machine.state()) != Some(id.as_str()) => {
                self.log.info(BASE, &format_args!("{}: nobody waits for {id} any more", moment.word()));
            }
            Then::Tell(_, event) if result.is_ok() => self.updater.take(*event, None),
            Then::Place(id) if result.is_ok() => self.place(id),
            Then::Tell(..) | Then::Place(_) => {
                self.why = result.err();
                self.updater.take(Event::Failed, None);
            }
        }
    }

    /// Starts the containers. Without what its base system has to do first, nothing that is judged can be good; what is proven
    /// goes on, as it does without a container that fails.
    fn begin_containers(&mut self, care: Care, judged: bool, result: Result<(), String>) {
        let in_place = matches!(self.machine.state(), State::Trying(plan) if plan.by == Transition::InPlace);
        if result.is_err() && judged && !in_place {
            self.hooks.fault = result.err();
            return self.updater.take(Event::Crashed, None);
        }
        let outputs = self.supervisor.begin(care, self.now());
        self.follow(outputs);
        if judged {
            let outputs = self.supervisor.watch(self.now());
            self.follow(outputs);
        }
    }

    /// A moment that nothing waits for: every container has reached its goal, for the first time since the revision runs.
    pub(super) fn look_whether_done(&mut self) {
        let Some(id) = self.current.as_ref().map(|current| current.id.clone()) else { return };
        if self.has_hooks() && self.hooks.done.as_ref() != Some(&id) && self.supervisor.is_met() {
            self.hooks.done = Some(id);
            self.run_hooks(Moment::Done, Then::Nothing);
        }
    }

    /// What a hook is told.
    fn variables(&self) -> Vec<(String, String)> {
        let state = self.machine.state();
        let tried = revision_of(state).unwrap_or_default();
        let trying = matches!(state, State::Trying(_) | State::Testing(_) | State::Proving | State::Confirming);
        let moment = self.hooks.chain.as_ref().map_or("", |chain| chain.moment.word());
        let running = self.current.as_ref().map(|current| current.id.to_string()).unwrap_or_default();
        let status = self.machine.phase().map_or("", phase_word);
        [
            ("PV_OP", moment),
            ("PV_REV", &running),
            ("PV_TRY", tried),
            ("PV_TRYBOOT", if trying { "1" } else { "0" }),
            ("PV_OBJ_STORAGE", "/storage/objects"),
            ("PV_TRAILS_STORAGE", "/storage/trails"),
            ("PV_STATUS", status),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }
}
