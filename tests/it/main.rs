//! One binary for all integration tests.

// A test that cannot go on says so by panicking.
#![allow(clippy::unwrap_used)]

mod check;
mod cli;
mod comfort;
mod communication;
mod decode;
mod golden;
mod library;
mod oracle;
mod sweep;
mod tidy;
mod validate;
