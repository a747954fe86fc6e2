//! `pvr reset`

use cli::reset::{Options, reset};

use crate::commands::here;
use crate::progress::Bar;
use crate::term::{Done, note};

/// Bring back the files of the committed state
///
/// Overwrites changed files, brings deleted ones back and forgets what is staged. Files that are not in the state stay,
/// unless --clean says otherwise.
/// All objects are checked before the first file is written.
#[derive(clap::Args, Debug)]
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
}

pub(crate) fn run(args: &Args) -> Done {
    let options = Options { hardlink: args.hardlink, canonical: args.canonical, clean: args.clean };
    let done = reset(&here()?, options, &Bar::default())?;
    done.written.iter().for_each(|path| note(format_args!("Writing {path}")));
    done.removed.iter().for_each(|path| note(format_args!("Removing {path}")));
    Ok(())
}
