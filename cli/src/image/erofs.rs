//! A tree as EROFS.
//!
//! `mkfs.erofs` reads a tar since erofs-utils 1.7. The UUID is a part of the file system and random unless it is said, so
//! it follows from the image; the time of the file system is that of the newest file, and files keep theirs.

use std::path::Path;
use std::process::{Command, Stdio};

use super::Image;
use super::digest::Digest;
use super::pack::{Times, Tool};
use super::tree::Attributes;
use crate::error::{Error, Result};
use crate::watch::Watch;

/// How images are packed where nobody says otherwise: what every Linux with EROFS reads that is not configured down.
pub const PACKED: &[&str] = &["-zlz4hc"];

const PROGRAM: &str = "mkfs.erofs";
const INSTALL: &str = "install erofs-utils, 1.7 or later: apt-get install erofs-utils; or leave out --format erofs";

/// Writes the files of an image. `options` are for the tool.
///
/// # Errors
/// The tool is missing, reads no tar or fails, a file of the image cannot be read, or the image is from the future.
pub fn write(image: &Image, target: &Path, times: Times, options: &[&str], watch: &dyn Watch) -> Result<()> {
    let epoch = times.epoch(image)?;
    let tool = Tool {
        program: PROGRAM,
        install: INSTALL,
        older: "it may lack an option or a compressor: see `mkfs.erofs --help`; the package is erofs-utils, 1.7 or later",
        env: &[],
        // As squashfs gets it: equal images are equal trees on the device, whatever they are packed as.
        root: Some(Attributes { mtime: epoch, ..Attributes::implied() }),
    };
    reads_tar(&tool)?;
    let (uuid, time) = (uuid(&image.digest), epoch.to_string());
    let ours = ["--quiet", "--tar=f", "-T", &time, "--mkfs-time", "--preserve-mtime", "-U", &uuid];
    tool.run(image, &[&ours, options].concat(), target, &[], watch)
}

/// An older one would take the tar for the name of a directory, and say something about that.
fn reads_tar(tool: &Tool<'_>) -> Result<()> {
    let help = Command::new(PROGRAM).arg("--help").stdin(Stdio::null()).output();
    let help = help.map_err(|error| tool.cannot_run(&error))?;
    let says = |text: &[u8]| String::from_utf8_lossy(text).contains("--tar");
    if says(&help.stdout) || says(&help.stderr) {
        return Ok(());
    }
    Err(Error::user(format!("this {PROGRAM} is too old: it reads no tar")).hint(INSTALL))
}

/// A number as UUIDs are that a hash was made of (version 8 of RFC 9562): sixteen bytes of the digest, six bits given.
fn uuid(digest: &Digest) -> String {
    let hex = Digest::of(format!("erofs {digest}").as_bytes()).hex();
    let part = |at: usize, len: usize| hex.get(at..at + len).unwrap_or_default().to_owned();
    format!("{}-{}-8{}-8{}-{}", part(0, 8), part(8, 4), part(13, 3), part(17, 3), part(20, 12))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_follows_from_the_image() {
        let one = uuid(&Digest::of(b"1"));
        assert_eq!(one, uuid(&Digest::of(b"1")));
        assert_ne!(one, uuid(&Digest::of(b"2")));
        let lens: Vec<_> = one.split('-').map(str::len).collect();
        assert_eq!(lens, [8, 4, 4, 4, 12]);
        assert!(one.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit()));
    }
}
