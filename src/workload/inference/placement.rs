//! Which GPUs hold which experts.
//!
//! By load, as the published balancer of DeepSeek does it (github.com/deepseek-ai/EPLB): where nodes divide the groups of
//! experts, groups are packed onto nodes and each node is balanced by itself, else all GPUs are balanced at once; the expert with
//! the most load per copy gets the next copy; copies go to the least loaded GPU that has room, the heaviest first.

/// Where the copies of each expert live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// For each expert, the GPUs that hold a copy; tokens take turns among them.
    pub holders: Vec<Vec<usize>>,
}

/// The sizes of a placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// GPUs.
    pub gpus: usize,
    /// GPUs of a node.
    pub per_node: usize,
    /// Copies beyond the first of each expert.
    pub redundant: usize,
    /// Groups of experts that tokens reach together.
    pub groups: usize,
}

impl Placement {
    /// Experts in order, and after them copies of the first ones; `beyond` further places at the end stay free for others.
    pub fn in_order(experts: usize, room: Room, beyond: usize) -> Placement {
        let per_gpu = (experts + room.redundant + beyond).div_ceil(room.gpus);
        let copies = |expert: usize| (expert..experts + room.redundant).step_by(experts);
        let holders = (0..experts).map(|expert| copies(expert).map(|place| place / per_gpu).collect());
        Placement { holders: holders.collect() }
    }

    /// Experts by the load that was seen of each.
    pub fn by_load(loads: &[f64], room: Room) -> Placement {
        let nodes = (room.gpus / room.per_node).max(1);
        let whole = room.gpus.is_multiple_of(room.per_node) && room.redundant.is_multiple_of(nodes);
        let mut holders = vec![Vec::new(); loads.len()];
        if nodes == 1 || !whole || !room.groups.is_multiple_of(nodes) {
            let all: Vec<usize> = (0..loads.len()).collect();
            balance(loads, &all, room.redundant, 0..room.gpus, &mut holders);
            return Placement { holders };
        }
        let size = loads.len() / room.groups;
        let of_group = |group: usize| loads[group * size..(group + 1) * size].iter().sum::<f64>();
        let weights: Vec<f64> = (0..room.groups).map(of_group).collect();
        for (node, groups) in pack(&weights, nodes, room.groups / nodes).into_iter().enumerate() {
            let members: Vec<usize> = groups.into_iter().flat_map(|g| g * size..(g + 1) * size).collect();
            let gpus = node * room.per_node..(node + 1) * room.per_node;
            balance(loads, &members, room.redundant / nodes, gpus, &mut holders);
        }
        Placement { holders }
    }
}

/// Copies `redundant` of the `members` and spreads them over `gpus`.
fn balance(
    loads: &[f64],
    members: &[usize],
    redundant: usize,
    gpus: std::ops::Range<usize>,
    holders: &mut [Vec<usize>],
) {
    let mut copies = vec![1_usize; members.len()];
    for _ in 0..redundant {
        let each = |place: &usize| loads[members[*place]] / copies[*place] as f64;
        let room = |place: &usize| copies[*place] < gpus.len();
        let busiest = (0..members.len()).filter(room).max_by(|a, b| each(a).total_cmp(&each(b)).then(b.cmp(a)));
        copies[busiest.expect("a plan has no more copies than places")] += 1;
    }
    let mut items: Vec<(usize, f64)> = Vec::new();
    for (&expert, &copies) in members.iter().zip(&copies) {
        items.extend(std::iter::repeat_n((expert, loads[expert] / copies as f64), copies));
    }
    let weights: Vec<f64> = items.iter().map(|&(_, weight)| weight).collect();
    let places = items.len().div_ceil(gpus.len());
    for (gpu, held) in gpus.clone().zip(pack(&weights, gpus.len(), places)) {
        held.into_iter().for_each(|item| holders[items[item].0].push(gpu));
    }
}

/// Puts the heaviest first into the lightest of `bins` that has room for another, up to `most` in each.
fn pack(weights: &[f64], bins: usize, most: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]));
    let mut packed: Vec<(f64, Vec<usize>)> = vec![(0.0, Vec::new()); bins];
    for item in order {
        let open = packed.iter_mut().filter(|(_, held)| held.len() < most);
        let lightest = open.min_by(|a, b| a.0.total_cmp(&b.0)).expect("there is room for all");
        lightest.0 += weights[item];
        lightest.1.push(item);
    }
    packed.into_iter().map(|(_, held)| held).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room { gpus: 4, per_node: 4, redundant: 4, groups: 1 };

    /// The busiest GPU's load over the mean.
    fn imbalance(loads: &[f64], placement: &Placement, gpus: usize) -> f64 {
        let mut busy = vec![0.0; gpus];
        for (load, holders) in loads.iter().zip(&placement.holders) {
            holders.iter().for_each(|&gpu| busy[gpu] += load / holders.len() as f64);
        }
        busy.iter().fold(0.0_f64, |most, &gpu| most.max(gpu)) * gpus as f64 / loads.iter().sum::<f64>()
    }

    #[test]
    fn copies_of_busy_experts_even_out_the_load() {
        let loads: Vec<f64> = (0..12).map(|expert| 1.0 / f64::from(expert + 1)).collect();
        let (plain, balanced) = (Placement::in_order(12, ROOM, 0), Placement::by_load(&loads, ROOM));
        // In order, the first GPU holds the four busiest, each of which has a copy on the last: half of 1 + 1/2 + 1/3 + 1/4
        // against a quarter of the sum of all, 1.34.
        assert!((imbalance(&loads, &plain, 4) - 1.34).abs() < 0.01, "{}", imbalance(&loads, &plain, 4));
        assert!(imbalance(&loads, &balanced, 4) < 1.1, "{}", imbalance(&loads, &balanced, 4));
        let copies: usize = balanced.holders.iter().map(Vec::len).sum();
        assert_eq!(copies, 16);
        assert!(balanced.holders[0].len() > 1, "the busiest expert is copied");
    }

    #[test]
    fn groups_stay_on_a_node_where_nodes_divide_them() {
        let loads: Vec<f64> = (0..16).map(|expert| f64::from(expert % 5 + 1)).collect();
        let room = Room { gpus: 4, per_node: 2, redundant: 4, groups: 4 };
        let placement = Placement::by_load(&loads, room);
        for group in 0..4 {
            let mut nodes: Vec<usize> =
                placement.holders[group * 4..(group + 1) * 4].iter().flatten().map(|gpu| gpu / 2).collect();
            nodes.dedup();
            assert_eq!(nodes.len(), 1, "group {group}");
        }
    }

    #[test]
    fn copies_in_order_are_those_of_the_first_experts() {
        let placement = Placement::in_order(6, Room { redundant: 2, ..ROOM }, 0);
        assert_eq!(placement.holders, [vec![0, 3], vec![0, 3], vec![1], vec![1], vec![2], vec![2]]);
    }
}
