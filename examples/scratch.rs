#![allow(missing_docs, clippy::disallowed_types, clippy::disallowed_methods)]
use octoplane::hardware::*;
use octoplane::id::*;
use octoplane::network::*;
use octoplane::routing::*;
use octoplane::topology::*;
use octoplane::units::*;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let hosts: u32 = args[1].parse().unwrap();
    let radix: u32 = args[2].parse().unwrap();
    let layers: u32 = args[3].parse().unwrap();
    let pattern = args[4].as_str();
    let bytes: u64 = args[5].parse().unwrap();
    let policy = match args[6].as_str() {
        "static" => RoutingChoice::Static,
        "ecmp" => RoutingChoice::Ecmp,
        "adaptive" => RoutingChoice::Adaptive,
        _ => RoutingChoice::Spray,
    };
    let text = format!(
        r#"
        name = "test"
        switch = {{ name = "test", radix = {radix}, port_bandwidth_per_direction = "400 Gb/s", latency = "300 ns",
                    power = "1000 W", packet = {{ buffer = "128 KiB", flow_control = "credits" }} }}
        endpoint_cable = {{ name = "short", latency = "15 ns", power = "1 W" }}
        switch_cable = {{ name = "long", latency = "150 ns", power = "20 W" }}
        [shape.fat_tree]
        layers = {layers}
        endpoints = {hosts}
        "#
    );
    let spec: TopologySpec = toml::from_str(&text).unwrap();
    let t0 = std::time::Instant::now();
    let topology = build_fabric(&spec).unwrap();
    let wire = WireSpec { payload: Bytes::new(4096), header: Bytes::new(26) };
    let params = PacketParams::of_fabric(&spec, wire).unwrap();
    let routing = RoutingSpec { policy, ..RoutingSpec::default() };
    let mut model = PacketModel::new(&topology, params, routing, 1, FaultSchedule::default());
    let nics: Vec<DeviceId> = topology.devices_of(DeviceKind::Nic).collect();
    let n = nics.len();
    let t1 = std::time::Instant::now();
    let mut id = 0;
    let mut start = |model: &mut PacketModel, from: usize, to: usize, bytes: u64| {
        model.start(Time::ZERO, Flow { id: FlowId::new(id), from: nics[from], to: nics[to], bytes: Bytes::new(bytes) });
        id += 1;
    };
    let mut rng = octoplane::rng::Seed(7).stream("perm");
    match pattern {
        "perm" => {
            let mut to: Vec<usize> = (0..n).collect();
            for i in (1..n).rev() {
                to.swap(i, rng.below(i as u32 + 1) as usize);
            }
            for i in 0..n {
                if to[i] != i {
                    start(&mut model, i, to[i], bytes);
                }
            }
        }
        "shift" => (0..n).for_each(|i| start(&mut model, i, (i + n / 2) % n, bytes)),
        "a2a" => (0..n).for_each(|i| (1..n).for_each(|d| start(&mut model, i, (i + d) % n, bytes / n as u64))),
        _ => (1..n).for_each(|i| start(&mut model, i, 0, bytes)),
    }
    let t2 = std::time::Instant::now();
    let mut arrived = Vec::new();
    let mut end = Time::ZERO;
    loop {
        let now = model.advance_until(Time::FAR_FUTURE, &mut arrived);
        if now == Time::FAR_FUTURE {
            break;
        }
        end = now;
    }
    let t3 = std::time::Instant::now();
    let tally = model.tally();
    let secs = (t3 - t2).as_secs_f64();
    println!(
        "{} hosts, {} flows, end {end}, ideal {}; build {:?} start {:?} run {:?}; {:.2} M hops, {:.2} M events, {:.2} M hops/s, most {} packets",
        n,
        arrived.len(),
        Bytes::new(bytes) / BytesPerSec::new(50_000_000_000),
        t1 - t0,
        t2 - t1,
        t3 - t2,
        tally.hops as f64 / 1e6,
        tally.events as f64 / 1e6,
        tally.hops as f64 / secs / 1e6,
        tally.packets_most
    );
}
