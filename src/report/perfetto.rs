//! A timeline as a trace that <https://ui.perfetto.dev> opens: one track per GPU stream and one per NIC or scale-up port.
//!
//! The format is Perfetto's protobuf (`perfetto/trace/trace_packet.proto`), written by hand because it takes five messages.
//! Perfetto counts nanoseconds; picoseconds are cut off at both ends of a span, so that spans of one track still never overlap.

use crate::id::{DeviceId, LinkId, OpId};
use crate::timeline::{Place, Span, Timeline};
use crate::topology::{LinkKind, Topology};
use crate::units::Time;
use crate::workload::{RequestTrace, Work};
use std::collections::BTreeMap;

/// Encodes `timeline`; `topology` names the devices.
pub fn perfetto_trace(timeline: &Timeline, topology: &Topology) -> Vec<u8> {
    let mut trace = Trace::default();
    let mut order: Vec<(Time, Time, OpId)> =
        timeline.spans().map(|span| (span.start, span.released, span.op)).collect();
    order.sort_unstable();
    let spans = || order.iter().filter_map(|&(_, _, op)| timeline.span(op));
    let (rows, counts) = rows(spans());
    let mut tracks: BTreeMap<(Place, usize), u64> = BTreeMap::new();
    let mut places: BTreeMap<DeviceId, Vec<(Place, String)>> = BTreeMap::new();
    for (index, stream) in timeline.streams.iter().enumerate() {
        let place = Place::Stream(crate::id::StreamId::new(index));
        places.entry(stream.device).or_default().push((place, stream.name.to_owned()));
    }
    for &(port, device) in &timeline.ports {
        places.entry(device).or_default().push((Place::Port(port), port_name(topology, port)));
    }
    // Perfetto drops slices of process 0 and thread 0 without a word, so that both are counted from 1.
    for (pid, (device, threads)) in (1..).zip(&places) {
        trace.process(pid, &topology.device(*device).to_string());
        let rows = threads.iter().flat_map(|(place, name)| {
            let count = counts.get(place).map_or(1, Vec::len);
            (0..count)
                .map(move |row| (*place, row, if row == 0 { name.clone() } else { format!("{name}, {}", row + 1) }))
        });
        for (tid, (place, row, name)) in (1..).zip(rows) {
            tracks.insert((place, row), trace.thread(pid, tid, &name));
        }
    }
    for (span, row) in spans().zip(rows) {
        trace.slice(tracks[&(span.place, row)], &span, topology);
    }
    trace.requests(places.len() as u64 + 1, &timeline.requests);
    trace.bytes
}

/// The phases of a request that have begun and ended, one after the other.
fn phases(request: &RequestTrace) -> Vec<(&'static str, Time, Time)> {
    let RequestTrace { arrival, admitted, prefilled, moved, finished, .. } = *request;
    let all = [
        ("queue", arrival, admitted),
        ("prefill", admitted, prefilled),
        ("KV transfer", prefilled, moved),
        ("decode", moved, finished),
    ];
    all.into_iter().filter(|&(_, from, until)| from < until && until != Time::FAR_FUTURE).collect()
}

/// A row for each span, in order of start, so that spans of one row never overlap; and until when the rows of each place are
/// taken. Only transfers that share a port need more than one.
fn rows(spans: impl Iterator<Item = Span>) -> (Vec<usize>, BTreeMap<Place, Vec<Time>>) {
    let mut taken: BTreeMap<Place, Vec<Time>> = BTreeMap::new();
    let row = |span: Span| {
        let rows = taken.entry(span.place).or_default();
        let row = rows.iter().position(|&until| until <= span.start).unwrap_or(rows.len());
        rows.resize(rows.len().max(row + 1), Time::ZERO);
        rows[row] = span.released;
        row
    };
    (spans.map(row).collect(), taken)
}

fn port_name(topology: &Topology, port: LinkId) -> String {
    match topology.link(port).kind {
        LinkKind::ScaleUp => "scale-up port".to_owned(),
        LinkKind::Host => "host port".to_owned(),
        LinkKind::Endpoint | LinkKind::Fabric => format!("port to {}", topology.device(topology.ends(port).1)),
    }
}

/// One writer for all packets, so that names need to be sent once only.
const SEQUENCE: u64 = 1;

#[derive(Default)]
struct Trace {
    bytes: Vec<u8>,
    names: BTreeMap<String, u64>,
    tracks: u64,
}

impl Trace {
    fn process(&mut self, pid: u64, name: &str) {
        let process = Message::default().number(1, pid).text(6, name);
        self.track(|track| track.message(3, &process));
    }

    fn thread(&mut self, pid: u64, tid: u64, name: &str) -> u64 {
        let thread = Message::default().number(1, pid).number(2, pid * 1000 + tid).text(5, name);
        self.track(|track| track.message(4, &thread))
    }

