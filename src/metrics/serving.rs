//! Serving over time as users and operators see it.

use super::busy::Breakdown;
use super::steady::Window;
use crate::units::{Duration, Time, UsdPerHour};
use crate::workload::Served;

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
    /// After which the load repeats, where it does.
    pub period: Option<Duration>,
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
    /// The steady part of the run, to which rates, utilisation, cost and energy belong.
    pub window: Window,
    /// Output tokens emitted per second of all, in the window.
    pub output_per_sec: f64,
    /// The same of positions of prompts that were computed, with those that are found in the cache.
    pub input_per_sec: f64,
    /// Output tokens of all requests over the time in which these arrived; nothing where all arrived at once.
    pub offered_output_per_sec: Option<f64>,
    /// Output tokens per second over the whole run: filling and draining included.
    pub run_output_per_sec: f64,
    /// The same of input positions.
    pub run_input_per_sec: f64,
    /// Part of the window in which a decoding instance is in a step.
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
    let (decode, prefill) = (&served.decode_steps, &served.prefill_steps);
    let all = || decode.iter().chain(prefill);
    let window = Window::of(all(), served.last_arrival, facts.period);
    let output_per_sec = window.rate(all(), |step| step.output);
    let input_per_sec = window.rate(all(), |step| step.input as f64);
    let arriving = (served.last_arrival - Time::ZERO).as_secs();
    let over_run = |tokens: u64| if span > Duration::ZERO { tokens as f64 / span.as_secs() } else { 0.0 };
    let each = |&(time, tokens): &(Duration, u32)| Duration::from_ps(time.as_ps() / u64::from(tokens));
    let tpot = spread(&served.decoded.iter().map(each).collect::<Vec<_>>());
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
        window,
        output_per_sec,
        input_per_sec,
        offered_output_per_sec: (arriving > 0.0).then(|| served.output_tokens as f64 / arriving),
        run_output_per_sec: over_run(served.output_tokens),
        run_input_per_sec: over_run(served.input_tokens),
        decode_utilisation: window.utilisation(decode.iter(), facts.decode_instances),
        prefill_utilisation: window.utilisation(prefill.iter(), facts.prefill_instances),
        usd_per_million_input: usd(facts.prefill_gpus, input_per_sec),
        usd_per_million_output: usd(facts.decode_gpus, output_per_sec),
        kwh_per_million_output: (output_per_sec > 0.0)
            .then(|| facts.watts_per_gpu * gpus / output_per_sec * 1e6 / 3.6e6),
        breakdown,
        step,
    }
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
}
