//! What tools ask of PID 1, and what is answered. Who may ask is in `permissions`.

use formats::control::{
    Action, Ask, Call, Caller, ObjectView, PAGE_MAX, PIECE_MAX, Refused, Reply, Status, StepView, Upload,
};
use formats::object::ObjectId;
use formats::pairing::TokenHash;
use statemachine::container::Event;
use statemachine::ids::RevisionId;
use statemachine::update::{self, State};
use store::objects::ObjectError;
use store::trails::{Note, TrailError};

use super::permissions::{needs_pairing, permit, writes};
use super::{Asker, Core, Ending, Message, Purpose};
use crate::handed::Handed;
use crate::holdings::{HoldError, Holdings};

/// The answer, or `None` if it comes later.
pub(super) type Answer = Option<Result<Reply, Refused>>;

pub(super) fn refuse(status: Status, message: impl Into<String>) -> Answer {
    Some(Err(Refused::new(status, message)))
}

impl Core {
    pub(super) fn call(&mut self, ask: Ask, handed: Handed) -> Answer {
        let Ask { id, caller, call } = ask;
        if let Err(refused) = self.may(&caller, &call) {
            return Some(Err(refused));
        }
        if let Some(why) = self.read_only.as_ref().filter(|_| writes(&call)) {
            return refuse(Status::Conflict, format!("{why}; until it can be written, nothing is accepted"));
        }
        match call {
            Call::Device => Some(Ok(Reply::Device(Box::new(self.device_view())))),
            Call::Containers => Some(Ok(Reply::Containers(self.container_views()))),
            Call::Groups => Some(Ok(Reply::Groups(self.group_views()))),
            Call::Daemons => Some(Ok(Reply::Daemons(self.helpers.views()))),
            Call::ActOnContainer { name, action } => self.act(&name, action),
            Call::ActOnDaemon { name, action } => {
                let now = self.now();
                Some(self.helpers.act(&self.log, &name, action, now))
            }
            Call::Execute(program) => self.execute(*program, handed),
            Call::SignalProgram { program, signal } => self.signal_program(program, signal),
            Call::Attach { name } => self.attach(&name, handed),
            Call::Drivers => self.driver_views(id, &caller),
            Call::ActOnDrivers { name, load } => self.act_on_drivers(id, &caller, name.as_deref(), load),
            Call::Metadata { of, after } => self.metadata(id, of, after),
            Call::SetMetadata { of, key, value } => self.change_metadata(id, of, &key, Some(value)),
            Call::RemoveMetadata { of, key } => self.change_metadata(id, of, &key, None),
            Call::Inspect { name } => self.inspect(id, &name),
            Call::ReadLog { name, from, timed } => self.read_log(id, &name, from, timed),
            Call::Signal { kind } => self.signal(&caller, &kind),
            Call::Objects { after } => self.ask_store(id, move |holdings| {
                let page = holdings.objects.list(after, PAGE_MAX)?;
                Ok(Reply::Objects(page.into_iter().map(|(id, size)| ObjectView { id, size }).collect()))
            }),
            Call::ReadObject { id: object, offset } => {
                self.ask_store(id, move |holdings| read_object(holdings, object, offset))
            }
            Call::SizeOfObject(object) => self.ask_store(id, move |holdings| {
                let size = holdings.objects.size(object)?;
                size.map(Reply::Size).ok_or_else(|| ObjectError::Missing(object).into())
            }),
            // What arrives over the network is run at once, so it is not even taken when that cannot be.
            Call::Begin { what: Upload::State(_), .. } if is_remote(&caller) && !self.takes_proposals() => {
                Some(Err(self.busy()))
            }
            Call::Begin { what, size } => self.begin(id, is_remote(&caller), what, size),
            Call::Put { upload, bytes } => self.put(id, upload, bytes),
            Call::Finish { upload } => self.finish(id, upload),
            Call::Abandon { upload } => self.abandon(upload),
            Call::Steps { after } => self.ask_store(id, move |holdings| steps(holdings, after.as_ref())),
            Call::ReadStep { revision, offset } => {
                let Some(revision) = revision.or_else(|| self.running().cloned()) else {
                    return refuse(Status::NotFound, "the device is in recovery: no revision runs");
                };
                self.ask_store(id, move |holdings| {
                    let text = holdings.trails.load(&revision)?;
                    let from = usize::try_from(offset).unwrap_or(usize::MAX).min(text.len());
                    let bytes = text.get(from..).unwrap_or_default();
                    let bytes = bytes.get(..PIECE_MAX.min(bytes.len())).unwrap_or_default().to_vec();
                    Ok(Reply::Piece { bytes, size: text.len() as u64 })
                })
            }
            Call::Progress(revision) => self.ask_store(id, move |holdings| {
                let note = holdings.trails.read_note(&revision, Note::Progress)?.unwrap_or_else(|| b"{}".to_vec());
                Ok(Reply::Text(String::from_utf8_lossy(&note).into_owned()))
            }),
            Call::SetMessage { revision, message } => self.ask_store(id, move |holdings| {
                holdings.trails.set_commit_message(&revision, &message)?;
                Ok(Reply::Done)
            }),
            Call::Run { revision, retry } => {
                if let Some(by) = self.offered.get_mut(&revision).filter(|_| is_remote(&caller)) {
                    *by = Some(id);
                }
                if !self.takes_proposals() {
                    return Some(Err(self.busy()));
                }
                self.load(Purpose::Propose { ask: id, retry }, revision, false);
                None
            }
            Call::Rollback => {
                self.updater.take(update::Event::RollbackAsked, Some(Asker::Call(id)));
                None
            }
            Call::Reboot => self.end_call(Ending::Restart, id),
            Call::PowerOff => self.end_call(Ending::PowerOff, id),
            Call::Collect => self.collect(id),
            Call::Rewrite => {
                self.updater.rewrite(id, self.busy());
                None
            }
            // Whoever may not has been refused.
            Call::Enter => Some(Ok(Reply::Done)),
            Call::OfferPairing => self.offer_pairing(),
            Call::Pairings => Some(Ok(Reply::Pairings(self.pairings.views()))),
            Call::Unpair { who } => self.unpair(id, &who),
            Call::Pair { code, name } => self.pair(id, &code, name),
            Call::Leave => self.leave_pairing(id, token_of(&caller)),
        }
    }

