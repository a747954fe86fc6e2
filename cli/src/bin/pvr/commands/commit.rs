//! `pvr commit`

use std::path::PathBuf;
use std::time::SystemTime;

use cli::commit::{NO_MESSAGE, commit, commit_checkpoint};
use cli::sign::auto::Step;

use crate::commands::{Keys, here};
use crate::progress::Bar;
use crate::term::{Done, note, warn};

/// Check, sign and commit the work tree
///
/// Takes changed, deleted and staged files. Refuses what a device would refuse, and says where it stands. Signs
/// whatever is not signed yet, part by part, so that a device that trusts your key and insists on signatures takes the
/// result; signatures that still fit stay as they are. Either all of it is committed or nothing is.
///
/// Tells what containers gain and lose of rights over the device.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  pvr commit -m 'web: listen on 8080'
  pvr commit --key product.pem --x5c product.chain.pem -m 'release 4'
  pvr commit --no-sign -m draft")]
pub(crate) struct Args {
    /// What this commit is about
    #[arg(long, short, default_value = NO_MESSAGE, hide_default_value = true)]
    message: String,
    /// Sign with this key: PEM, P-256, P-384 or RSA [default: your own, made on first use]
    #[arg(long, short, env = "PVR_SIG_KEY", hide_env_values = true, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Its chain of certificates in PEM, the signer's first; `no` for none
    #[arg(long, short = 'x', env = "PVR_X5C_PATH", hide_env_values = true, value_name = "FILE")]
    x5c: Option<String>,
    /// Do not sign; signatures that no longer fit stay, and devices refuse them
    #[arg(long)]
    no_sign: bool,
    /// Mark the state as a checkpoint: checkpoint.json says when it was
    #[arg(long, short)]
    checkpoint: bool,
}

pub(crate) fn run(args: &Args, keys: &Keys) -> Done {
    let repo = here()?;
    let key = if args.no_sign { None } else { Some(keys.open(args.key.as_deref(), args.x5c.as_deref())?) };
    let done = if args.checkpoint {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        commit_checkpoint(&repo, now, &args.message, key.as_ref(), &Bar::default())?
    } else {
        commit(&repo, &args.message, key.as_ref(), &Bar::default())?
    };
    done.lines.iter().for_each(note);
    for step in &done.steps {
        match step {
            Step::Signed(name) => note(format_args!("Signing {name}")),
            Step::Dropped(name) => note(format_args!("Removing {name}, which has nothing left to sign")),
        }
    }
    done.rights.iter().for_each(note);
    done.warnings.iter().for_each(warn);
    match done.digest {
        None => note("nothing to commit"),
        Some(digest) => note(format_args!("committed {digest}")),
    }
    Ok(())
}
