//! Passes over memory between products: norms, casts, copies. Engines fuse what touches the same values, so that each
//! kernel here stands for one that is common: a norm takes the residual sum with it and yields operands for the next product.

use super::Shapes;
use crate::dtype::Dtype;
use crate::model::MoeSpec;
use crate::units::Bytes;
use crate::workload::kernel::{Kernel, values};

/// Bytes of an expert's index and of its weight, as the router hands them out.
const CHOICE: u64 = 8;

impl Shapes<'_> {
    /// Values as operands of products.
    pub(super) fn operand(&self, rows: u64, columns: u64) -> Bytes {
        values(rows, columns, self.precision.operands)
    }

    /// Adds what the last block yielded to the residual stream, and norms it for the next product.
    pub(super) fn norm(&self, tokens: u64) -> Kernel {
        let row = values(tokens, self.hidden(), Dtype::Bf16);
        Kernel::Elementwise { read: row * 2, written: row + self.operand(tokens, self.hidden()) }
    }

    /// The same in front of a router, which takes BF16 whatever the experts take.
    pub(super) fn norm_for_experts(&self, tokens: u64) -> Kernel {
        let row = values(tokens, self.hidden(), Dtype::Bf16);
        let cast = if self.casts() { self.operand(tokens, self.hidden()) } else { Bytes::ZERO };
        Kernel::Elementwise { read: row * 2, written: row * 2 + cast }
    }

    /// Whether products take operands that are narrower than BF16, in which the rest is computed.
    pub(super) fn casts(&self) -> bool {
        self.precision.operands != Dtype::Bf16
    }

    /// Casts BF16 values for a product; nothing where it takes BF16.
    pub(super) fn cast(&self, rows: u64, columns: u64) -> Option<Kernel> {
        let cast =
            Kernel::Elementwise { read: values(rows, columns, Dtype::Bf16), written: self.operand(rows, columns) };
        self.casts().then_some(cast)
    }

    /// Chooses the experts of each token.
    pub(super) fn top_k(tokens: u64, moe: &MoeSpec) -> Kernel {
        let scores = values(tokens, moe.routed_experts.wide(), Dtype::Fp32);
        Kernel::Elementwise { read: scores, written: Bytes::new(tokens * moe.experts_per_token.wide() * CHOICE) }
    }

    /// Copies received tokens for each expert that they visit, so that the rows of an expert lie together.
    pub(in crate::workload::inference) fn copy_for_experts(&self, received: u64, rows: u64) -> Kernel {
        let hidden = self.hidden();
        Kernel::Elementwise { read: self.operand(received, hidden), written: self.operand(rows, hidden) }
    }

    /// Sums up what the experts of a GPU yield for each token that they received.
    pub(in crate::workload) fn sum_of_experts(&self, rows: u64, received: u64) -> Kernel {
        let row = |rows| values(rows, self.hidden(), Dtype::Bf16);
        Kernel::Elementwise { read: row(rows), written: row(received) }
    }
}
