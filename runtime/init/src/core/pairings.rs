//! Pairing as PID 1 has it: who is let in, and what becomes of a code and of a list.
//!
//! Promises: a list counts from the moment it is durable, and a token is told when its hash is. One list is written at a
//! time. What is logged are names and fingerprints.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use formats::control::{Refused, Reply, Status};
use formats::pairing::{PAIRINGS_MAX, Pairing, Secret, TokenHash, is_name};
use rustix::rand::{GetRandomFlags, getrandom};
use store::dir::DirError;

use super::calls::{Answer, refuse};
use super::{Core, Message};
use crate::holdings::EPOCH;
use crate::pairing::{CODE_LASTS, NotOne, NotTheCode, keep, seconds};

/// The name in the log.
const PAIRING: &str = "pairing";

impl Core {
    pub(super) fn offer_pairing(&mut self) -> Answer {
        if self.pairings.is_full() {
            return Some(Err(full()));
        }
        let random = match random() {
            Ok(random) => random,
            Err(refused) => return Some(Err(refused)),
        };
        let code = self.pairings.offer(random, self.now()).reveal();
        self.log.info(PAIRING, &"a code was made, for five minutes");
        let seconds = u16::try_from(CODE_LASTS.0 / 1000).unwrap_or(u16::MAX);
        Some(Ok(Reply::Code { code, seconds }))
    }

    /// Whoever is not let in is told how to be. In recovery there is no shell to ask for a code in, so one is shown to
    /// whoever stands before the console; see decision [0012](../../../../docs/decisions/0012-recovery-on-the-network.md).
    pub(super) fn shown(&mut self, refused: Refused) -> Refused {
        if !self.recovery || self.pairings.is_full() {
            return refused;
        }
        let now = self.now();
        if let Some(time) = self.pairings.burnt_for(now) {
            let message =
                "too many wrong codes: the console of the device shows another one later, when it is asked again";
            return Refused { message: message.into(), retry_after: Some(seconds(time)), ..refused };
        }
        if !self.pairings.is_open(now) {
            let random = match random() {
                Ok(random) => random,
                Err(refused) => return refused,
            };
            let code = self.pairings.offer(random, now).reveal();
            // In recovery the console is the only place that these lines go to.
            self.log.warn(
                PAIRING,
                &format_args!("somebody on the network wants in; the code for that is {}", code.expose()),
            );
        }
        let message = "the console of the device shows a code to be paired with, for five minutes and one use";
        Refused { message: message.into(), ..refused }
    }

    pub(super) fn pair(&mut self, ask: u32, code: &Secret, name: String) -> Answer {
        if !is_name(&name) {
            let message = "a name has letters, digits, and . _ @ - behind the first of them, at most 64";
            return refuse(Status::BadRequest, message);
        }
        if let Some(refused) = self.cannot_keep() {
            return Some(Err(refused));
        }
        if self.pairings.is_full() {
            return Some(Err(full()));
        }
        let random = match random() {
            Ok(random) => random,
            Err(refused) => return Some(Err(refused)),
        };
        let now = self.now();
        if let Err(why) = self.pairings.say(code.expose(), now) {
            match why {
                NotTheCode::Wrong(0) => self.log.warn(PAIRING, &"too many wrong codes were said: the code is burnt"),
                NotTheCode::Wrong(_) => self.log.warn(PAIRING, &"a wrong code was said"),
                // Anybody could fill the log with these.
                NotTheCode::None | NotTheCode::Burnt(_) => {}
            }
            let (refused, is_left) = (Refused::from(why), matches!(why, NotTheCode::Wrong(1..)));
            return Some(Err(if is_left { refused } else { self.shown(refused) }));
        }
        let token = Secret::token(&random);
        let pairing = Pairing { token: TokenHash::of(token.expose()), date: today(), name };
        let what = format!("{} is paired, as {}", pairing.name, pairing.token.fingerprint());
        self.keep_pairings(ask, self.pairings.with(pairing), what, Reply::Token(token))
    }

    pub(super) fn unpair(&mut self, ask: u32, who: &str) -> Answer {
        match self.pairings.find(who) {
            Ok(pairing) => {
                let pairing = pairing.clone();
                self.forget(ask, &pairing)
            }
            Err(NotOne::None) => refuse(Status::NotFound, format!("nobody of the name {who:?} is paired")),
            Err(NotOne::Several) => {
                let message = format!("several are called {who:?}; name the one by its fingerprint, see `pair ls`");
                refuse(Status::Conflict, message)
            }
        }
    }

    /// Somebody gives the own pairing up.
    pub(super) fn leave_pairing(&mut self, ask: u32, token: Option<TokenHash>) -> Answer {
        match token.and_then(|token| self.pairings.of(&token).cloned()) {
            Some(pairing) => self.forget(ask, &pairing),
            None => refuse(Status::Unauthorized, "this token is not paired"),
        }
    }

    fn forget(&mut self, ask: u32, pairing: &Pairing) -> Answer {
        if let Some(refused) = self.cannot_keep() {
            return Some(Err(refused));
        }
        let what = format!("{} ({}) is no longer paired", pairing.name, pairing.token.fingerprint());
        self.keep_pairings(ask, self.pairings.without(&pairing.token), what, Reply::Done)
    }

    fn cannot_keep(&self) -> Option<Refused> {
        let message = "another pairing is just being written; ask again";
        let refused = Refused { retry_after: Some(1), ..Refused::new(Status::Unavailable, message) };
        self.pairings.writing.then_some(refused)
    }

    /// Has the thread of the store write a new list.
    fn keep_pairings(&mut self, ask: u32, list: Vec<Pairing>, what: String, reply: Reply) -> Answer {
        self.pairings.writing = true;
        let (storage, tell) = (self.engine.paths().storage.clone(), self.tell.clone());
        self.store.order(move |_| {
            let kept = keep(&storage, &list).map(|()| list);
            let _ = tell.send_blocking(Message::PairingsKept(ask, kept, what, reply));
        });
        None
    }

    /// It is written, or not.
    pub(super) fn pairings_kept(&mut self, ask: u32, kept: Result<Vec<Pairing>, DirError>, what: &str, reply: Reply) {
        self.pairings.writing = false;
        let result = match kept {
            Ok(list) => {
                self.pairings.replace(list);
                self.log.info(PAIRING, &what);
                Ok(reply)
            }
            Err(error) => {
                self.log.error(PAIRING, &error);
                let status = if matches!(error, DirError::NoSpace { .. }) { Status::NoSpace } else { Status::Internal };
                Err(Refused::new(status, format!("pairings are as they were: {error}")))
            }
        };
        self.answer(ask, result);
    }
}

fn full() -> Refused {
    let message = format!("{PAIRINGS_MAX} are paired, and there is room for no more: `pvcontrol pair rm` forgets one");
    Refused::new(Status::NoSpace, message)
}

/// Random bytes of the kernel. Early in a first boot it may have none yet, and this loop does not wait.
fn random<const N: usize>() -> Result<[u8; N], Refused> {
    let mut bytes = [0; N];
    match getrandom(&mut bytes, GetRandomFlags::NONBLOCK) {
        Ok(length) if length == N => Ok(bytes),
        _ => {
            let message = "the kernel has no random numbers yet; ask again";
            Err(Refused { retry_after: Some(5), ..Refused::new(Status::Unavailable, message) })
        }
    }
}

/// Seconds since 1970, if the clock was ever set.
fn today() -> Option<u64> {
    let now: Duration = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    (now >= EPOCH).then_some(now.as_secs())
}
