//! How much of an image is believed: bounds that hold before memory or disk is used.

use std::time::Duration;

/// Bounds on one image. What is beyond them is refused, and the message says which bound it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// A manifest, an index or a configuration, in bytes. Registries stop at 4 MiB.
    pub document: usize,
    /// Layers of an image. Engines stop at 127.
    pub layers: usize,
    /// All layers as they travel, and again all layers unpacked, in bytes.
    pub bytes: u64,
    /// Entries of all layers, and files of the result.
    pub entries: usize,
    /// One header with long names and attributes, in bytes.
    pub header: usize,
    /// Names, links and attributes of the result together, in bytes: they are held in memory.
    pub names: usize,
    /// How often a request is made again without a byte of progress.
    pub retries: u32,
    /// How long a server may say nothing.
    pub silence: Duration,
}

impl Limits {
    /// What images for devices stay far below.
    pub const DEFAULT: Self = Self {
        document: 4 * 1024 * 1024,
        layers: 256,
        bytes: 16 * 1024 * 1024 * 1024,
        entries: 1_000_000,
        header: 1024 * 1024,
        names: 512 * 1024 * 1024,
        retries: 4,
        silence: Duration::from_secs(30),
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
