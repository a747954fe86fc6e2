//! Random numbers from the first second: what one boot leaves for the next, so that nobody waits for the pool.
//!
//! ```text
//!   STORAGE/seed    one line: `secret ` or `spent `, and 32 bytes in hexadecimal; mode 0600
//!
//!   boot       read ▸ replaced by its hash, `spent`, durably ▸ given to the kernel, counted if it was `secret`
//!              ▸ as soon as the kernel has random numbers: a new `secret`
//!   shutdown   a new `secret`, if the kernel has random numbers
//! ```
//!
//! Promise: no seed is counted twice, whatever is cut when. It counts only after what replaces it is durable; where that
//! failed it is mixed in and counts for nothing. What replaces it is its hash, so who reads the storage later does not
//! learn what this boot began with.
//!
//! A kernel gathers randomness of its own from the jitter of its clock, but only while somebody waits in `getrandom`, and
//! PID 1's loop never does. So this thread waits there, once, and ends. A factory image has no seed: two devices would
//! begin with the same.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;

use metal::entropy::{self, SEED};
use rustix::io::retry_on_intr;
use rustix::rand::{GetRandomFlags, getrandom};

use crate::trace::hex;

/// The file, at the top of the storage, and what it is while it is written.
const FILE: &str = "seed";
const WRITTEN: &str = "seed.new";

/// The longest file that is read.
const FILE_MAX: u64 = 128;

/// A seed, and whether it may be counted.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Seed {
    bytes: [u8; SEED],
    is_secret: bool,
}

impl Seed {
    fn write(self) -> String {
        format!("{} {}\n", if self.is_secret { "secret" } else { "spent" }, hex(&self.bytes))
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let (word, digits) = std::str::from_utf8(text).ok()?.strip_suffix('\n')?.split_once(' ')?;
        let is_secret = match word {
            "secret" => true,
            "spent" => false,
            _ => return None,
        };
        let mut bytes = [0; SEED];
        if digits.len() != SEED * 2 || !digits.is_ascii() {
            return None;
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(digits.get(index * 2..index * 2 + 2)?, 16).ok()?;
        }
        Some(Self { bytes, is_secret })
    }
}

/// What has become of the seed that was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begun {
    /// It was counted: the kernel has random numbers.
    Counted,
    /// It was mixed in and counts for nothing: it was found spent.
    Mixed,
    /// There was none, as on a device that boots for the first time.
    Without,
}

/// The thread that waits for random numbers once.
pub struct Seeder {
    storage: PathBuf,
    waits: Option<thread::JoinHandle<()>>,
}

impl Seeder {
    /// Uses the seed of the boot before, and has the next one made as soon as there are random numbers.
    pub fn begin(storage: &Path) -> (Self, Result<Begun, String>) {
        let begun = begin(storage, &mut |bytes, counts| entropy::seed(Path::new(entropy::NODE), bytes, counts));
        let owned = storage.to_owned();
        let waits = thread::Builder::new().name("seed".into()).stack_size(128 * 1024).spawn(move || {
            // What cannot be written now is written at the end, and said there.
            let _ = leave(&owned, random(GetRandomFlags::empty()));
        });
        (Self { storage: storage.to_owned(), waits: waits.ok() }, begun)
    }

    /// Leaves a seed for the next boot, in which is what this one has gathered meanwhile.
    ///
    /// # Errors
    /// It cannot be written: the next boot finds the one that stands.
    pub fn end(self) -> io::Result<()> {
        match self.waits {
            // It waits still, or writes: what it leaves is as good.
            Some(waits) if !waits.is_finished() => Ok(()),
            _ => leave(&self.storage, random(GetRandomFlags::NONBLOCK)),
        }
    }
}

/// `give` mixes bytes in; its word says whether they count.
fn begin(storage: &Path, give: &mut dyn FnMut([u8; SEED], bool) -> io::Result<()>) -> Result<Begun, String> {
    let mut bytes = Vec::new();
    match File::open(storage.join(FILE)).and_then(|file| file.take(FILE_MAX).read_to_end(&mut bytes)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Begun::Without),
        read => read.map_err(|error| format!("it cannot be read: {error}"))?,
    };
    // Torn or strange: it is replaced like any other, and what it holds does no harm.
    let found = Seed::parse(&bytes).unwrap_or_else(|| Seed { bytes: of(b"strange", &bytes), is_secret: false });
    let spent = Seed { bytes: of(b"spent", &found.bytes), is_secret: false };
    let replaced = keep(storage, spent);
    let counts = found.is_secret && replaced.is_ok();
    give(found.bytes, counts).map_err(|error| format!("{}: {error}", entropy::NODE))?;
    replaced.map_err(|error| format!("the seed counts for nothing: {error}"))?;
    Ok(if counts { Begun::Counted } else { Begun::Mixed })
}

