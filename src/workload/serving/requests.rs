//! Requests in order of arrival, drawn from named random streams.

use super::spec::{ArrivalsChoice, LengthsChoice, ServingSpec};
use crate::rng::{RandomStream, Seed};
use crate::units::{Count, Duration, Time};
use std::num::NonZeroU32;

/// Blocks of a prompt in a table of block hashes: those at `first` and after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PromptBlocks {
    /// Place of the first one in the table.
    pub first: u32,
    /// How many there are.
    pub count: NonZeroU32,
}

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// When it arrives.
    pub arrival: Time,
    /// Positions of its prompt.
    pub input: u32,
    /// Those of them that are not found in the cache; at least one.
    pub computed: u32,
    /// Tokens of its answer; at least one.
    pub output: u32,
    /// The blocks of its prompt, where it is known which prompts begin alike.
    pub blocks: Option<PromptBlocks>,
}

/// The requests of a scenario, one after the other.
pub struct Requests<'a> {
    spec: &'a ServingSpec,
    drawn: u32,
    now: Time,
    times: RandomStream,
    lengths: RandomStream,
}

impl<'a> Requests<'a> {
    /// The requests that `spec` describes.
    pub fn new(spec: &'a ServingSpec, seed: u64) -> Requests<'a> {
        let stream = |name| Seed(seed).stream(name);
        Requests { spec, drawn: 0, now: Time::ZERO, times: stream("arrivals"), lengths: stream("lengths") }
    }

    /// Whether requests come when others have been answered, and then from how many users.
    pub fn users(&self) -> Option<Count> {
        match self.spec.arrivals {
            ArrivalsChoice::Closed { users } => Some(users),
            _ => None,
        }
    }

    /// How many there are at most.
    pub fn count(&self) -> usize {
        self.spec.requests.index()
    }

    /// The next request. Where users wait for answers it is sent at `now`.
    pub fn next(&mut self, now: Time) -> Option<Request> {
        if self.drawn == self.spec.requests.get() {
            return None;
        }
        let index = self.drawn as usize;
        self.drawn += 1;
        let (input, output) = match &self.spec.arrivals {
            ArrivalsChoice::Rows(rows) => {
                let row = rows.get(index)?;
                self.now = Time::ZERO + row.arrival;
                (row.input.get(), row.output.get())
            }
            arrivals => {
                self.now = match arrivals {
                    ArrivalsChoice::Poisson { every } => self.now + self.wait(*every, 1.0),
                    ArrivalsChoice::Curve { every, step, load } => {
                        let place = (self.now - Time::ZERO).as_ps() / step.as_ps().max(1);
                        let load = load[(place % load.len() as u64) as usize];
                        self.now + self.wait(*every, load)
                    }
                    ArrivalsChoice::Closed { .. } | ArrivalsChoice::Rows(_) => now,
                };
                self.draw_lengths()
            }
        };
        let hits = (f64::from(input) * self.spec.prefix_hits.get()) as u32;
        Some(Request { arrival: self.now, input, computed: (input - hits).max(1), output, blocks: None })
    }

    fn wait(&mut self, every: Duration, load: f64) -> Duration {
        every.scaled(self.times.exponential() / load)
    }

    fn draw_lengths(&mut self) -> (u32, u32) {
        match self.spec.lengths {
            LengthsChoice::Fixed { input, output } => (input.get(), output.get()),
            LengthsChoice::Uniform { input, output, least } => {
                let mut draw = |most: Count| {
                    let low = ((f64::from(most.get()) * least.get()) as u32).max(1);
                    low + self.lengths.below(most.get() - low + 1)
                };
                (draw(input), draw(output))
            }
            LengthsChoice::Exponential { input, output } => {
                let mut draw =
                    |mean: Count| ((f64::from(mean.get()) * self.lengths.exponential()).ceil() as u32).max(1);
                (draw(input), draw(output))
            }
        }
    }
}

impl ServingSpec {
    /// Positions of a prompt that are computed, on average; at least one.
    pub fn mean_computed(&self) -> u64 {
        (self.mean_lengths().0 * (1.0 - self.prefix_hits.get())).max(1.0) as u64
    }

    /// Positions in and tokens out of the longest request that is drawn.
    pub fn longest(&self, seed: u64) -> (u32, u32) {
        let mut requests = Requests::new(self, seed);
        let drawn = std::iter::from_fn(|| requests.next(Time::ZERO)).map(|request| (request.input, request.output));
        drawn.max_by_key(|&(input, output)| u64::from(input) + u64::from(output)).unwrap_or_default()
    }

    /// Positions in and tokens out of a request, on average.
    pub fn mean_lengths(&self) -> (f64, f64) {
        let pair = |input: Count, output: Count| (f64::from(input.get()), f64::from(output.get()));
        if let ArrivalsChoice::Rows(rows) = &self.arrivals {
            let of = |length: fn(&super::TraceRow) -> Count| {
                rows.iter().map(|row| f64::from(length(row).get())).sum::<f64>() / rows.len().max(1) as f64
            };
            return (of(|row| row.input), of(|row| row.output));
        }
        match self.lengths {
            LengthsChoice::Fixed { input, output } | LengthsChoice::Exponential { input, output } => {
                pair(input, output)
            }
            LengthsChoice::Uniform { input, output, least } => {
                let (input, output) = pair(input, output);
                let middle = f64::midpoint(1.0, least.get());
                (input * middle, output * middle)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(arrivals: &str, lengths: &str) -> ServingSpec {
        let text = format!(
            "requests = 20000\nprefix_hits = 0.25\narrivals = {arrivals}\nlengths = {lengths}\n\
             [decode]\nrequests_per_gpu = 8"
        );
        toml::from_str(&text).expect("a spec")
    }

    fn all(spec: &ServingSpec) -> Vec<Request> {
        let mut requests = Requests::new(spec, 1);
        std::iter::from_fn(|| requests.next(Time::ZERO)).collect()
    }

    #[test]
    fn random_requests_have_the_means_that_are_asked_for() {
        let spec = spec("{ poisson = { every = '10 ms' } }", "{ exponential = { input = 4000, output = 1000 } }");
        let requests = all(&spec);
        let n = requests.len() as f64;
        let mean = |of: fn(&Request) -> u32| requests.iter().map(|request| f64::from(of(request))).sum::<f64>() / n;
        assert!((mean(|r| r.input) / 4000.0 - 1.0).abs() < 0.03, "{}", mean(|r| r.input));
        assert!((mean(|r| r.output) / 1000.0 - 1.0).abs() < 0.03);
        assert!((mean(|r| r.computed) / 3000.0 - 1.0).abs() < 0.03);
        let last = requests[requests.len() - 1].arrival - Time::ZERO;
        assert!((last.as_secs() / (n * 0.01) - 1.0).abs() < 0.03, "{last}");
        assert!(requests.windows(2).all(|pair| pair[0].arrival <= pair[1].arrival));
    }

    #[test]
    fn a_curve_brings_requests_in_proportion() {
        let spec = spec(
            "{ curve = { every = '10 ms', step = '10 s', load = [1.0, 0.25] } }",
            "{ fixed = { input = 10, output = 10 } }",
        );
        let busy = |request: &Request| (request.arrival - Time::ZERO).as_secs() % 20.0 < 10.0;
        let requests = all(&spec);
        let share = requests.iter().filter(|request| busy(request)).count() as f64 / requests.len() as f64;
        assert!((share - 0.8).abs() < 0.02, "{share}");
    }
}
