//! The commands of `bsp`: what a person says, and what is shown.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use serde_json::json;

use super::recipe::{DEFAULT, Recipe};
use super::{Conf, Wish, make};
use crate::Json;
use crate::build::Profile;
use crate::term::green;

#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Make the bundle in target/boards/BOARD
    Build(BuildOptions),
    /// Pin the newest packages of the distribution
    Bump(Which),
    /// Show what `bump` would change
    Diff(Which),
}

#[derive(Args)]
struct Which {
    /// The board, as in bsp-containers/
    #[arg(long)]
    board: String,
    /// The recipe: bsp-containers/BOARD/RECIPE.toml
    #[arg(long, default_value = DEFAULT)]
    recipe: String,
    #[command(flatten)]
    json: Json,
}

#[derive(Args)]
struct BuildOptions {
    #[command(flatten)]
    which: Which,
    /// How the program is built; see `cargo xtask build`
    #[arg(long)]
    profile: Option<Profile>,
    /// Take kernel and modules from the output of Yocto or Buildroot
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// Take this program instead of building one
    #[arg(long, value_name = "FILE", conflicts_with = "profile")]
    program: Option<PathBuf>,
    /// Where the bundle goes, instead of target/boards/BOARD/RECIPE
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// A setting of the device, over those of the recipe
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// A key or certificate that the device trusts
    #[arg(long, value_name = "FILE.pem")]
    trust: Vec<PathBuf>,
}

pub(crate) fn run(options: Options) -> Result<ExitCode> {
    match options.what {
        What::Build(options) => build_command(&options),
        What::Bump(which) => bump(&which, true),
        What::Diff(which) => bump(&which, false),
    }
}

fn build_command(options: &BuildOptions) -> Result<ExitCode> {
    let BuildOptions { which, profile, from, program, output, set, trust } = options;
    let out = which.json.out();
    let mut conf = Conf::default();
    for pair in set {
        let (key, value) = pair.split_once('=').with_context(|| format!("{pair} is no KEY=VALUE"))?;
        conf = conf.set(key, value);
    }
    let wish = Wish {
        recipe: &which.recipe,
        profile: *profile,
        program: program.as_deref(),
        from: from.as_deref(),
        into: output.as_deref(),
        ..Wish::new(&which.board, &conf, trust)
    };
    let bsp = make(&wish, out)?;
    let mut files = Vec::new();
    for entry in fs::read_dir(bsp.dir.join("bsp"))? {
        let entry = entry?;
        files.push((entry.file_name().to_string_lossy().into_owned(), entry.metadata()?.len()));
    }
    files.sort();
    if which.json.json {
        let files: serde_json::Map<_, _> = files.iter().map(|(name, size)| (name.clone(), json!(size))).collect();
        println!(
            "{:#}",
            json!({
                "command": "bsp build", "passed": true, "board": which.board, "recipe": which.recipe, "dir": bsp.dir,
                "kernel": bsp.kernel, "initrd": bsp.initrd, "fdt": bsp.fdt, "release": bsp.release,
                "command_line": bsp.command_line, "files": files,
            })
        );
    }
    files.iter().for_each(|(name, size)| out.line(format!("{size:>10}  bsp/{name}")));
    out.line(green(out, &format!("{}: Linux {}", bsp.dir.display(), bsp.release)));
    Ok(ExitCode::SUCCESS)
}

fn bump(which: &Which, write: bool) -> Result<ExitCode> {
    let out = which.json.out();
    let recipe = Recipe::read(&which.board, &which.recipe)?;
    let newest = recipe.newest(out)?;
    // The first time there is nothing to compare with.
    let changes = recipe.lock().map_or_else(
        |_| vec![format!("kernel: nothing → {} {}", newest.kernel.package, newest.kernel.version)],
        |old| old.changes(&newest),
    );
    if write {
        recipe.write_lock(&newest)?;
    }
    if which.json.json {
        let command = if write { "bsp bump" } else { "bsp diff" };
        println!("{:#}", json!({ "command": command, "passed": true, "board": which.board, "changes": changes }));
    }
    changes.iter().for_each(|change| out.line(change));
    if changes.is_empty() {
        out.line(green(out, "what is pinned is the newest"));
    }
    Ok(ExitCode::SUCCESS)
}
