//! What the transfers of all groups that run at the same time leave on the cables of their paths.

use super::states::State;
use super::{Phase, Together};
use crate::id::{CableId, DeviceId, LinkId};
use crate::rng::mix;
use crate::routing::{self, Passage, Routes};
use crate::topology::{Cluster, LinkKind, Topology};

/// By how much a cable may have more to pass than those at which transfers start, before it counts as tight.
const SLACK: f64 = 2e-3;

/// Rounds in which transfers are told apart by what they meet; each takes one more turn around shared cables.
const ROUNDS_MAX: usize = 8;

/// The transfers of one phase in one state of the network.
pub(super) struct Traffic {
    pub(super) flows: Vec<Flow>,
    /// Which cables each flow passes, and which part of it.
    passages: Vec<(u32, f32)>,
    cables: Vec<Cable>,
}

/// A transfer.
pub(super) struct Flow {
    pub(super) group: u32,
    pub(super) from: u32,
    pub(super) to: u32,
    /// What is written down with `from`, by its first rank.
    pub(super) unit: u32,
    /// Its cables in `passages`.
    range: (u32, u32),
    /// Picoseconds.
    pub(super) latency: u64,
    /// Equal for flows that are as fast at any time.
    pub(super) color: u64,
}

/// A cable under load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cable {
    pub(super) link: LinkId,
    /// Bytes per second.
    rate: f64,
    /// Seconds that it takes to pass one byte of each flow.
    load: f64,
    /// Whether it has more to pass than the cables at which some flow starts.
    pub(super) tight: bool,
    /// Whether flows leave their node on it, or wait for it before.
    pub(super) leaving: bool,
}

impl Traffic {
    /// The transfers of `phase` in all groups; the paths through the network matter only to models in which it `contends`.
    pub(super) fn new(
        cluster: &Cluster,
        routes: &mut Routes<'_>,
        together: &Together,
        phase: &Phase,
        state: &State,
        contends: bool,
    ) -> Traffic {
        let cable = |(_, cable): (CableId, &routing::Cable)| {
            let link = cluster.topology.link(cable.link);
            let of_one = link.achievable.get() as f64 / f64::from(routes.cables().of_link(cable.link));
            let rate = of_one * state.share(cable.link.index());
            Cable { link: cable.link, rate, load: 0.0, tight: false, leaving: false }
        };
        let cables = routes.cables().iter().map(cable).collect();
        let mut traffic = Traffic { flows: Vec::new(), passages: Vec::new(), cables };
        let mut passed = Vec::new();
        for (number, group) in together.groups.iter().enumerate() {
            for &(from, to) in &phase.sends {
                let ends = [from, to].map(|rank| cluster.gpus[group[rank as usize]]);
                passed.clear();
                let latency = path(&cluster.topology, routes, ends, contends, &mut passed);
                traffic.add(Ends { group: number, from, to, unit: phase.unit }, latency, &passed);
            }
        }
        traffic.find_tight(&cluster.topology, routes);
        traffic.color();
        traffic
    }

    fn add(&mut self, ends: Ends, latency: u64, passed: &[Passage]) {
        let start = self.passages.len() as u32;
        for &Passage { cable, part } in passed {
            self.passages.push((cable.index() as u32, part as f32));
            let cable = &mut self.cables[cable.index()];
            cable.load += part / cable.rate;
        }
        let narrowest = passed.iter().map(|passage| self.cables[passage.cable.index()].rate).fold(f64::MAX, f64::min);
        let Ends { group, from, to, unit } = ends;
        self.flows.push(Flow {
            group: group as u32,
            from,
            to,
            unit: from - from % unit as u32,
            range: (start, self.passages.len() as u32),
            latency,
            color: u64::from((narrowest as f32).to_bits()),
        });
    }

