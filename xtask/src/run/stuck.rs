//! Where every thread of a device stands when a story fails: what a hang leaves to be read afterwards.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// A text with each thread of the process `root` and of all its descendants: name, state, what it waits in, kernel stack.
pub(crate) fn threads_below(root: i32) -> String {
    let parents = parents();
    let mut text = String::new();
    for pid in parents.keys().filter(|pid| descends(&parents, **pid, root)) {
        let process = Path::new("/proc").join(pid.to_string());
        let command = fs::read(process.join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        let _ = writeln!(text, "\n{pid} {}", command.trim());
        let Ok(threads) = fs::read_dir(process.join("task")) else { continue };
        for thread in threads.flatten().map(|entry| entry.path()) {
            let read = |name: &str| fs::read_to_string(thread.join(name)).unwrap_or_default();
            let state = read("status").lines().find_map(|line| line.strip_prefix("State:").map(str::to_owned));
            let (name, state) = (read("comm"), state.unwrap_or_default());
            let _ = writeln!(text, "  {} {}  in {}", name.trim(), state.trim(), read("wchan").trim());
            let _ = writeln!(text, "    system call {}", read("syscall").trim());
            for line in read("stack").lines() {
                let _ = writeln!(text, "    {line}");
            }
        }
    }
    text
}

/// The parent of every process.
fn parents() -> BTreeMap<i32, i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| Some((pid, parent(pid)?))).collect()
}

fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in brackets and may hold any; the state and the parent follow.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn descends(parents: &BTreeMap<i32, i32>, pid: i32, root: i32) -> bool {
    let mut at = Some(pid);
    // A process that ends meanwhile can make no longer chain than there are processes.
    for _ in 0..=parents.len() {
        match at {
            Some(pid) if pid == root => return true,
            Some(pid) => at = parents.get(&pid).copied(),
            None => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_shown_with_its_descendants_and_no_others() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        let (all, one) = (threads_below(own), threads_below(pid));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(all.contains(&format!("\n{pid} ")) && all.contains(&format!("\n{own} ")), "{all}");
        assert!(one.contains(&format!("\n{pid} ")) && !one.contains(&format!("\n{own} ")), "{one}");
        assert!(one.contains("system call"));
    }
}
