//! Devices, links and the graph that holds them.

use crate::id::{DeviceId, LinkId};
use crate::rng::mix;
use crate::units::{BytesPerSec, Duration};
use petgraph::Directed;
use petgraph::graph::{EdgeIndex, Graph, NodeIndex};
use petgraph::visit::EdgeRef;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

/// What a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// A CPU socket with its memory.
    Cpu,
    /// A GPU.
    Gpu,
    /// A network adapter; the endpoint of a scale-out fabric.
    Nic,
    /// The switch chips of one scale-up domain; a node of a cluster has them all as one device.
    NvSwitch,
    /// A switch that endpoints attach to, in a tree.
    Leaf,
    /// A switch of the second tier of a tree.
    Spine,
    /// A switch of the third tier of a tree.
    Core,
    /// A switch of a direct network (Slim Fly, Dragonfly), which has endpoints and peers.
    Router,
}

impl DeviceKind {
    /// The name in texts and files.
    pub const fn name(self) -> &'static str {
        match self {
            DeviceKind::Cpu => "CPU",
            DeviceKind::Gpu => "GPU",
            DeviceKind::Nic => "NIC",
            DeviceKind::NvSwitch => "scale-up switch",
            DeviceKind::Leaf => "leaf",
            DeviceKind::Spine => "spine",
            DeviceKind::Core => "core",
            DeviceKind::Router => "router",
        }
    }

    /// Whether the device is a switch of the scale-out fabric.
    pub const fn is_fabric_switch(self) -> bool {
        matches!(self, DeviceKind::Leaf | DeviceKind::Spine | DeviceKind::Core | DeviceKind::Router)
    }
}

/// A vertex of the topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// What it is.
    pub kind: DeviceKind,
    /// What it belongs to: the node of a GPU, NIC, CPU or NVSwitch; the pod or group of a switch; else 0.
    pub group: u32,
    /// The independent fabric copy that a switch belongs to; 0 in a fabric with one plane.
    pub plane: u32,
    /// Its place among the devices of the same kind, group and plane.
    pub index: u32,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Device { kind, group, plane, index } = self;
        match kind {
            DeviceKind::Gpu => write!(f, "node{group:03}/gpu{index}"),
            DeviceKind::Nic => write!(f, "node{group:03}/nic{index}"),
            DeviceKind::Cpu => write!(f, "node{group:03}/cpu{index}"),
            DeviceKind::NvSwitch => write!(f, "node{group:03}/nvswitch{index}"),
            DeviceKind::Leaf => write!(f, "plane{plane}/pod{group:02}/leaf{index:03}"),
            DeviceKind::Spine => write!(f, "plane{plane}/pod{group:02}/spine{index:03}"),
            DeviceKind::Core => write!(f, "plane{plane}/core{index:04}"),
            DeviceKind::Router => write!(f, "plane{plane}/group{group:03}/router{index:03}"),
        }
    }
}

/// What a link is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkKind {
    /// Inside a scale-up domain.
    ScaleUp,
    /// Inside a node: between a GPU or CPU and its NIC, or between GPU and CPU.
    Host,
    /// The cable between a NIC and its switch.
    Endpoint,
    /// The cable between two switches.
    Fabric,
}

/// A directed edge of the topology: one direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// What it is made of.
    pub kind: LinkKind,
    /// Peak rate of this direction.
    pub bandwidth: BytesPerSec,
    /// The rate of this direction that transfers of useful size reach.
    pub achievable: BytesPerSec,
    /// Time that a transfer spends in the switch or NIC it leaves, on the way and in the NIC it reaches, without
    /// serialisation.
    pub latency: Duration,
    /// Parallel cables that the link stands for.
    pub cables: u32,
}

/// The finished graph: immutable, and answering in order of id.
#[derive(Clone, Debug)]
pub struct Topology {
    graph: Graph<Device, Link, Directed, u32>,
    names: BTreeMap<DeviceId, String>,
    wiring: OnceLock<u128>,
}

/// A graph under construction.
#[derive(Default)]
pub struct TopologyBuilder {
    graph: Graph<Device, Link, Directed, u32>,
    names: BTreeMap<DeviceId, String>,
}

impl TopologyBuilder {
    /// An empty graph with room for what is coming.
    pub fn with_capacity(devices: usize, links: usize) -> TopologyBuilder {
        TopologyBuilder { graph: Graph::with_capacity(devices, links), names: BTreeMap::new() }
    }

    /// Adds a device.
    pub fn device(&mut self, device: Device) -> DeviceId {
        DeviceId::new(self.graph.add_node(device).index())
    }

    /// Gives a device a name of its own.
    pub fn name(&mut self, id: DeviceId, name: String) {
        self.names.insert(id, name);
    }

    /// The device `id`.
    pub fn get(&self, id: DeviceId) -> &Device {
        &self.graph[node(id)]
    }

