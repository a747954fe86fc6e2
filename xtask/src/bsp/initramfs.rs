//! The initramfs of a device: the one program, the modules without which it finds no disk, what it is set up to be, and
//! whom it trusts.
//!
//! ```text
//!   /init                      the program
//!   /usr/bin/pantavisor        a link to it: what the boot scripts of the reference system start
//!   /dev/console               the node that the kernel opens for it
//!   /etc/cairn/conf            settings, `key=value`
//!   /etc/cairn/trust/NAME.pem  keys and certificates
//!   /lib/modules/early         a line for each module in the order of loading: its file, then its parameters
//!   /lib/modules/NAME.ko       the modules
//!   /proc /run /storage /sys /tmp    empty: what is mounted there
//! ```
//!
//! An addon is an archive of its own, which the kernel unpacks over the first: PID 1 uses what is in it if it is there.

use std::fmt;
use std::io::Write as _;

use anyhow::{Context as _, Result, bail};

use super::cpio::Cpio;

/// Settings of a device: the text of `/etc/cairn/conf`.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Conf(Vec<(String, String)>);

impl Conf {
    /// Sets a key, or sets it anew.
    pub(crate) fn set(mut self, key: &str, value: &str) -> Self {
        self.0.retain(|(old, _)| old != key);
        self.0.push((key.to_owned(), value.to_owned()));
        self
    }

    /// These settings, with those of `other` over them.
    pub(crate) fn with(self, other: &Self) -> Self {
        other.0.iter().fold(self, |conf, (key, value)| conf.set(key, value))
    }
}

impl fmt::Display for Conf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(key, value)| writeln!(f, "{key}={value}"))
    }
}

/// A module that is loaded before anything is mounted.
pub(crate) struct Early {
    /// The name of its file: `virtio_blk.ko`.
    pub(crate) file: String,
    /// What it is told, if anything.
    pub(crate) parameters: String,
    /// The module itself, not compressed.
    pub(crate) bytes: Vec<u8>,
}

/// What an initramfs is made of.
pub(crate) struct Contents<'a> {
    pub(crate) program: &'a [u8],
    pub(crate) conf: &'a Conf,
    /// Files by name, `NAME.pem`.
    pub(crate) trust: &'a [(String, Vec<u8>)],
    /// In the order of loading.
    pub(crate) early: &'a [Early],
}

/// How the kernel can unpack it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Compression {
    Zstd,
    Gzip,
    None,
}

impl Compression {
    /// The best that the configuration of a kernel allows. Without a configuration nothing is known to work but nothing.
    pub(crate) fn of(config: &str) -> Self {
        let has = |option: &str| config.lines().any(|line| line == format!("{option}=y"));
        match () {
            () if has("CONFIG_RD_ZSTD") => Self::Zstd,
            () if has("CONFIG_RD_GZIP") => Self::Gzip,
            () => Self::None,
        }
    }

    /// The bytes as the kernel gets them.
    pub(crate) fn pack(self, bytes: &[u8]) -> Result<Vec<u8>> {
        match self {
            Self::Zstd => {
                let mut encoder = zstd::Encoder::new(Vec::new(), 19)?;
                // 1 MiB of history: a device with little memory has to hold it while it unpacks.
                encoder.window_log(20)?;
                encoder.write_all(bytes)?;
                Ok(encoder.finish()?)
            }
            Self::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
                encoder.write_all(bytes)?;
                Ok(encoder.finish()?)
            }
            Self::None => Ok(bytes.to_owned()),
        }
    }
}

/// The archive, not compressed.
pub(crate) fn archive(contents: &Contents<'_>) -> Result<Vec<u8>> {
    let mut archive = Cpio::default();
    for dir in ["dev", "etc/cairn/trust", "lib/modules", "proc", "run", "storage", "sys"] {
        archive.dir(dir, 0o755)?;
    }
    archive.dir("tmp", 0o1777)?;
    archive.device("dev/console", 0o600, (5, 1))?;
    archive.file("etc/cairn/conf", 0o644, contents.conf.to_string().as_bytes())?;
    for (name, bytes) in contents.trust {
        if !name.ends_with(".pem") || name.contains('/') {
            bail!("{name}: what is trusted is in files whose names end with .pem");
        }
        archive.file(&format!("etc/cairn/trust/{name}"), 0o644, bytes)?;
    }
    archive.file("lib/modules/early", 0o644, list(contents.early).as_bytes())?;
    for module in contents.early {
        archive.file(&format!("lib/modules/{}", module.file), 0o644, &module.bytes)?;
    }
    archive.file("init", 0o755, contents.program).context("the program")?;
    archive.link("usr/bin/pantavisor", "/init")?;
    archive.finish()
}

