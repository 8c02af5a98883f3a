//! The kernels of a training step, block by block: forward, gradient of the input, gradient of the weights.
//!
//! Which passes over memory there are follows a recorded chunk of DeepSeek-V3's training (h800_train_chunk_kernels.csv):
//! operands in FP8 are cast before every product, and transposed for gradients of weights; norms add the residual; the
//! router and its balancing run as dozens of small kernels. Shapes are those of one GPU of a tensor-parallel group, with
//! sequence parallelism: passes over hidden states are divided, too. This module computes no durations.

use super::spec::{CastChoice, LossChoice};
use crate::dtype::Dtype;
use crate::model::{AttentionSpec, GqaSpec, MlaSpec};
use crate::parallelism::RecomputeSpec;
use crate::units::Bytes;
use crate::workload::inference::kernels::Shapes;
use crate::workload::kernel::{Gemm, Kernel, Pass, PrefillAttention, values};

/// Small kernels of the router, forward and backward: scores, groups, top-k, balancing loss (h800_train_chunk_kernels.csv).
const ROUTER_PASSES: [usize; 2] = [38, 26];
/// Values that share one FP32 scale factor (arXiv 2412.19437, section 3.3.2).
const SCALE_GROUP: u64 = 128;

/// The micro-batch and how its tokens meet experts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    /// Sequences.
    pub sequences: u64,
    /// Tokens per sequence.
    pub length: u64,
    /// Groups of GPUs that share each sequence.
    pub cp: u64,
    /// Routed experts on a GPU.
    pub experts: u64,
    /// Rows that they work on.
    pub rows: u64,
    /// Tokens that a GPU receives for them, each once.
    pub received: u64,
}

/// A matrix of weights: outputs and inputs.
type Matrix = (u64, u64);

/// Training kernels in terms of the shapes that all workloads share.
#[derive(Clone, Copy)]
pub(super) struct Training<'a> {
    pub shapes: Shapes<'a>,
    pub load: Load,
    pub recompute: RecomputeSpec,
    pub casts: CastChoice,
    pub loss: LossChoice,
}

impl<'a> Training<'a> {
    /// The same with experts that have `load` times as much to do.
    pub fn with_load(self, load: f64) -> Training<'a> {
        let scaled = |average: u64| (average as f64 * load).ceil() as u64;
        let load = Load { rows: scaled(self.load.rows), received: scaled(self.load.received), ..self.load };
        Training { load, ..self }
    }
}

