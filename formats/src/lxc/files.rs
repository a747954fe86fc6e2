//! A configuration of more than one file: `lxc.include` and `lxc.mount.fstab` put in place.
//!
//! ```text
//!   web/lxc.container.conf     lxc.uts.name = web
//!                              lxc.include = common.conf   ──▶ the lines of web/common.conf, in this place
//!                              lxc.mount.fstab = fstab     ──▶ an lxc.mount.entry for each line of web/fstab
//!                              lxc.cap.drop =              ──▶ no line `lxc.cap.drop` before it counts
//! ```
//!
//! Files are those of the same container in the same revision, so they are as signed as the configuration itself. They
//! include each other [`DEPTH_MAX`] deep, which ends every circle, and all of them together, as often as each is included,
//! have at most [`LINES_MAX`] lines that say something and [`ALL_BYTES_MAX`] bytes, which bounds the work.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::{BLANKS, Config, Item, LINES_MAX, LxcError, LxcWrong, MountEntry};

/// How deep files may include each other.
pub const DEPTH_MAX: usize = 8;

/// The most bytes of all files together: more than a container can be told.
pub const ALL_BYTES_MAX: usize = 256 * 1024;

/// A line, and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said {
    /// The file, by its key in the state.
    pub document: Rc<str>,
    /// The line, from 1.
    pub number: u32,
    /// What it says; never an [`Item::Include`], [`Item::Fstab`] or [`Item::Reset`].
    pub item: Item,
}

/// Why there are no lines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FilesError {
    /// The revision has no such file, or its bytes are not there.
    Unreadable(String),
    /// A line is wrong.
    Wrong {
        /// The file, by its key in the state.
        document: String,
        /// What is wrong.
        why: Box<LxcError>,
    },
    /// All files together have more than [`LINES_MAX`] lines or [`ALL_BYTES_MAX`] bytes, or they include each other more
    /// than [`DEPTH_MAX`] deep.
    Endless(String),
}

/// Where files are read from, by their keys in the state.
type Read<'a> = &'a mut dyn FnMut(&str) -> Option<Vec<u8>>;

/// The lines of the configuration `file` of a container, in order. `read` gives the bytes of a file of the revision.
///
/// # Errors
/// [`FilesError`] names the file, and the line where there is one.
pub fn lines(container: &str, file: &str, read: Read<'_>) -> Result<Vec<Said>, FilesError> {
    let mut reader = Reader { container, read, lines: 0, bytes: 0, said: Vec::new() };
    reader.take(file, 0)?;
    Ok(left(reader.said))
}

/// What was read so far, and how much.
struct Reader<'a> {
    container: &'a str,
    read: Read<'a>,
    lines: usize,
    bytes: usize,
    /// Also with [`Item::Reset`].
    said: Vec<Said>,
}

impl Reader<'_> {
    fn take(&mut self, file: &str, depth: usize) -> Result<(), FilesError> {
        let (document, bytes) = self.open(file)?;
        let wrong = |why| FilesError::Wrong { document: String::from(&*document), why: Box::new(why) };
        for line in Config::parse(&bytes).map_err(wrong)?.lines {
            self.count(&document)?;
            match line.item {
                Item::Include(_) if depth >= DEPTH_MAX => return Err(FilesError::Endless(String::from(&*document))),
                Item::Include(file) => self.take(&file, depth.saturating_add(1))?,
                Item::Fstab(file) => self.fstab(&file)?,
                item => self.said.push(Said { document: Rc::clone(&document), number: line.number, item }),
            }
        }
        Ok(())
    }

    fn fstab(&mut self, file: &str) -> Result<(), FilesError> {
        let (document, bytes) = self.open(file)?;
        let at = |line, wrong| FilesError::Wrong {
            document: String::from(&*document),
            why: Box::new(LxcError { line, key: String::new(), wrong }),
        };
        if bytes.len() > super::BYTES_MAX {
            return Err(at(1, LxcWrong::TooLong));
        }
        let text = core::str::from_utf8(&bytes).map_err(|_| at(1, LxcWrong::Utf8))?;
        for (number, line) in (1_u32..).zip(text.lines()) {
            let line = line.trim_matches(BLANKS);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            self.count(&document)?;
            if line.contains(|c: char| c.is_control() && c != '\t') {
                return Err(at(number, LxcWrong::Control));
            }
            let entry = MountEntry::parse(line).map_err(|wrong| at(number, wrong))?;
            self.said.push(Said { document: Rc::clone(&document), number, item: Item::Mount(entry) });
        }
        Ok(())
    }

    fn open(&mut self, file: &str) -> Result<(Rc<str>, Vec<u8>), FilesError> {
        let document: Rc<str> = format!("{}/{file}", self.container).into();
        let bytes = (self.read)(&document).ok_or_else(|| FilesError::Unreadable(String::from(&*document)))?;
        self.bytes = self.bytes.saturating_add(bytes.len());
        if self.bytes > ALL_BYTES_MAX {
            Err(FilesError::Endless(String::from(&*document)))
        } else {
            Ok((document, bytes))
        }
    }

    /// One more line that says something.
    fn count(&mut self, document: &str) -> Result<(), FilesError> {
        self.lines = self.lines.saturating_add(1);
        if self.lines > LINES_MAX { Err(FilesError::Endless(String::from(document))) } else { Ok(()) }
    }
}

