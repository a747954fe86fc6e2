//! Modules that came with this kernel, loaded in the order of a list.
//!
//! ```text
//!   /lib/modules/early     nvme.ko                          a file beside the list, in load order
//!                          i6300esb.ko heartbeat=30         then its parameters, to the end of the line
//!                          # …                              neither this nor an empty line
//!   /lib/modules/*.ko      not compressed: the kernel takes them as they are
//! ```
//!
//! The list is made by whoever built the initramfs, who knows the dependencies; nothing is resolved here. A module that
//! is there already is no error. One that cannot be loaded does not end the list: the driver of the disk may be next,
//! and what is really missing is missed by whoever needs it.

use std::ffi::CString;
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// Where the list lies in the initramfs.
pub const LIST: &str = "/lib/modules/early";

/// The longest list that is read, in bytes.
pub const LIST_MAX: usize = 64 * 1024;

/// The most modules of a list.
pub const MODULES_MAX: usize = 256;

/// One line of the list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Module {
    /// The file, beside the list.
    pub file: String,
    /// What the module is told.
    pub parameters: CString,
}

/// Why modules were not loaded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ModuleError {
    /// The list is there and cannot be read.
    List(PathBuf, ErrorKind),
    /// The list has more than [`LIST_MAX`] bytes or [`MODULES_MAX`] modules.
    TooLong(PathBuf),
    /// A line names no file beside the list, or has a NUL in it.
    Line(usize, String),
    /// A module was refused.
    Refused {
        /// Its file.
        file: PathBuf,
        /// What the kernel said. `ENOENT` may be a symbol that another module has, `ENOEXEC` another kernel's file.
        errno: Errno,
    },
}

impl fmt::Display for ModuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(path, kind) => write!(f, "{}: {kind}", path.display()),
            Self::TooLong(path) => {
                write!(f, "{}: more than {MODULES_MAX} modules or {LIST_MAX} bytes", path.display())
            }
            Self::Line(number, line) => write!(f, "line {number} of the list of modules names no file: {line:?}"),
            Self::Refused { file, errno } => {
                write!(f, "the kernel does not take the module {}: {errno}", file.display())?;
                match *errno {
                    Errno::NOEXEC => f.write_str("; it is of another kernel, or compressed"),
                    Errno::NOENT => f.write_str("; the file is missing, or a module that it needs is not loaded yet"),
                    _ => Ok(()),
                }
            }
        }
    }
}

impl std::error::Error for ModuleError {}

/// Reads a list.
///
/// # Errors
/// [`ModuleError::TooLong`] and [`ModuleError::Line`].
pub fn parse(list: &Path, text: &str) -> Result<Vec<Module>, ModuleError> {
    let mut modules = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if modules.len() == MODULES_MAX {
            return Err(ModuleError::TooLong(list.to_owned()));
        }
        let wrong = || ModuleError::Line(index + 1, line.to_owned());
        let (file, parameters) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        if file.contains(['/', '\0']) || matches!(file, "." | "..") {
            return Err(wrong());
        }
        let parameters = CString::new(parameters.trim_start()).map_err(|_| wrong())?;
        modules.push(Module { file: file.to_owned(), parameters });
    }
    Ok(modules)
}

/// What became of a list.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Loaded {
    /// Modules that are there now and were not before.
    pub new: usize,
    /// Those that were refused.
    pub refused: Vec<ModuleError>,
}

/// Loads what a list names, in its order. No list is an empty one: a kernel may have everything built in.
///
/// # Errors
/// The list itself cannot be used: nothing was loaded.
pub fn load(list: &Path) -> Result<Loaded, ModuleError> {
    let mut done = Loaded::default();
    let Some(text) = read(list)? else { return Ok(done) };
    let dir = list.parent().unwrap_or(Path::new("/"));
    for module in parse(list, &text)? {
        let file = dir.join(&module.file);
        let loaded = open(&file).and_then(|fd| rustix::system::finit_module(fd, &module.parameters, 0));
        match loaded {
            Ok(()) => done.new += 1,
            Err(Errno::EXIST) => {}
            Err(errno) => done.refused.push(ModuleError::Refused { file, errno }),
        }
    }
    Ok(done)
}

