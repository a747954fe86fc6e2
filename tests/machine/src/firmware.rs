//! Where QEMU and the firmware files are: unpacked below the target directory, or installed.
//!
//! ```text
//!   target/packages/PACKAGE/usr/…      as `cargo xtask setup` unpacks them; found before
//!   /usr/…                             what the distribution has installed
//! ```

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A file of a Debian package.
#[derive(Clone, Copy)]
pub(crate) struct Packaged {
    pub(crate) package: &'static str,
    /// Without the first slash.
    pub(crate) path: &'static str,
}

pub(crate) const QEMU_X86_64: Packaged = Packaged { package: "qemu-system-x86", path: "usr/bin/qemu-system-x86_64" };
pub(crate) const QEMU_ARM64: Packaged = Packaged { package: "qemu-system-arm", path: "usr/bin/qemu-system-aarch64" };
pub(crate) const QEMU_ARM: Packaged = Packaged { package: "qemu-system-arm", path: "usr/bin/qemu-system-arm" };
pub(crate) const OVMF_CODE: Packaged = Packaged { package: "ovmf", path: "usr/share/OVMF/OVMF_CODE_4M.fd" };
pub(crate) const OVMF_VARS: Packaged = Packaged { package: "ovmf", path: "usr/share/OVMF/OVMF_VARS_4M.fd" };
pub(crate) const UBOOT_ARM64: Packaged =
    Packaged { package: "u-boot-qemu", path: "usr/lib/u-boot/qemu_arm64/u-boot.bin" };

impl Packaged {
    /// Where it is. `packages` overrides the directory of unpacked ones.
    pub(crate) fn find(self, packages: Option<&Path>) -> Result<PathBuf> {
        let unpacked = packages.map_or_else(packages_directory, Path::to_owned).join(self.package).join(self.path);
        let installed = Path::new("/").join(self.path);
        let place = [unpacked, installed].into_iter().find(|place| place.is_file());
        place.ok_or(Error::Missing { what: self.path, package: self.package })
    }
}

/// That of this workspace.
fn packages_directory() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target")).join("packages")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unpacked_comes_before_what_is_installed() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("busybox/bin/sh");
        let packaged = Packaged { package: "busybox", path: "bin/sh" };
        assert_eq!(packaged.find(Some(dir.path())).unwrap(), Path::new("/bin/sh"));
        std::fs::create_dir_all(own.parent().unwrap()).unwrap();
        std::fs::write(&own, "").unwrap();
        assert_eq!(packaged.find(Some(dir.path())).unwrap(), own);
    }

    #[test]
    fn what_is_nowhere_names_its_package_and_the_command_that_brings_it() {
        let packaged = Packaged { package: "u-boot-none", path: "usr/lib/u-boot/none/u-boot.bin" };
        let error = packaged.find(None).unwrap_err().to_string();
        assert!(error.contains("u-boot-none") && error.contains("cargo xtask setup"), "{error}");
    }
}
