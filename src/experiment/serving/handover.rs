//! How keys and values get from one pool to the other. Prompts leave an instance, and reach one, in turn: what several send to one waits for
//! its NICs.

use super::Pool;
use crate::routing::Routes;
use crate::units::{Bytes, BytesPerSec, Duration, Time};
use crate::workload::{KvTransfer, Sequence, WorkerId};

/// What the NICs of an instance carry per second.
#[derive(Clone, Copy, Debug)]
struct NicRates {
    /// Those of all its GPUs.
    all: BytesPerSec,
    /// Those of the GPUs that hold one request.
    of_one: BytesPerSec,
}

/// When the NICs of an instance are free.
#[derive(Clone, Copy, Debug)]
struct Line {
    rates: NicRates,
    free: Time,
}

impl Line {
    /// When `bytes` of one request that are ready at `now` have passed.
    fn pass(&mut self, now: Time, bytes: Bytes) -> Time {
        self.free = self.free.max(now) + bytes / self.rates.all;
        self.free.max(now + bytes / self.rates.of_one)
    }
}

/// The NICs between both pools.
pub(super) struct Lines {
    /// Keys and values of one position, all GPUs of an instance that send it together.
    per_position: Bytes,
    /// Of each prefill instance outwards, and of each decode instance inwards; what a tensor-parallel group needs on every GPU is passed on within it.
    out: Vec<Line>,
    into: Vec<Line>,
    /// Latency of the network.
    latency: Duration,
}

impl Lines {
    /// From `prefill` to `decode`.
    pub(super) fn between(prefill: &Pool<'_>, decode: &Pool<'_>) -> Lines {
        let cluster = decode.deployment.cluster;
        let (first, last) = (cluster.gpus[0], cluster.gpus[cluster.gpus.len() - 1]);
        let path = Routes::new(&cluster.topology).path(first, last).expect("a cluster is connected");
        // Latent caches are the same on every GPU of a tensor-parallel group and leave once; others leave in parts.
        let latent = matches!(prefill.deployment.model.attention, crate::model::AttentionSpec::Mla(_));
        let per_position = if latent { prefill.per_position() } else { prefill.per_position() * prefill.tp() };
        let each = path.narrowest;
        let lines = |pool: &Pool<'_>| {
            let rates = NicRates { all: each * pool.gpus(), of_one: each * pool.tp() };
            vec![Line { rates, free: Time::ZERO }; pool.instances as usize]
        };
        Lines { per_position, out: lines(prefill), into: lines(decode), latency: path.latency }
    }
}

impl KvTransfer for Lines {
    fn arrival(&mut self, now: Time, from: WorkerId, to: WorkerId, sequence: &Sequence) -> Time {
        let bytes = self.per_position * u64::from(sequence.input);
        self.out[from.place].pass(now, bytes).max(self.into[to.place].pass(now, bytes)) + self.latency
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_pass_nics_in_turn_and_one_alone_at_the_rate_of_its_own() {
        let rates = NicRates { all: BytesPerSec::new(100), of_one: BytesPerSec::new(25) };
        let mut line = Line { rates, free: Time::ZERO };
        let at = |secs: u64| Time::from_ps(secs * 1_000_000_000_000);
        let pass = |line: &mut Line, now, bytes| line.pass(at(now), Bytes::new(bytes));
        assert_eq!(pass(&mut line, 0, 100), at(4), "a quarter of the NICs");
        assert_eq!(pass(&mut line, 0, 100), at(4), "another quarter, at the same time");
        assert_eq!(pass(&mut line, 0, 600), at(24), "alone for most of the time");
        assert_eq!(pass(&mut line, 0, 2000), at(80));
        assert_eq!(pass(&mut line, 0, 100), at(29), "all have to pass before it");
        assert_eq!(pass(&mut line, 1000, 100), at(1004), "idle again");
    }
}
