//! `pvr add`

use crate::commands::{cwd, here};
use crate::progress::Bar;
use crate::term::{Done, note, warn};

/// Stage new files for the next commit
///
/// Only files that were never committed need this; a commit takes changed and deleted ones in any case. Signatures below
/// `_sigs/` need it neither.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  pvr add                       everything
  pvr add web device.json       a directory and a file
  pvr add '_config/web/**'      a pattern: `*` within a directory, `X/**` all below X
  pvr add --raw web/data.json   as bytes and not as inline JSON")]
pub(crate) struct Args {
    /// Files, directories or patterns [default: everything]
    paths: Vec<String>,
    /// Take .json files as bytes, not as inline JSON
    #[arg(long)]
    raw: bool,
}

pub(crate) fn run(args: &Args) -> Done {
    let added = cli::add::add(&here()?, &cwd()?, &args.paths, args.raw, &Bar::default())?;
    for path in &added.skipped {
        warn(format_args!("{path}: links and special files cannot be in a state"));
    }
    if added.paths.is_empty() {
        note("nothing new to add; changed files need no add");
    }
    Ok(())
}
