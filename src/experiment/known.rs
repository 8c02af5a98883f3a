//! What experiments have in common.

use crate::routing::TableStore;
use crate::workload::GateDraws;
use std::sync::Arc;

/// What experiments have in common, found out by the first that needs it.
#[derive(Default)]
pub struct Known {
    /// Tokens that passed a gate.
    pub(super) gates: GateDraws,
    /// Tables of next hops that nobody uses at the moment.
    pub(super) tables: Arc<TableStore>,
}
