//! Kernels as thread blocks on SMs.

mod attention;

pub use attention::Attention;
