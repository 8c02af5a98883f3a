//! The two all-to-alls of a layer with experts, as a training step sends them: over the fabric once per node that a token
//! visits, to the GPU of the sender's index, which forwards it inside the node once per GPU (arXiv 2412.19437, section
//! 3.2.2). The way back is the mirror image: results are summed inside the node before they cross the fabric.
//!
//! What each node gets is worked out from a sample of the gate, as an average over GPUs: routing is taken as balanced.

use crate::model::MoeSpec;
use crate::rng::RandomStream;
use crate::workload::gate::sample_gate;

/// Tokens beyond which a sample of the gate adds nothing but time.
const SAMPLE: usize = 1 << 14;

/// What a token's trip to its experts takes, on average over tokens and GPUs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainingTraffic {
    /// Other nodes that it visits.
    pub remote_nodes: f64,
    /// GPUs of those nodes that it visits beyond the one of its own GPU's index.
    pub forwarded: f64,
    /// Other GPUs of its own node that it visits.
    pub local: f64,
    /// GPUs that it visits, its own included.
    pub devices: f64,
}

/// The traffic of an expert-parallel group of `ep` GPUs, `per_node` of them on each node; experts are spread evenly.
pub fn training_traffic(moe: &MoeSpec, ep: u64, per_node: u64, rng: &mut RandomStream) -> TrainingTraffic {
    let sample = sample_gate(moe, SAMPLE, rng);
    let per_device = moe.routed_experts.wide().div_ceil(ep);
    let (mut nodes, mut forwarded, mut local, mut all) = (0_u64, 0_u64, 0_u64, 0_u64);
    let (mut devices, mut visited) = (Vec::new(), Vec::new());
    for (token, experts) in (0..).zip(sample.tokens()) {
        let home = token % ep;
        devices.clear();
        devices.extend(experts.iter().map(|&expert| u64::from(expert) / per_device));
        devices.sort_unstable();
        devices.dedup();
        visited.clear();
        visited.extend(devices.iter().map(|device| device / per_node));
        visited.dedup();
        nodes += visited.iter().filter(|&&node| node != home / per_node).count() as u64;
        for device in &devices {
            match (device / per_node == home / per_node, device % per_node == home % per_node) {
                (true, false) => local += 1,
                (false, false) => forwarded += 1,
                (true | false, true) => {}
            }
        }
        all += devices.len() as u64;
    }
    let average = |sum: u64| sum as f64 / sample.len() as f64;
    TrainingTraffic {
        remote_nodes: average(nodes),
        forwarded: average(forwarded),
        local: average(local),
        devices: average(all),
    }
}

impl TrainingTraffic {
    /// Copies that cross the fabric, are forwarded, and stay in the node, of `tokens` tokens of one GPU, rounded up.
    pub(super) fn copies(&self, tokens: u64) -> (u64, u64, u64) {
        let of = |average: f64| (average * tokens as f64).ceil() as u64;
        (of(self.remote_nodes), of(self.forwarded), of(self.local))
    }

    /// Tokens that a GPU receives, each once, when each GPU has `tokens`.
    pub fn received(&self, tokens: u64) -> u64 {
        (self.devices * tokens as f64).ceil() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::published;
    use crate::rng::Seed;

    #[test]
    fn node_limited_routing_crosses_the_fabric_at_most_four_times() {
        let model = published::deepseek_v3();
        let moe = model.moe.as_ref().expect("experts");
        let traffic = training_traffic(moe, 64, 8, &mut Seed(1).stream("gate"));
        // Between 3.5 and 4 of 8 nodes are visited, of which the own one is one in eight.
        assert!((3.5 * 7.0 / 8.0..4.0 * 7.0 / 8.0).contains(&traffic.remote_nodes), "{traffic:?}");
        // Each visited GPU is the own one, in the own node, at the own index of another node, or elsewhere.
        let found = traffic.devices * 7.0 / 8.0;
        assert!((traffic.local + traffic.forwarded - found).abs() < 0.05, "{traffic:?}");
        let one_node = training_traffic(moe, 8, 8, &mut Seed(1).stream("gate"));
        assert_eq!((one_node.remote_nodes, one_node.forwarded), (0.0, 0.0));
    }
}
