//! Where the instances of all pools are: on the nodes of one fabric, decoding instances first, then those that compute prompts.

use crate::experiment::build;
use crate::id::{DeviceId, LinkId};
use crate::invalid::Invalid;
use crate::scenario::Scenario;
use crate::topology::{Cluster, DeviceKind, LinkKind, Topology};
use crate::units::Count;
use crate::workload::{PoolKind, ServingSpec, WorkerId};

/// The nodes of the instances of a pool.
#[derive(Clone, Copy, Debug)]
struct Site {
    first: u32,
    /// Nodes of each instance.
    nodes: u32,
    /// GPUs in use of each node.
    gpus: u32,
}

/// The cluster of all instances.
pub(super) struct Sites<'a> {
    /// All nodes and the fabric that joins them.
    pub(super) whole: &'a Cluster,
    decode: Site,
    prefill: Option<Site>,
    /// Whether no fabric joins the instances, of which the first stands for all then.
    apart: bool,
}

/// Where instances are, before there is a cluster.
struct Plan {
    decode: Site,
    prefill: Option<Site>,
    apart: bool,
    /// Nodes of all instances that decode, and of those that compute prompts.
    nodes: [u32; 2],
}

impl Plan {
    fn of(scenario: &Scenario, spec: &ServingSpec) -> Plan {
        let own = scenario.hardware.gpus;
        let decode = Site { first: 0, nodes: scenario.nodes.get(), gpus: own.get() };
        let of_decode = decode.nodes.saturating_mul(spec.decode.instances.get());
        let prefill = spec.prefill.as_ref().map(|pool| Site {
            first: of_decode,
            nodes: pool.nodes.get(),
            gpus: pool.gpus.unwrap_or(own).get(),
        });
        let of_prefill = spec.prefill.as_ref().map_or(0, |pool| pool.nodes.get().saturating_mul(pool.instances.get()));
        let apart = prefill.is_none() && scenario.topology.is_none() && decode.nodes == 1;
        Plan { decode, prefill, apart, nodes: [of_decode, of_prefill] }
    }
}

/// The nodes of all instances that `spec` describes, joined by the fabric of the scenario.
pub(super) fn whole(scenario: &Scenario, spec: &ServingSpec) -> Result<Cluster, Invalid> {
    let Plan { prefill, apart, nodes: [decode_nodes, prefill_nodes], .. } = Plan::of(scenario, spec);
    let own = scenario.hardware.gpus;
    let all = if apart { 1 } else { decode_nodes.saturating_add(prefill_nodes) };
    let mut joined = scenario.clone();
    joined.nodes = Count::new(all).unwrap_or(scenario.nodes);
    joined.hardware.gpus = prefill.and_then(|site| Count::new(site.gpus)).map_or(own, |gpus| gpus.max(own));
    if all > 1 && scenario.topology.is_none() && scenario.nodes.get() == 1 {
        let message = format!("instances on {all} nodes need a fabric to join them, and none is named");
        let help = "add a [topology] table that extends a file of topologies/";
        return Err(Invalid::at("topology", message).help(help));
    }
    build::cluster(&joined).map_err(|invalid| match build::cluster(scenario) {
        Ok(_) => too_small(invalid, decode_nodes, prefill_nodes),
        Err(_) => invalid,
    })
}

impl<'a> Sites<'a> {
    /// Places the instances that `spec` describes on the nodes of `whole`.
    pub(super) fn of(scenario: &Scenario, spec: &ServingSpec, whole: &'a Cluster) -> Result<Sites<'a>, Invalid> {
        let Plan { decode, prefill, apart, .. } = Plan::of(scenario, spec);
        if apart && spec.decode.instances.get() > 1 && !scenario.fault.is_empty() {
            let message = "faults hit one of several instances, and no fabric says where each is";
            return Err(
                Invalid::at("topology", message).help("add a [topology] table that extends a file of topologies/")
            );
        }
        Ok(Sites { whole, decode, prefill, apart })
    }

    /// The nodes of a worker, on the one topology.
    pub(super) fn of_worker(&self, id: WorkerId) -> Cluster {
        let Site { first, nodes, gpus } = self.site(id.pool);
        let place = if self.apart { 0 } else { id.place as u32 };
        self.whole.part(first + place * nodes, nodes, gpus)
    }

    /// The GPU of a worker that holds its rank `rank`.
    pub(super) fn gpu(&self, id: WorkerId, rank: usize) -> DeviceId {
        let Site { first, nodes, gpus } = self.site(id.pool);
        let place = if self.apart { 0 } else { id.place };
        let node = first as usize + place * nodes as usize + rank / gpus as usize;
        self.whole.gpus[node * self.whole.gpus_per_node as usize + rank % gpus as usize]
    }

    fn site(&self, pool: PoolKind) -> Site {
        match (pool, self.prefill) {
            (PoolKind::Prefill, Some(site)) => site,
            _ => self.decode,
        }
    }

    /// Whether a change of `link` can reach the steps of a worker: it is in one of its nodes or at one, or between switches.
    pub(super) fn concerns(&self, link: LinkId, id: WorkerId) -> bool {
        let topology = &self.whole.topology;
        if topology.link(link).kind == LinkKind::Fabric {
            return true;
        }
        let Site { first, nodes, .. } = self.site(id.pool);
        let from = first + if self.apart { 0 } else { id.place as u32 * nodes };
        let (a, b) = topology.ends(link);
        [a, b].into_iter().any(|end| {
            let device = topology.device(end);
            !device.kind.is_fabric_switch() && (from..from + nodes).contains(&device.group)
        })
    }
}

/// What is said of a fabric on which one instance fits and not all.
fn too_small(invalid: Invalid, decode: u32, prefill: u32) -> Invalid {
    let all = decode.saturating_add(prefill);
    let message = format!(
        "all instances take {all} nodes of one fabric, {decode} that decode and {prefill} that compute prompts, and {}",
        invalid.message
    );
    Invalid::at("topology", message).help("use a larger fabric, or fewer instances")
}

/// The cluster where so many quarters of what its NICs carry are left.
pub(super) fn with_nics_left(cluster: Cluster, quarters: u8) -> Cluster {
    if quarters >= 4 {
        return cluster;
    }
    let left = f64::from(quarters) / 4.0;
    let parts: Vec<(LinkId, f64)> = cables(&cluster.topology, &cluster.nics).map(|link| (link, left)).collect();
    Cluster { topology: cluster.topology.with_parts(&parts), ..cluster }
}

/// The network cables of some NICs, both directions.
fn cables<'t>(topology: &'t Topology, nics: &'t [DeviceId]) -> impl Iterator<Item = LinkId> + 't {
    let at = |&nic: &DeviceId| topology.out_links(nic).chain(topology.in_links(nic));
    nics.iter().flat_map(at).map(|(link, _)| link).filter(|&link| {
        let (from, to) = topology.ends(link);
        [from, to].into_iter().any(|end| topology.device(end).kind != DeviceKind::Nic)
            && topology.link(link).kind == LinkKind::Endpoint
    })
}
