//! A tree as squashfs.
//!
//! `mksquashfs -tar` (squashfs-tools 4.5 or later) keeps what other writers lose: extended attributes, above all file
//! capabilities. It is the same program as `sqfstar`, which in 4.5 takes no option of a compressor that has a value. Of a
//! tar it takes no root, and makes one with mode 0755, owner 0 and the time of its clock; the only way to another time is
//! `SOURCE_DATE_EPOCH`, which is also the time of the file system and the latest that a file can have.

use std::path::Path;

use super::Image;
use super::pack::Tool;
pub use super::pack::{Times, entry};
use crate::error::Result;
use crate::watch::Watch;

/// How images are packed where nobody says otherwise: what every kernel with squashfs of existing devices reads.
pub const PACKED: &[&str] = &["-comp", "xz"];

/// Writes the files of an image. `options` are for the tool.
///
/// # Errors
/// The tool is missing or fails, a file of the image cannot be read, or the image is from the future.
pub fn write(image: &Image, target: &Path, times: Times, options: &[&str], watch: &dyn Watch) -> Result<()> {
    let epoch = times.epoch(image)?.to_string();
    let tool = Tool {
        program: "mksquashfs",
        install: "install squashfs-tools, 4.5 or later: apt-get install squashfs-tools",
        older: "it may lack an option or a compressor: see `mksquashfs -help`; the package is squashfs-tools, 4.5 or later",
        env: &[("SOURCE_DATE_EPOCH", &epoch)],
        root: None,
    };
    let ours = ["-tar", "-no-progress", "-quiet", "-exit-on-error", "-root-mode", "755"];
    tool.run(image, &["-"], target, &[options, &ours].concat(), watch)
}
