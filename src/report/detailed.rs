//! The timeline of a run for traces: parts that were simulated by themselves are shown with all that happened in them where they first run.

use crate::id::{DeviceId, OpId, StreamId};
use crate::metrics::{Outcome, Part};
use crate::timeline::{Place, Span, Timeline};
use crate::units::{Duration, Time};
use crate::workload::Stream;

/// The timeline of `outcome`, and in it each of its parts once.
pub fn detailed(outcome: &Outcome) -> Timeline {
    let mut whole = outcome.timeline.clone();
    let runs = outcome.timeline.streams.len();
    for part in &outcome.parts {
        if let Some((device, at)) = part.at {
            add(&mut whole, runs, part, (device, at - Time::ZERO));
        }
    }
    whole
}

/// Adds what happened in `part`, which began `after` on the GPU `device`. Streams of the run itself, of which there are `runs`, are left alone.
fn add(whole: &mut Timeline, runs: usize, part: &Part, (device, after): (DeviceId, Duration)) {
    let Some(own) = part.timeline.streams.first().map(|stream| stream.device) else { return };
    let streams: Vec<StreamId> = part
        .timeline
        .streams
        .iter()
        .map(|stream| {
            let on = if stream.device == own { device } else { stream.device };
            let is_it = |other: &Stream| other.device == on && other.name == stream.name;
            let known = whole.streams[runs..].iter().position(is_it).map(|place| runs + place);
            StreamId::new(known.unwrap_or_else(|| {
                whole.streams.push(Stream { device: on, ..stream.clone() });
                whole.streams.len() - 1
            }))
        })
        .collect();
    let first = whole.spans().map(|span| span.op.index() + 1).last().unwrap_or(0);
    let moved = |span: Span| Span {
        op: OpId::new(first + span.op.index()),
        place: match span.place {
            Place::Stream(stream) => Place::Stream(streams[stream.index()]),
            port @ Place::Port(_) => port,
        },
        ready: span.ready + after,
        start: span.start + after,
        released: span.released + after,
        end: span.end + after,
        cause: span.cause.map(|cause| OpId::new(first + cause.index())),
        ..span
    };
    part.timeline.spans().map(moved).for_each(|span| whole.push(&span));
    for port in &part.timeline.ports {
        if !whole.ports.contains(port) {
            whole.ports.push(*port);
        }
    }
}
