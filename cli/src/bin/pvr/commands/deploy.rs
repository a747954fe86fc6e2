//! `pvr deploy`

use std::path::PathBuf;

use cli::deploy::{ON_DEVICE, Options, deploy, deploy_from};
use cli::remote::get::How;

use crate::commands::network::{Network, address};
use crate::commands::{Keys, here};
use crate::progress::Bar;
use crate::term::{Done, note, warn};

/// Write the committed state as a trail of a device's storage
///
/// Or, with sources, what they have: the state of the first, and those of the others laid over it, member by member.
///
/// For images: the factory state is the trail `0`. Objects become hard links into the device's pool, and files for the
/// bootloader hard links in `.pv/`. The directory appears when all of it is on disk, or not at all.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  pvr deploy storage/trails/0                     pool: storage/objects
  pvr deploy --objects storage/objects factory    pool named
  pvr deploy storage/trails/0 base.tgz 'apps.tgz#web,_sigs/web.json'")]
pub(crate) struct Args {
    /// The trail to make
    dir: PathBuf,
    /// Bundles, directories, devices or URLs, with parts after a # [default: the repository of this directory]
    #[arg(value_name = "SOURCE")]
    sources: Vec<String>,
    /// Sources replace what those before them have of the same parts
    #[arg(long, short, requires = "sources")]
    no_merge: bool,
    /// The device's pool [default: `objects` beside a directory `trails`, else DIR/.pvr/objects]
    #[arg(long, short, env = "PVR_OBJECTS_DIR", hide_env_values = true, value_name = "DIR")]
    objects: Option<PathBuf>,
    /// Where the device itself will see that pool
    #[arg(long, value_name = "PATH", default_value = ON_DEVICE)]
    objects_on_device: String,
    /// Replace a trail that is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    network: Network,
}

pub(crate) fn run(args: &Args, keys: &Keys) -> Done {
    let options =
        Options { objects: args.objects.clone(), objects_on_device: args.objects_on_device.clone(), force: args.force };
    let done = if args.sources.is_empty() {
        deploy(&here()?, &args.dir, &options, &Bar::default())?
    } else {
        let sources = args.sources.iter().map(|text| address(text, keys)).collect::<cli::Result<Vec<_>>>()?;
        let how = if args.no_merge { How::Replace } else { How::Merge };
        deploy_from(&args.network.client(keys)?, &sources, how, &args.dir, &options, &Bar::default())?
    };
    done.warnings.iter().for_each(warn);
    for (name, file) in &done.boot {
        note(format_args!(".pv/{name} = bsp/{file}"));
    }
    note(format_args!("deployed to {}, objects in {}", args.dir.display(), done.objects.display()));
    Ok(())
}
