//! A list of published figures as its file describes it.

use super::printed::Printed;
use crate::report::figures::Status;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The figures of one publication.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PaperSpec {
    /// The publication.
    pub name: String,
    /// Its figures.
    pub figure: Vec<FigureSpec>,
    /// Families of scenarios whose assumptions are removed one by one.
    #[serde(default)]
    pub assumptions: Vec<GroupSpec>,
    /// What hardware it asks for.
    #[serde(default)]
    pub wish: Vec<WishSpec>,
    /// Sets of settings, by name: a figure that hangs on inputs that the publication does not state is worked out under each.
    #[serde(default)]
    pub settings: BTreeMap<String, Vec<SettingSpec>>,
}

/// One setting of inputs that the publication does not state.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SettingSpec {
    /// What it is.
    pub setting: String,
    /// Overlays on every run of the figure, as `--set` takes them.
    #[serde(default)]
    pub set: Vec<String>,
    /// How the figure is worked out instead, where overlays do not say it.
    pub from: Option<From>,
}

/// One published figure.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FigureSpec {
    /// Stable name.
    pub id: String,
    /// Where it is printed.
    pub source: String,
    /// What it is.
    pub quantity: String,
    /// What the number that ends its name counts, where figures are points of a curve: "GPUs".
    #[serde(default)]
    pub along: String,
    /// Unit of the printed value, where it is not that of what is worked out. Another unit for the same (`"us"` for `"ms"`) is
    /// converted, any other is refused.
    pub unit: Option<String>,
    /// The printed value, with the digits that are printed: "43.05".
    pub printed: Printed,
    /// How far from the truth the printed value may be, in its unit, where its digits do not show it ("about 1200", a range, a reading
    /// of a plot); half a unit of the last digit without it.
    pub precision: Option<f64>,
    /// Largest relative deviation that is claimed: of `calibrated` figures, and of `open` ones, which are outside the printed
    /// precision.
    pub tolerance: Option<f64>,
    /// What is claimed.
    pub status: Status,
    /// What a reader must know: the convention, the inferred input, or why the figure is open.
    #[serde(default)]
    pub note: String,
    /// How it is worked out.
    pub from: From,
    /// Settings of inputs that the publication does not state, by name; the least and the greatest value under any of them, and under
    /// `from` itself, are printed beside the figure.
    pub band: Option<String>,
}

/// How a figure is worked out. Paths of files start at the repository's root.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum From {
    /// A metric of a run.
    Run(RunMetric),
    /// One metric of a run over another.
    Ratio {
        /// What is divided.
        of: RunMetric,
        /// By what.
        over: RunMetric,
    },
    /// A metric of a run plus what the publication prints for the rest.
    Plus {
        /// The metric.
        of: RunMetric,
        /// The rest, in the figure's unit.
        and: f64,
    },
    /// A property of a model.
    Model {
        /// The model's file.
        file: String,
        /// Which property.
        quantity: ModelQuantity,
    },
    /// A property of a fabric.
    Topology {
        /// The topology's file.
        file: String,
        /// Which property.
        quantity: TopologyQuantity,
    },
    /// The largest error of FP8 dot products of normally distributed numbers over the root mean square of the results.
    Accumulation {
        /// Products of each.
        k: u32,
        /// How many dot products, of rows and columns of their own.
        rows: u32,
        /// Seeds, from 1 on, of which the mean is taken and the range printed.
        seeds: u32,
        /// Mantissa bits of the register that sums them up.
        mantissa_bits: u32,
        /// Products after which the register is added to an FP32 sum; without it, never.
        promotion: Option<u32>,
    },
    /// GPU hours, in thousands, from tokens and hours per trillion tokens.
    GpuHours {
        /// Tokens, in trillions.
        trillion_tokens: f64,
        /// Thousands of GPU hours per trillion tokens.
        thousand_hours_per_trillion: f64,
    },
    /// Thousands of dollars for nodes during a day, at the rent of a GPU's file.
    NodeDays(NodeDays),
    /// A mean over stretches of time.
    CurveMean {
        /// How long each stretch lasts.
        hours: Vec<f64>,
        /// The value in each.
        values: Vec<f64>,
    },
    /// Thousands of dollars for tokens.
    TokenRevenue(TokenRevenue),
    /// Per cent by which revenue exceeds the cost of the nodes that earn it during a day.
    Margin {
        /// What is sold.
        earned: TokenRevenue,
        /// What earns it.
        spent: NodeDays,
    },
    /// Millions of dollars for thousands of GPU hours, at the rent of a GPU's file.
    Rent {
        /// The GPU's file.
        gpu: String,
        /// Thousands of GPU hours; several are added up.
        thousand_hours: Vec<f64>,
    },
}

