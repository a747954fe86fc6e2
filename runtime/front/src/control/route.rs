//! Paths of `pv-ctrl`, as the things they name.
//!
//! Promises: components are compared whole, never by a prefix and never as a pattern; what comes out is a checked name.
//! A path that is a route, written again, is the same path ([`Route`] is `Display`).

use std::fmt;

use formats::control::{LogFrom, LogPlace};
use formats::log_times::Since;
use formats::metadata::{Key, Metadata};
use formats::object::ObjectId;
use formats::path::ContainerName;
use statemachine::ids::RevisionId;

/// What a path names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Route {
    /// `/device`
    Device,
    /// `/containers`
    Containers,
    /// `/containers/NAME`
    Container(ContainerName),
    /// `/containers/NAME/programs`
    Programs(ContainerName),
    /// `/containers/NAME/console`
    Console(ContainerName),
    /// `/programs/N`
    Program(u32),
    /// `/containers/NAME/log`, and from a place on: `/containers/NAME/log/FILE-OFFSET`
    Log(ContainerName, LogFrom, bool),
    /// `/groups`
    Groups,
    /// `/signal`
    Signal,
    /// `/objects`
    Objects,
    /// `/objects/SHA256`
    Object(ObjectId),
    /// `/steps`
    Steps,
    /// `/steps/REVISION`
    Step(StepName),
    /// `/steps/REVISION/progress`
    Progress(StepName),
    /// `/steps/REVISION/commitmsg`
    Message(StepName),
    /// `/commands`
    Commands,
    /// `/buildinfo`
    BuildInfo,
    /// `/daemons`
    Daemons,
    /// `/daemons/NAME`
    Daemon(ContainerName),
    /// `/storage/gc`
    Collect,
    /// `/selftest`
    Selftest,
    /// `/xconnect-graph`
    Graph,
    /// `/drivers`
    Drivers,
    /// `/drivers/load`, `/drivers/NAME/unload`: which, and whether they are loaded
    ActOnDrivers(Option<String>, bool),
    /// `/user-meta`, `/device-meta`
    AllMetadata(Metadata),
    /// `/user-meta/KEY`, `/device-meta/KEY`
    Metadata(Metadata, Key),
    /// `/pairings`
    Pairings,
    /// `/pairings/ID`: a fingerprint or a name
    Pairing(String),
}

/// Which revision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StepName {
    /// `current`: the one that runs.
    Current,
    /// This one.
    Named(RevisionId),
}

/// Why a path names nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RouteError {
    /// There is no such endpoint.
    Unknown,
    /// The endpoint is known; what is named below it cannot exist. The text says why.
    Name(String),
}

/// Finds what a path names.
///
/// # Errors
/// [`RouteError`]
pub fn route(path: &str) -> Result<Route, RouteError> {
    let mut components = path.strip_prefix('/').ok_or(RouteError::Unknown)?.split('/');
    let first = components.next().unwrap_or_default();
    let rest: Vec<&str> = components.collect();
    Ok(match (first, rest.as_slice()) {
        ("device", []) => Route::Device,
        ("containers", []) => Route::Containers,
        ("containers", [container]) => Route::Container(name(container)?),
        ("containers", [container, "programs"]) => Route::Programs(name(container)?),
        ("containers", [container, "console"]) => Route::Console(name(container)?),
        ("containers", [container, kind @ ("log" | "timed-log"), from @ ..]) if from.len() < 2 => {
            let from = from.first().map_or(Ok(LogFrom::Oldest), |from| self::from(from))?;
            Route::Log(name(container)?, from, *kind == "timed-log")
        }
        ("programs", [number]) => Route::Program(self::number(number)?),
        ("groups", []) => Route::Groups,
        ("signal", []) => Route::Signal,
        ("objects", []) => Route::Objects,
        ("objects", [id]) => Route::Object(object(id)?),
        ("steps", []) => Route::Steps,
        ("steps", ["locals", _, _, _, ..]) => return Err(RouteError::Unknown),
        ("steps", [name @ .., "progress"]) if !name.is_empty() => Route::Progress(step(name)?),
        ("steps", [name @ .., "commitmsg"]) if !name.is_empty() => Route::Message(step(name)?),
        ("steps", name) => Route::Step(step(name)?),
        ("commands", []) => Route::Commands,
        ("buildinfo", []) => Route::BuildInfo,
        ("daemons", []) => Route::Daemons,
        ("daemons", [daemon]) => Route::Daemon(name(daemon)?),
        ("storage", ["gc"]) => Route::Collect,
        ("selftest", []) => Route::Selftest,
        ("xconnect-graph", []) => Route::Graph,
        ("drivers", []) => Route::Drivers,
        ("drivers", [name @ .., action @ ("load" | "unload")]) if name.len() < 2 => {
            let name = name.first().map(|name| driver(name)).transpose()?;
            Route::ActOnDrivers(name, *action == "load")
        }
        (word, []) if let Some(of) = whose(word) => Route::AllMetadata(of),
        (word, [key]) if let Some(of) = whose(word) => {
            Route::Metadata(of, Key::parse(key).map_err(|error| RouteError::Name(error.to_string()))?)
        }
        ("pairings", []) => Route::Pairings,
        ("pairings", [who]) => Route::Pairing(pairing(who)?),
        _ => return Err(RouteError::Unknown),
    })
}

