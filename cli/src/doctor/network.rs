//! The remote that a repository remembers: whether it is there, and lets us in.

use std::path::Path;

use super::{Check, Surroundings};
use crate::error::{Error, Result};
use crate::remote::origin::Origin;
use crate::remote::{Address, Place};
use crate::repo::Repo;
use crate::watch::Watch;

pub(super) fn look(repo: Option<&Repo>, around: &Surroundings<'_>, watch: &dyn Watch) -> Vec<Check> {
    let Some(repo) = repo else { return Vec::new() };
    let remembered = match repo.remembered() {
        Ok(remembered) => remembered,
        Err(error) => return vec![Check::of("remote", error)],
    };
    let mut all: Vec<String> = [remembered.post, remembered.get, remembered.put].into_iter().flatten().collect();
    // Of one place, whatever parts of it were asked for.
    all.iter_mut().for_each(|text| text.truncate(text.find('#').unwrap_or(text.len())));
    let mut seen = Vec::new();
    all.retain(|text| {
        !seen.contains(text) && {
            seen.push(text.clone());
            true
        }
    });
    if all.is_empty() {
        return vec![Check::ok("remote", "none is remembered")];
    }
    all.iter().map(|text| remote(text, repo.root(), around, watch)).collect()
}

fn remote(text: &str, root: &Path, around: &Surroundings<'_>, watch: &dyn Watch) -> Check {
    let place = match Address::parse(text, root, around.base.as_deref()) {
        Ok(address) => address.place,
        Err(error) => return Check::of("remote", error),
    };
    let client = match (&place, around.client) {
        (Place::Url(_), None) => return Check::ok("remote", format!("{text}, which was not asked")),
        (_, Some(client)) => client,
        // What is on this machine is found without asking anybody.
        (_, None) => return Check::ok("remote", text),
    };
    let state: Result<bool> =
        Origin::open(client, &place, watch).and_then(|origin| Ok(origin.state_if_any(watch)?.is_some()));
    match state {
        Ok(true) => Check::ok("remote", format!("{text} answers, and shows its state")),
        Ok(false) => Check::warn(
            "remote",
            format!("{text} answers, and runs nothing"),
            "is it in recovery? `pvr post` gives it a state",
        ),
        Err(Error { message, hint, .. }) => {
            let advice = hint.unwrap_or_else(|| "is the device on, and in this network?".into());
            Check::fail("remote", message, format!("{advice}; `pvr doctor --offline` asks nobody"))
        }
    }
}
