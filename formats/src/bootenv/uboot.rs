//! U-Boot's environment: a list of variables, and around it the checksum that `env import -c` and `saveenv` use.
//!
//! ```text
//!   plain      CRC-32 │ name=value NUL name=value NUL NUL │ filling
//!              0      4
//!   flagged    CRC-32 │ flag │ name=value NUL … NUL NUL   │ filling      (two copies)
//!              0      4      5
//! ```
//!
//! The checksum has the byte order of the board, here little-endian, and covers everything after the head, filling included,
//! but not the flag. Whether a U-Boot reads the plain or the flagged head was decided when it was built
//! (`CONFIG_SYS_REDUNDAND_ENVIRONMENT`), for `env import -c` as well.

use super::Error;
use super::text::Text;
use super::vars::{Change, Dialect, Vars};
use crate::crc32::crc32;

const CRC_LEN: usize = 4;

/// Which of the two heads this U-Boot was built with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Head {
    /// Four bytes of checksum.
    Plain,
    /// The checksum and one byte that tells which of two copies is the newer.
    Flagged,
}

impl Head {
    /// Bytes before the first variable.
    #[must_use]
    pub fn width(self) -> usize {
        match self {
            Self::Plain => CRC_LEN,
            Self::Flagged => CRC_LEN + 1,
        }
    }
}

/// One copy of an environment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Env<'a> {
    /// The flag of a flagged head, else zero.
    pub flag: u8,
    /// What it holds.
    pub vars: Vars<'a>,
}

/// Reads the bytes of one copy; all of them, because the checksum covers the filling.
///
/// # Errors
/// [`Error::Checksum`], [`Error::Length`] and [`Error::Unterminated`].
pub fn open(bytes: &[u8], head: Head) -> Result<Env<'_>, Error> {
    let short = Error::Length { given: bytes.len(), wanted: head.width() + 1 };
    let (stored, after) = bytes.split_first_chunk::<CRC_LEN>().ok_or(short)?;
    let (flag, data) = match head {
        Head::Plain => (0, after),
        Head::Flagged => after.split_first().map(|(flag, data)| (*flag, data)).ok_or(short)?,
    };
    let (stored, computed) = (u32::from_le_bytes(*stored), crc32(data));
    if stored != computed {
        return Err(Error::Checksum { stored, computed });
    }
    Ok(Env { flag, vars: list(data, head.width())? })
}

/// Whether the first of two whole copies is the one that U-Boot takes. The flag counts up and wraps around; on NOR
/// flash it is 1 for the active and 0 for the obsolete copy, which comes to the same.
#[must_use]
pub fn first_is_newer(first: u8, second: u8) -> bool {
    match (first, second) {
        (255, 0) => false,
        (0, 255) => true,
        _ => first >= second,
    }
}

/// Writes `old` with `changes` as one copy that fills `into`; other variables keep their bytes and their order.
/// The filling is zeros, as U-Boot makes it.
///
/// # Errors
/// [`Error::Room`] names the variable that did not fit; [`Error::Length`] if there is not even room for the head.
pub fn write(old: Vars<'_>, changes: &[Change<'_>], head: Head, flag: u8, into: &mut [u8]) -> Result<(), Error> {
    let limit = into.len();
    seal(head, flag, into, |text| old.rewrite(changes, text, limit))
}

/// The variables of an environment that holds none.
#[must_use]
pub fn empty() -> Vars<'static> {
    Vars::new(Dialect::UBoot, &[], 0)
}

/// Writes a list, ends it, fills up, and puts the checksum before it.
pub(super) fn seal(
    head: Head,
    flag: u8,
    into: &mut [u8],
    list: impl FnOnce(&mut Text<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let short = Error::Length { given: into.len(), wanted: head.width() + 1 };
    let (checksum, after) = into.split_first_chunk_mut::<CRC_LEN>().ok_or(short)?;
    let data = match head {
        Head::Plain => after,
        Head::Flagged => {
            let (place, data) = after.split_first_mut().ok_or(short)?;
            *place = flag;
            data
        }
    };
    // One byte is kept for the end of the list.
    let (_, room) = data.split_last_mut().ok_or(short)?;
    let mut text = Text::new(room);
    list(&mut text)?;
    text.fill(0);
    if let Some(last) = data.last_mut() {
        *last = 0;
    }
    *checksum = crc32(data).to_le_bytes();
    Ok(())
}

/// Finds the end of a list: an empty entry, erased flash, or the end of the bytes after a whole entry.
pub(super) fn list(data: &[u8], offset: usize) -> Result<Vars<'_>, Error> {
    let mut end = 0;
    loop {
        let rest = data.get(end..).unwrap_or_default();
        if matches!(rest.first(), None | Some(0 | 0xff)) {
            return Ok(Vars::new(Dialect::UBoot, data.get(..end).unwrap_or_default(), offset));
        }
        let entry = rest.iter().position(|byte| *byte == 0);
        end += entry.ok_or(Error::Unterminated { within: offset + data.len() })? + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_environment_is_an_environment() {
        let mut bytes = [0xaa; 64];
        write(empty(), &[], Head::Plain, 0, &mut bytes).unwrap();
        assert_eq!(open(&bytes, Head::Plain).unwrap().vars.iter().count(), 0);
    }

    #[test]
    fn the_flag_is_outside_of_the_checksum_as_it_is_for_u_boot() {
        let mut bytes = [0; 64];
        write(empty(), &[("a", "1")], Head::Flagged, 7, &mut bytes).unwrap();
        assert_eq!(open(&bytes, Head::Flagged).unwrap().flag, 7);
        bytes[4] = 8;
        assert_eq!(open(&bytes, Head::Flagged).unwrap().flag, 8);
        assert!(matches!(open(&bytes, Head::Plain), Err(Error::Checksum { .. })));
    }

    #[test]
    fn the_newer_copy_is_the_one_that_u_boot_takes() {
        let newer = [(2, 1, true), (1, 2, false), (255, 0, false), (0, 255, true), (3, 3, true), (255, 254, true)];
        for (first, second, expected) in newer {
            assert_eq!(first_is_newer(first, second), expected, "{first} and {second}");
        }
    }

    #[test]
    fn the_list_and_its_end_use_the_last_byte_and_not_one_more() {
        // Four bytes of checksum, `a=12` with its end, the end of the list.
        let changes = [("a", "12")];
        assert_eq!(write(empty(), &changes, Head::Plain, 0, &mut [0; 10]), Ok(()));
        let error = write(empty(), &changes, Head::Plain, 0, &mut [0; 9]);
        assert!(matches!(error, Err(Error::Room { key: "a", .. })), "{error:?}");
    }

    #[test]
    fn a_list_without_an_end_is_refused() {
        assert_eq!(list(b"a=1\0b=2", 0), Err(Error::Unterminated { within: 7 }));
    }

    #[test]
    fn erased_flash_ends_a_list() {
        assert_eq!(list(b"a=1\0\xff\xff\xff", 0).unwrap().iter().count(), 1);
    }
}
