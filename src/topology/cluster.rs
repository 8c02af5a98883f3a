//! Nodes and the fabric that joins them, as one graph.

use super::build::{Nics, add_fabric};
use super::graph::{Device, DeviceKind, Link, LinkKind, Topology, TopologyBuilder};
use super::nvlink_domain::halves;
use super::spec::TopologySpec;
use super::wiring::check_endpoints;
use crate::hardware::NodeSpec;
use crate::id::DeviceId;
use crate::invalid::Invalid;
use crate::units::{Count, Duration, Fraction};

/// The graph of a cluster, with the devices that a placement of work refers to.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// All devices and links.
    pub topology: Topology,
    /// Every GPU, node by node: the physical place of each rank before any placement.
    pub gpus: Vec<DeviceId>,
    /// Every NIC, node by node.
    pub nics: Vec<DeviceId>,
    /// Nodes.
    pub nodes: u32,
    /// GPUs of each node.
    pub gpus_per_node: u32,
    /// NICs of each node.
    pub nics_per_node: u32,
}

impl Cluster {
    /// The node of the `gpu`-th GPU of the cluster.
    pub fn node_of(&self, gpu: usize) -> usize {
        gpu / self.gpus_per_node as usize
    }

    /// `count` of its nodes from the `first` on, with the first `gpus` GPUs of each in use and the NICs that these send through. Devices and links
    /// stay those of the whole.
    pub fn part(&self, first: u32, count: u32, gpus: u32) -> Cluster {
        let per_node = self.gpus_per_node as usize;
        let nodes = (first as usize)..(first + count) as usize;
        let used = nodes.flat_map(|node| node * per_node..node * per_node + gpus as usize);
        let mut nics: Vec<DeviceId> = used.clone().filter_map(|gpu| self.nic_of(gpu)).collect();
        nics.dedup();
        Cluster {
            topology: self.topology.clone(),
            gpus: used.map(|gpu| self.gpus[gpu]).collect(),
            nics_per_node: nics.len() as u32 / count.max(1),
            nics,
            nodes: count,
            gpus_per_node: gpus,
        }
    }

    /// The NIC that the `gpu`-th GPU of the cluster sends through, where its node has any.
    pub fn nic_of(&self, gpu: usize) -> Option<DeviceId> {
        let (per_node, local) = (self.gpus_per_node as usize, gpu % self.gpus_per_node as usize);
        let nics = self.nics_per_node as usize;
        self.nics.get(self.node_of(gpu) * nics + shared(local, nics, per_node)).copied()
    }
}

/// Which of `shared` devices the `index`-th of `users` uses: neighbours share.
fn shared(index: usize, shared: usize, users: usize) -> usize {
    index * shared / users
}

