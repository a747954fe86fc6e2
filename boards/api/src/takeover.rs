//! What boards share whose devices were set up for the reference system and keep its firmware and its boot files.
//!
//! ```text
//!   STORAGE/boot/uboot.txt | grubenv    1024 bytes on ext4, one sector of them changes    written by Linux
//!     pv_rev  pv_try                    what the firmware reads                           ▲
//!     cairn_…                           what it does not know                             └ refitted once
//! ```
//!
//! The firmware replays no journal of the file system, has no other place, and reads one copy. So the cell is a
//! [`SectorFile`]: overwritten in place, one sector, no metadata. What others leave is seldom fit for that: `uboot.txt` has 64 KiB,
//! or a hole, or a tail inside its inode. [`refit`] brings it into form once, and at every moment of that the firmware
//! reads what it would have read before. Encodings: [`formats::bootenv::reference`].

use core::marker::PhantomData;

use formats::bootenv::reference::{self, TXT_READ};
use formats::bootenv::{Error, grub};
use statemachine::boot::{Note, Spent, Wanted};
use statemachine::ids::RevisionId;

use crate::board::{Booted, BootedAs, Content, Layout, Partition, Role, Shared};
use crate::cell::{Cell, CellError, SectorFile};
use crate::env::{BootEnv, EnvError};
use crate::media::{Files, SECTOR};
use crate::provision::{At, New, Piece};
use crate::slots::Places;

/// Bytes of a cell in either encoding.
pub const LENGTH: usize = TXT_READ;
const _: () = assert!(LENGTH == grub::BLOCK);

/// The most bytes that a file has before it is refitted: what the reference's writer makes.
pub const FOREIGN_MAX: usize = reference::TXT_FILE;

/// A second file beside the cell while that is refitted.
pub const SPARE: &str = "cairn.spare";

/// The storage is all that is known of such a disk: whoever made it has decided what lies around it.
pub const LAYOUT: Layout = Layout {
    partitions: &[Partition {
        role: Role::Store,
        label: "storage",
        start_kib: None,
        size_kib: None,
        content: Content::Ext4,
    }],
};

/// One of the two encodings of the reference.
pub trait Text {
    /// The file in `boot/` of the storage.
    const NAME: &'static str;

    /// What the file says: what is wanted, and what the firmware has noted in it.
    ///
    /// # Errors
    /// It is torn, or names nothing that could boot.
    fn read(file: &[u8]) -> Result<(Wanted, Note), Error>;

    /// The file with another `Wanted`; variables of others stay. Where nothing can be read of `old`, nothing can stay.
    ///
    /// # Errors
    /// It does not fit.
    fn write(old: &[u8], wanted: &Wanted) -> Result<[u8; LENGTH], Error>;
}

/// `uboot.txt`. What U-Boot has tried lies elsewhere, on its own partition; Linux does not read it, and needs not: as what it
/// was started says the same, and for this boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UbootTxt;

impl Text for UbootTxt {
    const NAME: &'static str = "uboot.txt";

    fn read(file: &[u8]) -> Result<(Wanted, Note), Error> {
        let wanted = reference::decode(reference::open_txt(whole(file)?)?)?;
        let note = Note::Read(Spent { nonce: wanted.nonce, boots: 0 });
        Ok((wanted, note))
    }

    fn write(old: &[u8], wanted: &Wanted) -> Result<[u8; LENGTH], Error> {
        let list = if Self::read(old).is_ok() { old } else { &[] };
        let mut new = reference::encode_txt(reference::open_txt(list)?, wanted)?;
        // Where the list ends in the first sector, nobody reads the others, and whatever stands there may stay.
        if let (Some((first, behind)), Some(old)) = (new.split_at_mut_checked(SECTOR), old.get(SECTOR..LENGTH))
            && first.ends_with(&[0, 0])
        {
            behind.copy_from_slice(old);
        }
        Ok(new)
    }
}

/// `grubenv`, in which GRUB notes what it has tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grubenv;

impl Text for Grubenv {
    const NAME: &'static str = "grubenv";

    fn read(file: &[u8]) -> Result<(Wanted, Note), Error> {
        let vars = grub::open(file)?;
        let wanted = reference::decode(vars)?;
        let note = reference::note(&wanted, vars);
        Ok((wanted, note))
    }

    fn write(old: &[u8], wanted: &Wanted) -> Result<[u8; LENGTH], Error> {
        let vars = if Self::read(old).is_ok() { grub::open(old)? } else { grub::empty() };
        reference::encode_grubenv(vars, wanted)
    }
}

fn whole(file: &[u8]) -> Result<&[u8], Error> {
    if file.len() == LENGTH { Ok(file) } else { Err(Error::Length { given: file.len(), wanted: LENGTH }) }
}

/// The boot environment in such a file.
#[derive(Clone, Debug)]
pub struct Env<F, T> {
    file: SectorFile<'static, F>,
    text: PhantomData<T>,
}

impl<F: Files, T: Text> Env<F, T> {
    /// An environment in the file of this encoding, in `boot/` of the storage.
    #[must_use]
    pub fn new(boot: F) -> Self {
        Self { file: SectorFile::new(boot, T::NAME), text: PhantomData }
    }

    fn read(&mut self, file: &mut [u8; LENGTH]) -> Result<usize, EnvError<CellError<F::Error>, Error>> {
        self.file.read(file).map_err(EnvError::Cell)
    }
}

impl<F: Files, T: Text> BootEnv for Env<F, T> {
    type Error = EnvError<CellError<F::Error>, Error>;

