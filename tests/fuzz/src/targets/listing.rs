//! Lists of the names of an image, as a tool prints them of an image that nobody has checked.

use std::io::BufReader;

use cli::image::Limits;
use cli::image::listing::{lines, path};
use cli::image::tree::{PathTooLong, Tree};

/// Small, so that a bound is met more often than a minute is over.
const LIMITS: Limits = Limits { entries: 256, names: 64 * 1024, ..Limits::DEFAULT };

pub(crate) fn listing(bytes: &[u8]) {
    let read = |capacity| {
        let mut tree = Tree::new(LIMITS);
        lines(&mut BufReader::with_capacity(capacity, bytes), &mut tree).map(|()| tree)
    };
    let Ok(tree) = read(4096) else { return };
    let mut count = 0;
    let walked = tree.walk(|name, id, _| {
        count += 1;
        // Every name is found under itself, unless there is a link on the way to it.
        if let Some(name) = std::str::from_utf8(name).ok().filter(|_| tree.find(name) == Some(id)) {
            assert!(path(&tree, name).is_some(), "{name:?} is nowhere");
        }
        Ok::<_, PathTooLong>(())
    });
    assert!(walked.is_err() || count < LIMITS.entries, "{count} files");
    // However the list comes in pieces.
    assert!(read(1).is_ok_and(|again| format!("{again:?}") == format!("{tree:?}")));
}
