//! The ext4 of a device: the same tree gives the same bytes, whoever made it and when.
//!
//! `mke2fs -d` sorts what it finds, keeps hard links and copies times and owners; `debugfs` then sets in every inode
//! what would differ: all times, owner, and the bits of the mode that come from somebody's umask. Neither reads the
//! host's `mke2fs.conf`. The features are those that GRUB 2.06 and U-Boot 2023.01 read.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::ops::Range;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use super::table::shown;
use super::{TIME, tool};

const BLOCK: u64 = 4096;

/// Neither `metadata_csum_seed` nor `orphan_file`: both bootloaders would refuse to read. Nor `metadata_csum`: the
/// superblock spans two sectors, and with a sum over both, power that goes between them leaves a file system that nobody
/// mounts (`cargo xtask powercut --board` found it). Content is checked by what a revision says it is.
const FEATURES: &str = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,\
                        large_file,huge_file,dir_nlink,extra_isize";

/// A configuration that says nothing which the command line does not say, so that the host's is not read either. An
/// empty type counts as missing.
const CONFIGURATION: &str = "[defaults]\n[fs_types]\next4 = {\ninode_size = 256\n}\nsmall = {\ninode_size = 256\n}\n\
                             big = {\ninode_size = 256\n}\nhuge = {\ninode_size = 256\n}\n";

/// The first inode that is nobody's own: `lost+found`, then what is in the tree.
const FIRST: u64 = 11;
const ROOT: u64 = 2;

/// What makes a file system this one.
pub(super) struct Identity<'a> {
    pub(super) label: &'a str,
    pub(super) uuid: [u8; 16],
    /// Seeds the hashes of directories.
    pub(super) seed: [u8; 16],
}

/// Makes the file system in a new file; tells which bytes of it are in use. `work` is a directory for passing files.
pub(super) fn make(
    tree: &Path,
    image: &Path,
    bytes: u64,
    identity: &Identity<'_>,
    work: &Path,
) -> Result<Vec<Range<u64>>> {
    ensure!(tree.is_dir(), "{} is no directory", tree.display());
    File::create(image)
        .and_then(|file| file.set_len(bytes))
        .with_context(|| format!("cannot make {}", image.display()))?;
    let configuration = work.join("mke2fs.conf");
    fs::write(&configuration, CONFIGURATION)?;
    let Identity { label, uuid, seed } = identity;
    let seed = shown(*seed);
    // A journal of 16 MiB serves a disk of any size; on a small one it would be a burden.
    let journal = if bytes >= 192 << 20 { 16 } else { 4 };
    let mut mke2fs = tool("mke2fs");
    mke2fs.env("MKE2FS_CONFIG", &configuration).args(["-q", "-F", "-t", "ext4", "-b", &BLOCK.to_string(), "-I", "256"]);
    mke2fs.args(["-O", FEATURES, "-L", label, "-U", &shown(*uuid), "-m", "0", "-i", "32768"]);
    mke2fs.args(["-J", &format!("size={journal}"), "-E"]);
    mke2fs.arg(format!(
        "hash_seed={seed},lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0,nodiscard,no_copy_xattrs"
    ));
    run(mke2fs.arg("-d").arg(tree).arg(image)).context("is the partition large enough for the tree?")?;
    let before = describe(image)?;
    settle(image, &before, work)?;
    let used = gaps(&before.free_blocks, 0..bytes / BLOCK);
    Ok(used.into_iter().map(|range| range.start * BLOCK..range.end * BLOCK).collect())
}

/// Bytes that a file system needs for this tree, with room for its own structures and some to spare.
pub(super) fn needed(tree: &Path) -> Result<u64> {
    let mut bytes = 0;
    let mut seen = std::collections::BTreeSet::new();
    let mut pending = vec![tree.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))? {
            use std::os::unix::fs::MetadataExt as _;
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                pending.push(entry.path());
            }
            // A hard link costs a name.
            if seen.insert((metadata.dev(), metadata.ino())) {
                bytes += metadata.len().next_multiple_of(BLOCK) + BLOCK;
            }
        }
    }
    Ok(bytes + bytes / 8 + (32 << 20))
}

