//! `pvr app install`, `pvr app update`

use cli::app::{self, Renewal, Updated};
use cli::contents::apps::Before;
use cli::contents::states::Inside;
use cli::image::reference::Reference;
use cli::repo::Repo;
use cli::{Error, Result};
use formats::json::Json;

use super::add::{TYPES, told};
use super::means::Means;
use super::platform_of;
use crate::commands::network::{Network, address, base};
use crate::commands::{Keys, cwd, diff, here};
use crate::progress::Bar;
use crate::term::{Done, complain, note, out, warn};

/// Make a container again of its src.json
///
/// Its documents are made anew: this is how a change of src.json becomes one of the container. The image is fetched only if
/// root.squashfs is missing or not of the one that src.json names (docker_digest). Other files of the container stay; lines
/// that you wrote into lxc.container.conf or run.json yourself stop it.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  pvr app install web            after an edit of web/src.json
  pvr app install web --force    without what was written into its other documents by hand")]
pub(super) struct Install {
    /// Which
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    again: Again,
}

/// Make a container again of what its image is now
///
/// Asks what the name and tag of its image mean today. Nothing is done if that is what the container is made of already; else
/// it tells which layers and which files inside of the image changed. A container or base system that came from another state (`pvr` in its src.json) is taken from there again.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  pvr app update web                      what nginx:1.27 is now
  pvr app update web --from nginx:1.28    another version, with the same arguments
  pvr app update bsp                      the base system, from where src.json says
  pvr app update --all")]
pub(super) struct Update {
    /// Which
    #[arg(required_unless_present = "all", value_name = "NAME")]
    names: Vec<String>,
    /// All that have a src.json
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// Another image, or the address of another state and its parts [default: what src.json names]
    #[arg(long, value_name = "IMAGE", conflicts_with = "all")]
    from: Option<String>,
    /// What --from names [default: what src.json names]
    #[arg(long = "type", short = 't', value_name = "TYPE")]
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(TYPES))]
    kind: Option<String>,
    /// Do not look into the images for what changed
    #[arg(long)]
    brief: bool,
    /// Print a JSON array: name, image, changed; and without --brief files, what changed in the image
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    again: Again,
    #[command(flatten)]
    network: Network,
}

#[derive(clap::Args, Debug)]
struct Again {
    /// What the device runs: ARCH or OS/ARCH[/VARIANT] [default: as before]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    /// Options for mksquashfs, which writes the squashfs [default: as before]
    #[arg(long, short = 'o', value_name = "OPTIONS", allow_hyphen_values = true)]
    format_options: Option<String>,
    /// Make it even if something that was written by hand is lost
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    means: Means,
}

impl Again {
    fn renewal(&self, from: Option<app::From>, keys: &Keys) -> Result<Renewal> {
        Ok(Renewal {
            from,
            base: base(keys)?,
            platform: self.platform.as_deref().map(platform_of).transpose()?,
            format_options: self.format_options.clone(),
            force: self.force,
            means: self.means.library(keys)?,
        })
    }
}

pub(super) fn install(args: &Install, keys: &Keys) -> Done {
    let (repo, renewal) = (here()?, args.again.renewal(None, keys)?);
    each(&args.names, |name| {
        told(&app::install(&repo, name, &renewal, &Bar::default())?, "Installing");
        Ok(())
    })
}

pub(super) fn update(args: &Update, keys: &Keys) -> Done {
    let repo = here()?;
    let names = if args.all { app::list(&repo)? } else { args.names.clone() };
    let from = match (&args.from, names.as_slice()) {
        (Some(text), [name]) => Some(from(&repo, name, text, args.kind.as_deref(), keys)?),
        (Some(_), _) => return Err(Error::user("--from is for one container").hint("name one NAME").into()),
        (None, _) => None,
    };
    let (renewal, client) = (args.again.renewal(from, keys)?, args.network.client(keys)?);
    let (mut list, mut differences) = (Vec::new(), Vec::new());
    let done = each(&names, |name| {
        let before = if args.brief { None } else { Before::of(&repo, name) };
        let updated = app::update(&repo, &client, name, &renewal, &Bar::default())?;
        let (image, changed) = match &updated {
            Updated::Same(image) => (image, false),
            Updated::Made(made) => (&made.image, true),
        };
        let mut row = Json::object().with("name", name).with("image", image.as_str()).with("changed", changed);
        match &updated {
            Updated::Same(image) => note(format_args!("{name} is up to date: it is still {image}")),
            Updated::Made(made) => {
                told(made, "Updating");
                if let Some(since) = before.and_then(|before| before.since(&repo, name, &Bar::default())) {
                    row = diff::row_inside(row, &since.image);
                    differences.push(since);
                }
            }
        }
        list.push(row);
        Ok(())
    });
    if args.json {
        out(Json::Array(list).pretty())?;
        return done;
    }
    for since in &differences {
        if let Inside::Unread(why) = &since.image.inside {
            warn(format_args!("{}: {why}; what changed in it is not told", since.image.path));
            continue;
        }
        diff::show(&since.image.path, &since.image)?;
        if let Some(layers) = &since.layers {
            note(format_args!("{}: {layers}", since.image.path));
        }
    }
    done
}

/// What `--from` means for a container.
fn from(repo: &Repo, name: &str, text: &str, kind: Option<&str>, keys: &Keys) -> Result<app::From> {
    let part = kind.map_or_else(|| app::is_part(repo, name), |kind| Ok(kind == TYPES[1]))?;
    Ok(match part {
        true => app::From::State(address(text, keys)?),
        false => app::From::Image(Reference::parse(text)?.seen_from(&cwd()?, repo.root())),
    })
}

/// One after another. One that fails is told and leaves the others alone; the last failure is that of the command.
fn each(names: &[String], mut one: impl FnMut(&str) -> Result<()>) -> Done {
    let mut failed = Vec::new();
    for name in names {
        if let Err(error) = one(name) {
            failed.push((name.as_str(), error));
        }
    }
    let Some((name, last)) = failed.pop() else { return Ok(()) };
    if names.len() == 1 {
        return Err(last.into());
    }
    for (name, error) in &failed {
        complain(&Error { message: format!("{name}: {}", error.message), ..error.clone() });
    }
    let count = failed.len() + 1;
    let what = format!("{name}: {} ({count} of {} are as they were)", last.message, names.len());
    Err(Error { message: what, ..last }.into())
}
