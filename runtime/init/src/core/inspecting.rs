//! What one container is, may do and has written, for whoever looks at it.

use formats::control::{InspectView, LogFrom, PIECE_MAX, Refused, Reply, Status};
use formats::lxc::Item;
use formats::lxc::privileges::{EVERY_CALL, filter, privileges};
use formats::mdev;

use super::calls::{Answer, refuse};
use super::{Core, Message};
use crate::logs::follow;

impl Core {
    /// One container, whole: the page that a person wants to see first.
    pub(super) fn inspect(&self, id: u32, name: &str) -> Answer {
        let found = self.container_views().into_iter().find(|view| view.name == name).zip(self.table.get(name));
        let Some((container, seat)) = found else { return missing(name) };
        let running_ms = seat.process.as_ref().map(|process| self.now().until(process.since).0);
        let (of, assembled, revision) = (seat.of.clone(), seat.assembled.clone(), seat.revision.clone());
        self.ask_store(id, move |holdings| {
            let config = holdings.lines(&of.revision, &assembled.manifest)?;
            let limits = config
                .items()
                .filter(|item| matches!(item, Item::Cgroup { .. } | Item::Optional { .. } | Item::Limit { .. }));
            let limits = limits.map(Item::to_string).collect();
            let rights = if assembled.program.is_some() {
                let calls = filter(&config)
                    .map_or_else(|| EVERY_CALL.to_owned(), |file| format!("system calls that {file} allows"));
                let nodes = assembled.program.as_ref().filter(|program| !program.nodes.is_empty());
                let nodes = nodes.map(|_| mdev::TOLD.to_owned());
                privileges(&config).into_iter().chain([calls]).chain(nodes).collect()
            } else {
                vec!["it starts no program".to_owned()]
            };
            let own = format!("{}/", assembled.name);
            let images = of.revision.objects().filter_map(|(key, id)| Some((key.strip_prefix(&own)?.to_owned(), id)));
            let images = images.collect();
            let view = InspectView { container, revision, running_ms, images, limits, privileges: rights };
            Ok(Reply::Inspected(Box::new(view)))
        })
    }

    /// A piece of what a container has written.
    pub(super) fn read_log(&self, id: u32, name: &str, from: LogFrom, timed: bool) -> Answer {
        let Some(seat) = self.table.get(name) else { return missing(name) };
        let (path, tell) = (self.log.path_of_console(&seat.revision, name), self.tell.clone());
        let now = self.clock.moment();
        self.store.order(move |_| {
            let piece = follow::read(&path, from, timed, PIECE_MAX, now).map(Reply::Log);
            let piece = piece
                .map_err(|error| Refused::new(Status::Internal, format!("cannot read {}: {error}", path.display())));
            let _ = tell.send_blocking(Message::Answered(id, piece));
        });
        None
    }
}

fn missing(name: &str) -> Answer {
    refuse(Status::NotFound, format!("there is no container {name:?}; `pvcontrol ls` lists them"))
}