    fn track(&mut self, describe: impl FnOnce(Message) -> Message) -> u64 {
        self.tracks += 1;
        let descriptor = describe(Message::default().number(1, self.tracks));
        self.packet(Message::default().message(60, &descriptor));
        self.tracks
    }

    /// A process of its own in which every request has a thread.
    fn requests(&mut self, pid: u64, requests: &[RequestTrace]) {
        if requests.is_empty() {
            return;
        }
        self.process(pid, "requests");
        for (tid, request) in (1..).zip(requests) {
            let track = self.thread(pid, tid, &format!("request {}", request.request));
            for (name, from, until) in phases(request) {
                let (name, fresh) = self.name(name.to_owned());
                let begin = Message::default().number(9, 1).number(10, name).number(11, track);
                self.interned(at(from).message(11, &begin), name, fresh);
                let end = Message::default().number(9, 2).number(11, track);
                self.packet(at(until).message(11, &end));
            }
        }
    }

    /// Writes `packet`, which uses a name, with that name if it is new.
    fn interned(&mut self, packet: Message, name: u64, fresh: Option<String>) {
        let entry = fresh.map(|text| Message::default().number(1, name).text(2, &text));
        self.packet(match entry {
            Some(entry) => packet.message(12, &Message::default().message(2, &entry)),
            None => packet,
        });
    }

    fn slice(&mut self, track: u64, span: &Span, topology: &Topology) {
        let (name, fresh) = self.name(slice_name(span));
        let mut begin = Message::default().number(9, 1).number(10, name).number(11, track);
        for (key, value) in annotations(span, topology) {
            begin = begin.message(4, &Message::default().text(10, key).text(6, &value));
        }
        self.interned(at(span.start).message(11, &begin), name, fresh);
        let end = Message::default().number(9, 2).number(11, track);
        self.packet(at(span.released).message(11, &end));
    }

    /// The number of a name, and the name itself when it is new.
    fn name(&mut self, name: String) -> (u64, Option<String>) {
        let known = self.names.len() as u64 + 1;
        match self.names.get(&name) {
            Some(&id) => (id, None),
            None => {
                self.names.insert(name.clone(), known);
                (known, Some(name))
            }
        }
    }

    fn packet(&mut self, packet: Message) {
        // The first packet clears what the reader knows of this sequence; all others build on it.
        let flags = if self.bytes.is_empty() { 1 } else { 2 };
        let packet = packet.number(10, SEQUENCE).number(13, flags);
        self.bytes.extend(Message::default().message(1, &packet).0);
    }
}

fn slice_name(span: &Span) -> String {
    let phase = span.label.phase;
    let what = match span.work {
        Work::Compute(kernel) => kernel.to_string(),
        Work::Copy(bytes) => format!("copy {bytes:.1}"),
        Work::Send { bytes, .. } => format!("send {bytes:.1}"),
        Work::HostDelay(_) => "host".to_owned(),
        Work::Known(_) if phase.is_step() => return phase.to_string(),
        Work::Known(_) => format!("micro-batch {}", span.label.micro_batch),
        Work::Software(_) => "software".to_owned(),
    };
    format!("{phase}: {what}")
}

fn at(time: Time) -> Message {
    Message::default().number(8, time.as_ps() / 1000)
}

fn annotations(span: &Span, topology: &Topology) -> Vec<(&'static str, String)> {
    let mut annotations = vec![
        ("layer", span.label.layer.to_string()),
        ("micro-batch", span.label.micro_batch.to_string()),
        ("bound by", span.bound.name().to_owned()),
        ("waited", (span.start - span.ready).to_string()),
    ];
    if let Work::Send { from, to, .. } = span.work {
        annotations.push(("from", topology.device(from).to_string()));
        annotations.push(("to", topology.device(to).to_string()));
        annotations.push(("arrives after", (span.end - span.start).to_string()));
    }
    annotations
}

/// A protobuf message under construction.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn number(mut self, field: u32, value: u64) -> Message {
        self.varint(u64::from(field) << 3);
        self.varint(value);
        self
    }

    fn text(self, field: u32, text: &str) -> Message {
        self.delimited(field, text.as_bytes())
    }

    fn message(self, field: u32, message: &Message) -> Message {
        self.delimited(field, &message.0)
    }

    fn delimited(mut self, field: u32, content: &[u8]) -> Message {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(content.len() as u64);
        self.0.extend_from_slice(content);
        self
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_follow_the_wire_format() {
        let message = Message::default().number(1, 300).text(2, "hi");
        assert_eq!(message.0, [0x08, 0xac, 0x02, 0x12, 2, b'h', b'i']);
    }
}
