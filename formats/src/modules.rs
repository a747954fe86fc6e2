//! The lists that `depmod` makes of the modules of a kernel, and what of them has to be loaded for one name.
//!
//! ```text
//!   modules.dep                kernel/fs/ext4/ext4.ko: kernel/lib/crc16.ko kernel/fs/mbcache.ko    the deepest need last
//!   modules.softdep            softdep ext4 pre: crc32c post: late                                 if it is there
//!   modules.alias              alias pci:v00001AF4d* virtio_pci                                    a pattern, a module
//!   modules.builtin            kernel/drivers/nvme/host/nvme-core.ko                               needs no file
//!   modules.builtin.modinfo    ext4.alias=fs-ext4 NUL …                                            the same, by alias
//! ```
//!
//! The rules are those of `modprobe`: `-` and `_` are one character; a name is first that of a file, then of what is built
//! in, then an alias, which may mean several modules; a module whose alias was asked for is left out where the command line has
//! it on its list (`modprobe.blacklist=`). What is wanted softly and is nowhere is no error. Circles of such wishes end.
//!
//! API: [`Lists::order`], [`parameters`].

use alloc::borrow::ToOwned as _;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::drivers_json::words;
use crate::path;

/// The most modules that one name may stand for, with all that they need.
pub const ORDER_MAX: usize = 256;

/// How many wishes may hang on one another. The longest chain of a kernel has about five.
const DEPTH_MAX: usize = 32;

/// The longest pattern of an alias that is looked at, in bytes.
const PATTERN_MAX: usize = 512;

/// The text of the lists.
#[derive(Clone, Copy, Default, Debug)]
pub struct Lists<'a> {
    /// `modules.dep`
    pub dependencies: &'a str,
    /// `modules.softdep`
    pub soft: &'a str,
    /// `modules.alias`
    pub aliases: &'a str,
    /// `modules.builtin`
    pub builtin: &'a str,
    /// `modules.builtin.modinfo`
    pub builtin_info: &'a str,
}

/// A module to be loaded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Module {
    /// Its name, as the kernel shows it.
    pub name: String,
    /// Its file, below the directory of the lists.
    pub file: String,
    /// Whether it is what was asked for; else it is needed by that.
    pub asked: bool,
    /// Whether nothing fails without it.
    pub soft: bool,
}

/// Why a name cannot be loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ModulesError {
    /// No file, nothing that is built in, and no alias.
    Unknown,
    /// All that its alias means is on the list of the command line.
    Excluded,
    /// A file outside of the directory, or a need that has no file.
    List,
    /// More than [`ORDER_MAX`] modules, or a chain that does not end.
    TooMany,
}

impl fmt::Display for ModulesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("this kernel has no module of that name, neither as a file nor built in"),
            Self::Excluded => f.write_str("the command line excludes it with `modprobe.blacklist`"),
            Self::List => f.write_str("modules.dep names a file that is not below its directory; run `depmod`"),
            Self::TooMany => write!(f, "it needs more than {ORDER_MAX} modules, or they need one another in circles"),
        }
    }
}

impl core::error::Error for ModulesError {}

impl Lists<'_> {
    /// What has to be loaded for a name, each after what it needs. Nothing, where it is built in. `excluded` says of a module
    /// whether the command line excludes it.
    ///
    /// # Errors
    /// [`ModulesError`]
    pub fn order(&self, name: &str, excluded: &dyn Fn(&str) -> bool) -> Result<Vec<Module>, ModulesError> {
        let name = plain(name);
        let mut order = Order { lists: self, excluded, seen: BTreeSet::new(), modules: Vec::new() };
        order.meet(&name, false, 0)?;
        Ok(order.modules)
    }

    /// The line of a module: its file, and those it needs, the deepest last.
    fn line(&self, name: &str) -> Option<(&str, &str)> {
        let mut lines = self.dependencies.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(file, _)| is_of(file, name))
    }

    fn is_builtin(&self, name: &str) -> bool {
        let alias = |entry: &str| entry.split_once(".alias=").is_some_and(|(_, pattern)| matches(pattern, name));
        self.builtin.lines().any(|file| is_of(file, name)) || self.builtin_info.split('\0').any(alias)
    }

    /// The modules that an alias means.
    fn aliased(&self, name: &str) -> Vec<String> {
        let mut found = Vec::new();
        for line in self.aliases.lines() {
            let mut words = line.split_ascii_whitespace();
            if let (Some("alias"), Some(pattern), Some(module)) = (words.next(), words.next(), words.next())
                && matches(pattern, name)
            {
                let module = plain(module);
                if !found.contains(&module) {
                    found.push(module);
                }
            }
        }
        found
    }

    /// What a module wants softly: before it, and after it.
    fn wishes(&self, name: &str) -> (Vec<&str>, Vec<&str>) {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for line in self.soft.lines() {
            let mut words = line.split_ascii_whitespace();
            if words.next() != Some("softdep") || words.next().map(plain).as_deref() != Some(name) {
                continue;
            }
            let mut is_after = None;
            for word in words {
                match (word, is_after) {
                    ("pre:", _) => is_after = Some(false),
                    ("post:", _) => is_after = Some(true),
                    (wish, Some(false)) => before.push(wish),
                    (wish, Some(true)) => after.push(wish),
                    (_, None) => {}
                }
            }
        }
        (before, after)
    }
}