/// Another value that leads to nobody's seed.
fn of(what: &[u8], bytes: &[u8]) -> [u8; SEED] {
    formats::object::sha256(&[b"cairn seed ", what, b" ", bytes].concat())
}

/// Without random numbers, what stands is left there.
fn leave(storage: &Path, random: Option<[u8; SEED]>) -> io::Result<()> {
    let Some(bytes) = random else { return Ok(()) };
    keep(storage, Seed { bytes, is_secret: true })
}

/// Replaces the file, durably. On an error the old one may stand.
fn keep(storage: &Path, seed: Seed) -> io::Result<()> {
    let new = storage.join(WRITTEN);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(seed.write().as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, storage.join(FILE))?;
    File::open(storage)?.sync_all()
}

fn random(flags: GetRandomFlags) -> Option<[u8; SEED]> {
    let mut bytes = [0; SEED];
    (retry_on_intr(|| getrandom(&mut bytes, flags)) == Ok(SEED)).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn stands(storage: &Path) -> String {
        fs::read_to_string(storage.join(FILE)).unwrap()
    }

    #[test]
    fn a_seed_is_counted_once_however_often_the_power_goes() {
        let storage = tempfile::tempdir().unwrap();
        let mut given = Vec::new();
        let boot = |given: &mut Vec<([u8; SEED], bool)>| {
            begin(storage.path(), &mut |bytes, counts| {
                given.push((bytes, counts));
                assert!(stands(storage.path()).starts_with("spent "), "replaced before it is used");
                Ok(())
            })
        };
        assert_eq!(boot(&mut given), Ok(Begun::Without));
        leave(storage.path(), Some([7; SEED])).unwrap();
        assert_eq!(boot(&mut given), Ok(Begun::Counted));
        for _ in 0..2 {
            assert_eq!(boot(&mut given), Ok(Begun::Mixed));
        }
        assert_eq!(given[0], ([7; SEED], true));
        assert!(given[1..].iter().all(|(bytes, counts)| !counts && *bytes != [7; SEED]));
        assert_ne!(given[1].0, given[2].0);
    }

    #[test]
    fn one_that_cannot_be_replaced_counts_for_nothing() {
        let storage = tempfile::tempdir().unwrap();
        leave(storage.path(), Some([7; SEED])).unwrap();
        // What stands in the way of its replacement.
        fs::create_dir(storage.path().join(WRITTEN)).unwrap();
        let mut given = None;
        let begun = begin(storage.path(), &mut |bytes, counts| {
            given = Some((bytes, counts));
            Ok(())
        });
        assert!(begun.is_err());
        assert_eq!(given, Some(([7; SEED], false)));
    }

    #[test]
    fn what_is_torn_or_strange_is_replaced_and_counts_for_nothing() {
        for text in
            ["", "secret ", "secret 07", "owned 0707070707070707070707070707070707070707070707070707070707070707\n"]
        {
            let storage = tempfile::tempdir().unwrap();
            fs::write(storage.path().join(FILE), text).unwrap();
            let mut counted = false;
            let begun = begin(storage.path(), &mut |_, counts| {
                counted |= counts;
                Ok(())
            });
            assert_eq!((begun, counted), (Ok(Begun::Mixed), false), "{text}");
            assert!(Seed::parse(stands(storage.path()).as_bytes()).is_some_and(|seed| !seed.is_secret));
        }
    }

    #[test]
    fn nobody_else_can_read_it() {
        let storage = tempfile::tempdir().unwrap();
        leave(storage.path(), None).unwrap();
        assert!(!storage.path().join(FILE).exists(), "without random numbers nothing is left");
        leave(storage.path(), Some([7; SEED])).unwrap();
        let mode = fs::metadata(storage.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(Seed::parse(stands(storage.path()).as_bytes()).is_some_and(|seed| seed.bytes == [7; SEED]));
    }
}
