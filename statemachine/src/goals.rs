//! What the containers of a revision amount to, seen together.
//!
//! Each container stands somewhere ([`Standing`]); the worst of them is where the revision stands. Four promises:
//!
//! - what recovers, stops, is stopped or has failed meets no goal, so a crash loop can neither let the next group
//!   start nor let an update pass;
//! - a group opens when every group before it is met; at an ordinary boot also when it has *missed* its goal, since a
//!   device with one broken container is still a device, but never in a trial;
//! - a trial has a deadline, which restarts do not move (see `container`);
//! - the update machine hears each change once, and a verdict once and for all ([`Watch`]).

use serde::{Deserialize, Serialize};

/// Where a container stands with its goal, and so where a revision stands. The order is that of "worse".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Standing {
    /// The goal is reached, at this moment.
    Met,
    /// Not yet, or no longer, and there is time.
    Unmet,
    /// Not reached, and the time is up. It may still be reached; a trial will not wait.
    Missed,
    /// The container failed beyond its recovery.
    Crashed,
}

/// A container as the fold sees it: the index of its group in start order, and its standing.
/// `None`: it is not judged, see `Container::standing`.
pub type Row = (usize, Option<Standing>);

/// On what occasion containers are started.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Occasion {
    /// A proven revision boots: what can run shall run.
    Boot,
    /// A revision is on trial or proves itself: every group has to hold before the next begins.
    Trial,
}

/// Where the revision stands: the worst of its containers. Without containers every goal is met.
pub fn fold(rows: impl IntoIterator<Item = Row>) -> Standing {
    rows.into_iter().filter_map(|(_, standing)| standing).max().unwrap_or(Standing::Met)
}

/// Where one group stands; an empty group is met.
pub fn group(index: usize, rows: impl IntoIterator<Item = Row>) -> Standing {
    fold(rows.into_iter().filter(|(group, _)| *group == index))
}

/// Whether the containers of the group with this index may start now.
pub fn may_start(index: usize, occasion: Occasion, rows: impl IntoIterator<Item = Row>) -> bool {
    let mut earlier = rows.into_iter().filter(|(group, _)| *group < index).filter_map(|(_, standing)| standing);
    match occasion {
        // One by one, not the worst of all: a crashed container must not hide another that may still make it.
        Occasion::Boot => earlier.all(|standing| standing != Standing::Unmet),
        Occasion::Trial => earlier.all(|standing| standing == Standing::Met),
    }
}

/// Whether every container that is judged holds its goal and has held it for its own `stable_timeout`. A commit waits
/// for this. Each item is a standing and whether that container is stable.
pub fn settled(rows: impl IntoIterator<Item = (Option<Standing>, bool)>) -> bool {
    rows.into_iter().all(|(standing, stable)| match standing {
        None => true,
        Some(Standing::Met) => stable,
        Some(Standing::Unmet | Standing::Missed | Standing::Crashed) => false,
    })
}

/// What the update machine is told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Turn {
    /// Every goal is reached.
    GoalsMet,
    /// They were, and one no longer is; there is still time.
    GoalsLost,
    /// One was not reached, or not held, in time. A verdict.
    GoalMissed,
    /// A container failed beyond its recovery. A verdict.
    Crashed,
}

/// Turns where the revision stands, again and again, into what changed. One watch per boot or trial.
///
/// ```text
///              Met              Missed | Crashed
///   Waiting ─────────▶ Holding ─────────┐
///      ▲  │              │              ▼
///      │  └──────────────┼──────────▶ Over     nothing is said after a verdict
///      └─────────────────┘ Unmet
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Watch {
    /// The goals are not met.
    #[default]
    Waiting,
    /// The goals are met.
    Holding,
    /// There was a verdict.
    Over,
}

