//! The most memory that a program and what it starts have while they run, as the kernel counts it.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow};

/// How often is looked. The kernel keeps the program's own mark, so only the sum of all can be missed, by so much.
const LOOK: Duration = Duration::from_millis(20);

/// In MB.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Peak {
    /// Of the program: its high-water mark.
    pub(super) own: f64,
    /// Of all its processes at one moment.
    pub(super) tree: f64,
}

/// Somebody who looks until the program has ended.
pub(super) struct Watcher {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Peak>,
}

/// Looks at a process and its children from now on.
pub(super) fn watch(pid: u32) -> Watcher {
    let is_over = Arc::new(AtomicBool::new(false));
    let over = is_over.clone();
    let thread = std::thread::spawn(move || {
        let mut peak = Peak::default();
        while !over.load(Ordering::Relaxed) {
            peak.own = peak.own.max(field(pid, "VmHWM:"));
            peak.tree = peak.tree.max(resident(pid));
            std::thread::sleep(LOOK);
        }
        peak
    });
    Watcher { is_over, thread }
}

impl Watcher {
    pub(super) fn end(self) -> Result<Peak> {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the thread that looks at memory has panicked"))
    }
}

/// Of a process and all below it. One that has ended has none.
fn resident(pid: u32) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let children = tasks.flat_map(|task| {
        let list = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>()
    });
    field(pid, "VmRSS:") + children.map(resident).sum::<f64>()
}

/// A line of the status of a process, in MB.
fn field(pid: u32, name: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u32>().ok());
    kilobytes.map_or(0.0, |kilobytes| f64::from(kilobytes) * 1024.0 / 1e6)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn what_a_child_holds_is_counted_and_only_beside_the_program() {
        // The shell waits for a program that holds 50 MB for a moment.
        let script = "head -c 50000000 /dev/zero | tail -c 50000000 | (sleep 1; cat) > /dev/null; true";
        let mut child = Command::new("sh").args(["-c", script]).spawn().unwrap();
        let watcher = watch(child.id());
        child.wait().unwrap();
        let peak = watcher.end().unwrap();
        assert!(peak.own > 0.1 && peak.own < 20.0, "{peak:?}");
        assert!(peak.tree > 45.0, "{peak:?}");
    }
}
