//! A step beside a transfer of keys and values: with a share of its NICs, as serving takes it, against both in one simulation.

use super::sites::{Sites, whole, with_nics_left};
use super::{CaseRun, Pool, slowest};
use crate::experiment::Known;
use crate::experiment::watch::{Observer, Watcher};
use crate::id::{DeviceId, OpId};
use crate::invalid::Invalid;
use crate::scenario::{Scenario, SymmetryChoice, WorkloadSpec, load};
use crate::units::{Bytes, BytesPerSec, Duration, Time};
use crate::workload::{Batch, Label, Op, OpGraph, Phase, PoolKind, Work, WorkerId, Workload};
use std::path::Path;

/// Operations of `step`, and transfers that begin with them.
struct Beside {
    step: Box<dyn Workload>,
    sends: Vec<Work>,
}

impl Workload for Beside {
    fn next_arrival(&self) -> Option<Time> {
        self.step.next_arrival()
    }

    fn advance(&mut self, now: Time, done: &[OpId], graph: &mut OpGraph) -> Result<(), Invalid> {
        self.step.advance(now, done, graph)?;
        for work in self.sends.drain(..) {
            let label = Label::of(Phase::KvTransfer);
            graph.push(Op { work, label, stream: None, collective: None }, &[]);
        }
        Ok(())
    }

    fn between_uses(&self) -> Option<Bytes> {
        self.step.between_uses()
    }
}

/// How long a step of `pool` takes beside transfers.
fn step(pool: &Pool<'_>, batches: Vec<Batch>, sends: &[(DeviceId, DeviceId, Bytes)]) -> Duration {
    let shape = pool.shape(batches, 1.0);
    let deployment = &pool.deployment;
    let lowered = deployment.step(&shape, pool.known).expect("a step");
    let cases = lowered.cases.into_iter().map(|case| {
        let sends = sends.iter().map(|&(from, to, bytes)| Work::Send { from, to, bytes }).collect();
        CaseRun { workload: Box::new(Beside { step: case.workload, sends }), ..case }
    });
    let watcher = Watcher::new(Observer::default(), pool.known);
    let ran = slowest(deployment.scenario, deployment.cluster, cases.collect(), &watcher).expect("a run");
    let of_step = ran.timeline.spans().filter(|span| span.label.phase != Phase::KvTransfer);
    of_step.map(|span| span.end).max().expect("a step has operations") - Time::ZERO
}

#[test]
fn a_share_of_nics_stands_for_a_transfer_beside_a_step() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/h800_serving.toml");
    let sets = [
        "model.layers=5",
        "nodes=2",
        "parallelism.ep=16",
        "workload.serving.prefill.nodes=1",
        "workload.serving.prefill.instances=2",
        "workload.serving.prefill.parallelism.ep=8",
    ];
    let mut scenario = load::<Scenario>(&path, &sets.map(str::to_owned)).expect("a scenario").value;
    scenario.symmetry = SymmetryChoice::Unfold;
    let WorkloadSpec::Serving(spec) = scenario.workload.clone() else { panic!("it serves") };
    let whole = whole(&scenario, &spec).expect("a cluster");
    let sites = Sites::of(&scenario, &spec, &whole).expect("sites");
    let known = Known::default();
    let decoding = sites.of_worker(WorkerId { pool: PoolKind::Decode, place: 0 });
    let pool = Pool::decode(&scenario, &spec, &decoding, &known).expect("a pool");
    let batches = |pool: &Pool<'_>| pool.batches([128.0, 5000.0, 0.0, 0.0, super::FULL], 1);
    let alone = step(&pool, batches(&pool), &[]);
    let from = |rank: usize| sites.gpu(WorkerId { pool: PoolKind::Prefill, place: rank / 8 }, rank % 8);
    let nic = BytesPerSec::new(49_500_000_000);
    let mut found = Vec::new();
    for quarters in [3_u8, 2, 1] {
        // What takes the rest of a NIC for as long as the step takes; to one GPU, then to all.
        let taken = Bytes::new(nic.over(alone).get() / 4 * u64::from(4 - quarters));
        let sends: Vec<_> = (0..16).map(|rank| (from(rank), decoding.gpus[rank], taken)).collect();
        let [one, all] = [&sends[..1], &sends[..]].map(|sends| step(&pool, batches(&pool), sends));
        let cluster = with_nics_left(decoding.clone(), quarters);
        let shared = pool.at(&scenario, &cluster).expect("a pool");
        found.push((quarters, one / alone, all / alone, step(&shared, batches(&shared), &[]) / alone));
    }
    for &(quarters, one, all, share) in &found {
        // One NIC of sixteen counts as none. Where all are taken, flows of the exchange share them with one each, so that the step loses less than
        // the share: it is never taken to be faster than both together, and with a quarter left a tenth slower.
        let most = [1.15, 1.04, 1.02][usize::from(quarters) - 1];
        assert!((0.999..1.01).contains(&one), "{found:?}");
        assert!(all >= 0.999 && share >= 0.98 * all && share < most * all, "{found:?}");
    }
}
