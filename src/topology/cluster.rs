//! stub
use super::*;
use crate::hardware::NodeSpec;
use crate::id::DeviceId;
use crate::invalid::Invalid;
#[derive(Clone, Debug)]
pub struct Cluster {
    pub topology: Topology,
    pub gpus: Vec<DeviceId>,
}
#[derive(Clone, Debug, PartialEq, serde::Deserialize, schemars::JsonSchema)]
pub struct TopologySpec {
    pub name: String,
}
pub fn build_cluster(node: &NodeSpec, nodes: u32, _fabric: Option<&TopologySpec>) -> Result<Cluster, Invalid> {
    let mut b = TopologyBuilder::default();
    let mut gpus = vec![];
    for n in 0..nodes {
        let sw = b.device(Device { kind: DeviceKind::NvSwitch, group: n, plane: 0, index: 0 });
        for g in 0..node.gpus.get() {
            let d = b.device(Device { kind: DeviceKind::Gpu, group: n, plane: 0, index: g });
            gpus.push(d);
            if let (Some(s), Some(bw)) = (&node.scale_up, node.scale_up_bandwidth()) {
                b.connect(
                    d,
                    sw,
                    Link {
                        kind: LinkKind::ScaleUp,
                        bandwidth: bw,
                        achievable: bw.achieved(s.efficiency),
                        latency: crate::units::Duration::from_ps(s.latency.as_ps() / 2),
                        cables: 1,
                    },
                );
            }
        }
        if node.cpu.is_some() {
            let c = b.device(Device { kind: DeviceKind::Cpu, group: n, plane: 0, index: 0 });
            let bw = node.gpu.host.bandwidth_per_direction;
            for g in 0..node.gpus.get() {
                b.connect(
                    gpus[gpus.len() - 1 - g as usize],
                    c,
                    Link {
                        kind: LinkKind::Host,
                        bandwidth: bw,
                        achievable: bw,
                        latency: crate::units::Duration::ZERO,
                        cables: 1,
                    },
                );
            }
        }
    }
    Ok(Cluster { topology: b.finish(), gpus })
}
pub struct FabricMeasures {
    pub endpoints: u64,
    pub switches: u64,
    pub links: u64,
    pub cost: Option<crate::units::Usd>,
}
pub fn measure_fabric(_: &TopologySpec) -> Result<FabricMeasures, Invalid> {
    Err(Invalid::at("", "stub"))
}
pub fn build_fabric(_: &TopologySpec) -> Result<Topology, Invalid> {
    Err(Invalid::at("", "stub"))
}
