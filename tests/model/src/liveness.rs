//! Every fair run settles, and no device reboots for ever.
//!
//! A revision has a *quality* that does not change: it is good, its kernel does not start, its goals are missed, or it
//! takes PID 1 down. For every assignment of qualities to the three revisions, and from every reachable world, whatever
//! bad luck led there: if from now on power stays, flash works and nobody interferes, the device comes to rest. So the
//! moves that remain must form no cycle, and must end in worlds that are settled.
//!
//! All assignments are checked at once: a move carries the set of assignments that allow it, one bit for each. A world
//! must be settled, or have a move for every bit. A cycle of any assignment lies within a strongly connected component
//! of all moves together, so only those components are searched bit by bit.
//!
//! One-shot and toggling firmware knows no list: a default whose kernel does not start stays down. That residual is
//! part of their contract, so worlds with such a default are not asked to go on.

use statemachine::boot::TrialKind;

use crate::explore::{Edge, Finding, Graph, NOBODY};
use crate::moves::{KernelLuck, Move, NoteLuck};
use crate::world::REVISIONS;

/// The rule that a world without a way on breaks.
pub(crate) const STUCK: &str = "every fair run settles";

/// The rule that a cycle breaks.
pub(crate) const ENDLESS: &str = "no fair run goes round for ever";

/// What a revision is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quality {
    Good,
    DeadKernel,
    MissesGoals,
    KillsPid1,
}

const QUALITIES: [Quality; 4] = [Quality::Good, Quality::DeadKernel, Quality::MissesGoals, Quality::KillsPid1];

/// Four qualities for each of three revisions: one bit in a mask for each assignment.
pub(crate) const ASSIGNMENTS: u32 = (QUALITIES.len() as u32).pow(REVISIONS as u32);

/// The quality that an assignment gives a revision.
fn quality(assignment: u32, revision: u8) -> Quality {
    QUALITIES[(assignment >> (2 * u32::from(revision)) & 3) as usize]
}

/// The assignments that give a revision this quality. What is not a revision (recovery) is good.
fn having(revision: u8, wanted: Quality) -> u64 {
    if revision == NOBODY {
        return if wanted == Quality::Good { u64::MAX } else { 0 };
    }
    (0..ASSIGNMENTS).filter(|bits| quality(*bits, revision) == wanted).fold(0, |mask, bits| mask | 1 << bits)
}

/// Checks every assignment; stops at the first finding.
pub(crate) fn check(graph: &Graph) -> Option<Finding> {
    let masks = Masks::new(graph);
    stuck(graph, &masks).or_else(|| endless(graph, &masks))
}

/// Which assignments allow which move.
struct Masks<'a> {
    graph: &'a Graph,
    /// By move, revision (0…2, nobody) and earliness.
    moves: Vec<[[u64; 2]; REVISIONS as usize + 1]>,
    dead: [u64; REVISIONS as usize + 1],
}

impl<'a> Masks<'a> {
    fn new(graph: &'a Graph) -> Self {
        let revisions = [0, 1, 2, NOBODY];
        let counted = graph.setting.kind == TrialKind::Counted;
        let allowed = |step: Move, about: u8, early: bool| -> u64 {
            match step {
                Move::WriteDone | Move::LongDone | Move::Soaked => u64::MAX,
                Move::Boot { note: NoteLuck::Written, kernel: KernelLuck::Lives } => {
                    !having(about, Quality::DeadKernel)
                }
                Move::Boot { note: NoteLuck::Written, kernel: KernelLuck::Dies { .. } } => {
                    having(about, Quality::DeadKernel)
                }
                Move::GoalsMet => !having(about, Quality::MissesGoals),
                Move::GoalMissed | Move::Crashed => having(about, Quality::MissesGoals),
                // It dies some time, and always before its boot has lasted. A firmware that does not count cannot help
                // a PID 1 that dies before its first write: as little as a kernel that does not start.
                Move::Death { .. } if counted || !early => having(about, Quality::KillsPid1),
                Move::Lasted => !having(about, Quality::KillsPid1),
                Move::Boot { .. }
                | Move::Death { .. }
                | Move::Rot(_)
                | Move::WriteFailedNew
                | Move::WriteFailedOld
                | Move::WriteUnreadable { .. }
                | Move::PowerCut { .. }
                | Move::LongFailed
                | Move::GoalsLost
                | Move::Propose { .. }
                | Move::Cancel
                | Move::Reboot { .. }
                | Move::Rollback
                | Move::Adopt
                | Move::Sweep => 0,
            }
        };
        let moves = graph.moves.iter();
        let moves =
            moves.map(|step| revisions.map(|about| [allowed(*step, about, false), allowed(*step, about, true)]));
        let dead = revisions.map(|revision| if counted { 0 } else { having(revision, Quality::DeadKernel) });
        Self { graph, moves: moves.collect(), dead }
    }

    fn down(&self, node: u32) -> u64 {
        self.dead[place(self.graph.nodes[node as usize].default)]
    }

    fn edge(&self, from: u32, edge: &Edge) -> u64 {
        self.moves[usize::from(edge.step)][place(edge.about)][usize::from(edge.early)] & !self.down(from)
    }
}

