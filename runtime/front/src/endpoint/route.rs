//! Paths of the endpoint, as the things they name.
//!
//! ```text
//!   [/cgi-bin[/pvr]]/.pvrremote                 what follows, as absolute URLs
//!   [/cgi-bin[/pvr]]/pair                       where a code becomes a token, and a token is given back
//!   /cgi-bin/pvr/steps/REVISION/state           a state
//!   /cgi-bin/pvr/steps/REVISION/progress        how far the update to it is
//!   /cgi-bin/pvr/objects/[SHA256[/bytes]]       records of objects, and the objects themselves
//!   /cgi-bin/pvr/post                           a new revision
//! ```

use std::fmt;

use formats::object::ObjectId;
use statemachine::ids::RevisionId;

use crate::control::route::{RouteError, StepName, object, step};

/// Below this everything lies, whatever of its beginnings a client was given.
pub const BASE: &str = "/cgi-bin/pvr";

/// What a path names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Route {
    /// The entry: what else there is.
    Remote,
    /// Where a code becomes a token.
    Pair,
    /// The state of a revision.
    State(StepName),
    /// How far the update to a revision is.
    Progress(RevisionId),
    /// All objects.
    Objects,
    /// The record of an object.
    Record(ObjectId),
    /// The bytes of an object.
    Bytes(ObjectId),
    /// Where a new revision is posted.
    Post,
}

/// Finds what a path names.
///
/// # Errors
/// [`RouteError`]
pub fn route(path: &str) -> Result<Route, RouteError> {
    if matches!(path, "/.pvrremote" | "/cgi-bin/.pvrremote") {
        return Ok(Route::Remote);
    }
    if matches!(path, "/pair" | "/cgi-bin/pair") {
        return Ok(Route::Pair);
    }
    let below = path.strip_prefix(BASE).and_then(|rest| rest.strip_prefix('/')).ok_or(RouteError::Unknown)?;
    let components: Vec<&str> = below.split('/').collect();
    Ok(match components.as_slice() {
        [".pvrremote"] => Route::Remote,
        ["pair"] => Route::Pair,
        ["steps", name @ .., "state"] if !name.is_empty() => Route::State(step(name)?),
        ["steps", name @ .., "progress"] if !name.is_empty() => match step(name)? {
            StepName::Named(revision) => Route::Progress(revision),
            StepName::Current => return Err(RouteError::Unknown),
        },
        // Clients add the slash where they post a record.
        ["objects"] | ["objects", ""] => Route::Objects,
        ["objects", id] => Route::Record(object(id)?),
        ["objects", id, "bytes"] => Route::Bytes(object(id)?),
        ["post"] => Route::Post,
        _ => return Err(RouteError::Unknown),
    })
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remote => write!(f, "{BASE}/.pvrremote"),
            Self::Pair => write!(f, "{BASE}/pair"),
            Self::State(name) => write!(f, "{BASE}/steps/{name}/state"),
            Self::Progress(name) => write!(f, "{BASE}/steps/{name}/progress"),
            Self::Objects => write!(f, "{BASE}/objects"),
            Self::Record(id) => write!(f, "{BASE}/objects/{id}"),
            Self::Bytes(id) => write!(f, "{BASE}/objects/{id}/bytes"),
            Self::Post => write!(f, "{BASE}/post"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_is_where_any_client_looks() {
        for base in ["", "/cgi-bin", "/cgi-bin/pvr"] {
            assert_eq!(route(&format!("{base}/.pvrremote")), Ok(Route::Remote));
            assert_eq!(route(&format!("{base}/pair")), Ok(Route::Pair));
        }
    }

    #[test]
    fn a_route_is_found_where_it_says_it_is() {
        let id = ObjectId::of(b"");
        for found in [
            Route::Remote,
            Route::Pair,
            Route::State(StepName::Current),
            Route::Progress(RevisionId::parse("locals/x").unwrap()),
            Route::Objects,
            Route::Record(id),
            Route::Bytes(id),
            Route::Post,
        ] {
            assert_eq!(route(&found.to_string()), Ok(found));
        }
        assert_eq!(route("/cgi-bin/pvr/objects/"), Ok(Route::Objects));
        assert!(matches!(route("/cgi-bin/pvr/steps/locals/x/state"), Ok(Route::State(StepName::Named(_)))));
    }

    #[test]
    fn nothing_else_is_served() {
        for path in
            ["/", "/app", "/objects", "/cgi-bin/pvrlocal", "/cgi-bin/pvr", "/cgi-bin/pvr/", "/cgi-bin/pvr/steps/state"]
        {
            assert!(route(path).is_err(), "{path}");
        }
    }
}
