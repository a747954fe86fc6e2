//! Bundles: a state, or parts of one, with its objects in one file. Existing tools call it a `pvrexport`.
//!
//! ```text
//!   json                 the canonical state, always with #spec      a tar; plain, or packed with gzip or zstd
//!   objects/<sha256>     each of its objects, once
//! ```
//!
//! What is written is sorted and knows neither clocks nor owners, so equal states are equal bytes. What is read may come from
//! anybody: its packing is told by its first bytes and not by its name, members stand in any order, and nothing gets a name
//! here that does not have the bytes for it. A signature travels as what it is, a part of the state.

mod read;
mod write;

pub use read::{Bundle, BundleError, Index, index};
pub use write::{Exported, Packing, Target, export};
