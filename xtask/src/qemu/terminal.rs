//! The terminal, with every key as it is: also Ctrl-C, which is for the device.

use std::io::IsTerminal as _;

use anyhow::{Context as _, Result};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// Gives the terminal back as it was.
pub(super) struct Terminal {
    before: Option<Termios>,
}

impl Terminal {
    /// Takes it over, if the standard input is one.
    pub(super) fn raw() -> Result<Self> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return Ok(Self { before: None });
        }
        let before = tcgetattr(&stdin).context("cannot ask the terminal")?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Drain, &raw).context("cannot change the terminal")?;
        Ok(Self { before: Some(before) })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(before) = &self.before
            && let Err(error) = tcsetattr(std::io::stdin(), OptionalActions::Drain, before)
        {
            eprintln!("error: the terminal stays raw (`reset` helps): {error}");
        }
    }
}
