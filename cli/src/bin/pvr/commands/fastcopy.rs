//! `pvr fastcopy`

use cli::remote::fastcopy::{End, Options, fastcopy};

use crate::commands::Keys;
use crate::commands::get::show_changes;
use crate::commands::network::{Network, address};
use crate::commands::post::{Revision, tell};
use crate::progress::Bar;
use crate::term::{Done, note, warn};

/// Copy a state, or parts of it, from one place to another
///
/// Without a repository in between: from a device, a URL, a directory or a bundle to a device or URL, which gets a new
/// revision, or to the repository of a directory, whose committed state is replaced. An object that the destination has is
/// not moved, so between two trails of one server only the state travels. The state arrives with the signatures that it
/// has, and is checked first: copy a part together with its signature.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  pvr fastcopy 10.0.0.5 10.0.0.6                            all that one device runs, to another
  pvr fastcopy '10.0.0.5#web,_sigs/web.json' 10.0.0.6       one container
  pvr fastcopy release.tgz 10.0.0.6 -m 'release 4'          a bundle, as a new revision
  pvr fastcopy '../old#_hostconfig' '.#_hostconfig'         between two directories

Parts behind the destination are the names that those of the source get there: as many, in the same order.")]
pub(crate) struct Args {
    /// A device, a URL, a directory or a bundle; parts after a #
    #[arg(value_name = "SOURCE")]
    source: String,
    /// A device, a URL or a directory; after a # what the parts are called there
    #[arg(value_name = "DESTINATION")]
    destination: String,
    /// Keep what the source does not have
    #[arg(long)]
    merge: bool,
    #[command(flatten)]
    revision: Revision,
    #[command(flatten)]
    network: Network,
}

pub(crate) fn run(args: &Args, keys: &Keys) -> Done {
    let (from, to) = (address(&args.source, keys)?, address(&args.destination, keys)?);
    let (asked, told) = (args.network.client(keys)?, args.network.client(keys)?);
    let options = Options { merge: args.merge, post: args.revision.options()? };
    let (from, to) = (End { client: &asked, address: &from }, End { client: &told, address: &to });
    let copied = fastcopy(from, to, &options, &Bar::default())?;
    copied.changes.warnings.iter().for_each(warn);
    show_changes(&copied.changes)?;
    note(format_args!("{} objects moved", copied.changes.objects));
    match &copied.posted {
        Some(posted) => tell(posted),
        None => note(format_args!("committed in {}; `pvr reset` there brings the files", to.address.place.to_text())),
    }
    Ok(())
}
