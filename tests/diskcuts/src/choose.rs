//! Where to cut: in every stage of the story, near what matters and elsewhere, and in every way.
//!
//! Half of the cuts of a stage fall beside an *edge*: a flush, a write to the medium, a write outside of the storage
//! (a cell, a note, the journal). The other half fall anywhere. Stages get cuts by their length, and each a fair number.
//! On a card every write is one to the medium, so that this marks none.

use std::collections::BTreeMap;

use machine::ordeal::Dice;

use crate::log::{Log, What};
use crate::promise::Promises;
use crate::replay::Loss;

/// One cut.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Cut {
    /// After so many entries.
    pub(crate) after: usize,
    pub(crate) loss: Loss,
    /// For what is lost.
    pub(crate) seed: u64,
    /// In which stage.
    pub(crate) stage: usize,
}

/// A stretch of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Stage {
    pub(crate) name: String,
    /// Cuts after this many entries fall into it.
    pub(crate) places: Vec<usize>,
    edges: Vec<usize>,
}

/// The stages of a log in their order. `inner` tells whether a byte of the disk is one of the storage. A stage that comes
/// again is the same one; one in which nothing was asked of the disk is none.
pub(crate) fn stages(log: &Log, inner: impl Fn(u64) -> bool) -> Vec<Stage> {
    let mut stages: Vec<Stage> = Vec::new();
    let mut told = Promises::default();
    let mut index: BTreeMap<String, usize> = BTreeMap::new();
    let is_cached = log.entries.iter().any(|entry| matches!(entry.what, What::Write { fua: false, .. }));
    for (at, entry) in log.entries.iter().enumerate() {
        let is_edge = match &entry.what {
            What::Told(text) => {
                told.hear(text);
                continue;
            }
            What::Flush => true,
            What::Write { at, fua, .. } => (*fua && is_cached) || !inner(*at),
            What::Trim { .. } => false,
        };
        let number = *index.entry(told.stage.clone()).or_insert_with(|| {
            stages.push(Stage { name: told.stage.clone(), places: Vec::new(), edges: Vec::new() });
            stages.len() - 1
        });
        if let Some(stage) = stages.get_mut(number) {
            stage.places.push(at + 1);
            // Asked, and answered.
            stage.edges.extend(is_edge.then_some([at + 1, at + 2]).into_iter().flatten());
        }
    }
    stages
}

/// About `count` cuts, in the order of the log.
pub(crate) fn cuts(stages: &[Stage], count: usize, seed: u64) -> Vec<Cut> {
    let mut dice = Dice::new(seed);
    let total: usize = stages.iter().map(|stage| stage.places.len()).sum();
    let fair = count.div_ceil(2 * stages.len().max(1));
    let mut cuts = Vec::new();
    for (stage, Stage { places, edges, .. }) in stages.iter().enumerate() {
        let by_length = (count * places.len()).div_ceil(2 * total.max(1));
        for number in 0..fair + by_length {
            let among = if number % 2 == 0 && !edges.is_empty() { edges } else { places };
            let place = usize::try_from(dice.roll(among.len() as u64)).unwrap_or_default();
            let Some(after) = among.get(place).copied() else { continue };
            // Torn and reordered twice as often: there is more to them.
            let ways = [Loss::Nothing, Loss::All, Loss::Some, Loss::Torn, Loss::Some, Loss::Torn];
            let loss = ways.get(number % ways.len()).copied().unwrap_or(Loss::Torn);
            cuts.push(Cut { after, loss, seed: dice.roll(u64::MAX), stage });
        }
    }
    cuts.sort_by_key(|cut| cut.after);
    cuts
}

/// Every entry, in every way.
pub(crate) fn all(stages: &[Stage], seed: u64) -> Vec<Cut> {
    let mut dice = Dice::new(seed);
    let mut cuts: Vec<_> = stages
        .iter()
        .enumerate()
        .flat_map(|(stage, of)| of.places.iter().flat_map(move |after| Loss::ALL.map(|loss| (stage, *after, loss))))
        .map(|(stage, after, loss)| Cut { after, loss, seed: dice.roll(u64::MAX), stage })
        .collect();
    cuts.sort_by_key(|cut| cut.after);
    cuts
}

/// Indices of `count` of these cuts, of each stage at least one while there are enough.
pub(crate) fn some(cuts: &[Cut], stages: usize, count: usize, seed: u64) -> Vec<usize> {
    let mut dice = Dice::new(seed ^ 0xB007);
    let mut left: Vec<Vec<usize>> = vec![Vec::new(); stages];
    for (index, cut) in cuts.iter().enumerate() {
        if let Some(of) = left.get_mut(cut.stage) {
            of.push(index);
        }
    }
    let mut chosen = Vec::new();
    while chosen.len() < count.min(cuts.len()) {
        for of in &mut left {
            if !of.is_empty() && chosen.len() < count {
                let at = usize::try_from(dice.roll(of.len() as u64)).unwrap_or_default();
                chosen.push(of.swap_remove(at));
            }
        }
    }
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> Log {
        let mut log = Log::default();
        for stage in ["long", "short", "silent", "long"] {
            log.tell(format!("stage {stage}"));
            for at in 0..if stage == "long" { 200 } else { u64::from(stage == "short") } {
                log.begin_batch();
                log.push(What::Write { at: at * 512, bytes: vec![0; 512], fua: false });
            }
        }
        log.push(What::Flush);
        log
    }

    #[test]
    fn every_stage_that_asks_something_of_the_disk_is_cut_in_every_way() {
        let stages = stages(&log(), |_| true);
        assert_eq!(stages.iter().map(|stage| stage.name.as_str()).collect::<Vec<_>>(), ["long", "short"]);
        let cuts = cuts(&stages, 60, 1);
        assert!(cuts.len() >= 60 && cuts.is_sorted_by_key(|cut| cut.after));
        for stage in 0..2 {
            for loss in Loss::ALL {
                assert!(cuts.iter().any(|cut| cut.stage == stage && cut.loss == loss), "{stage} {loss:?}");
            }
        }
        let last = log().entries.len();
        assert!(cuts.iter().any(|cut| cut.after >= last), "beside the one flush");
    }

    #[test]
    fn on_a_card_half_of_the_cuts_are_beside_what_is_not_storage() {
        let mut log = Log::default();
        log.tell("stage one");
        for at in 0..1000 {
            log.begin_batch();
            log.push(What::Write { at: at * 512, bytes: vec![0; 512], fua: true });
        }
        let stages = stages(&log, |at| at != 500 * 512);
        let cuts = cuts(&stages, 40, 1);
        let beside = cuts.iter().filter(|cut| [502, 503].contains(&cut.after)).count();
        assert!((15..=25).contains(&beside), "{beside} of {}", cuts.len());
    }

    #[test]
    fn the_same_seed_is_the_same_choice() {
        let stages = stages(&log(), |_| true);
        assert_eq!(cuts(&stages, 50, 3), cuts(&stages, 50, 3));
        assert_ne!(cuts(&stages, 50, 3), cuts(&stages, 50, 4));
    }

    #[test]
    fn some_of_the_cuts_are_of_every_stage_and_none_twice() {
        let stages = stages(&log(), |_| true);
        let cuts = all(&stages, 1);
        assert_eq!(cuts.len(), 4 * 402);
        let chosen = some(&cuts, stages.len(), 7, 1);
        assert!(chosen.len() == 7 && chosen.is_sorted_by(|one, other| one < other));
        assert!((0..2).all(|stage| chosen.iter().any(|index| cuts[*index].stage == stage)));
    }
}
