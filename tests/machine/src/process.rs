//! A child that does not outlive us: it is killed when its owner drops it, and by the kernel when this process ends in
//! any other way.
//!
//! The kernel sends that signal when the *thread* ends that has started the child, so one thread, which never ends,
//! starts them all.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

type Job = (Command, Sender<io::Result<Child>>);

/// A program that runs.
pub(crate) struct Process(Child);

impl Process {
    /// Starts it in a process group of its own: Ctrl-C is for us.
    pub(crate) fn start(mut command: Command) -> io::Result<Self> {
        static STARTER: OnceLock<Sender<Job>> = OnceLock::new();
        let starter = STARTER.get_or_init(|| {
            let (sender, jobs) = channel::<Job>();
            thread::spawn(move || {
                for (mut command, answer) in jobs {
                    // Whoever asked waits for the answer.
                    let _ = answer.send(command.spawn());
                }
            });
            sender
        });
        command.process_group(0);
        let parent = getpid();
        let tie = move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // The parent may have ended before the kernel knew that we want to know.
            if getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
        };
        // SAFETY: between fork and exec only async-signal-safe calls are allowed. These are two system calls and a
        // comparison; neither error allocates.
        unsafe { command.pre_exec(tie) };
        let (sender, answer) = channel();
        let lost = |_| io::Error::other("the thread that starts programs has ended");
        starter.send((command, sender)).map_err(|_| lost(()))?;
        answer.recv().map_err(|_| lost(()))?.map(Self)
    }

    /// The process, to take its ends of the pipes from.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    /// How it has ended, if it has.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.0.try_wait()
    }

    /// Waits for the end of one that ends by itself.
    pub(crate) fn wait(&mut self) -> io::Result<ExitStatus> {
        self.0.wait()
    }

    /// Ends it at once, with no word of warning.
    pub(crate) fn kill(&mut self) -> io::Result<ExitStatus> {
        // An error: it has ended by itself and was waited for, so there is a status.
        let _ = self.0.kill();
        self.0.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;
    use std::time::{Duration, Instant};

    fn sleep() -> Command {
        let mut command = Command::new("sleep");
        command.arg("60");
        command
    }

    fn runs(pid: u32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.starts_with(" Z"))
    }

    #[test]
    fn what_is_dropped_is_killed() {
        let mut process = Process::start(sleep()).unwrap();
        let pid = process.child().id();
        assert!(runs(pid));
        drop(process);
        assert!(!runs(pid));
    }

    #[test]
    fn it_outlives_the_thread_that_asked_for_it() {
        let mut process = thread::spawn(|| Process::start(sleep()).unwrap()).join().unwrap();
        thread::sleep(Duration::from_millis(50));
        assert!(process.ended().unwrap().is_none());
    }

    /// Runs itself again as a process that starts a child and dies of SIGKILL, as with `kill -9` or after a panic that
    /// aborts.
    #[test]
    fn it_does_not_outlive_a_process_that_is_killed() {
        const ROLE: &str = "CAIRN_TESTS_MACHINE_PARENT";
        if std::env::var_os(ROLE).is_some() {
            let mut process = Process::start(sleep()).unwrap();
            println!("child {}", process.child().id());
            let _ = rustix::process::kill_process(getpid(), Signal::KILL);
        }
        let mut parent = Command::new(std::env::current_exe().unwrap());
        parent.args(["--exact", "process::tests::it_does_not_outlive_a_process_that_is_killed", "--nocapture"]);
        let output = parent.env(ROLE, "1").output().unwrap();
        assert_eq!(output.status.signal(), Some(Signal::KILL.as_raw()));
        let text = String::from_utf8(output.stdout).unwrap();
        let pid = text.lines().find_map(|line| line.split_once("child ")).unwrap().1.trim().parse().unwrap();
        let start = Instant::now();
        while runs(pid) {
            assert!(start.elapsed() < Duration::from_secs(5), "{pid} is an orphan");
            thread::sleep(Duration::from_millis(10));
        }
    }
}
