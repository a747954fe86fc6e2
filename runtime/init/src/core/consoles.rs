//! Whoever attaches to the console of a container.

use container::enter::is_local;
use formats::control::{Refused, Reply, Status};

use super::Core;
use super::calls::{Answer, refuse};
use crate::console::{READERS_MAX, Refusal};
use crate::handed::Handed;

impl Core {
    /// Has the caller see what is written on the console of a container, and type there.
    pub(super) fn attach(&mut self, name: &str, handed: Handed) -> Answer {
        let is_socket = matches!(handed.as_slice(), [socket] if is_local(socket));
        let Some(socket) = is_socket.then(|| handed.take()).and_then(|mut all| all.pop()) else {
            // `front` has looked before it passed it on.
            self.helpers.misused(&self.log);
            return refuse(Status::BadRequest, "with this call comes one UNIX socket");
        };
        let Some(seat) = self.table.get(name) else {
            return refuse(Status::NotFound, format!("there is no container {name:?}; `pvcontrol ls` lists them"));
        };
        let Some(process) = &seat.process else {
            let message = format!("{name} does not run; `pvcontrol containers start {name}` starts one that may be");
            return refuse(Status::Conflict, message);
        };
        let Some(console) = &process.console else {
            let message = format!(
                "{name} has no terminal as its console, for its first program is no init; `pvcontrol logs -f {name}` shows what \
                 it writes, and `pvcontrol exec {name} sh` enters it"
            );
            return refuse(Status::Conflict, message);
        };
        match console.attach(&self.tasks, socket) {
            Ok(()) => {
                self.log.info(name, &"somebody is at its console");
                Some(Ok(Reply::Done))
            }
            Err(Refusal::NotYet) => {
                let message = format!("{name} is about to start, or to end, and has no console now");
                Some(Err(Refused { retry_after: Some(1), ..Refused::new(Status::Unavailable, message) }))
            }
            Err(Refusal::Full) => {
                let message = format!("{READERS_MAX} are at the console of {name} already; one of them has to leave");
                Some(Err(Refused { retry_after: Some(10), ..Refused::new(Status::Unavailable, message) }))
            }
            Err(Refusal::System(errno)) => refuse(Status::Internal, format!("cannot attach to {name}: {errno}")),
        }
    }
}
