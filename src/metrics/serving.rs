//! Serving over time as users and operators see it.

use super::busy::Breakdown;
use crate::units::{Duration, Time, UsdPerHour};

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
    /// From the first to the last token, over the tokens after the first.
    pub tpot: Vec<Duration>,
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
    /// Time in steps, all decoding instances together.
    pub decode_busy: Duration,
    /// The same of those that compute prompts.
    pub prefill_busy: Duration,
}

/// The deployment that served.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ServingFacts {
    /// GPUs that decode (and compute prompts, where no others do).
    pub decode_gpus: u64,
    /// Decoding instances.
    pub decode_instances: u64,
    /// GPUs that only compute prompts.
    pub prefill_gpus: u64,
    /// Instances that only compute prompts.
    pub prefill_instances: u64,
    /// GPUs of a node.
    pub gpus_per_node: u64,
    /// What a GPU costs per hour.
    pub gpu_hour: Option<UsdPerHour>,
    /// Most that a GPU draws with its share of node and fabric, in watts.
    pub watts_per_gpu: f64,
    /// Steps that were simulated, and the largest error of times between them.
    pub steps: (usize, f64),
    /// Positions that the cache of a decoding instance holds.
    pub cache_positions: u64,
}

/// A quantity over all requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// Mean.
    pub mean: Duration,
    /// Half of the requests have at most this.
    pub median: Duration,
    /// 90 % have at most this.
    pub p90: Duration,
    /// 99 % have at most this.
    pub p99: Duration,
}

/// Serving in the field's terms.
#[derive(Clone, Debug, PartialEq)]
pub struct ServingMetrics {
    /// The deployment.
    pub facts: ServingFacts,
    /// Requests that were answered.
    pub requests: u64,
    /// From the start to the last token.
    pub span: Duration,
    /// Time to first token, from arrival.
    pub ttft: Spread,
    /// Time to first token, from admission.
    pub ttft_admitted: Spread,
    /// From arrival until the prompt is computed, where another pool does that.
    pub prefilled: Option<Spread>,
    /// Time per output token of a request.
    pub tpot: Spread,
    /// Time between tokens, over all tokens.
    pub itl: Spread,
    /// From arrival to the last token.
    pub whole: Spread,
    /// Transfer of keys and values, where pools are apart.
    pub transfer: Option<Spread>,
    /// 1 / mean TPOT.
    pub tokens_per_sec_per_user: f64,
    /// Output tokens per second of all, while the middle of the requests was answered.
    pub output_per_sec: f64,
    /// The same of input positions, with those that are found in the cache.
    pub input_per_sec: f64,
    /// Part of the time in which a decoding instance is in a step.
    pub decode_utilisation: f64,
    /// The same of those that compute prompts.
    pub prefill_utilisation: f64,
    /// Dollars per million input positions: of the GPUs that only compute prompts.
    pub usd_per_million_input: Option<f64>,
    /// Dollars per million output tokens: of the GPUs that decode.
    pub usd_per_million_output: Option<f64>,
    /// Energy per million output tokens, all GPUs, at full power; nothing where too few requests were answered for a rate.
    pub kwh_per_million_output: Option<f64>,
    /// Where the time of a full decode step goes.
    pub breakdown: Breakdown,
    /// How long that step takes.
    pub step: Duration,
}

