//! From the console of a device to the log: what it says of its steps, and which stage of the story that is.
//!
//! ```text
//!   … [update]: Arming -> Leaving      told as it is; stage "by reboot: Leaving"
//!   … [update]: leaving for a trial    stage "by reboot: firmware"
//!   … [boot]: …                        stage "by reboot: boot"
//! ```

use crate::nbd::Shared;
use crate::promise::{STAGE, UPDATE};

/// A line is no longer; what is, is looked at in pieces.
const LINE_MAX: usize = 4096;

/// Takes bytes as they come.
pub(crate) struct Console {
    log: Shared,
    /// What the story is about; another part of it sets it.
    part: Part,
    line: Vec<u8>,
}

/// Which part of the story it is.
pub(crate) type Part = std::sync::Arc<std::sync::Mutex<&'static str>>;

impl Console {
    pub(crate) fn new(log: Shared, part: Part) -> Self {
        Self { log, part, line: Vec::new() }
    }

    pub(crate) fn hear(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte == b'\n' || self.line.len() >= LINE_MAX {
                let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).trim_end().to_owned();
                self.said(&line);
            } else {
                self.line.push(*byte);
            }
        }
    }

    fn said(&self, line: &str) {
        let Some(stage) = stage(line) else { return };
        if line.contains(UPDATE) {
            self.log.tell(line);
        }
        let part = *self.part.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.log.tell(&format!("{STAGE}{part}: {stage}"));
    }
}

/// What begins with this line.
fn stage(line: &str) -> Option<&str> {
    if line.contains("[boot]: ") {
        return Some("boot");
    }
    let (_, said) = line.split_once(UPDATE)?;
    if said.starts_with("leaving") {
        return Some("firmware");
    }
    said.split_once(" -> ").map(|(_, state)| state.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Disk;
    use crate::log::{Log, What};

    #[test]
    fn steps_are_told_and_stages_follow_them() {
        let shared = Shared::new(Disk::new(Vec::new()), Some(Log::default()));
        let mut console = Console::new(shared.clone(), Part::new("by reboot".into()));
        console.hear(b"[pantavisor] 1 INFO -- [update]: Recording -> Arm");
        console.hear(b"ing\r\n[web]: STARTED\r\n[update]: leaving for a trial\r\n0.1 [boot]: x -> y\r\n");
        let entries = shared.lock().log.take().unwrap().entries;
        let told: Vec<_> = entries
            .iter()
            .map(|entry| match &entry.what {
                What::Told(text) => text.as_str(),
                other => panic!("{other:?}"),
            })
            .collect();
        let expected = [
            "[pantavisor] 1 INFO -- [update]: Recording -> Arming",
            "stage by reboot: Arming",
            "[update]: leaving for a trial",
            "stage by reboot: firmware",
            "stage by reboot: boot",
        ];
        assert_eq!(told, expected);
    }
}
