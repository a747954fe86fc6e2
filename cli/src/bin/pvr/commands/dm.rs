//! `pvr dm`

use cli::verity::{self, Checked, Verdict};
use cli::{Error, Result};
use formats::json::Json;

use crate::commands::here;
use crate::progress::Bar;
use crate::term::{Done, note, out, warn};

/// Have devices check images block by block (dm-verity)
///
/// Works on the work tree; `pvr add` and `pvr commit` take it. A tree of hashes is written beside each image, and its root
/// stands in the signed state: a device that knows it reads no block that was changed.
#[derive(clap::Args, Debug)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    Convert(ConvertArgs),
    Apply(ApplyArgs),
    /// List the volumes that are checked
    Ls {
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Make the hashes again and compare: do image, hashes and table belong together?
    Verify {
        /// Containers, or bsp [default: all]
        names: Vec<String>,
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
}

/// Have the images of containers or of the base be checked
#[derive(clap::Args, Debug)]
pub(crate) struct ConvertArgs {
    /// Containers, or bsp [default: all]
    names: Vec<String>,
}

/// Make the hashes of images again, with the salt that their tables have
#[derive(clap::Args, Debug)]
pub(crate) struct ApplyArgs {
    /// Only tables whose path begins so, like web/
    #[arg(default_value = "", hide_default_value = true)]
    prefix: String,
}

pub(crate) fn run(args: &Args) -> Done {
    match &args.command {
        Command::Convert(args) => convert(args),
        Command::Apply(args) => apply(args),
        Command::Ls { json } => {
            let all = verity::list(&here()?)?;
            if *json {
                return out(Json::from(all.iter().map(row).collect::<Vec<_>>()).pretty());
            }
            all.iter().try_for_each(|one| out(format_args!("{}/{} {}", one.container, one.volume, one.root)))
        }
        Command::Verify { names, json } => verify(names, *json),
    }
}

pub(crate) fn convert(args: &ConvertArgs) -> Done {
    let done = verity::convert(&here()?, &args.names, &Bar::default())?;
    tell(&done)?;
    if !done.is_empty() {
        warn("devices that cannot check images refuse such a revision; this version of Cairn is one of them");
    }
    Ok(())
}

pub(crate) fn apply(args: &ApplyArgs) -> Done {
    tell(&verity::apply(&here()?, &args.prefix, &Bar::default())?)
}

fn tell(done: &[Checked]) -> Done {
    for one in done {
        out(format_args!("{}/{} {}", one.container, one.volume, one.root))?;
    }
    note(if done.is_empty() { "no images" } else { "`pvr add .` and `pvr commit` take them" });
    Ok(())
}

fn row(one: &Checked) -> Json {
    let names = Json::object().with("container", one.container.as_str()).with("volume", one.volume.as_str());
    names.with("root", one.root.as_str())
}

fn verify(names: &[String], json: bool) -> Done {
    let rows = verity::verify(&here()?, names, &Bar::default())?;
    if json {
        let row = |(one, verdict): &(Checked, Verdict)| match verdict {
            Verdict::Fits => row(one).with("fits", true),
            Verdict::Wrong(why) => row(one).with("fits", false).with("why", why.as_str()),
        };
        out(Json::from(rows.iter().map(row).collect::<Vec<_>>()).pretty())?;
    } else {
        for (one, verdict) in &rows {
            match verdict {
                Verdict::Fits => out(format_args!("{}/{}: fits", one.container, one.volume)),
                Verdict::Wrong(why) => out(format_args!("{}/{}: {why}", one.container, one.volume)),
            }?;
        }
    }
    done(&rows).map_err(Into::into)
}

fn done(rows: &[(Checked, Verdict)]) -> Result<()> {
    match rows.iter().filter(|(_, verdict)| *verdict != Verdict::Fits).count() {
        0 => Ok(()),
        count => Err(Error::user(format!("{count} of {} volumes would not be readable on a device", rows.len()))
            .hint("`pvr dm apply` makes hashes and tables of the images that are there")),
    }
}
