//! The pools of a deployment and their workers.

use super::router::{Router, WorkerLoad};
use super::sequence::Sequence;
use super::worker::EngineWorker;

/// A pool of workers. At one time, what decodes comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PoolKind {
    /// Its workers decode; where there is no other pool, they compute prompts too.
    Decode,
    /// Its workers only compute prompts.
    Prefill,
}

/// A worker by its pool and its place there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WorkerId {
    /// The pool.
    pub pool: PoolKind,
    /// Its place, from 0.
    pub place: usize,
}

/// Everybody who serves.
#[derive(Debug)]
pub struct Fleet {
    /// Workers that decode, at least one.
    pub decode: Vec<EngineWorker>,
    /// Workers that only compute prompts; none where decoding workers do.
    pub prefill: Vec<EngineWorker>,
    /// Which of a pool takes a request.
    pub router: Box<dyn Router>,
    /// Requests on their way to each decoding worker.
    coming: Vec<u64>,
}

impl Fleet {
    /// Workers that decode, workers that only compute prompts, and who sends requests to them.
    pub fn new(decode: Vec<EngineWorker>, prefill: Vec<EngineWorker>, router: Box<dyn Router>) -> Fleet {
        let coming = vec![0; decode.len()];
        Fleet { decode, prefill, router, coming }
    }

    /// Every worker, in order.
    pub fn ids(&self) -> impl Iterator<Item = WorkerId> {
        let of = |pool, count| (0..count).map(move |place| WorkerId { pool, place });
        of(PoolKind::Decode, self.decode.len()).chain(of(PoolKind::Prefill, self.prefill.len()))
    }

    /// A worker.
    pub(super) fn worker(&mut self, id: WorkerId) -> &mut EngineWorker {
        match id.pool {
            PoolKind::Decode => &mut self.decode[id.place],
            PoolKind::Prefill => &mut self.prefill[id.place],
        }
    }

    /// Gives a request that arrives to a worker that computes its prompt.
    pub(super) fn arrive(&mut self, sequence: Sequence) -> WorkerId {
        let pool = if self.prefill.is_empty() { PoolKind::Decode } else { PoolKind::Prefill };
        let id = self.route(pool, &sequence);
        self.worker(id).prefill(sequence);
        id
    }

    /// Chooses the worker, and the tensor-parallel group there, that will decode a sequence whose keys and values set out now.
    pub(super) fn hand_over(&mut self, sequence: &Sequence) -> (WorkerId, usize) {
        let id = self.route(PoolKind::Decode, sequence);
        self.coming[id.place] += 1;
        (id, self.worker(id).expect())
    }

    /// Keys and values of a sequence have come to the worker that was chosen for it.
    pub(super) fn take_over(&mut self, id: WorkerId, sequence: Sequence) {
        self.coming[id.place] -= 1;
        self.worker(id).decode(sequence);
    }

    fn route(&mut self, pool: PoolKind, sequence: &Sequence) -> WorkerId {
        let (workers, coming): (&[EngineWorker], &[u64]) = match pool {
            PoolKind::Decode => (&self.decode, &self.coming),
            PoolKind::Prefill => (&self.prefill, &[]),
        };
        let mut loads = workers.iter().enumerate().map(|(place, worker)| {
            let WorkerLoad { requests, queued } = worker.load();
            WorkerLoad { requests: requests + coming.get(place).copied().unwrap_or(0), queued }
        });
        WorkerId { pool, place: self.router.route(sequence, &mut loads) }
    }
}
