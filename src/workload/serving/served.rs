//! What happened to all requests of a run, in columns.

use crate::units::{Duration, Time};

/// What happened to all requests.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Served {
    /// From arrival to the first token. Where another pool computes prompts, a decoding instance sends it out: after keys and values are there,
    /// with the first step that decodes the request.
    pub ttft: Vec<Duration>,
    /// From arrival until the prompt is computed, where another pool does that.
    pub prefilled: Vec<Duration>,
    /// From the start of the first step that was to take the prompt to the first token.
    pub ttft_admitted: Vec<Duration>,
    /// From the first to the last token, and the tokens after the first.
    pub decoded: Vec<(Duration, u32)>,
    /// From arrival to the last token.
    pub whole: Vec<Duration>,
    /// Time between steps that yield tokens, and how many requests gained in them.
    pub gaps: Vec<(Duration, u64)>,
    /// Time that keys and values were on their way between pools.
    pub moved: Vec<Duration>,
    /// When each request was answered, its positions in and tokens out, in that order.
    pub finished: Vec<(Time, u32, u32)>,
    /// Positions of prompts that arrived.
    pub input_tokens: u64,
    /// Those of them that are computed.
    pub computed_tokens: u64,
    /// Tokens of answers.
    pub output_tokens: u64,
    /// Steps of all decoding instances, in order of their ends.
    pub decode_steps: Vec<ServedStep>,
    /// The same of those that only compute prompts.
    pub prefill_steps: Vec<ServedStep>,
    /// When the last request arrived.
    pub last_arrival: Time,
}

/// A step of an instance, and what is there at its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ServedStep {
    /// When it starts.
    pub start: Time,
    /// When it ends.
    pub end: Time,
    /// Output tokens that are emitted then.
    pub output: f64,
    /// Positions of prompts whose computation ends then, those found in the cache included.
    pub input: u64,
}
