//! Drivers of containers: before a start, when a container asks, and when it is gone.
//!
//! The thread that waits for modules is there from the first order on: most devices never give one.

use formats::control::{Caller, DriverView, Refused, Reply, Status};
use formats::drivers_json::Aliases;
use metal::modprobe::{Modprobe, Running};

use super::calls::{Answer, refuse};
use super::{Core, Message};
use crate::assembly::{Driver, Wish, all_drivers, board_of};
use crate::drivers::{Drivers, Remarks};
use crate::threads::Worker;

/// Who holds what is loaded before any container: no container has this name.
const EARLY: &str = "";

/// The drivers of this device.
pub(super) type OfDevice = Drivers<Running>;

impl Core {
    /// Has every driver loaded that the base system knows for this board, before any container is started.
    pub(super) fn load_all_drivers(&mut self) {
        let Some(current) = self.current.clone().filter(|_| self.settings.drivers_early) else { return };
        // Both were read when the revision was assembled.
        let Ok(aliases) = Aliases::of(&current.revision, &mut Vec::new()) else { return };
        let Ok(board) = board_of(&current.revision, &self.settings.board) else { return };
        let (all, tell) = (all_drivers(&aliases, &board), self.tell.clone());
        let ordered = self.order_drivers(move |drivers| {
            let mut remarks = Remarks::new();
            for driver in &all {
                if let Err(why) = drivers.load(EARLY, driver, &mut remarks) {
                    remarks.push(why);
                }
            }
            let _ = tell.send_blocking(Message::Remarked("drivers".to_owned(), remarks));
        });
        if let Err(why) = ordered {
            self.log.error("drivers", &why);
        }
    }

    /// Has the drivers of a container loaded, and then its program started.
    pub(super) fn load_and_spawn(&mut self, name: &str) {
        let Some(seat) = self.table.get(name) else { return };
        let (run, assembled, tell, container) =
            (seat.run, std::sync::Arc::clone(&seat.assembled), self.tell.clone(), name.to_owned());
        let ordered = self.order_drivers(move |drivers| {
            let mut remarks = Remarks::new();
            let result = drivers.settle(&container, &assembled.drivers, &mut remarks);
            let _ = tell.send_blocking(Message::Driven(container, run, remarks, result));
        });
        if let Err(why) = ordered {
            self.driven(name, run, Vec::new(), Err(why));
        }
    }

    /// The drivers of a container are loaded, or one that it requires is not.
    pub(super) fn driven(&mut self, name: &str, run: u64, remarks: Remarks, result: Result<(), String>) {
        self.remarked(name, remarks);
        let Some(seat) = self.table.get_mut(name).filter(|seat| seat.run == run) else { return };
        match result {
            Ok(()) => self.spawn(name),
            Err(why) => {
                self.log.error(name, &why);
                seat.reason = Some(why);
                self.fact(name, statemachine::container::Event::Failed);
            }
        }
    }

    pub(super) fn remarked(&self, name: &str, remarks: Remarks) {
        remarks.iter().for_each(|remark| self.log.warn(name, remark));
    }

    /// A container that is not to come back by itself gives its drivers up.
    pub(super) fn release_drivers(&mut self, name: &str) {
        // Without a thread nothing was loaded.
        let Some(drivers) = &self.drivers else { return };
        let (tell, container) = (self.tell.clone(), name.to_owned());
        drivers.order(move |drivers| {
            let mut remarks = Remarks::new();
            drivers.release(&container, &mut remarks);
            if !remarks.is_empty() {
                let _ = tell.send_blocking(Message::Remarked(container, remarks));
            }
        });
    }

    /// `GET /drivers`: those that the calling container declares.
    pub(super) fn driver_views(&mut self, id: u32, caller: &Caller) -> Answer {
        let declared = self.declared(caller);
        if declared.is_empty() {
            return Some(Ok(Reply::Drivers(Vec::new())));
        }
        let view = |driver: &Driver, is_loaded: bool| DriverView {
            name: driver.name.clone(),
            kind: driver.wish.word().to_owned(),
            status: match (is_loaded, &driver.entries) {
                (true, _) => "LOADED",
                (false, Ok(_)) => "UNLOADED",
                (false, Err(_)) => "UNKNOWN",
            }
            .to_owned(),
        };
        let Some(drivers) = &self.drivers else {
            return Some(Ok(Reply::Drivers(declared.iter().map(|driver| view(driver, false)).collect())));
        };
        let tell = self.tell.clone();
        drivers.order(move |drivers| {
            let views = declared.iter().map(|driver| view(driver, drivers.is_loaded(&driver.name))).collect();
            let _ = tell.send_blocking(Message::Answered(id, Ok(Reply::Drivers(views))));
        });
        None
    }

    /// `PUT /drivers/load`, `/drivers/NAME/unload`: what the calling container has declared as manual.
    pub(super) fn act_on_drivers(&mut self, id: u32, caller: &Caller, name: Option<&str>, load: bool) -> Answer {
        let declared = self.declared(caller);
        let is_meant = |driver: &Driver| driver.wish == Wish::Manual && name.is_none_or(|name| driver.name == name);
        let meant: Vec<Driver> = declared.iter().filter(|driver| is_meant(driver)).cloned().collect();
        // As tools expect it of who declares nothing, and of every unload.
        if declared.is_empty() || (meant.is_empty() && !load) {
            return Some(Ok(Reply::Done));
        }
        if let Some(name) = name.filter(|_| meant.is_empty()) {
            let message =
                format!("Error loading driver(s): {name} is not in `drivers.manual` of this container's run.json");
            return refuse(Status::BadRequest, message);
        }
        let Caller::Container(container) = caller.clone() else { return Some(Ok(Reply::Done)) };
        let tell = self.tell.clone();
        let ordered = self.order_drivers(move |drivers| {
            let mut remarks = Remarks::new();
            let mut result = Ok(Reply::Done);
            for driver in &meant {
                if !load {
                    drivers.unload(&container, &driver.name, &mut remarks);
                } else if let Err(why) = drivers.load(&container, driver, &mut remarks) {
                    let why = format!("Error loading driver(s): {why}");
                    result = Err(Refused::new(Status::BadRequest, why));
                    break;
                }
            }
            if !remarks.is_empty() {
                let _ = tell.send_blocking(Message::Remarked(container, remarks));
            }
            let _ = tell.send_blocking(Message::Answered(id, result));
        });
        ordered.err().map(|why| Err(Refused::new(Status::Internal, why)))
    }

    fn declared(&self, caller: &Caller) -> Vec<Driver> {
        match caller {
            Caller::Container(name) => self.table.get(name).map(|seat| seat.assembled.drivers.clone()),
            Caller::Device | Caller::Network(_) => None,
        }
        .unwrap_or_default()
    }

    /// Orders something of the thread, which is started for it.
    pub(super) fn order_drivers(&mut self, job: impl FnOnce(&mut OfDevice) + Send + 'static) -> Result<(), String> {
        let drivers = match self.drivers.take() {
            Some(drivers) => drivers,
            None => {
                let probe = Modprobe::here(self.settings.words.clone());
                let worker = Worker::start("drivers", Drivers::new(probe, self.lookup()));
                worker.map_err(|error| format!("no drivers: {error}"))?
            }
        };
        drivers.order(job);
        self.drivers = Some(drivers);
        Ok(())
    }
}
