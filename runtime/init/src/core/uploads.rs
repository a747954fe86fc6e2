//! What tools send, piece by piece: objects straight into the store, states into bounded memory.
//!
//! An upload is here, or with the thread of the store while that takes a piece. One that is abandoned, or idle for a
//! minute while somebody else wants its place, leaves nothing.

use std::collections::BTreeMap;

use formats::control::{Refused, Reply, Status, Upload};
use formats::json::Limits;
use formats::object::ObjectId;
use formats::state::Revision;
use smol::channel::Sender;
use statemachine::container::{Span, Time};
use statemachine::ids::RevisionId;
use store::objects::{Incoming, ObjectError};
use store::trails::Staged;

use super::sweeping::Keep;
use super::{Core, Message};
use crate::holdings::{HoldError, Holdings};

/// Uploads at a time.
const MOST: usize = 8;

/// After this long without a piece another upload may take the place.
const IDLE: Span = Span::seconds(60);

/// The uploads.
#[derive(Default)]
pub(super) struct Uploads {
    next: u32,
    all: BTreeMap<u32, Running>,
}

struct Running {
    /// `None` while the store has it.
    what: Option<What>,
    touched: Time,
    /// Whoever sends it wants it to run at once.
    offered: bool,
}

/// What an upload has become so far.
pub enum What {
    /// An object, in the store under a temporary name.
    Object(ObjectId, Box<Incoming>),
    /// A state, with the size that was announced.
    State(RevisionId, Vec<u8>, usize),
}

/// The store has taken a piece.
pub struct Delivered {
    /// The call.
    pub ask: u32,
    /// Which upload.
    pub upload: u32,
    /// What it has become; `None` if nothing more can come of it.
    pub what: Option<What>,
    /// The answer.
    pub result: Result<Reply, Refused>,
    /// What is known of a state that was taken or refused.
    pub settled: Option<Settled>,
}

/// A state that waits for nothing any more.
pub struct Settled {
    id: RevisionId,
    objects: Vec<ObjectId>,
    /// What became of its trail; `None` if it was refused.
    staged: Option<Staged>,
    /// It was posted before, and stays so whatever comes of this.
    was_posted: bool,
}

impl Delivered {
    fn new(ask: u32, upload: u32, what: Option<What>, result: Result<Reply, Refused>) -> Self {
        Self { ask, upload, what, result, settled: None }
    }

    fn failed(ask: u32, upload: u32, error: ObjectError) -> Self {
        Self::new(ask, upload, None, Err(HoldError::Object(error).refused()))
    }
}

type Answer = Option<Result<Reply, Refused>>;

fn gone(upload: u32) -> Refused {
    Refused::new(Status::NotFound, format!("there is no upload {upload}; begin again"))
}

impl Uploads {
    /// Whether something is arriving.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    fn make_room(&mut self, now: Time) -> Result<u32, Refused> {
        if self.all.len() >= MOST {
            self.all.retain(|_, upload| upload.what.is_none() || upload.touched.after(IDLE) > now);
        }
        if self.all.len() >= MOST {
            let message = format!("{MOST} uploads are under way; ask again in a moment");
            return Err(Refused { retry_after: Some(5), ..Refused::new(Status::Unavailable, message) });
        }
        self.next = self.next.wrapping_add(1);
        Ok(self.next)
    }
}

