//! `pvr post`: the committed state becomes a new revision of a device.
//!
//! ```text
//!   check ─▶ what the device has ─▶ objects, side by side ─▶ POST {"commit-msg":…,"rev":…,"state":{…}} ─▶ its name
//!   └── here: nothing was sent ──┘  └ unused until a revision names them ┘
//! ```

use std::collections::BTreeSet;
use std::fs;

use formats::json::{self, Json, Limits};
use statemachine::ids::RevisionId;

use crate::check::check;
use crate::commit::NO_MESSAGE;
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::http::{Client, Repeat, nonsense, printable};
use crate::remote::address::{Address, Place};
use crate::remote::info::Info;
use crate::remote::{objects, origin};
use crate::repo::{Remembered, Repo};
use crate::sign::auto;
use crate::state::State;
use crate::watch::Watch;

/// The most bytes of a message that devices keep.
pub const MESSAGE_MAX: usize = 256;

/// How a revision is posted.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Options {
    /// What it is about. None is the message of the last commit.
    pub message: Option<String>,
    /// Its name. None lets the device choose.
    pub revision: Option<RevisionId>,
    /// Whether the device may try it although the same content failed there before.
    pub retry: bool,
    /// Further members of the request.
    pub envelope: Option<Json>,
    /// Whether objects are offered that its state names already.
    pub force: bool,
}

/// What the device made of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Posted {
    /// The name of the revision, if the device says it.
    pub revision: Option<String>,
    /// SHA-256 of the state.
    pub digest: String,
    /// Whose trail it is on.
    pub trail: String,
    /// Objects that were sent.
    pub objects: usize,
    /// What a person should hear about.
    pub warnings: Vec<String>,
    /// Where it went.
    pub info: Info,
}

/// Posts the committed state.
///
/// # Errors
/// Devices would refuse it, an object is missing here, or the device did refuse it.
pub fn post(repo: &Repo, client: &Client, address: &Address, options: &Options, watch: &dyn Watch) -> Result<Posted> {
    let _lock = repo.lock()?;
    let Place::Url(url) = &address.place else {
        return Err(Error::user(format!("{}, which has no revisions", address.place.described()))
            .hint("`pvr put` replaces the state of another repository; `pvr post ADDRESS` goes to a device"));
    };
    let (state, mut warnings) = presentable(repo, address)?;
    let info = Info::discover(client, url, watch)?;
    let message = match &options.message {
        Some(message) => message.clone(),
        None => last_message(repo)?,
    };
    let request = Request::new(&info, &state, &message, options, &mut warnings)?;
    let sent = send_objects(repo, client, &info, &state, options.force, watch)?;
    let posted = request.send(client, info, &state, warnings, watch)?;
    repo.set_base(&state)?;
    let known = repo.remembered()?;
    let place = || Some(url.clone());
    repo.remember(&Remembered { get: known.get.or_else(place), post: place(), put: known.put.or_else(place) })?;
    Ok(Posted { objects: sent, ..posted })
}

/// The request that makes a new revision, made before anything is sent.
pub(crate) struct Request {
    url: String,
    body: Json,
}

impl Request {
    /// # Errors
    /// The remote takes no revisions, or wants to be told more.
    pub(crate) fn new(
        info: &Info,
        state: &State,
        message: &str,
        options: &Options,
        warnings: &mut Vec<String>,
    ) -> Result<Self> {
        let url = info.post.clone().ok_or_else(|| {
            let message = format!("{} takes no revisions", info.base);
            Error { kind: ErrorKind::Device, message, hint: None }
                .hint("is it a fixed revision of a repository? post to the trail")
        })?;
        Ok(Self { url, body: body(message, state, info, options, warnings)? })
    }

    /// Sends it, when the objects are there. Of what comes back, the number of objects is for the caller.
    ///
    /// # Errors
    /// The remote refuses it, or its answer cannot be used.
    pub(crate) fn send(
        &self,
        client: &Client,
        info: Info,
        state: &State,
        mut warnings: Vec<String>,
        watch: &dyn Watch,
    ) -> Result<Posted> {
        let media = "text/plain; charset=utf-8";
        // The answer of a hub is the whole step.
        let limit = 2 * Limits::STATE.bytes;
        let reply = client.post(&self.url, media, &self.body.canonical(), limit, Repeat::IfUnsent, watch)?;
        let asked = reply.url.clone();
        let answer = reply.success("the new revision was posted")?;
        let answer =
            json::parse(&answer, Limits { bytes: limit, ..Limits::STATE }).map_err(|error| nonsense(&asked, error))?;
        let digest = state.revision()?.digest().to_string();
        let text = |name: &str| answer.as_object().and_then(|answer| answer.get(name)?.as_str()).map(printable);
        let number =
            answer.as_object().and_then(|answer| answer.get("rev")).map(|rev| rev.raw().trim_matches('"').to_owned());
        if text("state-sha").is_some_and(|theirs| theirs != digest) {
            warnings.push(format!("the device computes another hash for this state than {digest}"));
        }
        let local = text("revlocal").filter(|name| !name.is_empty());
        Ok(Posted {
            revision: number.filter(|number| number != "-1").or(local),
            digest,
            trail: text("trail-id").unwrap_or_default(),
            objects: 0,
            warnings,
            info,
        })
    }
}

