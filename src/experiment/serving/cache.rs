//! What the caches of a pool hold, and which requests fit them.
//!
//! It must not know when requests come, nor what is in the cache at a time.

use super::Pool;
use crate::experiment::reserve::{self, Exchanged};
use crate::invalid::Invalid;
use crate::model::AttentionForm;
use crate::parallelism::{InferenceLoad, MemoryUse, Reserve, inference_memory};
use crate::units::Bytes;
use crate::workload::{ArrivalsChoice, CacheMemory, ServingSpec};

impl Pool<'_> {
    /// What a tensor-parallel group keeps of `requests` requests of `context` positions each.
    fn load(&self, requests: u64, context: u64) -> InferenceLoad {
        InferenceLoad {
            requests,
            context,
            step_tokens: (self.requests * self.queries() + self.tokens) * self.tp(),
            form: if self.tokens > 0 { AttentionForm::Expanded } else { AttentionForm::Absorbed },
            mtp: self.mtp.is_some(),
            experts_on_cpu: false,
            reserve: self.reserve(),
        }
    }

    /// Memory of a GPU in use with `requests` requests of `context` positions each.
    pub(super) fn used(&self, requests: u64, context: u64) -> MemoryUse {
        let kept = self.cache.and_then(|cache| cache.kept);
        let mut precision = self.deployment.precision;
        precision.kv_cache = kept.unwrap_or(precision.kv_cache);
        inference_memory(self.deployment.model, &self.deployment.plan, &precision, &self.load(requests, context))
    }

    /// Memory of a GPU that may be used.
    pub(super) fn capacity(&self) -> Bytes {
        reserve::budget(self.deployment.scenario)
    }

    /// What is kept for others than the model, in the largest step.
    fn reserve(&self) -> Reserve {
        let [decoding, prompts] =
            [self.requests * self.queries(), self.tokens].map(|tokens| tokens.div_ceil(self.micro_batches));
        let (tokens, prompts) = if decoding > 0 { (decoding, prompts) } else { (prompts, 0) };
        reserve::of_inference(&self.deployment, (self.experts, self.launch), Exchanged { tokens, prompts })
    }

    /// Keys and values of a position on one GPU.
    pub(super) fn per_position(&self) -> Bytes {
        Bytes::new((self.used(1, 1000).kv_cache.get() / 1000).max(1))
    }

    /// Positions that the cache of a tensor-parallel group holds beside weights and the activations of its largest step.
    pub(super) fn positions(&self) -> Result<u64, Invalid> {
        let (used, capacity) = (self.used((self.requests * self.tp()).max(1), 0), self.capacity());
        used.fits(capacity).map_err(|invalid| invalid.under("parallelism"))?;
        let free = (capacity - used.total()).get() as f64;
        let room = self.cache.map_or(free, |cache| match cache.of {
            CacheMemory::Free => free * cache.share.get(),
            // What that part leaves out is the engine's own reserve: the larger of the two counts.
            CacheMemory::Total => {
                let all = self.deployment.scenario.hardware.gpu.memory.capacity.get() as f64;
                free.min(all * cache.share.get() - used.weights.get() as f64)
            }
        });
        let positions = (room / self.per_position().get() as f64).max(0.0) as u64;
        if positions == 0 {
            let message = format!("weights of {} leave no room for a cache in that part of {capacity}", used.weights);
            let invalid = Invalid::at(&format!("{}.cache.share", self.place), message);
            return Err(invalid.help("let it take a larger part, or spread the model over more GPUs"));
        }
        Ok(positions)
    }

    /// Whether every request can be served here at all.
    pub(super) fn holds(&self, spec: &ServingSpec) -> Result<(), Invalid> {
        let seed = self.deployment.scenario.seed;
        let (input, output) = spec.longest(seed);
        let key = match spec.arrivals {
            ArrivalsChoice::Rows(_) => "workload.serving.arrivals.rows",
            _ => "workload.serving.lengths",
        };
        let (longest, room) = (u64::from(input) + u64::from(output), self.positions()?);
        if self.requests > 0 && longest > room {
            let message = format!(
                "a request of {input} positions and {output} tokens, where the cache of a tensor-parallel group holds {room} positions"
            );
            return Err(Invalid::at(key, message).help("shorten requests, or spread the model over more GPUs"));
        }
        let whole = self.colocation.filter(|colocation| colocation.whole_prompts);
        let most = self.tokens * self.tp();
        if whole.is_some() && u64::from(input) > most {
            let message = format!("whole prompts of up to {input} positions, where a group takes {most} in a step");
            let invalid = Invalid::at("workload.serving.colocation.tokens_per_gpu", message);
            return Err(invalid.help("raise it, or leave `whole_prompts` out"));
        }
        Ok(())
    }
}
