//! The Slim Fly: a direct network of diameter two on a McKay-Miller-Siran (MMS) graph.
//!
//! Besta and Hoefler, "Slim Fly: A Cost Effective Low-Diameter Network Topology" (SC 2014); generator sets after Hafner,
//! "Geometric realisation of the graphs of McKay-Miller-Siran" (2004).

use super::field::{Field, prime_power};
use super::graph::{Device, DeviceKind};
use super::wiring::{Wiring, check_router_ports, lane_size};
use crate::invalid::Invalid;
use crate::units::Count;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A Slim Fly. A graph exists for every prime power `q` of 3 or more that leaves 0, 1 or 3 when divided by 4.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SlimFlySpec {
    /// Order of the field; the network has `2q²` routers.
    pub q: Count,
    /// Endpoints of a router (`p`); without it half the links of a router, rounded up.
    pub endpoints_per_router: Option<Count>,
    /// Only count by the formulas, for a `q` that has no graph. Such a fabric can be compared, but not simulated.
    #[serde(default)]
    pub counts_only: bool,
}

/// What the formulas say of a Slim Fly, whether or not its graph exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlimFlyCounts {
    /// Routers: `2q²`.
    pub switches: u64,
    /// Links of a router to others: `(3q - δ)/2`, where `q = 4w + δ` and `δ` is -1, 0 or 1.
    pub links_per_switch: u64,
    /// Links between routers.
    pub links: u64,
    /// Endpoints: `p` for each router.
    pub endpoints: u64,
}

/// The formula counts of a Slim Fly of order `q` with `p` endpoints for each router; without `p`, half the links of a
/// router, rounded up. There are none for a `q` that leaves 2 when divided by 4, as the degree would not be whole.
pub fn slim_fly_counts(q: Count, p: Option<Count>) -> Option<SlimFlyCounts> {
    let q = q.wide();
    let links_per_switch = match q % 4 {
        0 => 3 * q / 2,
        1 => (3 * q - 1) / 2,
        3 => (3 * q).div_ceil(2),
        _ => return None,
    };
    let switches = 2 * q * q;
    let p = p.map_or(links_per_switch.div_ceil(2), Count::wide);
    Some(SlimFlyCounts { switches, links_per_switch, links: switches * links_per_switch / 2, endpoints: switches * p })
}

/// Whether an MMS graph of order `q` exists.
fn has_graph(q: u32) -> bool {
    q >= 3 && q % 4 != 2 && prime_power(q).is_some()
}

impl SlimFlySpec {
    /// The formula counts, for a spec that asks for nothing else.
    pub(super) fn counts(&self) -> Result<SlimFlyCounts, Invalid> {
        slim_fly_counts(self.q, self.endpoints_per_router).ok_or_else(|| {
            let message = format!("a Slim Fly of q = {} has no whole number of links per router", self.q);
            Invalid::at("q", message).help("use a q that does not leave 2 when divided by 4")
        })
    }

    /// Wires the MMS graph; `demand` endpoint ports must find a place.
    pub(super) fn wire(&self, radix: Count, demand: Option<u32>) -> Result<Wiring, Invalid> {
        let q = self.q.get();
        if self.counts_only {
            let message = "only the counts of this Slim Fly are asked for, so there is no graph to build";
            return Err(Invalid::at("counts_only", message).help("remove `counts_only` and use a `q` that has a graph"));
        }
        if !has_graph(q) {
            let message = format!("there is no Slim Fly graph of q = {q}");
            return Err(Invalid::at("q", message).help(format!(
                "q must be a prime power that does not leave 2 when divided by 4, such as {}; \
                 `counts_only = true` counts by the formulas",
                neighbours(q)
            )));
        }
        let counts = self.counts()?;
        let p = (counts.endpoints / counts.switches) as u32;
        check_router_ports(u64::from(p) + counts.links_per_switch, radix, "q")?;
        let endpoints = lane_size(None, None, counts.endpoints, "q")?;
        lane_size(Some(endpoints), demand, counts.endpoints, "q")?;
        let mut wiring = mms_graph(q);
        let routers = 0..wiring.switches.len() as u32;
        wiring.lanes = vec![routers.flat_map(|router| (0..p).map(move |_| router)).collect()];
        Ok(wiring)
    }
}

/// The nearest legal orders, for a hint.
fn neighbours(q: u32) -> String {
    let below = (3..q).rev().find(|&q| has_graph(q));
    let above = (q..).find(|&q| has_graph(q));
    below.into_iter().chain(above).map(|q| q.to_string()).collect::<Vec<_>>().join(" or ")
}