impl Watch {
    /// Looks at where the revision stands now. Seeing the same twice says nothing twice.
    #[must_use]
    pub fn see(self, standing: Standing) -> (Self, Option<Turn>) {
        match (self, standing) {
            (Self::Waiting, Standing::Met) => (Self::Holding, Some(Turn::GoalsMet)),
            (Self::Holding, Standing::Unmet) => (Self::Waiting, Some(Turn::GoalsLost)),
            (Self::Waiting | Self::Holding, Standing::Missed) => (Self::Over, Some(Turn::GoalMissed)),
            (Self::Waiting | Self::Holding, Standing::Crashed) => (Self::Over, Some(Turn::Crashed)),
            (Self::Waiting, Standing::Unmet) | (Self::Holding, Standing::Met) => (self, None),
            (Self::Over, Standing::Met | Standing::Unmet | Standing::Missed | Standing::Crashed) => (self, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Standing::{Crashed, Met, Missed, Unmet};

    const ALL: [Standing; 4] = [Met, Unmet, Missed, Crashed];

    #[test]
    fn the_worst_container_speaks_for_the_revision() {
        assert_eq!(fold([(0, Some(Met)), (1, Some(Unmet)), (1, Some(Met))]), Unmet);
        assert_eq!(fold([(0, Some(Unmet)), (1, Some(Missed))]), Missed);
        assert_eq!(fold([(0, Some(Crashed)), (1, Some(Missed)), (2, Some(Unmet))]), Crashed);
    }

    #[test]
    fn a_revision_without_containers_meets_every_goal() {
        assert_eq!(fold([]), Met);
        assert_eq!(group(3, [(0, Some(Unmet))]), Met);
    }

    #[test]
    fn a_container_that_is_not_judged_stands_in_nobodys_way() {
        assert_eq!(fold([(0, None), (1, Some(Met))]), Met);
        assert!(may_start(1, Occasion::Trial, [(0, None)]));
    }

    #[test]
    fn the_first_group_never_waits() {
        for standing in ALL {
            assert!(may_start(0, Occasion::Trial, [(0, Some(standing)), (1, Some(standing))]));
        }
    }

    #[test]
    fn an_ordinary_boot_goes_on_past_a_group_that_missed_its_goal() {
        for standing in [Met, Missed, Crashed] {
            assert!(may_start(2, Occasion::Boot, [(0, Some(Met)), (1, Some(standing))]));
        }
        assert!(!may_start(2, Occasion::Boot, [(0, Some(Unmet)), (1, Some(Met))]));
    }

    #[test]
    fn a_crashed_container_does_not_hide_one_that_may_still_make_it() {
        assert!(!may_start(1, Occasion::Boot, [(0, Some(Crashed)), (0, Some(Unmet))]));
    }

    #[test]
    fn a_trial_starts_nothing_beyond_a_group_that_is_not_met() {
        for standing in [Unmet, Missed, Crashed] {
            assert!(!may_start(1, Occasion::Trial, [(0, Some(standing))]));
        }
    }

    #[test]
    fn a_commit_waits_for_the_last_container_to_be_stable() {
        assert!(settled([(Some(Met), true), (None, false)]));
        assert!(!settled([(Some(Met), true), (Some(Met), false)]));
        assert!(!settled([(Some(Unmet), true)]));
    }

    fn turns(seen: &[Standing]) -> std::vec::Vec<Turn> {
        let mut watch = Watch::default();
        seen.iter()
            .filter_map(|standing| {
                let (next, turn) = watch.see(*standing);
                watch = next;
                turn
            })
            .collect()
    }

    #[test]
    fn goals_can_be_met_and_lost_and_met_again() {
        assert_eq!(
            turns(&[Unmet, Unmet, Met, Met, Unmet, Unmet, Met]),
            [Turn::GoalsMet, Turn::GoalsLost, Turn::GoalsMet]
        );
    }

    #[test]
    fn goals_lost_after_their_time_are_missed_at_once() {
        assert_eq!(turns(&[Met, Missed, Met]), [Turn::GoalsMet, Turn::GoalMissed]);
    }

    #[test]
    fn every_sequence_says_met_and_lost_in_turn_and_at_most_one_verdict_as_the_last_word() {
        for code in 0..4_usize.pow(6) {
            let seen: std::vec::Vec<_> = (0..6).map(|place| ALL[code / 4_usize.pow(place) % 4]).collect();
            let said = turns(&seen);
            for (at, turn) in said.iter().enumerate() {
                match turn {
                    Turn::GoalsMet => assert!(at % 2 == 0),
                    Turn::GoalsLost => assert!(at % 2 == 1),
                    Turn::GoalMissed | Turn::Crashed => assert_eq!(at + 1, said.len()),
                }
            }
        }
    }
}
