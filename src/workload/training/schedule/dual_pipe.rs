//! DualPipe: half of the micro-batches enter at the first rank and half at the last, so that each rank always has a forward
//! of one direction to overlap with a backward of the other (arXiv 2412.19437, section 3.2.1 and figure 5).
//!
//! What a rank does depends on how far it is from its end of the pipeline; the two halves mirror each other.

use super::{Action, Unit};

/// What `rank` of `ranks` does. Chunk 0 is the stage of the direction that enters at rank 0.
pub(super) fn order(rank: u32, ranks: u32, micro_batches: u32) -> Vec<Action> {
    let mirrored = rank >= ranks / 2;
    let each = micro_batches / 2;
    let distance = rank.min(ranks - 1 - rank);
    let unit = |near: bool, number: u32| {
        // Near is the direction that enters at this rank's end of the pipeline.
        let chunk = u32::from(near == mirrored);
        Unit { micro_batch: chunk * each + number, chunk }
    };
    two_way(distance, ranks / 2, each, unit)
}

/// The order of a rank at `distance` from the end of a half pipeline of `half` ranks, through which `each` micro-batches pass
/// in each direction. `unit(near, n)` names the n-th unit of the direction that enters near this rank, or of the other.
pub(super) fn two_way(distance: u32, half: u32, each: u32, unit: impl Fn(bool, u32) -> Unit) -> Vec<Action> {
    let mut order = Order { unit, forwards: [0; 2], backwards: [0; 2], owed: Vec::new(), paid: 0, actions: Vec::new() };
    let to_middle = half - 1 - distance;
    (0..2 * to_middle).for_each(|_| order.forward(NEAR));
    for _ in 0..=distance {
        order.forward(NEAR);
        order.forward(FAR);
    }
    for _ in 0..to_middle {
        order.backward_input(FAR);
        order.weight();
        order.forward(FAR);
    }
    for turn in 0..each + distance + 1 - 2 * half {
        if turn == 0 && to_middle == 0 {
            // At the middle the first gradient is there at once only if this forward does not wait to be overlapped.
            order.forward(NEAR);
            order.backward(FAR);
        } else {
            order.overlapped(NEAR, FAR);
        }
        order.overlapped(FAR, NEAR);
    }
    for _ in 0..to_middle {
        order.backward(FAR);
        order.overlapped(FAR, NEAR);
    }
    // The second half of what is left puts its weight gradients off, to fill the end.
    for turn in 0..2 * (distance + 1) {
        let direction = if turn % 2 == 0 { FAR } else { NEAR };
        if turn <= distance {
            order.backward(direction);
        } else {
            order.backward_input(direction);
        }
    }
    for _ in 0..to_middle {
        order.weight();
        order.backward_input(NEAR);
    }
    (0..=distance).for_each(|_| order.weight());
    order.actions
}

/// The direction that enters at this rank's end of the pipeline, and the other.
const NEAR: usize = 0;
const FAR: usize = 1;

/// An order under construction.
struct Order<F> {
    unit: F,
    /// Units that went forward and backward, by direction.
    forwards: [u32; 2],
    backwards: [u32; 2],
    /// Weight gradients put off, oldest first, and how many of them have been made up for.
    owed: Vec<Unit>,
    paid: usize,
    actions: Vec<Action>,
}

impl<F: Fn(bool, u32) -> Unit> Order<F> {
    fn next_forward(&mut self, direction: usize) -> Unit {
        self.forwards[direction] += 1;
        (self.unit)(direction == NEAR, self.forwards[direction] - 1)
    }

    fn next_backward(&mut self, direction: usize) -> Unit {
        self.backwards[direction] += 1;
        (self.unit)(direction == NEAR, self.backwards[direction] - 1)
    }

    fn forward(&mut self, direction: usize) {
        let unit = self.next_forward(direction);
        self.actions.push(Action::Forward(unit));
    }

    fn backward(&mut self, direction: usize) {
        let unit = self.next_backward(direction);
        self.actions.push(Action::Backward(unit));
    }

    fn backward_input(&mut self, direction: usize) {
        let unit = self.next_backward(direction);
        self.owed.push(unit);
        self.actions.push(Action::BackwardInput(unit));
    }

    fn weight(&mut self) {
        self.actions.push(Action::BackwardWeight(self.owed[self.paid]));
        self.paid += 1;
    }

    fn overlapped(&mut self, forward: usize, backward: usize) {
        let (forward, backward) = (self.next_forward(forward), self.next_backward(backward));
        self.actions.push(Action::Overlapped { forward, backward });
    }
}
