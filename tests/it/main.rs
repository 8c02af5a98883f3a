//! One binary for all integration tests.

mod cli;
mod decode;
mod golden;
mod library;
mod oracle;
mod tidy;
