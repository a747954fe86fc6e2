//! Drivers that containers have asked for: loaded once however many ask, taken out when nobody is left who did.
//!
//! ```text
//!   container ─ holds ─▶ driver ─ its modules, in order ─▶ kernel          metal::modprobe
//! ```
//!
//! A driver is loaded as a whole or not at all. It goes, in reverse, with the last container that holds it, except for modules
//! that another driver needs too, that were there before, or that are in use. A container that is started anew keeps what it
//! holds: hardware is not reset because a program has crashed.
//!
//! All of this waits for hardware, and so belongs to a thread of its own.

use std::collections::{BTreeMap, BTreeSet};

use formats::metadata::Metadata;
use metal::modprobe::{Kernel, Modprobe};
use rustix::io::Errno;

use crate::assembly::{Driver, Wish};

/// Where metadata is looked up.
pub type Lookup = Box<dyn Fn(Metadata, &str) -> Option<String> + Send>;

/// A driver that is loaded.
#[derive(Default, Debug)]
struct Loaded {
    holders: BTreeSet<String>,
    /// Its modules in the order of loading, whoever has brought them.
    modules: Vec<String>,
}

/// See the module.
pub struct Drivers<K> {
    probe: Modprobe<K>,
    lookup: Lookup,
    loaded: BTreeMap<String, Loaded>,
    /// Modules that were not there before.
    ours: BTreeSet<String>,
}

/// Lines for a person about something that is done, and went not quite as it was meant.
pub type Remarks = Vec<String>;

impl<K: Kernel> Drivers<K> {
    /// None are loaded.
    pub fn new(probe: Modprobe<K>, lookup: Lookup) -> Self {
        Self { probe, lookup, loaded: BTreeMap::new(), ours: BTreeSet::new() }
    }

    /// Before a container starts: what it requires and what it would like is loaded, and what it no longer declares is let go.
    ///
    /// # Errors
    /// One sentence about the first that it requires and cannot have. What is loaded stays for the next attempt.
    pub fn settle(&mut self, container: &str, drivers: &[Driver], remarks: &mut Remarks) -> Result<(), String> {
        let held: Vec<String> = self.held(container).map(str::to_owned).collect();
        for name in held.iter().filter(|name| !drivers.iter().any(|driver| driver.name == **name)) {
            self.unload(container, name, remarks);
        }
        for driver in drivers.iter().filter(|driver| driver.wish != Wish::Manual) {
            match self.load(container, driver, remarks) {
                Err(why) if driver.wish == Wish::Required => return Err(why),
                Err(why) => remarks.push(why),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// Loads a driver on behalf of a container.
    ///
    /// # Errors
    /// One sentence: the driver, the module, and what the kernel said.
    pub fn load(&mut self, container: &str, driver: &Driver, remarks: &mut Remarks) -> Result<(), String> {
        let Driver { name, entries, .. } = driver;
        if let Some(loaded) = self.loaded.get_mut(name) {
            loaded.holders.insert(container.to_owned());
            return Ok(());
        }
        let entries = entries.as_ref().map_err(|why| format!("driver {name}: {why}"))?;
        let (mut modules, mut fresh) = (Vec::new(), Vec::new());
        for entry in entries {
            let told = entry.options(&*self.lookup);
            remarks.extend(
                told.left_out.iter().map(|why| format!("driver {name}: module {}: option {why}", entry.module)),
            );
            match self.probe.load(&entry.module, &told.options) {
                Ok(probed) => {
                    modules.extend(probed.modules);
                    fresh.extend(probed.fresh);
                }
                Err(why) => {
                    self.take_out(&fresh, remarks);
                    return Err(format!("driver {name}: {why}"));
                }
            }
        }
        self.ours.extend(fresh);
        self.loaded.insert(name.clone(), Loaded { holders: BTreeSet::from([container.to_owned()]), modules });
        Ok(())
    }

    /// A container gives a driver up. One that it does not hold, it has given up.
    pub fn unload(&mut self, container: &str, name: &str, remarks: &mut Remarks) {
        let Some(loaded) = self.loaded.get_mut(name) else { return };
        if !loaded.holders.remove(container) || !loaded.holders.is_empty() {
            return;
        }
        let Some(Loaded { modules, .. }) = self.loaded.remove(name) else { return };
        let needed = |module: &String| self.loaded.values().any(|other| other.modules.contains(module));
        let going: Vec<_> =
            modules.into_iter().filter(|module| self.ours.contains(module) && !needed(module)).collect();
        let staying = self.take_out(&going, remarks);
        self.ours.retain(|module| !going.contains(module) || staying.contains(module));
    }

    /// A container gives up all that it holds.
    pub fn release(&mut self, container: &str, remarks: &mut Remarks) {
        let held: Vec<String> = self.held(container).map(str::to_owned).collect();
        // In any order: drivers do not know of each other, and modules that several need are counted.
        held.iter().for_each(|name| self.unload(container, name, remarks));
    }

    /// Whether a driver is loaded, for whomever.
    #[must_use]
    pub fn is_loaded(&self, name: &str) -> bool {
        self.loaded.contains_key(name)
    }

    fn held<'a>(&'a self, container: &'a str) -> impl Iterator<Item = &'a str> {
        self.loaded.iter().filter(move |(_, loaded)| loaded.holders.contains(container)).map(|(name, _)| name.as_str())
    }

    /// Those that stay.
    fn take_out(&mut self, modules: &[String], remarks: &mut Remarks) -> Vec<String> {
        let staying = self.probe.unload(modules);
        for (module, errno) in &staying {
            // `delete_module` says this of a module that something uses.
            let why = if *errno == Errno::AGAIN { "it is in use".to_owned() } else { errno.to_string() };
            remarks.push(format!("module {module} stays loaded: {why}"));
        }
        staying.into_iter().map(|(module, _)| module).collect()
    }
}

#[cfg(test)]
mod tests;
