//! Blobs from a source to files, checked on the way, several at a time where that is worth it.
//!
//! ```text
//!   receive ──digest, size──▶ the cache, or a file without a name
//!      └ broken off: again from the byte it has, as long as each try brings something
//! ```
//!
//! What a registry sends goes through the [cache](crate::cache), so a blob that was here is not asked for, and one that
//! broke off goes on where it was, in the next run too.

use std::fs::File;
use std::io::{self, Read, Seek as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, sleep};
use std::time::Duration;

use ring::digest::{Context, SHA256};

use super::Limits;
use super::digest::{Digest, digest};
use super::source::{Blob, Failure, Source, Tried};
use crate::cache::{Cache, Part, Wanted};
use crate::error::{Error, ErrorKind, Result};
use crate::watch::Watch;

/// How many blobs travel at once: enough for registries that bound each connection, and few enough for all of them.
const AT_ONCE: usize = 4;

/// The most tries for one blob, however little each of them brings.
const TRIES_MAX: u32 = 64;

/// A small blob as a whole. Its size was looked at.
pub(super) fn document(source: &dyn Source, blob: &Blob, limits: Limits) -> Result<Vec<u8>> {
    let here = source.cache().zip(blob.digest.as_ref());
    if let Some(bytes) = here.and_then(|(cache, id)| cache.document(id, limits.document)) {
        return Ok(bytes);
    }
    let mut sink = Plain { to: Vec::new(), context: Context::new(&SHA256), len: 0 };
    receive(source, blob, limits, &mut sink, &mut |_| true)?;
    check(source, blob, &digest(sink.context))?;
    if let Some((cache, _)) = here {
        // Without it, it is fetched again another time.
        let _ = cache.keep(&sink.to);
    }
    Ok(sink.to)
}

/// What a thread that fetches has to say.
enum Said {
    Bytes(u64),
    Done(usize, Result<File>),
}

/// Layers as they travel, in their order, each read from its beginning.
///
/// # Errors
/// One of them cannot be had; what has come of the others stays in the cache.
pub(super) fn layers(
    source: &dyn Source,
    blobs: &[Blob],
    scratch: &Path,
    limits: Limits,
    watch: &dyn Watch,
) -> Result<Vec<File>> {
    watch.begin("downloading", blobs.iter().map(|blob| blob.size).sum());
    let files = if source.is_remote() {
        side_by_side(source, blobs, scratch, limits, watch)?
    } else {
        let one = |blob| {
            self::blob(source, blob, scratch, limits, &mut |bytes| {
                watch.advance(bytes);
                true
            })
        };
        blobs.iter().map(one).collect::<Result<_>>()?
    };
    watch.end();
    Ok(files)
}

fn side_by_side(
    source: &dyn Source,
    blobs: &[Blob],
    scratch: &Path,
    limits: Limits,
    watch: &dyn Watch,
) -> Result<Vec<File>> {
    let (next, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let work = |tell: &Sender<Said>| {
        while !is_over.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(blob) = blobs.get(number) else { return };
            let mut seen = |bytes| tell.send(Said::Bytes(bytes)).is_ok() && !is_over.load(Ordering::Relaxed);
            let done = self::blob(source, blob, scratch, limits, &mut seen);
            // Whoever would hear it waits until all threads have ended.
            let _ = tell.send(Said::Done(number, done));
        }
    };
    let mut files: Vec<Option<File>> = blobs.iter().map(|_| None).collect();
    let mut failed: Option<Error> = None;
    thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        for _ in 0..AT_ONCE.min(blobs.len()) {
            let (tell, work) = (tell.clone(), &work);
            scope.spawn(move || work(&tell));
        }
        drop(tell);
        for said in told {
            match said {
                Said::Bytes(bytes) => watch.advance(bytes),
                Said::Done(number, Ok(file)) => {
                    if let Some(place) = files.get_mut(number) {
                        *place = Some(file);
                    }
                }
                Said::Done(_, Err(error)) => {
                    is_over.store(true, Ordering::Relaxed);
                    // The first says why; the others end because of it.
                    failed.get_or_insert(error);
                }
            }
        }
    });
    match failed {
        Some(error) => Err(error),
        None => files.into_iter().collect::<Option<_>>().ok_or_else(|| Error::internal("a layer was not fetched")),
    }
}

/// One blob, whole and as it should be. `seen` hears of its bytes and says whether to go on.
fn blob(
    source: &dyn Source,
    blob: &Blob,
    scratch: &Path,
    limits: Limits,
    seen: &mut dyn FnMut(u64) -> bool,
) -> Result<File> {
    if let Some((cache, id)) = source.cache().zip(blob.digest.as_ref()) {
        return through(cache, id, source, blob, limits, seen);
    }
    let to = tempfile::tempfile_in(scratch).map_err(|error| Error::io("make a temporary file in", scratch, &error))?;
    let mut sink = Plain { to, context: Context::new(&SHA256), len: 0 };
    receive(source, blob, limits, &mut sink, seen)?;
    check(source, blob, &digest(sink.context))?;
    sink.to.rewind().map_err(|error| Error::user(format!("cannot read a temporary file: {error}")))?;
    Ok(sink.to)
}

