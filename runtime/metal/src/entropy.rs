//! A secret that the kernel's random numbers may begin with: bytes that nobody else knows, mixed in and counted.
//!
//! Whoever credits bytes promises that they are used once. See [`RNDADDENTROPY`](https://man7.org/linux/man-pages/man4/random.4.html).

use std::fs::File;
use std::path::Path;

use crate::sys;

/// The device that takes them.
pub const NODE: &str = "/dev/urandom";

/// How many bytes a seed has: as many as the kernel wants before it answers.
pub const SEED: usize = 32;

/// Mixes a seed in and, if it is `secret`, counts it as unknown to everybody: then the kernel has all that it waits for.
///
/// # Errors
/// There is no such device, or the caller may not (`EPERM`).
pub fn seed(node: &Path, bytes: [u8; SEED], secret: bool) -> std::io::Result<()> {
    let bits = if secret { i32::try_from(SEED * 8).unwrap_or(0) } else { 0 };
    Ok(sys::add_entropy(File::open(node)?, bytes, bits)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_takes_a_seed_that_counts_for_nothing() {
        match seed(Path::new(NODE), [7; SEED], false) {
            // Only root may, and in some containers nobody.
            Ok(()) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied),
        }
        assert!(seed(Path::new("/dev/null"), [7; SEED], true).is_err());
    }
}
