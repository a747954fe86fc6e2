//! How an address is got and kept: a DHCP client without a socket and without a clock.
//!
//! ```text
//!   Seeking ──offer──▶ Asking ──ack──▶ Holding ──half of its time──▶ asks the server ──ack──▶ Holding
//!      ▲                 │ refused, or ASKS times no answer │           7/8 of it: asks everybody
//!      └─────────────────┴──────────────────────────────────┴── refused, or its time is over
//! ```
//!
//! Time is an argument. What is not awaited is passed over, so a server that talks out of turn changes nothing; however
//! many answers come, a client sends no more than it would have without them, but for one request for each offer taken.

use std::net::Ipv4Addr;

use formats::dhcp::{Answer, Ask, Lease};
use statemachine::container::{Span, Time};

/// How often one offer is asked for.
const ASKS: u32 = 4;

/// The longest pause between two searches, as a power of two, in seconds.
const PATIENCE: u32 = 6;

/// Nothing is renewed more often. A lease that is shorter is taken to be as long as this.
const MINUTE: Span = Span::seconds(60);

/// The client.
#[derive(Clone, Debug)]
pub(super) struct Client {
    state: State,
    /// What was sent in this state so far.
    tries: u32,
    until: Time,
}

#[derive(Clone, Debug)]
enum State {
    Seeking,
    Asking(Lease),
    Holding { lease: Lease, since: Time },
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Turn {
    /// What to send, and where to.
    pub(super) send: Option<(Ask, Ipv4Addr)>,
    /// From now on the address is this one, or there is none.
    pub(super) set: Option<Option<Lease>>,
}

impl Client {
    /// One that begins now.
    #[must_use]
    pub(super) fn new(now: Time) -> Self {
        Self { state: State::Seeking, tries: 0, until: now }
    }

    /// When [`elapse`](Self::elapse) is to be called.
    #[must_use]
    pub(super) fn deadline(&self) -> Time {
        self.until
    }

    /// Time has passed.
    pub(super) fn elapse(&mut self, now: Time) -> Turn {
        self.tries = self.tries.saturating_add(1);
        match self.state {
            State::Asking(lease) if self.tries <= ASKS => self.ask(lease, now),
            State::Seeking => self.send(Ask::Discover, Ipv4Addr::BROADCAST, self.pause(), now),
            State::Asking(_) => self.seek(now),
            State::Holding { lease, since } => {
                let end = since.after(length(&lease));
                if end <= now {
                    return Turn { set: Some(None), ..self.seek(now) };
                }
                let left = end.until(now);
                let to = if left.0 > length(&lease).0 / 8 { lease.server } else { Ipv4Addr::BROADCAST };
                let pause = Span((left.0 / 2).max(MINUTE.0).min(left.0));
                self.send(Ask::Renew { address: lease.address }, to, pause, now)
            }
        }
    }

    /// A server has answered.
    pub(super) fn hear(&mut self, answer: Answer, now: Time) -> Turn {
        match (&self.state, answer) {
            (State::Seeking, Answer::Offer(lease)) if self.tries > 0 => {
                (self.state, self.tries) = (State::Asking(lease), 1);
                self.ask(lease, now)
            }
            (State::Asking(asked), Answer::Ack(lease))
                if (lease.address, lease.server) == (asked.address, asked.server) =>
            {
                self.hold(lease, now);
                Turn { set: Some(Some(lease)), send: None }
            }
            (State::Asking(asked), Answer::Nak(server)) if server == asked.server => {
                self.rest(now);
                Turn::default()
            }
            (State::Holding { lease: held, .. }, Answer::Ack(lease))
                if self.tries > 0 && lease.address == held.address =>
            {
                let is_other = (held.prefix, held.router) != (lease.prefix, lease.router);
                self.hold(lease, now);
                Turn { set: is_other.then_some(Some(lease)), send: None }
            }
            (State::Holding { .. }, Answer::Nak(_)) if self.tries > 0 => {
                self.rest(now);
                Turn { set: Some(None), send: None }
            }
            _ => Turn::default(),
        }
    }

    fn hold(&mut self, lease: Lease, now: Time) {
        self.until = now.after(Span(length(&lease).0 / 2));
        (self.state, self.tries) = (State::Holding { lease, since: now }, 0);
    }

    /// Seeks at once.
    fn seek(&mut self, now: Time) -> Turn {
        (self.state, self.tries) = (State::Seeking, 1);
        self.send(Ask::Discover, Ipv4Addr::BROADCAST, self.pause(), now)
    }

    /// Seeks in a moment: who was refused is not to be refused again without end.
    fn rest(&mut self, now: Time) {
        (self.state, self.tries) = (State::Seeking, 0);
        self.until = now.after(Span::seconds(10));
    }

    fn ask(&mut self, Lease { address, server, .. }: Lease, now: Time) -> Turn {
        self.send(Ask::Select { address, server }, Ipv4Addr::BROADCAST, self.pause(), now)
    }

    fn send(&mut self, ask: Ask, to: Ipv4Addr, pause: Span, now: Time) -> Turn {
        self.until = now.after(pause);
        Turn { send: Some((ask, to)), set: None }
    }

