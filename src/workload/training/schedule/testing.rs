//! Runs schedules with given times and free communication, and checks what every schedule must hold.

use super::{Action, Part, Schedule, ScheduleSpec, Unit};
use std::collections::BTreeMap;

/// Times of a unit's parts; a full backward pass takes `input + weight`.
#[derive(Clone, Copy)]
struct Times {
    forward: u64,
    input: u64,
    weight: u64,
    overlapped: u64,
}

/// When all is done, and the longest that a rank was idle in between.
fn run(schedule: &Schedule, times: Times) -> (u64, u64) {
    let mut done: BTreeMap<(Part, u32, u32), u64> = BTreeMap::new();
    let mut next = vec![0; schedule.ranks().len()];
    let mut clock = vec![0_u64; next.len()];
    let mut busy = vec![0_u64; next.len()];
    let last = schedule.stages() - 1;
    loop {
        let mut moved = false;
        for rank in 0..next.len() {
            while let Some(&action) = schedule.ranks()[rank].get(next[rank]) {
                let ready = |&(part, unit): &(Part, Unit)| {
                    let stage = schedule.stage(rank as u32, unit.chunk);
                    let before = match part {
                        Part::Forward if stage > 0 => (Part::Forward, unit.micro_batch, stage - 1),
                        Part::Forward => return Some(0),
                        Part::Input if stage < last => (Part::Input, unit.micro_batch, stage + 1),
                        Part::Input => (Part::Forward, unit.micro_batch, stage),
                        Part::Weight => return Some(0),
                    };
                    done.get(&before).copied()
                };
                let Some(ready) = action.parts().iter().map(ready).collect::<Option<Vec<u64>>>() else { break };
                let takes = match action {
                    Action::Forward(_) => times.forward,
                    Action::Backward(_) => times.input + times.weight,
                    Action::BackwardInput(_) => times.input,
                    Action::BackwardWeight(_) => times.weight,
                    Action::Overlapped { .. } => times.overlapped,
                };
                let start = ready.into_iter().max().unwrap().max(clock[rank]);
                clock[rank] = start + takes;
                busy[rank] += takes;
                for (part, unit) in action.parts() {
                    let key = (part, unit.micro_batch, schedule.stage(rank as u32, unit.chunk));
                    assert!(done.insert(key, clock[rank]).is_none(), "{part:?} of {unit:?} is done twice");
                }
                next[rank] += 1;
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    for (rank, &reached) in next.iter().enumerate() {
        assert_eq!(reached, schedule.ranks()[rank].len(), "rank {rank} waits for ever");
    }
    let all = 3 * schedule.stages() * schedule.micro_batches();
    assert_eq!(done.len(), all as usize, "every micro-batch passes every stage in three parts");
    let end = *clock.iter().max().unwrap();
    (end, busy.iter().map(|busy| end - busy).max().unwrap())
}

const EVEN: Times = Times { forward: 10, input: 10, weight: 10, overlapped: 30 };

fn schedule(spec: ScheduleSpec, ranks: u32, micro_batches: u32) -> Schedule {
    Schedule::new(spec, ranks, micro_batches).expect("a schedule")
}

fn interleaved(chunks: u32) -> ScheduleSpec {
    ScheduleSpec::Interleaved { chunks: crate::units::Count::new(chunks).expect("positive") }
}

fn counts(actions: &[Action]) -> [usize; 5] {
    let mut counts = [0; 5];
    for action in actions {
        counts[match action {
            Action::Forward(_) => 0,
            Action::Overlapped { .. } => 1,
            Action::Backward(_) => 2,
            Action::BackwardInput(_) => 3,
            Action::BackwardWeight(_) => 4,
        }] += 1;
    }
    counts
}

#[test]
fn every_schedule_does_everything_once_and_never_waits_for_ever() {
    let uneven = Times { forward: 7, input: 9, weight: 4, overlapped: 18 };
    for (ranks, micro_batches) in [(2, 4), (4, 8), (4, 20), (6, 24), (8, 16), (16, 64)] {
        let all = [ScheduleSpec::OneFOneB, ScheduleSpec::Zb1p, ScheduleSpec::DualPipe, ScheduleSpec::DualPipeV];
        for spec in all.into_iter().chain([interleaved(1), interleaved(2), interleaved(4)]) {
            // Half of them for interleaving, whose groups have as many micro-batches as there are ranks.
            let micro_batches = micro_batches / ranks * ranks;
            for times in [EVEN, uneven] {
                run(&schedule(spec, ranks, micro_batches), times);
            }
        }
    }
    run(&schedule(ScheduleSpec::OneFOneB, 1, 3), EVEN);
    run(&schedule(ScheduleSpec::Zb1p, 5, 2), EVEN);
}

#[test]
fn dual_pipe_has_the_published_counts() {
    let schedule = schedule(ScheduleSpec::DualPipe, 16, 120);
    // Forward, overlapped, backward, backward for input, for weights.
    assert_eq!(counts(&schedule.ranks()[0]), [23, 97, 8, 15, 15]);
    assert_eq!(counts(&schedule.ranks()[7]), [17, 103, 9, 8, 8]);
    for rank in 0..16 {
        assert_eq!(
            counts(&schedule.ranks()[rank]),
            counts(&schedule.ranks()[15 - rank]),
            "the halves mirror each other"
        );
    }
}

#[test]
fn one_f_one_b_has_the_closed_bubble() {
    for (forward, input, weight) in [(10, 10, 10), (7, 9, 4), (10, 20, 1)] {
        let times = Times { forward, input, weight, overlapped: 0 };
        for (ranks, micro_batches) in [(2, 3), (4, 8), (8, 24), (16, 120)] {
            let bubble = (u64::from(ranks) - 1) * (forward + input + weight);
            let (end, idle) = run(&schedule(ScheduleSpec::OneFOneB, ranks, micro_batches), times);
            assert_eq!(idle, bubble);
            assert_eq!(end, bubble + u64::from(micro_batches) * (forward + input + weight));
        }
    }
}

#[test]
fn interleaving_divides_the_bubble_by_the_chunks() {
    let times = Times { forward: 10, input: 10, weight: 10, overlapped: 0 };
    for (ranks, chunks) in [(4, 2), (4, 4), (8, 2), (8, 3)] {
        // With `chunks` times as many stages a stage takes 1 / chunks of the time: the bubble counts units of a chunk.
        let (_, idle) = run(&schedule(interleaved(chunks), ranks, 4 * ranks), times);
        assert_eq!(idle, (u64::from(ranks) - 1) * 30, "{ranks} ranks, {chunks} chunks");
    }
}

#[test]
fn zero_bubble_saves_a_weight_gradient_at_both_ends() {
    // (PP - 1)(F + B - 2W) with B = input + weight, for parts that take equally long.
    for (ranks, micro_batches) in [(2, 6), (4, 12), (8, 24), (16, 120)] {
        let (_, idle) = run(&schedule(ScheduleSpec::Zb1p, ranks, micro_batches), EVEN);
        assert_eq!(idle, (u64::from(ranks) - 1) * (10 + 20 - 2 * 10), "{ranks} ranks");
    }
}

#[test]
fn dual_pipe_has_the_published_bubble_where_parts_take_equally_long() {
    // (PP/2 - 1)(F&B + B - 3W), and no more with more micro-batches.
    for overlapped in [20, 25, 30] {
        for (ranks, micro_batches) in [(4, 8), (8, 32), (16, 40), (16, 120)] {
            let times = Times { overlapped, ..EVEN };
            let formula = (u64::from(ranks) / 2 - 1) * (overlapped + 20 - 3 * 10);
            let (_, idle) = run(&schedule(ScheduleSpec::DualPipe, ranks, micro_batches), times);
            assert_eq!(idle, formula, "{ranks} ranks, {micro_batches} micro-batches, F&B {overlapped}");
            let (_, idle) = run(&schedule(ScheduleSpec::DualPipeV, ranks / 2, micro_batches), times);
            assert_eq!(idle, formula, "DualPipeV on {} ranks", ranks / 2);
        }
    }
}

#[test]
fn as_many_activations_are_kept_as_published() {
    let most = |spec, ranks| {
        let schedule = schedule(spec, ranks, 6 * ranks);
        let of = |rank| schedule.kept(rank).iter().map(|kept| kept.iter().sum::<u64>()).max().unwrap();
        (0..ranks).map(of).collect::<Vec<u64>>()
    };
    assert_eq!(most(ScheduleSpec::OneFOneB, 8), [8, 7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(most(ScheduleSpec::Zb1p, 8), [8; 8]);
    assert_eq!(most(ScheduleSpec::DualPipe, 8), [9; 8]);
    assert_eq!(most(ScheduleSpec::DualPipeV, 4), [9; 4]);
}

#[test]
fn what_cannot_be_scheduled_is_refused() {
    assert!(Schedule::new(ScheduleSpec::DualPipe, 3, 12).is_err());
    assert!(Schedule::new(ScheduleSpec::DualPipe, 4, 6).is_err());
    assert!(Schedule::new(interleaved(2), 4, 6).is_err());
}
