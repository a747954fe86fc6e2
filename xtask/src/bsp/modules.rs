//! The modules of a kernel: where they lie, what each needs, and so in which order they are loaded.
//!
//! Promises: whoever loads a list of [`Modules::order`] from its beginning to its end meets no unknown symbol. What is
//! built into the kernel is in no list; a name that is neither a module nor built in is an error.
//!
//! Sources: `modules.dep(5)`; `modprobe.d(5)` for `softdep`; `modules.builtin` as in the kernel's
//! `Documentation/kbuild/kbuild.rst`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// The modules of one release.
pub(crate) struct Modules {
    /// The directory of that release.
    pub(crate) dir: PathBuf,
    modules: BTreeMap<String, Module>,
    builtin: BTreeSet<String>,
    /// Modules by the exact names that they have besides their own.
    aliases: BTreeMap<String, Vec<String>>,
}

/// One module.
#[derive(Default)]
struct Module {
    /// Its file, below the directory of the release.
    path: String,
    /// The modules whose symbols it uses.
    needs: Vec<String>,
    /// What it asks for by name at run time, if it is there.
    wants: Vec<String>,
}

impl Modules {
    /// Reads the lists in a directory that `depmod` has seen.
    pub(crate) fn read(dir: &Path) -> Result<Self> {
        let text = |name: &str| fs::read_to_string(dir.join(name));
        let need = |name: &str| text(name).with_context(|| format!("cannot read {}", dir.join(name).display()));
        let modules = need("modules.dep").with_context(|| format!("`depmod` has not seen {}", dir.display()))?;
        let builtin = fs::read(dir.join("modules.builtin.modinfo")).unwrap_or_default();
        Self::parse(
            dir,
            &Lists {
                dependencies: &modules,
                builtin: &need("modules.builtin")?,
                builtin_info: &String::from_utf8_lossy(&builtin),
                soft: &text("modules.softdep").unwrap_or_default(),
                aliases: &text("modules.alias").unwrap_or_default(),
            },
        )
    }

    fn parse(dir: &Path, lists: &Lists<'_>) -> Result<Self> {
        let mut modules = BTreeMap::new();
        for line in lists.dependencies.lines() {
            let (path, needs) = line.split_once(':').with_context(|| format!("modules.dep: {line:?}"))?;
            let needs = needs.split_whitespace().map(name_of).collect();
            modules.insert(name_of(path), Module { path: path.to_owned(), needs, wants: Vec::new() });
        }
        for line in lists.soft.lines() {
            let mut words = line.split_whitespace();
            let (Some("softdep"), Some(name)) = (words.next(), words.next()) else { continue };
            let before = words.skip_while(|word| *word != "pre:").skip(1).take_while(|word| *word != "post:");
            if let Some(module) = modules.get_mut(&plain(name)) {
                module.wants.extend(before.map(str::to_owned));
            }
        }
        let mut aliases: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in lists.aliases.lines() {
            let mut words = line.split_whitespace();
            if let (Some("alias"), Some(alias), Some(name)) = (words.next(), words.next(), words.next())
                && !alias.contains(['*', '[', '?'])
            {
                aliases.entry(plain(alias)).or_default().push(plain(name));
            }
        }
        let info = lists.builtin_info.split('\0').filter_map(|entry| entry.split_once(".alias="));
        let builtin = lists.builtin.lines().map(name_of).chain(info.map(|(_, alias)| plain(alias))).collect();
        Ok(Self { dir: dir.to_owned(), modules, builtin, aliases })
    }

    /// These modules and all they need, as files below [`Modules::dir`], in the order of loading.
    pub(crate) fn order<'a>(&'a self, names: impl IntoIterator<Item = &'a str>) -> Result<Vec<&'a str>> {
        let mut order = Order { modules: self, seen: BTreeSet::new(), files: Vec::new() };
        for name in names {
            let plain = plain(name);
            if self.modules.contains_key(&plain) {
                order.take(&plain);
            } else if !self.builtin.contains(&plain) {
                bail!("this kernel has no module {name}, neither as a file nor built in");
            }
        }
        Ok(order.files)
    }

    /// Those that a wish means: a name, or a directory of the tree, which ends with `/`.
    pub(crate) fn named<'a>(&'a self, wish: &'a str) -> Result<Vec<&'a str>> {
        if !wish.ends_with('/') {
            return Ok(vec![wish]);
        }
        let prefix = format!("kernel/{wish}");
        let found: Vec<_> = self
            .modules
            .iter()
            .filter(|(_, module)| module.path.starts_with(&prefix))
            .map(|(name, _)| name.as_str())
            .collect();
        if found.is_empty() {
            bail!("this kernel has no modules in {prefix}");
        }
        Ok(found)
    }

