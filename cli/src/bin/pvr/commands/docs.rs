//! `pvr completion`, `pvr man`: what shells and people read, made from the arguments themselves.

use std::fs;
use std::path::PathBuf;

use clap::CommandFactory as _;
use clap_complete::Shell;
use cli::Error;

use crate::args::Args;
use crate::term::Done;

/// Print the completion script of a shell
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  pvr completion bash > ~/.local/share/bash-completion/completions/pvr
  pvr completion zsh > ~/.zfunc/_pvr
  pvr completion fish > ~/.config/fish/completions/pvr.fish")]
pub(crate) struct CompletionArgs {
    /// Which
    #[arg(default_value = "bash")]
    shell: Shell,
}

/// Write the manual pages into a directory
#[derive(clap::Args, Debug)]
pub(crate) struct ManArgs {
    /// Made if need be
    dir: PathBuf,
}

pub(crate) fn completion(args: &CompletionArgs) -> Done {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "pvr", &mut script);
    Ok(std::io::Write::write_all(&mut std::io::stdout(), &script)?)
}

pub(crate) fn man(args: &ManArgs) -> Done {
    fs::create_dir_all(&args.dir)
        .and_then(|()| clap_mangen::generate_to(Args::command(), &args.dir))
        .map_err(|error| Error::io("write manual pages to", &args.dir, &error))?;
    Ok(())
}
