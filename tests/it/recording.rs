//! Long runs of which little is kept: what has ended makes room, totals are those of a whole timeline, and what is kept is as it was there.

use crate::oracle::cluster;
use octoplane::engine::{Limits, run_within};
use octoplane::gpu::Instant;
use octoplane::id::{DeviceId, OpId, StreamId};
use octoplane::invalid::Invalid;
use octoplane::network::{Analytic, FairShare, FaultSchedule, NetworkModel};
use octoplane::routing::Routes;
use octoplane::timeline::{Place, Recorder, Sample, Span, Timeline};
use octoplane::topology::Cluster;
use octoplane::units::{Bytes, Duration, MemoryRoom, OutOfRange, Time, within_range};
use octoplane::workload::{Label, Op, OpGraph, Phase, Stream, Work, Workload};

/// Requests that arrive one by one, take a step on one of two workers, and hand something over to another GPU.
struct Handovers {
    gpus: [DeviceId; 2],
    requests: u32,
    come: u32,
    streams: Vec<StreamId>,
    ended: usize,
}

const APART: Duration = Duration::from_ns(2_000);

impl Handovers {
    fn new(cluster: &Cluster, requests: u32) -> Handovers {
        Handovers { gpus: [cluster.gpus[0], cluster.gpus[8]], requests, come: 0, streams: Vec::new(), ended: 0 }
    }
}

impl Workload for Handovers {
    fn next_arrival(&self) -> Option<Time> {
        (self.come < self.requests).then(|| Time::ZERO + APART * u64::from(self.come))
    }

    fn advance(&mut self, now: Time, done: &[OpId], graph: &mut OpGraph) -> Result<(), Invalid> {
        self.ended += done.len();
        assert!(done.iter().all(|&op| graph.is_finished(op)));
        if self.streams.is_empty() {
            let stream = |rank| Stream { device: self.gpus[0], rank, name: "worker" };
            self.streams = (0..2).map(|rank| graph.stream(stream(rank))).collect();
        }
        while self.next_arrival().is_some_and(|at| at <= now) {
            let label = Label { phase: Phase::Forward, layer: 0, micro_batch: self.come };
            let stream = Some(self.streams[self.come as usize % 2]);
            let step = Work::Known(Duration::from_ns(1_000 + 500 * u64::from(self.come % 7)));
            let step = graph.push(Op { work: step, label, stream, collective: None }, &[]);
            let [from, to] = self.gpus;
            let bytes = Bytes::new(50_000 + 1_000 * u64::from(self.come % 11));
            let handover = Work::Send { from, to, bytes };
            graph.push(Op { work: handover, label, stream: None, collective: None }, &[step]);
            self.come += 1;
        }
        Ok(())
    }
}

fn run(
    network: &mut dyn NetworkModel,
    cluster: &Cluster,
    requests: u32,
    room: u64,
    recorder: Recorder<'_>,
) -> Timeline {
    let room = MemoryRoom { bytes: Bytes::new(room), limit: "a test" };
    let mut workload = Handovers::new(cluster, requests);
    let limits = Limits { room, expect: &|_| {} };
    let timeline = run_within(&mut workload, &mut Instant, network, &cluster.topology, limits, recorder).unwrap();
    assert_eq!(workload.ended, 2 * requests as usize);
    timeline
}

#[test]
fn what_is_kept_of_a_run_is_as_in_the_whole() {
    let cluster = cluster(16, 2);
    let networks = || -> [Box<dyn NetworkModel + '_>; 2] {
        let shared = FairShare::new(&cluster.topology, Routes::new(&cluster.topology), FaultSchedule::default());
        [Box::new(Analytic::new(&cluster.topology)), Box::new(shared)]
    };
    for (mut network, mut again) in networks().into_iter().zip(networks()) {
        let whole = run(network.as_mut(), &cluster, 5_000, u64::MAX, Recorder::Whole);
        let sample = Sample { first: 3, every: 1_000 };
        let keeps = |span: &Span| sample.keeps(u64::from(span.label.micro_batch));
        let mut ends: Vec<Time> = Vec::new();
        let mut each = |span: &Span| {
            ends.push(span.end);
            keeps(span)
        };
        let some = run(again.as_mut(), &cluster, 5_000, u64::MAX, Recorder::Each(&mut each));
        assert_eq!(whole.spans().count(), 10_000);
        assert!(some.spans().eq(whole.spans().filter(keeps)));
        assert_eq!((some.spans().count(), ends.len()), (2 * (3 + 4), 10_000));
        assert!(ends.is_sorted(), "spans come as they end");
        assert_eq!((some.end(), some.bytes_sent()), (whole.end(), whole.bytes_sent()));
        assert_eq!((&some.ports, &some.links, some.effort), (&whole.ports, &whole.links, whole.effort));
        let last = some.spans().last().unwrap();
        assert_eq!((some.span(last.op), some.span(OpId::new(7))), (Some(last), None));
        assert!(matches!(last.place, Place::Port(_)));
    }
}

#[test]
fn what_has_ended_makes_room() {
    let cluster = cluster(16, 2);
    let ended = |recorder: Recorder<'_>| {
        within_range(|| run(&mut Analytic::new(&cluster.topology), &cluster, 20_000, 1 << 18, recorder))
    };
    assert!(matches!(ended(Recorder::Whole), Err(OutOfRange::Memory { .. })));
    let mut passed = 0_u64;
    let timeline = ended(Recorder::Each(&mut |span| {
        passed += u64::from(matches!(span.work, Work::Send { .. }));
        false
    }));
    assert_eq!((timeline.unwrap().spans().count(), passed), (0, 20_000));
}