    /// Connects two devices in both directions, with equal links.
    pub fn connect(&mut self, a: DeviceId, b: DeviceId, link: Link) {
        self.connect_unequal(a, b, link, link);
    }

    /// Connects two devices by a link from `a` to `b` and one back.
    pub fn connect_unequal(&mut self, a: DeviceId, b: DeviceId, there: Link, back: Link) {
        assert_ne!(a, b, "{} is connected to itself", self.get(a));
        self.graph.add_edge(node(a), node(b), there);
        self.graph.add_edge(node(b), node(a), back);
    }

    /// The finished graph.
    pub fn finish(self) -> Topology {
        Topology { graph: self.graph, names: self.names, wiring: OnceLock::new() }
    }
}

impl Topology {
    /// Number of devices.
    pub fn n_devices(&self) -> usize {
        self.graph.node_count()
    }

    /// Number of directed links.
    pub fn n_links(&self) -> usize {
        self.graph.edge_count()
    }

    /// The device `id`.
    pub fn device(&self, id: DeviceId) -> &Device {
        &self.graph[node(id)]
    }

    /// What the device `id` is called: by its place, unless its file names it.
    pub fn name(&self, id: DeviceId) -> String {
        self.names.get(&id).cloned().unwrap_or_else(|| self.device(id).to_string())
    }

    /// The link `id`.
    pub fn link(&self, id: LinkId) -> &Link {
        &self.graph[edge(id)]
    }

    /// The same graph where some links keep only a part of their rates.
    pub fn with_parts(&self, parts: &[(LinkId, f64)]) -> Topology {
        let mut changed = self.clone();
        for &(id, part) in parts {
            let link = &mut changed.graph[edge(id)];
            let keep = |rate: BytesPerSec| BytesPerSec::new((rate.get() as f64 * part).round().max(1.0) as u64);
            (link.bandwidth, link.achievable) = (keep(link.bandwidth), keep(link.achievable));
        }
        changed
    }

    /// A name for devices and cables: equal where all of them are, whatever the rates and latencies of the cables.
    pub fn wiring(&self) -> u128 {
        let hashed = || {
            let devices = self.graph.node_weights().flat_map(|device| {
                let Device { kind, group, plane, index } = *device;
                [u64::from(group) << 8 | kind as u64, u64::from(plane) << 32 | u64::from(index)]
            });
            let links = self.links().flat_map(|(id, link)| {
                let (from, to) = self.ends(id);
                let ends = (from.index() as u64) << 32 | to.index() as u64;
                [ends, u64::from(link.cables) << 8 | link.kind as u64]
            });
            let halves = devices.chain(links).fold([1, 2], |halves, part| halves.map(|half| mix(half ^ part)));
            u128::from(halves[0]) << 64 | u128::from(halves[1])
        };
        *self.wiring.get_or_init(hashed)
    }

    /// The other direction of the cables of the link `id`: both are made together.
    pub fn opposite(&self, id: LinkId) -> LinkId {
        let other = LinkId::new(id.index() ^ 1);
        let (from, to) = self.ends(id);
        assert_eq!(self.ends(other), (to, from), "links come in pairs");
        other
    }

    /// Where the link `id` starts and ends.
    pub fn ends(&self, id: LinkId) -> (DeviceId, DeviceId) {
        let (from, to) = self.graph.edge_endpoints(edge(id)).expect("the link is part of this graph");
        (DeviceId::new(from.index()), DeviceId::new(to.index()))
    }

    /// Every device with its id.
    pub fn devices(&self) -> impl Iterator<Item = (DeviceId, &Device)> {
        self.graph.node_indices().map(|n| (DeviceId::new(n.index()), &self.graph[n]))
    }

    /// Every device of one kind, in order of id.
    pub fn devices_of(&self, kind: DeviceKind) -> impl Iterator<Item = DeviceId> {
        self.devices().filter(move |(_, device)| device.kind == kind).map(|(id, _)| id)
    }

    /// Every link with its id.
    pub fn links(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.graph.edge_indices().map(|e| (LinkId::new(e.index()), &self.graph[e]))
    }

    /// The links that leave `from`, with the device each one leads to.
    pub fn out_links(&self, from: DeviceId) -> impl Iterator<Item = (LinkId, DeviceId)> {
        self.graph.edges(node(from)).map(|e| (LinkId::new(e.id().index()), DeviceId::new(e.target().index())))
    }

    /// The links that reach `to`, with the device each one comes from.
    pub fn in_links(&self, to: DeviceId) -> impl Iterator<Item = (LinkId, DeviceId)> {
        let edges = self.graph.edges_directed(node(to), petgraph::Direction::Incoming);
        edges.map(|e| (LinkId::new(e.id().index()), DeviceId::new(e.source().index())))
    }
}

fn node(id: DeviceId) -> NodeIndex<u32> {
    NodeIndex::new(id.index())
}

fn edge(id: LinkId) -> EdgeIndex<u32> {
    EdgeIndex::new(id.index())
}
