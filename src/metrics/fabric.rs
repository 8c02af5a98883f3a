//! A fabric as it is compared with what it was.

use crate::topology::FabricMeasures;

/// What was measured of a fabric.
#[derive(Clone, Debug)]
pub struct FabricMetrics {
    /// Counts, distances, bisection, cost.
    pub measures: FabricMeasures,
    /// Switches that are wired unlike others, where there are switches to look at.
    pub odd_switches: Option<usize>,
    /// Virtual lanes that routing needs, where its paths were followed.
    pub virtual_lanes: Option<u8>,
    /// Destinations whose paths were followed, where not all were.
    pub destinations_followed: Option<usize>,
}
