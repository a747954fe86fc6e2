//! `pvr cache`, and where the cache is

use std::env;
use std::path::PathBuf;
use std::time::SystemTime;

use cli::cache::room::Kind;
use cli::cache::{Cache, LIMIT};
use cli::{Error, Result};
use formats::json::Json;

use crate::progress::size;
use crate::term::{Done, note, out};

/// See and clear what was kept of images
///
/// Layers of images are kept as they travel, and root images as they were made, so that neither is done twice. What is
/// used is checked by its digest. What has not been used for longest goes first when the cache has more than
/// PVR_CACHE_MAX bytes (4G; 0 for no cache at all).
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  pvr cache ls                    what is kept, and how much
  pvr cache clean                 removes all of it
  pvr cache clean --max 1G        removes what was not used for longest
  PVR_CACHE_DIR=/build/cache pvr app add --from nginx")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// List what is kept, the latest used first
    Ls {
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Remove what is kept; what another pvr is fetching stays
    Clean {
        /// Keep so much of what was used last: bytes, or with K, M, G [default: 0]
        #[arg(long, value_name = "SIZE", value_parser = bytes)]
        max: Option<u64>,
    },
    /// Print where it is
    Dir,
}

pub(crate) fn run(args: &Args) -> Done {
    let directory = directory()?;
    match &args.command {
        Command::Dir => out(directory.display()),
        Command::Ls { json } => ls(&Cache::open(&directory, limit()?)?, *json),
        Command::Clean { max } => {
            let removed = Cache::open(&directory, limit()?)?.trim(max.unwrap_or(0), SystemTime::now())?;
            note(format_args!("Removed {} files, {}", removed.files, size(removed.bytes)));
            Ok(())
        }
    }
}

fn ls(cache: &Cache, json: bool) -> Done {
    let entries = cache.entries()?;
    let total: u64 = entries.iter().map(|entry| entry.len).sum();
    let since = |used: SystemTime| used.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    if json {
        let list = entries.iter().map(|entry| {
            Json::object()
                .with("name", entry.name.as_str())
                .with("kind", entry.kind.word())
                .with("size", entry.len)
                .with("used", since(entry.used))
        });
        let answer = Json::object()
            .with("directory", cache.directory().to_string_lossy().as_ref())
            .with("limit", cache.limit())
            .with("size", total)
            .with("entries", list.collect::<Vec<_>>());
        return out(answer.pretty());
    }
    for entry in entries.iter().filter(|entry| entry.kind != Kind::Note) {
        out(format_args!("{:<5} {:>9}  {}", entry.kind.word(), size(entry.len), entry.name))?;
    }
    note(format_args!("{}: {} of at most {}", cache.directory().display(), size(total), size(cache.limit())));
    Ok(())
}

/// The cache that the environment names. `None`: it wants none, or there is no place for one.
pub(crate) fn open() -> Result<Option<Cache>> {
    let limit = limit()?;
    if limit == 0 {
        return Ok(None);
    }
    match directory() {
        // It was named, so it has to be one.
        Ok(directory) if env::var_os("PVR_CACHE_DIR").is_some() => Cache::open(&directory, limit).map(Some),
        // Everything works without one, only slower.
        other => Ok(other.and_then(|directory| Cache::open(&directory, limit)).ok()),
    }
}

fn directory() -> Result<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(named) = env::var_os("PVR_CACHE_DIR") {
        let path = PathBuf::from(&named);
        return if path.is_absolute() {
            Ok(path)
        } else {
            Err(Error::user(format!("PVR_CACHE_DIR is {named:?}")).hint("name it from the root: /…"))
        };
    }
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("pvr"))
        .ok_or_else(|| Error::user("there is no HOME to keep a cache in").hint("name a directory: PVR_CACHE_DIR"))
}

fn limit() -> Result<u64> {
    let Some(text) = env::var_os("PVR_CACHE_MAX") else { return Ok(LIMIT) };
    let read = text.to_str().ok_or_else(|| "it is not UTF-8".to_owned()).and_then(bytes);
    read.map_err(|why| Error::user(format!("PVR_CACHE_MAX: {why}")))
}

/// A number of bytes, as people write it.
fn bytes(text: &str) -> std::result::Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text.get(digits.len()..) {
        Some("") => Some(1),
        Some("K" | "k") => Some(1_u64 << 10),
        Some("M") => Some(1 << 20),
        Some("G") => Some(1 << 30),
        _ => None,
    };
    let number = digits.parse::<u64>().ok().zip(unit).and_then(|(number, unit)| number.checked_mul(unit));
    number.ok_or_else(|| format!("{text:?} is no size: write bytes, or a number with K, M or G"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_unit_or_none() {
        let sizes = [("0", 0), ("17", 17), ("2k", 2048), ("3M", 3 << 20), ("4G", 4 << 30)];
        for (text, number) in sizes {
            assert_eq!(bytes(text), Ok(number), "{text}");
        }
        for text in ["", "G", "-1", "1T", "1.5G", "99999999999G", "1 G"] {
            assert!(bytes(text).unwrap_err().contains("is no size"), "{text}");
        }
    }
}