fn name(text: &str) -> Result<ContainerName, RouteError> {
    ContainerName::parse(text).map_err(|error| RouteError::Name(error.to_string()))
}

fn number(text: &str) -> Result<u32, RouteError> {
    let wrong = || RouteError::Name("a program is named by the number that it was given".into());
    text.parse().ok().filter(|number: &u32| number.to_string() == text).ok_or_else(wrong)
}

fn driver(name: &str) -> Result<String, RouteError> {
    let checked = formats::path::component(name).map_err(|error| RouteError::Name(error.to_string()));
    checked.map(|()| name.into())
}

fn whose(word: &str) -> Option<Metadata> {
    Metadata::ALL.into_iter().find(|of| of.word() == word)
}

fn from(text: &str) -> Result<LogFrom, RouteError> {
    let wrong = || {
        let forms = "a place in a log is the one that came with the piece before, or boot, ago-SECONDS, at-SECONDS";
        RouteError::Name(forms.into())
    };
    if let Some(since) = Since::parse(text) {
        return Ok(LogFrom::Since(since));
    }
    let place = text
        .split_once('-')
        .and_then(|(file, offset)| Some(LogPlace { file: file.parse().ok()?, offset: offset.parse().ok()? }));
    place.filter(|place| shown(*place) == text).map(LogFrom::After).ok_or_else(wrong)
}

/// A place in a log, as it stands in a path.
pub(crate) fn shown(place: LogPlace) -> String {
    format!("{}-{}", place.file, place.offset)
}

fn pairing(text: &str) -> Result<String, RouteError> {
    let wrong = || RouteError::Name("a pairing is named by its fingerprint or its name".into());
    formats::pairing::is_name(text).then(|| text.into()).ok_or_else(wrong)
}

/// Reads the name of an object in a path.
pub(crate) fn object(text: &str) -> Result<ObjectId, RouteError> {
    let wrong = || RouteError::Name("an object is named by its SHA-256 in 64 lower-case hexadecimal digits".into());
    ObjectId::parse(text).ok_or_else(wrong)
}

/// Reads the components of a path that name a revision.
pub(crate) fn step(components: &[&str]) -> Result<StepName, RouteError> {
    match components {
        ["current"] => Ok(StepName::Current),
        [_] | ["locals", _] => match RevisionId::parse(&components.join("/")) {
            Ok(revision) => Ok(StepName::Named(revision)),
            Err(error) => Err(RouteError::Name(error.to_string())),
        },
        _ => Err(RouteError::Unknown),
    }
}

impl StepName {
    /// What the calls of PID 1 take: `None` is what runs.
    #[must_use]
    pub fn revision(self) -> Option<RevisionId> {
        match self {
            Self::Current => None,
            Self::Named(revision) => Some(revision),
        }
    }
}

