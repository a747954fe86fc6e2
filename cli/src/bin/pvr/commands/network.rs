//! What the commands that go over a network share.

use std::path::PathBuf;
use std::time::Duration;

use cli::Result;
use cli::http::{Client, IDLE, Proxy, Settings, Tokens};
use cli::profile::TIMEOUT_MAX;
use cli::remote::Address;

use crate::commands::{Keys, cwd};
use crate::term::warn;

/// What can be said of servers before the command.
#[derive(clap::Args, Debug, Default)]
pub(crate) struct Wide {
    /// Show this token to the server instead of the one that is kept for it
    #[arg(long, short, env = "PVR_ACCESSTOKEN", hide_env_values = true, value_name = "TOKEN")]
    access_token: Option<String>,
    /// What short addresses (user/nick) are below
    #[arg(long, short, env = "PVR_REPO_BASEURL", hide_env_values = true, value_name = "URL")]
    repo_baseurl: Option<String>,
    /// The API of a hub; no command of this version speaks to one
    #[arg(long, short, env = "PVR_BASEURL", hide_env_values = true, value_name = "URL", hide = true)]
    baseurl: Option<String>,
    /// Go through this proxy: `system` (what the environment says), `no`, or a URL [default: system]
    #[arg(long, env = "PVR_HTTP_PROXY", hide_env_values = true, value_name = "PROXY")]
    #[arg(value_parser = Proxy::parse)]
    http_proxy: Option<Proxy>,
    /// Authorities for https of devices and hubs, in PEM, instead of the usual ones
    #[arg(long, env = "PVR_CACERT", hide_env_values = true, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// Take any certificate of a device or hub: whoever is in between can read and change everything
    #[arg(long, short)]
    insecure: bool,
    /// Tell each call on standard error: method, address, status
    #[arg(long, short, env = "PVR_DEBUG", hide_env_values = true)]
    debug: bool,
    /// Nothing upgrades itself here
    #[arg(long, env = "PVR_DISABLE_SELF_UPGRADE", hide = true)]
    disable_self_upgrade: bool,
}

#[derive(clap::Args, Debug, Default)]
pub(crate) struct Network {
    /// Give up when nothing comes or goes for so long [default: 60]
    #[arg(long, value_name = "SECONDS", env = "PVR_TIMEOUT", hide_env_values = true)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=TIMEOUT_MAX))]
    timeout: Option<u64>,
}

impl Network {
    pub(crate) fn client(&self, keys: &Keys) -> Result<Client> {
        // Who has no configuration directory has no tokens.
        let tokens = keys.directory().ok().map(|directory| Tokens::of(&directory));
        let mut settings = self.settings(keys)?;
        if let Some(token) = &keys.wide().access_token {
            settings.show(token)?;
        }
        Ok(Client::new(settings, std::thread::sleep).with_tokens(tokens))
    }

    /// A client that shows no token to anybody.
    pub(crate) fn stranger(&self, keys: &Keys) -> Result<Client> {
        Ok(Client::new(self.settings(keys)?, std::thread::sleep))
    }

    fn settings(&self, keys: &Keys) -> Result<Settings> {
        let (wide, profile) = (keys.wide(), keys.profile()?);
        let mut settings = Settings {
            idle: self.timeout.map(Duration::from_secs).or_else(|| profile.timeout()).unwrap_or(IDLE),
            proxy: wide.http_proxy.clone().or_else(|| profile.proxy()).unwrap_or_default(),
            is_insecure: wide.insecure,
            is_told: wide.debug,
            ..Settings::default()
        };
        if let Some(path) = wide.cacert.clone().or_else(|| profile.authorities()) {
            settings.trust(&path)?;
        }
        if wide.insecure {
            warn("--insecure: certificates are not checked; whoever is in between can read and change everything");
        }
        Ok(settings)
    }
}

/// What somebody means who types this as an address.
pub(crate) fn address(text: &str, keys: &Keys) -> Result<Address> {
    Address::parse(text, &cwd()?, base(keys)?.as_deref())
}

/// What short addresses are below, if anything.
pub(crate) fn base(keys: &Keys) -> Result<Option<String>> {
    let said = keys.wide().repo_baseurl.clone();
    Ok(said.or(keys.profile()?.repositories().map(str::to_owned)))
}
