//! `pvr export`: the committed state, or parts of it, as a bundle.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::{Context as _, Error, Result};
use crate::image::tar::{Entry, Kind, Writer};
use crate::remote::get::overlay;
use crate::remote::origin::doubts;
use crate::remote::{Selector, objects};
use crate::repo::durable::{create, parent, sync_directory, temporary_in};
use crate::repo::{Pool, Repo};
use crate::state::State;
use crate::watch::Watch;

/// How a bundle is packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// gzip, as every tool reads it.
    Gzip,
    /// zstd: smaller and faster; not known to older tools.
    Zstd,
}

impl Packing {
    /// What the name of a file asks for: `.gz` and `.tgz`, `.zst` and `.tzst`, else nothing.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("gz" | "tgz") => Self::Gzip,
            Some("zst" | "tzst") => Self::Zstd,
            _ => Self::Plain,
        }
    }
}

/// Where a bundle goes.
pub enum Target<'w> {
    /// Into a file, which is there whole or not at all.
    File(PathBuf),
    /// To somebody who takes it as it comes, not packed.
    Stream(&'w mut dyn Write),
}

/// What was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exported {
    /// Keys of the state, without its format.
    pub files: usize,
    /// Objects.
    pub objects: usize,
    /// What a person should hear about.
    pub warnings: Vec<String>,
}

/// Writes the committed state, or the parts that are meant.
///
/// # Errors
/// A part that is not there, an object that is missing or damaged (told before anything is written), or the target cannot
/// be written.
pub fn export(repo: &Repo, selector: &Selector, target: Target<'_>, watch: &dyn Watch) -> Result<Exported> {
    let committed = repo.committed()?;
    let has = |part: &str| committed.files().any(|(key, _)| crate::remote::is_in(key, part));
    if let Some(part) = selector.parts().find(|part| !has(part)) {
        return Err(Error::user(format!("the committed state has no part {part:?}"))
            .hint("a part is a key of the state or a directory; `pvr json` lists them"));
    }
    let spec = committed.get("#spec").and_then(|spec| spec.as_str()).unwrap_or_default();
    let state = overlay(&State::new(spec), &committed, selector);
    let warnings = if selector.is_everything() { doubts(&state)? } else { left_behind(&committed, selector) };
    let objects = objects::of(&state, |_| true);
    let size = |id| fs::metadata(repo.pool().path(id)).map_or(0, |metadata| metadata.len());
    watch.begin("checking", objects.keys().map(|id| size(*id)).sum());
    let checked = objects.iter().try_for_each(|(id, key)| repo.pool().check(*id, key, watch));
    watch.end();
    checked?;
    watch.begin("writing", objects.keys().map(|id| size(*id)).sum());
    let written = match target {
        Target::Stream(out) => {
            fill(out, &state, repo.pool(), watch).map(drop).context("write", Path::new("the bundle"))
        }
        Target::File(path) => write_file(&path, &state, repo.pool(), watch),
    };
    watch.end();
    written?;
    Ok(Exported { files: state.files().count(), objects: objects.len(), warnings })
}

/// Configuration and signature belong to a part and are not in it.
fn left_behind(state: &State, selector: &Selector) -> Vec<String> {
    let of = |part: &str| [format!("_sigs/{part}.json"), format!("_config/{part}")];
    let stays = |other: &String| {
        state
            .files()
            .any(|(key, _)| crate::remote::is_in(key, other) && !selector.covers(key) && !selector.excludes(key))
    };
    let parts = selector.parts().filter(|part| !part.contains('/') && !part.starts_with('_'));
    let left = parts.flat_map(of).filter(stays);
    left.map(|other| format!("{other} stays behind; name it as a part, if it is to come along")).collect()
}

fn write_file(path: &Path, state: &State, pool: &Pool, watch: &dyn Watch) -> Result<()> {
    let temporary = temporary_in(parent(path));
    let done = (|| {
        let file = create(&temporary, 0o644)?;
        let out = BufWriter::new(&file);
        let packed = match Packing::of(path) {
            Packing::Plain => fill(out, state, pool, watch).map(drop),
            Packing::Gzip => {
                fill(flate2::write::GzEncoder::new(out, flate2::Compression::default()), state, pool, watch)
                    .and_then(|packer| packer.finish())
                    .and_then(flushed)
            }
            Packing::Zstd => zstd::stream::write::Encoder::new(out, 0)
                .and_then(|packer| fill(packer, state, pool, watch))
                .and_then(|packer| packer.finish())
                .and_then(flushed),
        };
        packed.and_then(|()| file.sync_all()).context("write", path)?;
        fs::rename(&temporary, path).context("replace", path)?;
        sync_directory(parent(path))
    })();
    // After the rename there is nothing of that name.
    let _ = fs::remove_file(&temporary);
    done
}

fn flushed(mut out: impl Write) -> io::Result<()> {
    out.flush()
}

fn fill<W: Write>(out: W, state: &State, pool: &Pool, watch: &dyn Watch) -> io::Result<W> {
    let mut archive = Writer::new(out);
    let text = state.canonical();
    archive.append(&member("json".into(), text.len() as u64), &mut text.as_bytes())?;
    for id in objects::of(state, |_| true).into_keys() {
        let mut file = File::open(pool.path(id))?;
        let len = file.metadata()?.len();
        archive.append(&member(format!("objects/{id}"), len), &mut file)?;
        watch.advance(len);
    }
    archive.finish()
}

fn member(name: String, len: u64) -> Entry {
    let kind = Kind::File { offset: 0, len };
    Entry { path: name.into_bytes(), kind, mode: 0o644, uid: 0, gid: 0, mtime: 0, xattrs: BTreeMap::new() }
}
