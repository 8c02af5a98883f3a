//! Numbers that are the same on every machine: what arithmetic in few bits does to them (formats, the accumulators of matrix units, in
//! exact integer arithmetic on mantissas), and elementary functions. This module must not know how fast any of it is.

mod accumulate;
mod e4m3;
mod elementary;

pub use accumulate::{Accumulator, dot, worst_error};
pub use e4m3::E4M3;
pub use elementary::{logarithm, power, sine_and_cosine};
