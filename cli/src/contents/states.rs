//! What differs between two states, down to the files inside of their images.
//!
//! Objects come from wherever the state does: a pool, the work tree, a bundle. Each is checked against its name before it
//! is looked into. What cannot be looked into is told as a whole, with the reason if it is an image.

use std::path::PathBuf;

use formats::object::ObjectId;

use super::changes::{Changes, Which, changes};
use super::error::ContentsError;
use super::image::Image;
use super::medium::{Medium as _, Span};
use crate::bundle::Bundle;
use crate::error::{Error, Result};
use crate::image::Limits;
use crate::repo::Pool;
use crate::repo::pool::hash_medium;
use crate::state::{State, object_id};
use crate::watch::Watch;

/// Where the objects of a state are.
#[derive(Debug)]
pub enum Objects {
    /// In a pool.
    Pool(Pool),
    /// In a work tree, under the names that the state has for them.
    Tree(PathBuf),
    /// In a bundle.
    Bundle(Bundle),
}

/// A state, and where its objects are.
#[derive(Debug)]
pub struct Side {
    /// The state.
    pub state: State,
    /// Its objects.
    pub objects: Objects,
}

/// One path of a state that differs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// The path.
    pub path: String,
    /// Bytes that it had; none if it was not there.
    pub from: Option<u64>,
    /// Bytes that it has; none if it is gone.
    pub to: Option<u64>,
    /// What is known about its inside.
    pub inside: Inside,
}

/// What is known about the inside of a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Inside {
    /// It is JSON, or an object that is no image: there is none.
    Nothing,
    /// Only one side has it, and it is an image with so many names.
    Names(usize),
    /// Both sides have it, and both are images.
    Changes(Changes),
    /// One of the images could not be read; the reason, with what was or what is.
    Unread(String),
}

impl Side {
    /// An object by its key.
    ///
    /// # Errors
    /// It is not there, or does not have the bytes that its name says.
    pub fn open(&self, key: &str, id: ObjectId, watch: &dyn Watch) -> Result<Span> {
        let span = match &self.objects {
            Objects::Pool(pool) => pool.span(id, key)?,
            Objects::Tree(root) => Span::open(&root.join(key))?,
            Objects::Bundle(bundle) => bundle.span(id, key)?,
        };
        watch.begin("hashing", span.len());
        let found = hash_medium(&span, watch);
        watch.end();
        let found = found.map_err(|error| Error::user(format!("{key}: its object {id} cannot be read: {error}")))?;
        if found == id {
            return Ok(span);
        }
        Err(match &self.objects {
            Objects::Tree(_) => Error::user(format!("{key} changed while it was being looked at"))
                .hint("run the command again when nothing writes to it"),
            Objects::Pool(_) | Objects::Bundle(_) => {
                Error::user(format!("{key}: its object {id} does not have the bytes that its name says"))
                    .hint("it is damaged; get it again from where the state came from")
            }
        })
    }
}

/// Compares two states.
///
/// # Errors
/// An object that differs is missing or damaged. An image that cannot be read is none: see [`Inside::Unread`].
pub fn differences(old: &Side, new: &Side, watch: &dyn Watch) -> Result<Vec<Difference>> {
    let keys =
        old.state.files().chain(new.state.files()).map(|(key, _)| key).collect::<std::collections::BTreeSet<_>>();
    let mut found = Vec::new();
    for key in keys {
        let (from, to) = (old.state.get(key), new.state.get(key));
        let same = match (from, to) {
            (Some(from), Some(to)) => from.canonical() == to.canonical(),
            _ => false,
        };
        if same {
            continue;
        }
        let open = |side: &Side| -> Result<Option<Span>> {
            let id = side.state.get(key).filter(|_| side.state.is_object(key)).and_then(object_id);
            id.map(|id| side.open(key, id, watch)).transpose()
        };
        let text = |value: Option<&formats::json::Json>| value.map(|value| value.canonical().len() as u64);
        let (was, is) = (open(old)?, open(new)?);
        let from = was.as_ref().map(|span| span.len()).or_else(|| text(from));
        let to = is.as_ref().map(|span| span.len()).or_else(|| text(to));
        let inside = inside(was, is, watch);
        found.push(Difference { path: key.into(), from, to, inside });
    }
    Ok(found)
}

/// Compares two objects, of which one may be missing.
#[must_use]
pub fn inside(old: Option<Span>, new: Option<Span>, watch: &dyn Watch) -> Inside {
    let image = |span: Option<Span>| match span.map(|span| Image::open(span, Limits::DEFAULT)) {
        None => Ok(None),
        Some(opened) => opened,
    };
    let both = old.is_some() && new.is_some();
    let unread = |which, error: ContentsError| {
        Inside::Unread(match which {
            Which::Old => format!("the old image: {error}"),
            Which::New => format!("the new image: {error}"),
        })
    };
    let (old, new) = match (image(old), image(new)) {
        (Err(error), _) => return unread(Which::Old, error),
        (_, Err(error)) => return unread(Which::New, error),
        (Ok(old), Ok(new)) => (old, new),
    };
    match (old, new) {
        (Some(old), Some(new)) => match changes(&old, &new, watch) {
            Ok(changes) => Inside::Changes(changes),
            Err((which, error)) => unread(which, error),
        },
        (Some(image), None) | (None, Some(image)) if !both => Inside::Names(image.entries().len()),
        _ => Inside::Nothing,
    }
}
