//! The packages that an image says it is made of, from the databases that package managers leave in it.
//!
//! | database | where | who |
//! |---|---|---|
//! | dpkg | `var/lib/dpkg/status`, files of `var/lib/dpkg/status.d` | Debian, Ubuntu, images without a shell |
//! | apk | `lib/apk/db/installed`, `usr/lib/apk/db/installed` | Alpine, OpenWrt |
//! | opkg | `usr/lib/opkg/status`, `var/lib/opkg/status` | Yocto, OpenWrt |
//! | rpm | `var/lib/rpm`, `usr/lib/sysimage/rpm` | seen, said, and not read |
//!
//! What is there and cannot be read is told with the reason, and so is an image without any of them. A database is read
//! whole or not at all: half a list would look like one.

pub mod apk;
mod control;
pub mod dpkg;
mod malformed;
pub mod opkg;
mod os;

pub use malformed::Malformed;
pub use os::Os;

use super::{ContentsError, Entry, Image, Kind};

/// Bytes of a database, at most. That of a workstation with all of its desktop has 10 million.
const DATABASE_MAX: u64 = 64 * 1024 * 1024;

/// Bytes of `os-release`, at most.
const OS_MAX: u64 = 64 * 1024;

/// One package, as its database has it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version, with all that belongs to it.
    pub version: String,
    /// What it was built for.
    pub architecture: Option<String>,
    /// What it was built from, if that has another name.
    pub source: Option<String>,
    /// Who maintains it, as `Name <address>`.
    pub maintainer: Option<String>,
    /// Its licence, as it stands there.
    pub license: Option<String>,
    /// Where it is from.
    pub homepage: Option<String>,
}

/// Which package manager.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Manager {
    /// Debian's.
    Dpkg,
    /// Alpine's.
    Apk,
    /// Yocto's.
    Opkg,
}

/// A database that was found and read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Database {
    /// Whose.
    pub manager: Manager,
    /// Where: a file, or a directory of files.
    pub path: &'static str,
    /// What is installed, sorted.
    pub packages: Vec<Package>,
}

/// What an image says about itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// Of which distribution it is.
    pub os: Option<Os>,
    /// Databases that were read.
    pub databases: Vec<Database>,
    /// Databases that are there and were not read: where, and why not.
    pub unread: Vec<(&'static str, String)>,
}

type Parser = fn(&[u8]) -> Result<Vec<Package>, Malformed>;

/// Databases that are one file.
const FILES: &[(Manager, &str, Parser)] = &[
    (Manager::Dpkg, "var/lib/dpkg/status", dpkg::status),
    (Manager::Apk, "lib/apk/db/installed", apk::installed),
    (Manager::Apk, "usr/lib/apk/db/installed", apk::installed),
    (Manager::Opkg, "usr/lib/opkg/status", opkg::status),
    (Manager::Opkg, "var/lib/opkg/status", opkg::status),
];

/// A database with a file for each package.
const DIRECTORY: &str = "var/lib/dpkg/status.d";

/// What is known and not read.
const RPM: &[&str] = &[
    "var/lib/rpm/rpmdb.sqlite",
    "var/lib/rpm/Packages",
    "var/lib/rpm/Packages.db",
    "usr/lib/sysimage/rpm/rpmdb.sqlite",
    "usr/lib/sysimage/rpm/Packages.db",
];

impl Manager {
    /// Its name, which is also that of a type of package URLs but for `dpkg`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dpkg => "dpkg",
            Self::Apk => "apk",
            Self::Opkg => "opkg",
        }
    }
}

/// Looks for databases in an image.
#[must_use]
pub fn find(image: &Image<'_>) -> Found {
    let mut found = Found { os: os(image), ..Found::default() };
    // Two paths may lead to one file: /lib is often a link.
    let mut seen = Vec::new();
    for (manager, path, parse) in FILES {
        let Some((at, entry)) = file(image, path) else { continue };
        if seen.contains(&at) {
            continue;
        }
        seen.push(at);
        let read = image.read(entry, DATABASE_MAX).map_err(|error| error.to_string());
        found.take(*manager, path, read.and_then(|bytes| parse(&bytes).map_err(|error| error.to_string())));
    }
    if let Some(read) = directory(image) {
        found.take(Manager::Dpkg, DIRECTORY, read);
    }
    for path in RPM.iter().filter(|path| file(image, path).is_some()) {
        found.unread.push((path, "databases of rpm are not read here".into()));
    }
    found
}

/// The databases of which an image has a file of its own, also if it cannot be read or is only a mark that it has gone.
#[must_use]
pub fn present(image: &Image<'_>) -> Vec<&'static str> {
    let all = FILES.iter().map(|(_, path, _)| *path).chain([DIRECTORY]).chain(RPM.iter().copied());
    all.filter(|path| image.entries().get(path.as_bytes()).is_some_and(|entry| entry.kind != Kind::Directory)).collect()
}

impl Found {
    fn take(&mut self, manager: Manager, path: &'static str, read: Result<Vec<Package>, String>) {
        match read {
            // What package managers write before anything is installed says nothing about the image.
            Ok(packages) if packages.is_empty() => {}
            Ok(mut packages) => {
                packages.sort();
                packages.dedup();
                self.databases.push(Database { manager, path, packages });
            }
            Err(why) => self.unread.push((path, why)),
        }
    }
}

fn file<'a>(image: &'a Image<'_>, path: &str) -> Option<(&'a [u8], &'a Entry)> {
    image.find(path.as_bytes()).filter(|(_, entry)| entry.kind == Kind::File)
}

/// The packages of images without a shell, which have a file each; beside it one with sums.
fn directory(image: &Image<'_>) -> Option<Result<Vec<Package>, String>> {
    let (at, _) = image.find(DIRECTORY.as_bytes()).filter(|(_, entry)| entry.kind == Kind::Directory)?;
    let files: Vec<_> = image.below(at).filter(|(path, _)| !path.ends_with(b".md5sums")).collect();
    let total = files.iter().map(|(_, entry)| entry.size).fold(0, u64::saturating_add);
    if total > DATABASE_MAX {
        return Some(Err(ContentsError::TooMuch { what: "bytes in a database", most: DATABASE_MAX }.to_string()));
    }
    let one = |(path, entry): (&[u8], &Entry)| {
        let wrong = |why: &dyn std::fmt::Display| format!("{}: {why}", super::shown(path));
        let bytes = image.read(entry, DATABASE_MAX).map_err(|error| wrong(&error))?;
        dpkg::one(&bytes).map_err(|error| wrong(&error))
    };
    let read: Result<Vec<Vec<Package>>, String> = files.into_iter().map(one).collect();
    Some(read.map(|all| all.into_iter().flatten().collect()))
}

fn os(image: &Image<'_>) -> Option<Os> {
    let (_, entry) = file(image, "etc/os-release").or_else(|| file(image, "usr/lib/os-release"))?;
    // It makes names of packages richer and says nothing of its own.
    image.read(entry, OS_MAX).ok().and_then(|bytes| os::release(&bytes))
}
