//! A line of the history of a repository, which anybody may have edited.

use cli::history::{PATHS_MAX, parse};

pub(crate) fn entry(bytes: &[u8]) {
    let Ok(entry) = parse(bytes) else { return };
    assert!(entry.paths.len() <= PATHS_MAX);
    let line = entry.to_line();
    assert_eq!(line.find('\n'), Some(line.len() - 1), "one line");
    assert_eq!(parse(line.trim_end().as_bytes()), Ok(entry));
}