impl Training<'_> {
    /// Tokens of a tensor-parallel group: its part of each sequence.
    fn tokens(&self) -> u64 {
        self.load.sequences * self.load.length / self.load.cp
    }

    /// Tokens whose hidden states one GPU of a tensor-parallel group holds between products.
    pub fn own_tokens(&self) -> u64 {
        self.tokens() / self.shapes.tp
    }

    fn narrow(&self) -> bool {
        self.shapes.precision.operands.bits() < Dtype::Bf16.bits()
    }

    /// Values in the format of operands, with their scale factors.
    fn operand(&self, rows: u64, columns: u64) -> Bytes {
        let scales = if self.narrow() { values(rows, columns.div_ceil(SCALE_GROUP), Dtype::Fp32) } else { Bytes::ZERO };
        values(rows, columns, self.shapes.precision.operands) + scales
    }

    /// Whether what the backward pass needs is kept in a narrow format.
    fn keeps_narrow(&self) -> bool {
        self.narrow() && self.casts == CastChoice::Separate
    }

    /// Casts to the format of operands and transposes the scale factors; nothing where operands are wide.
    fn cast(&self, rows: u64, columns: u64) -> Vec<Kernel> {
        if !self.narrow() {
            return Vec::new();
        }
        if self.casts == CastChoice::Joint {
            // Both directions at once, tile by tile.
            let tile = self.operand(passes::TILE, passes::TILE);
            return vec![passes::tile_by_tile(rows, columns, tile * 2)];
        }
        let scales = values(rows, columns.div_ceil(SCALE_GROUP), Dtype::Fp32);
        vec![passes::row_by_row(rows, values(1, columns, Dtype::Bf16), self.operand(1, columns)), even(scales)]
    }

    /// Casts and transposes, so that a product can run over tokens.
    fn cast_transposed(&self, rows: u64, columns: u64) -> Vec<Kernel> {
        if !self.keeps_narrow() {
            return Vec::new();
        }
        vec![passes::tile_by_tile(rows, columns, self.operand(passes::TILE, passes::TILE))]
    }

    /// Weights whose products run over outputs are transposed first, where both operands have to lie along the sum.
    fn transposed(&self, (outputs, inputs): Matrix) -> Vec<Kernel> {
        if self.keeps_narrow() { vec![even(self.operand(outputs, inputs))] } else { Vec::new() }
    }

    fn forward(&self, rows: u64, (outputs, inputs): Matrix) -> Vec<Kernel> {
        let mut kernels = self.cast(rows, inputs);
        kernels.push(self.shapes.gemm(rows, outputs, inputs));
        kernels
    }

    /// Gradient of the input: the gradient of the output, cast, meets the transposed weights.
    fn input(&self, rows: u64, (outputs, inputs): Matrix) -> Vec<Kernel> {
        let mut kernels = self.cast(rows, outputs);
        kernels.extend(self.transposed((outputs, inputs)));
        kernels.push(self.shapes.gemm(rows, inputs, outputs));
        kernels
    }

    /// The gradient of `groups` matrices of weights over `rows` tokens together.
    fn weight(&self, groups: u64, rows: u64, matrix: Matrix) -> Kernel {
        gradient(groups, rows, matrix, self.shapes.precision.operands)
    }

    fn norm(&self, rows: u64, columns: u64) -> Kernel {
        passes::norm(rows, values(1, columns, Dtype::Bf16))
    }

    /// Reads the gradient, the input and the residual's gradient, and writes the sum.
    fn norm_backward(&self, rows: u64, columns: u64) -> Kernel {
        passes::norm_backward(rows, values(1, columns, Dtype::Bf16))
    }

    /// A pass over the hidden states: they are scaled, or something is added to them.
    fn over_hidden(&self) -> Kernel {
        even(values(self.own_tokens(), self.shapes.hidden(), Dtype::Bf16))
    }

    /// Heads, heads of keys and values, values of a key and of a value.
    fn heads(&self) -> [u64; 4] {
        match &self.shapes.model.attention {
            AttentionSpec::Mla(mla) => {
                let heads = mla.heads.wide() / self.shapes.tp;
                [heads, heads, mla.qk_head_dim(), mla.v_head_dim.wide()]
            }
            AttentionSpec::Gqa(gqa) => {
                let dim = gqa.head_dim.wide();
                [gqa.heads.wide() / self.shapes.tp, gqa.kv_heads.wide().div_ceil(self.shapes.tp), dim, dim]
            }
        }
    }

    /// Attention over whole sequences; where groups share them, over the first of `2 cp` pieces and over the last, which together have as much to
    /// do as any other two at equal distance from the ends.
    fn attention(&self, pass: Pass) -> Vec<Kernel> {
        let [heads, key_heads, key_dim, value_dim] = self.heads();
        let Load { sequences, length, cp, .. } = self.load;
        let piece = if cp == 1 { length } else { length / (2 * cp) };
        let of_piece = |context| {
            Kernel::PrefillAttention(PrefillAttention {
                requests: sequences,
                queries: piece,
                context,
                heads,
                key_heads,
                key_dim,
                value_dim,
                latent: false,
                operands: Dtype::Bf16,
                pass,
            })
        };
        if cp == 1 { vec![of_piece(0)] } else { vec![of_piece(0), of_piece(length - piece)] }
    }

    /// Keys and values, or their gradients, of the tokens of a GPU.
    pub fn keys_and_values(&self) -> Bytes {
        let [_, key_heads, key_dim, value_dim] = self.heads();
        values(self.tokens(), key_heads * (key_dim + value_dim), Dtype::Bf16)
    }

    /// Norm and projections, after which there are keys and values; attention and output projection.
    pub fn attention_forward(&self) -> [Vec<Kernel>; 2] {
        let (tokens, hidden) = (self.tokens(), self.shapes.hidden());
        let mut kernels = vec![self.norm(self.own_tokens(), hidden)];
        let output = match &self.shapes.model.attention {
            AttentionSpec::Mla(mla) => {
                let sizes = MlaSizes::new(mla, self.shapes.tp, hidden);
                for down in sizes.down() {
                    kernels.extend(self.forward(tokens, down));
                }
                kernels.extend(self.expand(&sizes));
                sizes.output
            }
            AttentionSpec::Gqa(gqa) => {
                let (joint, output) = self.gqa_sizes(gqa);
                kernels.extend(self.forward(tokens, joint));
                kernels.push(even(values(tokens, joint.0, Dtype::Bf16)));
                output
            }
        };
        let mut rest = self.attention(Pass::Forward);
        // Kept for the backward pass in a narrower format (arXiv 2412.19437, section 3.3.3).
        if self.keeps_narrow() {
            rest.push(even(values(tokens, output.1, Dtype::Bf16)));
        }
        rest.extend(self.forward(tokens, output));
        // The block's output is scaled before it joins the residual stream.
        rest.push(self.over_hidden());
        [kernels, rest]
    }

    /// From the latents of MLA to queries, keys and values: norms, up-projections, rotary positions, copies into place.
    fn expand(&self, sizes: &MlaSizes) -> Vec<Kernel> {
        let tokens = self.tokens();
        let mut kernels = Vec::new();
        for up in sizes.up() {
            kernels.push(self.norm(tokens, up.1));
            kernels.extend(self.forward(tokens, up));
        }
        let row = |columns| values(tokens, columns, Dtype::Bf16);
        kernels.push(Kernel::Elementwise { read: row(sizes.keys_plain), written: row(sizes.keys) });
        kernels.push(even(row(sizes.values)));
        kernels.push(even(row(sizes.queries)));
        kernels
    }

    /// Gradients of the attention block's input, with what is computed again and what gradients of weights will need: until keys and values are
    /// there again, until there are gradients of them, and the rest.
    pub fn attention_input(&self) -> [Vec<Kernel>; 3] {
        let (tokens, hidden) = (self.tokens(), self.shapes.hidden());
        let row = |columns| values(tokens, columns, Dtype::Bf16);
        let mut kernels = vec![self.over_hidden(), self.norm_backward(self.own_tokens(), hidden), self.over_hidden()];
        let (projections, expanded) = match &self.shapes.model.attention {
            AttentionSpec::Mla(mla) => {
                let sizes = MlaSizes::new(mla, self.shapes.tp, hidden);
                (sizes.all(), Some(sizes))
            }
            AttentionSpec::Gqa(gqa) => {
                let (joint, output) = self.gqa_sizes(gqa);
                (vec![joint, output], None)
            }
        };
        let output = projections[projections.len() - 1];
        if self.keeps_narrow() {
            kernels.push(even(row(output.1)));
        }
        kernels.extend(self.input(tokens, output));
        if self.recompute == RecomputeSpec::Selective {
            kernels.extend(expanded.iter().flat_map(|sizes| self.expand(sizes)));
        }
        let gradients = self.attention_backward(output.1);
        let mut rest = Vec::new();
        for &projection in projections[..projections.len() - 1].iter().rev() {
            rest.extend(self.input(tokens, projection));
        }
        if let Some(sizes) = &expanded {
            // Rotary positions backward, and gradients of keys and values taken apart.
            rest.extend([sizes.queries, sizes.values, sizes.keys_plain].map(|columns| even(row(columns))));
            rest.extend([sizes.query_latent, sizes.latent].map(|columns| self.norm_backward(tokens, columns)));
        }
        for (outputs, inputs) in projections {
            rest.extend(self.cast_transposed(tokens, outputs));
            rest.extend(self.cast_transposed(tokens, inputs));
        }
        if self.recompute == RecomputeSpec::Selective {
            rest.push(self.norm(self.own_tokens(), hidden));
        }
        rest.extend([self.over_hidden(), self.norm_backward(self.own_tokens(), hidden)]);
        [kernels, gradients, rest]
    }

    /// The attention kernel's gradient between the passes that prepare its sums in FP32 and round them.
    fn attention_backward(&self, output: u64) -> Vec<Kernel> {
        let [heads, _, key_dim, _] = self.heads();
        let rows = self.tokens();
        let queries = |dtype| values(rows, heads * key_dim, dtype);
        let prepare =
            Kernel::Elementwise { read: values(2 * rows, output, Dtype::Bf16), written: queries(Dtype::Fp32) };
        let round = Kernel::Elementwise { read: queries(Dtype::Fp32), written: queries(Dtype::Bf16) };
        let mut kernels = vec![prepare];
        kernels.extend(self.attention(Pass::Backward));
        kernels.push(round);
        kernels
    }

    /// Gradients of the attention block's weights.
    pub fn attention_weights(&self) -> Vec<Kernel> {
        let projections = match &self.shapes.model.attention {
            AttentionSpec::Mla(mla) => MlaSizes::new(mla, self.shapes.tp, self.shapes.hidden()).all(),
            AttentionSpec::Gqa(gqa) => {
                let (joint, output) = self.gqa_sizes(gqa);
                vec![joint, output]
            }
        };
        projections.into_iter().map(|projection| self.weight(1, self.tokens(), projection)).collect()
    }

    fn gqa_sizes(&self, gqa: &GqaSpec) -> (Matrix, Matrix) {
        let (hidden, tp, dim) = (self.shapes.hidden(), self.shapes.tp, gqa.head_dim.wide());
        let heads = gqa.heads.wide() / tp;
        let kv_heads = gqa.kv_heads.wide().div_ceil(tp);
        (((heads + 2 * kv_heads) * dim, hidden), (hidden, heads * dim))
    }

    /// Norm, router, and what it takes to pick experts and pack tokens for them.
    pub fn gate_forward(&self) -> Vec<Kernel> {
        let (tokens, hidden, experts) = (self.own_tokens(), self.shapes.hidden(), self.routed());
        let mut kernels = vec![self.norm(tokens, hidden), self.wide_gemm(tokens, experts, hidden)];
        kernels.extend(vec![even(values(tokens, experts, Dtype::Fp32)); ROUTER_PASSES[0]]);
        // The best groups, then the best experts.
        kernels.extend(vec![passes::top_k(tokens, values(1, experts, Dtype::Fp32)); 2]);
        kernels.extend(self.cast_transposed(tokens, hidden));
        kernels
    }

    /// Gradients of router and norm.
    pub fn gate_backward(&self) -> Vec<Kernel> {
        let (tokens, hidden, experts) = (self.own_tokens(), self.shapes.hidden(), self.routed());
        let mut kernels = vec![even(values(tokens, experts, Dtype::Fp32)); ROUTER_PASSES[1]];
        kernels.push(self.wide_gemm(tokens, hidden, experts));
        kernels.push(self.wide_weight(tokens, (experts, hidden)));
        kernels
    }

    fn routed(&self) -> u64 {
        self.shapes.model.moe.as_ref().map_or(0, |moe| moe.routed_experts.wide())
    }

    /// A product that stays in BF16 (arXiv 2412.19437, section 3.3.1: gate, embedding, head).
    fn wide_gemm(&self, rows: u64, n: u64, k: u64) -> Kernel {
        Kernel::Gemm(Gemm { groups: 1, rows, n, k, operands: Dtype::Bf16, weights: self.shapes.precision.embedding })
    }

    fn wide_weight(&self, tokens: u64, matrix: Matrix) -> Kernel {
        gradient(1, tokens, matrix, Dtype::Bf16)
    }
}