/// The same by way of the cache.
fn through(
    cache: &Cache,
    id: &Digest,
    source: &dyn Source,
    blob: &Blob,
    limits: Limits,
    seen: &mut dyn FnMut(u64) -> bool,
) -> Result<File> {
    let mut is_again = false;
    loop {
        let mut part = match cache.want(id)? {
            Wanted::Here(file) => {
                seen(blob.size);
                return Ok(file);
            }
            Wanted::Part(part) => part,
        };
        if part.len() > blob.size {
            part.restart().map_err(|error| cannot_write(&error))?;
        }
        let earlier = part.len();
        seen(earlier);
        receive(source, blob, limits, &mut *part, seen)?;
        match part.finish()? {
            Ok(file) => return Ok(file),
            // What an earlier run has left may be what is wrong; it is gone now.
            Err(_) if earlier > 0 && !is_again => is_again = true,
            Err(found) => check(source, blob, &found)?,
        }
    }
}

/// Where bytes go.
trait Sink {
    fn have(&self) -> u64;
    fn take(&mut self, bytes: &[u8]) -> io::Result<()>;
}

impl Sink for Part {
    fn have(&self) -> u64 {
        self.len()
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write(bytes)
    }
}

/// A file or a vector, and what it was fed.
struct Plain<W> {
    to: W,
    context: Context,
    len: u64,
}

impl<W: io::Write> Sink for Plain<W> {
    fn have(&self) -> u64 {
        self.len
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.context.update(bytes);
        self.len += bytes.len() as u64;
        self.to.write_all(bytes)
    }
}

fn check(source: &dyn Source, blob: &Blob, found: &Digest) -> Result<()> {
    match &blob.digest {
        Some(wanted) if wanted != found => Err(Error {
            kind: kind(source),
            message: format!("{}: {wanted} came as other bytes ({found})", source.name()),
            hint: Some(
                "something on the way changes or damages it; try another mirror, or fetch the image anew".into(),
            ),
        }),
        _ => Ok(()),
    }
}

fn kind(source: &dyn Source) -> ErrorKind {
    if source.is_remote() { ErrorKind::Network } else { ErrorKind::User }
}

/// Passes a blob on to where it goes, with as many tries as it takes. Its digest is not looked at.
fn receive(
    source: &dyn Source,
    blob: &Blob,
    limits: Limits,
    sink: &mut dyn Sink,
    seen: &mut dyn FnMut(u64) -> bool,
) -> Result<()> {
    let (mut failures, mut tries) = (0, 0);
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let before = sink.have();
        let Err(failure) = attempt(source, blob, &mut buffer, sink, seen) else { return Ok(()) };
        if !failure.passing {
            return Err(failure.error);
        }
        failures = if sink.have() > before { 0 } else { failures + 1 };
        tries += 1;
        if failures >= limits.retries || tries >= TRIES_MAX {
            return Err(failure.error);
        }
        pause(failures);
    }
}

/// One try: what is still missing of a blob, to its end.
fn attempt(
    source: &dyn Source,
    blob: &Blob,
    buffer: &mut [u8],
    sink: &mut dyn Sink,
    seen: &mut dyn FnMut(u64) -> bool,
) -> Tried<()> {
    let place = |what: &str| format!("{}: {}: {what}", source.name(), blob.place);
    let broken = |what: String| Failure {
        error: Error { kind: kind(source), message: place(&what), hint: None },
        passing: source.is_remote(),
    };
    if sink.have() == blob.size {
        return Ok(());
    }
    let mut reader = source.blob(blob, sink.have())?;
    loop {
        let have = sink.have();
        let len = match reader.read(buffer) {
            Ok(0) if have == blob.size => return Ok(()),
            Ok(0) => return Err(broken(format!("it ends after {have} of {} bytes", blob.size))),
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(broken(format!("it breaks off after {have} of {} bytes: {error}", blob.size))),
        };
        if have + len as u64 > blob.size {
            let message = place(&format!("it has more than the {} bytes it should", blob.size));
            return Err(Error { kind: kind(source), message, hint: None }.into());
        }
        sink.take(buffer.get(..len).unwrap_or_default()).map_err(|error| cannot_write(&error))?;
        if !seen(len as u64) {
            return Err(Error { kind: kind(source), message: place("not needed any more"), hint: None }.into());
        }
    }
}

fn cannot_write(error: &io::Error) -> Error {
    Error::user(format!("there is no place for a layer: {error}"))
        .hint("make room (`pvr cache clean`), or set PVR_CACHE_DIR; without a cache it goes to the repository")
}

/// Half a second, then twice as long each time: long enough for a server to come up again, short enough to wait for.
pub(super) fn pause(failures: u32) {
    sleep(Duration::from_millis(500) * 2_u32.saturating_pow(failures.saturating_sub(1)).min(16));
}
