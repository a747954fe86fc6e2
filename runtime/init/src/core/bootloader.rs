//! The bootloader of the default, looked after at rest: once in each boot of a default, and once after each commit.
//!
//! ```text
//!   Idle, and the default runs ─▶ thread store: does it boot what it brings? ─▶ said, and in `.pv/progress`
//! ```
//!
//! Never during a trial: the machine is not idle then, and whatever a trial begins with comes later on the same thread.
//! Nothing waits for it and nothing depends on it; see decision
//! [0018](../../../../docs/decisions/0018-a-bootloader-follows-what-is-proven.md).

use std::sync::Arc;

use statemachine::ids::RevisionId;
use statemachine::update::State;

use super::{Core, Message};

/// How a sentence about it begins.
const ABOUT: &str = "bootloader: ";

impl Core {
    /// Looks after it, if the device is at rest on a default for which that was not done in this boot.
    pub(super) fn renew_bootloader(&mut self) {
        let Some(wanted) = self.machine.wanted().filter(|_| *self.machine.state() == State::Idle) else { return };
        let default = &wanted.default;
        let is_at_rest = wanted.trial.is_none() && self.running() == Some(default) && self.read_only.is_none();
        if !is_at_rest || self.renewed.as_ref() == Some(default) {
            return;
        }
        let Some(current) = self.current.as_ref().filter(|current| current.id == *default).map(Arc::clone) else {
            return;
        };
        self.renewed = Some(default.clone());
        let tell = self.tell.clone();
        self.store.order(move |holdings| {
            let mut say = |what| drop(tell.send_blocking(Message::BootloaderChanges(what)));
            let renewed = holdings.renew_bootloader(&current.revision, &mut say);
            let _ = tell.send_blocking(Message::BootloaderRenewed(current.id.clone(), renewed));
        });
    }

    /// It was looked after.
    pub(super) fn bootloader_renewed(&mut self, default: &RevisionId, result: Result<Option<String>, String>) {
        self.warnings.retain(|warning| !warning.starts_with(ABOUT));
        match result {
            Ok(None) => {}
            Ok(Some(what)) => {
                self.log.info("bootloader", &what);
                self.add_to_report(default, format!("{ABOUT}{what}"));
            }
            Err(why) => {
                self.log.error("bootloader", &why);
                let warning = format!("{ABOUT}{why}");
                self.add_to_report(default, warning.clone());
                self.warnings.push(warning);
            }
        }
    }
}
