//! Octoplane: a discrete-event simulator of GPU clusters that train and serve large language models.

pub mod dtype;
pub mod id;
pub mod invalid;
pub mod rng;
pub mod units;
