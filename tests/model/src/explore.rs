//! Breadth-first search over every world that can be reached from the factory.
//!
//! Worlds are told apart by a 128-bit hash of their canonical bytes (at ten million worlds the chance that two share
//! one is below 10⁻²⁴). The whole graph is kept, because liveness is a question about its edges.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use twox_hash::XxHash3_128;

use crate::invariants::INVARIANTS;
use crate::moves::Move;
use crate::play::play;
use crate::world::{Setting, World};

/// No revision is concerned.
pub(crate) const NOBODY: u8 = 255;

/// One move from one world to another.
#[derive(Clone, Copy)]
pub(crate) struct Edge {
    pub(crate) to: u32,
    /// Index into [`Move::all`].
    pub(crate) step: u8,
    /// The revision it was about, or [`NOBODY`].
    pub(crate) about: u8,
    /// Its containers had not been started yet.
    pub(crate) early: bool,
}

/// What one world is, as far as liveness asks.
#[derive(Clone, Copy)]
pub(crate) struct Node {
    pub(crate) parent: u32,
    pub(crate) step: u8,
    /// Index of its first edge.
    pub(crate) edges: u32,
    /// The machine waits for a proposal or an order, with nothing in flight.
    pub(crate) settled: bool,
    /// The default, or what boots while it cannot be read; else [`NOBODY`].
    pub(crate) default: u8,
}

/// A rule that does not hold, with the way there.
#[derive(Clone)]
pub(crate) struct Finding {
    pub(crate) rule: String,
    pub(crate) path: Vec<Move>,
}

/// The explored graph.
pub(crate) struct Graph {
    pub(crate) setting: Setting,
    pub(crate) moves: Vec<Move>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) edges: Vec<Edge>,
    /// The first finding of each broken rule.
    pub(crate) findings: Vec<Finding>,
    /// The search was stopped by its bound.
    pub(crate) bounded: bool,
    /// How many worlds were expanded, from the first.
    pub(crate) expanded: usize,
}

impl Graph {
    /// The moves from the factory to a world.
    pub(crate) fn path(&self, node: u32) -> Vec<Move> {
        let mut path = Vec::new();
        let mut at = node;
        while at != 0 {
            let node = self.nodes[at as usize];
            path.push(self.moves[usize::from(node.step)]);
            at = node.parent;
        }
        path.reverse();
        path
    }

    /// Whether the search stopped before this world.
    pub(crate) fn is_unexpanded(&self, node: u32) -> bool {
        node as usize >= self.expanded
    }

    /// The edges out of a world.
    pub(crate) fn out(&self, node: u32) -> &[Edge] {
        let start = self.nodes[node as usize].edges as usize;
        let end = self.nodes.get(node as usize + 1).map_or(self.edges.len(), |next| next.edges as usize);
        &self.edges[start..end]
    }
}

/// Hashes that are already uniform need no second hash.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let mut low = [0; 8];
        low.copy_from_slice(&bytes[..8]);
        self.0 = u64::from_le_bytes(low);
    }
}

type Seen = HashMap<[u8; 16], u32, BuildHasherDefault<Identity>>;

/// Explores until nothing is new, a rule breaks and `stop_early` is set, or `bound` worlds are known.
pub(crate) fn explore(
    setting: Setting,
    bound: usize,
    stop_early: bool,
    mut progress: impl FnMut(usize, usize),
) -> Graph {
    let moves = Move::all();
    let mut graph = Graph {
        setting,
        moves,
        nodes: Vec::new(),
        edges: Vec::new(),
        findings: Vec::new(),
        bounded: false,
        expanded: 0,
    };
    let mut seen = Seen::default();
    let mut open: VecDeque<Vec<u8>> = VecDeque::new();
    let first = World::factory(&setting);
    graph.nodes.push(node(&first, 0, 0));
    let first = first.canonical(Vec::new());
    seen.insert(hash(&first), 0);
    open.push_back(first);
    let mut bytes_of_next = Vec::new();
    let mut at = 0_u32;
    while let Some(bytes) = open.pop_front() {
        let world = World::from_canonical(&bytes);
        graph.nodes[at as usize].edges = graph.edges.len() as u32;
        for invariant in INVARIANTS {
            if !(invariant.holds)(&world) {
                find(&mut graph, invariant.rule, at, None);
            }
        }
        for step in 0..graph.moves.len() {
            let chosen = graph.moves[step];
            if !chosen.is_possible(&setting, &world) {
                continue;
            }
            let played = play(&setting, &world, chosen);
            for rule in &played.broken {
                find(&mut graph, rule, at, Some(chosen));
            }
            let reached = node(&played.world, at, step as u8);
            bytes_of_next.clear();
            bytes_of_next = played.world.canonical(bytes_of_next);
            let next = graph.nodes.len() as u32;
            let to = *seen.entry(hash(&bytes_of_next)).or_insert(next);
            if to == next {
                graph.nodes.push(reached);
                open.push_back(bytes_of_next.clone());
            }
            let about = played.about.unwrap_or(NOBODY);
            graph.edges.push(Edge { to, step: step as u8, about, early: played.early });
        }
        at += 1;
        if at.is_multiple_of(65_536) {
            progress(at as usize, open.len());
        }
        if stop_early && !graph.findings.is_empty() {
            break;
        }
        if graph.nodes.len() > bound {
            graph.bounded = true;
            break;
        }
    }
    // Worlds that were met but not expanded have no edges.
    let end = graph.edges.len() as u32;
    graph.nodes.iter_mut().skip(at as usize).for_each(|node| node.edges = end);
    graph.expanded = at as usize;
    graph
}

fn hash(bytes: &[u8]) -> [u8; 16] {
    XxHash3_128::oneshot(bytes).to_le_bytes()
}

fn node(world: &World, parent: u32, step: u8) -> Node {
    let settled = world.is_settled();
    let wanted = world.flash.wanted.as_ref().map(|wanted| crate::world::number(&wanted.default));
    let default = wanted.or_else(|| world.board_chooses(true)).unwrap_or(NOBODY);
    Node { parent, step, edges: 0, settled, default }
}

fn find(graph: &mut Graph, rule: &str, at: u32, last: Option<Move>) {
    if graph.findings.iter().any(|finding| finding.rule == rule) {
        return;
    }
    let mut path = graph.path(at);
    path.extend(last);
    graph.findings.push(Finding { rule: rule.to_owned(), path });
}
