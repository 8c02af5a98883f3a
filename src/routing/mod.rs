//! Which way data goes: shortest paths as sets of next hops, and the policy that picks one of them.
//!
//! A policy sees next hops, never shapes. This module must not know what is sent or when.

mod routes;

pub use routes::{Path, Routes};
