//! What holds in every world of a container, and on every edge between two.

#![expect(
    clippy::indexing_slicing,
    reason = "every index names a world that is in the list; a wrong one must stop the run"
)]

use statemachine::container::{
    Backoff, Effect, Event, Goal, Outcome, Policy, Recovery, RecoveryPolicy, RestartPolicy, Status, Time,
};
use statemachine::goals::{Standing, Turn};

use super::Output;
use super::device::{By, Device, Process, Wish};
use super::walk::{Edge, World, facts};

pub(super) type WorldInvariant = (&'static str, fn(&Policy, &World) -> bool);
pub(super) type EdgeInvariant = (&'static str, fn(&Edge<'_>) -> bool);

pub(super) const WORLD_INVARIANTS: &[WorldInvariant] = &[
    ("invariant_down_meets_no_goal", invariant_down_meets_no_goal),
    ("invariant_down_means_nothing_is_left", invariant_down_means_nothing_is_left),
    ("invariant_retries_are_bounded", invariant_retries_are_bounded),
    ("invariant_stable_means_met", invariant_stable_means_met),
    ("invariant_only_the_excused_are_not_judged", invariant_only_the_excused_are_not_judged),
    ("invariant_never_stuck", invariant_never_stuck),
    ("invariant_every_fact_is_defined", invariant_every_fact_is_defined),
];

pub(super) const EDGE_INVARIANTS: &[EdgeInvariant] = &[
    ("invariant_one_process", invariant_one_process),
    ("invariant_one_set_of_mounts", invariant_one_set_of_mounts),
    ("invariant_no_unmount_below_a_process", invariant_no_unmount_below_a_process),
    ("invariant_signals_have_a_receiver", invariant_signals_have_a_receiver),
    ("invariant_polite_before_kill", invariant_polite_before_kill),
    ("invariant_stopped_stays_stopped", invariant_stopped_stays_stopped),
    ("invariant_failed_waits_for_a_person", invariant_failed_waits_for_a_person),
    ("invariant_reboots_only_by_policy", invariant_reboots_only_by_policy),
    ("invariant_one_order_and_a_true_report", invariant_one_order_and_a_true_report),
    ("invariant_restarts_do_not_move_the_deadline", invariant_restarts_do_not_move_the_deadline),
    ("invariant_a_wake_up_is_never_asked_for_twice", invariant_a_wake_up_is_never_asked_for_twice),
    ("invariant_done_is_not_recovered", invariant_done_is_not_recovered),
    ("invariant_only_a_run_that_lasts_is_forgiven", invariant_only_a_run_that_lasts_is_forgiven),
];

fn invariant_down_meets_no_goal(policy: &Policy, world: &World) -> bool {
    let down = matches!(
        world.container.status(),
        Status::Installed | Status::Blocked | Status::Recovering | Status::Stopping | Status::Stopped | Status::Failed
    );
    let there = world.device.mounted && (policy.goal == Goal::Mounted || world.device.process != Process::None);
    world.container.standing(policy) != Some(Standing::Met) || (!down && there)
}

fn invariant_down_means_nothing_is_left(_: &Policy, world: &World) -> bool {
    let Device { mounted, process, job, .. } = world.device;
    !world.container.is_down() || (!mounted && process == Process::None && job.is_none())
}

fn invariant_retries_are_bounded(policy: &Policy, world: &World) -> bool {
    match policy.recovery.policy {
        RecoveryPolicy::No => world.container.retries() == 0,
        _ => policy.recovery.max_retries == 0 || world.container.retries() <= policy.recovery.max_retries,
    }
}

fn invariant_stable_means_met(policy: &Policy, world: &World) -> bool {
    !world.container.is_stable() || world.container.standing(policy) == Some(Standing::Met)
}

