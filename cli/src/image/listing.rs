//! The names of an image that is packed already, as `unsquashfs` lists them: for who wants to look something up in it.
//!
//! ```text
//!   -rwxr-xr-x 0/0                  12 2020-10-10 10:10 /bin/web
//!   lrwxrwxrwx 0/0                   7 2020-10-10 10:10 /lib -> usr/lib
//!   │          └ owner/group        └ bytes, or MAJOR, MINOR of a device
//!   └ kind and mode
//! ```
//!
//! A list has one file a line and no escapes. A name with a line break, or a link whose name holds ` -> `, is not found
//! under its name; nothing else comes of it.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};

use super::Limits;
use super::tree::{Attributes, Contents, Inode, Node, Tree};
use crate::error::{Error, Result};

/// The program that lists.
const TOOL: &str = "unsquashfs";

/// The longest line, in bytes: a path and a link.
const LINE_MAX: u64 = 16 * 1024;

/// The names of a squashfs. Files have no contents in it; [`read`] has them.
///
/// # Errors
/// The tool is missing or fails, or there is more than is believed.
pub fn list(image: &Path, limits: Limits) -> Result<Tree> {
    let mut child =
        tool().args(["-lln", "-d", ""]).arg(image).stdout(Stdio::piped()).spawn().map_err(|e| no_tool(&e))?;
    let mut tree = Tree::new(limits);
    let listed = child.stdout.take().map_or(Ok(()), |output| lines(&mut BufReader::new(output), &mut tree));
    if listed.is_err() {
        // It would wait for somebody to read on.
        let _ = child.kill();
    }
    let status = child.wait().map_err(|error| Error::user(format!("cannot wait for {TOOL}: {error}")))?;
    listed.map_err(|why| Error::user(format!("{}: {why}", image.display())))?;
    if status.success() { Ok(tree) } else { Err(unreadable(image)) }
}

/// The contents of a file of a squashfs, by its path as [`path`] gives it; at most `max` bytes of them.
///
/// # Errors
/// The tool is missing or fails.
pub fn read(image: &Path, path: &str, max: u64) -> Result<Vec<u8>> {
    let mut command = tool();
    command.args(["-no-wildcards", "-cat"]).arg(image).arg(path).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|error| no_tool(&error))?;
    let mut bytes = Vec::new();
    let read = child.stdout.take().map_or(Ok(0), |output| output.take(max).read_to_end(&mut bytes));
    // What is beyond the bound is nobody's.
    let _ = child.kill();
    let _ = child.wait();
    read.map_err(|error| Error::user(format!("cannot read {path} of {}: {error}", image.display())))?;
    Ok(bytes)
}

/// Where a file is once all links on the way to it are followed.
#[must_use]
pub fn path(tree: &Tree, name: &str) -> Option<String> {
    let wanted = tree.find(name.as_bytes())?;
    let mut found = None;
    // The walk ends at the first name; a path that no Linux takes is none that anybody asks for.
    let _ = tree.walk(|path, id, _| {
        if id == wanted && found.is_none() {
            found = Some(path.to_vec());
        }
        Ok::<_, super::tree::PathTooLong>(())
    });
    found.and_then(|path| String::from_utf8(path).ok())
}

fn tool() -> Command {
    let mut command = Command::new(TOOL);
    command.stdin(Stdio::null()).stderr(Stdio::null());
    command
}

fn no_tool(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::user(format!("{TOOL} is not installed; it reads images that are packed"))
            .hint("install squashfs-tools, 4.5 or later: apt-get install squashfs-tools"),
        _ => Error::user(format!("cannot run {TOOL}: {error}")),
    }
}

fn unreadable(image: &Path) -> Error {
    Error::user(format!("{} is no squashfs that {TOOL} can read", image.display()))
        .hint("`pvr reset` brings back the one that was committed; `pvr app update` fetches the image again")
}

/// Adds what a list names.
///
/// # Errors
/// Why it is more than is believed.
pub fn lines(list: &mut impl io::BufRead, tree: &mut Tree) -> std::result::Result<(), String> {
    loop {
        let mut line = Vec::new();
        match list.by_ref().take(LINE_MAX).read_until(b'\n', &mut line) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(format!("its list breaks off: {error}")),
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        if let Some((path, inode)) = entry(&line) {
            add(tree, path, inode).map_err(|wrong| wrong.to_string())?;
        }
    }
}