/// The archive of an addon, not compressed: programs by their paths.
pub(crate) fn addon(programs: &[(String, Vec<u8>)]) -> Result<Vec<u8>> {
    let mut archive = Cpio::default();
    for (path, bytes) in programs {
        archive.file(path, 0o755, bytes)?;
    }
    archive.finish()
}

fn list(early: &[Early]) -> String {
    early.iter().map(|module| format!("{} {}", module.file, module.parameters).trim_end().to_owned() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::packages;

    fn bytes() -> Vec<u8> {
        let early = |file: &str, parameters: &str| Early {
            file: file.into(),
            parameters: parameters.into(),
            bytes: file.as_bytes().to_vec(),
        };
        archive(&Contents {
            program: b"\x7fELF",
            conf: &Conf::default().set("board", "b").set("line", "x").set("line", "demo"),
            trust: &[("dev.pem".into(), b"key".to_vec())],
            early: &[early("virtio.ko", ""), early("virtio_blk.ko", "queue_depth=4")],
        })
        .unwrap()
    }

    /// What another program reads in the archive.
    fn read(arguments: &[&str]) -> String {
        read_of(&bytes(), arguments)
    }

    fn read_of(archive: &[u8], arguments: &[&str]) -> String {
        let cpio = packages::need("cpio", "bin/cpio").or_else(|_| packages::need("cpio", "usr/bin/cpio")).unwrap();
        let mut child = Command::new(cpio)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(archive).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn another_program_lists_exactly_what_a_device_needs() {
        let names = read(&["--list", "--quiet"]);
        let mut names: Vec<_> = names.lines().collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "dev",
                "dev/console",
                "etc",
                "etc/cairn",
                "etc/cairn/conf",
                "etc/cairn/trust",
                "etc/cairn/trust/dev.pem",
                "init",
                "lib",
                "lib/modules",
                "lib/modules/early",
                "lib/modules/virtio.ko",
                "lib/modules/virtio_blk.ko",
                "proc",
                "run",
                "storage",
                "sys",
                "tmp",
                "usr",
                "usr/bin",
                "usr/bin/pantavisor",
            ]
        );
    }

    #[test]
    fn another_program_sees_modes_owners_and_devices() {
        let table = read(&["--list", "--verbose", "--numeric-uid-gid", "--quiet"]);
        let line = |name: &str| {
            let line = table.lines().find(|line| line.ends_with(&format!(" {name}"))).unwrap();
            line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(line("init").first().map(String::as_str), Some("-rwxr-xr-x"));
        assert!(table.contains("usr/bin/pantavisor -> /init\n"), "{table}");
        assert_eq!(line("tmp").first().map(String::as_str), Some("drwxrwxrwt"));
        let console = line("dev/console");
        assert!(console.starts_with(&[
            "crw-------".into(),
            "1".into(),
            "0".into(),
            "0".into(),
            "5,".into(),
            "1".into()
        ]));
    }

    #[test]
    fn another_program_reads_the_files_as_they_were() {
        assert_eq!(read(&["--extract", "--to-stdout", "--quiet", "etc/cairn/conf"]), "board=b\nline=demo\n");
        let early = read(&["--extract", "--to-stdout", "--quiet", "lib/modules/early"]);
        assert_eq!(early, "virtio.ko\nvirtio_blk.ko queue_depth=4\n");
    }

    #[test]
    fn an_addon_has_its_programs_and_nothing_else() {
        let archive = addon(&[("usr/lib/cairn/e2fsck".into(), b"\x7fELF".to_vec())]).unwrap();
        let names = read_of(&archive, &["--list", "--quiet"]);
        assert_eq!(names.lines().collect::<Vec<_>>(), ["usr", "usr/lib", "usr/lib/cairn", "usr/lib/cairn/e2fsck"]);
        let line = read_of(&archive, &["--list", "--verbose", "--quiet", "usr/lib/cairn/e2fsck"]);
        assert!(line.starts_with("-rwxr-xr-x"), "{line}");
    }

    #[test]
    fn a_kernel_gets_what_it_can_unpack() {
        assert_eq!(Compression::of("CONFIG_RD_GZIP=y\nCONFIG_RD_ZSTD=y\n"), Compression::Zstd);
        assert_eq!(Compression::of("CONFIG_RD_GZIP=y\n# CONFIG_RD_ZSTD is not set\n"), Compression::Gzip);
        assert_eq!(Compression::of(""), Compression::None);
        for compression in [Compression::Zstd, Compression::Gzip, Compression::None] {
            assert_eq!(compression.pack(&bytes()).unwrap(), compression.pack(&bytes()).unwrap());
        }
    }
}
