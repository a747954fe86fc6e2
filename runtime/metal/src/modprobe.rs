//! Modules by name while the device runs: found in the lists of `depmod`, loaded after what they need, taken out in reverse.
//!
//! ```text
//!   DIR/modules.dep …   ─▶ order ─▶  finit_module(2), one by one      /sys/module/NAME: it is there already
//!   DIR/kernel/….ko[.xz]             a compressed file is unpacked by the kernel, or refused
//! ```
//!
//! What was there before is not ours: it is neither told anything nor ever taken out. A load that fails half-way takes out what
//! it has brought. The kernel is a trait, since most of what can go wrong does so on other kernels than this one.

use std::ffi::CString;
use std::fmt;
use std::io::{ErrorKind, Read as _};
use std::os::raw::c_int;
use std::path::{Path, PathBuf};

use formats::modules::{self, Lists, ModulesError};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// The longest list that is read, in bytes. The aliases of a kernel for everything have 1.5 MB.
pub const LIST_MAX: u64 = 8 << 20;

/// `MODULE_INIT_COMPRESSED_FILE` of `linux/module.h`.
const COMPRESSED: c_int = 4;

/// What a kernel does with modules.
pub trait Kernel {
    /// Whether a module is there, or built in.
    fn has(&self, name: &str) -> bool;

    /// Loads a file, with these parameters.
    ///
    /// # Errors
    /// As the kernel says.
    fn insert(&mut self, file: &Path, parameters: &CString, compressed: bool) -> Result<(), Errno>;

    /// Takes a module out, unless it is in use.
    ///
    /// # Errors
    /// As the kernel says.
    fn remove(&mut self, name: &CString) -> Result<(), Errno>;
}

/// The kernel that runs.
#[derive(Debug)]
pub struct Running;

impl Kernel for Running {
    fn has(&self, name: &str) -> bool {
        // What is built in has a directory if it has parameters; a module has a state in it, and may be on its way out.
        let state = Path::new("/sys/module").join(name).join("initstate");
        std::fs::read_to_string(state).is_ok_and(|state| state.trim_end() == "live")
    }

    fn insert(&mut self, file: &Path, parameters: &CString, compressed: bool) -> Result<(), Errno> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = rustix::fs::open(file, flags, Mode::empty())?;
        rustix::system::finit_module(fd, parameters, if compressed { COMPRESSED } else { 0 })
    }

    fn remove(&mut self, name: &CString) -> Result<(), Errno> {
        // Never waiting: who uses it may use it for ever.
        rustix::system::delete_module(name, OFlags::NONBLOCK.bits().cast_signed())
    }
}

/// Why a module was not loaded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProbeError {
    /// A list cannot be read.
    List(PathBuf, ErrorKind),
    /// The lists do not have it.
    Order(String, ModulesError),
    /// A NUL in what it is told.
    Parameters(String),
    /// The kernel does not take it, or something that it needs.
    Refused {
        /// What was asked for.
        asked: String,
        /// The file.
        file: PathBuf,
        /// What the kernel said.
        errno: Errno,
        /// Whether the file is compressed.
        compressed: bool,
    },
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(path, ErrorKind::NotFound) => {
                write!(f, "there is no {}: the base system brings no modules for this kernel", path.display())
            }
            Self::List(path, kind) => write!(f, "{}: {kind}", path.display()),
            Self::Order(name, why) => write!(f, "module {name}: {why}"),
            Self::Parameters(name) => write!(f, "module {name}: its options have a NUL in them"),
            Self::Refused { asked, file, errno, compressed } => {
                write!(f, "module {asked}: the kernel does not take {}: {errno}", file.display())?;
                f.write_str(match *errno {
                    Errno::OPNOTSUPP | Errno::NOEXEC if *compressed => {
                        "; it may not unpack modules: put them uncompressed into the image, which compresses them itself"
                    }
                    Errno::NOEXEC => "; it is of another kernel",
                    Errno::NOENT => "; a symbol or an option in it is not known to this kernel",
                    Errno::INVAL => "; one of its options has a value that it does not take",
                    Errno::NODEV | Errno::NXIO => "; its device is not there",
                    Errno::PERM => "; the command line excludes it, or modules were closed for this boot",
                    Errno::NOSYS => "; it was built without modules",
                    Errno::KEYREJECTED | Errno::NOKEY => "; nobody whom this kernel trusts has signed it",
                    _ => "",
                })
            }
        }
    }
}

