//! An image of real files: this machine's `/usr`, in the order of its names, as layers that lie over each other.
//!
//! The same machine gives the same image. A layer brings its share of the files, writes over one of the layer below, and
//! takes another one away.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::arch::Arch;
use crate::run::image::oci::{Image, Layer};
use crate::run::image::tree::Tree;
use crate::run::registry::Registry;

/// What images of devices have.
pub(super) const LAYERS: u64 = 8;

/// What the image is called in its registry.
pub(super) const NAME: &str = "bench/usr:1";

/// Where files are taken from: programs, libraries, texts.
const FROM: [&str; 3] = ["/usr/bin", "/usr/lib", "/usr/share"];

/// Larger ones are compilers and the like, which no image of a device has.
const LARGEST: u64 = 8_000_000;

/// Of each of the places above.
const SHARE: u64 = 3;

/// Pushes the image, and writes what it is, flattened, to a directory. How many MB travel.
pub(super) fn offer(registry: &Registry, flat: &Path, bytes: u64) -> Result<f64> {
    let mut files = Vec::new();
    for from in FROM {
        let mut room = bytes / SHARE;
        collect(Path::new(from), &mut room, &mut files)?;
    }
    let all: u64 = files.iter().map(|(_, len)| len).sum();
    ensure!(all > bytes / 10 * 9, "this machine's /usr has only {all} bytes in files that are small enough");
    let mut layers = Vec::new();
    let mut whole = Tree::default();
    let (mut layer, mut held, mut number) = (Tree::default(), 0, 1);
    let mut files = files.into_iter().peekable();
    while let Some((path, len)) = files.next() {
        let name = path.strip_prefix("/").unwrap_or(&path).to_string_lossy().into_owned();
        if path.is_symlink() {
            let to = fs::read_link(&path)?.to_string_lossy().into_owned();
            (layer, whole) = (layer.link(&name, &to), whole.link(&name, &to));
        } else {
            let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let mode = path.metadata()?.permissions().mode() & 0o7777;
            (layer, whole) = (layer.file(&name, mode, bytes.clone()), whole.file(&name, mode, bytes));
        }
        held += len;
        if held >= all * number / LAYERS && number < LAYERS || files.peek().is_none() {
            // Each writes over what the one below has left, and takes its own trace away again.
            layer = layer.file("etc/layer", 0o644, number.to_string()).file(&format!("etc/of.{number}"), 0o644, "x");
            if number > 1 {
                layer = layer.file(&format!("etc/.wh.of.{}", number - 1), 0o644, "");
            }
            layers.push(Layer::new(&layer)?);
            (layer, number) = (Tree::default(), number + 1);
        }
    }
    let last = number - 1;
    whole.file("etc/layer", 0o644, last.to_string()).file(&format!("etc/of.{last}"), 0o644, "x").write(flat)?;
    ensure!(u64::try_from(layers.len())? == LAYERS, "{} layers came out", layers.len());
    let image = Image::new(&layers, &json!({ "Cmd": ["/usr/bin/true"] }), Arch::host()?);
    registry.push(NAME, &image)?;
    Ok(image.blobs.iter().map(|blob| blob.bytes.len() as f64).sum::<f64>() / 1e6)
}

/// The files below a directory in the order of their names, as long as there is room.
fn collect(dir: &Path, room: &mut u64, found: &mut Vec<(PathBuf, u64)>) -> Result<()> {
    let list = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut entries = list.collect::<std::io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (kind, path) = (entry.file_type()?, entry.path());
        // A layer has names in UTF-8 here, and every path is one.
        if *room == 0 || path.to_str().is_none() {
            continue;
        }
        if kind.is_dir() {
            collect(&path, room, found)?;
        } else if kind.is_symlink() {
            found.push((path, 0));
        } else if kind.is_file() {
            let len = entry.metadata()?.len();
            if len <= LARGEST && len <= *room {
                *room -= len;
                found.push((path, len));
            }
        }
    }
    Ok(())
}

/// Bytes that nobody can pack, the same for the same number.
pub(super) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
