//! Published ports during an update in place: nobody who connects is refused.
//!
//! ```text
//!   ports held ─▶ old ones asked to end ─▶ they are down ─▶ new ones start ─▶ … ─▶ ports released
//!   └─ whoever connects gets no answer, and tries again ─┘  └─ or the answer of the new one ─┘
//! ```
//!
//! From the moment in which the old ones are down, the new ones have the time that they have for their goals, the longest of
//! them counts. Then whoever connects to one that does not listen is refused as ever: a port is not closed in silence for good.

use super::{Core, Message, SWITCH};
use crate::engine::EngineError;
use crate::supervisor::Switch;

impl Core {
    /// Goes from one set of containers to another, once their ports are held.
    pub(super) fn hold_ports(&mut self, switch: Switch) {
        let publishes = |name: &String| {
            let network = self.table.get(name).and_then(|seat| seat.assembled.network.as_ref());
            network.is_some_and(|network| !network.ports.is_empty())
        };
        let names: Vec<String> = switch.stop.iter().filter(|name| publishes(name)).cloned().collect();
        if names.is_empty() {
            return self.begin_switch(switch);
        }
        // Whatever comes of the switch, they are released.
        self.ports_until = Some(self.now().after(SWITCH));
        // Nobody asks any more whether those that leave hold their goals.
        self.supervisor.rest();
        self.held_switch = Some(switch);
        let tell = self.tell.clone();
        self.mounts.order(move |engine| {
            let _ = tell.send_blocking(Message::PortsHeld(engine.hold_ports(&names)));
        });
    }

    /// They are held, or cannot be: the update goes on in any case.
    pub(super) fn ports_held(&mut self, result: Result<(), EngineError>) {
        if let Err(error) = result {
            self.log.warn("network", &format_args!("who connects during this update may be refused: {error}"));
        }
        let Some(switch) = self.held_switch.take() else { return };
        if self.leaving.is_none() && self.switch_until.is_some() {
            self.begin_switch(switch);
        }
    }

    fn begin_switch(&mut self, switch: Switch) {
        let outputs = self.supervisor.switch(switch, self.now());
        self.follow(outputs);
    }

    /// The containers that leave are down: the others have this long.
    pub(super) fn await_listeners(&mut self) {
        let table = &self.table;
        let comes = |name: &String| {
            table.get(name).is_some_and(|seat| {
                seat.is_down() && seat.assembled.network.as_ref().is_some_and(|network| !network.ports.is_empty())
            })
        };
        let members = self.supervisor.containers().map(|(member, _)| member);
        let times = members.filter(|member| comes(&member.name)).map(|member| member.policy.timeout);
        if let Some(time) = times.max() {
            self.ports_until = Some(self.now().after(time));
        }
    }

    /// Whoever refuses is not covered up for any more.
    pub(super) fn release_ports(&mut self) {
        self.ports_until = None;
        let tell = self.tell.clone();
        self.mounts.order(move |engine| {
            if let Err(error) = engine.release_ports() {
                let _ = tell.send_blocking(Message::NetworksSettled(vec![error.to_string()]));
            }
        });
    }
}
