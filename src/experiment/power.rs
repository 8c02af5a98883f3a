//! What a node and its part of the fabric draw at most: one account for every workload.

use crate::scenario::Scenario;
use crate::topology::power_per_endpoint_cable;
use crate::units::{Count, Watts};

/// Power of one node at most, by part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct NodePower {
    gpus: Watts,
    cpus: Watts,
    nics: Watts,
    /// Scale-up switches, memory, drives, fans, loss of the power supplies.
    overhead: Watts,
    /// Switches, cables and optics, in proportion to the ports that the node has on the fabric.
    fabric: Watts,
}

impl NodePower {
    /// The power of one node of `scenario` with its part of the fabric.
    pub(super) fn of(scenario: &Scenario) -> NodePower {
        let node = &scenario.hardware;
        let none = Watts::from_milli(0);
        let per_port = scenario.topology.as_ref().and_then(power_per_endpoint_cable).unwrap_or(none);
        let ports = node.nics.as_ref().map_or(0, |nics| nics.count.wide() * nics.nic.ports.wide());
        NodePower {
            gpus: node.gpu.power * node.gpus.wide(),
            cpus: node.cpu.as_ref().map_or(none, |cpu| cpu.power * node.cpus.map_or(0, Count::wide)),
            nics: node.nics.as_ref().map_or(none, |nics| nics.nic.power * nics.count.wide()),
            overhead: node.overhead.unwrap_or(none),
            fabric: per_port * ports,
        }
    }

    /// All of it.
    pub(super) fn total(&self) -> Watts {
        self.gpus + self.cpus + self.nics + self.overhead + self.fabric
    }
}
