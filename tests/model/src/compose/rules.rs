//! What only both machines together can break.

use statemachine::container::{Goal, Policy, RecoveryPolicy, Status};
use statemachine::goals::{Standing, Turn, Watch};

use super::devices::Session;
use super::supervisor::{Manifest, Order, Supervisor, Word};
use crate::container::device::Process;
use crate::world::Live;

/// A word comes at a moment at which free luck could have said it, so the larger exploration has seen what follows.
pub(super) const FREE_LUCK_COVERS: &str = "what the supervisor says is what free luck could have said";

/// A container mounts or starts where nothing of another is left; it is signalled where it runs.
pub(super) const NO_CLASH: &str = "no container starts beside what another has left";

/// The supervisor never talks without end.
pub(super) const FALLS_SILENT: &str = "the supervisor has a last word";

/// A rule about one world in which a boot is under way.
pub(super) struct Rule {
    pub(super) rule: &'static str,
    pub(super) holds: fn(&Manifest, &Session, &Supervisor) -> bool,
}

/// All of them.
pub(super) const RULES: &[Rule] = &[
    Rule { rule: "the container that runs belongs to the revision that runs", holds: invariant_owner },
    Rule { rule: "what is watched is what the update machine believes to be watched", holds: invariant_watch },
    Rule { rule: "apps that are to stay down stay down", holds: invariant_kept_down },
    Rule { rule: "retries are bounded", holds: invariant_retries },
];

fn invariant_owner(_: &Manifest, session: &Session, supervisor: &Supervisor) -> bool {
    match session.live {
        Live::Nothing => supervisor.owner.is_none() && supervisor.is_bare(),
        Live::Whole(revision) => supervisor.owner == Some(revision) && supervisor.coming.is_none(),
        Live::Mixed => true,
    }
}

fn invariant_watch(_: &Manifest, session: &Session, supervisor: &Supervisor) -> bool {
    session.watched == matches!(supervisor.watch, Some(Watch::Waiting | Watch::Holding))
        && session.met == (supervisor.watch == Some(Watch::Holding))
        && session.soaking == supervisor.soak.is_some()
}

fn invariant_kept_down(manifest: &Manifest, _: &Session, supervisor: &Supervisor) -> bool {
    !supervisor.is_kept_down(manifest) || supervisor.is_bare()
}

fn invariant_retries(manifest: &Manifest, _: &Session, supervisor: &Supervisor) -> bool {
    supervisor.container.retries() <= manifest.policy.recovery.max_retries
}

/// What an order must find, in the world after the step that gave it. Where writes fail, the boot may be unrecorded.
pub(super) fn broken_by_order(
    errors: bool,
    session: Option<&Session>,
    before: &Supervisor,
    order: Order,
) -> Option<&'static str> {
    let Order::Start { .. } = order else { return None };
    let ready = session.is_some_and(|session| (session.open || errors) && !session.writing);
    if !ready {
        return Some("no container starts before its boot is recorded as begun");
    }
    (before.owner.is_some() || !before.is_bare()).then_some("containers are started once in a boot")
}

/// What a word must be true of.
pub(super) fn broken_by_word(manifest: &Manifest, supervisor: &Supervisor, word: Word) -> Option<&'static str> {
    let policy = &manifest.policy;
    match word {
        Word::Goals(Turn::GoalsMet) => {
            (!meets_its_goal(policy, supervisor)).then_some("goals are met by what is really there")
        }
        Word::Soaked => {
            let soaked = meets_its_goal(policy, supervisor)
                && (supervisor.container.is_stable()
                    || has_done_its_work(policy, supervisor)
                    || had_failed_before(policy, supervisor));
            (!soaked).then_some("a soak ends over goals that are met and stable")
        }
        Word::Goals(Turn::GoalsLost) => {
            meets_its_goal(policy, supervisor).then_some("goals are lost only when they are no longer met")
        }
        Word::Goals(Turn::GoalMissed | Turn::Crashed) => {
            meets_its_goal(policy, supervisor).then_some("no verdict falls on what meets its goals")
        }
        Word::RebootAsked => (supervisor.container.status() != Status::Failed)
            .then_some("a reboot by policy is asked for only by what has failed"),
    }
}

fn meets_its_goal(policy: &Policy, supervisor: &Supervisor) -> bool {
    let there = supervisor.device.mounted && supervisor.device.process == Process::Running;
    let status = match policy.goal {
        Goal::Mounted => Status::Mounted,
        Goal::Started => Status::Started,
        Goal::Ready => Status::Ready,
    };
    there && supervisor.container.status() == status
        || has_done_its_work(policy, supervisor)
        || had_failed_before(policy, supervisor)
}

/// It reached its goal, and ended with code 0 where that is the end of the work.
fn has_done_its_work(policy: &Policy, supervisor: &Supervisor) -> bool {
    let ends = matches!(supervisor.container.status(), Status::Stopping | Status::Stopped);
    policy.recovery.policy == RecoveryPolicy::OnFailure && ends && supervisor.container.standing(policy).is_none()
}

/// It had failed for good before the trial, which keeps it as it is and is not to blame for it.
fn had_failed_before(policy: &Policy, supervisor: &Supervisor) -> bool {
    supervisor.container.status() == Status::Failed && supervisor.container.standing(policy).is_none()
}

/// Where a device may rest, with nothing owed to it: the container holds its goal, or its policies leave it there.
pub(super) fn may_rest(manifest: &Manifest, supervisor: &Supervisor) -> bool {
    let Manifest { policy, .. } = manifest;
    let container = &supervisor.container;
    if supervisor.device.reboot_asked {
        return false;
    }
    match container.status() {
        Status::Installed | Status::Blocked => supervisor.is_kept_down(manifest) || supervisor.owner.is_none(),
        Status::Failed => container.retries() == policy.recovery.max_retries,
        Status::Stopped => policy.recovery.policy == RecoveryPolicy::OnFailure,
        // It runs. Its goal is met, or the time for it has passed and nobody waits for it.
        Status::Mounted | Status::Started | Status::Ready => {
            meets_its_goal(policy, supervisor) || container.standing(policy) == Some(Standing::Missed)
        }
        Status::Starting | Status::Recovering | Status::Stopping => false,
    }
}
