//! Simulates every kind of chunk that a step has, once.

use super::Job;
use crate::experiment::seen::{Reach, seen_by};
use crate::experiment::watch::Watcher;
use crate::experiment::{build, footprint};
use crate::gpu::{Beside, Taken};
use crate::hardware::{Lanes, NormalCosts};
use crate::id::{DeviceId, LinkId};
use crate::invalid::Invalid;
use crate::metrics::{ChunkTime, Folding, KindLoad, breakdown, kernel_times, kind_loads};
use crate::rng::Seed;
use crate::routing::Routes;
use crate::scenario::SymmetryChoice;
use crate::timeline::Timeline;
use crate::topology::Cluster;
use crate::units::{Count, Duration, Fraction, Time};
use crate::workload::{
    Action, Chunk, ChunkWork, ChunkWorkload, Copies, ExchangeKernels, GateChoice, Group, Loads, MoeExchange,
    MoeExchangeSpec, RowFormat, StageShape, TrainingTraffic, Uneven, Work, training_traffic,
};
use std::collections::BTreeMap;

/// How far a GPU of an expert-parallel group is from the others: latency and rate, in the order in which it sends.
type Profile = Vec<(Duration, u64)>;

/// What was simulated, in order of what it does.
pub(super) struct Found {
    pub(super) chunks: Vec<ChunkTime>,
    /// Which chunk each pipeline rank does, in this order.
    pub(super) actions: Vec<Vec<usize>>,
    /// What happened in each chunk.
    pub(super) timelines: Vec<Timeline>,
}

/// Chunks simulated so far.
pub(super) struct Chunks<'a> {
    job: &'a Job<'a>,
    cluster: &'a Cluster,
    traffic: Option<TrainingTraffic>,
    routes: Routes<'a>,
    /// The ways that the scenario's routing gives transfers.
    ways: Routes<'a>,
    found: BTreeMap<(ChunkWork, Profile), (ChunkTime, Timeline)>,
    /// What each pipeline rank does, in this order.
    actions: Vec<Vec<(ChunkWork, Profile)>>,
    farthest: bool,
    folded: bool,
}

