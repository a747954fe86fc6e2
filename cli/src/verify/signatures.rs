//! Which signatures count, and what they leave open.

use formats::document::DocumentError;
use formats::signature::{Selected, Signature};
use formats::state::Revision;
use formats::verify::{Cover, Coverage, Mode, Policy, Verifier, uncovered, verified_selection};

use super::{Finding, Report};

/// Looks at every signature. How much of what is found is refused depends on the mode.
pub(super) fn look(report: &mut Report, revision: &Revision, mode: Mode, verifier: &impl Verifier) {
    if mode == Mode::Disabled {
        return;
    }
    let (signatures, broken) = all(revision);
    report.findings.extend(broken.iter().map(|error| Finding::of(error)));
    let mut coverage = Coverage { signatures: Vec::new(), rows: revision.entries().map(|_| Cover::NotSeen).collect() };
    for signature in signatures {
        let selection = match verified_selection(revision, &signature, verifier) {
            Ok(selection) => selection,
            Err(why) => {
                report.findings.push(Finding::new(signature.key, format!("the signature does not count: {why}")));
                continue;
            }
        };
        let by = coverage.signatures.len();
        coverage.signatures.push(signature.key);
        for (row, selected) in coverage.rows.iter_mut().zip(selection) {
            match (*row, selected) {
                (Cover::Protected { .. }, _) | (_, Selected::Untouched) => {}
                (_, Selected::Included) => *row = Cover::Protected { by },
                (_, Selected::Excluded) => *row = Cover::Excluded,
            }
        }
    }
    let policy = Policy { mode, boot_chain_checks_fit: false };
    report.unsigned = uncovered(revision, &coverage, policy).map(str::to_owned).collect();
    if mode == Mode::Strict {
        let open = report.unsigned.iter();
        report.findings.extend(open.map(|key| Finding::new(key.as_str(), "nobody who is trusted has signed it")));
    }
    report.signatures = coverage.signatures;
}

/// The signatures that can be read, and why the others cannot.
fn all(revision: &Revision) -> (Vec<Signature>, Vec<DocumentError>) {
    let first = match Signature::all(revision) {
        Ok(all) => return (all, Vec::new()),
        Err(error) => error,
    };
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    let keys = revision.entries().filter(|entry| entry.key.starts_with("_sigs/") && entry.key.ends_with(".json"));
    for entry in keys {
        match Signature::parse(entry.key, entry.raw) {
            Ok(signature) => good.push(signature),
            Err(error) => bad.push(error),
        }
    }
    if bad.is_empty() {
        bad.push(first);
    }
    (good, bad)
}