fn add(tree: &mut Tree, path: &[u8], inode: Inode) -> std::result::Result<(), super::flatten::FlattenError> {
    let (parent, name) = match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (path.get(..slash).unwrap_or_default(), path.get(slash + 1..).unwrap_or_default()),
        None => (&[][..], path),
    };
    // Parents come first. A list that says otherwise is of another tool, and a file that nobody can find harms nobody.
    let Some(directory) = tree.find(parent).filter(|id| tree.names(*id).is_some()) else { return Ok(()) };
    match tree.put(directory, name, inode) {
        Ok(_) => Ok(()),
        Err(super::flatten::Wrong::Name | super::flatten::Wrong::Whiteout) => Ok(()),
        Err(wrong) => Err(super::flatten::FlattenError { layer: None, entry: Some(path.to_vec()), wrong }),
    }
}

/// The path of a line without its first slash, and what is there.
fn entry(line: &[u8]) -> Option<(&[u8], Inode)> {
    let head = line.get(..10)?;
    let slash =
        line.iter().enumerate().skip(11).find(|(at, byte)| **byte == b'/' && line.get(at - 1) == Some(&b' '))?.0;
    let columns = std::str::from_utf8(line.get(11..slash)?).ok()?;
    let (uid, gid) = columns.split_ascii_whitespace().next()?.split_once('/')?;
    let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
    let rest = line.get(slash + 1..)?;
    let (path, node) = match head.first()? {
        b'd' => (rest, Node::Directory(BTreeMap::new())),
        b'-' => (rest, Node::File(Contents { layer: 0, offset: 0, len: 0 })),
        b'l' => {
            let arrow = rest.windows(4).position(|four| four == b" -> ")?;
            (rest.get(..arrow)?, Node::Symlink(rest.get(arrow + 4..)?.to_vec()))
        }
        b'p' | b's' => (rest, Node::Fifo),
        b'c' | b'b' => (rest, Node::Device { block: head.first() == Some(&b'b'), major: 0, minor: 0 }),
        _ => return None,
    };
    let mode = mode(head.get(1..)?)?;
    (!path.is_empty())
        .then_some((path, Inode { node, attributes: Attributes { mode, uid, gid, ..Attributes::implied() } }))
}

/// `rwsr-xr-t`
fn mode(letters: &[u8]) -> Option<u16> {
    let mut mode = 0;
    for (at, letter) in letters.iter().enumerate() {
        let bit = 0o400_u16.checked_shr(u32::try_from(at).ok()?)?;
        let special = 0o4000_u16 >> (at / 3);
        mode |= match letter {
            b'-' => 0,
            b'r' | b'w' | b'x' => bit,
            b's' | b't' => bit | special,
            b'S' | b'T' => special,
            _ => return None,
        };
    }
    Some(mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_a_tree_and_what_is_no_line_of_it_is_passed_over() {
        let text = "drwxr-xr-x 0/0                      72 2026-11-22 22:57 \n\
             drwxr-xr-x 0/0                      26 2026-11-22 22:57 /bin\n\
             -rwsr-xr-x 7/8                      26 2026-11-22 22:57 /bin/su\n\
             lrwxrwxrwx 0/0                       4 2026-11-22 22:57 /b -> bin\n\
             crw-rw-rw- 0/0                  1,   3 2026-11-22 22:57 /null\n\
             -rw-r--r-- 0/0                       1 2026-11-22 22:57 /a\n\
             g\n-rw-r--r-- x/0 1 2026-11-22 22:57 /c\n-rw-r--r-- 0/0 1 2026-11-22 22:57 /none/c\n";
        let mut tree = Tree::new(Limits::DEFAULT);
        lines(&mut text.as_bytes(), &mut tree).unwrap();
        let su = tree.inode(tree.find(b"b/su").unwrap());
        assert_eq!((su.attributes.mode, su.attributes.uid, su.attributes.gid), (0o4755, 7, 8));
        assert_eq!(path(&tree, "b/su").as_deref(), Some("bin/su"));
        assert!(tree.find(b"null").is_some() && tree.find(b"a").is_some());
        assert!(tree.find(b"c").is_none() && tree.find(b"none/c").is_none());
        let few = Limits { entries: 3, ..Limits::DEFAULT };
        assert!(lines(&mut text.as_bytes(), &mut Tree::new(few)).unwrap_err().contains('3'));
    }
}
