//! The wiring of a fabric: its switches, the cables between them and the places for endpoint ports.
//!
//! This is what a shape computes. It must not know any hardware beyond the radix, nor any node.

use super::graph::Device;
use crate::hardware::SwitchSpec;
use crate::invalid::Invalid;
use crate::units::Count;

/// A shape, worked out.
#[derive(Default)]
pub(super) struct Wiring {
    /// The switches; the other fields refer to them by their place here.
    pub switches: Vec<Device>,
    /// Connections between switches, at most one per pair.
    pub trunks: Vec<Trunk>,
    /// The switch behind each place for an endpoint port, lane by lane. Port `j` of a node belongs to lane
    /// `j % lanes`: the planes of a multi-plane fabric, the rails of a multi-rail one, one lane otherwise.
    pub lanes: Vec<Vec<u32>>,
}

/// A bundle of parallel cables between two switches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Trunk {
    pub a: u32,
    pub b: u32,
    pub cables: u32,
}

impl Wiring {
    /// Adds a switch and returns its place.
    pub fn switch(&mut self, device: Device) -> u32 {
        self.switches.push(device);
        (self.switches.len() - 1) as u32
    }

    /// Joins two switches by `cables` parallel cables.
    pub fn trunk(&mut self, a: u32, b: u32, cables: u32) {
        self.trunks.push(Trunk { a, b, cables });
    }

    /// Makes one bundle of all cables between the same two switches.
    pub fn bundle(&mut self) {
        for trunk in &mut self.trunks {
            (trunk.a, trunk.b) = (trunk.a.min(trunk.b), trunk.a.max(trunk.b));
        }
        self.trunks.sort_unstable();
        self.trunks.dedup_by(|next, kept| {
            let same = (next.a, next.b) == (kept.a, kept.b);
            kept.cables += if same { next.cables } else { 0 };
            same
        });
    }

    /// Refuses a wiring in which a switch would need more ports than it has.
    pub fn check_radix(&self, switch: &SwitchSpec, place: &str) -> Result<(), Invalid> {
        let mut ports = vec![0_u32; self.switches.len()];
        for trunk in &self.trunks {
            ports[trunk.a as usize] += trunk.cables;
            ports[trunk.b as usize] += trunk.cables;
        }
        for &place in self.lanes.iter().flatten() {
            ports[place as usize] += 1;
        }
        let radix = switch.radix.get();
        match ports.iter().position(|&used| used > radix) {
            None => Ok(()),
            Some(at) => {
                let message =
                    format!("{} needs {} ports, but `{}` has {radix}", self.switches[at], ports[at], switch.name);
                Err(Invalid::at(place, message)
                    .help("use a switch of a larger radix, or attach fewer endpoints to each"))
            }
        }
    }
}

/// Endpoint ports of the largest fabric that is built; far above any real one, it bounds memory.
pub(super) const MAX_ENDPOINTS: u64 = 1 << 24;

/// Refuses routers that need more ports than the switch has, before their links are made.
pub(super) fn check_router_ports(needed: u64, radix: Count, place: &str) -> Result<(), Invalid> {
    if needed <= radix.wide() {
        return Ok(());
    }
    let message = format!("each router needs {needed} ports, but the switch has {radix}");
    Err(Invalid::at(place, message).help("use a switch of a larger radix, or fewer endpoints or links per router"))
}

/// How many endpoint ports one lane is built for: what the file states, else what the cluster demands, else all that
/// the shape can hold. `place` is the key that states it.
pub(super) fn lane_size(stated: Option<u32>, demand: Option<u32>, capacity: u64, place: &str) -> Result<u32, Invalid> {
    if let Some(size) = stated
        && u64::from(size) > capacity
    {
        let message = format!("{size} endpoints are asked for, but the shape holds at most {capacity}");
        return Err(Invalid::at(place, message).help("use more layers, a switch of a larger radix, or fewer endpoints"));
    }
    let limit = stated.map_or(capacity, u64::from);
    if let Some(needed) = demand
        && u64::from(needed) > limit
    {
        let message = format!("the cluster needs {needed} endpoint ports here, but the fabric has {limit}");
        return Err(Invalid::at(place, message).help("use fewer nodes or a larger fabric"));
    }
    let size = stated.or(demand).map_or(capacity, u64::from);
    check_endpoints(size, place)?;
    Ok(size as u32)
}

/// Refuses a fabric that would not fit into memory.
pub(super) fn check_endpoints(endpoints: u64, place: &str) -> Result<(), Invalid> {
    if endpoints <= MAX_ENDPOINTS {
        return Ok(());
    }
    let message = format!("a fabric of {endpoints} endpoint ports is too large; at most {MAX_ENDPOINTS} are built");
    Err(Invalid::at(place, message).help("state fewer endpoints"))
}
