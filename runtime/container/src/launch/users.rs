//! Users and groups of a container's own: who they are on the device.

use serde::{Deserialize, Serialize};

use super::LaunchError;

/// The most ranges of users, and of groups: the kernel takes a page of them.
pub const RANGES_MAX: usize = 100;

/// The ids of a user namespace. Without one, the users of a container are those of the device.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Users {
    /// User ids. Number 0 of the container is among them, as whom everything in it is made.
    pub uids: Vec<Range>,
    /// Group ids, likewise.
    pub gids: Vec<Range>,
}

/// Ids that follow each other on both sides.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Range {
    /// The first one in the container.
    pub inside: u32,
    /// The same one on the device.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

impl Users {
    /// Who a user of the container is on the device.
    #[must_use]
    pub fn uid(&self, inside: u32) -> Option<u32> {
        outside(&self.uids, inside)
    }

    /// Which group of the device a group of the container is.
    #[must_use]
    pub fn gid(&self, inside: u32) -> Option<u32> {
        outside(&self.gids, inside)
    }

    pub(super) fn check(&self) -> Result<(), LaunchError> {
        for (ranges, what) in [(&self.uids, "users"), (&self.gids, "groups")] {
            // The last number is no id: it says "as it is".
            let fits = |range: &Range| {
                range.count > 0
                    && range.inside.checked_add(range.count).is_some()
                    && range.outside.checked_add(range.count).is_some()
            };
            let apart = |at: usize, range: &Range| ranges.iter().take(at).all(|other| !range.meets(other));
            if ranges.len() > RANGES_MAX
                || !ranges.iter().all(fits)
                || !ranges.iter().enumerate().all(|(at, range)| apart(at, range))
                || outside(ranges, 0).is_none()
            {
                return Err(LaunchError::Users(what));
            }
        }
        Ok(())
    }
}

impl Range {
    /// Whether both have an id in common, on either side.
    fn meets(&self, other: &Self) -> bool {
        let meet = |a: u32, b: u32| a - a.min(b) < other.count && b - a.min(b) < self.count;
        meet(self.inside, other.inside) || meet(self.outside, other.outside)
    }
}

fn outside(ranges: &[Range], inside: u32) -> Option<u32> {
    ranges.iter().find_map(|range| {
        let at = inside.checked_sub(range.inside).filter(|at| *at < range.count)?;
        range.outside.checked_add(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_in_its_range_and_in_no_other() {
        let range = |inside, outside, count| Range { inside, outside, count };
        let users = Users { uids: vec![range(0, 1000, 10), range(10, 5000, 1)], gids: vec![range(0, 7, 1)] };
        assert_eq!([0, 9, 10, 11].map(|id| users.uid(id)), [Some(1000), Some(1009), Some(5000), None]);
        assert_eq!([0, 1].map(|id| users.gid(id)), [Some(7), None]);
        assert_eq!(users.check(), Ok(()));
    }

    #[test]
    fn ranges_that_overlap_or_leave_out_root_are_refused() {
        let of = |ranges: &[(u32, u32, u32)]| {
            let uids: Vec<_> =
                ranges.iter().map(|&(inside, outside, count)| Range { inside, outside, count }).collect();
            let gids = vec![Range { inside: 0, outside: 1, count: 1 }];
            Users { uids, gids }.check()
        };
        assert_eq!(of(&[(0, 100, 10), (10, 110, 5)]), Ok(()));
        for wrong in [
            &[][..],
            &[(1, 100, 10)],
            &[(0, 100, 10), (9, 200, 1)],
            &[(0, 100, 10), (10, 109, 1)],
            &[(0, 100, 0)],
            &[(0, u32::MAX, 1)],
            &[(0, 100, u32::MAX)],
        ] {
            assert_eq!(of(wrong), Err(LaunchError::Users("users")), "{wrong:?}");
        }
        let many: Vec<_> = (0..101).map(|at| (at, at, 1)).collect();
        assert_eq!(of(&many), Err(LaunchError::Users("users")));
    }
}
