//! `pvr import compose`: containers made of a compose file.
//!
//! ```text
//!   files ──load──▶ one tree ──map──▶ plan ──make──▶ containers ──put──▶ the work tree
//!     include,       values know      │               fetched,            all or nothing
//!     extends, .env  their lines      └─▶ report      beside their places
//! ```
//!
//! Promises: nothing of a file is dropped without a line of the report, which names file and line. What cannot run, and
//! what needs a right that nobody has allowed, is said before anything is fetched. All containers are made before the first is
//! put in its place, and what fails leaves the work tree as it was.
//!
//! | module | what |
//! |---|---|
//! | [`yaml`], [`interpolate`], [`dotenv`], [`mod@load`] | from files to one tree |
//! | [`keys`] | every key, and what becomes of it |
//! | [`mod@map`], [`plan`], [`report`] | what it comes to, and what does not |
//! | [`put`] | making it so |

pub mod dotenv;
pub mod interpolate;
pub mod keys;
pub mod load;
pub mod map;
pub mod plan;
pub mod put;
pub mod report;
pub mod yaml;

mod at;
mod limits;
mod merge;
mod mounts;
mod net;
mod place;
mod process;
mod units;
mod world;

#[cfg(test)]
mod tests;

pub use load::{Loaded, Source, load};
pub use map::{Wishes, map};
pub use plan::Plan;
pub use put::{Done, Making, make};
pub use report::{Finding, Level, Report};
pub use world::RIGHTS;
