//! The filter of system calls that a configuration names: a file of the container, checked before anything is started.

use formats::seccomp::{Arch, Filter};

use super::error::Refusal;

/// The filter's bytes, if the kernel of this machine takes them and its programs can start under them.
pub(super) fn of(
    container: &str,
    file: &str,
    read: &mut impl FnMut(&str) -> Option<Vec<u8>>,
) -> Result<Vec<u8>, Refusal> {
    let key = format!("{container}/{file}");
    let bytes = read(&key).ok_or(Refusal::NoFilter(key))?;
    Filter::parse(&bytes).and_then(|filter| filter.serves(Arch::NATIVE)).map_err(Refusal::Filter)?;
    Ok(bytes)
}
