//! The two ends of the model: embedding, head with its loss, and the projection in front of a multi-token-prediction module.
//!
//! Loss and embedding run as PyTorch's own kernels do, as the recorded router does (h800_train_chunk_kernels.csv), unless the loss is
//! fused. Which passes over memory these make follows from what they compute: a row of logits is longer than a block of threads can keep,
//! so that every use of it is a pass.

use super::super::spec::LossChoice;
use super::{Kernel, Matrix, Training, even};
use crate::dtype::Dtype;
use crate::units::Bytes;
use crate::workload::kernel::values;

impl Training<'_> {
    /// Norm, head, softmax and loss.
    pub fn head_forward(&self) -> Vec<Kernel> {
        let (hidden, vocab) = (self.shapes.hidden(), self.vocab());
        let mut kernels = vec![self.norm(self.own_tokens(), hidden), self.wide_gemm(self.tokens(), vocab, hidden)];
        kernels.extend(self.loss_forward());
        kernels
    }

    fn logits(&self, dtype: Dtype) -> Bytes {
        values(self.tokens(), self.vocab(), dtype)
    }

    /// Unfused: to FP32; the logarithm of the softmax, which reads a row for its maximum, for its sum and for what it writes. Then one value of
    /// each row is the loss.
    ///
    /// Fused: maximum and sum at once; then the gradient takes the place of the logits.
    fn loss_forward(&self) -> Vec<Kernel> {
        let (wide, narrow) = (self.logits(Dtype::Fp32), self.logits(Dtype::Bf16));
        match self.loss {
            LossChoice::Unfused => vec![
                Kernel::Elementwise { read: narrow, written: wide },
                Kernel::Elementwise { read: wide * 3, written: wide },
                Kernel::Elementwise { read: values(2 * self.tokens(), 1, Dtype::Fp32), written: Bytes::ZERO },
            ],
            LossChoice::Fused => vec![Kernel::Elementwise { read: narrow, written: Bytes::ZERO }, even(narrow)],
        }
    }

    /// Unfused: a gradient that is zero but for one value of each row; that of the softmax, which reads the gradient for its sum, and then it and
    /// the result; to BF16.
    ///
    /// Fused: the gradient is there, and is scaled.
    fn loss_backward(&self) -> Vec<Kernel> {
        let (wide, narrow) = (self.logits(Dtype::Fp32), self.logits(Dtype::Bf16));
        match self.loss {
            LossChoice::Unfused => vec![
                Kernel::Elementwise { read: Bytes::ZERO, written: wide },
                Kernel::Elementwise { read: wide * 3, written: wide },
                Kernel::Elementwise { read: wide, written: narrow },
            ],
            LossChoice::Fused => vec![even(narrow)],
        }
    }

    /// Gradients of loss, head input and norm.
    pub fn head_input(&self) -> Vec<Kernel> {
        let (hidden, vocab) = (self.shapes.hidden(), self.vocab());
        let mut kernels = self.loss_backward();
        kernels.extend([self.wide_gemm(self.tokens(), hidden, vocab), self.norm_backward(self.own_tokens(), hidden)]);
        kernels
    }

    /// Gradient of the head.
    pub fn head_weights(&self) -> Vec<Kernel> {
        vec![self.wide_weight(self.tokens(), (self.vocab(), self.shapes.hidden()))]
    }

    fn vocab(&self) -> u64 {
        self.shapes.model.vocab.wide().div_ceil(self.shapes.tp)
    }

    /// Looks up the rows of the embedding.
    pub fn embedding_forward(&self) -> Vec<Kernel> {
        vec![self.shapes.embedding(self.own_tokens())]
    }

    /// The gradient of the whole table, which is zero but for the rows that were looked up, is made anew for every micro-batch and added to the
    /// sum of all in FP32: no product does that on its way, as it does for other weights.
    pub fn embedding_weights(&self) -> Vec<Kernel> {
        let table = |dtype| values(self.vocab(), self.shapes.hidden(), dtype);
        let rows = values(self.own_tokens(), self.shapes.hidden(), Dtype::Bf16);
        vec![
            Kernel::Elementwise { read: Bytes::ZERO, written: table(Dtype::Bf16) },
            even(rows),
            Kernel::Elementwise { read: table(Dtype::Bf16) + table(Dtype::Fp32), written: table(Dtype::Fp32) },
        ]
    }

    fn projection(&self) -> Matrix {
        (self.shapes.hidden(), 2 * self.shapes.hidden())
    }

    /// The next token's embedding, norms of it and of the hidden state, both side by side, and their projection (arXiv 2412.19437, section 2.2).
    pub fn projection_forward(&self) -> Vec<Kernel> {
        let (tokens, hidden) = (self.own_tokens(), self.shapes.hidden());
        let mut kernels = self.embedding_forward();
        kernels.extend([self.norm(tokens, hidden); 2]);
        kernels.push(even(values(tokens, 2 * hidden, Dtype::Bf16)));
        kernels.extend(self.forward(tokens, self.projection()));
        kernels
    }

    /// Gradients of both.
    pub fn projection_input(&self) -> Vec<Kernel> {
        let (tokens, hidden) = (self.own_tokens(), self.shapes.hidden());
        let mut kernels = self.input(tokens, self.projection());
        kernels.extend([self.norm_backward(tokens, hidden); 2]);
        kernels
    }

    /// Gradients of the projection and of the embedding.
    pub fn projection_weights(&self) -> Vec<Kernel> {
        let (outputs, inputs) = self.projection();
        let mut kernels = self.cast_transposed(self.own_tokens(), outputs);
        kernels.extend(self.cast_transposed(self.own_tokens(), inputs));
        kernels.push(self.weight(1, self.own_tokens(), (outputs, inputs)));
        kernels.extend(self.embedding_weights());
        kernels
    }
}
