//! How far apart switches are: breadth-first search from many sources at once, one bit each.

use super::switch_graph::SwitchGraph;

/// Words of one bit set; a search runs from 64 times as many sources at once.
const WORDS: usize = 8;
type Sources = [u64; WORDS];

/// Links visited before the search turns to a sample of the sources: a few seconds of work.
const BUDGET: u64 = 4_000_000_000;

/// Distances between the switches that endpoints attach to, in links between switches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distances {
    /// The largest distance of any pair.
    pub diameter: u32,
    /// The mean over ordered pairs of different switches that can reach each other; 0 where there is none.
    pub average: f64,
    /// Switches that distances were counted from, evenly spaced, where counting from all would take too long.
    pub sampled: Option<u64>,
}

/// The distances between all pairs, or from a sample where the network is too large for that.
pub(super) fn distances(graph: &SwitchGraph) -> Distances {
    let attached = graph.attached();
    let batch = 64 * WORDS;
    // Networks of interest have levels in the single digits; each level of a batch visits every link once.
    let cost_per_batch = 8 * (graph.n_links() + graph.len()).max(1) as u64;
    let batches = (BUDGET / cost_per_batch).max(1) as usize;
    let sources: Vec<usize> = match attached.len() {
        n if n > batches * batch => (0..batches * batch).map(|at| attached[at * n / (batches * batch)]).collect(),
        _ => attached.clone(),
    };
    let mut is_target = vec![false; graph.len()];
    attached.iter().for_each(|&at| is_target[at] = true);
    let (mut diameter, mut pairs, mut total) = (0, 0, 0);
    for batch in sources.chunks(batch) {
        for (hops, reached) in (1..).zip(reached_by_level(graph, batch, &is_target)) {
            if reached > 0 {
                diameter = diameter.max(hops);
            }
            pairs += reached;
            total += reached * u64::from(hops);
        }
    }
    let average = if pairs == 0 { 0.0 } else { total as f64 / pairs as f64 };
    let sampled = (sources.len() < attached.len()).then_some(sources.len() as u64);
    Distances { diameter, average, sampled }
}

/// For each number of hops from 1 on, the pairs of a source and a target that are so far apart.
fn reached_by_level(graph: &SwitchGraph, sources: &[usize], is_target: &[bool]) -> Vec<u64> {
    let mut seen: Vec<Sources> = vec![[0; WORDS]; graph.len()];
    for (bit, &source) in sources.iter().enumerate() {
        seen[source][bit / 64] |= 1 << (bit % 64);
    }
    let mut frontier = seen.clone();
    let mut levels = Vec::new();
    loop {
        let mut next: Vec<Sources> = vec![[0; WORDS]; graph.len()];
        let (mut reached, mut any) = (0, 0);
        for at in 0..graph.len() {
            let mut arriving: Sources = [0; WORDS];
            for &(peer, _) in graph.peers(at) {
                let from = &frontier[peer as usize];
                arriving.iter_mut().zip(from).for_each(|(bits, new)| *bits |= new);
            }
            for word in 0..WORDS {
                arriving[word] &= !seen[at][word];
                seen[at][word] |= arriving[word];
                any |= arriving[word];
                if is_target[at] {
                    reached += u64::from(arriving[word].count_ones());
                }
            }
            next[at] = arriving;
        }
        if any == 0 {
            return levels;
        }
        levels.push(reached);
        frontier = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::testing::fabric;

    fn measured(shape: &str, radix: u32) -> Distances {
        distances(&SwitchGraph::new(&fabric(shape, radix)))
    }

    #[test]
    fn leaves_are_two_apart_in_a_pod_and_four_beyond() {
        assert_eq!(measured("[shape.fat_tree]\nlayers = 2", 8), Distances { diameter: 2, average: 2.0, sampled: None });
        let tree = measured("[shape.fat_tree]\nlayers = 3", 8);
        // Of the other 31 leaves, 3 are in the same pod.
        assert_eq!(tree, Distances { diameter: 4, average: (3 * 2 + 28 * 4) as f64 / 31.0, sampled: None });
    }

    #[test]
    fn direct_networks_have_the_diameter_they_are_known_for() {
        let slim_fly = measured("[shape.slim_fly]\nq = 5", 16);
        // Of 49 other routers 7 are neighbours.
        assert_eq!(slim_fly, Distances { diameter: 2, average: (7 + 42 * 2) as f64 / 49.0, sampled: None });
        let dragonfly = "[shape.dragonfly]\nrouters_per_group = 4\nendpoints_per_router = 2\n\
                         global_links_per_router = 2\ngroups = 9";
        assert_eq!(measured(dragonfly, 8).diameter, 3);
    }

    #[test]
    fn planes_do_not_reach_each_other() {
        let planes = measured("[shape.multi_plane_fat_tree]\nlayers = 2\nplanes = 3", 8);
        assert_eq!(planes, Distances { diameter: 2, average: 2.0, sampled: None });
        let star = measured("[shape.fat_tree]\nlayers = 1", 8);
        assert_eq!(star, Distances { diameter: 0, average: 0.0, sampled: None });
    }
}
