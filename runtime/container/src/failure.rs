//! What a stage says before it gives up: the step, the object and the kernel's answer.
//!
//! ```text
//!   pipe, close-on-exec:   nothing, then end of file   the container's program runs (or the process was killed)
//!                          postcard(Failure), ≤ 320 B  this step failed; exit code 127 follows
//! ```
//!
//! A frame is one write of fewer bytes than a pipe takes at once, so it arrives whole or not at all.

use std::fmt;

use rustix::fd::AsFd;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// The largest frame, in bytes.
pub const FRAME_MAX: usize = 320;

/// The most that is told of a path, in bytes.
const PATH_MAX: usize = 256;

/// The exit code of a stage that has reported a failure.
pub const EXIT_CODE: i32 = 127;

/// A step that failed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// Which.
    pub step: Step,
    /// On what; empty where the step says it all.
    pub path: String,
    /// The kernel's answer, as a number.
    pub errno: i32,
}

macro_rules! steps {
    ($($(#[doc = $doc:literal])* $step:ident = $words:literal,)*) => {
        /// The steps of a start, in order.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
        pub enum Step { $($(#[doc = $doc])* $step,)* }

        impl Step {
            /// What was attempted, as it reads after "cannot".
            #[must_use]
            pub const fn words(self) -> &'static str {
                match self { $(Self::$step => $words,)* }
            }
        }
    };
}

steps! {
    /// Between `clone3` and the role `stage`.
    Begin = "begin the stage",
    /// The launch is not sealed, or not a launch.
    Launch = "read the launch",
    /// A v1 cgroup, or the score of the out-of-memory killer.
    Cgroup = "join the cgroup",
    /// A user namespace, and the process in it.
    Users = "give it users of its own:",
    /// The cgroup namespace, keys, the host name, or mounts that must not reach the device.
    Namespace = "separate from the device",
    /// A setting of the kernel in one of its namespaces.
    Sysctl = "set",
    /// A path of the device.
    Source = "open the source",
    /// A directory of a root.
    Layer = "use the layer",
    /// The layers as a whole.
    Root = "mount the root",
    /// Files whose owners are to be users of the container.
    Map = "map the owners of the files in",
    /// A place in the container.
    Target = "find or make the target",
    /// A mount in the container.
    Mount = "mount at",
    /// A path that others may mount.
    Export = "export",
    /// A node or link in `/dev`.
    Dev = "make",
    /// Leaving the device's root.
    Pivot = "leave the root of the device",
    /// Where it starts.
    Cwd = "change to",
    /// A limit.
    Limit = "set the limit",
    /// Users and groups.
    Ids = "become the user",
    /// Capabilities.
    Capabilities = "drop capabilities",
    /// The filter of system calls.
    Seccomp = "load the seccomp filter",
    /// The namespaces of a container that runs.
    Enter = "enter the container",
    /// A terminal for a program that enters.
    Terminal = "open a terminal with",
    /// A program that is run before the container's did not end well. Its code takes the place of an answer.
    Hook = "start: the hook",
    /// The container's program, or one that is run before it.
    Exec = "execute",
}

impl Failure {
    pub(crate) fn new(step: Step, path: &str, errno: Errno) -> Self {
        let end = (0..=PATH_MAX.min(path.len())).rev().find(|end| path.is_char_boundary(*end)).unwrap_or(0);
        let path = path.get(..end).unwrap_or_default().to_owned();
        Self { step, path, errno: errno.raw_os_error() }
    }

    /// The frame; allocates nothing.
    pub(crate) fn encode<'a>(&self, frame: &'a mut [u8; FRAME_MAX]) -> &'a [u8] {
        postcard::to_slice(self, frame.as_mut_slice()).map_or(&[], |frame| frame)
    }

    /// Reads a frame. `None` if there is none: the program runs.
    ///
    /// # Errors
    /// The bytes are not a frame: no stage of this program wrote them.
    pub fn decode(frame: &[u8]) -> Result<Option<Self>, BadFrame> {
        if frame.is_empty() {
            return Ok(None);
        }
        match postcard::take_from_bytes::<Self>(frame) {
            Ok((failure, [])) if frame.len() <= FRAME_MAX => Ok(Some(failure)),
            _ => Err(BadFrame),
        }
    }

    /// Waits for what the stage has to say: `None` when the program runs.
    ///
    /// # Errors
    /// The pipe cannot be read, or holds no frame.
    pub fn read(pipe: impl AsFd) -> Result<Option<Self>, BadFrame> {
        // One byte more than a frame, so that a longer one is seen to be longer.
        let mut bytes = [0; FRAME_MAX + 1];
        let mut length = 0;
        while let Some(rest) = bytes.get_mut(length..).filter(|rest| !rest.is_empty()) {
            match rustix::io::read(&pipe, rest) {
                Ok(0) => break,
                Ok(count) => length += count,
                Err(Errno::INTR) => {}
                Err(_) => return Err(BadFrame),
            }
        }
        Self::decode(bytes.get(..length).unwrap_or_default())
    }
}

/// For `map_err`.
pub(crate) fn at(step: Step, path: &str) -> impl FnOnce(Errno) -> Failure {
    move |errno| Failure::new(step, path, errno)
}

/// Bytes that no stage of this program writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadFrame;

impl fmt::Display for BadFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what came from the stage is not a report")
    }
}

