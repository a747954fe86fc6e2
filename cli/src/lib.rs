//! `pvr`: device states on the workstation, in the repository format that existing tools read and write.
//!
//! ```text
//!   work tree ──add──▶ .pvr/new ──commit──▶ .pvr/json + objects ──deploy──▶ a trail
//!       ▲                          signs, checks │
//!       └──────────────── reset ─────────────────┘
//! ```
//!
//! Promises: a library that does and never prints. What changes a repository holds its lock, computes the new value
//! whole, checks it as a device would, and puts it in place with one rename at the end; what fails before that has
//! changed nothing that is read. Time, randomness, directories and progress are arguments. The binary parses, prints
//! and exits.
//!
//! | module | what |
//! |---|---|
//! | [`repo`] | `.pvr/`: the committed state, what is staged, the pool, the lock |
//! | [`state`], [`worktree`], [`compare`] | a state as text, the files beside it, and what differs |
//! | [`add`], [`commit`], [`reset`], [`diff`], [`deploy`] | one command each |
//! | [`check`] | what a device would refuse |
//! | [`doctor`](mod@doctor) | what would stop one from working |
//! | [`history`] | what was committed here, and the states of then |
//! | [`verify`](mod@verify) | all of what a device would refuse, of a state anywhere |
//! | [`remote`], [`http`] | devices and other repositories: `clone`, `get`, `merge`, `post`, `put`, `login` |
//! | [`bundle`] | states and their objects in files: `export`, `import` |
//! | [`app`], [`image`] | containers made of images |
//! | [`compose`] | containers made of a compose file: `import compose` |
//! | [`scan`] | devices that announce themselves |
//! | [`profile`] | what a person says once about servers |
//! | [`verity`] | images that devices check block by block: `dm` |
//! | [`contents`], [`sbom`] | what is inside of objects, and the list of it |
//! | [`cache`] | what was fetched or made once |
//! | [`sign`] | the developer's key, what a commit signs, `sig` |
#![forbid(unsafe_code)]

pub mod add;
pub mod app;
pub mod bundle;
pub mod cache;
pub mod check;
pub mod commit;
pub mod compare;
pub mod compose;
pub mod contents;
pub mod deploy;
pub mod diff;
pub mod doctor;
pub mod error;
pub mod history;
pub mod http;
pub mod image;
pub mod profile;
pub mod remote;
pub mod repo;
pub mod reset;
mod rights;
pub mod sbom;
pub mod scan;
pub mod seccomp;
pub mod sign;
pub mod state;
pub mod verify;
pub mod verity;
pub mod watch;
pub mod worktree;

pub use error::{Error, ErrorKind, Result};
