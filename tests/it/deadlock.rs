//! The proof that routing cannot deadlock, against ways that the tests of routing follow one by one, and against fabrics that can.

use crate::cli::{golden_file, octoplane, root, scratch, stdout};
use crate::golden;
use crate::routing::{Waits, every_shape, fabric, waits};
use octoplane::id::LinkId;
use octoplane::routing::{ForwardChoice, NextHops, find_waits};
use octoplane::topology::Topology;
use std::collections::BTreeSet;
use std::fs;

const ALL: usize = usize::MAX;

/// The waits of every way between any two ends, link by link, where the last of `lanes` lanes takes what wants a higher one.
fn folded(topology: &Topology, waits: &Waits, lanes: u8) -> BTreeSet<((LinkId, u8), (LinkId, u8))> {
    let next = NextHops::new(topology, ForwardChoice::OwnNic, &[]);
    let fold = |&(cable, lane): &(_, u8)| (next.cables().get(cable).link, lane.min(lanes - 1));
    let pairs = waits.0.iter().flat_map(|(held, wanted)| wanted.iter().map(move |wanted| (held, wanted)));
    pairs.map(|(held, wanted)| (fold(held), fold(wanted))).collect()
}

/// Whether waits can be put in an order: those that nothing waits for are taken away until none is left.
fn are_acyclic(mut waits: BTreeSet<((LinkId, u8), (LinkId, u8))>) -> bool {
    loop {
        let wanted: BTreeSet<(LinkId, u8)> = waits.iter().map(|(_, wanted)| *wanted).collect();
        let before = waits.len();
        waits.retain(|(held, _)| wanted.contains(held));
        if waits.len() == before {
            return waits.is_empty();
        }
    }
}

#[test]
fn circles_are_found_where_ways_followed_one_by_one_close_them_and_nowhere_else() {
    let mut with_circle = BTreeSet::new();
    for (name, topology) in every_shape() {
        let (one_by_one, lanes) = waits(&topology, ForwardChoice::OwnNic, &[], false);
        for lanes_max in [1, 2, 15] {
            let found = find_waits(&topology, ForwardChoice::OwnNic, lanes_max, ALL);
            let expected = folded(&topology, &one_by_one, lanes_max);
            assert!(!found.is_sample(), "{name}");
            assert_eq!(found.lanes_wanted, lanes, "{name}");
            assert_eq!(found.circle.is_none(), are_acyclic(expected.clone()), "{name}, {lanes_max} lanes");
            let Some(circle) = found.circle else { continue };
            with_circle.insert((name, lanes_max));
            for (at, held) in circle.iter().enumerate() {
                let wanted = circle[(at + 1) % circle.len()];
                let wait = ((held.link, held.lane), (wanted.link, wanted.lane));
                assert!(expected.contains(&wait), "{name}: no way waits like that: {held:?}, {wanted:?}");
            }
        }
    }
    let expected = [("dragonfly", 1), ("dragonfly", 2), ("ring", 1), ("slim fly", 1)];
    let known: Vec<_> = with_circle.into_iter().collect();
    assert_eq!(known, expected, "of trees one lane is enough; two hops between routers need two, three need three");
}

#[test]
fn a_sample_of_destinations_says_that_it_is_one_and_sees_a_deadlock_too() {
    let dragonfly = fabric(crate::routing::DRAGONFLY, 8);
    let sample = |lanes| find_waits(&dragonfly, ForwardChoice::OwnNic, lanes, 8 * dragonfly.n_links());
    let found = sample(3);
    assert_eq!((found.followed, found.destinations, found.circle), (8, 36, None));
    let circle = sample(1).circle.expect("one lane is not enough");
    let is_joined = |at: usize| {
        let (end, start) = (dragonfly.ends(circle[at].link).1, dragonfly.ends(circle[(at + 1) % circle.len()].link).0);
        end == start
    };
    assert!((0..circle.len()).all(is_joined), "{circle:?}");
}

#[test]
fn a_fabric_whose_switches_have_too_few_lanes_is_caught_and_its_circle_named() {
    let folder = scratch("check_deadlock");
    let ring = fs::read_to_string(root().join("topologies/explicit_ring.toml")).unwrap();
    let ring = ring.replace("../hardware", &root().join("hardware").display().to_string());
    let path = folder.join("ring.toml");
    let check = |text: &str| {
        fs::write(&path, text).unwrap();
        octoplane(&folder, &["check", "--root", ".", "ring.toml"])
    };
    assert_eq!(check(&ring).status.code(), Some(0), "two lanes of fifteen are enough");
    let fewer = ring.replace("infiniband_64x400g.toml\"\n", "infiniband_64x400g.toml\"\npacket.virtual_lanes = 1\n");
    assert_ne!(ring, fewer);
    let output = check(&fewer);
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    golden::all(vec![golden::check(&golden_file("check/too_few_lanes.txt"), &stdout(&output))]);
}

/// A scenario of eight NICs that all send to each other, packet by packet, on the fabric of a file beside it.
const ALL_TO_ALL: &str = r#"
    name = "all to all"
    nodes = 8
    network = "packet"
    [hardware]
    extends = "ROOT/hardware/nodes/dgx_h800.toml"
    gpus = 1
    nics.count = 1
    [topology]
    extends = "FABRIC.toml"
    [workload.collective]
    kind = "all_to_all"
    bytes = "1 MB"
    protocol = "bare"
"#;

#[test]
fn packets_run_where_few_lanes_close_no_circle_and_are_refused_where_they_do() {
    let folder = scratch("run_deadlock");
    let ring = fs::read_to_string(root().join("topologies/explicit_ring.toml")).unwrap();
    let hardware = root().join("hardware").display().to_string();
    let few = "infiniband_64x400g.toml\"\npacket.virtual_lanes = 1\n";
    let ring = ring.replace("../hardware", &hardware).replace("infiniband_64x400g.toml\"\n", few);
    // A ring that is cut open is a line, on which ways turn as often but never come back.
    let cut = |line: &&str| !line.contains(r#"between = ["west", "north"]"#) && !line.contains("max_diameter");
    let line: Vec<&str> = ring.lines().filter(cut).collect();
    let run = |fabric: &str, text: &str| {
        fs::write(folder.join(format!("{fabric}.toml")), text).unwrap();
        let scenario = ALL_TO_ALL.replace("ROOT", &root().display().to_string()).replace("FABRIC", fabric);
        fs::write(folder.join("scenario.toml"), scenario).unwrap();
        octoplane(&folder, &["run", "scenario.toml"])
    };
    let output = run("line", &line.join("\n"));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let output = run("ring", &ring);
    assert_eq!(output.status.code(), Some(2), "{}", stdout(&output));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("virtual lanes so that it cannot deadlock, and switches have 1"), "{message}");
    assert!(message.contains("ring.toml:"), "{message}");
}
