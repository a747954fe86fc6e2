//! `lxc.idmap`: users and groups of a container, and who they are on the device.
//!
//! ```text
//!   lxc.idmap = u 0 1000000 65536
//!               │ │ │       └ how many, from there on
//!               │ │ └ of the device
//!               │ └ of the container
//!               └ users; g: groups; b: both
//! ```
//!
//! A line stands for itself. Whether lines fit together ([`IdMap::overlaps`]) is asked by whoever has all of them.

use core::fmt;

use super::{LxcWrong, wrong};

/// The most lines that a container may have for users, and for groups: the kernel takes a page of them.
pub const IDMAPS_MAX: usize = 100;

/// One line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IdMap {
    /// What is mapped.
    pub kind: IdKind,
    /// The first id in the container.
    pub inside: u32,
    /// The same on the device.
    pub outside: u32,
    /// How many; neither end goes past the last id that there is.
    pub count: u32,
}

/// What a line is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IdKind {
    /// `u`
    Users,
    /// `g`
    Groups,
    /// `b`
    Both,
}

impl IdMap {
    pub(super) fn parse(value: &str) -> Result<Self, LxcWrong> {
        parse(value).ok_or_else(|| wrong(value, "a range of ids like `u 0 1000000 65536` (u, g or b)"))
    }

    /// Whether it maps users.
    #[must_use]
    pub fn has_users(&self) -> bool {
        self.kind != IdKind::Groups
    }

    /// Whether it maps groups.
    #[must_use]
    pub fn has_groups(&self) -> bool {
        self.kind != IdKind::Users
    }

    /// Whether both say something about one id of the container, or about one of the device.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let of_one_kind = self.has_users() && other.has_users() || self.has_groups() && other.has_groups();
        let meet = |a: u32, b: u32| a - a.min(b) < other.count && b - a.min(b) < self.count;
        of_one_kind && (meet(self.inside, other.inside) || meet(self.outside, other.outside))
    }
}

fn parse(value: &str) -> Option<IdMap> {
    let mut fields = value.split_ascii_whitespace();
    let kind = match fields.next()? {
        "u" => IdKind::Users,
        "g" => IdKind::Groups,
        "b" => IdKind::Both,
        _ => return None,
    };
    let mut number = || {
        let text = fields.next()?;
        text.parse().ok().filter(|_: &u32| text.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let map = IdMap { kind, inside: number()?, outside: number()?, count: number()? };
    // The number after the last is no id: it means "leave it as it is".
    let fits = |first: u32| first.checked_add(map.count).is_some();
    (fields.next().is_none() && map.count > 0 && fits(map.inside) && fits(map.outside)).then_some(map)
}

impl fmt::Display for IdMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            IdKind::Users => "u",
            IdKind::Groups => "g",
            IdKind::Both => "b",
        };
        write!(f, "{kind} {} {} {}", self.inside, self.outside, self.count)
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn a_range_reads_back_as_itself_and_ends_before_the_id_that_is_none() {
        for text in ["u 0 1000000 65536", "g 5 6 1", "b 0 0 4294967295", "u 4294967294 0 1"] {
            assert_eq!(format!("{}", IdMap::parse(text).unwrap()), text);
        }
        assert_eq!(IdMap::parse(" u\t0  1 2 ").unwrap(), IdMap::parse("u 0 1 2").unwrap());
        for text in [
            "",
            "u",
            "u 0 1",
            "u 0 1 2 3",
            "x 0 1 2",
            "u 0 1 0",
            "u 0 +1 2",
            "u -1 0 2",
            "u 1 0 4294967295",
            "u 4294967295 0 1",
            "b 0 4294967294 2",
        ] {
            assert!(IdMap::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ranges_overlap_on_either_side_and_of_one_kind_only() {
        let overlap = |a, b| {
            let (a, b) = (IdMap::parse(a).unwrap(), IdMap::parse(b).unwrap());
            assert_eq!(a.overlaps(&b), b.overlaps(&a));
            a.overlaps(&b)
        };
        assert!(overlap("u 0 1000 10", "u 9 5000 1"), "inside");
        assert!(overlap("u 0 1000 10", "b 50 1009 1"), "outside");
        assert!(!overlap("u 0 1000 10", "u 10 1010 10"), "one after the other");
        assert!(!overlap("u 0 1000 10", "g 0 1000 10"), "users and groups");
        assert!(overlap("b 0 0 4294967295", "g 4294967294 7 1"));
    }
}
