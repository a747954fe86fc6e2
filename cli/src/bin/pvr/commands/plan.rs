//! `pvr plan`

use std::fmt::Display;
use std::path::PathBuf;

use cli::Error;
use cli::remote::plan::{Becomes, Object, Ours, Plan, Way, plan, total};
use cli::sign::keys::DeveloperKey;
use indicatif::HumanBytes;

use crate::commands::network::{Network, address};
use crate::commands::{Keys, here};
use crate::progress::Bar;
use crate::term::{Done, note, out, warn};

/// Tell what posting the committed state would do, before anything is sent
///
/// Objects and bytes to send; what they take on the device's flash and what garbage collection can free afterwards;
/// whether the device reboots, and why, or which containers it stops and starts; rights that containers gain and lose;
/// what is not signed; and what the device would refuse. A device decides about reboots with the same rule. Nothing is
/// written, here or there. Ends with 1 if a device would refuse the state.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  pvr plan                      against the device that `post` goes to
  pvr plan 10.0.0.5 --worktree  before it is committed
  pvr plan ../released --json   against a repository or bundle")]
pub(crate) struct Args {
    /// A device, a URL, a directory or a bundle [default: where the last post went]
    #[arg(value_name = "REMOTE")]
    remote: Option<String>,
    /// The work tree as it would be committed, instead of what is committed
    #[arg(long, short)]
    worktree: bool,
    /// Sign the work tree, in memory only, with this key [default: your own, if there is one]
    #[arg(long, short, env = "PVR_SIG_KEY", hide_env_values = true, value_name = "FILE", requires = "worktree")]
    key: Option<PathBuf>,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: Network,
}

pub(crate) fn run(args: &Args, keys: &Keys) -> Done {
    let repo = here()?;
    let remembered = repo.remembered()?;
    let text = args
        .remote
        .clone()
        .or(remembered.post)
        .or(remembered.get)
        .ok_or_else(|| Error::user("this repository remembers no device to plan for").hint("pvr plan REMOTE"))?;
    let address = address(&text, keys)?;
    if args.remote.is_some() && !address.selector.is_everything() {
        let error = Error::user(format!("parts ({}) are not posted on their own", address.selector.to_text()));
        return Err(error.hint("leave out what follows the #").into());
    }
    let key = if args.worktree { signer(args, keys)? } else { None };
    if args.worktree && key.is_none() {
        note("there is no key yet: what is told of signatures is told of those that are there");
    }
    let ours = if args.worktree { Ours::WorkTree(key.as_ref()) } else { Ours::Committed };
    let plan = plan(&repo, ours, &args.network.client(keys)?, &address, &Bar::default())?;
    if args.json {
        out(plan.to_json().pretty())?
    } else {
        show(&plan)?
    }
    match plan.refused.len() {
        0 => Ok(()),
        1 => Err(Error::user("a device would refuse this state, for one reason").into()),
        count => Err(Error::user(format!("a device would refuse this state, for {count} reasons")).into()),
    }
}

/// The key that a commit would sign with. A plan makes none.
fn signer(args: &Args, keys: &Keys) -> cli::Result<Option<DeveloperKey>> {
    if let Some(key) = &args.key {
        return DeveloperKey::open(key, None).map(Some);
    }
    if keys.files()?.key().exists() { keys.open(None, None).map(Some) } else { Ok(None) }
}

fn show(plan: &Plan) -> Done {
    let short = |digest: &str| digest.get(..8).unwrap_or(digest).to_owned();
    let theirs = plan.theirs.as_deref().map_or("runs nothing".to_owned(), |theirs| format!("runs {}", short(theirs)));
    row("remote", format_args!("{} {theirs}; this is {}", plan.remote, short(&plan.ours)))?;
    let (bytes, unknown) = total(&plan.send);
    let of_unknown = if unknown > 0 { format!(", and {unknown} of unknown size") } else { String::new() };
    let objects = plan.send.len();
    row("sends", format_args!("{objects} objects, {}{of_unknown}; {} are there", HumanBytes(bytes), plan.present))?;
    for Object { path, bytes, .. } in &plan.send {
        let bytes = bytes.map_or("not here".to_owned(), |bytes| HumanBytes(bytes).to_string());
        row("", format_args!("{path} ({bytes})"))?;
    }
    let (freed, unknown) = total(&plan.frees);
    let more = if unknown > 0 { format!(" and {unknown} objects of unknown size") } else { String::new() };
    let then = "can be freed when nothing keeps that revision any more";
    row("flash", format_args!("+{}; {}{more} {then}", HumanBytes(bytes), HumanBytes(freed)))?;
    match &plan.way {
        Way::Nothing => row("way", "nothing to do: no file differs that a container or the base would notice")?,
        Way::InPlace => row("way", "in place: containers stop and start, the device stays up")?,
        Way::Reboot(why) => row("way", format_args!("REBOOT: {why}"))?,
        Way::Unknown => row("way", "nobody can tell: one of the two states is none that a device runs")?,
    }
    for becomes in [Becomes::Started, Becomes::Stopped, Becomes::Restarted, Becomes::Untouched] {
        for fate in plan.containers.iter().filter(|fate| fate.becomes == becomes) {
            let because = if fate.because.is_empty() { String::new() } else { format!(": {}", fate.because) };
            row(becomes.word(), format_args!("{}{because}", fate.name))?;
        }
    }
    plan.rights.iter().try_for_each(|line| row("rights", line))?;
    plan.unsigned.iter().try_for_each(|key| row("unsigned", key))?;
    plan.refused.iter().try_for_each(|finding| row("refused", finding.to_line()))?;
    plan.warnings.iter().for_each(warn);
    Ok(())
}

fn row(name: &str, what: impl Display) -> Done {
    out(format_args!("{name:<10} {what}"))
}
