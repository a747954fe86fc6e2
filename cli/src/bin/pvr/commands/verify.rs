//! `pvr verify`

use std::path::PathBuf;
use std::time::SystemTime;

use cli::remote::{Address, Place};
use cli::verify::verify;
use cli::{Error, Result};
use formats::trust::Trust;
use formats::verify::Mode;
use indicatif::HumanBytes;

use crate::commands::network::address;
use crate::commands::sig::trusted;
use crate::commands::{Keys, here};
use crate::progress::Bar;
use crate::term::{Done, note, out, warn};

/// Look at a state and its objects as a device does, and tell all that it would refuse
///
/// Canonical form, paths, manifests, container configurations and what they include, filters of system calls, heads of
/// images, the hash of every object, every signature, and what nobody has signed; of a trail that was deployed also its
/// files and boot links. Of each document the first mistake is told, and all documents are looked at. Nothing is written.
///
/// One line per finding: the file, the place in it, what is wrong. Ends with 1 if there is any.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  pvr verify                                   the committed state, by your own key
  pvr verify device.tgz --cacerts ca.pem       a bundle, by an authority
  pvr verify /mnt/storage/trails/0 --json      a trail that was deployed")]
pub(crate) struct Args {
    /// The directory of a repository or trail, or a bundle [default: the committed state]
    #[arg(value_name = "PLACE")]
    place: Option<String>,
    /// Check signatures with these public keys (PEM); may be given again [default: your own]
    #[arg(long, value_name = "FILE")]
    pubkey: Vec<PathBuf>,
    /// Check signatures with these authorities (PEM); `_system_` for those of this machine [default: those of your configuration]
    #[arg(long, value_name = "FILE")]
    cacerts: Vec<String>,
    /// How much the device asks of signatures
    #[arg(long, value_name = "MODE", default_value = "strict", value_parser = ["strict", "audit", "lenient", "disabled"])]
    policy: String,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, keys: &Keys) -> Done {
    let place = match &args.place {
        Some(text) => whole(address(text, keys)?)?,
        None => Place::Directory(here()?.root().to_owned()),
    };
    let mode = Mode::parse(&args.policy).ok_or_else(|| Error::internal("a mode that is none"))?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let trust = if mode == Mode::Disabled { Trust::new() } else { trusted(&args.pubkey, &args.cacerts, keys)? };
    let report = verify(&place, mode, &trust.at(now), &Bar::default())?;
    if args.json {
        out(report.to_json().pretty())?;
    } else {
        report.findings.iter().try_for_each(|finding| out(finding.to_line()))?;
        report.warnings.iter().for_each(warn);
        if mode < Mode::Strict && mode > Mode::Disabled {
            report.unsigned.iter().for_each(|key| warn(format_args!("{key}: nobody who is trusted has signed it")));
        }
        let (objects, bytes) = report.objects;
        note(format_args!(
            "{} files, {objects} objects ({}), {} containers, {} signatures that count",
            report.files,
            HumanBytes(bytes),
            report.containers,
            report.signatures.len()
        ));
    }
    match report.findings.len() {
        0 => Ok(()),
        1 => Err(Error::user("a device would refuse this state, for one reason").into()),
        count => Err(Error::user(format!("a device would refuse this state, for {count} reasons")).into()),
    }
}

/// A part of a state is no state that a device could refuse.
fn whole(address: Address) -> Result<Place> {
    if address.selector.is_everything() {
        return Ok(address.place);
    }
    Err(Error::user(format!("parts ({}) cannot be verified on their own", address.selector.to_text()))
        .hint("leave out what follows the #"))
}
