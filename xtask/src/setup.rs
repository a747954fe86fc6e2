//! `setup`: the programs and libraries of the host that the other commands need.
//!
//! Promises: [`NEEDS`] is the only list, with a reason for each entry; when nothing is missing it looks at a few files
//! and is done; it installs only as root on a Debian-like system, and elsewhere prints what to install and fails.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Result, bail};
use serde_json::json;

use crate::Json;
use crate::cargo;
use crate::packages;
use crate::term::{Out, green};

/// A Debian package, how to see that it is there, and who needs it.
struct Need {
    package: &'static str,
    proof: Proof,
    why: &'static str,
}

/// What a package leaves behind.
enum Proof {
    /// A program in one of [`PATHS`] or in `$PATH`.
    Program(&'static str),
    /// A file, under any of these names.
    File(&'static [&'static str]),
    /// A program of a package that is unpacked and not installed ([`packages`]), by its path in there.
    Unpacked(&'static str),
    /// The same of another architecture, as the distribution calls it.
    Foreign(&'static str, &'static str),
    /// A package of Python and not of Debian, at this version ([`packages`]).
    Python(&'static str),
}

const NEEDS: &[Need] = &[
    Need { package: "gcc", proof: Proof::Program("cc"), why: "links every program, and the C parts of ring" },
    Need {
        package: "libc6-dev",
        proof: Proof::File(&[
            "/usr/lib/x86_64-linux-gnu/libc.a",
            "/usr/lib/aarch64-linux-gnu/libc.a",
            "/usr/lib/libc.a",
        ]),
        why: "the static C library inside the device binary (`sizes`)",
    },
    Need {
        package: "grub-common",
        proof: Proof::Program("grub-fstest"),
        why: "GRUB's own reader of file systems: what a bootloader sees of a boot file (tests/unreplayed)",
    },
    Need {
        package: "mount",
        proof: Proof::Program("mount"),
        why: "mounts those file systems, as root (tests/unreplayed)",
    },
    Need {
        package: "avahi-daemon",
        proof: Proof::Program("avahi-daemon"),
        why: "announces a device by multicast DNS, on a network of its own (tests of `pvr device scan`)",
    },
    Need { package: "iproute2", proof: Proof::Program("ip"), why: "makes that network" },
    Need {
        package: "openssl",
        proof: Proof::Program("openssl"),
        why: "makes certificates for keys that sign (tests of `pvr sig`)",
    },
    Need {
        package: "cryptsetup-bin",
        proof: Proof::Program("veritysetup"),
        why: "what trees of hashes are compared with (tests of `pvr dm`)",
    },
    Need { package: "git", proof: Proof::Program("git"), why: "`tidy` asks which files belong to the project" },
    Need {
        package: "busybox-static",
        proof: Proof::Program("busybox"),
        why: "the programs inside the containers of `runtime/container`'s tests, which have no libraries",
    },
    Need { package: "squashfs-tools", proof: Proof::Program("mksquashfs"), why: "images that containers run from" },
    Need {
        package: "umoci",
        proof: Proof::Program("umoci"),
        why: "unpacks images as pvr must make them (cli/tests/flatten)",
    },
    Need {
        package: "podman",
        proof: Proof::Program("podman"),
        why: "a daemon that images are taken from, with storage of its own (cli/tests/flatten)",
    },
    Need { package: "skopeo", proof: Proof::Program("skopeo"), why: "packs layers anew for it, which knows gzip only" },
    Need { package: "erofs-utils", proof: Proof::Program("mkfs.erofs"), why: "the same, of another kind" },
    Need {
        package: "e2fsprogs",
        proof: Proof::Program("debugfs"),
        why: "the same, of the third kind; and reads them without replaying their journal (tests/unreplayed)",
    },
    Need {
        package: "man-db",
        proof: Proof::Program("man"),
        why: "shows the manual pages of `docs --man`, in their tests",
    },
    Need {
        package: "cpio",
        proof: Proof::Unpacked("bin/cpio"),
        why: "lists an initramfs of ours, in the tests of `bsp`",
    },
    Need {
        package: "dosfstools",
        proof: Proof::Program("mkfs.vfat"),
        why: "the FATs of an image (`image`), and those that the reader of `runtime/metal` is tested with",
    },
    Need { package: "mtools", proof: Proof::Program("mcopy"), why: "files in them, without mounting" },
    Need {
        package: "nginx",
        proof: Proof::Unpacked("usr/sbin/nginx"),
        why: "the app of `run`: an OCI image is made of it, it never runs on this machine",
    },
    Need {
        package: "libssl3",
        proof: Proof::File(&[
            "/usr/lib/x86_64-linux-gnu/libssl.so.3",
            "/usr/lib/aarch64-linux-gnu/libssl.so.3",
            "/usr/lib/libssl.so.3",
        ]),
        why: "a library of that nginx",
    },
    Need {
        package: "docker-registry",
        proof: Proof::Unpacked("usr/bin/docker-registry"),
        why: "serves the images of `run` on loopback, while it runs",
    },
    Need {
        package: "qemu-system-x86",
        proof: Proof::Program("qemu-system-x86_64"),
        why: "the machines that x86 boards run on (tests/machine)",
    },
    Need {
        package: "qemu-system-arm",
        proof: Proof::Program("qemu-system-aarch64"),
        why: "the machines that Arm boards run on",
    },
    Need {
        package: "ovmf",
        proof: Proof::Unpacked("usr/share/OVMF/OVMF_CODE_4M.fd"),
        why: "their firmware: UEFI for a PC",
    },
    Need {
        package: "u-boot-qemu",
        proof: Proof::Unpacked("usr/lib/u-boot/qemu_arm64/u-boot.bin"),
        why: "the same: U-Boot for Arm64",
    },
    Need {
        package: "u-boot-sunxi",
        proof: Proof::Foreign("armhf", "usr/lib/u-boot/orangepi_plus/u-boot-sunxi-with-spl.bin"),
        why: "the same: first stage and U-Boot for the Orange Pi",
    },
    Need { package: "u-boot-tools", proof: Proof::Program("mkimage"), why: "makes `boot.scr` of a boot script" },
    Need {
        package: "device-tree-compiler",
        proof: Proof::Program("dtc"),
        why: "what `mkimage` makes FIT images with, and `bsp` changes device trees",
    },
    Need {
        package: "libubootenv-tool",
        proof: Proof::Program("fw_printenv"),
        why: "reads the boot cells of U-Boot boards as people will (boards/generic-uboot-ab)",
    },
    Need {
        package: "grub-efi-amd64-bin",
        proof: Proof::Unpacked("usr/lib/grub/x86_64-efi/moddep.lst"),
        why: "GRUB for UEFI, in parts that `image` puts together",
    },
    Need {
        package: "fdisk",
        proof: Proof::Program("sfdisk"),
        why: "partitions the disks of tests/conformance, and looks at the tables that `image` writes",
    },
    Need { package: "python3-pip", proof: Proof::Program("pip3"), why: "fetches what stands below it" },
    Need {
        package: "spdx-tools",
        proof: Proof::Python("0.8.5"),
        why: "reads what `pvr sbom` writes, as the authors of SPDX do, in its tests",
    },
];

/// What `bench` measures beside us, and nothing else needs.
const PEERS: &[Need] = &[
    Need { package: "crun", proof: Proof::Program("crun"), why: "starts containers, written in C (`bench`)" },
    Need { package: "runc", proof: Proof::Program("runc"), why: "starts containers, written in Go (`bench`)" },
    Need {
        package: "lxc",
        proof: Proof::Program("lxc-start"),
        why: "starts containers as existing devices do (`bench`)",
    },
    Need {
        package: "util-linux",
        proof: Proof::Program("unshare"),
        why: "a mount namespace to measure in, and the floor that is measured (`bench`)",
    },
    Need { package: "strace", proof: Proof::Program("strace"), why: "counts what a boot syncs (`bench`)" },
];

/// What images of whole systems are made with (`test containers`), and nothing else needs.
const SYSTEMS: &[Need] = &[
    Need {
        package: "mmdebstrap",
        proof: Proof::Program("mmdebstrap"),
        why: "puts a system together from its packages",
    },
    Need { package: "gzip", proof: Proof::Program("gzip"), why: "packs it" },
];

/// Where administration programs live that the `PATH` of a user may lack.
const PATHS: &str = "/usr/local/sbin:/usr/sbin:/sbin";

pub(crate) fn run(options: Json) -> Result<ExitCode> {
    let result = ensure(options.out());
    if options.json {
        let missing: Vec<_> = missing(NEEDS).iter().map(|need| need.package).collect();
        println!("{}", json!({ "command": "setup", "passed": result.is_ok(), "missing": missing }));
    }
    result.map(|()| ExitCode::SUCCESS)
}

/// Sees to it that everything is there. An error lists what is not.
pub(crate) fn ensure(out: Out) -> Result<()> {
    ensure_all(NEEDS, out)
}

/// The same of what `bench` measures beside us.
pub(crate) fn ensure_peers(out: Out) -> Result<()> {
    ensure_all(PEERS, out)
}

/// The same of what makes images of whole systems.
pub(crate) fn ensure_systems(out: Out) -> Result<()> {
    ensure_all(SYSTEMS, out)
}

fn ensure_all(needs: &'static [Need], out: Out) -> Result<()> {
    let present = || out.line(format!("setup: {} of {} packages present", needs.len(), needs.len()));
    if missing(needs).is_empty() {
        present();
        return Ok(());
    }
    let _lock = packages::additions()?;
    // Another run may have added them while this one waited.
    let wanted = missing(needs);
    if wanted.is_empty() {
        present();
        return Ok(());
    }
    let names: Vec<_> = wanted.iter().map(|need| need.package).collect();
    wanted.iter().for_each(|need| out.line(format!("setup: {} is missing: {}", need.package, need.why)));
    let (python, debian): (Vec<&Need>, Vec<&Need>) =
        wanted.iter().partition(|need| matches!(need.proof, Proof::Python(_)));
    if !debian.is_empty() {
        add(&debian, out)?;
    }
    for need in python {
        if let Proof::Python(version) = need.proof {
            packages::python(need.package, version, out)?;
        }
    }
    let still: Vec<_> = missing(needs).iter().map(|need| need.package).collect();
    if !still.is_empty() {
        bail!("everything was fetched, but what these packages should bring is not there: {}", still.join(" "));
    }
    out.line(green(out, &format!("setup: added {}", names.join(" "))));
    Ok(())
}

/// Adds packages of the distribution.
fn add(wanted: &[&'static Need], out: Out) -> Result<()> {
    if !is_root() || !found("apt-get") {
        let names: Vec<_> = wanted.iter().map(|need| need.package).collect();
        bail!("install these packages (Debian names) and run it again: {}", names.join(" "));
    }
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(args);
        cargo::must(&mut command, out)
    };
    apt(&["update"])?;
    for need in wanted {
        if let Proof::Foreign(arch, _) = need.proof {
            packages::fetch(arch, &[need.package], out)?;
        }
    }
    let here = wanted.iter().copied().filter(|need| !matches!(need.proof, Proof::Foreign(..)));
    let (unpacked, installed): (Vec<&Need>, Vec<&Need>) =
        here.partition(|need| matches!(need.proof, Proof::Unpacked(_)));
    let packages = |needs: &[&Need]| needs.iter().map(|need| need.package).collect::<Vec<_>>();
    if !installed.is_empty() {
        apt(&[&["install", "--yes", "--no-install-recommends"], packages(&installed).as_slice()].concat())?;
    }
    packages::unpack(&packages(&unpacked), out)
}

fn missing(needs: &'static [Need]) -> Vec<&'static Need> {
    let there = |need: &&Need| match need.proof {
        Proof::Program(name) => found(name),
        Proof::File(names) => names.iter().any(|name| Path::new(name).exists()),
        Proof::Unpacked(path) => packages::program(need.package, path).is_some(),
        Proof::Python(_) => packages::python_place(need.package).is_ok_and(|place| place.is_dir()),
        Proof::Foreign(arch, path) => packages::program(&format!("{arch}/{}", need.package), path).is_some(),
    };
    needs.iter().filter(|need| !there(need)).collect()
}

/// Whether a program of this name is installed.
pub(crate) fn found(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':').chain(PATHS.split(':')).any(|dir| Path::new(dir).join(program).is_file())
}

/// Whether the effective user is root, as the kernel says it (`Uid: real effective saved fs`).
pub(crate) fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    uid.and_then(|uid| uid.split_whitespace().nth(1)) == Some("0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_by_its_name_alone() {
        assert!(found("sh"));
        assert!(!found("a program that nobody has"));
    }

    #[test]
    fn every_need_has_a_reason() {
        assert!(NEEDS.iter().chain(PEERS).chain(SYSTEMS).all(|need| !need.package.is_empty() && !need.why.is_empty()));
    }
}