mod ends;
mod ffn;
mod passes;

/// The gradient of weights: outputs by inputs, summed over tokens.
fn gradient(groups: u64, tokens: u64, (outputs, inputs): Matrix, operands: Dtype) -> Kernel {
    let (rows, k) = (groups * outputs, tokens.div_ceil(groups));
    Kernel::WeightGradient(Gemm { groups, rows, n: inputs, k, operands, weights: operands })
}

/// Reads and writes as much.
fn even(bytes: Bytes) -> Kernel {
    Kernel::Elementwise { read: bytes, written: bytes }
}

/// The matrices and widths of MLA on one GPU of a tensor-parallel group.
struct MlaSizes {
    query_down: Option<Matrix>,
    query_up: Matrix,
    latent_down: Matrix,
    latent_up: Matrix,
    output: Matrix,
    query_latent: u64,
    latent: u64,
    queries: u64,
    keys: u64,
    keys_plain: u64,
    values: u64,
}

impl MlaSizes {
    fn new(mla: &MlaSpec, tp: u64, hidden: u64) -> MlaSizes {
        let heads = mla.heads.wide() / tp;
        let (plain, value) = (mla.qk_nope_head_dim.wide(), mla.v_head_dim.wide());
        let latent = mla.kv_lora_rank.wide();
        let queries = heads * mla.qk_head_dim();
        MlaSizes {
            query_down: mla.q_lora_rank.map(|rank| (rank.wide(), hidden)),
            query_up: (queries, mla.q_lora_rank.map_or(hidden, |rank| rank.wide())),
            latent_down: (latent + mla.qk_rope_head_dim.wide(), hidden),
            latent_up: (heads * (plain + value), latent),
            output: (hidden, heads * value),
            query_latent: mla.q_lora_rank.map_or(0, |rank| rank.wide()),
            latent,
            queries,
            keys: queries,
            keys_plain: heads * plain,
            values: heads * value,
        }
    }

    fn down(&self) -> impl Iterator<Item = Matrix> {
        self.query_down.into_iter().chain([self.latent_down])
    }

    fn up(&self) -> [Matrix; 2] {
        [self.query_up, self.latent_up]
    }

    /// All matrices, the output projection last.
    fn all(&self) -> Vec<Matrix> {
        self.down().chain(self.up()).chain([self.output]).collect()
    }
}
