//! `pvr get`, `pvr merge`

use cli::Error;
use cli::remote::get::{Got, How, get};

use crate::commands::network::{Network, address};
use crate::commands::{Keys, here};
use crate::progress::Bar;
use crate::term::{Done, note, out, warn};

/// Take the state of a device over, or parts of it
///
/// The committed state becomes theirs; `pvr reset` then brings the files. With parts after a #, only those are replaced,
/// and a part that they do not have is gone. What was changed here since both sides were equal is never lost silently:
/// the command names it and stops.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  pvr get && pvr reset            what the device runs now
  pvr get '#web,_sigs/web.json'   one container from the address that is remembered
  pvr get '10.0.0.6#-web'         everything but one, from another device

Parts: `x` is the key x and all below x/, `-x` keeps it out. A part does not bring its configuration (_config/x) or
signature (_sigs/x.json) along; name them.")]
pub(crate) struct GetArgs {
    #[command(flatten)]
    what: What,
    /// Keep what they do not have
    #[arg(long)]
    no_delete: bool,
}

/// Lay the state of a device over ours, member by member
///
/// As `get`, but what they do not have stays, and documents are merged (RFC 7386): members of theirs win, `null` removes.
#[derive(clap::Args, Debug)]
pub(crate) struct MergeArgs {
    #[command(flatten)]
    what: What,
}

#[derive(clap::Args, Debug)]
struct What {
    /// A device, a URL, a directory or a bundle; parts after a # [default: where the last one came from]
    #[arg(value_name = "ADDRESS")]
    address: Option<String>,
    /// Take theirs, even if something of ours is lost
    #[arg(long, short)]
    force: bool,
    #[command(flatten)]
    network: Network,
}

pub(crate) fn run(args: &GetArgs, keys: &Keys) -> Done {
    take(&args.what, keys, if args.no_delete { How::Keep } else { How::Replace })
}

pub(crate) fn merge(args: &MergeArgs, keys: &Keys) -> Done {
    take(&args.what, keys, How::Merge)
}

fn take(args: &What, keys: &Keys, how: How) -> Done {
    let repo = here()?;
    let remembered = repo.remembered()?.get;
    let nowhere = || Error::user("this repository remembers no address to get from").hint("pvr get ADDRESS");
    let text = match (&args.address, remembered) {
        // Parts of what is remembered.
        (Some(parts), remembered) if parts.starts_with('#') => {
            let remembered = remembered.ok_or_else(nowhere)?;
            format!("{}{parts}", remembered.split('#').next().unwrap_or_default())
        }
        (Some(address), _) => address.clone(),
        (None, remembered) => remembered.ok_or_else(nowhere)?,
    };
    let address = address(&text, keys)?;
    let got = get(&repo, &args.network.client(keys)?, &address, how, args.force, &Bar::default())?;
    got.warnings.iter().for_each(warn);
    show(&got)
}

/// A line for each key, with a letter before it.
pub(crate) fn show_changes(got: &Got) -> Done {
    for (letter, keys) in [('A', &got.added), ('C', &got.changed), ('D', &got.removed)] {
        keys.iter().try_for_each(|key| out(format_args!("{letter} {key}")))?;
    }
    Ok(())
}

pub(crate) fn show(got: &Got) -> Done {
    show_changes(got)?;
    match got.is_nothing() {
        true => note("nothing new"),
        false => note(format_args!("{} objects fetched; `pvr reset` brings the files", got.objects)),
    }
    Ok(())
}
