//! Between which GPUs the keys and values of a request travel from the worker that computed them to the one that decodes.

use super::Pool;
use super::sites::Sites;
use crate::model::AttentionSpec;
use crate::units::Bytes;
use crate::workload::{Handover, KvPart, KvPath};

/// What holds and what takes over keys and values.
pub(super) struct KvWays<'s> {
    sites: &'s Sites<'s>,
    /// Keys and values of one position, all GPUs that hold different parts of it together.
    per_position: Bytes,
    /// Whether every GPU of a tensor-parallel group holds the same.
    latent: bool,
    /// GPUs of a tensor-parallel group that send, and of one that receive.
    tp: [usize; 2],
}

impl<'s> KvWays<'s> {
    /// From `prefill` to `decode`.
    pub(super) fn between(sites: &'s Sites<'s>, prefill: &Pool<'_>, decode: &Pool<'_>) -> KvWays<'s> {
        let latent = matches!(prefill.deployment.model.attention, AttentionSpec::Mla(_));
        let per_position = if latent { prefill.per_position() } else { prefill.per_position() * prefill.tp() };
        KvWays { sites, per_position, latent, tp: [prefill.tp(), decode.tp()].map(|tp| tp as usize) }
    }

    /// One GPU of the group sends to one, in turn from request to request; the others of the receiving group get it from that one.
    fn latent(&self, handover: &Handover, bytes: Bytes) -> Vec<KvPart> {
        let [out, into] = self.tp;
        let turn = handover.request;
        let taker = handover.into_group * into + turn % into;
        let from = self.sites.gpu(handover.from, handover.from_group * out + turn % out);
        let to = self.sites.gpu(handover.to, taker);
        let others = (handover.into_group * into..(handover.into_group + 1) * into).filter(|&rank| rank != taker);
        let passed_on =
            others.map(|rank| KvPart { from: to, to: self.sites.gpu(handover.to, rank), bytes, after: Some(0) });
        [KvPart { from, to, bytes, after: None }].into_iter().chain(passed_on).collect()
    }

    /// Every GPU of the group sends what it holds to those that will hold it: equal parts, in order.
    fn parts(&self, handover: &Handover, bytes: Bytes) -> Vec<KvPart> {
        let [out, into] = self.tp;
        let mut parts = Vec::new();
        for sender in 0..out {
            for taker in 0..into {
                // In units of 1 / (out * into) of the whole.
                let (low, high) = ((sender * into).max(taker * out), ((sender + 1) * into).min((taker + 1) * out));
                if low < high {
                    let share = Bytes::new(
                        (u128::from(bytes.get()) * (high - low) as u128).div_ceil((out * into) as u128) as u64,
                    );
                    parts.push(KvPart {
                        from: self.sites.gpu(handover.from, handover.from_group * out + sender),
                        to: self.sites.gpu(handover.to, handover.into_group * into + taker),
                        bytes: share,
                        after: None,
                    });
                }
            }
        }
        parts
    }
}

impl KvPath for KvWays<'_> {
    fn parts(&self, handover: &Handover) -> Vec<KvPart> {
        let bytes = self.per_position * handover.positions;
        if self.latent { self.latent(handover, bytes) } else { self.parts(handover, bytes) }
    }
}