impl fmt::Display for StepName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current => f.write_str("current"),
            Self::Named(revision) => revision.fmt(f),
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device => f.write_str("/device"),
            Self::Containers => f.write_str("/containers"),
            Self::Container(name) => write!(f, "/containers/{}", name.as_str()),
            Self::Programs(name) => write!(f, "/containers/{}/programs", name.as_str()),
            Self::Console(name) => write!(f, "/containers/{}/console", name.as_str()),
            Self::Log(name, from, timed) => {
                let kind = if *timed { "timed-log" } else { "log" };
                write!(f, "/containers/{}/{kind}", name.as_str())?;
                match from {
                    LogFrom::Oldest => Ok(()),
                    LogFrom::After(place) => write!(f, "/{}", shown(*place)),
                    LogFrom::Since(since) => write!(f, "/{since}"),
                }
            }
            Self::Program(number) => write!(f, "/programs/{number}"),
            Self::Groups => f.write_str("/groups"),
            Self::Signal => f.write_str("/signal"),
            Self::Objects => f.write_str("/objects"),
            Self::Object(id) => write!(f, "/objects/{id}"),
            Self::Steps => f.write_str("/steps"),
            Self::Step(step) => write!(f, "/steps/{step}"),
            Self::Progress(step) => write!(f, "/steps/{step}/progress"),
            Self::Message(step) => write!(f, "/steps/{step}/commitmsg"),
            Self::Commands => f.write_str("/commands"),
            Self::BuildInfo => f.write_str("/buildinfo"),
            Self::Daemons => f.write_str("/daemons"),
            Self::Daemon(name) => write!(f, "/daemons/{}", name.as_str()),
            Self::Collect => f.write_str("/storage/gc"),
            Self::Selftest => f.write_str("/selftest"),
            Self::Graph => f.write_str("/xconnect-graph"),
            Self::Drivers => f.write_str("/drivers"),
            Self::ActOnDrivers(name, load) => {
                f.write_str("/drivers")?;
                name.iter().try_for_each(|name| write!(f, "/{name}"))?;
                f.write_str(if *load { "/load" } else { "/unload" })
            }
            Self::AllMetadata(of) => write!(f, "/{}", of.word()),
            Self::Metadata(of, key) => write!(f, "/{}/{key}", of.word()),
            Self::Pairings => f.write_str("/pairings"),
            Self::Pairing(who) => write!(f, "/pairings/{who}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(name: &str) -> StepName {
        StepName::Named(RevisionId::parse(&format!("locals/{name}")).unwrap())
    }

    #[test]
    fn a_path_names_one_thing_and_is_written_as_it_was_read() {
        let id = "ab".repeat(32);
        for path in [
            "/device",
            "/containers",
            "/containers/web",
            "/containers/web/programs",
            "/programs/7",
            "/containers/web/console",
            "/containers/web/log",
            "/containers/web/log/boot",
            "/containers/web/timed-log",
            "/containers/web/timed-log/at-1763805600",
            "/containers/web/timed-log/1-2",
            "/containers/web/log/0-18446744073709551615",
            "/groups",
            "/signal",
            "/objects",
            &format!("/objects/{id}"),
            "/steps",
            "/steps/current",
            "/steps/current/progress",
            "/steps/7",
            "/steps/locals/app-1",
            "/steps/locals/app-1/progress",
            "/steps/locals/app-1/commitmsg",
            "/commands",
            "/buildinfo",
            "/daemons",
            "/daemons/front",
            "/storage/gc",
            "/xconnect-graph",
            "/drivers",
            "/drivers/load",
            "/drivers/unload",
            "/drivers/wifi/load",
            "/drivers/load/unload",
            "/pairings",
            "/pairings/me@my-host",
            "/user-meta",
            "/device-meta",
            "/device-meta/pvr-sdk.authorized_keys",
        ] {
            assert_eq!(route(path).map(|route| route.to_string()), Ok(path.into()));
        }
    }

    #[test]
    fn a_revision_may_be_called_like_an_endpoint() {
        assert_eq!(route("/steps/locals/progress"), Err(RouteError::Name(route_error("locals"))));
        assert_eq!(route("/steps/locals/progress/progress"), Ok(Route::Progress(local("progress"))));
        assert_eq!(route("/steps/locals/x/commitmsg"), Ok(Route::Message(local("x"))));
    }

    fn route_error(name: &str) -> String {
        RevisionId::parse(name).unwrap_err().to_string()
    }

    #[test]
    fn a_beginning_or_a_pattern_of_a_name_is_not_the_name() {
        for path in [
            "/programs/07",
            "/programs/+7",
            "/programs/-1",
            "/programs/4294967296",
            "/programs/",
            "/containers/a/log/1",
            "/containers/a/log/ago-01",
            "/containers/a/timed-log/1-",
            "/containers/a/log/-1",
            "/containers/a/log/01-1",
        ] {
            assert!(matches!(route(path), Err(RouteError::Name(_))), "{path}");
        }
        for path in ["/", "/container", "/containers/", "/containers/web/", "//containers", "/steps/", "/steps/locals/"]
        {
            assert!(route(path).is_err(), "{path}");
        }
        for path in [
            "/{}",
            "/wakelocks",
            "/device-meta/a/b",
            "/storage",
            "/storage/gc/x",
            "/containers?x",
            "/drivers/wifi",
            "/drivers/a/b/load",
            "/steps/locals/a/b/c",
        ] {
            assert_eq!(route(path), Err(RouteError::Unknown), "{path}");
        }
    }

    #[test]
    fn no_name_leads_out_of_its_place() {
        let long = "a".repeat(300);
        for name in ["..", ".", "{}", "%2e%2e", &long] {
            assert!(matches!(route(&format!("/containers/{name}")), Err(RouteError::Name(_))), "{name}");
            assert!(matches!(route(&format!("/steps/locals/{name}")), Err(RouteError::Name(_))), "{name}");
            assert!(matches!(route(&format!("/objects/{name}")), Err(RouteError::Name(_))), "{name}");
            assert!(matches!(route(&format!("/user-meta/{name}")), Err(RouteError::Name(_))), "{name}");
            assert!(matches!(route(&format!("/pairings/{name}")), Err(RouteError::Name(_))), "{name}");
        }
    }
}
