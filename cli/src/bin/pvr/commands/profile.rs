//! `pvr global-config`

use cli::profile::{keys as known, set};

use crate::commands::Keys;
use crate::term::{Done, out};

/// Show or set what is said once about servers and the way to them
///
/// Kept in `config.json` of the configuration directory. A flag or a variable of the environment wins. Members that other
/// tools have written stay.
#[derive(clap::Args, Debug)]
#[command(after_long_help = help())]
pub(crate) struct Args {
    /// Sets the key; KEY= removes it [default: print all]
    #[arg(value_name = "KEY=VALUE")]
    assignments: Vec<String>,
}

fn help() -> String {
    let lines = known().map(|(name, about)| format!("  {name:<12} {about}\n"));
    let examples = "\nExamples:\n  pvr global-config RepoBaseUrl=https://hub.example.com\n  pvr global-config Timeout=";
    format!("Keys:\n{}{examples}", lines.collect::<String>())
}

pub(crate) fn run(args: &Args, keys: &Keys) -> Done {
    let profile = match args.assignments.as_slice() {
        [] => keys.profile()?,
        assignments => set(&keys.directory()?, assignments)?,
    };
    out(profile.to_json().pretty())
}
