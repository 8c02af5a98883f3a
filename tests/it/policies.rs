//! Policies of serving by themselves: schedulers, KV caches and routers over random requests, and such as a user would write.

use octoplane::units::{Bytes, Duration, Time};
use octoplane::workload::{
    EngineWorker, Fcfs, FcfsLimits, Gather, KvCache, LeastLoaded, RequestQueues, ReservingCache, Router,
    ScheduledBatch, Scheduler, Sequence, WorkerLoad, WorkerShape,
};
use proptest::prelude::*;

const PER_POSITION: Bytes = Bytes::new(1152);
const STEP: Duration = Duration::from_ns(20_000_000);

fn shape(groups: u64, decodes: bool) -> WorkerShape {
    WorkerShape { groups, decodes, queries: 1, tokens_per_step: 1.0, counts_groups: false }
}

fn sequence(request: usize, input: u32, output: u32) -> Sequence {
    Sequence { request, input, computed: input, output, group: 0 }
}

/// What a worker has done with all requests it was given.
#[derive(Debug, Default, PartialEq)]
struct Done {
    steps: u64,
    prompts: Vec<usize>,
    finished: Vec<usize>,
    emitted: f64,
    most_held: f64,
    most_prompts: f64,
}

/// Gives `requests` to a worker, each before the step that it names, until all are done.
fn serve(worker: &mut EngineWorker, requests: &[(u64, u32, u32)]) -> Done {
    let mut done = Done::default();
    let (mut now, mut admitted) = (Time::ZERO, Vec::new());
    for round in 0..1_000_000 {
        let due = requests.iter().enumerate().filter(|(_, request)| request.0 == round);
        due.for_each(|(index, &(_, input, output))| worker.prefill(sequence(index, input, output)));
        let Some(load) = worker.start(now, &mut admitted) else {
            if requests.iter().all(|request| request.0 <= round) {
                break;
            }
            continue;
        };
        assert!(worker.start(now, &mut admitted).is_none(), "a step at a time");
        now += STEP;
        let end = worker.end(now);
        assert_eq!(end.start + STEP, now);
        done.steps += 1;
        done.prompts.extend(end.prompted.iter().map(|sequence| sequence.request));
        done.finished.extend(end.finished.iter().map(|sequence| sequence.request));
        done.emitted += end.emitted;
        done.most_held = done.most_held.max(worker.cache().decoding_positions());
        done.most_prompts = done.most_prompts.max(load.prompts);
    }
    done.finished.sort_unstable();
    done
}

