//! What happened: one span per operation, with what it waited for. The only output of a run.
//!
//! Everything that is reported is computed from here. Spans are stored packed and read one by one; a [`Recorder`] says which of them are
//! kept. This module must not know how the spans came about.

mod path;
mod recorder;
mod spans;

pub use crate::network::LinkUse;
pub use path::{Segment, critical_path};
pub use recorder::{Recorder, Sample};
pub use spans::{Ended, SPAN_BYTES, SpanIter, Spans};

use crate::id::{CollectiveId, DeviceId, LinkId, OpId, StreamId};
use crate::units::{Bytes, Flops, Time};
use crate::workload::{Chosen, Label, RequestTrace, Stream, Work};

/// What an operation occupies while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// An in-order queue of a device.
    Stream(StreamId),
    /// The link on which a transfer enters the network.
    Port(LinkId),
}

/// What decides how long an operation takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bound {
    /// Matrix units.
    Tensor,
    /// Scaling and promoting of accumulators, which matrix units wait for.
    Promotion,
    /// Arithmetic outside the matrix units.
    Cuda,
    /// A kernel before attention that converts its operands: the whole FP8 cache, in libraries that do not convert it inside.
    Cast,
    /// Bandwidth between a streaming multiprocessor and L2.
    L2,
    /// Memory bandwidth.
    Memory,
    /// Streaming multiprocessors without work, because blocks do not fill the last wave.
    Tail,
    /// Streaming multiprocessors that other kernels hold.
    Held,
    /// Time to launch, and other parts of a kernel that do not grow with its work.
    Launch,
    /// Bandwidth of the narrowest link.
    Link,
    /// Latency of the route.
    Latency,
    /// The host.
    Host,
    /// A chunk that was simulated by itself.
    Chunk,
    /// Communication software.
    Software,
    /// Nothing: the model says that it takes no time.
    Nothing,
}

impl Bound {
    /// The name in reports and files.
    pub const fn name(self) -> &'static str {
        match self {
            Bound::Tensor => "tensor cores",
            Bound::Promotion => "promotion",
            Bound::Cuda => "CUDA cores",
            Bound::Cast => "cast",
            Bound::L2 => "L2",
            Bound::Memory => "memory",
            Bound::Tail => "tail",
            Bound::Held => "held SMs",
            Bound::Launch => "launch",
            Bound::Link => "link",
            Bound::Latency => "latency",
            Bound::Host => "host",
            Bound::Chunk => "chunk",
            Bound::Software => "software",
            Bound::Nothing => "nothing",
        }
    }
}

/// One operation that ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The operation.
    pub op: OpId,
    /// What it did.
    pub work: Work,
    /// Where in a step it stands.
    pub label: Label,
    /// The collective that it was part of.
    pub collective: Option<CollectiveId>,
    /// What it occupied.
    pub place: Place,
    /// When nothing but its place kept it waiting.
    pub ready: Time,
    /// When it began to occupy its place.
    pub start: Time,
    /// When its place was free again.
    pub released: Time,
    /// When its dependents could go on: later than `released` for data still on its way.
    pub end: Time,
    /// The operation whose end let this one start; none at the beginning or after an arrival.
    pub cause: Option<OpId>,
    /// What decided how long it took.
    pub bound: Bound,
}

/// A transfer that could not end, because no way was left for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stranded {
    /// The operation.
    pub op: OpId,
    /// Where the data is.
    pub from: DeviceId,
    /// Where it should go.
    pub to: DeviceId,
    /// How much in all.
    pub bytes: Bytes,
    /// Since when it has no way.
    pub since: Time,
}

/// What it took to simulate a run, in counts that no machine changes: tests hold how they grow with what is simulated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// Operations, over all simulations that the run is made of.
    pub operations: u64,
    /// What operations waited for, each counted for each that waited for it.
    pub dependencies: u64,
    /// Instants at which an engine had something to do, and steps that were taken at known times.
    pub instants: u64,
}

impl std::ops::AddAssign for Effort {
    fn add_assign(&mut self, more: Effort) {
        self.operations += more.operations;
        self.dependencies += more.dependencies;
        self.instants += more.instants;
    }
}

impl std::ops::Sub for Effort {
    type Output = Effort;
    fn sub(self, less: Effort) -> Effort {
        Effort {
            operations: self.operations - less.operations,
            dependencies: self.dependencies - less.dependencies,
            instants: self.instants - less.instants,
        }
    }
}

/// What happened in a run.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// The spans of operations that ended, packed; [`Timeline::spans`] reads them.
    pub recorded: Spans,
    /// The streams that spans refer to.
    pub streams: Vec<Stream>,
    /// The ports that spans refer to, with the device at which each one enters the network.
    pub ports: Vec<(LinkId, DeviceId)>,
    /// Transfers that could not end. What waited for them did not run either.
    pub stranded: Vec<Stranded>,
    /// What passed each link that was used, in order of link, where the network model knows it.
    pub links: Vec<LinkUse>,
    /// What was chosen for its collectives, and for how many.
    pub collectives: Vec<(Chosen, u64)>,
    /// What it took to simulate.
    pub effort: Effort,
    /// Phases of requests that were served: of the first ones, and of some of the others.
    pub requests: Vec<RequestTrace>,
}

impl Timeline {
    /// One span per operation that ended and whose span was kept, in order of operation.
    pub fn spans(&self) -> SpanIter<'_> {
        self.recorded.iter()
    }

    /// The span of `op`, unless it did not end or was not kept.
    pub fn span(&self, op: OpId) -> Option<Span> {
        self.recorded.get(op)
    }

    /// Adds the span of an operation that follows all others.
    pub fn push(&mut self, span: &Span) {
        self.recorded.push(span);
    }

    /// When the last operation ended.
    pub fn end(&self) -> Time {
        self.recorded.totals().end
    }

    /// Whether the span is a transfer between devices, or the software of one.
    pub fn is_communication(span: &Span) -> bool {
        matches!(span.work, Work::Send { .. } | Work::Software(_))
    }

    /// Data that all transfers moved.
    pub fn bytes_sent(&self) -> Bytes {
        self.recorded.totals().sent
    }

    /// Work that all kernels did.
    pub fn flops(&self) -> Flops {
        self.recorded.totals().flops
    }
}