/// Gives every inode the same owner, the same times and a mode that no umask has touched.
fn settle(image: &Path, described: &Described, work: &Path) -> Result<()> {
    let script = work.join("debugfs.cmd");
    let mut inodes = vec![ROOT];
    inodes.extend(gaps(&described.free_inodes, FIRST..described.inodes + 1).into_iter().flatten());
    let modes = modes(image, &inodes, &script)?;
    let mut commands = String::new();
    for (inode, mode) in inodes.iter().zip(modes) {
        for field in ["atime", "ctime", "mtime", "crtime"] {
            writeln!(commands, "sif <{inode}> {field} @{TIME}")?;
        }
        for field in ["atime_extra", "ctime_extra", "mtime_extra", "crtime_extra", "uid", "gid", "generation"] {
            writeln!(commands, "sif <{inode}> {field} 0")?;
        }
        writeln!(commands, "sif <{inode}> mode 0{:o}", plain(mode, *inode))?;
    }
    fs::write(&script, commands)?;
    run(tool("debugfs").arg("-w").arg("-f").arg(&script).arg(image)).map(drop)
}

/// The mode of each of these inodes.
fn modes(image: &Path, inodes: &[u64], script: &Path) -> Result<Vec<u32>> {
    let commands: String = inodes.iter().map(|inode| format!("stat <{inode}>\n")).collect();
    fs::write(script, commands)?;
    let said = run(tool("debugfs").arg("-f").arg(script).arg(image))?;
    // Inode: 12   Type: regular    Mode:  0644   Flags: 0x80000
    let line = |line: &str| {
        let (kind, rest) = line.strip_prefix("Inode: ")?.split_once("Type: ")?.1.split_once("Mode:")?;
        let bits = u32::from_str_radix(rest.split_whitespace().next()?, 8).ok()?;
        let kind = match kind.trim() {
            "regular" => 0o100_000,
            "directory" => 0o040_000,
            "symlink" => 0o120_000,
            _ => return None,
        };
        Some(kind | bits)
    };
    let modes: Vec<_> = said.lines().filter_map(line).collect();
    ensure!(modes.len() == inodes.len(), "the tree holds more than files, directories and symbolic links");
    Ok(modes)
}

/// Only whether a file may be executed is the tree's own; `lost+found` is root's alone.
fn plain(mode: u32, inode: u64) -> u32 {
    match mode & 0o170_000 {
        kind @ 0o040_000 if inode == FIRST => kind | 0o700,
        kind @ 0o040_000 => kind | 0o755,
        kind @ 0o100_000 if mode & 0o111 == 0 => kind | 0o644,
        0o100_000 => 0o100_755,
        kind => kind | 0o777,
    }
}

/// What `dumpe2fs` says.
struct Described {
    inodes: u64,
    free_blocks: Vec<Range<u64>>,
    free_inodes: Vec<Range<u64>>,
}

fn describe(image: &Path) -> Result<Described> {
    let said = run(tool("dumpe2fs").arg(image))?;
    let inodes =
        said.lines().find_map(|line| line.strip_prefix("Inode count:")).and_then(|count| count.trim().parse().ok());
    let free = |what: &str| -> Result<Vec<Range<u64>>> {
        let lists = said.lines().filter_map(|line| line.strip_prefix("  ")?.strip_prefix(what));
        lists.flat_map(|list| list.split(',')).map(str::trim).filter(|item| !item.is_empty()).map(range).collect()
    };
    Ok(Described {
        inodes: inodes.context("dumpe2fs does not say how many inodes there are")?,
        free_blocks: free("Free blocks:")?,
        free_inodes: free("Free inodes:")?,
    })
}

/// `7` or `7-9`.
fn range(text: &str) -> Result<Range<u64>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.parse::<u64>().with_context(|| format!("dumpe2fs says {text:?} for a number"));
    Ok(number(first)?..number(last)? + 1)
}

/// What of `whole` is not in these sorted ranges.
fn gaps(free: &[Range<u64>], whole: Range<u64>) -> Vec<Range<u64>> {
    let mut at = whole.start;
    let mut gaps = Vec::new();
    for range in free.iter().chain([&(whole.end..whole.end)]) {
        if at < range.start {
            gaps.push(at..range.start);
        }
        at = at.max(range.end);
    }
    gaps
}

/// Runs it; what it says on its standard output.
fn run(command: &mut Command) -> Result<String> {
    let shown = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {shown} (package e2fsprogs)"))?;
    // Each says its version, and `debugfs` goes on after an error and exits with 0.
    let said = String::from_utf8_lossy(&output.stderr);
    let wrong: Vec<_> =
        said.lines().filter(|line| !line.is_empty() && !line.starts_with(&format!("{shown} 1."))).collect();
    if !output.status.success() || !wrong.is_empty() {
        bail!("{shown} failed: {}", wrong.join("; "));
    }
    Ok(String::from_utf8(output.stdout)?)
}
