//! How images are had, as all commands say it that fetch some.

use std::env;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use cli::app;
use cli::image::Limits;
use cli::image::cosign::Key;
use cli::image::registry::{Credentials, Login, Reach};
use cli::image::squashfs::Times;
use cli::{Error, Result};

use crate::commands::{Keys, source_date_epoch};
use crate::term::warn;

/// The map of mirrors in the configuration directory.
const MIRRORS: &str = "mirrors.json";

/// Where a password is that nobody else on this machine sees.
const PASSWORD: &str = "PVR_REGISTRY_PASSWORD";

#[derive(clap::Args, Debug)]
pub(crate) struct Means {
    /// Trust these authorities (PEM) and no others for registries
    #[arg(long, env = "PVR_REGISTRY_CACERT", hide_env_values = true, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// Take only images of registries that this key (PEM, P-256) has signed, as cosign keeps signatures
    #[arg(long, env = "PVR_REQUIRE_SIGNED", hide_env_values = true, value_name = "FILE")]
    require_signed: Option<PathBuf>,
    /// The name to log in with
    #[arg(
        long,
        short,
        env = "PVR_REGISTRY_USERNAME",
        hide_env_values = true,
        requires = "password",
        value_name = "NAME"
    )]
    username: Option<String>,
    /// Its password; others on this machine can see it here, so better put it into the environment
    #[arg(long, short, env = "PVR_REGISTRY_PASSWORD", hide_env_values = true, value_name = "PASSWORD")]
    password: Option<String>,
    /// The most bytes that all layers may have, packed and unpacked
    #[arg(long, default_value_t = Limits::DEFAULT.bytes, value_name = "BYTES")]
    max_bytes: u64,
    /// The most files that it may have
    #[arg(long, default_value_t = Limits::DEFAULT.entries, value_name = "COUNT")]
    max_files: usize,
}

impl Means {
    pub(crate) fn library(&self, keys: &Keys) -> Result<app::Means> {
        if let Some(password) = &self.password
            && env::var_os(PASSWORD).is_none_or(|said| said.to_str() != Some(password.as_str()))
        {
            warn(format_args!("others on this machine see a password in the list of processes; {PASSWORD} is for it"));
        }
        let limits = Limits { bytes: self.max_bytes, entries: self.max_files, ..Limits::DEFAULT };
        Ok(app::Means { times: times()?, limits, reach: reach(self, keys)? })
    }
}

/// The time that builds are told to believe in, and the other one.
fn times() -> Result<Times> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = u32::try_from(since.as_secs()).unwrap_or(u32::MAX);
    Ok(Times { made: source_date_epoch()?, now })
}

fn reach(args: &Means, keys: &Keys) -> Result<Reach> {
    let mut reach = Reach { cache: crate::commands::cache::open()?, ..Reach::default() };
    // Without a HOME there are no files to look into, and nothing is missing but what they might say.
    if let Ok(directory) = keys.directory() {
        reach.mirrors.add_file(&directory.join(MIRRORS))?;
    }
    if let Some(list) = env::var_os("PVR_MIRRORS") {
        let list = list.into_string().map_err(|_| Error::user("PVR_MIRRORS is not UTF-8"))?;
        reach.mirrors.add_list(&list)?;
    }
    if let Some(path) = &args.cacert {
        reach.trust(path)?;
    }
    reach.signer = args.require_signed.as_deref().map(Key::open).transpose()?;
    let docker = env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker"));
    reach.login = Login {
        named: match (&args.username, &args.password) {
            (Some(username), Some(password)) => {
                Some(Credentials { username: username.clone(), password: password.clone() })
            }
            _ => None,
        },
        docker: docker.or_else(home),
    };
    Ok(reach)
}