    fn pause(&self) -> Span {
        Span::seconds(1 << self.tries.min(PATIENCE))
    }
}

fn length(lease: &Lease) -> Span {
    Span(Span::seconds(lease.seconds.into()).0.max(MINUTE.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERYBODY: Ipv4Addr = Ipv4Addr::BROADCAST;

    fn lease() -> Lease {
        let server = [10, 0, 2, 2].into();
        Lease { address: [10, 0, 2, 15].into(), prefix: 24, router: Some(server), server, seconds: 800 }
    }

    fn at(seconds: u64) -> Time {
        Time(seconds * 1000)
    }

    fn holding() -> Client {
        let mut client = Client::new(at(0));
        assert_eq!(client.elapse(at(0)).send, Some((Ask::Discover, EVERYBODY)));
        let Lease { address, server, .. } = lease();
        let turn = client.hear(Answer::Offer(lease()), at(1));
        assert_eq!(turn, Turn { send: Some((Ask::Select { address, server }, EVERYBODY)), set: None });
        let turn = client.hear(Answer::Ack(lease()), at(2));
        assert_eq!(turn, Turn { send: None, set: Some(Some(lease())) });
        client
    }

    #[test]
    fn an_address_is_renewed_with_its_server_at_half_its_time_and_with_anybody_at_the_end_of_it() {
        let mut client = holding();
        assert_eq!(client.deadline(), at(402));
        let renew = Ask::Renew { address: lease().address };
        assert_eq!(client.elapse(at(402)), Turn { send: Some((renew, lease().server)), set: None });
        assert_eq!(client.hear(Answer::Ack(lease()), at(403)), Turn::default());
        assert_eq!(client.deadline(), at(803), "the time begins anew");
        for (now, to) in [(803, lease().server), (1003, lease().server), (1103, EVERYBODY), (1163, EVERYBODY)] {
            assert_eq!(client.deadline(), at(now));
            assert_eq!(client.elapse(at(now)), Turn { send: Some((renew, to)), set: None });
        }
        assert_eq!(client.deadline(), at(1203));
        let over = Turn { send: Some((Ask::Discover, EVERYBODY)), set: Some(None) };
        assert_eq!(client.elapse(at(1203)), over, "an address that nobody renews is given up");
    }

    #[test]
    fn nobody_is_asked_faster_and_faster_and_one_offer_not_for_ever() {
        let mut client = Client::new(at(0));
        let mut now = at(0);
        let pauses: Vec<u64> = (0..8)
            .map(|_| {
                client.elapse(now);
                let pause = client.deadline().until(now).0 / 1000;
                now = client.deadline();
                pause
            })
            .collect();
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 64, 64]);
        let mut asked = client.hear(Answer::Offer(lease()), now);
        for _ in 0..ASKS {
            assert!(matches!(asked.send, Some((Ask::Select { .. }, _))));
            asked = client.elapse(client.deadline());
        }
        assert_eq!(asked.send, Some((Ask::Discover, EVERYBODY)));
    }

    #[test]
    fn what_nobody_has_asked_for_is_passed_over() {
        let other = Lease { address: [10, 0, 2, 99].into(), ..lease() };
        let mut client = Client::new(at(0));
        for answer in [Answer::Offer(lease()), Answer::Ack(lease()), Answer::Nak(lease().server)] {
            assert_eq!(client.hear(answer, at(0)), Turn::default(), "nothing was sent yet");
        }
        let mut client = holding();
        let deadline = client.deadline();
        for answer in [Answer::Offer(other), Answer::Ack(other), Answer::Ack(lease()), Answer::Nak(lease().server)] {
            assert_eq!(client.hear(answer, at(9)), Turn::default());
        }
        assert_eq!(client.deadline(), deadline);
        let mut client = Client::new(at(0));
        client.elapse(at(0));
        client.hear(Answer::Offer(lease()), at(1));
        for answer in [Answer::Ack(other), Answer::Offer(other), Answer::Nak([9, 9, 9, 9].into())] {
            assert_eq!(client.hear(answer, at(1)), Turn::default());
        }
    }

    #[test]
    fn who_is_refused_asks_again_and_not_at_once() {
        let mut client = holding();
        client.elapse(at(402));
        assert_eq!(client.hear(Answer::Nak(lease().server), at(403)), Turn { send: None, set: Some(None) });
        assert_eq!(client.deadline(), at(413));
        assert_eq!(client.elapse(at(413)).send, Some((Ask::Discover, EVERYBODY)));
    }

    #[test]
    fn a_lease_of_no_time_is_no_endless_loop_and_one_for_ever_does_not_overflow() {
        for (seconds, half) in [(0, 30), (u32::MAX, u64::from(u32::MAX) / 2)] {
            let lease = Lease { seconds, ..lease() };
            let mut client = Client::new(at(0));
            client.elapse(at(0));
            client.hear(Answer::Offer(lease), at(0));
            client.hear(Answer::Ack(lease), at(0));
            assert_eq!(client.deadline().0 / 1000, half);
        }
    }
}