/// Builds `nodes` equal nodes and, where there are several, the fabric between their NICs.
///
/// A fabric that states how many endpoints it is for keeps that size; one that does not gets the size of the cluster.
/// Findings about the node and the fabric are placed under `node` and `topology`.
pub fn build_cluster(node: &NodeSpec, nodes: u32, fabric: Option<&TopologySpec>) -> Result<Cluster, Invalid> {
    node.check().map_err(|invalid| invalid.under("node"))?;
    if nodes == 0 {
        return Err(Invalid::at("nodes", "a cluster has at least one node"));
    }
    if nodes > 1 && fabric.is_none() {
        let message = format!("{nodes} nodes need a fabric to join them, and none is named");
        return Err(Invalid::at("topology", message).help("name a file under topologies/, or set `nodes = 1`"));
    }
    if nodes > 1 && node.nics.is_none() {
        let message = format!("the node `{}` has no NICs, so {nodes} of them cannot be joined", node.name);
        return Err(Invalid::at("node.nics", message).help("add a [nics] table to the node, or set `nodes = 1`"));
    }
    let ports = node.nics.as_ref().map_or(1, |nics| u64::from(nics.count.get()) * u64::from(nics.nic.ports.get()));
    check_endpoints(u64::from(nodes).saturating_mul(ports), "nodes")?;
    let mut builder = TopologyBuilder::default();
    let (mut gpus, mut nics) = (Vec::new(), Vec::new());
    for index in 0..nodes {
        let added = add_node(node, index, &mut builder);
        gpus.extend(added.gpus);
        nics.extend(added.nics);
    }
    if let (Some(fabric), Some(described)) = (fabric, &node.nics) {
        let attached = Nics {
            ids: nics.clone(),
            per_node: described.count.get(),
            ports: described.nic.ports.get(),
            port_bandwidth: described.nic.port_bandwidth_per_direction,
            efficiency: described.nic.efficiency,
            payload_share: described.nic.packet.as_ref().map_or(Fraction::ONE, |packet| packet.wire.share()),
            latency: described.nic.latency,
        };
        add_fabric(fabric, &attached, &mut builder).map_err(|invalid| invalid.under("topology"))?;
    }
    Ok(Cluster {
        topology: builder.finish(),
        gpus,
        nics,
        nodes,
        gpus_per_node: node.gpus.get(),
        nics_per_node: node.nics.as_ref().map_or(0, |nics| nics.count.get()),
    })
}

struct Added {
    gpus: Vec<DeviceId>,
    nics: Vec<DeviceId>,
}

/// Adds one node: its GPUs, NICs and CPUs, and the links inside it.
fn add_node(node: &NodeSpec, group: u32, builder: &mut TopologyBuilder) -> Added {
    let add = |builder: &mut TopologyBuilder, kind, count: u32| -> Vec<DeviceId> {
        (0..count).map(|index| builder.device(Device { kind, group, plane: 0, index })).collect()
    };
    let gpus = add(builder, DeviceKind::Gpu, node.gpus.get());
    add_scale_up(node, group, &gpus, builder);
    let nics = add(builder, DeviceKind::Nic, node.nics.as_ref().map_or(0, |nics| nics.count.get()));
    let cpus = add(builder, DeviceKind::Cpu, node.cpus.map_or(0, Count::get));
    // The port of the GPU bounds what it exchanges with its NIC or CPU. It adds no latency of its own: measured NIC
    // latencies begin and end in GPU memory.
    let bandwidth = node.gpu.host.bandwidth_per_direction;
    let host = Link { kind: LinkKind::Host, bandwidth, achievable: bandwidth, latency: Duration::ZERO, cables: 1 };
    for (index, &gpu) in gpus.iter().enumerate() {
        for others in [&nics, &cpus] {
            if let Some(&other) = others.get(shared(index, others.len(), gpus.len())) {
                builder.connect(gpu, other, host);
            }
        }
    }
    Added { gpus, nics }
}

