//! What tools send, piece by piece: objects straight into the store, states into bounded memory.
//!
//! An upload is here, or with the thread of the store while that takes a piece. One that is abandoned, or idle for a
//! minute while somebody else wants its place, leaves nothing.

use std::collections::BTreeMap;

use formats::control::{Refused, Reply, Status, Upload};
use formats::json::Limits;
use formats::object::ObjectId;
use statemachine::container::{Span, Time};
use statemachine::ids::RevisionId;
use store::objects::{Incoming, ObjectError};

use super::{Core, Message};
use crate::holdings::HoldError;

/// Uploads at a time.
const MOST: usize = 8;

/// After this long without a piece another upload may take the place.
const IDLE: Span = Span::seconds(60);

/// Objects that are remembered as having arrived for nobody yet.
const ARRIVED_MAX: usize = 4096;

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
    pub(super) fn begin(&mut self, ask: u32, what: Upload, size: u64) -> Answer {
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
                self.uploads.all.insert(upload, Running { what, touched: now });
                Some(Ok(Reply::Upload(upload)))
            }
            Upload::Object(id) => {
                self.uploads.all.insert(upload, Running { what: None, touched: now });
                let tell = self.tell.clone();
                self.store.order(move |holdings| {
                    let begun = holdings.objects.verify(id);
                    let delivered = match begun {
                        Ok(()) => Delivered { ask, upload, what: None, result: Ok(Reply::Done) },
                        Err(ObjectError::Missing(_) | ObjectError::Damaged { .. }) => {
                            match room(&holdings.objects, id, size).and_then(|()| holdings.objects.receive(id, size)) {
                                Ok(incoming) => Delivered {
                                    ask,
                                    upload,
                                    what: Some(What::Object(id, Box::new(incoming))),
                                    result: Ok(Reply::Upload(upload)),
                                },
                                Err(error) => failed(ask, upload, error),
                            }
                        }
                        Err(error) => failed(ask, upload, error),
                    };
                    let _ = tell.send_blocking(Message::Delivered(delivered));
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
                        Ok(()) => {
                            let what = Some(What::Object(id, incoming));
                            Delivered { ask, upload, what, result: Ok(Reply::Done) }
                        }
                        Err(error) => failed(ask, upload, error),
                    };
                    let _ = tell.send_blocking(Message::Delivered(delivered));
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
            Some(What::Object(id, incoming)) => {
                if self.arrived.len() < ARRIVED_MAX {
                    self.arrived.insert(id);
                }
                self.store.order(move |_| {
                    let result = incoming.finish().map(|_| Reply::Done);
                    let delivered = match result {
                        Ok(reply) => Delivered { ask, upload, what: None, result: Ok(reply) },
                        Err(error) => failed(ask, upload, error),
                    };
                    let _ = tell.send_blocking(Message::Delivered(delivered));
                });
            }
            Some(What::State(id, text, size)) => {
                if text.len() < size {
                    self.uploads.all.remove(&upload);
                    let message = format!("the state ended after {} of {size} bytes", text.len());
                    return Some(Err(Refused::new(Status::BadRequest, message)));
                }
                let base = self.running().cloned();
                self.posted.insert(id.clone());
                self.store.order(move |holdings| {
                    let result = match holdings.receive(&id, &text, base.as_ref()) {
                        Ok(()) => Ok(Reply::Done),
                        Err(error) => Err(error.refused()),
                    };
                    let _ = tell.send_blocking(Message::Delivered(Delivered { ask, upload, what: None, result }));
                });
            }
        }
        None
    }

    pub(super) fn abandon(&mut self, upload: u32) -> Answer {
        self.uploads.all.remove(&upload);
        Some(Ok(Reply::Done))
    }

    pub(super) fn delivered(&mut self, delivered: Delivered) {
        let Delivered { ask, upload, what, result } = delivered;
        let now = self.now();
        match (what, self.uploads.all.get_mut(&upload)) {
            (Some(what), Some(running)) => {
                running.what = Some(what);
                running.touched = now;
            }
            // It was abandoned while the store had it, or nothing more can come of it.
            (_, _) => {
                self.uploads.all.remove(&upload);
            }
        }
        self.helpers.answer(ask, result);
    }
}

fn room(objects: &store::objects::Objects, id: ObjectId, size: u64) -> Result<(), ObjectError> {
    if size > objects.room()? { Err(ObjectError::NoSpace { id, written: 0 }) } else { Ok(()) }
}

fn failed(ask: u32, upload: u32, error: ObjectError) -> Delivered {
    Delivered { ask, upload, what: None, result: Err(HoldError::Object(error).refused()) }
}