/// The committed state, if devices take such ones, with what a person should hear about.
pub(crate) fn presentable(repo: &Repo, address: &Address) -> Result<(State, Vec<String>)> {
    if !address.selector.is_everything() {
        return Err(Error::user(format!("parts ({}) cannot be sent on their own", address.selector.to_text()))
            .hint("leave out what follows the #"));
    }
    let state = repo.committed()?;
    let warnings = acceptable(&state)?;
    Ok((state, warnings))
}

/// Whether devices take such a state; what a person should hear about.
pub(crate) fn acceptable(state: &State) -> Result<Vec<String>> {
    let revision = state.revision()?;
    let mut warnings: Vec<String> = check(&revision)?.iter().map(ToString::to_string).collect();
    warnings.extend(auto::gaps(&revision)?);
    Ok(warnings)
}

/// Sends what the remote's state does not name already; all that it does not have, if `force` says so. Returns how many
/// were sent.
pub(crate) fn send_objects(
    repo: &Repo,
    client: &Client,
    info: &Info,
    state: &State,
    force: bool,
    watch: &dyn Watch,
) -> Result<usize> {
    let there = if force { None } else { origin::state_if_any(client, info, watch)? };
    let there: BTreeSet<_> = there.iter().flat_map(|state| objects::of(state, |_| true).into_keys()).collect();
    objects::send(client, info, &objects::of(state, |_| true), &there, repo.pool(), watch)
}

fn body(message: &str, state: &State, info: &Info, options: &Options, warnings: &mut Vec<String>) -> Result<Json> {
    let mut body = match &options.envelope {
        None => Json::object(),
        Some(envelope @ Json::Object(_)) => envelope.clone(),
        Some(_) => {
            return Err(Error::user("the envelope is not a JSON object").hint("--envelope '{\"name\":\"value\"}'"));
        }
    };
    let cut = beginning(message, MESSAGE_MAX);
    if cut.len() < message.len() {
        warnings.push(format!("devices keep {MESSAGE_MAX} bytes of a message; the rest was left out"));
    }
    body.set("commit-msg", cut);
    body.set("rev", rev(options.revision.as_ref())?);
    if options.retry {
        body.set("retry", true);
    }
    body.set(&info.key, state.to_json());
    match info.fields.iter().find(|field| body.get(field).is_none()) {
        None => Ok(body),
        Some(field) => Err(Error::user(format!("{} wants to be told {field:?} with a revision", info.base))
            .hint(format!("--envelope '{{{field:?}:…}}'"))),
    }
}

/// The member that names the revision: -1 lets the device choose.
fn rev(revision: Option<&RevisionId>) -> Result<Json> {
    let Some(revision) = revision else {
        return json::Number::parse("-1").map(Json::Number).ok_or_else(|| Error::internal("-1 is not a number"));
    };
    Ok(match json::Number::parse(revision.as_str()) {
        Some(number) => Json::Number(number),
        None => revision.as_str().into(),
    })
}

fn last_message(repo: &Repo) -> Result<String> {
    let path = repo.books().join("commitmsg");
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(NO_MESSAGE.into()),
        read => read.context("read", &path),
    }
}

/// As many bytes as there may be, in whole characters.
fn beginning(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_named_by_a_number_or_a_text_or_left_to_the_device() {
        let name = |text: &str| rev(Some(&RevisionId::parse(text).unwrap())).unwrap().canonical();
        assert_eq!(rev(None).unwrap().canonical(), "-1");
        assert_eq!(name("7"), "7");
        assert_eq!(name("locals/x"), "\"locals/x\"");
    }

    #[test]
    fn a_message_is_cut_between_characters() {
        assert_eq!(beginning("abc", 256), "abc");
        assert_eq!(beginning(&"ä".repeat(200), 255).len(), 254);
    }
}