    /// What meets a wish at run time. Of several the one that every processor of the architecture can run; what is built
    /// in, or not there at all, needs nothing.
    fn met(&self, wish: &str) -> Option<&str> {
        let plain = plain(wish);
        if let Some((name, _)) = self.modules.get_key_value(&plain) {
            return Some(name);
        }
        if self.builtin.contains(&plain) {
            return None;
        }
        let mut candidates = self.aliases.get(&plain)?.iter().filter_map(|name| self.modules.get_key_value(name));
        candidates.find(|(_, module)| !module.path.starts_with("kernel/arch/")).map(|(name, _)| name.as_str())
    }
}

/// The text of the lists.
struct Lists<'a> {
    dependencies: &'a str,
    builtin: &'a str,
    builtin_info: &'a str,
    soft: &'a str,
    aliases: &'a str,
}

struct Order<'a> {
    modules: &'a Modules,
    seen: BTreeSet<&'a str>,
    files: Vec<&'a str>,
}

impl<'a> Order<'a> {
    /// A module after all that it needs. One that is seen already is on its way: soft dependencies may go in circles.
    fn take(&mut self, name: &str) {
        let Some((name, module)) = self.modules.modules.get_key_value(name) else { return };
        if !self.seen.insert(name) {
            return;
        }
        let wanted = module.wants.iter().filter_map(|wish| self.modules.met(wish));
        // The list names the deepest need last.
        for need in wanted.chain(module.needs.iter().rev().map(String::as_str)) {
            self.take(need);
        }
        self.files.push(&module.path);
    }
}

/// `kernel/drivers/block/virtio-blk.ko.xz` is the module `virtio_blk`.
fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    plain(file.split_once(".ko").map_or(file, |(name, _)| name))
}

/// The kernel makes no difference between these two.
fn plain(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modules() -> Modules {
        Modules::parse(Path::new("/"), &Lists {
            dependencies: "kernel/fs/ext4/ext4.ko: kernel/lib/crc16.ko kernel/fs/jbd2/jbd2.ko kernel/fs/mbcache.ko\n\
                           kernel/fs/jbd2/jbd2.ko:\nkernel/lib/crc16.ko:\nkernel/fs/mbcache.ko:\n\
                           kernel/crypto/crc32c_generic.ko:\nkernel/arch/x86/crypto/crc32c-intel.ko:\n\
                           kernel/drivers/virtio/virtio_pci.ko: kernel/drivers/virtio/virtio_ring.ko \
                           kernel/drivers/virtio/virtio.ko\n\
                           kernel/drivers/virtio/virtio_ring.ko: kernel/drivers/virtio/virtio.ko\n\
                           kernel/drivers/virtio/virtio.ko:\n",
            builtin: "kernel/drivers/nvme/host/nvme-core.ko\n",
            builtin_info: "sha256_generic.alias=sha256\0sha256_generic.license=GPL\0",
            soft: "# a comment\nsoftdep ext4 pre: crc32c sha256 nothing post: late\n",
            aliases: "alias crc32c crc32c_intel\nalias crc32c crc32c_generic\nalias pci:v*d* virtio_pci\n",
        })
        .unwrap()
    }

    #[test]
    fn what_a_module_needs_stands_before_it_and_once() {
        let modules = modules();
        let files = modules.order(["virtio_ring", "virtio-pci"]).unwrap();
        let names: Vec<_> = files.iter().map(|path| name_of(path)).collect();
        assert_eq!(names, ["virtio", "virtio_ring", "virtio_pci"]);
    }

    #[test]
    fn a_wish_for_an_algorithm_is_met_by_the_module_that_every_processor_runs() {
        let modules = modules();
        let names: Vec<_> = modules.order(["ext4"]).unwrap().into_iter().map(name_of).collect();
        assert_eq!(names, ["crc32c_generic", "mbcache", "jbd2", "crc16", "ext4"]);
    }

    #[test]
    fn what_is_built_in_needs_no_file_and_what_is_nowhere_is_an_error() {
        let modules = modules();
        assert!(modules.order(["nvme-core"]).unwrap().is_empty());
        let error = modules.order(["nvme_cor"]).unwrap_err().to_string();
        assert!(error.contains("no module nvme_cor"), "{error}");
    }

    #[test]
    fn a_directory_means_what_is_below_it() {
        let modules = modules();
        assert_eq!(modules.named("drivers/virtio/").unwrap(), ["virtio", "virtio_pci", "virtio_ring"]);
        assert!(modules.named("drivers/usb/").is_err());
        assert_eq!(modules.named("veth").unwrap(), ["veth"]);
    }
}