/// Joins the GPUs of a node by their scale-up domain, where there is one; its chips are one device.
fn add_scale_up(node: &NodeSpec, group: u32, gpus: &[DeviceId], builder: &mut TopologyBuilder) {
    let (Some(scale_up), Some(bandwidth)) = (&node.scale_up, node.scale_up_bandwidth()) else { return };
    let switch = builder.device(Device { kind: DeviceKind::NvSwitch, group, plane: 0, index: 0 });
    let achievable = bandwidth.achieved(scale_up.efficiency);
    let (up, down) = halves(scale_up.latency);
    let cables = scale_up.switches.get();
    let link = Link { kind: LinkKind::ScaleUp, bandwidth, achievable, latency: up, cables };
    for &gpu in gpus {
        builder.connect_unequal(gpu, switch, link, Link { latency: down, ..link });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::testing::{bare_spec, spec};
    use crate::units::BytesPerSec;

    fn node(gpus: u32, nics: &str) -> NodeSpec {
        let text = format!(
            r#"
            name = "test node"
            gpus = {gpus}
            cpus = 2
            scale_up = {{ efficiency = 0.8, latency = "601 ns", switches = 4 }}
            {nics}
            [gpu]
            name = "test GPU"
            architecture = "Hopper"
            sms = 132
            boost_clock = "1.83 GHz"
            tensor = {{ bf16 = "989 TFLOP/s", efficiency = 0.8 }}
            memory = {{ kind = "HBM3", capacity = "80 GB", bandwidth = "3.35 TB/s", efficiency = 0.9 }}
            l2 = {{ capacity = "50 MB", shared = 0.5 }}
            scale_up = {{ kind = "NVLink", bandwidth_per_direction = "200 GB/s" }}
            host = {{ kind = "PCIe", bandwidth_per_direction = "64 GB/s" }}
            kernel_launch = "3 us"
            dependent_launch = "3 us"
            power = "700 W"
            [cpu]
            name = "test CPU"
            cores = 48
            bf16 = "10 TFLOP/s"
            memory = {{ kind = "DDR5", capacity = "1 TB", bandwidth = "300 GB/s", efficiency = 0.8 }}
            power = "350 W"
            "#
        );
        toml::from_str(&text).expect("a legal test node")
    }

    fn nics(count: u32, ports: u32) -> String {
        format!(
            r#"nics = {{ count = {count}, nic = {{ name = "test NIC", ports = {ports},
               port_bandwidth_per_direction = "200 Gb/s", efficiency = 0.5, latency = "900 ns", power = "25 W" }} }}"#
        )
    }

    /// The links of a shortest path between two devices.
    fn path(topology: &Topology, from: DeviceId, to: DeviceId) -> Vec<Link> {
        let mut rows = vec![vec![(from, Vec::new())]];
        let mut seen = vec![false; topology.n_devices()];
        while let Some(row) = rows.pop() {
            let mut next = Vec::new();
            for (at, links) in row {
                if at == to {
                    return links;
                }
                for (link, peer) in topology.out_links(at) {
                    if !std::mem::replace(&mut seen[peer.index()], true) {
                        let longer = links.iter().copied().chain([*topology.link(link)]).collect();
                        next.push((peer, longer));
                    }
                }
            }
            assert!(!next.is_empty(), "{from} does not reach {to}");
            rows.push(next);
        }
        unreachable!("the search ends at its target")
    }

    fn latency(links: &[Link]) -> Duration {
        links.iter().map(|link| link.latency).sum()
    }

    #[test]
    fn latencies_add_up_to_nics_cables_and_switches() {
        let fabric = spec("[shape.fat_tree]\nlayers = 2", 8);
        let cluster = build_cluster(&node(1, &nics(1, 1)), 8, Some(&fabric)).expect("legal");
        let nic = |at: usize| cluster.nics[at];
        let [near, far] = [1, 4].map(|at| path(&cluster.topology, nic(0), nic(at)));
        // Two NICs, two endpoint cables, one switch; then two switches and two cables more.
        assert_eq!(latency(&near), Duration::from_ns(2 * 900 + 2 * 15 + 230));
        assert_eq!(latency(&far), latency(&near) + Duration::from_ns(2 * (230 + 150)));
        assert_eq!(near[0].bandwidth, BytesPerSec::new(25_000_000_000), "the NIC is slower than the switch");
        assert_eq!(near[0].achievable, BytesPerSec::new(12_500_000_000));
        assert_eq!(far[1].bandwidth, BytesPerSec::new(50_000_000_000 * u64::from(far[1].cables)));
    }

    #[test]
    fn the_scale_up_domain_has_its_latency_and_efficiency() {
        let cluster = build_cluster(&node(8, ""), 1, None).expect("one node needs no fabric");
        let links = path(&cluster.topology, cluster.gpus[0], cluster.gpus[7]);
        assert_eq!(latency(&links), Duration::from_ns(601));
        assert!(links.iter().all(|link| link.achievable == BytesPerSec::new(160_000_000_000)));
        assert_eq!(cluster.nic_of(3), None);
    }

    #[test]
    fn gpus_are_in_rank_order_and_share_nics_with_neighbours() {
        let fabric = spec("[shape.fat_tree]\nlayers = 1", 8);
        let cluster = build_cluster(&node(8, &nics(4, 1)), 2, Some(&fabric)).expect("legal");
        assert_eq!((cluster.gpus.len(), cluster.nics.len()), (16, 8));
        for (rank, &gpu) in cluster.gpus.iter().enumerate() {
            let device = cluster.topology.device(gpu);
            assert_eq!((device.group as usize, device.index as usize), (rank / 8, rank % 8));
            let nic = cluster.nic_of(rank).expect("four NICs a node");
            assert_eq!(nic, cluster.nics[rank / 8 * 4 + rank % 8 / 2]);
            let links = path(&cluster.topology, gpu, nic);
            assert_eq!(links.len(), 1);
            assert_eq!(links[0].bandwidth, BytesPerSec::new(64_000_000_000));
        }
    }

    #[test]
    fn same_index_nics_meet_at_a_leaf_and_others_only_inside_a_node() {
        let planes = spec("[shape.multi_plane_fat_tree]\nlayers = 2\nplanes = 8", 64);
        let cluster = build_cluster(&node(8, &nics(8, 1)), 16, Some(&planes)).expect("legal");
        assert_eq!(path(&cluster.topology, cluster.nics[3], cluster.nics[8 + 3]).len(), 2);
        let leaves = cluster.topology.devices_of(DeviceKind::Leaf).count();
        assert_eq!(leaves, 8, "16 nodes need one leaf of each plane");
        let multi_port = spec("[shape.multi_plane_fat_tree]\nlayers = 2\nplanes = 4", 64);
        let cluster = build_cluster(&node(8, &nics(8, 4)), 4, Some(&multi_port)).expect("legal");
        for &nic in &cluster.nics {
            let links = cluster.topology.out_links(nic).map(|(_, peer)| *cluster.topology.device(peer));
            let mut planes: Vec<_> =
                links.filter(|peer| peer.kind == DeviceKind::Leaf).map(|leaf| leaf.plane).collect();
            planes.sort_unstable();
            assert_eq!(planes, [0, 1, 2, 3]);
        }
    }

    #[test]
    fn a_stated_size_keeps_its_switches() {
        let stated = spec("[shape.fat_tree]\nlayers = 2\nendpoints = 32", 8);
        let cluster = build_cluster(&node(1, &nics(1, 1)), 3, Some(&stated)).expect("legal");
        assert_eq!(cluster.topology.devices_of(DeviceKind::Nic).count(), 3);
        assert_eq!(cluster.topology.devices_of(DeviceKind::Leaf).count(), 8);
    }

    #[test]
    fn what_cannot_be_joined_is_refused_at_its_place() {
        let one = node(8, &nics(8, 1));
        let refused = |node: &NodeSpec, nodes, fabric: Option<&TopologySpec>| {
            let error = build_cluster(node, nodes, fabric).expect_err("cannot be joined");
            (error.place.join("."), error.message)
        };
        let star = spec("[shape.fat_tree]\nlayers = 1", 64);
        assert_eq!(refused(&one, 2, None).0, "topology");
        assert_eq!(refused(&node(8, ""), 2, Some(&star)).0, "node.nics");
        let (place, message) = refused(&one, 9, Some(&star));
        assert_eq!(place, "topology.shape.fat_tree.endpoints");
        assert!(message.contains("72") && message.contains("64"), "{message}");
        let planes = spec("[shape.multi_plane_fat_tree]\nlayers = 1\nplanes = 3", 64);
        assert_eq!(refused(&one, 2, Some(&planes)).0, "topology.shape.multi_plane_fat_tree.planes");
        let bare = bare_spec("[shape.fat_tree]\nlayers = 1");
        assert_eq!(refused(&one, 2, Some(&bare)).0, "topology.switch");
    }
}
