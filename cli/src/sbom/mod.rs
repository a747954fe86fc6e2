//! `pvr sbom`: what a state is made of, for whoever has to look for a vulnerability or a licence in it.
//!
//! ```text
//!   state ─▶ container ─▶ object, by its SHA-256 ─▶ packages of the databases in it
//!              └─▶ image that it was made of
//! ```
//!
//! It is a function of the state: equal states are equal bytes. No clock is in it; its time is that of the newest image,
//! or the one that is asked for. Every object is listed. Of one that was not looked into, or of which something could not
//! be read, that is said in the document and to whoever asked for it.

mod collect;
mod license;
mod purl;
mod spdx;

pub use collect::{Component, Inventory, Object, Reading, collect};
pub use spdx::document;

#[doc(hidden)]
pub use purl::purl;
