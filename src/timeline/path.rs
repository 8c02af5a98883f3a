//! The critical path: the chain of operations that decided when the run ended.

use super::{Span, Timeline};
use crate::units::Time;

/// A stretch of the critical path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The operation that the run waited for.
    pub span: Span,
    /// From when.
    pub from: Time,
    /// Until when: the next segment starts here.
    pub until: Time,
}

/// The critical path, earliest segment first. The segments follow each other without gap or overlap, up to the end of the run. It begins
/// where a span was not kept.
pub fn critical_path(timeline: &Timeline) -> Vec<Segment> {
    let mut path = Vec::new();
    // Of several operations that end last, the youngest is the one that nothing else waited for.
    let mut current = timeline.spans().max_by_key(|span| (span.end, span.op));
    let mut until = timeline.end();
    while let Some(span) = current {
        path.push(Segment { span, from: span.start, until });
        until = span.start;
        current = span.cause.and_then(|cause| timeline.span(cause));
    }
    path.reverse();
    path
}