impl std::error::Error for BadFrame {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, path, errno } = self;
        write!(f, "cannot {}", step.words())?;
        if !path.is_empty() {
            write!(f, " {path}")?;
        }
        if *step == Step::Hook {
            return write!(f, " ended with code {errno}");
        }
        write!(f, ": {}", std::io::Error::from_raw_os_error(*errno))?;
        match advice(*step, Errno::from_raw_os_error(*errno)) {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}

/// What the kernel's answer means here, where that is more than it says.
fn advice(step: Step, errno: Errno) -> Option<&'static str> {
    Some(match (step, errno) {
        (Step::Exec, Errno::NOENT) => "it is not in the root, or its interpreter is not",
        (Step::Exec, Errno::ACCESS) => "it is no file, or may not be executed",
        (Step::Exec, Errno::NOEXEC) => "it is for another machine, or no program",
        (Step::Source, Errno::NOENT) => "the container does not start without it unless the entry says optional",
        (Step::Target, Errno::NOENT) => "let the entry say create=dir or create=file, or add it to the root",
        (Step::Layer, Errno::LOOP) => "there is a link on the way to it",
        (Step::Users, Errno::INVAL) => "this kernel may be without user namespaces (CONFIG_USER_NS)",
        (Step::Users, Errno::NOSPC) => "/proc/sys/user/max_user_namespaces allows no more",
        (Step::Map, Errno::INVAL) => "this kernel cannot do that on their file system",
        (Step::Mount, Errno::NODEV) => "this kernel has no such file system",
        _ => return None,
    })
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_failure_fits_into_a_frame() {
        let failure = Failure::new(Step::Exec, &"ä".repeat(4096), Errno::from_raw_os_error(4095));
        let mut frame = [0; FRAME_MAX];
        assert_eq!(Failure::decode(failure.encode(&mut frame)), Ok(Some(failure)));
    }

    #[test]
    fn an_empty_pipe_is_success_and_rubbish_is_an_error() {
        assert_eq!(Failure::decode(&[]), Ok(None));
        assert_eq!(Failure::decode(&[0xff; 8]), Err(BadFrame));
    }

    #[test]
    fn a_failure_that_is_often_met_says_what_to_do() {
        let said = |step, errno| Failure::new(step, "/x", errno).to_string();
        assert_eq!(
            said(Step::Exec, Errno::NOEXEC),
            "cannot execute /x: Exec format error (os error 8); it is for another machine, or no program"
        );
        assert!(said(Step::Source, Errno::NOENT).contains("optional"));
        assert!(!said(Step::Source, Errno::NOTDIR).contains(';'));
    }

    #[test]
    fn a_failure_names_step_place_and_reason() {
        let failure = Failure::new(Step::Layer, "/volumes/web", Errno::NOTDIR);
        assert_eq!(failure.to_string(), "cannot use the layer /volumes/web: Not a directory (os error 20)");
    }
}
