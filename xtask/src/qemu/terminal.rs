//! The terminal, with every key as it is: also Ctrl-C, which is for the device.

use std::io::IsTerminal as _;

use anyhow::{Context as _, Result};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Gives the terminal back as it was.
pub(crate) struct Terminal {
    before: Option<Termios>,
}

impl Terminal {
    /// Takes it over, if the standard input is one.
    pub(super) fn raw() -> Result<Self> {
        Self::with(Termios::make_raw)
    }

    /// Takes its keys one by one, if the standard input is one; what is written to it stays as it is.
    pub(crate) fn keys() -> Result<Self> {
        Self::with(|terminal| terminal.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG))
    }

    fn with(change: impl FnOnce(&mut Termios)) -> Result<Self> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return Ok(Self { before: None });
        }
        let before = tcgetattr(&stdin).context("cannot ask the terminal")?;
        let mut changed = before.clone();
        change(&mut changed);
        tcsetattr(&stdin, OptionalActions::Drain, &changed).context("cannot change the terminal")?;
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
