//! `pvr reset`

use cli::reset::{Options, reset};

use crate::commands::here;
use crate::progress::Bar;
use crate::term::{Done, note};

/// Bring back the files of the committed state
///
/// Overwrites changed files, brings deleted ones back and forgets what is staged. Files that are not in the state stay.
/// All objects are checked before the first file is written.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Read-only hard links into the pool instead of copies; implies --canonical. Also -hl
    #[arg(long, visible_alias = "hl")]
    hardlink: bool,
    /// Write inline JSON as it is signed, not indented
    #[arg(long, short)]
    canonical: bool,
}

pub(crate) fn run(args: &Args) -> Done {
    let options = Options { hardlink: args.hardlink, canonical: args.canonical };
    for path in reset(&here()?, options, &Bar::default())? {
        note(format_args!("Writing {path}"));
    }
    Ok(())
}
