//! `pvr status`, `pvr json`: they look and change nothing.

use cli::Error;
use cli::bundle::Bundle;
use cli::compare::{Status, compare};
use cli::remote::Place;
use cli::remote::get::overlay;
use cli::repo::Repo;
use cli::state::State;
use formats::json::Json;

use crate::commands::network::address;
use crate::commands::{Keys, here};
use crate::progress::Bar;
use crate::term::{Done, GREEN, RED, YELLOW, note, out, warn};

/// Say what differs from the committed state
///
/// One line per path: A new and staged, C changed, D deleted, ? new and not staged. Nothing if nothing differs.
#[derive(clap::Args, Debug)]
pub(crate) struct StatusArgs {
    /// Print a JSON array of {"path", "status"}
    #[arg(long)]
    json: bool,
}

/// Print the committed state
#[derive(clap::Args, Debug)]
pub(crate) struct JsonArgs {
    /// Byte for byte as it is hashed and signed, without a line break at the end
    #[arg(long, short)]
    canonical: bool,
    /// That of a bundle, or of the repository in a directory; only parts of it after a #
    #[arg(value_name = "FILE|DIR")]
    of: Option<String>,
}

pub(crate) fn status(args: &StatusArgs) -> Done {
    let comparison = compare(&here()?, &Bar::default())?;
    if args.json {
        let row =
            |path: &str, status: Status| Json::object().with("path", path).with("status", status.letter().to_string());
        let rows: Vec<Json> = comparison.changes.iter().map(|change| row(&change.path, change.status)).collect();
        return out(Json::from(rows).pretty());
    }
    for change in &comparison.changes {
        let style = match change.status {
            Status::Added => GREEN,
            Status::Changed => YELLOW,
            Status::Deleted => RED,
            Status::Untracked => anstyle::Style::new(),
        };
        out(format_args!("{style}{}{style:#} {}", change.status.letter(), change.path))?;
    }
    for path in &comparison.skipped {
        warn(format_args!("{path}: links and special files cannot be in a state"));
    }
    if comparison.changes.iter().any(|change| change.status == Status::Untracked) {
        note("hint: `pvr add PATH` stages what is marked with ?");
    }
    Ok(())
}

pub(crate) fn json(args: &JsonArgs, keys: &Keys) -> Done {
    let state = match &args.of {
        None => here()?.committed()?,
        Some(text) => {
            let address = address(text, keys)?;
            let state = match &address.place {
                Place::Bundle(path) => Bundle::open(path, &Bar::default())?.state().clone(),
                Place::Directory(directory) => Repo::at(directory)?.committed()?,
                Place::Url(url) => {
                    let error = Error::user(format!("{url} is not on this machine"));
                    return Err(error.hint("`pvr clone` it first").into());
                }
            };
            let spec = state.get("#spec").and_then(|spec| spec.as_str()).unwrap_or_default();
            overlay(&State::new(spec), &state, &address.selector)
        }
    };
    if args.canonical {
        use std::io::Write as _;
        return Ok(std::io::stdout().write_all(state.canonical().as_bytes())?);
    }
    out(state.to_json().pretty())
}
