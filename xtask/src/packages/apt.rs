//! A private root of apt for one architecture: what the distribution serves for it, without a word to the system's dpkg.
//!
//! Promises: it reads the system's sources, proxies and keys, and writes below the target directory only; nothing is
//! installed, no architecture is added, and no rights are needed.
//!
//! ```text
//!   target/apt/arm64/apt.conf      where everything else lies
//!   target/apt/arm64/status        what is installed: nothing
//!   target/apt/arm64/lists/        what is served, as of the last update
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::cargo;
use crate::term::Out;

/// The files that say where the distribution is served. Others name third parties, which do not have every architecture.
const SOURCES: [&str; 3] =
    ["/etc/apt/sources.list", "/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list.d/ubuntu.sources"];

/// What the system has installed.
const STATUS: &str = "/var/lib/dpkg/status";

pub(crate) struct Apt {
    dir: PathBuf,
}

/// A package at one version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Served {
    pub(crate) name: String,
    pub(crate) version: String,
    /// The archive that serves it: `bookworm`, `bookworm-security`.
    pub(crate) archive: String,
}

impl Apt {
    /// The root for an architecture, as the distribution calls it.
    pub(crate) fn open(arch: &str, out: Out) -> Result<Self> {
        let apt = Self { dir: cargo::target_directory()?.join("apt").join(arch) };
        for sub in ["lists/partial", "cache/archives/partial", "sources.list.d"] {
            fs::create_dir_all(apt.dir.join(sub)).with_context(|| format!("cannot create {}", apt.dir.display()))?;
        }
        let _lock = super::lock(&apt.dir)?;
        for source in SOURCES.map(Path::new).into_iter().filter(|source| source.is_file()) {
            let name = source.file_name().unwrap_or_default();
            let text = fs::read_to_string(source).with_context(|| format!("cannot read {}", source.display()))?;
            write_once(&apt.dir.join("sources.list.d").join(name), &text)?;
        }
        write_once(&apt.dir.join("status"), "")?;
        let dir = apt.dir.display();
        let conf = format!(
            "APT::Architecture \"{arch}\";\nAPT::Architectures {{ \"{arch}\"; }};\nAPT::Sandbox::User \"root\";\n\
             Acquire::Languages \"none\";\nDir::State \"{dir}\";\nDir::State::lists \"{dir}/lists\";\n\
             Dir::State::status \"{dir}/status\";\nDir::Cache \"{dir}/cache\";\n\
             Dir::Etc::sourcelist \"/dev/null\";\nDir::Etc::sourceparts \"{dir}/sources.list.d\";\n"
        );
        write_once(&apt.dir.join("apt.conf"), &conf)?;
        if !fs::read_dir(apt.dir.join("lists"))?.filter_map(Result::ok).any(|entry| entry.path().is_file()) {
            apt.ask(out)?;
        }
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        // Answers are read, so they are in one language.
        command.env("APT_CONFIG", self.dir.join("apt.conf")).env("LC_ALL", "C");
        command
    }

    fn answer(&self, program: &str, args: &[&str]) -> Result<String> {
        let mut command = self.command(program);
        let output = command.args(args).output().with_context(|| format!("cannot run {program}"))?;
        if !output.status.success() {
            bail!("`{}`: {}", cargo::shown(&command), String::from_utf8_lossy(&output.stderr).trim());
        }
        String::from_utf8(output.stdout).with_context(|| format!("{program} wrote something that is no text"))
    }

    /// Asks what is served now. An index that cannot be read leaves the others as they are: what it would have named is
    /// missing later, by name.
    pub(crate) fn update(&self, out: Out) -> Result<()> {
        let _lock = super::lock(&self.dir)?;
        self.ask(out)
    }

