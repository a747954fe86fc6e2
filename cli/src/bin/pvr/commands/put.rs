//! `pvr put`, `pvr putobjects`

use cli::Error;
use cli::remote::put::{put, put_objects};

use crate::commands::network::{Network, address};
use crate::commands::{Keys, here};
use crate::progress::Bar;
use crate::term::{Done, note, warn};

/// Replace the state of another repository with ours
///
/// For repositories behind a URL and in directories. A device takes revisions instead: `pvr post`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// A URL or a directory [default: where the last one went]
    #[arg(value_name = "ADDRESS")]
    address: Option<String>,
    /// Offer every object, also those that the state there names already
    #[arg(long, short)]
    force: bool,
    #[command(flatten)]
    network: Network,
}

/// Send the objects of the committed state, and nothing that names them
///
/// So that a large state is there at once when it is posted or put later.
#[derive(clap::Args, Debug)]
pub(crate) struct ObjectsArgs {
    /// A device, a URL or a directory
    #[arg(value_name = "ADDRESS")]
    address: String,
    #[command(flatten)]
    network: Network,
}

pub(crate) fn run_objects(args: &ObjectsArgs, keys: &Keys) -> Done {
    let address = address(&args.address, keys)?;
    let sent = put_objects(&here()?, &args.network.client(keys)?, &address, &Bar::default())?;
    note(format_args!("{sent} objects sent to {}", address.to_text()));
    Ok(())
}

pub(crate) fn run(args: &Args, keys: &Keys) -> Done {
    let repo = here()?;
    let text =
        args.address.clone().or(repo.remembered()?.put).ok_or_else(|| {
            Error::user("this repository remembers no place to put its state").hint("pvr put ADDRESS")
        })?;
    let address = address(&text, keys)?;
    let (sent, warnings) = put(&repo, &args.network.client(keys)?, &address, args.force, &Bar::default())?;
    warnings.iter().for_each(warn);
    note(format_args!("put to {}: {sent} objects sent", address.to_text()));
    Ok(())
}
