//! What the figures of fabrics are.

use super::{Entry, MetricDef};
use crate::metrics::{Better, FabricMetrics};

/// Whose answers have these.
pub(super) const TOPOLOGY: &str = "topology";

const COUNTED: &str = "this program's own; counted on the graph of the fabric, or by the formulas of its shape";
const SIZE: Better = Better::Neither("how large the fabric is, which its file decides");

const fn fabric(
    name: &'static str,
    unit: &'static str,
    better: Better,
    [definition, formula, hint]: [&'static str; 3],
) -> MetricDef {
    MetricDef { name, of: TOPOLOGY, unit, better, definition, formula, source: COUNTED, hint }
}

/// Figures of a fabric.
pub(super) static FABRIC: &[Entry<FabricMetrics>] = &[
    Entry {
        def: fabric(
            "endpoints",
            "",
            SIZE,
            ["NICs of the fabric, or GPUs of a scale-up domain.", "count", "Costs are compared by endpoint."],
        ),
        value: |m| Some(m.measures.endpoints as f64),
    },
    Entry {
        def: fabric(
            "switches",
            "",
            Better::Neither("fewer are cheaper and more carry more, as cost, power and bisection say"),
            ["Switches of the fabric.", "count over all tiers and planes", "Cost and power judge them."],
        ),
        value: |m| Some(m.measures.switches as f64),
    },
    Entry {
        def: fabric(
            "endpoint_cables",
            "",
            SIZE,
            ["Cables between endpoints and switches.", "count", "One for each port of an endpoint."],
        ),
        value: |m| Some(m.measures.endpoint_cables as f64),
    },
    Entry {
        def: fabric(
            "switch_cables",
            "",
            Better::Neither("fewer are cheaper and more carry more, as cost, power and bisection say"),
            ["Cables between switches.", "count over all tiers and planes", "Mostly optical, and much of the cost."],
        ),
        value: |m| Some(m.measures.switch_cables as f64),
    },
    Entry {
        def: fabric(
            "planes",
            "",
            Better::Neither("how the fabric is built, which its file decides"),
            [
                "Parts of the fabric that no cable joins.",
                "connected components of the graph of switches and endpoints",
                "Another number than the shape has means a cable too many or too few.",
            ],
        ),
        value: |m| Some(m.measures.planes? as f64),
    },
    Entry {
        def: fabric(
            "odd_switches",
            "",
            Better::Lower,
            [
                "Switches that are wired unlike the others of their tier.",
                "count of switches whose neighbours differ in number or kind from most of their tier",
                "A sign of a cable in a wrong port.",
            ],
        ),
        value: |m| Some(m.odd_switches? as f64),
    },
    Entry {
        def: fabric(
            "oversubscription",
            "",
            Better::Lower,
            [
                "Bandwidth towards endpoints over bandwidth away from them, of the tier where that is largest.",
                "largest over the tiers of (bandwidth down / bandwidth up)",
                "1 where a fabric does not block.",
            ],
        ),
        value: |m| m.measures.tiers.iter().filter_map(|tier| tier.oversubscription).reduce(f64::max),
    },
    Entry {
        def: fabric(
            "bisection",
            "GB/s",
            Better::Higher,
            [
                "Bandwidth between two halves of the endpoints, in one direction.",
                "maximum flow between the halves, or the cables that cross between them",
                "What an all-to-all of all endpoints is held up by.",
            ],
        ),
        value: |m| Some(m.measures.bisection?.bandwidth.get() as f64 / 1e9),
    },
    Entry {
        def: fabric(
            "bisection_of_full",
            "",
            Better::Higher,
            [
                "Bisection bandwidth over what half of the endpoints can send.",
                "bisection / (endpoints / 2 * bandwidth of an endpoint)",
                "1 where a fabric does not block.",
            ],
        ),
        value: |m| Some(m.measures.bisection?.full_fraction),
    },
    Entry {
        def: fabric(
            "diameter",
            "",
            Better::Lower,
            [
                "Links on the longest of the shortest paths between switches that have endpoints.",
                "maximum over pairs of switches",
                "Each link adds a cable and a switch to the latency.",
            ],
        ),
        value: |m| Some(f64::from(m.measures.distances?.diameter)),
    },
    Entry {
        def: fabric(
            "average_distance",
            "",
            Better::Lower,
            [
                "Links on the shortest path between two switches that have endpoints, on average.",
                "mean over pairs of switches, from a sample in a large fabric",
                "What random traffic loads the links with.",
            ],
        ),
        value: |m| Some(m.measures.distances?.average),
    },
    Entry {
        def: fabric(
            "cost",
            "USD",
            Better::Lower,
            [
                "Capital cost of switches and cables.",
                "sum of the prices in the files of switches and cables",
                "Without NICs, racks and work; absent where a part has no price.",
            ],
        ),
        value: |m| Some(m.measures.cost?.as_f64()),
    },
    Entry {
        def: fabric(
            "power",
            "kW",
            Better::Lower,
            [
                "Power that switches and cables draw at most.",
                "sum of the powers in the files of switches and cables",
                "Without NICs; absent where a part has no power.",
            ],
        ),
        value: |m| Some(m.measures.power?.as_f64() / 1e3),
    },
    Entry {
        def: fabric(
            "virtual_lanes",
            "",
            Better::Lower,
            [
                "Virtual lanes that routing needs so that packets never wait for each other in a circle.",
                "times that a path turns up again after it went down or level, and one",
                "Switches have few: a fabric that needs more can deadlock.",
            ],
        ),
        value: |m| m.virtual_lanes.map(f64::from),
    },
    Entry {
        def: fabric(
            "destinations_followed",
            "",
            Better::Neither("how many of them were looked at, which the size of the fabric decides"),
            [
                "Destinations whose paths were followed in search of a deadlock, where not all were.",
                "count",
                "What was not followed may still close a circle.",
            ],
        ),
        value: |m| Some(m.destinations_followed? as f64),
    },
];