/// Removes the files of a list's modules, once they are loaded: in an initramfs a file is memory. Says how many bytes
/// were let go.
#[must_use]
pub fn discard(list: &Path) -> u64 {
    let Ok(Some(text)) = read(list) else { return 0 };
    let dir = list.parent().unwrap_or(Path::new("/"));
    let mut bytes = 0;
    for module in parse(list, &text).unwrap_or_default() {
        let file = dir.join(&module.file);
        let length = std::fs::symlink_metadata(&file).map_or(0, |meta| meta.len());
        if std::fs::remove_file(&file).is_ok() {
            bytes += length;
        }
    }
    bytes
}

fn open(file: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(file, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())
}

fn read(list: &Path) -> Result<Option<String>, ModuleError> {
    let wrong = |error: std::io::Error| ModuleError::List(list.to_owned(), error.kind());
    let file = match File::open(list) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.map_err(wrong)?,
    };
    let mut text = String::new();
    file.take(LIST_MAX as u64 + 1).read_to_string(&mut text).map_err(wrong)?;
    if text.len() > LIST_MAX { Err(ModuleError::TooLong(list.to_owned())) } else { Ok(Some(text)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Result<Vec<Module>, ModuleError> {
        parse(Path::new("early"), text)
    }

    #[test]
    fn a_line_is_a_file_and_what_the_module_is_told() {
        let modules = list("# storage\nnvme.ko\n\ni6300esb.ko  heartbeat=30 nowayout=1\n").unwrap();
        let told: Vec<_> = modules.iter().map(|one| (one.file.as_str(), one.parameters.to_str().unwrap())).collect();
        assert_eq!(told, [("nvme.ko", ""), ("i6300esb.ko", "heartbeat=30 nowayout=1")]);
    }

    #[test]
    fn a_module_lies_beside_its_list() {
        for line in ["../loop.ko", "kernel/loop.ko", "..", "loop.ko a\0b"] {
            assert!(matches!(list(&format!("\n{line}")), Err(ModuleError::Line(2, _))), "{line:?}");
        }
    }

    #[test]
    fn a_list_without_end_is_refused() {
        let text = "loop.ko\n".repeat(MODULES_MAX);
        assert_eq!(list(&text).unwrap().len(), MODULES_MAX);
        assert_eq!(list(&format!("{text}more.ko")), Err(ModuleError::TooLong("early".into())));
    }

    #[test]
    fn only_what_the_list_names_is_let_go() {
        let dir = tempfile::tempdir().unwrap();
        let early = dir.path().join("early");
        for (name, length) in [("a.ko", 10), ("b.ko", 20), ("firmware.bin", 40)] {
            std::fs::write(dir.path().join(name), vec![0; length]).unwrap();
        }
        std::fs::write(&early, "a.ko\nb.ko x=1\nabsent.ko\n").unwrap();
        assert_eq!(discard(&early), 30);
        assert!(dir.path().join("firmware.bin").exists() && early.exists());
        assert!(!dir.path().join("a.ko").exists());
    }

    #[test]
    fn no_list_is_an_empty_one_and_a_missing_module_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let early = dir.path().join("early");
        assert_eq!(load(&early), Ok(Loaded::default()));
        std::fs::write(&early, "absent.ko\nother.ko\n").unwrap();
        let loaded = load(&early).unwrap();
        let refused = |name| ModuleError::Refused { file: dir.path().join(name), errno: Errno::NOENT };
        assert_eq!(loaded, Loaded { new: 0, refused: vec![refused("absent.ko"), refused("other.ko")] });
        std::fs::write(&early, vec![b'#'; LIST_MAX + 1]).unwrap();
        assert_eq!(load(&early), Err(ModuleError::TooLong(early)));
    }
}
