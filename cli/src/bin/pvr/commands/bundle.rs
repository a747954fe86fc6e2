//! `pvr export`, `pvr import`

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use cli::Error;
use cli::bundle::{Target, export};
use cli::remote::get::{How, get};
use cli::remote::{Place, Selector};

use crate::commands::get::show;
use crate::commands::network::{Network, address};
use crate::commands::{Keys, compose, here};
use crate::progress::Bar;
use crate::term::{Done, note, warn};

/// Write the committed state and its objects into one file
///
/// Such a bundle goes where no network does: `pvr import`, `pvr clone` and `pvr get` read it, existing tools too. Its name
/// says how it is packed: .tgz and .gz by gzip, .zst and .tzst by zstd (older tools do not read that), else not at all.
/// Equal states are equal files. The file is there when all of it is, or not at all.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  pvr export device.tgz                           all of it
  pvr export -p web,_config/web,_sigs/web.json web.tgz
  pvr export - | ssh build 'cat > device.tar'     not packed

Parts: `x` is the key x and all below x/, `-x` keeps it out. A part does not bring its configuration (_config/x) or
signature (_sigs/x.json) along; you are told what stays behind.")]
pub(crate) struct ExportArgs {
    /// Only these parts of the state, with commas between them
    #[arg(long, short, value_name = "PARTS", default_value = "")]
    parts: String,
    /// The file, or - for the standard output
    file: PathBuf,
}

/// Take a bundle over, or parts of it
///
/// The committed state becomes that of the file, or has its parts; `pvr reset` then brings the files. Everything in it is
/// checked before anything changes. What was changed here and not posted is never lost silently: the command names it and
/// stops.
#[derive(clap::Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true,
    after_long_help = "Examples:
  pvr import device.tgz && pvr reset
  pvr import 'web.tgz#web,_sigs/web.json'         parts of it
  pvr import compose docker-compose.yml           containers of a compose file
  pvr import ./compose                            a bundle that is called so"
)]
pub(crate) struct ImportArgs {
    #[command(subcommand)]
    what: Option<What>,
    /// The file; parts after a #
    #[arg(value_name = "FILE", required = true)]
    file: Option<String>,
    /// Take it, even if something of ours is lost
    #[arg(long, short)]
    force: bool,
}

/// What is no bundle.
#[derive(clap::Subcommand, Debug)]
enum What {
    Compose(Box<compose::Args>),
}

pub(crate) fn run_export(args: &ExportArgs) -> Done {
    let selector = Selector::parse(&args.parts)?;
    let mut stdout = io::stdout();
    let target = if args.file.as_os_str() == "-" {
        if stdout.is_terminal() {
            let error = Error::user("a bundle is not written to a terminal");
            return Err(error.hint("name a file, or send it on: pvr export - | …").into());
        }
        Target::Stream(&mut stdout)
    } else {
        Target::File(args.file.clone())
    };
    let done = export(&here()?, &selector, target, &Bar::default())?;
    done.warnings.iter().for_each(warn);
    note(format_args!("{} files, {} objects in {}", done.files, done.objects, args.file.display()));
    Ok(())
}

pub(crate) fn run_import(args: &ImportArgs, keys: &Keys) -> Done {
    if let Some(What::Compose(args)) = &args.what {
        return compose::run(args, keys);
    }
    let repo = here()?;
    let file = args.file.as_deref().unwrap_or_default();
    let address = address(file, keys)?;
    if !matches!(address.place, Place::Bundle(_)) {
        let error = Error::user(format!("{} is no file", address.to_text()));
        return Err(error.hint("`pvr get` takes the state of a device or of a repository").into());
    }
    let got = get(&repo, &Network::default().client(keys)?, &address, How::Replace, args.force, &Bar::default())?;
    got.warnings.iter().for_each(warn);
    show(&got)
}
