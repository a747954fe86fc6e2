//! Making room: what no root names goes when a person asks for it, and when something that arrives would not fit.
//!
//! ```text
//!   roots   runs, boots, is mounted · posted and not run · objects that arrive for a state that is not here yet
//! ```
//!
//! What is kept is fixed when the sweep is ordered. The thread of the store does one thing after the other, so whatever
//! arrives later is also stored later, and nothing that an update needs can go: an update is not at rest.

use std::collections::BTreeSet;

use formats::control::{Refused, Reply, Status};
use formats::object::ObjectId;
use statemachine::ids::RevisionId;
use statemachine::update::{Machine, Running, State};
use store::sweep::{Reason, Roots};

use super::{Core, Message};
use crate::holdings::{HoldError, Holdings};

/// Objects that are remembered as having arrived for nobody yet.
const ARRIVED_MAX: usize = 4096;

/// Objects that arrive before the state that names them.
#[derive(Default)]
pub(super) struct Arrived {
    objects: BTreeSet<ObjectId>,
    /// One of them did not fit, so the state that they are for does not come.
    in_vain: bool,
}

impl Arrived {
    /// It comes, or is here already.
    pub(super) fn insert(&mut self, id: ObjectId) {
        if self.objects.len() < ARRIVED_MAX {
            self.objects.insert(id);
        }
    }

    /// Their state is here, or was refused.
    pub(super) fn settle(&mut self, objects: &[ObjectId]) {
        for id in objects {
            self.objects.remove(id);
        }
    }

    /// One did not fit.
    pub(super) fn lack_room(&mut self) {
        self.in_vain = true;
    }

    /// Nothing arrives any more.
    pub(super) fn rest(&mut self) {
        if std::mem::take(&mut self.in_vain) {
            self.objects.clear();
        }
    }
}

/// What a sweep keeps.
pub(super) struct Keep {
    machine: Machine,
    posted: BTreeSet<RevisionId>,
    mounted: Vec<RevisionId>,
    arrived: BTreeSet<ObjectId>,
}

impl Keep {
    /// The names of everything that stays.
    pub(super) fn roots(self, holdings: &Holdings) -> Result<Roots, HoldError> {
        let mut roots = Roots::new();
        if let Running::Revision(running) = self.machine.running() {
            roots.keep(running.clone(), Reason::Running);
        }
        for revision in holdings.trails.list()? {
            if self.machine.keeps(&revision) {
                roots.keep(revision, Reason::Default);
            } else if self.posted.contains(&revision) {
                roots.keep(revision, Reason::Posted);
            }
        }
        for revision in self.mounted {
            roots.keep(revision, Reason::Mounted);
        }
        roots.keep_objects(self.arrived);
        Ok(roots)
    }

    /// Removes the rest. It tells how many bytes that freed.
    pub(super) fn sweep(self, holdings: &Holdings) -> Result<u64, String> {
        let roots = self.roots(holdings).map_err(|error| error.to_string())?;
        let swept = holdings.sweep(&roots).map_err(|error| error.to_string())?;
        match swept.left.first() {
            Some(left) if swept.bytes == 0 => Err(left.to_string()),
            _ => Ok(swept.bytes),
        }
    }
}

impl Core {
    /// What a sweep would keep; `None` while nothing may be swept.
    pub(super) fn keep(&self) -> Option<Keep> {
        (self.machine.may_sweep() && self.leaving.is_none()).then(|| Keep {
            machine: self.machine.clone(),
            posted: self.posted.clone(),
            mounted: self.table.values().map(|seat| seat.revision.clone()).collect(),
            arrived: self.arrived.objects.clone(),
        })
    }

    /// A person wants what no root names to go.
    pub(super) fn collect(&mut self, id: u32) -> Option<Result<Reply, Refused>> {
        let Some(keep) = self.keep() else {
            let at_rest = matches!(self.machine.state(), State::Idle | State::Serving) && self.leaving.is_none();
            if !at_rest {
                return Some(Err(self.busy()));
            }
            // Waiting does not help.
            let message = "the journal or the boot cells were not read whole when this boot began, so it is not known \
                           what may go; reboot the device, then ask again";
            return Some(Err(Refused::new(Status::Conflict, message)));
        };
        if !self.uploads.is_empty() {
            let message = "objects are arriving; ask again when they are here";
            return Some(Err(Refused { retry_after: Some(30), ..Refused::new(Status::Unavailable, message) }));
        }
        let tell = self.tell.clone();
        self.store.order(move |holdings| {
            let result = keep.sweep(holdings);
            let _ = tell.send_blocking(Message::Swept(Some(id), result));
        });
        None
    }

    /// A sweep is over; somebody may wait for it.
    pub(super) fn swept(&mut self, id: Option<u32>, result: Result<u64, String>) {
        let result = match result {
            Ok(bytes) => {
                self.log.info("store", &format_args!("{bytes} bytes collected"));
                Ok(Reply::Reclaimed(bytes))
            }
            Err(why) => {
                self.log.error("store", &why);
                Err(Refused::new(Status::Internal, why))
            }
        };
        if let Some(id) = id {
            self.helpers.answer(id, result);
        }
    }

    /// A revision that was posted over the network does not run, and nobody there could run it later: its trail goes.
    /// Its objects stay for the next attempt, until room is needed.
    pub(super) fn withdraw(&mut self, id: &RevisionId) {
        self.posted.remove(id);
        let keep = Keep {
            machine: self.machine.clone(),
            posted: self.posted.clone(),
            mounted: self.table.values().map(|seat| seat.revision.clone()).collect(),
            arrived: BTreeSet::new(),
        };
        let (id, tell) = (id.clone(), self.tell.clone());
        self.store.order(move |holdings| {
            let withdrawn = keep.roots(holdings).and_then(|roots| holdings.withdraw(&id, &roots));
            if let Err(error) = withdrawn {
                let _ =
                    tell.send_blocking(Message::Swept(None, Err(format!("{id} stays until the next sweep: {error}"))));
            }
        });
    }
}
