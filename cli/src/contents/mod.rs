//! What is inside of objects: the files of images, and the packages that they say they are made of.
//!
//! ```text
//!   object ─▶ medium ─▶ file system ─▶ image: path → kind, mode, owner, size, attributes
//!                       squashfs                ├─▶ changes   what differs between two of them
//!                                               └─▶ packages  dpkg, apk, opkg ─▶ sbom
//! ```
//!
//! Nothing is mounted or extracted, and nobody needs to be root. An image is read as what somebody sent: names, numbers
//! and lengths are bounded by [`Limits`](crate::image::Limits) before memory or time is spent on them, what cannot be is
//! refused with the reason, and contents pass through in blocks. What is held is a list of names.
//!
//! | module | what |
//! |---|---|
//! | [`medium`], `squashfs` | bytes, and what they are as a file system |
//! | [`Image`], [`Entry`] | the list of an image |
//! | [`mod@changes`], [`states`], [`mod@layers`], [`apps`] | what differs between two images, two states, two builds of an app, and before and after an update |
//! | [`packages`] | what package managers have left in an image |

pub mod apps;
pub mod changes;
mod entry;
mod error;
mod image;
pub mod layers;
pub mod medium;
pub mod packages;
mod squashfs;
pub mod states;

pub use changes::{Changes, changes};
pub use entry::{Entry, Kind, shown};
pub use error::ContentsError;
pub use image::Image;
