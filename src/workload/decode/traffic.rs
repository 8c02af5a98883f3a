//! How many copies of a token travel, and how many experts of a GPU see any token.

use super::spec::CopyPer;
use crate::model::MoeSpec;
use crate::parallelism::{ExpertPlacement, Plan};
use crate::rng::RandomStream;
use crate::workload::gate::{GateSample, sample_gate};
use std::collections::BTreeSet;

/// Tokens beyond which a sample of the gate adds nothing but time.
const SAMPLE_MAX: usize = 1 << 14;

/// The expert traffic of one micro-batch, for the average GPU.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExpertTraffic {
    /// Copies of a token that leave its GPU, on average.
    pub copies_per_token: f64,
    /// Experts on a GPU that see at least one token.
    pub experts_hit: u64,
    /// Rows that the experts of a GPU work on.
    pub rows: u64,
}

/// The traffic when each GPU of an expert-parallel group has `tokens` tokens.
pub fn expert_traffic(moe: &MoeSpec, plan: &Plan, per: CopyPer, tokens: u64, rng: &mut RandomStream) -> ExpertTraffic {
    let ep = u64::from(plan.ep());
    let routed = moe.experts_per_token.wide();
    let travelling_shared = if plan.shared_everywhere() { 0 } else { u64::from(moe.shared_experts) };
    let rows = tokens * (routed + travelling_shared);
    if plan.placement() == ExpertPlacement::OneExpertPerDevice {
        return ExpertTraffic { copies_per_token: (routed + travelling_shared) as f64, experts_hit: 1, rows };
    }
    let sample = sample_gate(moe, SAMPLE_MAX.min((tokens * ep) as usize).max(1), rng);
    let slots = Slots::new(moe, plan);
    let remote = copies(&sample, &slots, per, ep, travelling_shared);
    // With one token in the whole group a sample of one would decide the figure, so that copies are averaged further.
    let copies_per_token = if sample.len() < 1024 && ep > 1 {
        copies(&sample_gate(moe, 1024, rng), &slots, per, ep, travelling_shared)
    } else {
        remote
    };
    let hit = sample.tokens().flatten().collect::<BTreeSet<_>>().len() as u64;
    let copies_of_all = slots.total - u64::from(moe.routed_experts.get());
    let experts_hit = (hit + copies_of_all.min(hit)).div_ceil(ep).min(rows);
    ExpertTraffic { copies_per_token, experts_hit, rows }
}

/// Which GPU holds which expert.
struct Slots {
    routed: u64,
    redundant: u64,
    shared: u64,
    total: u64,
    per_device: u64,
}

impl Slots {
    fn new(moe: &MoeSpec, plan: &Plan) -> Slots {
        let routed = moe.routed_experts.wide();
        let redundant = u64::from(plan.redundant_experts());
        let shared = plan.shared_copies().map_or(0, |copies| copies.wide());
        let total = routed + redundant + shared;
        Slots { routed, redundant, shared, total, per_device: total.div_ceil(u64::from(plan.ep())) }
    }

    /// The GPU to which token number `token` goes for `expert`; copies of an expert take turns.
    fn device(&self, expert: u64, token: u64) -> u64 {
        let copies = 1 + (self.redundant + self.routed - 1 - expert) / self.routed;
        (expert + token % copies * self.routed) / self.per_device
    }

    /// The GPU to which token number `token` goes for the shared expert.
    fn shared_device(&self, token: u64) -> u64 {
        (self.routed + self.redundant + token % self.shared.max(1)) / self.per_device
    }
}

/// Copies per token that leave the token's GPU, on average over the sample.
fn copies(sample: &GateSample, slots: &Slots, per: CopyPer, ep: u64, shared: u64) -> f64 {
    let mut copies = 0;
    let mut devices = Vec::new();
    for (token, experts) in (0..).zip(sample.tokens()) {
        let home = token % ep;
        devices.clear();
        devices.extend(experts.iter().map(|&expert| slots.device(u64::from(expert), token / ep)));
        devices.extend((0..shared).map(|_| slots.shared_device(token)));
        if per == CopyPer::Device {
            devices.sort_unstable();
            devices.dedup();
        }
        copies += devices.iter().filter(|&&device| device != home).count();
    }
    copies as f64 / sample.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::published;
    use crate::parallelism::PlanSpec;
    use crate::rng::Seed;
    use crate::units::Count;

    fn traffic(placement: ExpertPlacement, per: CopyPer, ep: u32, tokens: u64) -> ExpertTraffic {
        let model = published::deepseek_v3();
        let ep = Count::new(ep).expect("positive");
        let plan = PlanSpec { ep, placement, ..PlanSpec::default() }.check(ep.get(), &model).expect("a plan");
        let moe = model.moe.as_ref().expect("experts");
        expert_traffic(moe, &plan, per, tokens, &mut Seed(1).stream("gate"))
    }

    #[test]
    fn the_ideal_placement_sends_every_copy() {
        let expected = ExpertTraffic { copies_per_token: 9.0, experts_hit: 1, rows: 288 };
        assert_eq!(traffic(ExpertPlacement::OneExpertPerDevice, CopyPer::Expert, 72, 32), expected);
    }

    #[test]
    fn one_copy_in_n_stays_at_home() {
        let found = traffic(ExpertPlacement::Spread, CopyPer::Expert, 64, 128).copies_per_token;
        assert!((found - 8.0 * 63.0 / 64.0).abs() < 0.02, "{found}");
    }

    #[test]
    fn copies_per_gpu_are_fewer_than_copies_per_expert() {
        // 4 experts on each of 64 GPUs. 8 experts drawn evenly from 4 groups of 8 GPUs fall on 32 (1 - C(124,8)/C(128,8)) =
        // 7.36 GPUs, exactly two of each group on 4 * 2 (1 - 3/31 / 2) = 7.61; keeping the groups with the best two is between.
        let found = traffic(ExpertPlacement::Spread, CopyPer::Device, 64, 128).copies_per_token * 64.0 / 63.0;
        assert!((7.36..7.61).contains(&found), "{found}");
    }

    #[test]
    fn a_single_request_wakes_only_its_own_experts() {
        assert_eq!(traffic(ExpertPlacement::Spread, CopyPer::Expert, 1, 1).experts_hit, 8);
        assert_eq!(traffic(ExpertPlacement::Spread, CopyPer::Expert, 1, 4096).experts_hit, 256);
    }
}
