//! How long steps of workers take: asked for while requests are served, found by simulating steps at a few loads.

use super::Pool;
use super::times::{StepTimes, axes};
use crate::experiment::watch::Watcher;
use crate::invalid::Invalid;
use crate::units::{Duration, Time};
use crate::workload::{PoolKind, StepLoad, StepOracle, WorkerId};

/// The steps of both pools.
pub(super) struct Steps<'s, 'p, 'w> {
    decode: &'s Pool<'p>,
    prefill: Option<&'s Pool<'p>>,
    of_decode: StepTimes,
    of_prefill: StepTimes,
    /// Positions of a prompt that are computed, on average.
    prompt: u64,
    /// Time of the host between steps.
    overhead: Duration,
    watcher: &'s mut Watcher<'w>,
    taken: u64,
}

impl<'s, 'p, 'w> Steps<'s, 'p, 'w> {
    pub(super) fn new(
        (decode, prefill): (&'s Pool<'p>, Option<&'s Pool<'p>>),
        (prompt, overhead): (u64, Duration),
        watcher: &'s mut Watcher<'w>,
    ) -> Steps<'s, 'p, 'w> {
        let (of_decode, of_prefill) = (StepTimes::default(), StepTimes::default());
        Steps { decode, prefill, of_decode, of_prefill, prompt, overhead, watcher, taken: 0 }
    }

    /// Steps that were simulated, and the largest relative error of times between them. What was taken is counted.
    pub(super) fn close(mut self) -> Result<(usize, f64), Invalid> {
        self.watcher.took(self.taken);
        let (prompt, watcher) = (self.prompt, self.watcher);
        let mut error = self.of_decode.error(|load| self.decode.time(load, prompt, watcher))?;
        if let Some(pool) = self.prefill {
            error = error.max(self.of_prefill.error(|load| pool.time(load, prompt, watcher))?);
        }
        Ok((self.of_decode.runs() + self.of_prefill.runs(), error))
    }
}

impl StepOracle for Steps<'_, '_, '_> {
    fn time(&mut self, _: Time, worker: WorkerId, load: &StepLoad) -> Result<Duration, Invalid> {
        self.taken += 1;
        let (load, prompt) = (axes(load), self.prompt);
        let Steps { watcher, decode, .. } = self;
        let time = match (worker.pool, self.prefill) {
            (PoolKind::Prefill, Some(pool)) => self.of_prefill.at(load, |load| pool.time(load, prompt, watcher)),
            _ => self.of_decode.at(load, |load| decode.time(load, prompt, watcher)),
        };
        Ok(time? + self.overhead)
    }
}
