//! `autoboot.txt` of a Raspberry Pi: where its firmware reads which partition boots, and with it all of [`Wanted`].
//!
//! ```text
//!   [all]
//!   tryboot_a_b=1
//!   boot_partition=2         ◀── the slot of the default
//!   [tryboot]
//!   boot_partition=3         ◀── the slot of the trial; without one, that of the default again
//!   #cairn_nonce=7           ◀── remarks to the firmware, the rest of `Wanted` to Linux
//!   #cairn_default=2
//!   #cairn_previous= … #cairn_issued=0
//!   #cairn_sum=1f3d5b79      ◀── CRC-32 of everything before this line
//!   (empty lines up to byte 512)
//! ```
//!
//! The firmware reads 512 bytes of this file and no more, so the whole of it is one sector, and what the firmware
//! does and what Linux reads cannot come apart. The file is preallocated on FAT and overwritten in place; that a sector is
//! written whole is assumed. A torn one is an error here. A firmware that finds no `boot_partition` takes the first
//! partition that it can boot.
//!
//! There is no note: this firmware writes nothing, and Linux counts in [`Trial::issued`]. Sources: the documentation of
//! `autoboot.txt`, of `tryboot` and of the filters of `config.txt` by Raspberry Pi Ltd.

use core::fmt::Display;

#[cfg(doc)]
use statemachine::boot::Trial;
use statemachine::boot::Wanted;

use super::protocol::{Tally, check, name, take_wanted};
use super::text::{Full, Text};
use super::vars::{Dialect, Vars};
use super::{Error, Key, key};
use crate::crc32::crc32;

/// Bytes of the file: what the firmware reads of it.
pub const FILE: usize = 512;

/// The longest line of which the firmware sees the end, in bytes. Ours are kept below, so that none ends elsewhere.
pub const LINE_MAX: usize = 98;

/// What the four names of [`Wanted`] may have together: four names of 74 bytes.
pub const NAMES_MAX: usize = FILE - 66 - (24 + 16 + 17 + 16 + 14 + 23 + 18 + 20);

/// A request for the trial is a request for another partition, not for other files of the same one.
const BEGIN: &[u8] = b"[all]\ntryboot_a_b=1\n";
const TRYBOOT: &[u8] = b"[tryboot]\n";
const PARTITION: Key = "boot_partition";
const REMARK: u8 = b'#';
const LF: u8 = b'\n';
const REMARKS: [Key; 8] =
    [key::NONCE, key::DEFAULT, key::PREVIOUS, key::FACTORY, key::TRIAL, key::MAX, key::ISSUED, key::SUM];

/// Partitions by their number, counted from 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Partitions {
    /// Where the default lies.
    pub default: u8,
    /// Where the trial lies; without one, where the default lies.
    pub trial: u8,
}

/// Writes the file.
///
/// # Errors
/// [`Error::Room`] if the names are longer than [`NAMES_MAX`] together or one makes a line longer than [`LINE_MAX`];
/// [`Error::Attempts`]; [`Error::Number`] for a partition 0, which means any.
pub fn encode(wanted: &Wanted, partitions: Partitions) -> Result<[u8; FILE], Error> {
    check(wanted)?;
    if partitions.default == 0 || partitions.trial == 0 {
        return Err(Error::Number(PARTITION));
    }
    let mut file = [LF; FILE];
    let mut text = Text::new(&mut file);
    text.put(BEGIN).map_err(|Full| Error::Form)?;
    text.variable(PARTITION, partitions.default, LF)?;
    text.put(TRYBOOT).map_err(|Full| Error::Form)?;
    text.variable(PARTITION, partitions.trial, LF)?;
    let trial = wanted.trial.as_ref();
    remark(&mut text, key::NONCE, wanted.nonce)?;
    remark(&mut text, key::DEFAULT, &wanted.default)?;
    remark(&mut text, key::PREVIOUS, name(wanted.previous.as_ref()))?;
    remark(&mut text, key::FACTORY, name(wanted.factory.as_ref()))?;
    remark(&mut text, key::TRIAL, name(trial.map(|trial| &trial.revision)))?;
    remark(&mut text, key::MAX, Tally(trial.map_or(0, |trial| trial.max)))?;
    remark(&mut text, key::ISSUED, trial.map_or(0, |trial| trial.issued))?;
    let sum = crc32(text.written());
    remark(&mut text, key::SUM, format_args!("{sum:08x}"))?;
    Ok(file)
}

/// Reads the file.
///
/// # Errors
/// Anything but the very bytes that [`encode`] makes.
pub fn decode(file: &[u8]) -> Result<(Wanted, Partitions), Error> {
    if file.len() != FILE {
        return Err(Error::Length { given: file.len(), wanted: FILE });
    }
    // The same list without the signs that hide it from the firmware.
    let mut lines = [0; FILE];
    let mut text = Text::new(&mut lines);
    let mut partitions = [0; 2];
    let mut next = partitions.iter_mut();
    for line in file.split(|byte| *byte == LF) {
        if let Some(remark) = line.strip_prefix(&[REMARK]) {
            text.put(remark).and_then(|()| text.put(&[LF])).map_err(|Full| Error::Form)?;
        } else if let Some(partition) = line.strip_prefix(b"boot_partition=") {
            *next.next().ok_or(Error::Twice(PARTITION))? = number(partition)?;
        }
    }
    let [default, trial] = partitions;
    let partitions = Partitions { default, trial };
    let vars = Vars::new(Dialect::Grub, text.written(), 0);
    vars.only(&REMARKS)?;
    let wanted = take_wanted(vars)?;
    let expected = encode(&wanted, partitions)?;
    if expected == *file {
        return Ok((wanted, partitions));
    }
    match (sum(file), sum(&expected)) {
        (Some(stored), Some(computed)) if stored != computed => Err(Error::Checksum { stored, computed }),
        _ => Err(Error::Form),
    }
}