/// Not judged is who a person had stopped before the trial, who ended with code 0 where that ends the work, or who had
/// failed for good before the trial.
fn invariant_only_the_excused_are_not_judged(policy: &Policy, world: &World) -> bool {
    let done = policy.recovery.policy == RecoveryPolicy::OnFailure && policy.goal != Goal::Mounted;
    let excused = match world.device.wish {
        Wish::Up => done || world.container.status() == Status::Failed,
        Wish::Down => world.device.excused,
        Wish::Gone => false,
    };
    world.container.standing(policy).is_some() || excused
}

/// Nothing owed, nothing waited for: then this is a place to stay.
fn invariant_never_stuck(policy: &Policy, world: &World) -> bool {
    let owed = facts(policy, world).iter().any(|fact| fact.by == By::Answer);
    let rests = matches!(
        world.container.status(),
        Status::Mounted | Status::Started | Status::Ready | Status::Stopped | Status::Failed
    );
    owed || rests || world.container.deadline().is_some()
}

/// Facts that cannot come here are harmless: the machine takes them all and is never left with two orders.
fn invariant_every_fact_is_defined(policy: &Policy, world: &World) -> bool {
    const ALL: [Event; 20] = [
        Event::Allowed,
        Event::Held,
        Event::Mounted,
        Event::Started,
        Event::Signalled,
        Event::FoundUnready,
        Event::Exited(Outcome::Code(0)),
        Event::Exited(Outcome::Signal(9)),
        Event::Exited(Outcome::OutOfMemory),
        Event::Exited(Outcome::AskedReboot),
        Event::Exited(Outcome::AskedPowerOff),
        Event::Unmounted,
        Event::Failed,
        Event::StopAsked,
        Event::StartAsked,
        Event::RestartAsked,
        Event::Withdrawn,
        Event::TrialBegan,
        Event::RebootRefused,
        Event::Elapsed,
    ];
    ALL.iter().all(|event| {
        [Time(0), Time(u64::MAX)].iter().all(|now| {
            let (next, effects) = world.container.step(policy, *now, *event);
            let reported = effects.contains(&Effect::Report(next.status()));
            effects.iter().filter(|effect| !matches!(effect, Effect::Report(_))).count() <= 1
                && reported == (next.status() != world.container.status())
        })
    })
}

fn orders(edge: &Edge<'_>, order: Effect) -> bool {
    edge.effects.contains(&order)
}

/// The device as it was when the order came.
fn found(edge: &Edge<'_>) -> Device {
    edge.from.device.happen(edge.fact.event)
}

fn invariant_one_process(edge: &Edge<'_>) -> bool {
    let Device { mounted, process, job, .. } = found(edge);
    !orders(edge, Effect::Start) || (mounted && process == Process::None && job.is_none())
}

fn invariant_one_set_of_mounts(edge: &Edge<'_>) -> bool {
    let Device { mounted, process, job, .. } = found(edge);
    !orders(edge, Effect::Mount) || (!mounted && process == Process::None && job.is_none())
}

fn invariant_no_unmount_below_a_process(edge: &Edge<'_>) -> bool {
    let Device { process, job, .. } = found(edge);
    !orders(edge, Effect::Unmount) || (process == Process::None && job.is_none())
}

fn invariant_signals_have_a_receiver(edge: &Edge<'_>) -> bool {
    let signals = orders(edge, Effect::Terminate) || orders(edge, Effect::Kill);
    !signals || found(edge).process != Process::None
}

fn invariant_polite_before_kill(edge: &Edge<'_>) -> bool {
    !orders(edge, Effect::Kill) || found(edge).process == Process::Terminated
}

fn invariant_stopped_stays_stopped(edge: &Edge<'_>) -> bool {
    let starts = orders(edge, Effect::Mount) || orders(edge, Effect::Start);
    !starts || found(edge).wish == Wish::Up
}

fn invariant_failed_waits_for_a_person(edge: &Edge<'_>) -> bool {
    let left = edge.from.container.status() == Status::Failed && edge.to.container.status() != Status::Failed;
    !left || edge.fact.by == By::Person
}

