//! How many positions the requests of a batch have cached: equal, or spread as a distribution says.
//!
//! A spread is given to requests by its quantiles, without chance: of `n` requests the first has the mean of the lowest `n`th of the
//! distribution, and so on, so that all together have its mean.

use crate::numerics::logarithm;
use crate::units::Count;
use crate::workload::serving::LengthsChoice;

/// Equal parts between the quantiles of a distribution that is worked out from lengths.
const PARTS: usize = 16;
/// Points at which each length, and the age of a request, is looked at when that is done.
const LOOKED_AT: usize = 48;

/// Cached positions of the requests of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Contexts {
    /// All alike.
    Equal(u64),
    /// Evenly between `least` and `mean`, and evenly between `mean` and `most`: as many on either side as have this mean.
    Between {
        /// The shortest.
        least: u32,
        /// Their mean.
        mean: u32,
        /// The longest.
        most: u32,
    },
    /// Evenly between neighbouring quantiles, which lie equal parts apart.
    Quantiles([u32; PARTS + 1]),
}

impl Default for Contexts {
    fn default() -> Contexts {
        Contexts::Equal(0)
    }
}

impl Contexts {
    /// The contexts of requests of these lengths while they decode: a request is met in proportion to the tokens of its answer, and each of
    /// these is as likely to be its last one so far.
    pub fn of_lengths(lengths: &LengthsChoice) -> Contexts {
        let part = |place: usize| (place as f64 + 0.5) / LOOKED_AT as f64;
        let (mut found, mut all) = (Vec::with_capacity(LOOKED_AT * LOOKED_AT * LOOKED_AT), 0.0);
        for output in (0..LOOKED_AT).map(|place| quantile(lengths, part(place)).1) {
            for input in (0..LOOKED_AT).map(|place| quantile(lengths, part(place)).0) {
                for age in (0..LOOKED_AT).map(part) {
                    found.push((input + age * output, output));
                    all += output;
                }
            }
        }
        found.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (mut quantiles, mut next, mut seen) = ([0; PARTS + 1], 0, 0.0);
        for (context, weight) in &found {
            seen += weight;
            while next <= PARTS && seen >= all * next as f64 / PARTS as f64 {
                quantiles[next] = context.round() as u32;
                next += 1;
            }
        }
        let last = found.last().map_or(0, |(context, _)| context.round() as u32);
        quantiles[next.min(PARTS)..].fill(last);
        // The highest part is not even; its end is set so that the mean is right.
        let mean = found.iter().map(|(context, weight)| context * weight).sum::<f64>() / all;
        let even = |pair: &[u32]| f64::midpoint(f64::from(pair[0]), f64::from(pair[1])) / PARTS as f64;
        let below: f64 = quantiles[..PARTS].windows(2).map(even).sum();
        let before = quantiles[PARTS - 1];
        let end = 2.0 * PARTS as f64 * (mean - below) - f64::from(before);
        quantiles[PARTS] = (end.round() as u32).max(before);
        Contexts::Quantiles(quantiles)
    }

    /// All requests of one distribution with `factor` times as many positions.
    pub fn scaled_to(self, mean: u64) -> Contexts {
        let factor = mean as f64 / self.mean().max(1) as f64;
        let scaled = |context: u32| (f64::from(context) * factor).round() as u32;
        match self {
            Contexts::Equal(_) => Contexts::Equal(mean),
            Contexts::Between { least, mean, most } => {
                Contexts::Between { least: scaled(least), mean: scaled(mean), most: scaled(most) }
            }
            Contexts::Quantiles(quantiles) => Contexts::Quantiles(quantiles.map(scaled)),
        }
    }

    /// The mean.
    pub fn mean(&self) -> u64 {
        self.total(1)
    }

    /// Positions of `requests` requests together.
    pub fn total(&self, requests: u64) -> u64 {
        match self {
            Contexts::Equal(context) => requests * context,
            _ => self.up_to(requests, requests),
        }
    }

    /// The contexts of `requests` requests, shortest first, in at most `most` groups of requests that are alike: number and context.
    pub fn groups(&self, requests: u64, most: u64) -> Vec<(u64, u64)> {
        if let Contexts::Equal(context) = self {
            return vec![(requests, *context)];
        }
        let groups = requests.min(most);
        let starts = |group: u64| group * requests / groups.max(1);
        let group = |group: u64| {
            let (from, until) = (starts(group), starts(group + 1));
            let positions = self.up_to(until, requests) - self.up_to(from, requests);
            (until - from, positions.div_ceil(until - from))
        };
        (0..groups).map(group).collect()
    }

