//! Simulates every kind of chunk that a step has, once.

use super::Job;
use super::groups::Groups;
use crate::experiment::case::CaseRun;
use crate::experiment::memo::Memo;
use crate::experiment::representative::{Case, Shown};
use crate::experiment::watch::Watcher;
use crate::experiment::{Known, build};
use crate::gpu::Taken;
use crate::hardware::{Lanes, NormalCosts};
use crate::id::{DeviceId, LinkId, StreamId};
use crate::invalid::Invalid;
use crate::metrics::{ChunkTime, Folding, KindLoad, Symmetry, breakdown, kernel_times, kind_loads};
use crate::rng::Seed;
use crate::routing::Routes;
use crate::timeline::{Place, Span, Spans, Timeline};
use crate::topology::Cluster;
use crate::units::{Count, Duration, Fraction, Time};
use crate::workload::{
    Action, Chunk, ChunkWork, ChunkWorkload, Copies, ExchangeKernels, GateChoice, Group, Loads, MoeExchange,
    MoeExchangeSpec, RowFormat, StageShape, TrainingTraffic, Uneven, Work, training_traffic,
};
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

/// A kind of chunk in the answer: what it does, in which case of the groups, and how long it takes.
type Key = (ChunkWork, usize, Duration);

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
    /// Copies of the tokens that a group exchanges, once they are known: the same in all groups.
    copies: OnceCell<Copies>,
    groups: Groups,
    /// The ways that the scenario's routing gives transfers.
    ways: Routes<'a>,
    /// How long each group takes of those that a case has.
    simulated: Memo<(ChunkWork, usize), BTreeMap<usize, Duration>>,
    found: BTreeMap<Key, (ChunkTime, Timeline)>,
    /// What each pipeline rank does, in this order.
    actions: Vec<Vec<Key>>,
}

