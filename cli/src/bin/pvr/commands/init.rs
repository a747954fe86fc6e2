//! `pvr init`

use std::path::PathBuf;

use cli::repo::Repo;

use crate::commands::cwd;
use crate::term::{Done, note};

/// Make a new repository
///
/// Makes `.pvr` in DIR, with a state that has nothing in it. Files that are there already stay, and are not yet part of
/// the state: see `pvr add`.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  pvr init device
  pvr init --objects ~/pool device     share the objects of several repositories")]
pub(crate) struct Args {
    /// Where [default: the current directory]
    dir: Option<PathBuf>,
    /// Keep objects in this directory, which other repositories may share [default: DIR/.pvr/objects]
    #[arg(long, short, env = "PVR_OBJECTS_DIR", hide_env_values = true, value_name = "DIR")]
    objects: Option<PathBuf>,
    /// The format of the state
    #[arg(long, default_value = formats::state::SPEC)]
    spec: String,
}

pub(crate) fn run(args: &Args) -> Done {
    let root = args.dir.clone().map_or_else(cwd, Ok)?;
    let repo = Repo::init(&root, args.objects.as_deref(), &args.spec)?;
    note(format_args!("a new repository: {}", repo.root().display()));
    Ok(())
}