    /// Positions of the first `some` of `requests` requests together.
    fn up_to(&self, some: u64, requests: u64) -> u64 {
        if requests == 0 {
            return 0;
        }
        let until = some as f64 / requests as f64;
        let mut sum = 0.0;
        let mut add = |(from, low): (f64, u32), (to, high): (f64, u32)| {
            let end = to.min(until);
            if end > from {
                let high_there = f64::from(low) + f64::from(high - low) * (end - from) / (to - from);
                sum += (end - from) * f64::midpoint(f64::from(low), high_there);
            }
        };
        match *self {
            Contexts::Equal(context) => return some * context,
            Contexts::Between { least, mean, most } => {
                let below = if most > least { f64::from(most - mean) / f64::from(most - least) } else { 1.0 };
                add((0.0, least), (below, mean));
                add((below, mean), (1.0, most));
            }
            Contexts::Quantiles(quantiles) => {
                let at = |place: usize| (place as f64 / PARTS as f64, quantiles[place]);
                (0..PARTS).for_each(|place| add(at(place), at(place + 1)));
            }
        }
        (sum * requests as f64).round() as u64
    }
}

/// The length of a prompt and of an answer below which `part` of all lie.
fn quantile(lengths: &LengthsChoice, part: f64) -> (f64, f64) {
    let of = |count: Count| f64::from(count.get());
    match *lengths {
        LengthsChoice::Fixed { input, output } => (of(input), of(output)),
        LengthsChoice::Uniform { input, output, least } => {
            let between = |most: f64| most * (least.get() + part * (1.0 - least.get()));
            (between(of(input)), between(of(output)))
        }
        LengthsChoice::Exponential { input, output } => {
            let times = -logarithm(1.0 - part);
            (of(input) * times, of(output) * times)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Fraction;

    fn count(value: u32) -> Count {
        Count::new(value).expect("positive")
    }

    #[test]
    fn however_many_requests_there_are_they_have_the_mean() {
        let spreads = [
            Contexts::Equal(4096),
            Contexts::Between { least: 1000, mean: 4096, most: 20_000 },
            Contexts::Between { least: 4096, mean: 4096, most: 4096 },
            Contexts::Between { least: 0, mean: 4096, most: 4096 },
        ];
        for spread in spreads {
            for requests in [1, 2, 3, 7, 64, 129] {
                assert_eq!(spread.total(requests), requests * 4096, "{spread:?} {requests}");
                let groups = spread.groups(requests, 50);
                assert!(groups.len() <= 50);
                assert_eq!(groups.iter().map(|group| group.0).sum::<u64>(), requests);
                let positions: u64 = groups.iter().map(|(requests, context)| requests * context).sum();
                assert!(
                    positions >= requests * 4096 && positions <= requests * 4097,
                    "{spread:?} {requests}: {positions}"
                );
                assert!(groups.is_sorted_by_key(|group| group.1), "{spread:?} {requests}");
            }
        }
        let ends = Contexts::Between { least: 1000, mean: 4096, most: 20_000 }.groups(1000, 1000);
        assert!(ends[0].1 < 1010 && ends[999].1 > 19_900, "{:?} {:?}", ends[0], ends[999]);
    }

    #[test]
    fn requests_are_met_by_the_length_of_their_answers() {
        let mean = |lengths: LengthsChoice| Contexts::of_lengths(&lengths).mean() as f64;
        let close = |found: f64, expected: f64| assert!((found / expected - 1.0).abs() < 0.02, "{found} {expected}");
        // Half of an answer on average.
        close(mean(LengthsChoice::Fixed { input: count(2000), output: count(1000) }), 2500.0);
        // E[o^2] / (2 E[o]) of an answer: its mean, where it is exponential.
        close(mean(LengthsChoice::Exponential { input: count(4000), output: count(1000) }), 5000.0);
        let least = Fraction::new(0.5).expect("a part");
        // Even between 500 and 1000: E[o^2] = 583,333, E[o] = 750.
        close(mean(LengthsChoice::Uniform { input: count(4000), output: count(1000), least }), 3000.0 + 388.9);
    }

    #[test]
    fn a_distribution_keeps_its_form_with_another_mean() {
        let spread = Contexts::Between { least: 1000, mean: 2000, most: 5000 }.scaled_to(4000);
        assert_eq!(spread, Contexts::Between { least: 2000, mean: 4000, most: 10_000 });
        assert_eq!(Contexts::Equal(7).scaled_to(9), Contexts::Equal(9));
    }
}
