//! Every fair run comes to rest, whatever the container does.
//!
//! In a fair run power stays, flash works, nobody interferes, orders are answered and time passes; but mounts may fail,
//! processes may end and signals may fail to come, at every moment and in every order. The steps of such runs form no
//! cycle, so each run ends, and it ends only where nothing is owed: there the search asks for a place to rest.

#![expect(
    clippy::indexing_slicing,
    reason = "every index names a world that is in the list; a wrong one must stop the run"
)]

/// The fair steps, world by world in the order of discovery.
#[derive(Default)]
pub(super) struct Fair {
    /// Index of the first edge of each world.
    starts: Vec<usize>,
    edges: Vec<u32>,
}

impl Fair {
    /// From here on edges leave the next world.
    pub(super) fn next_world(&mut self) {
        self.starts.push(self.edges.len());
    }

    pub(super) fn add(&mut self, to: u32) {
        self.edges.push(to);
    }

    fn out(&self, world: usize) -> &[u32] {
        let end = self.starts.get(world + 1).copied().unwrap_or(self.edges.len());
        &self.edges[self.starts[world]..end]
    }

    /// The first world that is on a cycle or behind one. What can be taken away again and again, world by world without
    /// a way in, has none.
    pub(super) fn first_endless(&self) -> Option<u32> {
        let mut ways_in = vec![0_u32; self.starts.len()];
        for to in &self.edges {
            ways_in[*to as usize] += 1;
        }
        let mut free: Vec<_> = (0..ways_in.len()).filter(|world| ways_in[*world] == 0).collect();
        while let Some(world) = free.pop() {
            for to in self.out(world) {
                let to = *to as usize;
                ways_in[to] -= 1;
                if ways_in[to] == 0 {
                    free.push(to);
                }
            }
        }
        (0..).zip(ways_in).find(|(_, ways)| *ways > 0).map(|(world, _)| world)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(worlds: &[&[u32]]) -> Fair {
        let mut fair = Fair::default();
        for edges in worlds {
            fair.next_world();
            edges.iter().for_each(|to| fair.add(*to));
        }
        fair
    }

    #[test]
    fn ways_that_part_and_meet_come_to_an_end() {
        assert_eq!(graph(&[&[1, 2], &[3], &[3], &[]]).first_endless(), None);
    }

    #[test]
    fn a_cycle_is_found_behind_the_way_that_leads_to_it() {
        assert_eq!(graph(&[&[1], &[2], &[3], &[2]]).first_endless(), Some(2));
    }

    #[test]
    fn a_step_that_changes_nothing_is_a_cycle() {
        assert_eq!(graph(&[&[1], &[1]]).first_endless(), Some(1));
    }
}
