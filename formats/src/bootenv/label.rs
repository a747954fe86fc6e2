//! What a slot holds: the label that stands before a kernel, in a sector of its own.
//!
//! ```text
//!   CRC-32 │ cairn_holds=2 locals/next NUL NUL │ zeros          one sector, an environment of U-Boot
//! ```
//!
//! A slot holds one kernel and one initramfs, but every revision with these boot files: one that was updated in place
//! shares the slot of the one before it. A script reads the label with `env import -c`, and looks for the name that it
//! wants in `for held in ${cairn_holds}`.
//!
//! Order of a writer: wipe the label, write what stands behind it, write the label. So a label means a whole kernel.

use core::fmt;

use statemachine::ids::RevisionId;

use super::raw::SECTOR;
use super::uboot::{self, Head};
use super::{Error, key};

/// Between two names.
const BETWEEN: char = ' ';

/// The label of a slot that holds these revisions.
///
/// # Errors
/// [`Error::Room`] if the names have no room together: the next revision needs a slot, and a boot, of its own.
pub fn encode<'r>(held: impl IntoIterator<Item = &'r RevisionId> + Clone, head: Head) -> Result<[u8; SECTOR], Error> {
    let mut sector = [0; SECTOR];
    uboot::seal(head, 1, &mut sector, |text| text.variable(key::HOLDS, Names(held), 0))?;
    Ok(sector)
}

/// Reads a label; the names in their order.
///
/// # Errors
/// Anything but a whole label: the slot holds nothing then.
pub fn decode(sector: &[u8], head: Head) -> Result<Held<'_>, Error> {
    if sector.len() != SECTOR {
        return Err(Error::Length { given: sector.len(), wanted: SECTOR });
    }
    let vars = uboot::open(sector, head)?.vars;
    vars.only(&[key::HOLDS])?;
    let value = vars.get(key::HOLDS).ok_or(Error::Missing(key::HOLDS))?;
    let held = Held(core::str::from_utf8(value).map_err(|_| Error::Form)?);
    held.names().try_for_each(|name| match RevisionId::parse(name) {
        Ok(_) => Ok(()),
        Err(why) => Err(Error::Name(key::HOLDS, why)),
    })?;
    Ok(held)
}

/// What a slot holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held<'a>(&'a str);

impl<'a> Held<'a> {
    fn names(self) -> impl Iterator<Item = &'a str> {
        // An empty list is no list of one empty name.
        self.0.split(BETWEEN).filter(move |_| !self.0.is_empty())
    }

    /// Its revisions.
    pub fn iter(self) -> impl Iterator<Item = RevisionId> + 'a {
        self.names().filter_map(|name| RevisionId::parse(name).ok())
    }

    /// Whether it can boot this one.
    #[must_use]
    pub fn holds(self, revision: &RevisionId) -> bool {
        self.names().any(|name| name == revision.as_str())
    }
}

struct Names<I>(I);

impl<'r, I: IntoIterator<Item = &'r RevisionId> + Clone> fmt::Display for Names<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.0.clone().into_iter().enumerate() {
            if index > 0 {
                fmt::Write::write_char(f, BETWEEN)?;
            }
            f.write_str(name.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::ToOwned;

    use super::*;

    fn revisions(names: &[&str]) -> std::vec::Vec<RevisionId> {
        names.iter().map(|name| RevisionId::parse(name).unwrap()).collect()
    }

    #[test]
    fn a_label_names_every_revision_that_shares_the_slot() {
        for names in [&[][..], &["0"], &["2", "locals/next", "12"]] {
            let held = revisions(names);
            let label = encode(&held, Head::Plain).unwrap();
            assert_eq!(decode(&label, Head::Plain).unwrap().iter().collect::<std::vec::Vec<_>>(), held);
        }
        let label = encode(&revisions(&["2", "12"]), Head::Flagged).unwrap();
        let held = decode(&label, Head::Flagged).unwrap();
        assert!(held.holds(&revisions(&["12"])[0]) && !held.holds(&revisions(&["1"])[0]));
    }

    #[test]
    fn a_wiped_or_foreign_label_holds_nothing() {
        assert!(decode(&[0; SECTOR], Head::Plain).is_err());
        assert!(decode(&[0xff; SECTOR], Head::Plain).is_err());
        let mut sector = [0; SECTOR];
        let mut foreign = |value: &str| {
            uboot::seal(Head::Plain, 0, &mut sector, |text| text.variable(key::HOLDS, value, 0)).unwrap();
            decode(&sector, Head::Plain).map(|_| ())
        };
        assert_eq!(foreign("2 3"), Ok(()));
        assert!(matches!(foreign("2  3"), Err(Error::Name(key::HOLDS, _))));
        assert!(matches!(foreign("2 ../3"), Err(Error::Name(key::HOLDS, _))));
    }

    #[test]
    fn a_label_without_room_for_one_more_name_says_so() {
        let held: std::vec::Vec<_> =
            (0..6).map(|_| RevisionId::parse(&("locals/".to_owned() + &"n".repeat(89))).unwrap()).collect();
        assert_eq!(encode(&held, Head::Plain), Err(Error::Room { key: key::HOLDS, limit: SECTOR - 5 }));
    }
}
