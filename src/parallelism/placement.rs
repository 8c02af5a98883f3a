//! Which part of the plan each rank plays.
//!
//! Ranks count tensor parallelism innermost, then context parallelism, then data parallelism, then pipeline stages. Tensor-parallel groups thus
//! share a node wherever their size divides the node's, an expert-parallel group is a run of neighbouring ranks of one
//! stage, and only stages, which exchange least, are far apart. Rank `i` is meant for GPU `i`, nodes in order.

use super::Plan;
use crate::id::Rank;

/// The place of one rank in every dimension of its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coordinates {
    /// Place in its tensor-parallel group.
    pub tp: u32,
    /// Replica of all but the experts: `cp` neighbours share sequences.
    pub dp: u32,
    /// Pipeline stage.
    pub pp: u32,
    /// Place in its expert-parallel group: which experts it holds.
    pub ep: u32,
    /// Replica of those experts within the stage.
    pub expert_replica: u32,
}

impl Plan {
    /// The place of `rank`.
    pub fn coordinates(&self, rank: Rank) -> Coordinates {
        let index = rank.index() as u32;
        assert!(index < self.gpus(), "{rank} of {} GPUs", self.gpus());
        let (pp, in_stage) = (index / self.stage_gpus(), index % self.stage_gpus());
        Coordinates {
            tp: in_stage % self.tp(),
            dp: in_stage / self.tp(),
            pp,
            ep: in_stage % self.ep(),
            expert_replica: in_stage / self.ep(),
        }
    }

    /// The rank at these places; tensor and data parallelism together also say which experts it holds.
    pub fn rank(&self, tp: u32, dp: u32, pp: u32) -> Rank {
        assert!(
            tp < self.tp() && dp < self.dp() && pp < self.pp(),
            "tp {tp} of {}, dp {dp} of {}, pp {pp} of {}",
            self.tp(),
            self.dp(),
            self.pp()
        );
        Rank::new(((pp * self.dp() + dp) * self.tp() + tp) as usize)
    }

    /// The ranks that share each layer's heads with `rank`, itself included.
    pub fn tp_group(&self, rank: Rank) -> impl Iterator<Item = Rank> {
        let (plan, at) = (*self, self.coordinates(rank));
        (0..plan.tp()).map(move |tp| plan.rank(tp, at.dp, at.pp))
    }

    /// The ranks that share each sequence with `rank`, itself included, tensor-parallel groups in order.
    pub fn sequence_group(&self, rank: Rank) -> impl Iterator<Item = Rank> {
        let size = (self.tp() * self.cp()) as usize;
        let first = rank.index() - rank.index() % size;
        (first..first + size).map(Rank::new)
    }

    /// The ranks that share each layer's experts with `rank`, itself included, in order of their experts.
    pub fn ep_group(&self, rank: Rank) -> impl Iterator<Item = Rank> {
        let at = self.coordinates(rank);
        let first = at.pp * self.stage_gpus() + at.expert_replica * self.ep();
        (first..first + self.ep()).map(|index| Rank::new(index as usize))
    }

    /// The ranks that hold the same part of all but the experts as `rank`, itself included.
    pub fn dp_group(&self, rank: Rank) -> impl Iterator<Item = Rank> {
        let (plan, at) = (*self, self.coordinates(rank));
        (0..plan.dp()).map(move |dp| plan.rank(at.tp, dp, at.pp))
    }

    /// The ranks that hold the same experts as `rank`, itself included.
    pub fn expert_replica_group(&self, rank: Rank) -> impl Iterator<Item = Rank> {
        let at = self.coordinates(rank);
        let (first, step) = (at.pp * self.stage_gpus() + at.ep, self.ep());
        (0..self.expert_replicas()).map(move |replica| Rank::new((first + replica * step) as usize))
    }

    /// The ranks that pass a micro-batch from stage to stage through `rank`, itself included.
    pub fn pp_group(&self, rank: Rank) -> impl Iterator<Item = Rank> {
        let (plan, at) = (*self, self.coordinates(rank));
        (0..plan.pp()).map(move |pp| plan.rank(at.tp, at.dp, pp))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::published;
    use crate::parallelism::PlanSpec;
    use crate::units::Count;
    use proptest::prelude::*;

    fn count(n: u32) -> Count {
        Count::new(n).expect("at least one")
    }

    fn plan(tp: u32, pp: u32, ep: u32, gpus: u32) -> Plan {
        let spec = PlanSpec { tp: count(tp), pp: count(pp), ep: count(ep), ..PlanSpec::default() };
        spec.check(gpus, &published::deepseek_v3()).expect("a plan")
    }

    fn indices(ranks: impl Iterator<Item = Rank>) -> Vec<usize> {
        ranks.map(Rank::index).collect()
    }

    #[test]
    fn tensor_parallelism_is_innermost_and_stages_outermost() {
        let plan = plan(2, 2, 4, 16);
        let rank = Rank::new(13);
        let at = plan.coordinates(rank);
        assert_eq!(at, Coordinates { tp: 1, dp: 2, pp: 1, ep: 1, expert_replica: 1 });
        assert_eq!(indices(plan.tp_group(rank)), [12, 13]);
        assert_eq!(indices(plan.ep_group(rank)), [12, 13, 14, 15]);
        assert_eq!(indices(plan.dp_group(rank)), [9, 11, 13, 15]);
        assert_eq!(indices(plan.expert_replica_group(rank)), [9, 13]);
        assert_eq!(indices(plan.pp_group(rank)), [5, 13]);
    }

    #[test]
    fn neighbouring_groups_share_a_sequence() {
        let spec = PlanSpec { tp: count(2), cp: count(2), pp: count(2), ep: count(8), ..PlanSpec::default() };
        let plan = spec.check(32, &published::deepseek_v3()).expect("a plan");
        assert_eq!(indices(plan.sequence_group(Rank::new(22))), [20, 21, 22, 23]);
        assert_eq!(indices(plan.dp_group(Rank::new(22))), [16, 18, 20, 22, 24, 26, 28, 30]);
    }

    #[test]
    fn an_expert_parallel_group_of_64_fills_8_neighbouring_nodes() {
        let group = indices(plan(1, 16, 64, 2048).ep_group(Rank::new(200)));
        assert_eq!((group[0], group[63]), (192, 255));
    }

    proptest! {
        #[test]
        fn every_rank_is_in_exactly_its_own_groups(tp in 0_u32..4, pp in 1_u32..5, ep in 0_u32..5, more in 0_u32..3) {
            let (tp, ep) = (1 << tp, 1 << ep);
            let plan = plan(tp, pp, ep, (tp * ep * pp) << more);
            for rank in (0..plan.gpus() as usize).map(Rank::new) {
                let at = plan.coordinates(rank);
                prop_assert_eq!(plan.rank(at.tp, at.dp, at.pp), rank);
                for group in [
                    indices(plan.tp_group(rank)),
                    indices(plan.ep_group(rank)),
                    indices(plan.dp_group(rank)),
                    indices(plan.expert_replica_group(rank)),
                    indices(plan.pp_group(rank)),
                ] {
                    prop_assert_eq!(group.iter().filter(|r| **r == rank.index()).count(), 1);
                }
                for other in plan.expert_replica_group(rank) {
                    prop_assert_eq!(plan.coordinates(other).ep, at.ep);
                }
            }
        }
    }
}