/// The MMS graph of order `q`. Router `(s, x, y)` is the one of group `s·q + x` with index `y`.
///
/// `(0, x, y)` and `(0, x, y')` are linked when `y - y'` is in the first generator set, `(1, m, c)` and `(1, m, c')` when
/// `c - c'` is in the second, and `(0, x, y)` and `(1, m, c)` when `y = m·x + c`.
fn mms_graph(q: u32) -> Wiring {
    let field = Field::new(q).expect("the caller has checked that q is a prime power");
    let mut wiring = Wiring::default();
    for group in 0..2 * q {
        for index in 0..q {
            wiring.switch(Device { kind: DeviceKind::Router, group, plane: 0, index });
        }
    }
    let router = |side: u32, row: u32, at: u32| (side * q + row) * q + at;
    for (side, generators) in (0..).zip(generator_sets(&field)) {
        for row in 0..q {
            for at in 0..q {
                let others = generators.iter().map(|&step| field.add(at, step));
                others.filter(|&other| at < other).for_each(|other| {
                    wiring.trunk(router(side, row, at), router(side, row, other), 1);
                });
            }
        }
    }
    for x in 0..q {
        for m in 0..q {
            for c in 0..q {
                wiring.trunk(router(0, x, field.add(field.mul(m, x), c)), router(1, m, c), 1);
            }
        }
    }
    wiring
}

/// The two generator sets, each closed under negation, made of alternate powers of a primitive element.
fn generator_sets(field: &Field) -> [Vec<u32>; 2] {
    let q = field.order();
    let (first, second): (Vec<u32>, Vec<u32>) = match q % 4 {
        // The even powers and the odd powers.
        1 => ((0..=q - 3).step_by(2).collect(), (1..=q - 2).step_by(2).collect()),
        // As above, with q even; the power q - 1 is 1 again.
        0 => ((0..=q - 2).step_by(2).collect(), (1..=q - 1).step_by(2).collect()),
        // Negation turns even into odd powers: half of each, where -1 is the power (q - 1)/2.
        _ => {
            let half = q.div_ceil(2);
            let first = (0..=half - 2).step_by(2).chain((half - 1..=q - 2).step_by(2));
            let second = (1..=half - 1).step_by(2).chain((half..=q - 1).step_by(2));
            (first.collect(), second.collect())
        }
    };
    [first, second].map(|powers| powers.into_iter().map(|power| field.power(power)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition of the graph: every router has the same number of links, and any two are at most two apart.
    #[test]
    fn every_legal_order_gives_a_regular_graph_of_diameter_two() {
        for q in [3, 4, 5, 7, 8, 9, 11, 13, 16, 17, 19, 25, 27] {
            let wiring = mms_graph(q);
            let counts = slim_fly_counts(Count::new(q).expect("positive"), None).expect("a legal order");
            assert_eq!(wiring.switches.len() as u64, counts.switches, "q = {q}");
            assert_eq!(wiring.trunks.len() as u64, counts.links, "q = {q}");
            let mut peers = vec![Vec::new(); wiring.switches.len()];
            for trunk in &wiring.trunks {
                peers[trunk.a as usize].push(trunk.b);
                peers[trunk.b as usize].push(trunk.a);
            }
            assert!(peers.iter().all(|p| p.len() as u64 == counts.links_per_switch), "q = {q}: not regular");
            for (at, near) in peers.iter().enumerate() {
                let mut reached = vec![false; peers.len()];
                reached[at] = true;
                for &peer in near {
                    reached[peer as usize] = true;
                    peers[peer as usize].iter().for_each(|&far| reached[far as usize] = true);
                }
                assert!(reached.iter().all(|&r| r), "q = {q}: router {at} is more than two links from another");
            }
        }
    }

    #[test]
    fn orders_without_a_graph_are_refused_with_their_neighbours() {
        let spec =
            |q| SlimFlySpec { q: Count::new(q).expect("positive"), endpoints_per_router: None, counts_only: false };
        let radix = Count::new(64).expect("positive");
        let error = spec(28).wire(radix, None).err().expect("28 is not a prime power");
        assert!(error.help.is_some_and(|help| help.contains("27 or 29")));
        for q in [1, 2, 6, 12, 15, 18, 21] {
            assert!(spec(q).wire(radix, None).is_err(), "q = {q}");
        }
        assert!(slim_fly_counts(Count::new(30).expect("positive"), None).is_none());
    }
}
