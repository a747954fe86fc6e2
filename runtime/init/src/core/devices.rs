//! Device nodes of containers, as devices come and go: see [`Engine::settle_nodes`](crate::engine::Engine::settle_nodes).
//!
//! Nobody listens before the first container with rules starts. One look is under way at a time, however often something
//! changes meanwhile.

use std::sync::Arc;

use super::{Core, Message};
use crate::assembly::Assembled;
use crate::uevents;

/// How far it is with looking.
#[derive(Default)]
pub(super) struct Looks {
    listening: bool,
    under_way: bool,
    /// Something has changed since that began.
    again: bool,
}

impl Core {
    /// A container that may have rules is about to start: whatever comes from now on is heard.
    pub(super) fn listen_for_devices(&mut self, assembled: &Assembled) {
        if self.looks.listening || !has_rules(assembled) {
            return;
        }
        self.looks.listening = true;
        if let Err(errno) = uevents::listen(&self.tasks, self.tell.clone()) {
            self.log.warn("devices", &format_args!("containers do not see devices come and go: {errno}"));
        }
    }

    /// The program of a container is on its way. What came while its nodes were made is looked for once more, and what could
    /// not be made is told.
    pub(super) fn look_at_nodes_of(&mut self, name: &str) {
        if self.table.get(name).is_some_and(|seat| has_rules(&seat.assembled)) {
            self.devices_changed();
        }
    }

    /// A device has come or gone.
    pub(super) fn devices_changed(&mut self) {
        if self.looks.under_way {
            self.looks.again = true;
            return;
        }
        let up = self.table.values().filter(|seat| seat.process.is_some() && has_rules(&seat.assembled));
        let up: Vec<_> = up.map(|seat| Arc::clone(&seat.assembled)).collect();
        if up.is_empty() {
            return;
        }
        self.looks.under_way = true;
        let tell = self.tell.clone();
        self.mounts.order(move |engine| {
            let remarks = up.iter().map(|one| (one.name.to_string(), engine.settle_nodes(one))).collect();
            let _ = tell.send_blocking(Message::DevicesSettled(remarks));
        });
    }

    /// All nodes are as they are wanted, but for what is said.
    pub(super) fn devices_settled(&mut self, remarks: Vec<(String, Vec<String>)>) {
        self.looks.under_way = false;
        remarks.into_iter().for_each(|(name, remarks)| self.remarked(&name, remarks));
        if std::mem::take(&mut self.looks.again) {
            self.devices_changed();
        }
    }
}

fn has_rules(assembled: &Assembled) -> bool {
    assembled.program.as_ref().is_some_and(|program| !program.nodes.is_empty())
}
