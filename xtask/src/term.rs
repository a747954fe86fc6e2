//! Lines for people: where they go, and colour only where a terminal shows it.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::Stdio;

/// Where lines for people go. `Stderr` once `--json` has taken standard output.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Out {
    Stdout,
    Stderr,
}

impl Out {
    /// One line.
    pub(crate) fn line(self, text: impl AsRef<str>) {
        match self {
            Self::Stdout => println!("{}", text.as_ref()),
            Self::Stderr => eprintln!("{}", text.as_ref()),
        }
    }

    /// Bytes as they are, at once: what a console says.
    pub(crate) fn bytes(self, bytes: &[u8]) {
        // Nobody looks any more: what is shown goes on without them.
        let _ = match self {
            Self::Stdout => io::stdout().write_all(bytes).and_then(|()| io::stdout().flush()),
            Self::Stderr => io::stderr().write_all(bytes),
        };
    }

    /// The same place, for what a child prints.
    pub(crate) fn stdio(self) -> Stdio {
        match self {
            Self::Stdout => Stdio::inherit(),
            Self::Stderr => Stdio::from(io::stderr()),
        }
    }

    /// Whether somebody can be shown what changes.
    pub(crate) fn is_terminal(self) -> bool {
        match self {
            Self::Stdout => io::stdout().is_terminal(),
            Self::Stderr => io::stderr().is_terminal(),
        }
    }

    /// A terminal that did not ask to be left without colour (<https://no-color.org>).
    fn is_coloured(self) -> bool {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        self.is_terminal() && !refused && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
    }
}

pub(crate) fn red(out: Out, text: &str) -> String {
    paint(out, "31;1", text)
}

pub(crate) fn green(out: Out, text: &str) -> String {
    paint(out, "32", text)
}

pub(crate) fn bold(out: Out, text: &str) -> String {
    paint(out, "1", text)
}

pub(crate) fn dim(out: Out, text: &str) -> String {
    paint(out, "2", text)
}

fn paint(out: Out, code: &str, text: &str) -> String {
    if out.is_coloured() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}