struct Order<'a> {
    lists: &'a Lists<'a>,
    excluded: &'a dyn Fn(&str) -> bool,
    /// On its way, or there.
    seen: BTreeSet<String>,
    modules: Vec<Module>,
}

impl Order<'_> {
    /// Takes whatever a name means.
    fn meet(&mut self, name: &str, soft: bool, depth: usize) -> Result<(), ModulesError> {
        if depth > DEPTH_MAX {
            return Err(ModulesError::TooMany);
        }
        if self.lists.line(name).is_some() {
            return self.take(name, depth == 0, soft, depth);
        }
        if self.lists.is_builtin(name) {
            return Ok(());
        }
        let meant = self.lists.aliased(name);
        let (excluded, known) = (self.excluded, meant.len());
        let mut taken = 0;
        for module in meant.into_iter().filter(|module| !excluded(module)) {
            taken += 1;
            self.take(&module, depth == 0, soft, depth)?;
        }
        match (known, taken) {
            (0, _) => Err(ModulesError::Unknown),
            (_, 0) => Err(ModulesError::Excluded),
            _ => Ok(()),
        }
    }

    /// Takes a module after all that it needs.
    fn take(&mut self, name: &str, asked: bool, soft: bool, depth: usize) -> Result<(), ModulesError> {
        if !self.seen.insert(name.to_owned()) {
            // What was only wished for before is needed now.
            let met = self.modules.iter_mut().find(|module| !soft && module.name == name);
            met.into_iter().for_each(|module| module.soft = false);
            return Ok(());
        }
        let lists = self.lists;
        let (file, needs) = lists.line(name).ok_or(ModulesError::List)?;
        path::relative(file).map_err(|_| ModulesError::List)?;
        let (before, after) = lists.wishes(name);
        self.wish(&before, depth)?;
        for need in needs.split_ascii_whitespace().rev() {
            // Its line has all of what that needs in turn, so this goes no deeper.
            if depth > DEPTH_MAX {
                return Err(ModulesError::TooMany);
            }
            self.take(&name_of(need), false, soft, depth + 1)?;
        }
        if self.modules.len() == ORDER_MAX {
            return Err(ModulesError::TooMany);
        }
        self.modules.push(Module { name: name.to_owned(), file: file.to_owned(), asked, soft });
        self.wish(&after, depth)
    }

    /// What is wanted softly and not to be had is not missed.
    fn wish(&mut self, wishes: &[&str], depth: usize) -> Result<(), ModulesError> {
        for wish in wishes {
            if let Err(error @ ModulesError::TooMany) = self.meet(&plain(wish), true, depth + 1) {
                return Err(error);
            }
        }
        Ok(())
    }
}

/// What a command line tells a module: `snd_hda.model=x` is `model=x` for `snd-hda`. The kernel itself reads these for what is
/// built in only.
#[must_use]
pub fn parameters(command_line: &str, module: &str) -> String {
    let mut parameters = String::new();
    let words = words(command_line).unwrap_or_default();
    // What stands behind a double dash is for PID 1.
    for word in words.into_iter().take_while(|word| *word != "--") {
        let key = word.split('=').next().unwrap_or(word);
        let Some((of, _)) = key.split_once('.').filter(|(of, _)| plain(of) == plain(module)) else { continue };
        if !parameters.is_empty() {
            parameters.push(' ');
        }
        parameters += word.get(of.len() + 1..).unwrap_or_default();
    }
    parameters
}

/// Whether a command line excludes a module that is asked for by an alias.
#[must_use]
pub fn is_excluded(command_line: &str, module: &str) -> bool {
    let lists = command_line.split_ascii_whitespace().filter_map(|word| word.strip_prefix("modprobe.blacklist="));
    lists.flat_map(|list| list.split(',')).any(|name| plain(name) == plain(module))
}

/// `kernel/drivers/block/virtio-blk.ko.xz` is the module `virtio_blk`.
#[must_use]
pub fn name_of(file: &str) -> String {
    let file = file.rsplit('/').next().unwrap_or(file);
    plain(file.split_once(".ko").map_or(file, |(name, _)| name))
}

