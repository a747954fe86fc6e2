//! `pvr reset`

use cli::history;
use cli::reset::{Options, reset};

use crate::commands::here;
use crate::progress::Bar;
use crate::term::{Done, note, warn};

/// Bring back the files of the committed state
///
/// Overwrites changed files, brings deleted ones back and forgets what is staged. Files that are not in the state stay,
/// unless --clean says otherwise.
/// All objects are checked before the first file is written.
///
/// With --to the committed state becomes one of the history again, and the files become its files. That needs a work tree
/// without changes, and the objects of then in the pool.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  pvr reset             what is committed
  pvr reset --to ~1     the state before the last commit; `pvr history` lists them")]
pub(crate) struct Args {
    /// Read-only hard links into the pool instead of copies; implies --canonical. Also -hl
    #[arg(long, visible_alias = "hl")]
    hardlink: bool,
    /// Write inline JSON as it is signed, not indented
    #[arg(long, short, env = "PVR_CANONICAL_JSON", hide_env_values = true)]
    canonical: bool,
    /// Remove files that are not in the state
    #[arg(long)]
    clean: bool,
    /// Commit a state of the history again: ~N, or the beginning of its hash
    #[arg(long, value_name = "STATE", conflicts_with = "clean")]
    to: Option<String>,
}

pub(crate) fn run(args: &Args) -> Done {
    let options = Options { hardlink: args.hardlink, canonical: args.canonical, clean: args.clean };
    let repo = here()?;
    if let Some(text) = &args.to {
        let id = history::find(&repo, text)?;
        let done = history::back(&repo, id, options, &Bar::default())?;
        done.written.iter().for_each(|path| note(format_args!("Writing {path}")));
        done.removed.iter().for_each(|path| note(format_args!("Removing {path}")));
        done.warnings.iter().for_each(warn);
        note(format_args!("committed {id}, as it was"));
        return Ok(());
    }
    let done = reset(&repo, options, &Bar::default())?;
    done.written.iter().for_each(|path| note(format_args!("Writing {path}")));
    done.removed.iter().for_each(|path| note(format_args!("Removing {path}")));
    Ok(())
}