impl<'a> Chunks<'a> {
    pub(super) fn new(job: &'a Job<'a>, cluster: &'a Cluster) -> Result<Chunks<'a>, Invalid> {
        let mut rng = Seed(job.scenario.seed).stream("gate");
        let ep = u64::from(job.plan.ep());
        let per_node = u64::from(cluster.gpus_per_node).min(ep);
        let traffic = job.model.moe.as_ref().map(|moe| training_traffic(moe, ep, per_node, &mut rng));
        let routes = Routes::new(&cluster.topology);
        let ways = build::routes(job.scenario, cluster)?;
        Ok(Chunks {
            job,
            cluster,
            traffic,
            routes,
            ways,
            found: BTreeMap::new(),
            actions: Vec::new(),
            farthest: false,
            folded: false,
        })
    }

    /// How long each action of a pipeline rank takes.
    pub(super) fn times(&mut self, rank: u32, watcher: &mut Watcher<'_>) -> Result<Vec<Duration>, Invalid> {
        let group = self.group(rank);
        let (simulated, profile) = self.simulated(&group);
        let actions = self.job.schedule.ranks()[rank as usize].clone();
        let shape = |chunk| self.job.shape(self.job.schedule.stage(rank, chunk));
        let work = |action: Action| match action {
            Action::Forward(unit) => ChunkWork::Forward(shape(unit.chunk)),
            Action::Backward(unit) => ChunkWork::Backward(shape(unit.chunk)),
            Action::BackwardInput(unit) => ChunkWork::BackwardInput(shape(unit.chunk)),
            Action::BackwardWeight(unit) => ChunkWork::BackwardWeight(shape(unit.chunk)),
            Action::Overlapped { forward, backward } => {
                ChunkWork::Overlapped { forward: shape(forward.chunk), backward: shape(backward.chunk) }
            }
        };
        let works: Vec<ChunkWork> = actions.into_iter().map(work).collect();
        let mut times = Vec::with_capacity(works.len());
        self.actions.push(works.iter().map(|&work| (work, profile.clone())).collect());
        for work in works {
            let key = (work, profile.clone());
            if !self.found.contains_key(&key) {
                let simulated = self.simulate(work, &group, &simulated, watcher)?;
                self.found.insert(key.clone(), simulated);
            }
            let (found, _) = self.found.get_mut(&key).expect("simulated above");
            found.count += 1;
            times.push(found.time);
        }
        Ok(times)
    }

    /// Whether one GPU stood for all of its group.
    pub(super) fn folding(&self) -> Folding {
        match (self.folded, self.farthest) {
            (false, _) => Folding::None,
            (true, false) if self.job.spec.load_spread > Fraction::ZERO && self.job.model.moe.is_some() => {
                Folding::Sampled
            }
            (true, false) => Folding::Exact,
            (true, true) => Folding::Farthest,
        }
    }

    /// What was simulated.
    pub(super) fn into_found(self) -> Found {
        let places: BTreeMap<&(ChunkWork, Profile), usize> = self.found.keys().zip(0..).collect();
        let row = |work: &(ChunkWork, Profile)| places[work];
        let actions = self.actions.iter().map(|rank| rank.iter().map(row).collect()).collect();
        let (chunks, timelines) = self.found.into_values().unzip();
        Found { chunks, actions, timelines }
    }

    /// The expert-parallel group of the first replica's GPU at `rank`; for a dense model, the GPUs that share sequences with it.
    fn group(&self, rank: u32) -> Vec<DeviceId> {
        let plan = self.job.plan;
        let first = plan.rank(0, 0, rank);
        let gpu = |rank: crate::id::Rank| self.cluster.gpus[rank.index()];
        if plan.ep() > plan.tp() * plan.cp() {
            plan.ep_group(first).map(gpu).collect()
        } else {
            plan.sequence_group(first).map(gpu).collect()
        }
    }

    /// Which GPUs of a group are simulated, and the distances that they see: one for all unless that is not wanted, the one
    /// with the longest ways where they differ.
    fn simulated(&mut self, group: &[DeviceId]) -> (Vec<usize>, Profile) {
        let per_node = (self.cluster.gpus_per_node as usize).min(group.len());
        let mut profile = |rank: usize| -> Profile {
            let node = rank - rank % per_node;
            let inside = (1..per_node).map(|turn| node + (rank + turn) % per_node);
            let across = (1..group.len() / per_node).map(|hop| (rank + hop * per_node) % group.len());
            // The way round those that share sequences counts, too: it is as slow as the longest of its hops.
            let (stride, shared) = (self.job.plan.tp() as usize, (self.job.plan.tp() * self.job.plan.cp()) as usize);
            let next = (shared > stride).then(|| rank - rank % shared + (rank + stride) % shared);
            let peers: Vec<usize> = inside.chain(across).chain(next).collect();
            let mut profile: Profile = peers
                .into_iter()
                .map(|peer| {
                    let path = self.routes.path(group[rank], group[peer]).expect("a cluster is connected");
                    (path.latency, path.narrowest.get())
                })
                .collect();
            // Whether the nearest node is one or two further on does not matter to anyone.
            profile.sort_unstable();
            profile
        };
        let profiles: Vec<Profile> = (0..group.len()).map(&mut profile).collect();
        if self.job.scenario.symmetry != SymmetryChoice::Fold || group.len() == 1 {
            return ((0..group.len()).collect(), profiles[0].clone());
        }
        self.folded = true;
        self.farthest |= profiles.iter().any(|profile| *profile != profiles[0]);
        let far = |rank: &usize| profiles[*rank].iter().map(|&(latency, _)| latency).sum::<Duration>();
        let farthest = (0..group.len()).rev().max_by_key(far).expect("a group has a GPU");
        (vec![farthest], profiles[farthest].clone())
    }

    /// The places in the cluster of the GPUs of a group.
    fn places(&self, group: &[DeviceId]) -> Vec<usize> {
        let place =
            |gpu: &DeviceId| self.cluster.gpus.iter().position(|other| other == gpu).expect("a GPU of the cluster");
        group.iter().map(place).collect()
    }

    /// The cluster as one GPU that stands for its group sees it, where that differs.
    fn seen(&mut self, group: &[DeviceId], simulated: &[usize]) -> Option<Cluster> {
        let [one] = simulated[..] else { return None };
        let described = self.job.scenario.hardware.communication.is_some();
        let reach = if described { Reach::Rail } else { Reach::All };
        let members = self.places(group);
        seen_by(&mut self.ways, self.cluster, &members, one, reach)
    }

    /// What exchanges tokens, where the node describes any: kernels on the SMs that they are given, or a co-processor.
    fn exchange(&self, group: &[DeviceId], simulated: &[usize]) -> Option<MoeExchange> {
        let Job { scenario, spec, model, plan, .. } = *self.job;
        let (moe, software) = (model.moe.as_ref()?, scenario.hardware.communication.as_ref()?);
        let (sms, costs) = (spec.communication_sms, software.experts.on(spec.communication_sms)?);
        let precision = scenario.precision.unwrap_or_default();
        let format = |dtype, scale_group| RowFormat { dtype, scale_group, ..RowFormat::BF16 };
        let tokens = spec.micro_batch.wide() * spec.sequence.wide() / u64::from(plan.tp() * plan.cp());
        let spec = MoeExchangeSpec {
            kernels: ExchangeKernels::Normal,
            tokens_per_gpu: u32::try_from(tokens).ok().and_then(Count::new)?,
            hidden: model.hidden,
            experts: moe.routed_experts,
            experts_per_token: moe.experts_per_token,
            groups: moe.groups,
            groups_per_token: moe.groups_per_token,
            gate: GateChoice::default(),
            dispatch: format(precision.dispatch, precision.dispatch_scale_group),
            combine: RowFormat::combine(&precision),
            sms,
            scale_up: true,
        };
        let members = self.places(group);
        let per_node = (self.cluster.gpus_per_node as usize).min(group.len());
        let mut rng = Seed(scenario.seed).stream("exchange");
        Some(MoeExchange {
            copies: Copies::sample(&spec, group.len(), per_node, &mut rng),
            spec,
            group: Group::without_ways(self.cluster, &members, Some(&software.collectives)),
            nics: members.iter().map(|&gpu| self.cluster.nic_of(gpu)).collect(),
            per_node,
            offset: 0,
            costs,
            lanes: Lanes::of(&scenario.hardware.gpu),
            folded: (simulated.len() < group.len()).then_some(simulated[0]),
        })
    }

    /// What happens on the GPUs of pipeline rank 0 that are simulated while they do `work`.
    pub(super) fn timeline(&mut self, work: ChunkWork, watcher: &mut Watcher<'_>) -> Result<Timeline, Invalid> {
        let group = self.group(0);
        let (simulated, _) = self.simulated(&group);
        let (loads, _) = self.loads(work, &group, &simulated);
        self.run(work, loads, &group, &simulated, watcher)
    }

    fn simulate(
        &mut self,
        work: ChunkWork,
        group: &[DeviceId],
        simulated: &[usize],
        watcher: &mut Watcher<'_>,
    ) -> Result<(ChunkTime, Timeline), Invalid> {
        let (loads, busiest) = self.loads(work, group, simulated);
        watcher.begin(|| name(work));
        let timeline = self.run(work, loads, group, simulated, watcher)?;
        let parts = breakdown(&timeline);
        let time = ChunkTime {
            name: name(work),
            count: 0,
            busiest,
            time: timeline.end() - Time::ZERO,
            computing: parts.computing,
            communicating: parts.communicating,
            exposed: parts.exposed_communication,
            phases: parts.phases,
            critical_path: parts.critical_path,
            kernels: kernel_times(&timeline),
            first: None,
            links: self.link_loads(&timeline, simulated.len()),
        };
        Ok((time, timeline))
    }

    /// How busy links are while a chunk runs on all GPUs: what its transfers leave on the ways that routing gives them.
    fn link_loads(&mut self, timeline: &Timeline, simulated: usize) -> Vec<KindLoad> {
        let mut sent: BTreeMap<(DeviceId, DeviceId), u64> = BTreeMap::new();
        for span in timeline.spans() {
            if let Work::Send { from, to, bytes } = span.work {
                *sent.entry((from, to)).or_default() += bytes.get();
            }
        }
        let mut passed: BTreeMap<LinkId, f64> = BTreeMap::new();
        for ((from, to), bytes) in sent {
            for share in self.ways.shares(from, to, 1).into_iter().flatten() {
                *passed.entry(share.link).or_default() += share.part * bytes as f64;
            }
        }
        let topology = &self.cluster.topology;
        kind_loads(&passed, topology, (simulated, self.cluster.gpus.len()), timeline.end() - Time::ZERO)
    }

    /// Loads of the experts of each simulated GPU, and that of the busiest one over that of an average one.
    ///
    /// Where all are simulated, each has a load of its own in each layer. Else the one has the load of the GPU that decides. Where
    /// every layer ends in an exchange that all wait for, that is the busiest one of each layer. Where there is other work until
    /// the result of an exchange is needed, who is late in one layer catches up in another, and it is the one with most to do in
    /// all layers together; backward there are two products for each one forward. Nobody waits in gradients of weights. Exchanges wait for
    /// the busiest node, over whose NICs tokens come and go.
    fn loads(&self, work: ChunkWork, group: &[DeviceId], simulated: &[usize]) -> (Vec<Loads>, f64) {
        let Job { spec, model, plan, .. } = *self.job;
        let Some(moe) = &model.moe else { return (vec![Loads::alike(1.0); simulated.len()], 1.0) };
        let sequences = group.len() as u64 / u64::from(plan.tp() * plan.cp()) * spec.micro_batch.wide();
        let holders = plan.ep() as usize;
        let experts = moe.routed_experts.wide().div_ceil(holders as u64);
        let uneven = Uneven::new(spec.load_spread, holders, experts, sequences);
        let layers = |stage: StageShape, weight: f64| vec![weight; stage.expert_layers()];
        let weights = match work {
            ChunkWork::Forward(stage) | ChunkWork::Backward(stage) | ChunkWork::BackwardInput(stage) => {
                vec![1.0; stage.expert_layers().min(1)]
            }
            ChunkWork::BackwardWeight(stage) => layers(stage, 1.0),
            ChunkWork::Overlapped { forward, backward } => [layers(forward, 1.0), layers(backward, 2.0)].concat(),
        };
        if weights.is_empty() {
            return (vec![Loads::alike(1.0); simulated.len()], 1.0);
        }
        let mut rng = Seed(self.job.scenario.seed).stream("load");
        if simulated.len() == 1 {
            let busiest = uneven.busiest(&weights, &mut rng);
            let per_node = (self.cluster.gpus_per_node as usize).min(holders);
            let of_node = uneven.together(per_node).busiest(&weights, &mut rng);
            return (vec![Loads { of_node, ..Loads::alike(busiest) }], busiest);
        }
        let blocks = |stage: StageShape| stage.n_blocks();
        let passes = match work {
            ChunkWork::Forward(stage) => [blocks(stage), 0],
            ChunkWork::Backward(stage) | ChunkWork::BackwardInput(stage) | ChunkWork::BackwardWeight(stage) => {
                [0, blocks(stage)]
            }
            ChunkWork::Overlapped { forward, backward } => [blocks(forward), blocks(backward)],
        };
        let [forward, backward] = passes.map(|blocks| uneven.draw(blocks, &mut rng));
        let most = forward.iter().chain(&backward).flatten().copied().fold(1.0, f64::max);
        // GPUs that hold slices of the same experts have the same load; where experts are cut, these follow each other.
        let holder = |rank: usize| rank / plan.expert_tp() as usize % holders;
        let of_rank = |&rank: &usize| {
            let drawn = [forward[holder(rank)].clone(), backward[holder(rank)].clone()];
            Loads { drawn, ..Loads::alike(1.0) }
        };
        (simulated.iter().map(of_rank).collect(), most)
    }

    fn run(
        &mut self,
        work: ChunkWork,
        loads: Vec<Loads>,
        group: &[DeviceId],
        simulated: &[usize],
        watcher: &mut Watcher<'_>,
    ) -> Result<Timeline, Invalid> {
        let Job { scenario, spec, model, plan, .. } = *self.job;
        let overlapped = matches!(work, ChunkWork::Overlapped { .. });
        let exchange = self.exchange(group, simulated);
        let beside = |slowed: fn(NormalCosts) -> NormalCosts| {
            let mut exchange = exchange.clone()?;
            if overlapped {
                exchange.costs.normal = slowed(exchange.costs.normal);
            }
            Some(exchange)
        };
        let chunk = Chunk {
            model: model.clone(),
            precision: scenario.precision.unwrap_or_default(),
            tp: u64::from(plan.tp()),
            cp: u64::from(plan.cp()),
            sequences: spec.micro_batch.wide(),
            length: spec.sequence.wide(),
            recompute: spec.recompute,
            casts: spec.casts,
            loss: spec.loss,
            beside_exchanges: spec.beside_exchanges,
            skew: spec.skew,
            experts: u64::from(plan.experts_per_gpu(model)),
            loads,
            traffic: self.traffic,
            gpus: group.to_vec(),
            per_node: (self.cluster.gpus_per_node as usize).min(group.len()),
            simulated: simulated.to_vec(),
            exchange: beside(NormalCosts::while_computing),
            counting: beside(NormalCosts::while_counting),
            work,
        };
        // Kernels leave SMs to communication only while there is something that they overlap with.
        let taken = if overlapped {
            Taken {
                sms: u64::from(spec.communication_sms),
                memory: scenario.hardware.exchange_memory(spec.communication_sms),
            }
        } else {
            Taken::default()
        };
        let kernels = build::kernels(scenario, self.cluster)?;
        let mut kernels = Beside { kernels, taken, gap: spec.launch_gap };
        let seen = self.seen(group, simulated);
        let cluster = seen.as_ref().unwrap_or(self.cluster);
        footprint::run(scenario, cluster, &mut ChunkWorkload::new(chunk), &mut kernels, watcher)
    }
}

/// What a chunk does, for people: "F&B of 4 MoE with 4 MoE".
fn name(work: ChunkWork) -> String {
    match work {
        ChunkWork::Forward(stage) => format!("F of {}", stage_name(stage)),
        ChunkWork::Backward(stage) => format!("B of {}", stage_name(stage)),
        ChunkWork::BackwardInput(stage) => format!("B input of {}", stage_name(stage)),
        ChunkWork::BackwardWeight(stage) => format!("W of {}", stage_name(stage)),
        ChunkWork::Overlapped { forward, backward } => {
            format!("F of {} & B of {}", stage_name(forward), stage_name(backward))
        }
    }
}

fn stage_name(stage: StageShape) -> String {
    let mut parts = Vec::new();
    let counted = |count: u32, what: &str| (count > 0).then(|| format!("{count} {what}"));
    parts.extend(stage.embedding.then(|| "embedding".to_owned()));
    parts.extend(counted(stage.dense_layers, "dense"));
    parts.extend(counted(stage.moe_layers, "MoE"));
    parts.extend(stage.head.then(|| "head".to_owned()));
    parts.extend(counted(stage.mtp_modules, "MTP"));
    parts.join(" + ")
}