/// Whether a file is that of the module of this plain name, without making a text for each file of a kernel.
fn is_of(file: &str, name: &str) -> bool {
    let file = file.rsplit('/').next().unwrap_or(file);
    let stem = file.split_once(".ko").map_or(file, |(stem, _)| stem);
    let plain = |byte| if byte == b'-' { b'_' } else { byte };
    stem.len() == name.len() && stem.bytes().map(plain).eq(name.bytes())
}

/// Whether a file is compressed, as its ending says.
#[must_use]
pub fn is_compressed(file: &str) -> bool {
    !file.ends_with(".ko")
}

/// The kernel makes no difference between `-` and `_`, but in a set of characters a `-` is a range.
#[must_use]
pub fn plain(name: &str) -> String {
    let mut in_set = false;
    let one = |c| {
        in_set = (in_set || c == '[') && c != ']';
        if c == '-' && !in_set { '_' } else { c }
    };
    name.chars().map(one).collect()
}

/// Whether a pattern of `depmod` (`*`, `?`, `[a-f]`) means this name. At most length times length steps.
fn matches(pattern: &str, name: &str) -> bool {
    if pattern.len() > PATTERN_MAX || name.len() > PATTERN_MAX {
        return false;
    }
    let pattern = plain(pattern);
    let (mut pattern, mut name) = (pattern.as_bytes(), name.as_bytes());
    // Behind the last star, and what it has left to try.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        let step = match (pattern.split_first(), name.split_first()) {
            (None, None) => return true,
            (Some((b'*', rest)), _) => {
                retry = Some((rest, name));
                Some((rest, name))
            }
            (Some((b'?', rest)), Some((_, behind))) => Some((rest, behind)),
            (Some((b'[', set)), Some((byte, behind))) => in_set(set, *byte).map(|rest| (rest, behind)),
            (Some((one, rest)), Some((byte, behind))) if one == byte => Some((rest, behind)),
            _ => None,
        };
        (pattern, name) = match (step, retry) {
            (Some(step), _) => step,
            (None, Some((rest, [_, behind @ ..]))) => {
                retry = Some((rest, behind));
                (rest, behind)
            }
            _ => return false,
        };
    }
}

