//! Why a command did not do what was wanted, and the exit code that scripts know it by.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What a refused request was about; two kinds of bad content have codes of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum About {
    Object,
    State,
    Other,
}

/// A command that failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The call makes no sense.
    Usage(String),
    /// There is no control socket.
    NoSocket(PathBuf),
    /// The device refused.
    Refused { code: u16, message: String, retry_after: Option<String>, about: About },
    /// The device answered something that cannot be understood.
    Answer(&'static str),
    /// What was given is not what it should be, or there is something in the way; with the code for it.
    Own { exit: u8, why: String },
    /// The program of `exec` never began.
    NotStarted { code: u8, why: String },
    /// A file or the connection failed.
    Io { what: String, error: io::Error },
}

impl Failure {
    /// 1: called wrongly, or not on a device. 48: no space. 60: not the object it is called. 70: no good state.
    /// 75: try again later. 255: anything else. Of `exec`: 127 if there is no such program, 126 if it cannot be executed.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::NoSocket(_) => 1,
            Self::Refused { code: 507, .. } => 48,
            Self::Refused { code: 422, about: About::Object, .. } => 60,
            Self::Refused { code: 422, about: About::State, .. } => 70,
            Self::Refused { code: 503, .. } => 75,
            Self::NotStarted { code, .. } | Self::Own { exit: code, .. } => *code,
            Self::Refused { .. } | Self::Answer(_) | Self::Io { .. } => 255,
        }
    }

    /// Boxed, as all failures are: a large error is copied at every call that it passes, which is code.
    #[inline(never)]
    pub(crate) fn own(exit: u8, why: String) -> Box<Self> {
        Box::new(Self::Own { exit, why })
    }

    /// The call makes no sense.
    #[inline(never)]
    pub(crate) fn usage(why: String) -> Box<Self> {
        Box::new(Self::Usage(why))
    }

    /// No good state.
    pub(crate) fn state(why: String) -> Box<Self> {
        Self::own(70, why)
    }

    /// Bytes that are not the object they are called.
    pub(crate) fn object(why: String) -> Box<Self> {
        Self::own(60, why)
    }

    /// Something else that cannot be used.
    pub(crate) fn wrong(why: String) -> Box<Self> {
        Self::own(255, why)
    }

    /// A file with which something could not be done.
    pub(crate) fn at(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Box<Self> + Copy {
        move |error| Box::new(Self::Io { what: format!("{what} {}", path.display()), error })
    }

    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Box<Self> {
        let what = what.into();
        move |error| Box::new(Self::Io { what, error })
    }

    /// The device answered something that cannot be understood.
    #[inline(never)]
    pub(crate) fn answer(what: &'static str) -> Box<Self> {
        Box::new(Self::Answer(what))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(why) => f.write_str(why),
            Self::NoSocket(path) => {
                write!(f, "{} not found; run it on a device, or name its socket with -s", path.display())
            }
            Self::Refused { code, message, retry_after, .. } => {
                write!(f, "{} (HTTP {code})", plain(message))?;
                match retry_after {
                    Some(seconds) => write!(f, "; try again in {} seconds", plain(seconds)),
                    None => Ok(()),
                }
            }
            Self::NotStarted { why, .. } | Self::Own { why, .. } => f.write_str(&plain(why)),
            Self::Answer(what) => write!(f, "the device answered {what}"),
            Self::Io { what, error } => write!(f, "{what}: {error}"),
        }
    }
}

/// A text of a device without what a terminal would obey.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16, about: About) -> Failure {
        Failure::Refused { code, message: "a\u{1b}[2Jb".into(), retry_after: Some("600".into()), about }
    }

    #[test]
    fn scripts_tell_failures_apart_by_their_codes() {
        for (code, about, exit) in [
            (503, About::Other, 75),
            (507, About::Object, 48),
            (422, About::Object, 60),
            (422, About::State, 70),
            (422, About::Other, 255),
            (404, About::Object, 255),
        ] {
            assert_eq!(refused(code, about).exit_code(), exit, "{code} {about:?}");
        }
        assert_eq!(Failure::NoSocket("/x".into()).exit_code(), 1);
    }

    #[test]
    fn a_device_gives_a_terminal_no_orders() {
        assert_eq!(refused(503, About::Other).to_string(), "a?[2Jb (HTTP 503); try again in 600 seconds");
    }
}