fn remark(text: &mut Text<'_>, key: Key, value: impl Display) -> Result<(), Error> {
    let before = text.written().len();
    text.put(&[REMARK]).map_err(|Full| Error::Room { key, limit: FILE })?;
    text.variable(key, value, LF)?;
    match text.written().len() - before - 1 {
        0..=LINE_MAX => Ok(()),
        _ => Err(Error::Room { key, limit: LINE_MAX }),
    }
}

fn number(digits: &[u8]) -> Result<u8, Error> {
    let text = core::str::from_utf8(digits).ok().filter(|text| !text.starts_with(['0', '+']));
    text.and_then(|text| text.parse().ok()).ok_or(Error::Number(PARTITION))
}

/// The sum as it stands in the last remark.
fn sum(file: &[u8]) -> Option<u32> {
    let line = file.split(|byte| *byte == LF).rfind(|line| line.starts_with(b"#cairn_sum="))?;
    u32::from_str_radix(core::str::from_utf8(line.get(11..)?).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use std::borrow::ToOwned;
    use std::string::ToString;

    use proptest::prelude::*;
    use statemachine::boot::Trial;
    use statemachine::ids::RevisionId;

    use super::*;

    const AB: Partitions = Partitions { default: 2, trial: 3 };

    fn revision(name: &str) -> RevisionId {
        RevisionId::parse(name).unwrap()
    }

    fn names_of(lengths: [usize; 4]) -> Wanted {
        let [default, previous, factory, trial] =
            lengths.map(|len| revision(&("locals/".to_owned() + &"n".repeat(len - 7))));
        let trial = Trial { revision: trial, max: 11, issued: 255 };
        Wanted { nonce: u32::MAX, default, previous: Some(previous), factory: Some(factory), trial: Some(trial) }
    }

    #[test]
    fn names_up_to_the_limit_fit_and_not_one_byte_more() {
        let partitions = Partitions { default: 12, trial: 13 };
        let largest = names_of([NAMES_MAX - 3 * 74, 74, 74, 74]);
        let file = encode(&largest, partitions).unwrap();
        assert_eq!(file.iter().rev().take_while(|byte| **byte == LF).count(), 1);
        assert_eq!(decode(&file), Ok((largest, partitions)));
        let longer = names_of([NAMES_MAX - 3 * 74 + 1, 74, 74, 74]);
        assert_eq!(encode(&longer, partitions), Err(Error::Room { key: key::SUM, limit: FILE }));
    }

    #[test]
    fn a_line_that_the_firmware_would_not_see_the_end_of_is_refused() {
        assert!(encode(&names_of([20, 82, 20, 20]), AB).is_ok());
        let error = encode(&names_of([20, 83, 20, 20]), AB).unwrap_err();
        assert_eq!(error, Error::Room { key: key::PREVIOUS, limit: LINE_MAX });
        assert_eq!(
            error.to_string(),
            "the boot cell has 98 bytes, and cairn_previous no longer fits: use shorter revision names"
        );
    }

    #[test]
    fn a_partition_that_means_any_is_refused_both_ways() {
        let none = Partitions { default: 0, trial: 3 };
        assert_eq!(encode(&names_of([20; 4]), none), Err(Error::Number(PARTITION)));
        let mut file = encode(&names_of([20; 4]), AB).unwrap();
        let at = file.windows(3).position(|window| window == b"=2\n").unwrap();
        file[at + 1] = b'0';
        assert_eq!(decode(&file), Err(Error::Number(PARTITION)));
        file[at + 1] = b'3';
        assert!(matches!(decode(&file), Err(Error::Checksum { .. })), "another partition is another file");
    }

    #[test]
    fn every_changed_byte_is_found() {
        let file = encode(&names_of([30; 4]), AB).unwrap();
        for (at, bit) in (0..FILE).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut other = file;
            other[at] ^= 1 << bit;
            assert!(decode(&other).is_err(), "bit {bit} of byte {at}");
        }
    }

    #[test]
    fn every_torn_mixture_of_two_files_is_refused() {
        let files = [names_of([30; 4]), names_of([31; 4]), Wanted { trial: None, ..names_of([30; 4]) }];
        let files = files.map(|wanted| encode(&wanted, AB).unwrap());
        for (old, new) in files.iter().flat_map(|old| files.iter().map(move |new| (old, new))) {
            for cut in 0..=FILE {
                let torn: [u8; FILE] = core::array::from_fn(|at| if at < cut { new[at] } else { old[at] });
                assert!(torn == *old || torn == *new || decode(&torn).is_err(), "cut at {cut}");
            }
        }
    }

    fn any_name() -> impl Strategy<Value = RevisionId> {
        prop_oneof!["0|[1-9][0-9]{0,9}", "locals/[a-zA-Z0-9_-][a-zA-Z0-9_.-]{0,60}"].prop_map(|name| revision(&name))
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

        #[test]
        fn every_wish_comes_back(
            nonce: u32, default in any_name(), previous in prop::option::of(any_name()),
            factory in prop::option::of(any_name()), trial in prop::option::of((any_name(), 1_u8..=11, 0_u8..)),
        ) {
            let trial = trial.map(|(revision, max, issued)| Trial { revision, max, issued });
            let wanted = Wanted { nonce, default, previous, factory, trial };
            let file = encode(&wanted, AB).unwrap();
            prop_assert_eq!(decode(&file), Ok((wanted, AB)));
        }
    }
}