/// What stands behind a set, if the byte is in it.
fn in_set(set: &[u8], byte: u8) -> Option<&[u8]> {
    let end = set.iter().position(|one| *one == b']')?;
    let (mut members, rest) = (set.get(..end)?, set.get(end + 1..)?);
    let mut found = false;
    while let [first, behind @ ..] = members {
        members = match behind {
            [b'-', last, behind @ ..] => {
                found |= (*first..=*last).contains(&byte);
                behind
            }
            _ => {
                found |= *first == byte;
                behind
            }
        };
    }
    found.then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTS: Lists<'_> = Lists {
        dependencies: "kernel/fs/ext4/ext4.ko: kernel/lib/crc16.ko kernel/fs/jbd2/jbd2.ko kernel/fs/mbcache.ko\n\
                       kernel/fs/jbd2/jbd2.ko:\nkernel/lib/crc16.ko.xz:\nkernel/fs/mbcache.ko:\n\
                       kernel/crypto/crc32c_generic.ko:\nkernel/arch/x86/crypto/crc32c-intel.ko:\n\
                       kernel/drivers/virtio/virtio_pci.ko: kernel/drivers/virtio/virtio_ring.ko \
                       kernel/drivers/virtio/virtio.ko\n\
                       kernel/drivers/virtio/virtio_ring.ko: kernel/drivers/virtio/virtio.ko\n\
                       kernel/drivers/virtio/virtio.ko:\nkernel/a.ko:\nkernel/b.ko:\n../evil.ko:\nkernel/torn.ko: gone.ko\n",
        builtin: "kernel/drivers/nvme/host/nvme-core.ko\n",
        builtin_info: "sha256_generic.alias=sha256\0x.license=GPL\0n.alias=pci:v*d*bc01sc08i02*\0",
        soft: "# a comment\nsoftdep ext4 pre: crc32c sha256 nothing post: a\nsoftdep a pre: b\nsoftdep b pre: a\nsoftdep b c\n",
        aliases: "# x\nalias crc32c crc32c_intel\nalias crc32c crc32c-generic\nalias pci:v00001AF4d*sv* virtio-pci\n\
                  alias of:N*T*Cacme,[a-c]-x a\n",
    };

    fn order(name: &str) -> Result<Vec<String>, ModulesError> {
        Ok(LISTS.order(name, &|_| false)?.into_iter().map(|module| module.name).collect())
    }

    #[test]
    fn what_a_module_needs_stands_before_it_and_once() {
        assert_eq!(order("virtio-pci").unwrap(), ["virtio", "virtio_ring", "virtio_pci"]);
        let modules = LISTS.order("virtio_pci", &|_| false).unwrap();
        assert_eq!(modules.iter().map(|module| module.asked).collect::<Vec<_>>(), [false, false, true]);
        assert_eq!(modules[2].file, "kernel/drivers/virtio/virtio_pci.ko");
    }

    #[test]
    fn wishes_are_met_before_and_after_and_their_circles_end() {
        let expected = ["crc32c_intel", "crc32c_generic", "mbcache", "jbd2", "crc16", "ext4", "b", "a"];
        assert_eq!(order("ext4").unwrap(), expected);
        let modules = LISTS.order("ext4", &|_| false).unwrap();
        let asked: Vec<_> = modules.iter().filter(|module| module.asked).map(|module| module.name.as_str()).collect();
        assert_eq!(asked, ["ext4"]);
        let soft: Vec<_> = modules.iter().filter(|module| module.soft).map(|module| module.name.as_str()).collect();
        assert_eq!(soft, ["crc32c_intel", "crc32c_generic", "b", "a"]);
    }

    #[test]
    fn a_name_is_a_file_then_built_in_then_an_alias() {
        assert_eq!(order("nvme_core").unwrap(), Vec::<String>::new());
        assert_eq!(order("sha256").unwrap(), Vec::<String>::new());
        assert_eq!(order("pci:v0d1bc01sc08i02x").unwrap(), Vec::<String>::new());
        assert_eq!(order("pci:v00001AF4d00001041sv1").unwrap(), ["virtio", "virtio_ring", "virtio_pci"]);
        assert_eq!(order("of:NxTyCacme,b-x").unwrap(), ["b", "a"]);
        for unknown in ["nvme_cor", "virtio_pc", "kernel", "", "of:NxTyCacme,d-x", "pci:v00001AF4"] {
            assert_eq!(order(unknown), Err(ModulesError::Unknown), "{unknown}");
        }
    }

    #[test]
    fn the_command_line_excludes_what_only_an_alias_asks_for() {
        let line = "quiet modprobe.blacklist=virtio-pci,x console=ttyS0";
        let order = |name: &str| LISTS.order(name, &|module| is_excluded(line, module)).map(|modules| modules.len());
        assert_eq!(order("pci:v00001AF4d1sv1"), Err(ModulesError::Excluded));
        assert_eq!(order("virtio_pci"), Ok(3));
    }

    #[test]
    fn a_list_that_leads_elsewhere_is_refused() {
        assert_eq!(order("evil"), Err(ModulesError::List));
        assert_eq!(order("torn"), Err(ModulesError::List));
    }

    #[test]
    fn neither_a_long_chain_nor_a_long_list_is_followed_to_its_end() {
        let chain: String = (0..64).map(|n| alloc::format!("softdep m{n} pre: m{}\n", n + 1)).collect();
        let files: String = (0..65).map(|n| alloc::format!("m{n}.ko:\n")).collect();
        let lists = Lists { dependencies: &files, soft: &chain, ..Lists::default() };
        assert_eq!(lists.order("m0", &|_| false), Err(ModulesError::TooMany));
        assert_eq!(lists.order("m60", &|_| false).map(|modules| modules.len()), Ok(5));
        let needs: Vec<_> = (0..ORDER_MAX).map(|n| alloc::format!("n{n}.ko")).collect();
        let files: String = needs.iter().map(|file| alloc::format!("{file}:\n")).collect();
        let files = alloc::format!("all.ko: {}\n{files}", needs.join(" "));
        let lists = Lists { dependencies: &files, ..Lists::default() };
        assert_eq!(lists.order("all", &|_| false), Err(ModulesError::TooMany));
    }

    #[test]
    fn a_module_is_told_what_the_command_line_has_for_it() {
        let line = r#"snd-hda.model=a quiet snd_hda.note="x y" snd_hda=1 snd_hdab.x=1 a.b=snd_hda.c=2 -- snd_hda.z=1"#;
        assert_eq!(parameters(line, "snd_hda"), r#"model=a note="x y""#);
        assert_eq!(parameters(line, "snd"), "");
    }

    #[test]
    fn patterns_mean_what_they_mean_to_depmod() {
        for (pattern, name, is_meant) in [
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("*", "", true),
            ("?", "", false),
            ("[a-c]x", "bx", true),
            ("[a-c]x", "dx", false),
            ("[ab", "a", false),
            ("a-b", "a_b", true),
            ("****a", "bbba", true),
        ] {
            assert_eq!(matches(pattern, name), is_meant, "{pattern} {name}");
        }
    }
}
