//! What holds in every world, whatever luck did.

use statemachine::update::{Pending, Running, State};

use crate::world::{Live, World, number};

/// A rule about one world.
pub(crate) struct Invariant {
    pub(crate) rule: &'static str,
    pub(crate) holds: fn(&World) -> bool,
}

/// All of them.
pub(crate) const INVARIANTS: &[Invariant] = &[
    Invariant { rule: "the cells name only what is there, whole and visible", holds: invariant_names_are_held },
    Invariant { rule: "the journal's default is there, to rebuild from", holds: invariant_journal_default_is_held },
    Invariant {
        rule: "what runs is one revision, never a mixture, unless it is being switched",
        holds: invariant_whole,
    },
    Invariant { rule: "at rest the default runs", holds: invariant_default_runs_at_rest },
    Invariant { rule: "the machine knows what the flash holds", holds: invariant_machine_knows },
    Invariant { rule: "a trial never has more attempts than the ceiling", holds: invariant_budget },
    Invariant { rule: "what runs is there", holds: invariant_running_is_held },
];

fn invariant_names_are_held(world: &World) -> bool {
    let Some(wanted) = &world.flash.wanted else { return true };
    let trial = wanted.trial.as_ref().map(|trial| &trial.revision);
    [Some(&wanted.default), wanted.previous.as_ref(), wanted.factory.as_ref(), trial]
        .into_iter()
        .flatten()
        .all(|revision| world.boots(number(revision)))
}

fn invariant_journal_default_is_held(world: &World) -> bool {
    let journal = world.flash.journal.as_ref().map(|journal| &journal.header);
    let Some(head) = journal.or(world.flash.head.as_ref()) else { return true };
    world.boots(number(&head.default.revision))
}

fn invariant_whole(world: &World) -> bool {
    let Some(session) = &world.session else { return true };
    session.live != Live::Mixed
        || matches!(
            session.machine.state(),
            State::Switching(_) | State::Undoing | State::Failing(_) | State::Parting { .. }
        )
}

fn invariant_default_runs_at_rest(world: &World) -> bool {
    let Some(session) = &world.session else { return true };
    let (State::Idle, Running::Revision(running)) = (session.machine.state(), session.machine.running()) else {
        return *session.machine.state() != State::Idle;
    };
    session.live == Live::Whole(number(running))
        && world.flash.wanted.as_ref().is_some_and(|wanted| wanted.default == *running)
}

fn invariant_machine_knows(world: &World) -> bool {
    let Some(session) = &world.session else { return true };
    let machine = &session.machine;
    // Something unreadable is in the way: the machine holds its last knowledge, and writes nothing.
    if session.sealed || world.flash.journal.is_none() || world.flash.wanted.is_none() {
        return true;
    }
    match machine.pending() {
        Pending::Nothing => {
            machine.wanted() == world.flash.wanted.as_ref() && Some(machine.journal()) == world.flash.journal.as_ref()
        }
        Pending::Journal(_) | Pending::Cells(_) | Pending::Barrier => true,
    }
}

fn invariant_budget(world: &World) -> bool {
    let Some(trial) = world.flash.wanted.as_ref().and_then(|wanted| wanted.trial.as_ref()) else { return true };
    trial.max <= statemachine::boot::TRIAL_ATTEMPTS_CEILING && trial.issued <= trial.max
}

fn invariant_running_is_held(world: &World) -> bool {
    let Some(session) = &world.session else { return true };
    match session.live {
        Live::Whole(revision) => world.flash.trails.has(revision),
        Live::Nothing | Live::Mixed => true,
    }
}