/// Nodes during a day.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeDays {
    /// The GPU's file.
    pub gpu: String,
    /// GPUs of a node.
    pub gpus_per_node: f64,
    /// Nodes.
    pub nodes: f64,
}

/// Tokens that are sold.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRevenue {
    /// Tokens of each kind, in billions.
    pub billions: Vec<f64>,
    /// Price of each kind, in dollars per million.
    pub usd_per_million: Vec<f64>,
}

/// A metric of a run.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunMetric {
    /// The scenario's file.
    pub scenario: String,
    /// Name of the metric, as `octoplane run --json` prints it.
    pub metric: String,
    /// Overlays, as `--set` takes them.
    #[serde(default)]
    pub set: Vec<String>,
    /// Runs, with seeds from 1 on, of which the mean is taken and the range printed; without it, the scenario's own seed alone.
    pub seeds: Option<u32>,
}

/// A property of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelQuantity {
    /// Kilobytes (1000 bytes) of BF16 key-value cache per token.
    KvKilobytesPerToken,
    /// The same, over that of DeepSeek-V3.
    KvAgainstDeepseekV3,
    /// Billions of parameters.
    TotalBillions,
    /// Billions of parameters that multiply a token: with the head, without the embedding.
    ActiveBillions,
    /// Training GFLOP per token at 4096: multiplied weights with head, without embedding and gate; causal attention.
    TrainingCausal,
    /// The same with the whole attention matrix.
    TrainingFull,
    /// The same without attention.
    TrainingWithoutAttention,
    /// Training GFLOP per token as `6 (12 L d^2 + V d)`.
    TrainingGeneric,
}

/// A property of a fabric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TopologyQuantity {
    /// Endpoints.
    Endpoints,
    /// Switches.
    Switches,
    /// Cables between switches.
    Links,
    /// Capital cost in millions of dollars.
    CostMillions,
    /// Capital cost per endpoint in thousands of dollars.
    CostPerEndpointThousands,
}

/// Hardware that the publication asks for without saying what it would bring.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WishSpec {
    /// Stable name.
    pub id: String,
    /// Where it is asked for.
    pub source: String,
    /// What is asked for.
    pub wish: String,
    /// What would change.
    pub quantity: String,
    /// Unit in which it is printed, where it is not that of what is worked out; converted or refused.
    pub unit: Option<String>,
    /// How it is worked out for today's hardware.
    pub today: From,
    /// How it is worked out once the wish is granted.
    pub granted: From,
    /// Settings, by name, that software is free to choose: each side is worked out under all of them, and its best one is compared.
    pub best_of: Option<String>,
    /// What a reader must know.
    #[serde(default)]
    pub note: String,
}

/// A family of scenarios whose assumptions are removed one by one.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupSpec {
    /// Name of the family.
    pub name: String,
    /// The scenario with all assumptions.
    pub ideal: String,
    /// The scenarios without one of them, or without all.
    pub without: Vec<AssumptionSpec>,
    /// A scenario whose weights, read once by each GPU at the whole bandwidth of its memory, are a floor under every one of them.
    pub floor: Option<String>,
}

/// A scenario without one assumption.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AssumptionSpec {
    /// The assumption.
    pub assumption: String,
    /// The scenario's file.
    pub scenario: String,
    /// Overlays, as `--set` takes them.
    #[serde(default)]
    pub set: Vec<String>,
}
