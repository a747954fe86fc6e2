//! `pvr deploy`

use std::path::PathBuf;

use cli::deploy::{ON_DEVICE, Options, deploy};

use crate::commands::here;
use crate::progress::Bar;
use crate::term::{Done, note, warn};

/// Write the committed state as a trail of a device's storage
///
/// For images: the factory state is the trail `0`. Objects become hard links into the device's pool, and files for the
/// bootloader hard links in `.pv/`. The directory appears when all of it is on disk, or not at all.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  pvr deploy storage/trails/0                     pool: storage/objects
  pvr deploy --objects storage/objects factory    pool named")]
pub(crate) struct Args {
    /// The trail to make
    dir: PathBuf,
    /// The device's pool [default: `objects` beside a directory `trails`, else DIR/.pvr/objects]
    #[arg(long, short, env = "PVR_OBJECTS_DIR", hide_env_values = true, value_name = "DIR")]
    objects: Option<PathBuf>,
    /// Where the device itself will see that pool
    #[arg(long, value_name = "PATH", default_value = ON_DEVICE)]
    objects_on_device: String,
    /// Replace a trail that is there
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(args: &Args) -> Done {
    let options =
        Options { objects: args.objects.clone(), objects_on_device: args.objects_on_device.clone(), force: args.force };
    let done = deploy(&here()?, &args.dir, &options, &Bar::default())?;
    done.warnings.iter().for_each(warn);
    for (name, file) in &done.boot {
        note(format_args!(".pv/{name} = bsp/{file}"));
    }
    note(format_args!("deployed to {}, objects in {}", args.dir.display(), done.objects.display()));
    Ok(())
}