fn invariant_reboots_only_by_policy(edge: &Edge<'_>) -> bool {
    let Recovery { policy, max_retries, backoff_policy, .. } = edge.policy.recovery;
    let may = match policy {
        RecoveryPolicy::No => edge.policy.restart == RestartPolicy::System,
        _ => max_retries > 0 && backoff_policy == Backoff::Reboot,
    };
    !orders(edge, Effect::AskReboot)
        || (may && edge.to.container.status() == Status::Failed && edge.fact.by != By::Person)
}

fn invariant_one_order_and_a_true_report(edge: &Edge<'_>) -> bool {
    let (before, after) = (edge.from.container.status(), edge.to.container.status());
    let reports: Vec<_> = edge.effects.iter().filter(|effect| matches!(effect, Effect::Report(_))).collect();
    let expected: Vec<_> = if before == after { vec![] } else { vec![Effect::Report(after)] };
    edge.effects.len() - reports.len() <= 1 && reports.into_iter().eq(&expected)
}

fn invariant_restarts_do_not_move_the_deadline(edge: &Edge<'_>) -> bool {
    let standing = |world: &World| world.container.standing(edge.policy);
    let excused = matches!(edge.fact.event, Event::TrialBegan | Event::Withdrawn);
    excused || standing(&edge.from) != Some(Standing::Missed) || standing(&edge.to) != Some(Standing::Unmet)
}

fn invariant_a_wake_up_is_never_asked_for_twice(edge: &Edge<'_>) -> bool {
    edge.fact.event != Event::Elapsed || edge.to.container.deadline() != Some(Time(0))
}

fn invariant_done_is_not_recovered(edge: &Edge<'_>) -> bool {
    let recovers = edge.to.container.retries() > edge.from.container.retries();
    let done = matches!(edge.fact.event, Event::Exited(Outcome::Code(0) | Outcome::AskedPowerOff));
    !(recovers && done && edge.policy.recovery.policy == RecoveryPolicy::OnFailure)
}

fn invariant_only_a_run_that_lasts_is_forgiven(edge: &Edge<'_>) -> bool {
    let (before, after) = (edge.from.container.retries(), edge.to.container.retries());
    let Recovery { max_retries, backoff_policy, reset_window, .. } = edge.policy.recovery;
    let ran = !reset_window.is_zero() && matches!(edge.from.container.status(), Status::Started | Status::Ready);
    let afresh = before == max_retries && matches!(backoff_policy, Backoff::After(_));
    after >= before || edge.fact.by == By::Person || ran || afresh
}

/// Met and lost in turn, then at most one verdict, and no reboot is asked for before the verdict that explains it.
pub(super) fn invariant_the_update_machine_hears_sense(last: Option<Output>, word: Output) -> bool {
    use Output::{Goals, RebootAsked};
    match word {
        Goals(Turn::GoalsMet) => matches!(last, None | Some(Goals(Turn::GoalsLost))),
        Goals(Turn::GoalsLost) => last == Some(Goals(Turn::GoalsMet)),
        Goals(Turn::GoalMissed | Turn::Crashed) => {
            matches!(last, None | Some(Goals(Turn::GoalsMet | Turn::GoalsLost)))
        }
        RebootAsked => matches!(last, Some(Goals(Turn::GoalMissed | Turn::Crashed) | RebootAsked)),
    }
}

/// Whether the graph of unpaid edges has a cycle; gives a world on it. What can be taken away again and again, world
/// by world without a way in, has none.
pub(super) fn invariant_no_endless_loop(unpaid: &[Vec<usize>]) -> Option<usize> {
    let mut ways_in = vec![0_usize; unpaid.len()];
    unpaid.iter().flatten().for_each(|to| ways_in[*to] += 1);
    let mut free: Vec<_> = (0..unpaid.len()).filter(|world| ways_in[*world] == 0).collect();
    while let Some(world) = free.pop() {
        for to in &unpaid[world] {
            ways_in[*to] -= 1;
            if ways_in[*to] == 0 {
                free.push(*to);
            }
        }
    }
    ways_in.iter().position(|ways| *ways > 0)
}
