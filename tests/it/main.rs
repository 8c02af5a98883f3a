//! One binary for all integration tests.

// A test that cannot go on says so by panicking.
#![allow(clippy::unwrap_used)]

mod attention;
mod check;
mod cli;
mod comfort;
mod communication;
mod congestion;
mod deadlock;
mod decode;
mod fit;
mod flow;
mod footprint;
mod golden;
mod growth;
mod healing;
mod kernels;
mod library;
mod oracle;
mod packet;
mod permutation;
mod pictures;
mod policies;
mod ports;
mod recording;
mod results;
mod routing;
mod search;
mod sensitivity;
mod serving;
mod serving_engine;
mod streams;
mod sweep;
mod symmetry;
mod texts;
mod tidy;
mod training;
mod training_symmetry;
mod tuner;
mod validate;
