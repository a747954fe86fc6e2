//! Whose volumes a container has mounted: who they are is restarted along with them.
//!
//! ```text
//!   lxc.rootfs.path = overlayfs:/volumes/web/root.squashfs:/volumes/base/root.squashfs:…      base
//!   lxc.mount.entry = /volumes/db/docker--data srv none bind 0 0                              db
//!   lxc.mount.entry = /exports/bus/run/dbus run/dbus none bind 0 0                            nobody: it comes and goes by itself
//!   lxc.mount.entry = /exports/bus/run/dbus/socket …                                          bus
//! ```
//!
//! A device finds the same when it assembles a container; its tests compare the two. Tools tell it beforehand.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeSet;
use alloc::string::String;

use super::{Config, Item, MountEntry};

/// Those options of an import that keep it live.
const LIVE: &[&str] = &["bind", "rbind", "ro", "rw", "slave", "rslave"];

/// The containers whose volumes `own` uses, or a part of whose exports it has as it is at its start. `exports` gives what a
/// container exports, relative to its root; `None`: there is no such container.
pub fn neighbours<'e>(own: &str, config: &Config, exports: impl Fn(&str) -> Option<&'e [String]>) -> BTreeSet<String> {
    let volume = |path: &str| {
        let owner = path.strip_prefix("/volumes/")?.split('/').next()?;
        (owner != own && exports(owner).is_some()).then(|| owner.to_owned())
    };
    let mut all = BTreeSet::new();
    // As with everything that may stand once, the last one counts.
    let root = config.items().filter_map(|item| if let Item::Rootfs(root) = item { Some(root) } else { None }).last();
    all.extend(root.iter().flat_map(|root| &root.lowers).filter_map(|path| volume(path)));
    for entry in config.items().filter_map(|item| if let Item::Mount(entry) = item { Some(entry) } else { None }) {
        let layers = entry.kernel_options().filter_map(|option| option.strip_prefix("lowerdir="));
        all.extend(layers.flat_map(|list| list.split(':')).filter_map(volume));
        all.extend(volume(&entry.source));
        all.extend(import(own, entry, &exports));
    }
    all
}

/// The container from whose exports an entry takes what is there at its start.
fn import<'e>(own: &str, entry: &MountEntry, exports: &impl Fn(&str) -> Option<&'e [String]>) -> Option<String> {
    let (owner, path) = entry.source.strip_prefix("/exports/")?.trim_end_matches('/').split_once('/')?;
    let offered = exports(owner).filter(|_| owner != own)?;
    let whole = offered.iter().any(|one| one.trim_matches('/') == path);
    let live = whole && entry.kernel_options().all(|option| LIVE.contains(&option));
    (!live).then(|| owner.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec::Vec;

    fn of(lines: &str) -> Vec<String> {
        let config = Config::parse(lines.as_bytes()).unwrap();
        let exports = ["/run/db".to_owned()];
        let all = neighbours("web", &config, |name| match name {
            "db" => Some(&exports[..]),
            "web" | "base" => Some(&[]),
            _ => None,
        });
        all.into_iter().collect()
    }

    #[test]
    fn volumes_of_others_count_and_ones_own_do_not() {
        let root =
            "lxc.rootfs.path = overlayfs:/volumes/web/a.squashfs:/volumes/base/b.squashfs:/volumes/web/o/upper\n";
        assert_eq!(of(root), ["base"]);
        assert_eq!(of("lxc.mount.entry = /volumes/db/data srv none bind 0 0\n"), ["db"]);
        assert_eq!(of("lxc.mount.entry = /volumes/gone/data srv none bind,optional 0 0\n"), [""; 0]);
        assert_eq!(of("lxc.mount.entry = /volumes/web/data srv none bind 0 0\n"), [""; 0]);
    }

    #[test]
    fn what_is_imported_whole_comes_and_goes_by_itself() {
        let entry =
            |path: &str, options: &str| of(&format!("lxc.mount.entry = /exports/{path} x none {options} 0 0\n"));
        assert_eq!(entry("db/run/db", "bind,create=dir"), [""; 0]);
        assert_eq!(entry("db/run/db", "bind,noexec"), ["db"]);
        assert_eq!(entry("db/run/db", "bind,private"), ["db"]);
        assert_eq!(entry("db/run/db/socket", "bind"), ["db"]);
    }
}
