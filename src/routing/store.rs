//! Tables of next hops that were worked out before, for whoever needs them again: other simulations of a run, other runs. A table holds
//! shortest ways and nothing else, so that it is the same whoever worked it out.

use super::port_groups::PortTables;
use super::spec::{ForwardChoice, NicPorts, RoutingSpec};
use crate::rng::mix;
use crate::store::{Home, Store};
use crate::topology::Topology;
use std::sync::Arc;

/// Memory that kept tables may take, in bytes.
const BYTES_MAX: usize = 512 << 20;

/// On what next hops depend: devices and cables, which of them are usable, and what a choice among them would have to know before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    wiring: u128,
    usable: u64,
    forward: ForwardChoice,
    nic_ports: NicPorts,
}

/// Tables that nobody uses at the moment.
pub type TableStore = Store<Key, PortTables>;

/// An empty store.
pub fn table_store() -> Arc<TableStore> {
    Arc::new(Store::new(BYTES_MAX))
}

/// The place in `store` of tables over the links of `topology` that are `usable`.
pub(super) fn home(
    store: &Arc<TableStore>,
    topology: &Topology,
    spec: &RoutingSpec,
    usable: &[bool],
) -> Home<Key, PortTables> {
    let bit = |hash: u64, usable: &bool| mix(hash ^ u64::from(*usable));
    let usable = if usable.iter().all(|&usable| usable) { 0 } else { usable.iter().fold(1, bit) };
    let RoutingSpec { forward, nic_ports, .. } = *spec;
    Home::of(store, Key { wiring: topology.wiring(), usable, forward, nic_ports })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{DeviceId, LinkId};
    use crate::routing::Routes;
    use crate::topology::{Device, DeviceKind, Link, LinkKind, TopologyBuilder};
    use crate::units::{BytesPerSec, Duration};

    /// Two leaves with `endpoints` each, under two spines.
    fn tree(endpoints: u32) -> Topology {
        let mut builder = TopologyBuilder::default();
        let mut device = |kind, index| builder.device(Device { kind, group: 0, plane: 0, index });
        let leaves = [0, 1].map(|index| device(DeviceKind::Leaf, index));
        let spines = [0, 1].map(|index| device(DeviceKind::Spine, index));
        let nics: Vec<DeviceId> = (0..2 * endpoints).map(|index| device(DeviceKind::Nic, index)).collect();
        let rate = BytesPerSec::new(50_000_000_000);
        let link = |kind| Link { kind, bandwidth: rate, achievable: rate, latency: Duration::from_ns(100), cables: 1 };
        for (at, &leaf) in leaves.iter().enumerate() {
            spines.iter().for_each(|&spine| builder.connect(leaf, spine, link(LinkKind::Fabric)));
            nics.iter().skip(at).step_by(2).for_each(|&nic| builder.connect(nic, leaf, link(LinkKind::Endpoint)));
        }
        builder.finish()
    }

    /// All paths over a fabric, with one link out of use where one is named.
    fn paths(topology: &Topology, store: Option<&Arc<TableStore>>, out: Option<LinkId>) -> Vec<Option<Vec<LinkId>>> {
        let spec = RoutingSpec::default();
        let mut routes = match store {
            Some(store) => Routes::stored(topology, spec, 1, store),
            None => Routes::new(topology),
        };
        if let Some(out) = out {
            let back = topology.opposite(out);
            let usable: Vec<bool> = topology.links().map(|(link, _)| link != out && link != back).collect();
            routes = routes.restricted(&usable);
        }
        let ends: Vec<DeviceId> = topology.devices().map(|(id, _)| id).collect();
        let ways = ends.iter().flat_map(|&from| ends.iter().map(move |&to| (from, to))).filter(|(from, to)| from != to);
        ways.map(|(from, to)| routes.path(from, to).map(|path| path.links)).collect()
    }

    #[test]
    fn paths_are_those_of_tables_of_ones_own_whoever_came_before() {
        let (one, other) = (tree(4), tree(6));
        let store = table_store();
        for _ in 0..2 {
            for topology in [&one, &other] {
                for out in [None, Some(LinkId::new(2)), Some(LinkId::new(5))] {
                    assert_eq!(paths(topology, Some(&store), out), paths(topology, None, out));
                }
            }
        }
        assert_eq!(store.len(), 6, "three states of two fabrics, one at a time");
    }

    #[test]
    fn links_of_other_rates_are_wired_alike_and_other_cables_are_not() {
        let topology = tree(4);
        assert_eq!(topology.wiring(), topology.with_parts(&[(LinkId::new(1), 0.5)]).wiring());
        assert_ne!(topology.wiring(), tree(5).wiring());
    }
}