impl std::error::Error for ProbeError {}

/// What a load has brought.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Probed {
    /// Every module that the name stands for, in the order of loading.
    pub modules: Vec<String>,
    /// Those of them that were not there before.
    pub fresh: Vec<String>,
}

/// The modules of a kernel, and the kernel.
#[derive(Debug)]
pub struct Modprobe<K> {
    dir: PathBuf,
    command_line: String,
    kernel: K,
}

/// The lists of `depmod`.
struct Texts {
    dependencies: String,
    soft: String,
    aliases: String,
    builtin: String,
    builtin_info: String,
}

impl Modprobe<Running> {
    /// The modules that the base system has for the kernel that runs.
    #[must_use]
    pub fn here(command_line: String) -> Self {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        Self::new(Path::new("/lib/modules").join(release), command_line, Running)
    }
}

impl<K: Kernel> Modprobe<K> {
    /// The modules in a directory that `depmod` has seen, told what this command line has for them.
    pub fn new(dir: PathBuf, command_line: String, kernel: K) -> Self {
        Self { dir, command_line, kernel }
    }

    /// Loads a module, by its name or an alias, after all that it needs.
    ///
    /// # Errors
    /// [`ProbeError`]: what this call has brought is taken out again.
    pub fn load(&mut self, name: &str, options: &str) -> Result<Probed, ProbeError> {
        let order = self.order(&self.lists()?, name)?;
        self.insert(name, options, order)
    }

    /// Loads those of some modules that there are, after all that they need. What this kernel has built in, or lacks, whoever
    /// needs it finds out. Says of each that is there and cannot be loaded why not.
    pub fn load_known(&mut self, names: &[&str]) -> Vec<ProbeError> {
        let lists = match self.lists() {
            Err(ProbeError::List(_, ErrorKind::NotFound)) => return Vec::new(),
            Err(error) => return vec![error],
            Ok(lists) => lists,
        };
        let orders: Vec<_> = names.iter().map(|name| (*name, self.order(&lists, name))).collect();
        drop(lists);
        let mut errors = Vec::new();
        for (name, order) in orders {
            match order.and_then(|order| self.insert(name, "", order)) {
                Ok(_) | Err(ProbeError::Order(_, ModulesError::Unknown)) => {}
                Err(error) => errors.push(error),
            }
        }
        errors
    }

    fn insert(&mut self, name: &str, options: &str, order: Vec<modules::Module>) -> Result<Probed, ProbeError> {
        let mut probed = Probed::default();
        // The lists are as long as a small image; they were let go before the kernel does what may take minutes.
        for module in order {
            probed.modules.push(module.name.clone());
            if self.kernel.has(&module.name) {
                continue;
            }
            let mut parameters = modules::parameters(&self.command_line, &module.name);
            if module.asked && !options.is_empty() {
                parameters = format!("{parameters} {options}");
            }
            let wrong = |_| ProbeError::Parameters(module.name.clone());
            let parameters = CString::new(parameters.trim_start()).map_err(wrong)?;
            let (file, compressed) = (self.dir.join(&module.file), modules::is_compressed(&module.file));
            match self.kernel.insert(&file, &parameters, compressed) {
                Ok(()) => probed.fresh.push(module.name),
                // Another has brought it in between.
                Err(Errno::EXIST) => {}
                Err(_) if module.soft => {}
                Err(errno) => {
                    self.unload(&probed.fresh);
                    return Err(ProbeError::Refused { asked: name.to_owned(), file, errno, compressed });
                }
            }
        }
        Ok(probed)
    }

