//! Images made of what the distribution has, so that nothing here needs a registry on the internet.

pub(crate) mod contents;
pub(crate) mod oci;
mod services;
pub(crate) mod systems;
pub(crate) mod tree;
