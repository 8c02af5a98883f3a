//! One experiment from scenario to answer.

pub use crate::experiment::{
    Estimate, Forecast, Known, Observer, Progress, READ_BY, facts, forecast, simulate, simulate_among, simulate_watched,
};
pub(crate) use crate::experiment::{gpu_kernels, simulate_chunk};
