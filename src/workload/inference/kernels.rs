//! The kernels of one transformer layer, as inference engines launch them.
//!
//! `tokens` counts positions that pass through the layer; shapes are those of one GPU of a tensor-parallel group of `tp`.

mod attention;
mod passes;

use crate::dtype::Dtype;
use crate::model::{ModelSpec, MoeSpec, PrecisionSpec};
use crate::units::Bytes;
use crate::workload::kernel::{Gemm, GroupedGemm, Kernel, RowLayout, values};

/// Shapes that all kernels of a deployment share.
#[derive(Clone, Copy)]
pub(in crate::workload) struct Shapes<'a> {
    pub(in crate::workload) model: &'a ModelSpec,
    pub(in crate::workload) precision: &'a PrecisionSpec,
    pub(in crate::workload) tp: u64,
}

impl Shapes<'_> {
    pub(in crate::workload) fn hidden(&self) -> u64 {
        self.model.hidden.wide()
    }

    pub(in crate::workload) fn gemm(&self, rows: u64, n: u64, k: u64) -> Kernel {
        let PrecisionSpec { operands, weights, .. } = *self.precision;
        Kernel::Gemm(Gemm { groups: 1, rows, n, k, operands, weights })
    }

    /// A product per head, with the up-projections that absorbed MLA folds into queries and outputs.
    fn per_head(&self, heads: u64, tokens: u64, n: u64, k: u64) -> Kernel {
        let PrecisionSpec { operands, weights, .. } = *self.precision;
        Kernel::Gemm(Gemm { groups: heads, rows: heads * tokens, n, k, operands, weights })
    }

    /// Reads and writes `tokens` rows of `columns` BF16 values.
    pub(in crate::workload) fn pass(tokens: u64, columns: u64) -> Kernel {
        let bytes = values(tokens, columns, Dtype::Bf16);
        Kernel::Elementwise { read: bytes, written: bytes }
    }

    /// A SwiGLU network of `width`, shared by the tensor-parallel group, with its norm.
    pub(super) fn dense_ffn(&self, tokens: u64, width: u64) -> Vec<Kernel> {
        let mut kernels = vec![self.norm(tokens)];
        kernels.extend(self.swiglu(1, tokens, width / self.tp, self.precision.weights));
        kernels
    }

    /// SwiGLU experts that every token visits, whole on each GPU.
    pub(super) fn shared_experts(&self, tokens: u64, width: u64) -> Vec<Kernel> {
        self.swiglu(1, tokens, width, self.precision.experts)
    }

    /// SwiGLU experts of which each works on its entry of `rows`.
    pub(super) fn experts(&self, layout: RowLayout, rows: &[u64], width: u64) -> Vec<Kernel> {
        let (operands, weights) = (self.precision.operands, self.precision.experts);
        let all: u64 = rows.iter().sum();
        let product = |n: u64, k: u64| {
            Kernel::GroupedGemm(GroupedGemm { weights, ..GroupedGemm::new(layout, rows, n, k, operands) })
        };
        let gate_up = values(all, 2 * width, Dtype::Bf16);
        vec![
            product(2 * width, self.hidden()),
            Kernel::Elementwise { read: gate_up, written: values(all, width, operands) },
            product(self.hidden(), width),
        ]
    }

    pub(in crate::workload) fn swiglu(&self, groups: u64, rows: u64, width: u64, weights: Dtype) -> Vec<Kernel> {
        let operands = self.precision.operands;
        let gate_up = values(rows, 2 * width, Dtype::Bf16);
        vec![
            Kernel::Gemm(Gemm { groups, rows, n: 2 * width, k: self.hidden(), operands, weights }),
            Kernel::Elementwise { read: gate_up, written: values(rows, width, operands) },
            Kernel::Gemm(Gemm { groups, rows, n: self.hidden(), k: width, operands, weights }),
        ]
    }

    /// Norm and router of a mixture-of-experts layer.
    pub(super) fn gate(&self, tokens: u64, moe: &MoeSpec) -> Vec<Kernel> {
        let (operands, weights) = (Dtype::Bf16, self.precision.embedding);
        let n = moe.routed_experts.wide();
        let router = Kernel::Gemm(Gemm { groups: 1, rows: tokens, n, k: self.hidden(), operands, weights });
        vec![self.norm_for_experts(tokens), router, Self::top_k(tokens, moe)]
    }

    /// Adds up the copies that came back and what the shared experts yield.
    pub(super) fn sum_copies(&self, tokens: u64, copies: u64) -> Kernel {
        let row = |n| values(tokens * n, self.hidden(), Dtype::Bf16);
        Kernel::Elementwise { read: row(copies + 1), written: row(1) }
    }

    /// Looks up the rows of the embedding.
    pub(in crate::workload) fn embedding(&self, tokens: u64) -> Kernel {
        Self::pass(tokens, self.hidden())
    }

    /// Norm, output head and sampling, shared by the tensor-parallel group.
    pub(super) fn head(&self, tokens: u64) -> Vec<Kernel> {
        let vocab = self.model.vocab.wide().div_ceil(self.tp);
        let (operands, weights) = (Dtype::Bf16, self.precision.embedding);
        let logits = values(tokens, vocab, Dtype::Bf16);
        vec![
            Self::pass(tokens, self.hidden()),
            Kernel::Gemm(Gemm { groups: 1, rows: tokens, n: vocab, k: self.hidden(), operands, weights }),
            Kernel::Elementwise { read: logits, written: Bytes::new(tokens * 4) },
        ]
    }

    /// Joins the hidden state with the embedding of the drafted token (arXiv 2412.19437, section 2.2).
    pub(super) fn mtp_projection(&self, tokens: u64) -> Kernel {
        self.gemm(tokens, self.hidden(), 2 * self.hidden())
    }
}
