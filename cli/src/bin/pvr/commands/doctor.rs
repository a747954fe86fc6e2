//! `pvr doctor`

use std::env;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use cli::Error;
use cli::doctor::{Check, Level, Surroundings, doctor};
use formats::json::Json;

use crate::commands::network::{Network, base};
use crate::commands::{Keys, cwd};
use crate::progress::Bar;
use crate::term::{Done, GREEN, RED, YELLOW, out};

/// Look for what would stop you from working, before it does
///
/// The repository and its version, the objects of its state, what broken runs have left, the lock, rights and free space;
/// keys, who can read them, until when certificates are good; programs, mirrors, logins at registries, the clock; and whether
/// the remote that is remembered answers. Each line is ok, warn or fail, with what to do. Nothing is changed.
/// Ends with 1 if a line is fail.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  pvr doctor --offline          without asking anybody
  pvr doctor --deep             read every object of the pool, not 16")]
pub(crate) struct Args {
    /// Read every object of the pool
    #[arg(long)]
    deep: bool,
    /// Do not ask the remote
    #[arg(long)]
    offline: bool,
    /// Print a JSON array of {"level", "about", "found", "advice"}
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: Network,
}

pub(crate) fn run(args: &Args, keys: &Keys) -> Done {
    let client = if args.offline { None } else { Some(args.network.client(keys)?) };
    let docker = env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let around = Surroundings {
        configuration: keys.directory().ok(),
        docker: docker.or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker"))),
        mirrors: env::var("PVR_MIRRORS").ok(),
        path: env::var_os("PATH").unwrap_or_default(),
        now: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        deep: args.deep,
        client: client.as_ref(),
        base: base(keys)?,
    };
    let checks = doctor(&cwd()?, &around, &Bar::default());
    if args.json {
        out(Json::from(checks.iter().map(Check::to_json).collect::<Vec<_>>()).pretty())?;
    } else {
        checks.iter().try_for_each(show)?;
    }
    match checks.iter().filter(|check| check.level == Level::Fail).count() {
        0 => Ok(()),
        1 => Err(Error::user("one thing would stop you").into()),
        count => Err(Error::user(format!("{count} things would stop you")).into()),
    }
}

fn show(check: &Check) -> Done {
    let style = match check.level {
        Level::Ok => GREEN,
        Level::Warn => YELLOW,
        Level::Fail => RED,
    };
    out(format_args!("{style}{:<4}{style:#} {:<11} {}", check.level.word(), check.about, check.found))?;
    match check.advice.as_deref().filter(|advice| !advice.is_empty()) {
        Some(advice) => out(format_args!("{:17}{advice}", "")),
        None => Ok(()),
    }
}