impl Core {
    pub(super) fn begin(&mut self, ask: u32, offered: bool, what: Upload, size: u64) -> Answer {
        let now = self.now();
        let upload = match self.uploads.make_room(now) {
            Ok(upload) => upload,
            Err(refused) => return Some(Err(refused)),
        };
        match what {
            Upload::State(id) => {
                let most = Limits::STATE.bytes;
                let Some(size) = usize::try_from(size).ok().filter(|size| *size <= most) else {
                    let message = format!("the state has {size} bytes, at most {most} are taken");
                    return Some(Err(Refused::new(Status::Unprocessable, message)));
                };
                let what = Some(What::State(id, Vec::with_capacity(size), size));
                self.uploads.all.insert(upload, Running { what, touched: now, offered });
                Some(Ok(Reply::Upload(upload)))
            }
            Upload::Object(id) => {
                self.uploads.all.insert(upload, Running { what: None, touched: now, offered });
                // Before it is here, and also if it is: what is about to be used must not be collected.
                self.arrived.insert(id);
                let (keep, tell) = (self.keep(), self.tell.clone());
                self.store.order(move |holdings| {
                    let delivered = match receive_object(holdings, id, size, keep, &tell) {
                        Ok(None) => Delivered::new(ask, upload, None, Ok(Reply::Done)),
                        Ok(Some(incoming)) => {
                            let what = What::Object(id, Box::new(incoming));
                            Delivered::new(ask, upload, Some(what), Ok(Reply::Upload(upload)))
                        }
                        Err(error) => Delivered::failed(ask, upload, error),
                    };
                    let _ = tell.send_blocking(Message::Delivered(Box::new(delivered)));
                });
                None
            }
        }
    }

    pub(super) fn put(&mut self, ask: u32, upload: u32, bytes: Vec<u8>) -> Answer {
        let now = self.now();
        let Some(running) = self.uploads.all.get_mut(&upload) else { return Some(Err(gone(upload))) };
        running.touched = now;
        match running.what.take() {
            None => Some(Err(Refused::new(Status::Conflict, "the piece before is not taken yet"))),
            Some(What::State(id, mut text, size)) => {
                if text.len().saturating_add(bytes.len()) > size {
                    self.uploads.all.remove(&upload);
                    let message = format!("the state is longer than the {size} bytes that were announced");
                    return Some(Err(Refused::new(Status::BadRequest, message)));
                }
                text.extend_from_slice(&bytes);
                running.what = Some(What::State(id, text, size));
                Some(Ok(Reply::Done))
            }
            Some(What::Object(id, mut incoming)) => {
                let tell = self.tell.clone();
                self.store.order(move |_| {
                    let delivered = match incoming.write(&bytes) {
                        Ok(()) => Delivered::new(ask, upload, Some(What::Object(id, incoming)), Ok(Reply::Done)),
                        Err(error) => Delivered::failed(ask, upload, error),
                    };
                    let _ = tell.send_blocking(Message::Delivered(Box::new(delivered)));
                });
                None
            }
        }
    }

    pub(super) fn finish(&mut self, ask: u32, upload: u32) -> Answer {
        let Some(what) = self.uploads.all.get_mut(&upload).map(|running| running.what.take()) else {
            return Some(Err(gone(upload)));
        };
        let tell = self.tell.clone();
        match what {
            None => return Some(Err(Refused::new(Status::Conflict, "the piece before is not taken yet"))),
            Some(What::Object(_, incoming)) => {
                self.store.order(move |_| {
                    let result = incoming.finish().map(|_| Reply::Done);
                    let delivered = match result {
                        Ok(reply) => Delivered::new(ask, upload, None, Ok(reply)),
                        Err(error) => Delivered::failed(ask, upload, error),
                    };
                    let _ = tell.send_blocking(Message::Delivered(Box::new(delivered)));
                });
            }
            Some(What::State(id, text, size)) => {
                if text.len() < size {
                    self.uploads.all.remove(&upload);
                    let message = format!("the state ended after {} of {size} bytes", text.len());
                    return Some(Err(Refused::new(Status::BadRequest, message)));
                }
                let base = self.running().cloned();
                // Before it is here, so that no sweep that is ordered meanwhile takes it.
                let was_posted = !self.posted.insert(id.clone());
                let keep = self.keep();
                self.store.order(move |holdings| {
                    let received = receive_state(holdings, &id, &text, base.as_ref(), keep, &tell);
                    let objects = Revision::parse(&text).map(|state| state.objects().map(|(_, id)| id).collect());
                    let (staged, result) = match received {
                        Ok(staged) => (Some(staged), Ok(Reply::Done)),
                        Err(error) => (None, Err(error.refused())),
                    };
                    let settled = Settled { id, objects: objects.unwrap_or_default(), staged, was_posted };
                    let delivered = Delivered { settled: Some(settled), ..Delivered::new(ask, upload, None, result) };
                    let _ = tell.send_blocking(Message::Delivered(Box::new(delivered)));
                });
            }
        }
        None
    }

