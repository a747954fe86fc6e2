//! Container images: found by name, fetched with every byte checked, made one file system, written as one file.
//!
//! ```text
//!   reference ─▶ source ─▶ manifest ─▶ config
//!                               └────▶ layers ─▶ unpacked tars ─▶ tree ─▶ canonical tar ─▶ squashfs or EROFS
//!                                 digests checked │      never extracted │     the same bytes for the same image
//! ```
//!
//! Nothing of an image ever becomes a path of the host: layers are unpacked to files without a name, a tree in memory
//! says what is where in them, and the tool that writes the file system gets one tar on its standard input. So it needs
//! no root and no `fakeroot`, and a hostile image can be wrong but not reach out.
//!
//! | module | what |
//! |---|---|
//! | [`mod@reference`], [`manifest`], [`digest`] | names and documents |
//! | [`source`], [`layout`], [`registry`], [`daemon`], [`order`] | where images are |
//! | [`cosign`] | who has signed them |
//! | [`rootfs`] | files that are no image |
//! | [`mod@pull`], `fetch` | from a source to a tree, by way of the [cache](crate::cache) |
//! | [`tar`], [`flatten`], [`tree`] | layers |
//! | `difference` | what lies over one image to make it another |
//! | [`mod@pack`], [`squashfs`], [`erofs`] | the result |
//! | [`listing`] | what is in a result |
//! | [`finished`] | results that were made before |

pub mod cosign;
pub mod daemon;
mod difference;
pub mod digest;
pub mod erofs;
mod fetch;
pub mod finished;
pub mod flatten;
pub mod layout;
mod limits;
pub mod listing;
pub mod manifest;
pub mod order;
pub mod pack;
pub mod pull;
pub mod reference;
pub mod registry;
pub mod rootfs;
pub mod source;
pub mod squashfs;
pub mod tar;
pub mod tree;
pub(crate) mod unpack;

pub use difference::difference;
pub use limits::Limits;
pub use pull::{Described, Image, describe, pull};
