//! Which way a figure should go.

/// Which way a figure should go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Less is better: times, money, energy.
    Lower,
    /// More is better: rates, utilised peak.
    Higher,
    /// Neither is, for this reason.
    Neither(&'static str),
}

impl Better {
    /// Of a figure that is in no catalogue.
    pub const UNKNOWN: Better = Better::Neither("not a metric that is known");

    /// The name in files: "lower", "higher", "none".
    pub const fn name(self) -> &'static str {
        match self {
            Better::Lower => "lower",
            Better::Higher => "higher",
            Better::Neither(_) => "none",
        }
    }

    /// Whether it has no better direction.
    pub const fn is_neither(self) -> bool {
        matches!(self, Better::Neither(_))
    }

    /// Of points with two metrics, which should go the ways `ways`, those that no other is as good as on both and better on one: their
    /// places, in order of the first metric. Equal points are all on it.
    pub fn front(ways: [Better; 2], points: &[(usize, [f64; 2])]) -> Vec<usize> {
        let beats = |a: &[f64; 2], b: &[f64; 2]| {
            let worse = (0..2).any(|side| ways[side].is_better(b[side], a[side]));
            !worse && (0..2).any(|side| ways[side].is_better(a[side], b[side]))
        };
        let mut front: Vec<&(usize, [f64; 2])> =
            points.iter().filter(|(_, point)| !points.iter().any(|(_, other)| beats(other, point))).collect();
        front.sort_by(|a, b| a.1[0].total_cmp(&b.1[0]).then(a.0.cmp(&b.0)));
        front.into_iter().map(|(place, _)| *place).collect()
    }

    /// Whether `a` is better than `b`.
    pub fn is_better(self, a: f64, b: f64) -> bool {
        match self {
            Better::Lower => a < b,
            Better::Higher => a > b,
            Better::Neither(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_holds_what_nothing_beats() {
        let points: Vec<(usize, [f64; 2])> =
            [[1.0, 9.0], [2.0, 8.0], [2.0, 3.0], [1.5, 8.0], [4.0, 1.0], [4.0, 2.0]].into_iter().enumerate().collect();
        assert_eq!(Better::front([Better::Higher; 2], &points), [0, 1, 5]);
        assert_eq!(Better::front([Better::Lower; 2], &points), [0, 3, 2, 4]);
        assert_eq!(Better::front([Better::Lower, Better::Higher], &points), [0]);
        assert_eq!(Better::front([Better::Higher, Better::Lower], &points), [4]);
        assert_eq!(Better::front([Better::Higher; 2], &[(3, [1.0, 1.0]), (7, [1.0, 1.0])]), [3, 7]);
    }
}