    fn load(&mut self) -> (Result<Wanted, Self::Error>, Note) {
        let mut file = [0; LENGTH];
        let read = self.read(&mut file).and_then(|length| {
            let file = file.get(..length).unwrap_or_default();
            T::read(file).map_err(EnvError::Codec)
        });
        match read {
            Ok((wanted, note)) => (Ok(wanted), note),
            // It notes names, and none is known.
            Err(error) => (Err(error), Note::Read(Spent::default())),
        }
    }

    fn store(&mut self, wanted: &Wanted) -> Result<(), Self::Error> {
        let mut old = [0; LENGTH];
        self.read(&mut old)?;
        let new = T::write(&old, wanted).map_err(EnvError::Codec)?;
        let replaced = if T::read(&old).is_ok() { self.file.replace(&new) } else { self.file.rebuild(&new) };
        replaced.map_err(EnvError::Cell)
    }
}

/// A directory in which files can be made, as well as overwritten.
pub trait Maker: Files {
    /// Whether a file has this length and can be [overwritten](Files::overwrite) without a change of metadata.
    ///
    /// # Errors
    /// The file is missing, or the medium failed.
    fn stays(&mut self, name: &str, length: usize) -> Result<bool, Self::Error>;

    /// Makes a file, every byte of it written; name and file are seen by a reader that replays nothing.
    ///
    /// # Errors
    /// It exists already, there is no room, or the medium failed.
    fn make(&mut self, name: &str, bytes: &[u8]) -> Result<(), Self::Error>;

    /// Removes a file, if there is one.
    ///
    /// # Errors
    /// The medium failed.
    fn remove(&mut self, name: &str) -> Result<(), Self::Error>;
}

/// Brings the file that others have left into the form of a cell: so long, in blocks of its own, all of them written. Says
/// whether there was anything to do. `buffer` takes the whole file, [`FOREIGN_MAX`] bytes.
///
/// ```text
///   make       uboot.txt ▸ theirs   cairn.spare ▸ the same in 1024 bytes, at home
///   exchange   uboot.txt ▸ ours     cairn.spare ▸ theirs            in the journal, then at home: one entry or the other
///   remove     uboot.txt ▸ ours
/// ```
///
/// Both files say the same, so it does not matter which of them a firmware finds, or Linux after a replay.
///
/// # Errors
/// [`CellError::Length`] if it has more than fits; otherwise the medium failed. The file can be read as before.
pub fn refit<F: Maker>(boot: &mut F, shared: &Shared, buffer: &mut [u8]) -> Result<bool, CellError<F::Error>> {
    if boot.stays(shared.name, shared.length)? {
        return Ok(false);
    }
    let length = boot.read(shared.name, buffer)?;
    let theirs = buffer.get(..length).unwrap_or_default();
    let mut ours = [0; LENGTH];
    let ours = ours.get_mut(..shared.length).ok_or(CellError::Length)?;
    if theirs.iter().skip(ours.len()).any(|byte| *byte != 0) {
        return Err(CellError::Length);
    }
    ours.iter_mut().zip(theirs).for_each(|(new, old)| *new = *old);
    // A refit that has failed half-way may have left a spare that an unreplaying reader knows as the cell.
    boot.checkpoint()?;
    boot.remove(SPARE)?;
    boot.make(SPARE, ours)?;
    boot.exchange(shared.name, SPARE)?;
    boot.checkpoint()?;
    boot.remove(SPARE)?;
    Ok(true)
}

/// What the reference's script says, `pv_rev=REVISION pv_try=REVISION`: the first is what it has started, and the second what is
/// on trial, or nothing. The last of each counts. A word of ours counts more.
#[must_use]
pub fn booted(cmdline: &str) -> Option<Booted> {
    if cmdline.split_ascii_whitespace().any(|word| word.starts_with("cairn.role=")) {
        return Booted::from_cmdline(cmdline, Places::Trails);
    }
    let last = |key| cmdline.split_ascii_whitespace().filter_map(|word| word.strip_prefix(key)).next_back();
    let started = RevisionId::parse(last("pv_rev=")?).ok()?;
    let role = if last("pv_try=") == Some(started.as_str()) { BootedAs::Trial } else { BootedAs::Default };
    Some(Booted { slot: None, role })
}

/// What the file of a new device holds.
///
/// # Errors
/// The value does not fit.
pub fn provision<T: Text>(new: &New<'_>, put: &mut dyn FnMut(Piece<'_>)) -> Result<(), Error> {
    let bytes = T::write(&[], new.wanted)?;
    put(Piece { role: Role::Wanted, at: At::File(T::NAME), bytes: &bytes });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(cmdline: &str) -> Option<BootedAs> {
        booted(cmdline).map(|booted| booted.role)
    }

    #[test]
    fn the_reference_s_words_say_whether_a_trial_was_started() {
        assert_eq!(role("panic=3 pv_try=7 pv_rev=7 panic=2 pv_quickboot"), Some(BootedAs::Trial));
        assert_eq!(role("pv_try=7 pv_rev=6"), Some(BootedAs::Default));
        assert_eq!(role("pv_try= pv_rev=locals/a"), Some(BootedAs::Default));
        assert_eq!(role("pv_rev=6"), Some(BootedAs::Default));
        assert_eq!(role("pv_rev=5 pv_try=7 pv_rev=7"), Some(BootedAs::Trial));
    }

    #[test]
    fn what_names_no_revision_is_no_answer() {
        for cmdline in ["", "quiet", "pv_rev= pv_try=", "pv_rev=a/b", "pv_revx=1", "pv_try=1", "xpv_rev=1"] {
            assert_eq!(role(cmdline), None, "{cmdline}");
        }
        assert_eq!(role("pv_rev=1 cairn.role=tryme"), None);
        assert_eq!(role("pv_rev=1 pv_try=1 cairn.role=default"), Some(BootedAs::Default));
    }
}
