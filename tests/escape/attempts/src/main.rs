//! Tries to get out of a container, one way at a time, and says by its exit code how far it came.
//!
//! ```text
//!   attempt NAME KEY=VALUE…             one attempt                    (in a container)
//!   attempt in-chroot DIR NAME …        the same in a mere chroot      (what stands in for a container without guards)
//!   attempt wait                        says `up`, and sleeps          (the other container)
//!   attempt device KEY=VALUE…           holds what attempts reach for  (on the device), until its input ends
//!   attempt list                        all names
//! ```
//!
//! | exit code | |
//! |---|---|
//! | 0 | it was done |
//! | 10 | it was refused; the error is printed |
//! | 20 | there is nothing of the kind on this machine; what is missing is printed |
//! | 30 | the attempt itself is wrong |
//!
//! Nothing here does harm where it succeeds: a file of the kernel is opened to be written and not written, a clock is set
//! to what it says, a call that would end the machine is made with arguments that it refuses once it has looked at the
//! caller's rights. One static program without another crate than the C library's names.

mod device;
mod devices;
mod files;
mod ids;
mod kernel;
mod mounts;
mod network;
mod processes;
mod sys;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;

/// How an attempt ended that was not done.
enum End {
    /// By the kernel, with this error.
    Refused(i32),
    /// There was nothing to be reached.
    Nothing(String),
    /// This machine has nothing of the kind.
    Absent(String),
    /// It is no attempt.
    Wrong(String),
}

type Tried = Result<(), End>;

/// What the runner tells: `KEY=VALUE`.
struct Told(BTreeMap<String, String>);

/// Its name, and what it does.
type Attempt = (&'static str, fn(&Told) -> Tried);

impl From<i32> for End {
    fn from(errno: i32) -> Self {
        Self::Refused(errno)
    }
}

impl From<std::io::Error> for End {
    fn from(error: std::io::Error) -> Self {
        error.raw_os_error().map_or_else(|| Self::Wrong(error.to_string()), Self::Refused)
    }
}

impl Told {
    fn of(args: impl Iterator<Item = String>) -> Self {
        Self(args.filter_map(|arg| arg.split_once('=').map(|(key, value)| (key.into(), value.into()))).collect())
    }

    fn text(&self, key: &str) -> Result<&str, End> {
        self.0.get(key).map(String::as_str).ok_or_else(|| End::Wrong(format!("nobody said {key}=…")))
    }

    fn number(&self, key: &str) -> Result<i64, End> {
        self.text(key)?.parse().map_err(|_| End::Wrong(format!("{key} is no number")))
    }
}

fn all() -> impl Iterator<Item = &'static Attempt> {
    [mounts::ALL, kernel::ALL, processes::ALL, files::ALL, devices::ALL, network::ALL, ids::ALL].into_iter().flatten()
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let mut name = args.next().unwrap_or_default();
    match name.as_str() {
        "list" => {
            all().for_each(|(name, _)| println!("{name}"));
            return ExitCode::SUCCESS;
        }
        "wait" => {
            println!("up");
            loop {
                std::thread::park();
            }
        }
        "is-root" => return if sys::effective_user() == 0 { ExitCode::SUCCESS } else { ExitCode::from(10) },
        "device" => return said(device::hold(&Told::of(args))),
        "in-chroot" => {
            let Some(dir) = args.next() else { return said(Err(End::Wrong("which directory?".into()))) };
            if let Err(error) = std::os::unix::fs::chroot(dir).and_then(|()| std::env::set_current_dir("/")) {
                return said(Err(error.into()));
            }
            name = args.next().unwrap_or_default();
        }
        _ => {}
    }
    let told = Told::of(args);
    match all().find(|(other, _)| *other == name) {
        Some((_, attempt)) => said(attempt(&told)),
        None => said(Err(End::Wrong(format!("no attempt is called {name:?}")))),
    }
}

fn said(end: Tried) -> ExitCode {
    let (code, text) = match end {
        Ok(()) => (0, "done".to_owned()),
        Err(End::Refused(errno)) => (10, std::io::Error::from_raw_os_error(errno).to_string()),
        Err(End::Nothing(what)) => (10, what),
        Err(End::Absent(what)) => (20, what),
        Err(End::Wrong(what)) => (30, what),
    };
    // Nobody may be listening any more.
    let _ = writeln!(std::io::stdout(), "{text}");
    ExitCode::from(code)
}