/// Measures what was served.
pub fn serving_metrics(served: &Served, facts: ServingFacts, step: Duration, breakdown: Breakdown) -> ServingMetrics {
    let span = served.finished.last().map_or(Duration::ZERO, |&(at, _, _)| at - Time::ZERO);
    let (output_per_sec, input_per_sec) = middle_rates(&served.finished);
    let tpot = spread(&served.tpot);
    let utilisation = |busy: Duration, instances: u64| match instances {
        0 => 0.0,
        instances => busy.as_secs() / span.as_secs() / instances as f64,
    };
    let usd = |gpus: u64, rate: f64| {
        let rent = facts.gpu_hour.filter(|_| gpus > 0 && rate > 0.0)?;
        Some(rent.as_f64() / 3600.0 * gpus as f64 / rate * 1e6)
    };
    let gpus = (facts.decode_gpus + facts.prefill_gpus) as f64;
    ServingMetrics {
        facts,
        requests: served.finished.len() as u64,
        span,
        ttft: spread(&served.ttft),
        ttft_admitted: spread(&served.ttft_admitted),
        tpot,
        itl: weighted(&served.gaps),
        whole: spread(&served.whole),
        prefilled: (!served.prefilled.is_empty()).then(|| spread(&served.prefilled)),
        transfer: (!served.moved.is_empty()).then(|| spread(&served.moved)),
        tokens_per_sec_per_user: if tpot.mean == Duration::ZERO { 0.0 } else { 1.0 / tpot.mean.as_secs() },
        output_per_sec,
        input_per_sec,
        decode_utilisation: utilisation(served.decode_busy, facts.decode_instances),
        prefill_utilisation: utilisation(served.prefill_busy, facts.prefill_instances),
        usd_per_million_input: usd(facts.prefill_gpus, input_per_sec),
        usd_per_million_output: usd(facts.decode_gpus, output_per_sec),
        kwh_per_million_output: (output_per_sec > 0.0)
            .then(|| facts.watts_per_gpu * gpus / output_per_sec * 1e6 / 3.6e6),
        breakdown,
        step,
    }
}

/// Tokens out and positions in per second between the answers to the first and to the last fifth of the requests: the pools
/// neither fill nor drain in between.
fn middle_rates(finished: &[(Time, u32, u32)]) -> (f64, f64) {
    let (from, until) = (finished.len() / 5, finished.len() * 4 / 5);
    if until <= from {
        return (0.0, 0.0);
    }
    let time = (finished[until].0 - finished[from].0).as_secs();
    let sum = |of: fn(&(Time, u32, u32)) -> u32| {
        finished[from + 1..=until].iter().map(|request| f64::from(of(request))).sum::<f64>()
    };
    if time == 0.0 { (0.0, 0.0) } else { (sum(|request| request.2) / time, sum(|request| request.1) / time) }
}

fn spread(times: &[Duration]) -> Spread {
    let weighted_times: Vec<(Duration, u64)> = times.iter().map(|&time| (time, 1)).collect();
    weighted(&weighted_times)
}

/// Nearest-rank percentiles.
fn weighted(times: &[(Duration, u64)]) -> Spread {
    let all: u64 = times.iter().map(|&(_, weight)| weight).sum();
    if all == 0 {
        return Spread::default();
    }
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let sum: u128 = sorted.iter().map(|&(time, weight)| u128::from(time.as_ps()) * u128::from(weight)).sum();
    let at = |percent: u64| {
        let rank = (all * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let found = sorted.iter().find(|&&(_, weight)| {
            seen += weight;
            seen >= rank
        });
        found.map_or(Duration::ZERO, |&(time, _)| time)
    };
    let mean = Duration::from_ps((sum / u128::from(all)) as u64);
    Spread { mean, median: at(50), p90: at(90), p99: at(99) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_ns).collect();
        let found = spread(&times);
        let ns = Duration::from_ns;
        assert_eq!((found.median, found.p90, found.p99), (ns(100), ns(180), ns(198)));
        assert_eq!(found.mean, Duration::from_ps(100_500));
        let heavy = weighted(&[(ns(1), 99), (ns(7), 1)]);
        assert_eq!((heavy.p90, heavy.p99), (ns(1), ns(1)));
    }

    #[test]
    fn rates_leave_out_how_pools_fill_and_drain() {
        let second = |s: u64| Time::from_ps(s * 1_000_000_000_000);
        // One answer of 10 tokens per second, the last one an hour late.
        let mut finished: Vec<(Time, u32, u32)> = (1..=10).map(|s| (second(s), 30, 10)).collect();
        finished[9].0 = second(3600);
        assert_eq!(middle_rates(&finished), (10.0, 30.0));
    }
}
