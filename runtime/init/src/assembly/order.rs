//! Who has to be up before whom, beyond the order of groups: a container waits for those whose exports it needs, whose
//! services it requires, and that its `conditions` name. A pure decision, taken when a revision is staged.

use std::collections::BTreeSet;

use super::Assembled;
use super::error::{AssemblyError, Refusal, Where};

/// Refuses containers that would wait for ever: for one of a later group, or for each other.
pub(super) fn check(containers: &[Assembled]) -> Result<(), AssemblyError> {
    let find = |name: &String| containers.iter().find(|one| one.member.name == *name);
    let refused =
        |one: &Assembled, why| Err(AssemblyError::refused(format!("{}/run.json", one.name), Where::Whole, why));
    for one in containers {
        let later = one.member.after.iter().filter_map(find).find(|other| other.member.group > one.member.group);
        if let Some(other) = later {
            return refused(one, Refusal::Later { name: other.member.name.clone(), group: other.group.clone() });
        }
    }
    let mut open: BTreeSet<&str> = BTreeSet::new();
    // Each round opens who waits for nobody else; what is left then waits in a circle.
    while let Some(next) = containers.iter().find(|one| {
        let waits = |name: &String| find(name).is_some() && !open.contains(name.as_str());
        !open.contains(one.member.name.as_str()) && !one.member.after.iter().any(waits)
    }) {
        open.insert(&next.member.name);
    }
    let Some(first) = containers.iter().find(|one| !open.contains(one.member.name.as_str())) else { return Ok(()) };
    let mut walk: Vec<&Assembled> = Vec::new();
    let mut at = first;
    while !walk.iter().any(|one| one.name == at.name) {
        walk.push(at);
        let next = at.member.after.iter().filter_map(find).find(|one| !open.contains(one.member.name.as_str()));
        let Some(next) = next else { break };
        at = next;
    }
    let circle = walk.iter().skip_while(|one| one.name != at.name).chain([&at]);
    refused(at, Refusal::Circle(circle.map(|one| one.member.name.clone()).collect()))
}