    /// The cables of a flow, with the parts of it that pass them.
    pub(super) fn cables<'a>(&'a self, flow: &Flow) -> impl Iterator<Item = (usize, Cable, f64)> + use<'a> {
        let passages = &self.passages[flow.range.0 as usize..flow.range.1 as usize];
        passages.iter().map(|&(cable, part)| (cable as usize, self.cables[cable as usize], f64::from(part)))
    }

    pub(super) fn n_cables(&self) -> usize {
        self.cables.len()
    }

    pub(super) fn cable(&self, place: usize) -> Cable {
        self.cables[place]
    }

    /// Finds the cables that can be tight, and those on which flows leave their node.
    fn find_tight(&mut self, topology: &Topology, routes: &Routes<'_>) {
        let in_fabric = |device: DeviceId| topology.device(device).kind.is_fabric_switch();
        for at in 0..self.flows.len() {
            let range = self.flows[at].range.0 as usize..self.flows[at].range.1 as usize;
            if range.is_empty() {
                continue;
            }
            let from_switch =
                |&(cable, _): &(u32, f32)| in_fabric(routes.cables().get(CableId::new(cable as usize)).from);
            let source = self.passages[range.clone()].iter().position(from_switch);
            let leaving = range.start..range.start + source.unwrap_or(1).max(1);
            let load = |place: usize| self.cables[self.passages[place].0 as usize].load;
            let most = leaving.clone().map(load).fold(0.0, f64::max);
            for place in range {
                let cable = &mut self.cables[self.passages[place].0 as usize];
                if leaving.contains(&place) {
                    // Inside a node every GPU has cables of its own.
                    let port = topology.link(cable.link).kind == LinkKind::Endpoint;
                    cable.leaving |= port || (source.is_some() && cable.load >= most * (1.0 - SLACK));
                } else {
                    cable.tight |= cable.load > most * (1.0 + SLACK);
                }
            }
            let flow = &mut self.flows[at];
            flow.color = mix(flow.color ^ mix(u64::from((most as f32).to_bits())));
        }
    }

    /// Tells flows apart by the tight cables that they meet, and these by the flows that meet there, until nothing new is found: what is
    /// left alike has equal rates, whichever max-min fair shares there are.
    fn color(&mut self) {
        if !self.cables.iter().any(|cable| cable.tight) {
            return;
        }
        let own: Vec<u64> = self.flows.iter().map(|flow| flow.color).collect();
        let mut known = 0;
        for _ in 0..ROUNDS_MAX {
            let mut met = vec![0_u64; self.cables.len()];
            for flow in &self.flows {
                for (cable, _, part) in self.cables(flow).filter(|(_, cable, _)| cable.tight) {
                    met[cable] = met[cable].wrapping_add(mix(flow.color ^ mix(u64::from((part as f32).to_bits()))));
                }
            }
            let seen = |flow: &Flow| {
                let tight = self.cables(flow).filter(|(_, cable, _)| cable.tight);
                let color = |(at, cable, part): (usize, Cable, f64)| {
                    let rate = u64::from((cable.rate as f32).to_bits());
                    mix(met[at] ^ mix(rate ^ mix(u64::from((part as f32).to_bits()))))
                };
                tight.map(color).fold(0_u64, u64::wrapping_add)
            };
            let colors: Vec<u64> = self.flows.iter().zip(&own).map(|(flow, own)| mix(own ^ mix(seen(flow)))).collect();
            let mut different = colors.clone();
            different.sort_unstable();
            different.dedup();
            self.flows.iter_mut().zip(colors).for_each(|(flow, color)| flow.color = color);
            if different.len() == known {
                return;
            }
            known = different.len();
        }
    }
}

/// Who sends to whom, and how many ranks are written down together.
struct Ends {
    group: usize,
    from: u32,
    to: u32,
    unit: usize,
}

/// The cables of a transfer, in order of travel, and its latency in picoseconds: of the whole path where the network contends, else
/// those on which it leaves its node. Nothing where there is no path, or none is needed.
fn path(
    topology: &Topology,
    routes: &mut Routes<'_>,
    [from, to]: [DeviceId; 2],
    contends: bool,
    passed: &mut Vec<Passage>,
) -> u64 {
    if from == to {
        return 0;
    }
    if !contends {
        let Some(path) = routes.path(from, to) else { return 0 };
        passed.extend_from_slice(&path.ports);
        return path.latency.as_ps();
    }
    if !routes.passages(from, to, 1, passed) {
        passed.clear();
    }
    // Paths among which a transfer is split are equally long.
    let latency = |passage: &Passage| {
        let link = routes.cables().get(passage.cable).link;
        passage.part * topology.link(link).latency.as_ps() as f64
    };
    passed.iter().map(latency).sum::<f64>().round() as u64
}
