//! `pvr post`

use std::time::{Duration, Instant};

use cli::remote::post::{Options, Posted, post};
use cli::remote::wait::wait;
use cli::{Error, Result};
use formats::json::{self, Json, Limits};
use formats::progress::Status;
use statemachine::ids::RevisionId;

use crate::commands::network::{Network, address};
use crate::commands::{Keys, here};
use crate::progress::Bar;
use crate::term::{Done, note, warn};

/// Send the committed state to a device, as a new revision
///
/// Checks it, sends the objects that the device does not have, then the revision. The command ends when the device has
/// accepted it; with --wait it ends when the device has taken it into use (exit code 0), or has refused it or gone back to
/// what it ran before (exit code 3, with the reason of the device).
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  pvr post                              where the last one went, or the clone came from
  pvr post 10.0.0.5 -m 'web: 4.1'
  pvr post --wait                       and tell what becomes of it
  pvr post --rev locals/web-41 --wait=120")]
pub(crate) struct Args {
    /// A device or URL [default: where the last one went]
    #[arg(value_name = "ADDRESS")]
    address: Option<String>,
    #[command(flatten)]
    revision: Revision,
    /// Wait until the device has decided, so many seconds at most
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "900")]
    wait: Option<u64>,
    #[command(flatten)]
    network: Network,
}

/// What is said of a new revision.
#[derive(clap::Args, Debug)]
pub(crate) struct Revision {
    /// What the revision is about [default: the message of the last commit]
    #[arg(long, short, visible_alias = "commit-msg", value_name = "TEXT")]
    message: Option<String>,
    /// Its name: a number, or locals/NAME; -1 lets the device choose
    #[arg(long, value_name = "NAME", default_value = "-1", hide_default_value = true, allow_hyphen_values = true)]
    #[arg(value_parser = revision)]
    rev: Named,
    /// Have it tried even if the device has tried the same content and gone back
    #[arg(long)]
    retry: bool,
    /// Further members of the request, as a JSON object
    #[arg(long, short, value_name = "JSON")]
    envelope: Option<String>,
    /// Offer every object, also those that the state there names already
    #[arg(long, short)]
    force: bool,
}

impl Revision {
    pub(crate) fn options(&self) -> Result<Options> {
        Ok(Options {
            message: self.message.clone(),
            revision: self.rev.0.clone(),
            retry: self.retry,
            envelope: self.envelope.as_deref().map(envelope).transpose()?,
            force: self.force,
        })
    }
}

/// The name of the new revision, if it is to have a certain one.
#[derive(Clone, Debug)]
struct Named(Option<RevisionId>);

fn revision(text: &str) -> std::result::Result<Named, String> {
    if text == "-1" {
        return Ok(Named(None));
    }
    RevisionId::parse(text).map(|id| Named(Some(id))).map_err(|why| format!("{why}: a number, or locals/NAME"))
}

pub(crate) fn run(args: &Args, keys: &Keys) -> Done {
    let repo = here()?;
    let remembered = repo.remembered()?.post;
    let text = args
        .address
        .clone()
        .or(remembered)
        .ok_or_else(|| Error::user("this repository remembers no device to post to").hint("pvr post ADDRESS"))?;
    let (address, client) = (address(&text, keys)?, args.network.client(keys)?);
    let options = args.revision.options()?;
    let bar = Bar::default();
    let posted = post(&repo, &client, &address, &options, &bar)?;
    tell(&posted);
    let Some(seconds) = args.wait else { return Ok(()) };
    let Some(revision) = &posted.revision else {
        return Err(Error::user("the device did not say what it calls the revision, so there is nothing to wait for")
            .hint("name it: --rev locals/NAME")
            .into());
    };
    let end = Instant::now() + Duration::from_secs(seconds);
    let used = wait(&client, &posted.info, revision, &mut || Instant::now() < end, &bar)?;
    if used.status == Status::Updated {
        note("it is in use; the device falls back to it after its next boot");
    }
    Ok(())
}

/// Says what became of it.
pub(crate) fn tell(posted: &Posted) {
    posted.warnings.iter().for_each(warn);
    let name = posted.revision.as_deref().unwrap_or("?");
    let short = posted.digest.get(..8).unwrap_or(&posted.digest);
    // Scripts look for this sentence.
    note(format_args!("Successfully posted Revision {name} ({short}) to device id {}", posted.trail));
}

fn envelope(text: &str) -> Result<Json> {
    let value = json::parse(text.as_bytes(), Limits::DOCUMENT);
    value.map(|value| value.to_json()).map_err(|error| {
        Error::user(format!("the envelope: {error}")).hint("a JSON object: --envelope '{\"name\":\"value\"}'")
    })
}
