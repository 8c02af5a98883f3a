//! What passes through the model together.

use super::Contexts;

/// The batch of one micro-batch on one tensor-parallel group: requests that decode, prompts, or both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Batch {
    /// Requests that get their next tokens.
    pub decoding: Decoding,
    /// Prompts, or chunks of them.
    pub prompts: Prompts,
}

/// Requests that decode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decoding {
    /// Requests.
    pub requests: u64,
    /// Positions per request that pass through the model: one, or more when drafted tokens are verified.
    pub queries: u64,
    /// Cached positions of each.
    pub contexts: Contexts,
}

/// Prompts that are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prompts {
    /// Prompts.
    pub requests: u64,
    /// Positions of each that pass through the model.
    pub tokens: u64,
    /// Positions of each in front of them, found in the cache.
    pub cached: u64,
}

impl Batch {
    /// Requests that decode, and nothing else.
    pub fn decoding(requests: u64, queries: u64, contexts: Contexts) -> Batch {
        Batch { decoding: Decoding { requests, queries, contexts }, prompts: Prompts::default() }
    }

    /// Prompts, and nothing else.
    pub fn prompts(requests: u64, tokens: u64, cached: u64) -> Batch {
        Batch { decoding: Decoding::default(), prompts: Prompts { requests, tokens, cached } }
    }

    /// Positions that pass through the model.
    pub fn tokens(&self) -> u64 {
        self.decoding.requests * self.decoding.queries + self.prompts.requests * self.prompts.tokens
    }

    /// Positions whose next token is sampled: all that decode, the last of each prompt.
    pub fn sampled(&self) -> u64 {
        self.decoding.requests * self.decoding.queries + self.prompts.requests
    }

    /// The same with one position for each of which a token is drafted.
    pub fn drafting(&self) -> Batch {
        Batch { decoding: Decoding { queries: 1, ..self.decoding }, prompts: self.prompts }
    }
}
