//! Metadata: what tools keep and read, what the device says of itself, and what drivers and containers see of both.
//!
//! | who writes | where it lies |
//! |---|---|
//! | a tool, through `pv-ctrl` | [`MetadataStore`], and a file in each container that it is for |
//! | PID 1: [`own`] | nowhere: it is made when somebody asks |

use std::path::Path;
use std::sync::Arc;

use formats::control::{PIECE_MAX, Reply, Status};
use formats::json::Json;
use formats::metadata::{Key, Metadata};
use rustix::system::{sysinfo, uname};
use statemachine::update::Running;
use store::dir::Dir;
use store::metadata::MetadataStore;

use super::Core;
use super::calls::{Answer, refuse};
use crate::drivers::Lookup;

/// What begins like this, the device itself says.
const OWN: &str = "pantavisor.";

/// Keys of its own beside those.
const OWN_KEYS: [&str; 2] = ["storage", "sysinfo"];

impl Core {
    pub(super) fn metadata(&mut self, id: u32, of: Metadata, after: Option<String>) -> Answer {
        // The first page begins with these. They are few, and none of them is kept.
        let own = if of == Metadata::Device && after.is_none() { self.own() } else { Vec::new() };
        self.ask_store(id, move |holdings| {
            let keys = holdings.metadata.keys(of)?;
            let (mut page, mut last, mut bytes) = (own, after, 0);
            let behind = |last: &Option<String>| {
                let behind = keys.iter().filter(|key| last.as_deref().is_none_or(|last| key.as_str() > last));
                behind.filter(|key| of == Metadata::User || !is_own(key.as_str())).min()
            };
            while let Some(key) = behind(&last).filter(|_| bytes < PIECE_MAX / 2) {
                let name = key.as_str().to_owned();
                if let Some(value) = holdings.metadata.get(of, key)? {
                    bytes += name.len() + value.len();
                    page.push((name.clone(), value));
                }
                last = Some(name);
            }
            Ok(Reply::Metadata(page))
        })
    }

    /// Keeps a value, or forgets it.
    pub(super) fn change_metadata(&mut self, id: u32, of: Metadata, key: &str, value: Option<String>) -> Answer {
        let key = match Key::parse(key) {
            Ok(key) => key,
            Err(why) => return refuse(Status::BadRequest, why.to_string()),
        };
        if of == Metadata::Device && is_own(key.as_str()) {
            return refuse(Status::Conflict, format!("{key} is what the device says of itself"));
        }
        let engine = Arc::clone(&self.engine);
        // Those too that do not run: one that is just being started has its files already.
        let shown: Vec<_> = self.table.values().map(|seat| Arc::clone(&seat.assembled)).collect();
        self.ask_store(id, move |holdings| {
            match value {
                Some(value) => holdings.metadata.set(of, &key, &value)?,
                None => holdings.metadata.remove(of, &key)?,
            }
            for assembled in shown {
                engine.show_metadata(&assembled)?;
            }
            Ok(Reply::Done)
        })
    }

    /// Values for options of modules: those that are kept when one is loaded, and what the device says of itself at this moment.
    pub(super) fn lookup(&self) -> Lookup {
        let (storage, own) = (self.engine.paths().storage.clone(), self.own());
        Box::new(move |of, key| {
            let own = own.iter().find(|(name, _)| of == Metadata::Device && name == key);
            own.map(|(_, value)| value.clone()).or_else(|| kept(&storage, of, key))
        })
    }

    /// What the device says of itself.
    fn own(&self) -> Vec<(String, String)> {
        let system = uname();
        let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
        let mut own = Vec::new();
        let mut say = |name: &str, value: String| {
            if !value.is_empty() {
                own.push((name.to_owned(), value));
            }
        };
        let (machine, bits) = (text(system.machine()), usize::BITS);
        let order = if cfg!(target_endian = "big") { "EB" } else { "EL" };
        say("pantavisor.arch", format!("{machine}/{bits}/{order}"));
        say("pantavisor.mode", "local".to_owned());
        say("pantavisor.version", env!("CARGO_PKG_VERSION").to_owned());
        let model = std::fs::read_to_string("/proc/device-tree/model").unwrap_or_default();
        say("pantavisor.dtmodel", model.trim_end_matches('\0').to_owned());
        if let Running::Revision(id) = self.machine.running() {
            say("pantavisor.revision", id.to_string());
        }
        say("pantavisor.status", self.whole_status().to_owned());
        let uname = Json::object()
            .with("kernel.name", text(system.sysname()))
            .with("kernel.release", text(system.release()))
            .with("kernel.version", text(system.version()))
            .with("node.name", text(system.nodename()))
            .with("machine", machine);
        say("pantavisor.uname", uname.compact());
        say("storage", room(&self.engine.paths().storage).map(|json| json.compact()).unwrap_or_default());
        let info = sysinfo();
        let memory = |value: u64| value.saturating_mul(u64::from(info.mem_unit));
        let sysinfo = Json::object()
            .with("uptime", u64::try_from(info.uptime).unwrap_or_default())
            .with("totalram", memory(info.totalram))
            .with("freeram", memory(info.freeram))
            .with("procs", u64::from(info.procs))
            .with("mem_unit", 1_u64);
        say("sysinfo", sysinfo.compact());
        own
    }
}

fn is_own(key: &str) -> bool {
    key.starts_with(OWN) || OWN_KEYS.contains(&key)
}

fn kept(storage: &Path, of: Metadata, key: &str) -> Option<String> {
    let store = Dir::open(storage).and_then(|storage| MetadataStore::new(&storage)).ok()?;
    store.get(of, &Key::parse(key).ok()?).ok().flatten()
}

/// Bytes of the storage.
fn room(storage: &Path) -> Option<Json> {
    let vfs = rustix::fs::statvfs(storage).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(vfs.f_frsize);
    let reserved = bytes(vfs.f_bfree.saturating_sub(vfs.f_bavail));
    Some(
        Json::object()
            .with("total", bytes(vfs.f_blocks))
            .with("free", bytes(vfs.f_bavail))
            .with("reserved", reserved)
            .with("real_free", bytes(vfs.f_bfree)),
    )
}
