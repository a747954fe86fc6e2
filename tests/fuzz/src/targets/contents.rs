//! Images, and the databases of package managers in them.

use cli::contents::packages::{Malformed, Manager, Package, apk, dpkg, opkg};
use cli::contents::{Image, Kind, shown};
use cli::image::Limits;
use cli::sbom::purl;

/// Small, so that a bound is met more often than a minute is over.
const LIMITS: Limits = Limits { entries: 2048, names: 256 * 1024, bytes: 4 * 1024 * 1024, ..Limits::DEFAULT };

pub(crate) fn squashfs(bytes: &[u8]) {
    let Ok(Some(image)) = Image::open(bytes, LIMITS) else { return };
    for (path, entry) in image.entries() {
        let outside = |part: &[u8]| matches!(part, b"" | b"." | b"..") || part.contains(&0);
        assert!(path.is_empty() || !path.split(|byte| *byte == b'/').any(outside), "{path:?}");
        let above = path.iter().rposition(|byte| *byte == b'/').map_or(&b""[..], |slash| &path[..slash]);
        assert_eq!(image.entries().get(above).map(|entry| &entry.kind), Some(&Kind::Directory), "{path:?}");
        assert!(!shown(path).contains(char::is_control));
        if entry.kind == Kind::File
            && let Ok(contents) = image.read(entry, u64::MAX)
        {
            assert_eq!(contents.len() as u64, entry.size);
        }
        // Wherever it leads, it leads to something of the list.
        assert!(image.find(path).is_none_or(|(to, _)| image.entries().contains_key(to)));
    }
}

pub(crate) fn dpkg(bytes: &[u8]) {
    law(bytes, dpkg::status, Manager::Dpkg, |it| {
        format!("Package: {}\nStatus: install ok installed\nVersion: {}\n\n", it.name, it.version)
    });
    let _ = dpkg::one(bytes);
}

pub(crate) fn opkg(bytes: &[u8]) {
    law(bytes, opkg::status, Manager::Opkg, |it| {
        format!("Package: {}\nStatus: install user installed\nVersion: {}\n\n", it.name, it.version)
    });
}

pub(crate) fn apk(bytes: &[u8]) {
    law(bytes, apk::installed, Manager::Apk, |it| format!("P:{}\nV:{}\n\n", it.name, it.version));
}

/// What was read can be written and read again, and its URL is one word with its parts where they belong.
fn law(
    bytes: &[u8],
    read: fn(&[u8]) -> Result<Vec<Package>, Malformed>,
    manager: Manager,
    write: fn(&Package) -> String,
) {
    let Ok(packages) = read(bytes) else { return };
    let again = read(packages.iter().map(write).collect::<String>().as_bytes()).expect("what was written is read");
    let names = |all: &[Package]| all.iter().map(|it| (it.name.clone(), it.version.clone())).collect::<Vec<_>>();
    assert_eq!(names(&packages), names(&again));
    for package in &packages {
        let url = purl(manager, None, package);
        assert!(url.bytes().all(|byte| byte.is_ascii_graphic()) && !url.contains('#'), "{url}");
        assert_eq!((url.matches('@').count(), url.matches('?').count() <= 1), (1, true), "{url}");
    }
}
