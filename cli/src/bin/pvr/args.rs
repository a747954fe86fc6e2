//! The command line. A row per command here, its arguments beside what it does in `commands/`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::commands::{
    about, add, app, bundle, cache, clone, commit, deploy, device, diff, dm, docs, doctor, fastcopy, get, history,
    init, login, network, plan, post, profile, put, reset, sbom, show, sig, verify,
};
use crate::progress::Mode;

/// Works on device states: what a device runs, as files, with one signed JSON document over them.
///
/// A state names every file of a device by path: containers, kernel, configuration. `.json` files stand in it as they
/// are, all others by their SHA-256. You change files, `pvr commit` makes and signs the new state, and a device that
/// trusts your key takes it as a whole or not at all.
#[derive(Parser, Debug)]
#[command(
    name = "pvr",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100,
    after_long_help = "Examples:
  pvr init device && cd device          a new repository
  pvr add web                           stage a container's directory
  pvr app add db --from postgres:17     a container made of an image
  pvr status                            what a commit would do
  pvr commit -m 'web: first version'    check, sign, commit
  pvr clone 10.0.0.5 device             what a device runs
  pvr plan                              what a post would do
  pvr post --wait                       and back to it, as a new revision
  pvr deploy /mnt/storage/trails/0      the factory state of a device's storage

Exit codes: 0 done, 1 files, keys or patterns (the message says which), 2 the command line,
3 a device, 4 the network, 70 a bug of pvr.
Colours follow NO_COLOR."
)]
pub(crate) struct Args {
    /// Where your keys are [default: $XDG_CONFIG_HOME/pvr or ~/.config/pvr]
    #[arg(long, short = 'c', env = "PVR_CONFIG_DIR", value_name = "DIR", hide_env_values = true)]
    pub(crate) config_dir: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) wide: network::Wide,

    /// How progress is told on standard error: `auto` is a bar on a terminal, else lines
    #[arg(long, global = true, env = "PVR_PROGRESS", hide_env_values = true, value_enum, default_value_t = Mode::Auto)]
    pub(crate) progress: Mode,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    #[command(visible_alias = "i")]
    Init(init::Args),
    #[command(visible_alias = "a")]
    Add(add::Args),
    #[command(visible_alias = "s")]
    Status(show::StatusArgs),
    #[command(visible_alias = "d")]
    Diff(diff::Args),
    #[command(visible_alias = "ci")]
    Commit(commit::Args),
    #[command(visible_alias = "log")]
    History(history::Args),
    #[command(visible_aliases = ["r", "checkout", "co"])]
    Reset(reset::Args),
    #[command(visible_aliases = ["j", "inspect"])]
    Json(show::JsonArgs),
    Sbom(sbom::Args),
    Verify(verify::Args),
    Sig(sig::Args),
    #[command(visible_alias = "c")]
    Clone(clone::Args),
    #[command(visible_alias = "g")]
    Get(get::GetArgs),
    #[command(visible_alias = "m")]
    Merge(get::MergeArgs),
    Plan(plan::Args),
    #[command(visible_alias = "po")]
    Post(post::Args),
    #[command(visible_alias = "p")]
    Put(put::Args),
    Putobjects(put::ObjectsArgs),
    Fastcopy(fastcopy::Args),
    #[command(visible_alias = "ri")]
    Remoteinfo(about::RemoteArgs),
    Stepinfo(about::StepArgs),
    Export(bundle::ExportArgs),
    Import(bundle::ImportArgs),
    Login(login::LoginArgs),
    Logout(login::LogoutArgs),
    App(app::Args),
    Cache(cache::Args),
    Deploy(deploy::Args),
    Dm(dm::Args),
    #[command(hide = true, alias = "dmc")]
    DmConvert(dm::ConvertArgs),
    #[command(hide = true, alias = "dma")]
    DmApply(dm::ApplyArgs),
    Device(device::Args),
    #[command(hide = true)]
    Scan(device::ScanArgs),
    GlobalConfig(profile::Args),
    Doctor(doctor::Args),
    Completion(docs::CompletionArgs),
    Man(docs::ManArgs),
    /// Print the version
    Version,
}

/// Words of other tools that no parser of one-letter flags can be taught.
pub(crate) fn spelled(words: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    words.map(|word| if word == "-hl" { "--hardlink".into() } else { word })
}