/// What nothing after it takes back.
fn left(said: Vec<Said>) -> Vec<Said> {
    let mut back = BTreeSet::new();
    let mut left: Vec<Said> = Vec::with_capacity(said.len());
    for one in said.into_iter().rev() {
        match one.item {
            Item::Reset(key) => {
                back.insert(key);
            }
            // Without anything to take back, no key has to be spelled.
            _ if back.is_empty() || !back.contains(&one.item.key()) => left.push(one),
            _ => {}
        }
    }
    left.reverse();
    left
}

impl fmt::Display for FilesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(document) => {
                write!(f, "{document}: is not in the revision; add the file, or remove the line that names it")
            }
            Self::Wrong { document, why } => write!(f, "{document}: {why}"),
            Self::Endless(document) => write!(
                f,
                "{document}: all files together have more than {LINES_MAX} lines or {ALL_BYTES_MAX} bytes, or include each \
                 other more than {DEPTH_MAX} deep; leave out what the container does not need"
            ),
        }
    }
}

impl core::error::Error for FilesError {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::borrow::ToOwned;
    use alloc::string::ToString;

    /// What the files say, a line each with its place.
    fn said(files: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let mut read =
            |key: &str| files.iter().find(|(name, _)| *name == key).map(|(_, text)| text.as_bytes().to_owned());
        let lines = lines("web", "c", &mut read).map_err(|error| error.to_string())?;
        Ok(lines.iter().map(|one| format!("{}:{} {}", one.document, one.number, one.item)).collect())
    }

    #[test]
    fn lines_of_other_files_stand_where_they_are_included() {
        let files = [
            ("web/c", "lxc.init.cwd = /a\nlxc.include = more\n\nlxc.init.cwd = /c\n"),
            ("web/more", "# none\nlxc.init.cwd = /b\nlxc.mount.fstab = fstab\n"),
            ("web/fstab", "\n# source target\n/x  y none bind\n"),
        ];
        let expected = [
            "web/c:1 lxc.init.cwd = /a",
            "web/more:2 lxc.init.cwd = /b",
            "web/fstab:3 lxc.mount.entry = /x y none bind 0 0",
            "web/c:4 lxc.init.cwd = /c",
        ];
        assert_eq!(said(&files).unwrap(), expected);
    }

    #[test]
    fn an_empty_value_takes_back_what_was_said_of_that_key_before_in_whatever_file() {
        let files = [
            ("web/c", "lxc.include = more\nlxc.cap.drop =\nlxc.cap.drop = kill\n"),
            ("web/more", "lxc.cap.drop = chown\nlxc.environment = A=B\n"),
        ];
        assert_eq!(said(&files).unwrap(), ["web/more:2 lxc.environment = A=B", "web/c:3 lxc.cap.drop = kill"]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_file_and_line() {
        let error = |more: &str| said(&[("web/c", "\nlxc.include = more\n"), ("web/more", more)]).unwrap_err();
        assert_eq!(error("\nlxc.autodev = 2"), "web/more: line 2: lxc.autodev: \"2\" is not 0 or 1");
        assert_eq!(
            error("lxc.include = nothing"),
            "web/nothing: is not in the revision; add the file, or remove the line that names it"
        );
        assert!(error("lxc.include = more").contains("8 deep"));
        let error = |fstab: &str| said(&[("web/c", "lxc.mount.fstab = f"), ("web/f", fstab)]).unwrap_err();
        assert!(error("/a b none bind\n/a ../b none bind").starts_with("web/f: line 2: "));
        assert!(error("/a b\rc none bind").contains("control character"));
        assert!(error(&"/a b none bind\n".repeat(LINES_MAX)).contains("more than 2048 lines"));
        assert!(error(&" ".repeat(super::super::BYTES_MAX + 1)).contains("bytes"));
    }

    #[test]
    fn files_that_double_each_other_end_after_a_bounded_number_of_reads() {
        for last in ["", "lxc.start.auto = 1\n", "lxc.cap.drop =\n"] {
            let mut reads = 0;
            let mut read = |key: &str| {
                reads += 1;
                let next = key.strip_prefix("web/")?.parse::<u32>().ok()? + 1;
                Some(if next == 9 { last.to_owned() } else { format!("lxc.include = {next}\n").repeat(8) }.into_bytes())
            };
            let error = lines("web", "1", &mut read).unwrap_err();
            assert!(matches!(error, FilesError::Endless(_)), "{error}");
            assert!(reads <= LINES_MAX + 1, "{reads}");
        }
    }

    #[test]
    fn all_files_together_have_a_limited_size() {
        let comment = format!("#{}\n", "x".repeat(65_000));
        let files = [("web/c", "lxc.include = d\n".repeat(4)), ("web/d", comment)];
        let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
        assert_eq!(said(&files).unwrap(), [""; 0]);
        let five = "lxc.include = d\n".repeat(5);
        assert!(said(&[("web/c", five.as_str()), files[1]]).unwrap_err().contains("262144 bytes"));
    }
}
