//! Octoplane: a discrete-event simulator of GPU clusters that train and serve large language models.

pub mod dtype;
pub mod hardware;
pub mod id;
pub mod invalid;
pub mod model;
pub mod parallelism;
pub mod rng;
pub mod sources;
pub mod topology;
pub mod units;
