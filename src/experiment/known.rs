//! What experiments have in common.

use super::memo::SharedTimes;
use crate::gpu::tile::{CourseStore, course_store};
use crate::routing::{TableStore, table_store};
use crate::workload::GateDraws;
use std::sync::Arc;

/// What experiments have in common, found out by the first that needs it.
pub struct Known {
    /// Tokens that passed a gate.
    pub(super) gates: GateDraws,
    /// Tables of next hops that nobody uses at the moment.
    pub(super) tables: Arc<TableStore>,
    /// Kernels that were simulated, by GPU; nobody uses these at the moment.
    pub(super) kernels: Arc<CourseStore>,
    /// How long steps take, by all that decides it.
    pub(super) times: SharedTimes,
}

impl Default for Known {
    fn default() -> Known {
        Known {
            gates: GateDraws::default(),
            tables: table_store(),
            kernels: course_store(),
            times: SharedTimes::default(),
        }
    }
}