fn place(revision: u8) -> usize {
    usize::from(revision.min(REVISIONS))
}

/// A world that is not settled and from which some assignment has no way on.
fn stuck(graph: &Graph, masks: &Masks<'_>) -> Option<Finding> {
    (0..graph.nodes.len() as u32).find_map(|node| {
        if graph.nodes[node as usize].settled || graph.is_unexpanded(node) {
            return None;
        }
        let on = graph.out(node).iter().fold(masks.down(node), |mask, edge| mask | masks.edge(node, edge));
        (on != u64::MAX).then(|| Finding {
            rule: format!("{STUCK} ({})", describe((!on).trailing_zeros())),
            path: graph.path(node),
        })
    })
}

/// A cycle of moves that one assignment allows.
fn endless(graph: &Graph, masks: &Masks<'_>) -> Option<Finding> {
    let components = components(graph, masks);
    let mut colours = vec![WHITE; graph.nodes.len()];
    for component in &components.members {
        for assignment in 0..ASSIGNMENTS {
            for node in component {
                colours[*node as usize] = WHITE;
            }
            for root in component {
                if colours[*root as usize] != WHITE {
                    continue;
                }
                let allowed = |from: u32, edge: &Edge| {
                    masks.edge(from, edge) >> assignment & 1 == 1
                        && components.of[from as usize] == components.of[edge.to as usize]
                };
                if let Some(mut finding) = cycle(graph, *root, &mut colours, allowed) {
                    finding.rule = format!("{ENDLESS} ({})", describe(assignment));
                    return Some(finding);
                }
            }
        }
    }
    None
}

fn describe(assignment: u32) -> String {
    let of = |revision| quality(assignment, revision);
    format!("0 {:?}, 1 {:?}, 2 {:?}", of(0), of(1), of(2))
}

const WHITE: u8 = 0;
const GREY: u8 = 1;
const BLACK: u8 = 2;

/// Depth-first: a grey successor closes a cycle.
fn cycle(graph: &Graph, root: u32, colours: &mut [u8], allowed: impl Fn(u32, &Edge) -> bool) -> Option<Finding> {
    let mut stack = vec![(root, 0_usize)];
    colours[root as usize] = GREY;
    while let Some((node, next)) = stack.last_mut() {
        let node = *node;
        let Some(edge) = graph.out(node).get(*next).copied() else {
            colours[node as usize] = BLACK;
            stack.pop();
            continue;
        };
        *next += 1;
        if !allowed(node, &edge) {
            continue;
        }
        match colours[edge.to as usize] {
            WHITE => {
                colours[edge.to as usize] = GREY;
                stack.push((edge.to, 0));
            }
            GREY => {
                let entry = stack.iter().position(|(node, _)| *node == edge.to).unwrap_or(0);
                let mut path = graph.path(edge.to);
                for (node, next) in &stack[entry..] {
                    path.push(graph.moves[usize::from(graph.out(*node)[next - 1].step)]);
                }
                return Some(Finding { rule: String::new(), path });
            }
            _ => {}
        }
    }
    None
}

struct Components {
    /// The component of each world.
    of: Vec<u32>,
    /// Those with a cycle.
    members: Vec<Vec<u32>>,
}

/// Strongly connected components (Tarjan), without recursion.
fn components(graph: &Graph, masks: &Masks<'_>) -> Components {
    const NEW: u32 = u32::MAX;
    let count = graph.nodes.len();
    let (mut index, mut low) = (vec![NEW; count], vec![0_u32; count]);
    let mut of = vec![NEW; count];
    let (mut trail, mut calls): (Vec<u32>, Vec<(u32, usize)>) = (Vec::new(), Vec::new());
    let (mut time, mut number) = (0_u32, 0_u32);
    let mut members = Vec::new();
    for root in 0..count as u32 {
        if index[root as usize] != NEW {
            continue;
        }
        calls.push((root, 0));
        while let Some((node, next)) = calls.last_mut() {
            let node = *node;
            if *next == 0 {
                index[node as usize] = time;
                low[node as usize] = time;
                time += 1;
                trail.push(node);
            }
            let edge = graph.out(node).get(*next).copied();
            *next += 1;
            match edge {
                Some(edge) if masks.edge(node, &edge) == 0 => {}
                Some(edge) if index[edge.to as usize] == NEW => calls.push((edge.to, 0)),
                Some(edge) if of[edge.to as usize] == NEW => {
                    low[node as usize] = low[node as usize].min(index[edge.to as usize]);
                }
                Some(_) => {}
                None => {
                    calls.pop();
                    if let Some((parent, _)) = calls.last() {
                        low[*parent as usize] = low[*parent as usize].min(low[node as usize]);
                    }
                    if low[node as usize] == index[node as usize] {
                        let mut component = Vec::new();
                        while let Some(member) = trail.pop() {
                            of[member as usize] = number;
                            component.push(member);
                            if member == node {
                                break;
                            }
                        }
                        number += 1;
                        let loops = |node: &u32| graph.out(*node).iter().any(|edge| edge.to == *node);
                        if component.len() > 1 || component.iter().any(loops) {
                            members.push(component);
                        }
                    }
                }
            }
        }
    }
    Components { of, members }
}
