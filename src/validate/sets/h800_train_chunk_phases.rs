//! Phases of a recorded training step: a stage of four layers with experts goes forward while another goes backward, on H800.
//!
//! `span_us` is the time from the first to the last kernel of a phase of one pair of layers, `layer_idx`; `gpu_end_us` counts from
//! where the recording begins on the host, half a millisecond before its first kernel. 64 GPUs share the experts, 20 of the 132 SMs
//! communicate, and there is one sequence of 4096 tokens; routing was balanced and nothing was handed to other stages. Spans of
//! communication hold the kernels in which peers wait for each other (`notify`). The whole of the last pair so far is
//! compared as well, by the end of its last phase.

use super::super::context::Deployed;
use super::{Context, Measured, Point, Skip};
use crate::dtype::Dtype;
use crate::hardware::{Fp8Gemm, LibrariesSpec};
use crate::model::PrecisionSpec;
use crate::parallelism::{PlanSpec, RecomputeSpec};
use crate::report::validation::Key;
use crate::run::simulate_chunk;
use crate::scenario::{Scenario, WorkloadSpec};
use crate::timeline::Timeline;
use crate::units::{Count, Duration, Fraction, Time};
use crate::workload::{
    BesideExchanges, CastChoice, ChunkWork, LossChoice, Phase, ScheduleSpec, StageShape, TrainingSpec,
};
use serde::Deserialize;

/// GPUs of the group, and how many of them share a node.
const GPUS: [u32; 2] = [64, 8];
/// Layers of a stage.
const LAYERS: u32 = 4;
/// Tokens of the only sequence.
const TOKENS: u32 = 4096;
/// SMs that communication kernels hold (arXiv 2412.19437 section 3.2.2).
const COMMUNICATION_SMS: u32 = 20;
/// What the kernels that wait for peers take, median of h800_train_chunk_kernels.csv (`cached_notify`).
const SKEW: Duration = Duration::from_ns(1_320_000);
/// Values that share a scale factor (arXiv 2412.19437 section 3.3.2).
const SCALE_GROUP: u32 = 128;

#[derive(Deserialize)]
pub(super) struct Row {
    layer_idx: u32,
    phase: String,
    gpu_end_us: f64,
    span_us: f64,
}

impl Row {
    /// How the simulation calls the phase, and which pass it belongs to: 0 forward, 1 backward.
    fn phases(&self) -> Result<(&'static [Phase], u32), Skip> {
        Ok(match self.phase.as_str() {
            "attn(F)" => (&[Phase::Attention, Phase::Gate], 0),
            "dispatch(F)" => (&[Phase::Dispatch], 0),
            "mlp(F)" => (&[Phase::SharedExpert, Phase::Experts], 0),
            "combine(F)" => (&[Phase::Combine], 0),
            "combine(B)" => (&[Phase::CombineBackward], 1),
            "mlp(B)" => (&[Phase::FfnBackward], 1),
            "dispatch(B)" => (&[Phase::DispatchBackward], 1),
            "mlp(W)" => (&[Phase::FfnWeights], 1),
            "attn(B)" => (&[Phase::AttentionBackward], 1),
            "attn(W)" => (&[Phase::AttentionWeights], 1),
            other => {
                return Err(Skip::unknown(
                    "phase",
                    other,
                    [
                        "attn(F)",
                        "dispatch(F)",
                        "mlp(F)",
                        "combine(F)",
                        "combine(B)",
                        "mlp(B)",
                        "dispatch(B)",
                        "mlp(W)",
                        "attn(B)",
                        "attn(W)",
                    ],
                ));
            }
        })
    }

    /// When the phase of the row starts and ends.
    fn simulated(&self, context: &Context) -> Result<(Time, Time), Skip> {
        let (phases, pass) = self.phases()?;
        let stage = StageShape { moe_layers: LAYERS, ..StageShape::default() };
        let work = ChunkWork::Overlapped { forward: stage, backward: stage };
        let timeline: Timeline = simulate_chunk(&self.scenario(context)?, work).map_err(Skip::because)?;
        let ours = timeline.spans().filter(|span| {
            let label = span.label;
            phases.contains(&label.phase) && label.micro_batch == pass && label.layer == self.layer_idx
        });
        let ends = ours.map(|span| (span.start, span.end));
        ends.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
            .ok_or_else(|| Skip::because(format!("no layer {} in a stage of {LAYERS}", self.layer_idx)))
    }

    fn scenario(&self, context: &Context) -> Result<Scenario, Skip> {
        let system = context.system(self.system())?;
        let [gpus, per_node] = GPUS;
        let count = |n| Count::new(n).expect("above zero");
        let training = TrainingSpec {
            global_batch: count(gpus),
            sequence: count(TOKENS),
            micro_batch: Count::ONE,
            schedule: ScheduleSpec::OneFOneB,
            recompute: RecomputeSpec::Selective,
            communication_sms: COMMUNICATION_SMS,
            // Two microseconds from kernel to kernel, of which a launch from a graph would take some.
            launch_gap: Duration::from_ns(2000).saturating_sub(system.gpu.kernel_launch),
            mtp: false,
            casts: CastChoice::Separate,
            loss: LossChoice::Unfused,
            beside_exchanges: BesideExchanges::Independent,
            skew: SKEW,
            // Routing was balanced.
            load_spread: Fraction::ZERO,
            optimizer: Default::default(),
            gathered: Dtype::Bf16,
            run_billion_tokens: None,
        };
        let deployed = Deployed {
            model: context.model("DeepSeek-V3")?,
            plan: PlanSpec { ep: count(gpus), ..PlanSpec::default() },
            precision: PrecisionSpec { dispatch_scale_group: Count::new(SCALE_GROUP), ..PrecisionSpec::DEEPSEEK_V3 },
        };
        let shape = [gpus / per_node, per_node];
        let scenario = context.deployment(system, shape, deployed, WorkloadSpec::Training(training))?;
        let libraries = LibrariesSpec { fp8_gemm: Some(Fp8Gemm::Cutlass128x128), ..LibrariesSpec::default() };
        Ok(Scenario { libraries, ..scenario })
    }
}

impl Measured for Row {
    const ID: &'static str = "h800_train_chunk_phases";
    const TITLE: &'static str = "phases of an overlapped training chunk on H800";
    const GROUP_BY: &'static [&'static str] = &["phase"];

    fn system(&self) -> &str {
        "h800_early2025"
    }

    fn key(&self) -> Key {
        vec![("layer", self.layer_idx.to_string()), ("phase", self.phase.clone())]
    }

    fn points(&self, context: &Context) -> Vec<Point> {
        let found = self.simulated(context);
        let span = found.clone().map(|(start, end)| end - start);
        let mut points = vec![Point::micros("span", self.span_us, span)];
        if self.phase == "attn(W)" {
            points.push(Point::micros("pairs so far", self.gpu_end_us, found.map(|(_, end)| end - Time::ZERO)));
        }
        points
    }
}
