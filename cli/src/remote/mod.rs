//! Devices and other repositories: `clone`, `get`, `merge`, `post`, `put` of states; `login`, `logout`.
//!
//! ```text
//!   device ──.pvrremote, state, objects──▶ checked ──▶ pool, .pvr/json              clone, get, merge
//!   device ◀──objects, then the revision── checked ◀── .pvr/json, pool              post, put
//!   device ──progress of the revision──▶ a person                                   post --wait
//! ```
//!
//! Nothing is half done: objects have their names only when they have the right bytes, and the state that names them
//! comes last, on both sides. A clone is built beside its place and renamed into it.
//!
//! | module | what |
//! |---|---|
//! | [`address`], [`Selector`] | what people type |
//! | [`info`], [`record`] | what a remote says about itself and about an object |
//! | [`about`] | the same, for a person |
//! | [`objects`] | objects between the pool and a remote |
//! | [`clone`](mod@clone), [`get`], [`post`], [`put`], [`fastcopy`](mod@fastcopy), [`wait`] | one command each; `merge` is a way to `get` |
//! | [`plan`](mod@plan) | what a post would do |
//! | [`login`] | pairing with a device |

pub mod about;
pub mod address;
pub mod clone;
pub mod fastcopy;
pub mod get;
pub mod info;
pub mod login;
pub mod objects;
pub(crate) mod origin;
pub mod plan;
pub mod post;
pub mod put;
pub mod record;
mod selector;
mod side_by_side;
pub mod wait;

pub use address::{Address, Place};
pub use selector::{Selector, is_in};
