//! Spans as they are stored while there are millions of them: packed, and unpacked one by one as they are read.

use super::{Bound, Place, Span};
use crate::id::{LinkId, OpId, StreamId};
use crate::retiring::CHUNK;
use crate::units::{Bytes, Flops, Time};
use crate::workload::{Interned, Op, PackedOp, Work};

const NO_CAUSE: u32 = u32::MAX;

/// When an operation ran, where, and what it waited for. What it did comes with it.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// The operation.
    pub op: OpId,
    /// What it occupied.
    pub place: Place,
    /// When nothing but its place kept it waiting.
    pub ready: Time,
    /// When it began to occupy its place.
    pub start: Time,
    /// When its place was free again.
    pub released: Time,
    /// When its dependents could go on.
    pub end: Time,
    /// The operation whose end let this one start.
    pub cause: Option<OpId>,
    /// What decided how long it took.
    pub bound: Bound,
}

impl Ended {
    /// The span of an operation that did what `done` says.
    pub fn span(&self, done: &Op) -> Span {
        let Ended { op, place, ready, start, released, end, cause, bound } = *self;
        let Op { work, label, collective, .. } = *done;
        Span { op, work, label, collective, place, ready, start, released, end, cause, bound }
    }
}

/// A span, of which the rest is in [`Interned`].
#[derive(Clone, Copy, Debug)]
struct PackedSpan {
    op: PackedOp,
    /// A stream, or the port of a send.
    place: u32,
    cause: u32,
    /// In halves.
    end: [u32; 2],
    /// From `ready` to `start`, from there to `released`, and from there to `end`, in picoseconds; where one of them does not fit, all
    /// are elsewhere, and this is the place.
    lasted: [u32; 3],
    /// None where there is no span.
    bound: Option<Bound>,
    is_long: bool,
}

/// Memory of a span, in bytes.
pub const SPAN_BYTES: usize = size_of::<PackedSpan>();

/// Spans in order of operation.
#[derive(Clone, Debug, Default)]
pub struct Spans {
    store: Store,
    /// `ready`, `start` and `released` of spans that last or wait for long.
    long: Vec<[Time; 3]>,
    interned: Interned,
    totals: Totals,
}

#[derive(Clone, Debug)]
enum Store {
    /// By place of the operation, in chunks of consecutive ones: for all operations, or nearly all.
    ByOp(Vec<Vec<PackedSpan>>),
    /// As they ended, and in order of operation when no more come: for some of many.
    Some(Vec<(OpId, PackedSpan)>),
}

impl Default for Store {
    fn default() -> Store {
        Store::ByOp(Vec::new())
    }
}

/// What spans add up to, those that were not kept included.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) end: Time,
    pub(super) sent: Bytes,
    pub(super) flops: Flops,
}

impl Totals {
    fn add(&mut self, work: &Work, end: Time) {
        self.end = self.end.max(end);
        match work {
            Work::Send { bytes, .. } => self.sent += *bytes,
            Work::Compute(kernel) => self.flops += kernel.flops(),
            Work::Copy(_) | Work::HostDelay(_) | Work::Known(_) | Work::Software(_) => {}
        }
    }
}

impl Spans {
    /// No spans yet, of which only some of many operations will be kept.
    pub fn of_some() -> Spans {
        Spans { store: Store::Some(Vec::new()), ..Spans::default() }
    }

    /// Takes note of an operation that has ended, whether or not its span is kept.
    pub fn count(&mut self, work: &Work, end: Time) {
        self.totals.add(work, end);
    }

    /// Keeps the span of an operation that did what `packed` says, in terms that [`Spans::complete`] gives.
    pub fn keep(&mut self, ended: &Ended, packed: PackedOp) {
        let span = self.packed(ended, packed);
        match &mut self.store {
            Store::Some(list) => list.push((ended.op, span)),
            Store::ByOp(chunks) => {
                let (chunk, place) = (ended.op.index() / CHUNK, ended.op.index() % CHUNK);
                if chunks.len() <= chunk {
                    chunks.resize_with(chunk + 1, Vec::new);
                }
                let spans = &mut chunks[chunk];
                if spans.len() <= place {
                    // The first chunk grows as it is needed: most timelines are short.
                    if chunk > 0 {
                        spans.reserve_exact(CHUNK - spans.len());
                    }
                    spans.resize(place + 1, PackedSpan { bound: None, ..span });
                }
                spans[place] = span;
            }
        }
    }

    /// No more spans come; `interned` is what their operations have in common.
    pub fn complete(mut self, interned: Interned) -> Spans {
        self.interned = interned;
        if let Store::Some(list) = &mut self.store {
            list.sort_unstable_by_key(|(op, _)| *op);
        }
        self
    }

    /// Adds a span of an operation that follows all others.
    pub(super) fn push(&mut self, span: &Span) {
        let Span { op, work, label, collective, place, ready, start, released, end, cause, bound } = *span;
        let stream = match place {
            Place::Stream(stream) => Some(stream),
            Place::Port(_) => None,
        };
        let packed = self.interned.pack(&Op { work, label, stream, collective });
        self.count(&work, end);
        self.keep(&Ended { op, place, ready, start, released, end, cause, bound }, packed);
    }

    pub(super) fn totals(&self) -> &Totals {
        &self.totals
    }

    pub(super) fn get(&self, op: OpId) -> Option<Span> {
        let packed = match &self.store {
            Store::ByOp(chunks) => chunks.get(op.index() / CHUNK)?.get(op.index() % CHUNK)?,
            Store::Some(list) => &list[list.binary_search_by_key(&op, |(op, _)| *op).ok()?].1,
        };
        self.unpacked(op, packed)
    }