    fn ask(&self, out: Out) -> Result<()> {
        let mut update = self.command("apt-get");
        let output = update.args(["--quiet", "update"]).output().context("cannot run apt-get")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let errors = said.lines().filter(|line| line.starts_with("E:"));
            errors.for_each(|line| out.line(format!("apt: {line}")));
        }
        Ok(())
    }

    /// Every version of a package that is served, the newest first.
    pub(crate) fn versions(&self, name: &str) -> Result<Vec<Served>> {
        Ok(self.answer("apt-cache", &["madison", name])?.lines().filter_map(madison).collect())
    }

    /// The fields of a package at a version, as the index has them.
    pub(crate) fn fields(&self, name: &str, version: &str) -> Result<Vec<(String, String)>> {
        let text = self.answer("apt-cache", &["show", &format!("{name}={version}")])?;
        Ok(text.lines().take_while(|line| !line.is_empty()).filter_map(field).collect())
    }

    /// Fetches packages, each at its version or the newest (`NAME=VERSION`, `NAME`), and says where they lie.
    pub(crate) fn download(&self, wanted: &[String], into: &Path, out: Out) -> Result<Vec<PathBuf>> {
        let mut download = self.command("apt-get");
        cargo::must(download.args(["--quiet", "--quiet", "download"]).args(wanted).current_dir(into), out)?;
        let files = fs::read_dir(into)?.filter_map(Result::ok).map(|entry| entry.path());
        let archives: Vec<_> = files.filter(|path| path.extension().is_some_and(|kind| kind == "deb")).collect();
        if archives.len() != wanted.len() {
            bail!("`apt-get download {}` left {} packages", wanted.join(" "), archives.len());
        }
        Ok(archives)
    }

    /// These packages and what they need, as far as the system has not installed it. What has one of `ours` in its name
    /// counts as not installed, so that a tool is never half here and half there.
    pub(crate) fn closure(&self, names: &[&str], ours: &[&str]) -> Result<Vec<String>> {
        let status = fs::read_to_string(STATUS).with_context(|| format!("cannot read {STATUS}"))?;
        let file = self.dir.join(format!("status.{}", std::process::id()));
        fs::write(&file, without(&status, ours))?;
        let status = format!("Dir::State::status={}", file.display());
        let args = ["-o", &status, "-o", "Debug::NoLocking=true", "--print-uris", "--yes", "--no-install-recommends"];
        let answer = self.answer("apt-get", &[args.as_slice(), &["install"], names].concat());
        fs::remove_file(&file)?;
        Ok(answer?.lines().filter_map(uri).collect())
    }
}

/// Writes a file whose content depends on nothing that changes; others may read it now.
fn write_once(path: &Path, text: &str) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == text.as_bytes()) {
        return Ok(());
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// `linux-image-arm64 |  6.1.1-1 | http://… bookworm/main arm64 Packages`
fn madison(line: &str) -> Option<Served> {
    let mut columns = line.split('|').map(str::trim);
    let (name, version, place) = (columns.next()?, columns.next()?, columns.next()?);
    let archive = place.split_whitespace().nth(1)?.split('/').next()?;
    place.ends_with(" Packages").then(|| Served { name: name.into(), version: version.into(), archive: archive.into() })
}

/// `SHA256: 1234…`; lines that go on are not of those that are asked for.
fn field(line: &str) -> Option<(String, String)> {
    if line.starts_with([' ', '\t']) {
        return None;
    }
    line.split_once(": ").map(|(key, value)| (key.to_owned(), value.to_owned()))
}

/// `'http://…' rustc-web_1.96.0_amd64.deb 4450500 SHA256:…`
fn uri(line: &str) -> Option<String> {
    let file = line.strip_prefix('\'')?.split_whitespace().nth(1)?;
    Some(file.split_once('_')?.0.to_owned())
}

/// The list of what is installed without the packages whose names have one of these parts.
fn without(status: &str, parts: &[&str]) -> String {
    let stays = |stanza: &&str| {
        let name = stanza.lines().find_map(|line| line.strip_prefix("Package: ")).unwrap_or_default();
        !parts.iter().any(|part| name.contains(part))
    };
    status.split("\n\n").filter(stays).map(|stanza| format!("{}\n\n", stanza.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_madison_names_version_and_archive() {
        let line =
            "linux-image-arm64 |  6.1.192-2 | http://deb.example/debian-security bookworm-security/main arm64 Packages";
        let served = madison(line).unwrap();
        assert_eq!((served.version.as_str(), served.archive.as_str()), ("6.1.192-2", "bookworm-security"));
        assert_eq!(madison("linux | 6.1.1 | http://deb.example/debian bookworm/main Sources"), None);
    }

    #[test]
    fn a_package_that_would_be_fetched_is_read_from_its_file() {
        assert_eq!(
            uri("'http://x/r.deb' libllvm22_1%3a22.1_amd64.deb 29378692 SHA256:00").as_deref(),
            Some("libllvm22")
        );
        assert_eq!(uri("Reading package lists..."), None);
    }

    #[test]
    fn our_packages_count_as_not_installed() {
        let status = "Package: gcc\nStatus: ok\n\nPackage: gcc-12-arm64-cross\nStatus: ok\n\nPackage: make\n\n";
        assert_eq!(without(status, &["-cross"]), "Package: gcc\nStatus: ok\n\nPackage: make\n\n\n\n");
    }
}
