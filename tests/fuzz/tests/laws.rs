//! The laws on the corpus and on a fixed number of mutations, and proof that a broken law would be seen.

use std::collections::HashSet;

use fuzz::run::{self, Broken, Budget};
use fuzz::{TARGETS, Target, corpus};

/// Whether a reader takes these bytes.
type Accepts = fn(&[u8]) -> bool;

/// Few enough for every run of the tests; the binary goes on for as long as one likes.
const INPUTS: u64 = 3_000;

#[test]
fn no_law_is_broken_by_the_corpus_or_by_its_mutations() {
    for target in TARGETS {
        let seeds = corpus::seeds(target.name).unwrap();
        let report = run::run(target, &seeds, 1, Budget::Inputs(INPUTS));
        assert_eq!(report.broken, None, "{}", target.name);
        assert_eq!(report.executions, INPUTS + seeds.len() as u64);
    }
}

#[test]
fn a_broken_law_is_found_and_its_input_is_kept() {
    fn no_tried_trial(bytes: &[u8]) {
        assert!(!bytes.windows(20).any(|window| window == b"pv_trying=pv_trying="), "found it");
    }
    let target = Target { name: "broken", promise: "", check: no_tried_trial };
    let seeds = corpus::seeds(target.name).unwrap();
    let report = run::run(&target, &seeds, 1, Budget::Inputs(1_000_000));
    let Some(Broken { input, message }) = report.broken else { panic!("not found") };
    assert_eq!(message, "found it");
    assert_eq!(run::once(&target, &input), Err("found it".to_string()));
    assert_eq!(run::once(&target, b"anything else"), Ok(()));
}

#[test]
fn every_target_gets_past_the_checksums() {
    // Seeds that the readers accept exist: without them the mutations would only ever test the first comparison.
    let accepts: [(&str, Accepts); 4] = [
        ("journal", |bytes| formats::journal::decode(bytes).is_ok()),
        ("raw-wanted", |bytes| {
            formats::bootenv::raw::decode_wanted(bytes, formats::bootenv::uboot::Head::Plain).is_ok()
        }),
        ("grub-spent", |bytes| formats::bootenv::grub::decode_spent(bytes).is_ok()),
        ("assembly", |bytes| bytes.windows(6).any(|word| word == b"io.max") && fuzz::is_assembled(bytes)),
    ];
    for (name, accepts) in accepts {
        assert!(corpus::seeds(name).unwrap().iter().any(|seed| accepts(seed)), "{name}");
    }
}

#[test]
fn every_target_has_a_name_and_a_promise_of_its_own() {
    let names: HashSet<_> = TARGETS.iter().map(|target| target.name).collect();
    let promises: HashSet<_> = TARGETS.iter().map(|target| target.promise).collect();
    assert_eq!((names.len(), promises.len()), (TARGETS.len(), TARGETS.len()));
}