/// That every request, token and byte that went into `worker` came out.
fn check_conserved(worker: &EngineWorker, requests: &[(u64, u32, u32)], done: &Done, room: u64) {
    assert_eq!(done.finished, (0..requests.len()).collect::<Vec<_>>(), "every request ends once");
    let tokens: f64 = requests.iter().map(|request| f64::from(request.2)).sum();
    assert_eq!(done.emitted, tokens, "every token is emitted once");
    assert_eq!(worker.load(), WorkerLoad::default());
    assert_eq!(worker.cache().decoding_positions(), 0.0);
    let (whole, more) = (sequence(0, room as u32 - 1, 1), sequence(0, room as u32, 1));
    assert!(
        worker.cache().fits(&whole) && !worker.cache().fits(&more),
        "all room is free again, and no more than there was"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_goes_into_a_worker_comes_out(
        requests in proptest::collection::vec((0_u64..200, 1_u32..300, 1_u32..60), 1..40),
        (sequences, tokens, groups) in (1_u64..20, 8_u64..400, 1_u64..5),
        kept in prop_oneof![Just(1.0), 0.0..1.0],
        (prefill_first, look_every, gathers) in (any::<bool>(), 1_u64..20, any::<bool>()),
    ) {
        let room = 900;
        let gather = gathers.then_some(Gather { steps: 7, positions: tokens, one_each: groups > 1 });
        let limits = FcfsLimits { prefill_first, look_every, gather, ..FcfsLimits::new(sequences, groups * tokens) };
        let cache = ReservingCache::new(Some(PER_POSITION * room), PER_POSITION, kept);
        let mut worker = EngineWorker::new(shape(groups, true), Box::new(Fcfs::new(limits)), Box::new(cache));
        let done = serve(&mut worker, &requests);
        check_conserved(&worker, &requests, &done, room);
        prop_assert!(done.most_prompts <= tokens as f64, "a group takes its part of the step");
        if kept == 1.0 {
            prop_assert!(done.most_held <= room as f64, "room is kept for all answers");
            prop_assert_eq!(done.prompts.len(), requests.len(), "nobody is preempted");
        }
    }

    #[test]
    fn the_router_takes_the_least_loaded_and_of_equals_the_first(loads in proptest::collection::vec((0_u64..4, 0_u64..4), 1..30)) {
        let mut workers = loads.iter().map(|&(requests, queued)| WorkerLoad { requests, queued });
        let found = LeastLoaded.route(&sequence(0, 1, 1), &mut workers);
        let least = loads.iter().min().expect("there is one");
        prop_assert_eq!(Some(found), loads.iter().position(|load| load == least));
    }
}

#[test]
fn a_cache_that_keeps_room_for_half_of_all_answers_preempts_and_loses_nothing() {
    // Ten requests of 10 positions grow to 110 each where there is room for 600.
    let requests = [(0, 10, 100); 10];
    let serve_with = |kept: f64| {
        let cache = ReservingCache::new(Some(PER_POSITION * 600), PER_POSITION, kept);
        let fcfs = Fcfs::new(FcfsLimits::new(64, 512));
        let mut worker = EngineWorker::new(shape(1, true), Box::new(fcfs), Box::new(cache));
        let done = serve(&mut worker, &requests);
        check_conserved(&worker, &requests, &done, 600);
        done
    };
    let (careful, bold) = (serve_with(1.0), serve_with(0.0));
    assert_eq!(careful.prompts.len(), 10);
    assert!(bold.prompts.len() > 10, "who is preempted is computed again");
    assert!(careful.most_held <= 600.0 && bold.steps < careful.steps, "{careful:?} {bold:?}");
}

/// A scheduler as a user would write it: one whole prompt at a time, and nobody decodes beside it.
#[derive(Debug)]
struct OneByOne;

impl Scheduler for OneByOne {
    fn schedule(&mut self, queues: &mut RequestQueues, cache: &mut dyn KvCache) -> ScheduledBatch {
        let mut batch = ScheduledBatch::default();
        queues.notice();
        if queues.next_prompt().is_some_and(|sequence| cache.fits(sequence)) {
            queues.admit_prompt(cache);
            let left = queues.prompt(0).map_or(0, |prompt| u64::from(prompt.left));
            batch.add_chunk(queues, 0, left);
        } else {
            batch.decoding = queues.decoding().len() as u64;
        }
        batch
    }

    fn preempt(&mut self, _: &mut RequestQueues, _: &mut dyn KvCache) -> Option<f64> {
        None
    }
}

/// A cache as a user would write it: whole blocks of positions, taken for the longest that a sequence gets.
#[derive(Debug)]
struct WholeBlocks {
    block: u64,
    free: u64,
    decoding: f64,
}

impl WholeBlocks {
    fn blocks(&self, sequence: &Sequence) -> u64 {
        sequence.positions().div_ceil(self.block)
    }
}

impl KvCache for WholeBlocks {
    fn fits(&self, sequence: &Sequence) -> bool {
        self.blocks(sequence) <= self.free
    }

    fn allocate(&mut self, sequence: &Sequence) {
        self.free -= self.blocks(sequence);
    }

    fn begin_decoding(&mut self, sequence: &Sequence) {
        self.decoding += f64::from(sequence.input);
    }

    fn append(&mut self, tokens: f64) {
        self.decoding += tokens;
    }

    fn free(&mut self, sequence: &Sequence, decoded: Option<f64>) {
        self.free += self.blocks(sequence);
        if let Some(tokens) = decoded {
            self.decoding -= f64::from(sequence.input) + tokens;
        }
    }

    fn is_over(&self) -> bool {
        false
    }

    fn decoding_positions(&self) -> f64 {
        self.decoding
    }
}

/// A router as a user would write it: each in turn.
#[derive(Debug, Default)]
struct RoundRobin(usize);

impl Router for RoundRobin {
    fn route(&mut self, _: &Sequence, workers: &mut dyn ExactSizeIterator<Item = WorkerLoad>) -> usize {
        self.0 += 1;
        (self.0 - 1) % workers.len()
    }
}

#[test]
fn policies_of_a_user_serve_every_request() {
    let requests: Vec<(u64, u32, u32)> = (0..30).map(|index| (index, 20 + index as u32, 1 + index as u32)).collect();
    let cache = WholeBlocks { block: 16, free: 20, decoding: 0.0 };
    let mut worker = EngineWorker::new(shape(1, true), Box::new(OneByOne), Box::new(cache));
    let done = serve(&mut worker, &requests);
    assert_eq!(done.finished, (0..30).collect::<Vec<_>>());
    assert_eq!(done.emitted, f64::from((1..=30).sum::<u32>()));
    assert!(worker.cache().fits(&sequence(0, 319, 1)) && !worker.cache().fits(&sequence(0, 320, 1)));
    let mut router = RoundRobin::default();
    let mut route = || router.route(&sequence(0, 1, 1), &mut [WorkerLoad::default(); 3].into_iter());
    assert_eq!([route(), route(), route(), route()], [0, 1, 2, 0]);
}
