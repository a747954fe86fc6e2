//! A FIT image: kernel and initramfs in one file with their hashes, as `bootm` of a U-Boot takes it.
//!
//! ```text
//!   kernel    gzip      unpacked by U-Boot to where the recipe says
//!   ramdisk   as it is  the kernel unpacks it
//!   fdt       a device tree that names the machine and nothing else: U-Boot chooses by it, and hands over its own
//! ```
//!
//! Promise: the same parts give the same bytes.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::recipe::Fit;
use crate::arch::Arch;
use crate::run::tools::quiet;

/// Its name in a bundle.
pub(crate) const FIT: &str = "pantavisor.fit";

/// The day that an image was made on; it says nothing, and is the same for all.
const DAY: &str = "1763000000";

/// Makes one of a kernel and an initramfs. `work` is an empty directory.
pub(super) fn make(fit: &Fit, arch: Arch, (kernel, initramfs): (&Path, &Path), work: &Path) -> Result<Vec<u8>> {
    let arch = match arch {
        Arch::Aarch64 => "arm64",
        Arch::Armv7 => "arm",
        Arch::X86_64 => bail!("no firmware of a PC starts a FIT image"),
    };
    fs::create_dir_all(work).with_context(|| format!("cannot create {}", work.display()))?;
    let mut gzip = Command::new("gzip");
    let gzip = gzip.args(["-9", "-n", "-c"]).arg(kernel).output().context("cannot run gzip")?;
    if !gzip.status.success() {
        bail!("gzip: {}", String::from_utf8_lossy(&gzip.stderr).trim());
    }
    fs::write(work.join("kernel"), gzip.stdout)?;
    fs::copy(initramfs, work.join("ramdisk")).with_context(|| format!("cannot copy {}", initramfs.display()))?;
    let tree = format!("/dts-v1/; / {{ compatible = \"{}\"; chosen {{ }}; }};\n", fit.compatible);
    fs::write(work.join("fdt.dts"), tree)?;
    quiet(Command::new("dtc").current_dir(work).args(["-q", "-O", "dtb", "-o", "fdt", "fdt.dts"]))?;
    let part = |name: &str, kind: &str, more: &str| {
        format!(
            "{name} {{ description = \"{name}\"; data = /incbin/(\"{name}\"); type = \"{kind}\"; arch = \"{arch}\"; {more} \
             hash-1 {{ algo = \"sha256\"; }}; }};\n"
        )
    };
    let load = format!("os = \"linux\"; compression = \"gzip\"; load = <{0:#x}>; entry = <{0:#x}>;", fit.load);
    let parts = [
        part("kernel", "kernel", &load),
        part("ramdisk", "ramdisk", "os = \"linux\"; compression = \"none\";"),
        part("fdt", "flat_dt", "compression = \"none\";"),
    ];
    let source = format!(
        "/dts-v1/; / {{ description = \"cairn\"; #address-cells = <1>; images {{\n{} }}; configurations {{ default = \"conf\"; \
         conf {{ kernel = \"kernel\"; ramdisk = \"ramdisk\"; fdt = \"fdt\"; }}; }}; }};\n",
        parts.concat()
    );
    fs::write(work.join("image.its"), source)?;
    let mut mkimage = Command::new("mkimage");
    quiet(mkimage.current_dir(work).env("SOURCE_DATE_EPOCH", DAY).args(["-f", "image.its", "image"]))?;
    let image = fs::read(work.join("image")).context("mkimage made no image")?;
    fs::remove_dir_all(work).with_context(|| format!("cannot remove {}", work.display()))?;
    Ok(image)
}
