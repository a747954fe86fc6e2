//! `pvr clone`

use std::path::PathBuf;

use cli::remote::clone::{Options, clone, default_directory};

use crate::commands::network::{Network, address};
use crate::commands::{Keys, moment};
use crate::progress::Bar;
use crate::term::{Done, note, warn};

/// Make a repository from what a device runs
///
/// Fetches the state and its objects, checks all of them, and brings the files. DIR appears when all of it is there, or
/// not at all. The address is remembered for `get` and `post`.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  pvr clone 10.0.0.5 device                  a device; its endpoint is port 12368
  pvr clone http://10.0.0.5:12368 device     the same
  pvr clone https://hub/trails/5f3a          a trail of a hub
  pvr clone ../other copy                    another repository
  pvr clone '10.0.0.5#web,_sigs/web.json'    parts of it")]
pub(crate) struct Args {
    /// A device, a URL or a directory; parts after a #
    #[arg(value_name = "ADDRESS")]
    address: String,
    /// Where [default: the last part of the address]
    dir: Option<PathBuf>,
    /// Keep objects in this directory, which other repositories may share [default: DIR/.pvr/objects]
    #[arg(long, short, env = "PVR_OBJECTS_DIR", hide_env_values = true, value_name = "DIR")]
    objects: Option<PathBuf>,
    /// Write inline JSON as it is signed, not indented
    #[arg(long, short, env = "PVR_CANONICAL_JSON", hide_env_values = true)]
    canonical: bool,
    #[command(flatten)]
    network: Network,
}

pub(crate) fn run(args: &Args, keys: &Keys) -> Done {
    let address = address(&args.address, keys)?;
    let directory = args.dir.clone().unwrap_or_else(|| default_directory(&address));
    let options = Options { objects: args.objects.clone(), canonical: args.canonical, moment: Some(moment()?) };
    let done = clone(&args.network.client(keys)?, &address, &directory, &options, &Bar::default())?;
    done.warnings.iter().for_each(warn);
    note(format_args!(
        "cloned into {}: {} files, {} objects fetched",
        done.directory.display(),
        done.files,
        done.objects
    ));
    Ok(())
}