impl<'a> Chunks<'a> {
    pub(super) fn new(job: &'a Job<'a>, cluster: &'a Cluster, known: &Known) -> Result<Chunks<'a>, Invalid> {
        let mut rng = Seed(job.scenario.seed).stream("gate");
        let ep = u64::from(job.plan.ep());
        let per_node = u64::from(cluster.gpus_per_node).min(ep);
        let traffic = job.model.moe.as_ref().map(|moe| training_traffic(moe, ep, per_node, &mut rng));
        Ok(Chunks {
            job,
            cluster,
            traffic,
            copies: OnceCell::new(),
            groups: Groups::new(job, cluster, known)?,
            ways: ways(job, cluster, known)?,
            simulated: Memo::default(),
            found: BTreeMap::new(),
            actions: Vec::new(),
        })
    }

    /// How long each action of a pipeline rank takes.
    pub(super) fn times(&mut self, rank: u32, watcher: &Watcher<'_>) -> Result<Vec<Duration>, Invalid> {
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
        let shown = self.groups.of_stage(rank);
        let mut keys = Vec::with_capacity(works.len());
        for work in works {
            let key = self.slowest(work, &shown, watcher)?;
            let (found, _) = self.found.get_mut(&key).expect("simulated above");
            found.count += 1;
            keys.push(key);
        }
        let times = keys.iter().map(|&(_, _, time)| time).collect();
        self.actions.push(keys);
        Ok(times)
    }

    /// The chunk that takes longest where groups of a pipeline rank do `work`: all that it has to do with wait for the last.
    fn slowest(&mut self, work: ChunkWork, shown: &[Shown], watcher: &Watcher<'_>) -> Result<Key, Invalid> {
        let mut slowest: Option<Key> = None;
        for &Shown { case, group } in shown {
            let mut simulated = std::mem::take(&mut self.simulated);
            let times = simulated.of((work, case), || self.simulate(work, case, watcher));
            let key = (work, case, times?[&group]);
            self.simulated = simulated;
            if slowest.is_none_or(|(_, _, longest)| longest < key.2) {
                slowest = Some(key);
            }
        }
        Ok(slowest.expect("every stage has groups"))
    }

    /// How alike the GPUs are of which one stood for its group.
    pub(super) fn folding(&self) -> Folding {
        let uneven = self.job.spec.load_spread > Fraction::ZERO && self.job.model.moe.is_some();
        match self.groups.folding() {
            Folding::Exact | Folding::Shared if uneven => Folding::Sampled,
            folding => folding,
        }
    }

    /// Which groups were simulated, and for which they stand.
    pub(super) fn symmetry(&self) -> &Symmetry {
        self.groups.symmetry()
    }

    /// What was simulated.
    pub(super) fn into_found(self) -> Found {
        // What was not the slowest decides nothing.
        let deciding: BTreeMap<Key, (ChunkTime, Timeline)> =
            self.found.into_iter().filter(|(_, (chunk, _))| chunk.count > 0).collect();
        let places: BTreeMap<Key, usize> = deciding.keys().copied().zip(0..).collect();
        let actions = self.actions.iter().map(|rank| rank.iter().map(|key| places[key]).collect()).collect();
        let (chunks, timelines) = deciding.into_values().unzip();
        Found { chunks, actions, timelines }
    }

    /// What exchanges tokens, where the node describes any: kernels on the SMs that they are given, or a co-processor.
    fn exchange(&self, members: &[usize], folded: Option<usize>) -> Option<MoeExchange> {
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
        let per_node = (self.cluster.gpus_per_node as usize).min(members.len());
        let copies = self.copies.get_or_init(|| {
            let mut rng = Seed(scenario.seed).stream("exchange");
            Copies::sample(&spec, members.len(), per_node, &mut rng)
        });
        Some(MoeExchange {
            copies: copies.clone(),
            spec,
            group: Group::without_ways(self.cluster, members, Some(&software.collectives)),
            nics: members.iter().map(|&gpu| self.cluster.nic_of(gpu)).collect(),
            per_node,
            offset: 0,
            costs,
            lanes: Lanes::of(&scenario.hardware.gpu),
            folded,
        })
    }

    /// What happens on the GPUs of pipeline rank 0 that are simulated while they do `work`.
    pub(super) fn timeline(&mut self, work: ChunkWork, watcher: &Watcher<'_>) -> Result<Timeline, Invalid> {
        let case = self.groups.of_stage(0)[0].case;
        self.run(work, case, watcher)
    }

    /// Simulates the groups of a case while they do `work`, keeps what each of them did, once for those that took as long, and says how long
    /// each took.
    fn simulate(
        &mut self,
        work: ChunkWork,
        case: usize,
        watcher: &Watcher<'_>,
    ) -> Result<BTreeMap<usize, Duration>, Invalid> {
        watcher.begin(|| name(work));
        let timeline = self.run(work, case, watcher)?;
        let groups = self.groups.case(case).groups.clone();
        let mut times = BTreeMap::new();
        if let [group] = groups[..] {
            times.insert(group, timeline.end() - Time::ZERO);
            self.keep(work, case, timeline);
        } else {
            for group in groups.iter().copied() {
                let own = of_devices(&timeline, &self.devices(group), groups.len() as u64);
                times.insert(group, own.end() - Time::ZERO);
                self.keep(work, case, own);
            }
        }
        Ok(times)
    }

    /// Keeps what one group did, unless another one of its case took as long.
    fn keep(&mut self, work: ChunkWork, case: usize, timeline: Timeline) {
        let time = timeline.end() - Time::ZERO;
        if self.found.contains_key(&(work, case, time)) {
            return;
        }
        let ranks = self.groups.ranks(case);
        let (_, busiest) = self.loads(work, &ranks);
        let parts = breakdown(&timeline);
        let chunk = ChunkTime {
            name: name(work),
            count: 0,
            busiest,
            time,
            computing: parts.computing,
            communicating: parts.communicating,
            exposed: parts.exposed_communication,
            phases: parts.phases,
            critical_path: parts.critical_path,
            kernels: kernel_times(&timeline),
            first: None,
            links: self.link_loads(&timeline, ranks.len()),
        };
        self.found.insert((work, case, time), (chunk, timeline));
    }

    /// The GPUs of a group.
    fn devices(&self, group: usize) -> Vec<DeviceId> {
        self.groups.places(group).iter().map(|&place| self.cluster.gpus[place]).collect()
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
    fn loads(&self, work: ChunkWork, simulated: &[usize]) -> (Vec<Loads>, f64) {
        let Job { spec, model, plan, .. } = *self.job;
        let Some(moe) = &model.moe else { return (vec![Loads::alike(1.0); simulated.len()], 1.0) };
        let sequences = self.groups.size() as u64 / u64::from(plan.tp() * plan.cp()) * spec.micro_batch.wide();
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

    /// Runs `work` on all groups of a case at the same time.
    fn run(&mut self, work: ChunkWork, case: usize, watcher: &Watcher<'_>) -> Result<Timeline, Invalid> {
        let Job { scenario, spec, .. } = *self.job;
        // Kernels leave SMs to communication only while there is something that they overlap with.
        let taken = if matches!(work, ChunkWork::Overlapped { .. }) {
            Taken {
                sms: u64::from(spec.communication_sms),
                memory: scenario.hardware.exchange_memory(spec.communication_sms),
            }
        } else {
            Taken::default()
        };
        let Case { groups, rank, shares, .. } = self.groups.case(case);
        let ranks = self.groups.ranks(case);
        let chunks = groups.iter().map(|&group| self.chunk(work, group, &ranks, *rank)).collect();
        let (workload, shares) = (Box::new(ChunkWorkload::side_by_side(chunks)), shares.clone());
        let case = CaseRun { taken, gap: spec.launch_gap, shares, ..CaseRun::of(workload) };
        Ok(case.run(scenario, self.cluster, watcher)?.timeline)
    }

    /// What a group does, of which `ranks` are simulated: all, or the one that stands for all.
    fn chunk(&self, work: ChunkWork, group: usize, ranks: &[usize], folded: Option<usize>) -> Chunk {
        let Job { scenario, spec, model, plan, .. } = *self.job;
        let (loads, _) = self.loads(work, ranks);
        let exchange = self.exchange(self.groups.places(group), folded);
        let beside = |slowed: fn(NormalCosts) -> NormalCosts| {
            let mut exchange = exchange.clone()?;
            if matches!(work, ChunkWork::Overlapped { .. }) {
                exchange.costs.normal = slowed(exchange.costs.normal);
            }
            Some(exchange)
        };
        let gpus = self.devices(group);
        Chunk {
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
            per_node: (self.cluster.gpus_per_node as usize).min(gpus.len()),
            gpus,
            simulated: ranks.to_vec(),
            exchange: beside(NormalCosts::while_computing),
            counting: beside(NormalCosts::while_counting),
            work,
        }
    }
}

/// The ways that data may take while the scenario's faults are there.
fn ways<'a>(job: &Job<'_>, cluster: &'a Cluster, known: &Known) -> Result<Routes<'a>, Invalid> {
    let (routes, faults) = (build::routes(job.scenario, cluster, known)?, build::faults(job.scenario, cluster)?);
    if faults.is_empty() {
        return Ok(routes);
    }
    let mut usable = vec![true; cluster.topology.n_links()];
    faults.changes().iter().filter(|change| change.is_down()).for_each(|change| usable[change.link.index()] = false);
    Ok(routes.restricted(&usable))
}

/// What happens on some GPUs, which are one of `groups` equal groups that exchange nothing with each other.
fn of_devices(timeline: &Timeline, devices: &[DeviceId], groups: u64) -> Timeline {
    let own: BTreeSet<DeviceId> = devices.iter().copied().collect();
    let streams = timeline.streams.iter().zip(0..).filter(|(stream, _)| own.contains(&stream.device));
    let kept: BTreeMap<StreamId, StreamId> =
        streams.clone().enumerate().map(|(new, (_, old))| (StreamId::new(old), StreamId::new(new))).collect();
    let span = |span: Span| match (span.place, span.work) {
        (Place::Stream(stream), _) => kept.get(&stream).map(|&stream| Span { place: Place::Stream(stream), ..span }),
        (Place::Port(_), Work::Send { from, .. }) => own.contains(&from).then_some(span),
        (Place::Port(_), _) => None,
    };
    let recorded: Spans = timeline.spans().filter_map(span).collect();
    let port = |span: Span| if let Place::Port(port) = span.place { Some(port) } else { None };
    let used: BTreeSet<LinkId> = recorded.iter().filter_map(port).collect();
    Timeline {
        recorded,
        streams: streams.map(|(stream, _)| stream.clone()).collect(),
        ports: timeline.ports.iter().filter(|(port, _)| used.contains(port)).copied().collect(),
        stranded: timeline.stranded.iter().filter(|stranded| own.contains(&stranded.from)).copied().collect(),
        links: timeline.links.clone(),
        collectives: timeline.collectives.iter().map(|&(chosen, count)| (chosen, count / groups)).collect(),
        requests: Vec::new(),
        effort: timeline.effort,
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
