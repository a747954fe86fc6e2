//! The cases, by the parts of the specification.

pub(crate) mod groups;
pub(crate) mod hooks;
pub(crate) mod lifecycle;
pub(crate) mod linux;
pub(crate) mod mounts;
pub(crate) mod namespaces;
pub(crate) mod process;