    pub(super) fn abandon(&mut self, upload: u32) -> Answer {
        self.uploads.all.remove(&upload);
        self.nothing_arrives();
        Some(Ok(Reply::Done))
    }

    pub(super) fn delivered(&mut self, delivered: Delivered) {
        let Delivered { ask, upload, what, result, settled } = delivered;
        let now = self.now();
        let mut offered = false;
        match (what, self.uploads.all.get_mut(&upload)) {
            (Some(what), Some(running)) => {
                running.what = Some(what);
                running.touched = now;
            }
            // It was abandoned while the store had it, or nothing more can come of it.
            (_, _) => offered = self.uploads.all.remove(&upload).is_some_and(|running| running.offered),
        }
        if result.as_ref().is_err_and(|refused| refused.status == Status::NoSpace) {
            self.arrived.lack_room();
        }
        if let Some(settled) = settled {
            self.settle(settled, offered);
        }
        self.nothing_arrives();
        self.helpers.answer(ask, result);
    }

    /// From now on its trail keeps its objects, or nothing does.
    fn settle(&mut self, settled: Settled, offered: bool) {
        let Settled { id, objects, staged, was_posted } = settled;
        self.arrived.settle(&objects);
        match staged {
            Some(Staged::New) if offered => {
                self.offered.insert(id, None);
            }
            None if !was_posted => {
                self.posted.remove(&id);
            }
            _ => {}
        }
    }

    /// The helper that spoke for all senders has ended: what they were sending does not come.
    pub(super) fn senders_gone(&mut self) {
        self.uploads.all.clear();
        self.nothing_arrives();
        // Those that shall run already are the business of the update machine.
        let left: Vec<_> = self.offered.iter().filter(|(_, by)| by.is_none()).map(|(id, _)| id.clone()).collect();
        for id in left {
            self.offered.remove(&id);
            self.withdraw(&id);
        }
    }

    fn nothing_arrives(&mut self) {
        if self.uploads.is_empty() {
            self.arrived.rest();
        }
    }
}

/// Begins to store an object; `None` if it is here, and right. If it does not fit, garbage is collected first.
fn receive_object(
    holdings: &Holdings,
    id: ObjectId,
    size: u64,
    keep: Option<Keep>,
    tell: &Sender<Message>,
) -> Result<Option<Incoming>, ObjectError> {
    match holdings.objects.verify(id) {
        Ok(()) => return Ok(None),
        Err(ObjectError::Missing(_) | ObjectError::Damaged { .. }) => {}
        Err(error) => return Err(error),
    }
    if let Err(error) = holdings.objects.room_for(id, size) {
        let Some(keep) = keep.filter(|_| matches!(error, ObjectError::NoRoom { .. })) else { return Err(error) };
        make_room(holdings, keep, tell);
        holdings.objects.room_for(id, size)?;
    }
    holdings.objects.receive(id, size).map(Some)
}

/// Takes a state in. If its trail does not fit, garbage is collected first.
fn receive_state(
    holdings: &Holdings,
    id: &RevisionId,
    text: &[u8],
    base: Option<&RevisionId>,
    keep: Option<Keep>,
    tell: &Sender<Message>,
) -> Result<Staged, HoldError> {
    match (holdings.receive(id, text, base), keep) {
        (Err(error), Some(keep)) if error.is_no_space() => {
            make_room(holdings, keep, tell);
            holdings.receive(id, text, base)
        }
        (received, _) => received,
    }
}

fn make_room(holdings: &Holdings, keep: Keep, tell: &Sender<Message>) {
    let _ = tell.send_blocking(Message::Swept(None, keep.sweep(holdings)));
}
