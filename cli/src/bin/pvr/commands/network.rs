//! What the commands that go over a network share.

use std::time::Duration;

use cli::Result;
use cli::http::{Client, IDLE, Tokens};
use cli::remote::Address;

use crate::commands::{Keys, cwd};

#[derive(clap::Args, Debug, Default)]
pub(crate) struct Network {
    /// Give up when nothing comes or goes for so long [default: 60]
    #[arg(long, value_name = "SECONDS", env = "PVR_TIMEOUT", hide_env_values = true)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86400))]
    timeout: Option<u64>,
}

impl Network {
    pub(crate) fn client(&self, keys: &Keys) -> Client {
        // Who has no configuration directory has no tokens.
        let tokens = keys.directory().ok().map(|directory| Tokens::of(&directory));
        self.stranger().with_tokens(tokens)
    }

    /// A client that shows no token to anybody.
    pub(crate) fn stranger(&self) -> Client {
        Client::new(self.timeout.map_or(IDLE, Duration::from_secs), std::thread::sleep)
    }
}

/// What somebody means who types this as an address.
pub(crate) fn address(text: &str) -> Result<Address> {
    Address::parse(text, &cwd()?)
}
