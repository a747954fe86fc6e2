//! `pvr remoteinfo`, `pvr stepinfo`

use cli::Error;
use cli::remote::about::{remote, step};

use crate::commands::network::{Network, address};
use crate::commands::{Keys, here};
use crate::progress::Bar;
use crate::term::{Done, out};

/// Show how a device or URL describes itself
///
/// Addresses for its state, its objects and new revisions, as one JSON object.
#[derive(clap::Args, Debug)]
pub(crate) struct RemoteArgs {
    #[command(flatten)]
    what: What,
}

/// Show the record of a revision, where a remote keeps one
///
/// Hubs do: when it came, by whom, how far it is. Devices do not.
#[derive(clap::Args, Debug)]
pub(crate) struct StepArgs {
    #[command(flatten)]
    what: What,
}

#[derive(clap::Args, Debug)]
struct What {
    /// A device or URL [default: where the last state came from]
    #[arg(value_name = "ADDRESS")]
    address: Option<String>,
    #[command(flatten)]
    network: Network,
}

impl What {
    fn text(&self) -> cli::Result<String> {
        match &self.address {
            Some(address) => Ok(address.clone()),
            None => here()?.remembered()?.get.ok_or_else(|| {
                Error::user("this repository remembers no address").hint("name one: pvr remoteinfo ADDRESS")
            }),
        }
    }
}

pub(crate) fn run_remote(args: &RemoteArgs, keys: &Keys) -> Done {
    let What { network, .. } = &args.what;
    out(remote(&network.client(keys)?, &address(&args.what.text()?, keys)?, &Bar::default())?.pretty())
}

pub(crate) fn run_step(args: &StepArgs, keys: &Keys) -> Done {
    let What { network, .. } = &args.what;
    out(step(&network.client(keys)?, &address(&args.what.text()?, keys)?, &Bar::default())?.pretty())
}