    /// One after the other, in order of operation.
    pub fn iter(&self) -> SpanIter<'_> {
        SpanIter { spans: self, at: 0 }
    }

    fn packed(&mut self, ended: &Ended, op: PackedOp) -> PackedSpan {
        let Ended { place, ready, start, released, end, cause, bound, .. } = *ended;
        let between = |from: Time, until: Time| u32::try_from(until.as_ps().checked_sub(from.as_ps())?).ok();
        let lasted = [between(ready, start), between(start, released), between(released, end)];
        let short = match lasted {
            [Some(waited), Some(occupied), Some(under_way)] => Some([waited, occupied, under_way]),
            _ => None,
        };
        let lasted = short.unwrap_or_else(|| {
            self.long.push([ready, start, released]);
            [self.long.len() as u32 - 1, 0, 0]
        });
        let place = match place {
            Place::Stream(stream) => stream.index() as u32,
            Place::Port(link) => link.index() as u32,
        };
        let cause = cause.map_or(NO_CAUSE, |cause| cause.index() as u32);
        PackedSpan { op, place, cause, end: end.halves(), lasted, bound: Some(bound), is_long: short.is_none() }
    }

    fn unpacked(&self, op: OpId, packed: &PackedSpan) -> Option<Span> {
        let bound = packed.bound?;
        let end = Time::from_halves(packed.end);
        let [ready, start, released] = if packed.is_long {
            self.long[packed.lasted[0] as usize]
        } else {
            let [waited, occupied, under_way] = packed.lasted.map(u64::from);
            let released = end.as_ps() - under_way;
            let start = released - occupied;
            [start - waited, start, released].map(Time::from_ps)
        };
        let done = self.interned.unpack(&packed.op);
        let place = match done.stream {
            Some(_) => Place::Stream(StreamId::new(packed.place as usize)),
            None => Place::Port(LinkId::new(packed.place as usize)),
        };
        let cause = (packed.cause != NO_CAUSE).then(|| OpId::new(packed.cause as usize));
        Some(Ended { op, place, ready, start, released, end, cause, bound }.span(&done))
    }
}

impl FromIterator<Span> for Spans {
    /// Some spans, in order of operation.
    fn from_iter<I: IntoIterator<Item = Span>>(spans: I) -> Spans {
        let mut all = Spans::of_some();
        spans.into_iter().for_each(|span| all.push(&span));
        all
    }
}

/// The spans of a timeline, one after the other.
#[derive(Clone)]
pub struct SpanIter<'a> {
    spans: &'a Spans,
    /// The next place in the store.
    at: usize,
}

impl Iterator for SpanIter<'_> {
    type Item = Span;

    fn next(&mut self) -> Option<Span> {
        loop {
            let at = self.at;
            self.at += 1;
            let (op, packed) = match &self.spans.store {
                Store::Some(list) => list.get(at).map(|(op, packed)| (*op, packed))?,
                Store::ByOp(chunks) => match chunks.get(at / CHUNK)?.get(at % CHUNK) {
                    Some(packed) => (OpId::new(at), packed),
                    None => {
                        self.at = (at / CHUNK + 1) * CHUNK;
                        continue;
                    }
                },
            };
            if let Some(span) = self.spans.unpacked(op, packed) {
                return Some(span);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{CollectiveId, DeviceId};
    use crate::units::Duration;
    use crate::workload::{Label, Phase};

    fn span(op: usize, times: [u64; 4], cause: Option<usize>) -> Span {
        let [ready, start, released, end] = times.map(Time::from_ps);
        let (work, place) = match op % 2 {
            0 => (Work::Known(Duration::from_ps(7)), Place::Stream(StreamId::new(2))),
            _ => {
                let (from, to) = (DeviceId::new(4), DeviceId::new(5));
                (Work::Send { from, to, bytes: Bytes::new(9) }, Place::Port(LinkId::new(8)))
            }
        };
        let (label, collective) = (Label::of(Phase::Dispatch), Some(CollectiveId::new(3)));
        let (op, cause, bound) = (OpId::new(op), cause.map(OpId::new), Bound::Latency);
        Span { op, work, label, collective, place, ready, start, released, end, cause, bound }
    }

    #[test]
    fn spans_come_out_as_they_were_short_or_long() {
        let day = 86_400_000_000_000_000;
        let all = [
            span(0, [0, 0, 0, 0], None),
            span(1, [5, 8, 10, 12], Some(0)),
            span(2, [5, day, day + 1, day + 2], Some(1)),
            span(3, [day, day, 3 * day, 3 * day], None),
            span(5 * CHUNK, [3, 3, 2, 9], Some(3)),
        ];
        let mut spans = Spans::default();
        all.iter().for_each(|span| spans.push(span));
        assert_eq!(spans.iter().collect::<Vec<_>>(), all);
        assert_eq!((spans.get(OpId::new(2)), spans.get(OpId::new(4))), (Some(all[2]), None));
        assert_eq!((spans.totals().end.as_ps(), spans.totals().sent), (3 * day, Bytes::new(18)));
        // Some of many come as they end.
        let mut some = Spans { store: Store::Some(Vec::new()), ..Spans::default() };
        all.iter().rev().for_each(|span| some.push(span));
        let interned = std::mem::take(&mut some.interned);
        let some = some.complete(interned);
        assert_eq!(some.iter().collect::<Vec<_>>(), all);
        assert_eq!((some.get(OpId::new(2)), some.get(OpId::new(4))), (Some(all[2]), None));
    }
}