    /// Takes modules out, the last one first. Says which ones stay, and why.
    pub fn unload(&mut self, modules: &[String]) -> Vec<(String, Errno)> {
        let mut staying = Vec::new();
        for module in modules.iter().rev() {
            let removed = CString::new(module.as_str()).map_err(|_| Errno::INVAL);
            match removed.and_then(|name| self.kernel.remove(&name)) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => staying.push((module.clone(), errno)),
            }
        }
        staying
    }

    fn lists(&self) -> Result<Texts, ProbeError> {
        Ok(Texts {
            dependencies: self.list("modules.dep")?,
            soft: self.list_or_none("modules.softdep")?,
            aliases: self.list_or_none("modules.alias")?,
            builtin: self.list_or_none("modules.builtin")?,
            builtin_info: self.list_or_none("modules.builtin.modinfo")?,
        })
    }

    fn order(&self, texts: &Texts, name: &str) -> Result<Vec<modules::Module>, ProbeError> {
        let Texts { dependencies, soft, aliases, builtin, builtin_info } = texts;
        let lists = Lists { dependencies, soft, aliases, builtin, builtin_info };
        let excluded = |module: &str| modules::is_excluded(&self.command_line, module);
        lists.order(name, &excluded).map_err(|why| ProbeError::Order(name.to_owned(), why))
    }

    fn list(&self, name: &str) -> Result<String, ProbeError> {
        let path = self.dir.join(name);
        let read = || {
            let (file, mut bytes) = (std::fs::File::open(&path)?, Vec::new());
            if file.take(LIST_MAX + 1).read_to_end(&mut bytes)? as u64 > LIST_MAX {
                return Err(ErrorKind::FileTooLarge.into());
            }
            // Descriptions in the lists may be in any encoding; names are ASCII.
            Ok(String::from_utf8(bytes).unwrap_or_else(|bad| String::from_utf8_lossy(bad.as_bytes()).into_owned()))
        };
        read().map_err(|error: std::io::Error| ProbeError::List(path.clone(), error.kind()))
    }

    fn list_or_none(&self, name: &str) -> Result<String, ProbeError> {
        match self.list(name) {
            Err(ProbeError::List(_, ErrorKind::NotFound)) => Ok(String::new()),
            list => list,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A kernel in memory: what is there, and how it answers.
    #[derive(Default, Debug)]
    struct Fake {
        there: Vec<String>,
        answers: BTreeMap<String, Errno>,
        said: Vec<String>,
    }

    impl Kernel for Fake {
        fn has(&self, name: &str) -> bool {
            self.there.iter().any(|one| one == name)
        }

        fn insert(&mut self, file: &Path, parameters: &CString, compressed: bool) -> Result<(), Errno> {
            assert!(file.exists(), "{}", file.display());
            let name = modules::name_of(file.to_str().unwrap());
            self.said.push(format!("+{name} {}{}", parameters.to_str().unwrap(), if compressed { " xz" } else { "" }));
            self.answers.get(&name).map_or(Ok(()), |errno| Err(*errno))?;
            self.there.push(name);
            Ok(())
        }

        fn remove(&mut self, name: &CString) -> Result<(), Errno> {
            let name = name.to_str().unwrap();
            self.said.push(format!("-{name}"));
            if name == "busy" {
                return Err(Errno::AGAIN);
            }
            self.there.retain(|one| one != name);
            Ok(())
        }
    }

    fn kernel(there: &[&str], answers: &[(&str, Errno)]) -> (tempfile::TempDir, Modprobe<Fake>) {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write(
            "modules.dep",
            "cfg80211.ko: rfkill.ko\nrfkill.ko:\nbrcmfmac.ko.xz: cfg80211.ko rfkill.ko\ngeneric.ko:\nbusy.ko:\n",
        );
        write("modules.softdep", "softdep brcmfmac pre: crc32c\n");
        write("modules.alias", "alias crc32c generic\nalias usb:v1* busy\n");
        write("modules.builtin", "kernel/ext4.ko\n");
        ["cfg80211.ko", "rfkill.ko", "brcmfmac.ko.xz", "generic.ko", "busy.ko"].iter().for_each(|file| write(file, ""));
        let kernel = Fake {
            there: there.iter().map(|name| (*name).to_owned()).collect(),
            answers: answers.iter().map(|(name, errno)| ((*name).to_owned(), *errno)).collect(),
            said: Vec::new(),
        };
        let line = "quiet cfg80211.regdom=DE brcmfmac.debug=1".to_owned();
        let probe = Modprobe::new(dir.path().to_owned(), line, kernel);
        (dir, probe)
    }

    #[test]
    fn a_module_is_loaded_after_its_needs_and_only_it_is_told_the_options() {
        let (_dir, mut probe) = kernel(&["rfkill"], &[]);
        let probed = probe.load("brcmfmac", "roamoff=1").unwrap();
        assert_eq!(probed.modules, ["generic", "rfkill", "cfg80211", "brcmfmac"]);
        assert_eq!(probed.fresh, ["generic", "cfg80211", "brcmfmac"]);
        assert_eq!(probe.kernel.said, ["+generic ", "+cfg80211 regdom=DE", "+brcmfmac debug=1 roamoff=1 xz"]);
        assert_eq!(probe.load("brcmfmac", "").unwrap().fresh, Vec::<String>::new());
    }

    #[test]
    fn what_is_built_in_needs_nothing_and_an_alias_is_looked_up() {
        let (_dir, mut probe) = kernel(&[], &[]);
        assert_eq!(probe.load("ext4", "").unwrap(), Probed::default());
        assert_eq!(probe.load("usb:v1d2", "").unwrap().fresh, ["busy"]);
        let why = probe.load("absent", "").unwrap_err().to_string();
        assert_eq!(why, "module absent: this kernel has no module of that name, neither as a file nor built in");
    }

    #[test]
    fn a_load_that_fails_takes_out_what_it_has_brought_and_says_which_file() {
        let (dir, mut probe) = kernel(&["rfkill"], &[("brcmfmac", Errno::OPNOTSUPP), ("generic", Errno::NOMEM)]);
        let why = probe.load("brcmfmac", "").unwrap_err();
        assert_eq!(probe.kernel.said.last().map(String::as_str), Some("-cfg80211"));
        assert_eq!(probe.kernel.there, ["rfkill"]);
        let why = why.to_string();
        let file = dir.path().join("brcmfmac.ko.xz");
        assert!(why.starts_with(&format!("module brcmfmac: the kernel does not take {}: ", file.display())), "{why}");
        assert!(why.contains("may not unpack"), "{why}");
    }

    #[test]
    fn of_several_modules_those_that_there_are_are_loaded_and_only_a_refusal_is_told() {
        let (_dir, mut probe) = kernel(&["busy"], &[("generic", Errno::NOMEM)]);
        let errors = probe.load_known(&["ext4", "absent", "busy", "generic", "cfg80211"]);
        assert_eq!(probe.kernel.said, ["+generic ", "+rfkill ", "+cfg80211 regdom=DE"]);
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert!(errors.len() == 1 && errors[0].starts_with("module generic: the kernel does not take"), "{errors:?}");
    }

    #[test]
    fn what_is_in_use_stays_and_is_named() {
        let (_dir, mut probe) = kernel(&["busy", "rfkill"], &[]);
        let staying = probe.unload(&["rfkill".to_owned(), "busy".to_owned()]);
        assert_eq!(staying, [("busy".to_owned(), Errno::AGAIN)]);
        assert_eq!(probe.kernel.said, ["-busy", "-rfkill"]);
    }

    #[test]
    fn a_kernel_without_modules_is_told_from_a_list_that_cannot_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let mut probe = Modprobe::new(dir.path().join("6.1"), String::new(), Fake::default());
        let why = probe.load("tun", "").unwrap_err().to_string();
        assert!(why.ends_with("the base system brings no modules for this kernel"), "{why}");
        assert!(probe.load_known(&["tun"]).is_empty(), "it may have all built in");
        std::fs::create_dir_all(dir.path().join("6.1/modules.dep")).unwrap();
        assert!(matches!(probe.load("tun", ""), Err(ProbeError::List(_, ErrorKind::IsADirectory))));
        assert_eq!(probe.load_known(&["tun"]).len(), 1);
    }
}
