//! `pvr history`

use cli::history::{Entry, entries, find, state};
use formats::date::date;
use formats::json::Json;

use crate::commands::here;
use crate::term::{Done, YELLOW, note, out};

/// List what was committed here, when, by whom, and what it changed
///
/// Kept beside the committed state, where other tools do not look: every commit, get, merge, import, clone and reset --to,
/// and a put from another repository. The newest 200 states are kept with it; `pvr reset --to` makes one of them the
/// committed state again.
#[derive(clap::Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_long_help = "Examples:
  pvr history -n 3              the last three
  pvr history show ~1           the state before the last commit
  pvr reset --to ~1             and back to it"
)]
pub(crate) struct Args {
    /// At most so many, the newest
    #[arg(long, short, value_name = "N")]
    number: Option<usize>,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Print the state of then
    Show {
        /// ~0 is the newest entry, ~1 the one before; or the beginning of a hash
        #[arg(value_name = "STATE")]
        state: String,
        /// Byte for byte as it is hashed and signed, without a line break at the end
        #[arg(long, short)]
        canonical: bool,
    },
}

pub(crate) fn run(args: &Args) -> Done {
    let repo = here()?;
    if let Some(Command::Show { state: text, canonical }) = &args.command {
        let state = state(&repo, find(&repo, text)?)?;
        if *canonical {
            use std::io::Write as _;
            return Ok(std::io::stdout().write_all(state.canonical().as_bytes())?);
        }
        return out(state.to_json().pretty());
    }
    let mut entries = entries(&repo)?;
    entries.truncate(args.number.unwrap_or(usize::MAX));
    if args.json {
        return out(Json::from(entries.iter().map(Entry::to_json).collect::<Vec<_>>()).pretty());
    }
    if entries.is_empty() {
        note("nothing yet; the next commit is the first entry");
    }
    entries.iter().enumerate().try_for_each(|(number, entry)| show(number, entry))
}

fn show(number: usize, entry: &Entry) -> Done {
    let hash = entry.state.to_string();
    let hash = hash.get(..8).unwrap_or(&hash);
    let time = entry.time.map_or("-".to_owned(), date);
    let signer = entry.signer.as_deref().map_or("not signed", |signer| signer.get(..8).unwrap_or(signer));
    let signer = if entry.command == "commit" { format!(" ({signer})") } else { String::new() };
    // What somebody has written is one line here, and nothing that a terminal would obey.
    let message: String = entry.message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    out(format_args!("~{number:<3} {YELLOW}{hash}{YELLOW:#} {time} {}{signer} {message}", entry.command))?;
    entry.paths.iter().try_for_each(|path| out(format_args!("     {path}")))?;
    if entry.more > 0 { out(format_args!("     and {} more", entry.more)) } else { Ok(()) }
}
