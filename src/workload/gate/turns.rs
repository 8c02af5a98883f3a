//! A gate that is exactly balanced: tokens take turns.

use super::GateShape;

/// Whose turn it is.
///
/// Where a token may reach some groups only, groups take turns first: the `i`-th of the groups of a token is `i / groups_per_token` of all
/// groups further than the first, and the first moves on by one from token to token, and by one more from round to round, so that
/// tokens a whole number of rounds apart do not all reach the same groups. In each group experts take turns in an order in which those
/// of one token are as far apart as they can be.
pub(super) struct Turns {
    shape: GateShape,
    /// Groups among which tokens take turns: one, of all experts, where there is no limit.
    groups: usize,
    /// Of these, how many a token reaches.
    reached: usize,
    /// The order of the experts of a group.
    order: Vec<u32>,
    /// For each group, how many visits it has had, in whole rounds of its experts less.
    visits: Vec<usize>,
    token: usize,
}

impl Turns {
    pub(super) fn new(shape: GateShape) -> Turns {
        let (groups, reached) = if shape.is_limited() { (shape.groups, shape.groups_per_token) } else { (1, 1) };
        let (size, most) = (shape.experts / groups, shape.per_token.div_ceil(reached));
        let stride = size.div_ceil(most);
        let spaced = (0..stride).flat_map(|first| (first..size).step_by(stride));
        Turns { shape, groups, reached, order: spaced.map(|at| at as u32).collect(), visits: vec![0; groups], token: 0 }
    }

    /// Adds the experts of the next token.
    pub(super) fn pass(&mut self, experts: &mut Vec<u32>) {
        let size = self.order.len();
        let first = self.token + self.token / self.groups;
        for turn in 0..self.reached {
            let group = (first + turn * self.groups / self.reached) % self.groups;
            // The first groups of a token have one visit more where visits do not divide.
            let visits = self.shape.per_token / self.reached + usize::from(turn < self.shape.per_token % self.reached);
            let next = self.visits[group];
            let members = (next..next + visits).map(|at| self.order[at % size]);
            experts.extend(members.map(|member| (group * size) as u32 + member));
            self.visits[group] = (next + visits) % size;
        }
        self.token += 1;
    }
}

impl GateShape {
    /// Tokens after which a balanced gate has visited all experts equally often.
    pub fn balanced_round(&self) -> usize {
        let visits = self.experts / gcd(self.experts, self.per_token);
        if self.is_limited() { visits / gcd(visits, self.groups) * self.groups } else { visits }
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