    fn may(&mut self, caller: &Caller, call: &Call) -> Result<(), Refused> {
        let is_manager = match caller {
            Caller::Container(name) => self.table.get(name).is_some_and(|seat| seat.assembled.manager),
            Caller::Device | Caller::Network(_) => false,
        };
        permit(caller, is_manager, call)?;
        match caller {
            Caller::Network(token) if needs_pairing(call) => {
                let let_in = self.pairings.lets_in(self.settings.endpoint.ip(), token.as_ref());
                let_in.map_err(|refused| self.shown(refused))
            }
            _ => Ok(()),
        }
    }

    fn takes_proposals(&self) -> bool {
        self.leaving.is_none() && matches!(self.machine.state(), State::Idle | State::Serving | State::Frozen)
    }

    fn act(&mut self, name: &str, action: Action) -> Answer {
        let Some(seat) = self.table.get(name) else {
            return refuse(Status::NotFound, format!("there is no container {name:?}"));
        };
        if seat.assembled.member.policy.restart == statemachine::container::RestartPolicy::System {
            let message = format!("{name} is part of the system: only a reboot stops or starts it");
            return refuse(Status::Forbidden, message);
        }
        // A trial that somebody stops a container of would be judged by that.
        if self.is_judging() || self.leaving.is_some() {
            return Some(Err(self.busy()));
        }
        let event = match action {
            Action::Start => Event::StartAsked,
            Action::Stop => Event::StopAsked,
            Action::Restart => Event::RestartAsked,
        };
        self.fact(name, event);
        Some(Ok(Reply::Done))
    }

    fn signal(&mut self, caller: &Caller, kind: &str) -> Answer {
        let Caller::Container(name) = caller else {
            return refuse(Status::Internal, "only a container can signal");
        };
        let expects = self
            .table
            .get(name)
            .is_some_and(|seat| seat.assembled.member.policy.goal == statemachine::container::Goal::Ready);
        if kind != "ready" || !expects {
            return refuse(Status::Internal, "this signal is not expected from this container");
        }
        self.fact(name, Event::Signalled);
        Some(Ok(Reply::Done))
    }

    /// Asks the thread of the store.
    pub(super) fn ask_store(
        &self,
        id: u32,
        job: impl FnOnce(&mut Holdings) -> Result<Reply, HoldError> + Send + 'static,
    ) -> Answer {
        let tell = self.tell.clone();
        self.store.order(move |holdings| {
            let result = job(holdings).map_err(|error| error.refused());
            let _ = tell.send_blocking(Message::Answered(id, result));
        });
        None
    }
}

/// The token that was presented with a call.
fn token_of(caller: &Caller) -> Option<TokenHash> {
    match caller {
        Caller::Network(token) => *token,
        _ => None,
    }
}

/// Whether a call comes over the network: then a revision is sent to be run at once.
fn is_remote(caller: &Caller) -> bool {
    matches!(caller, Caller::Network { .. })
}

fn read_object(holdings: &Holdings, id: ObjectId, offset: u64) -> Result<Reply, HoldError> {
    use std::os::unix::fs::FileExt as _;
    let size = holdings.objects.size(id)?.ok_or(ObjectError::Missing(id))?;
    let file = holdings.objects.open_object(id)?;
    let length = usize::try_from(size.saturating_sub(offset)).unwrap_or(PIECE_MAX).min(PIECE_MAX);
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, offset).map_err(|error| ObjectError::Stream { id, kind: error.kind() })?;
    Ok(Reply::Piece { bytes, size })
}

fn steps(holdings: &Holdings, after: Option<&RevisionId>) -> Result<Reply, HoldError> {
    let all = holdings.trails.list()?;
    let page = all.into_iter().filter(|revision| after.is_none_or(|after| revision > after)).take(PAGE_MAX);
    let text = |revision: &RevisionId, note| -> Result<Option<String>, TrailError> {
        Ok(holdings.trails.read_note(revision, note)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    };
    let mut views = Vec::new();
    for revision in page {
        let message = text(&revision, Note::CommitMessage)?.unwrap_or_default();
        let report = holdings.trails.read_note(&revision, Note::Progress)?;
        let progress = report
            .and_then(|bytes| formats::progress::Report::parse(&bytes).ok())
            .map(|report| report.status.as_str().to_owned());
        views.push(StepView { revision, message, progress, date: None });
    }
    Ok(Reply::Steps(views))
}
