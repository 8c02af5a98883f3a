//! Octoplane: a discrete-event simulator of GPU clusters that train and serve large language models.

pub mod check;
pub mod dtype;
pub mod engine;
pub mod experiment;
pub mod fingerprint;
pub mod fit;
pub mod gpu;
pub mod hardware;
pub mod id;
pub mod invalid;
pub mod metrics;
pub mod model;
pub mod network;
pub mod numerics;
pub mod parallelism;
pub mod report;
pub mod reproduce;
pub mod retiring;
pub mod rng;
pub mod routing;
pub mod run;
pub mod scenario;
pub mod search;
pub mod sources;
pub mod store;
pub mod sweep;
pub mod timeline;
pub mod topology;
pub mod units;
pub mod validate;
pub mod workload;

/// A name for the sources that this program was built from: two programs with one name give the same answers.
pub const SOURCES: &str = env!("OCTOPLANE_SOURCES");
