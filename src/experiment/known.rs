//! What experiments have in common.

use crate::workload::GateDraws;

/// What experiments have in common, found out by the first that needs it.
#[derive(Default)]
pub struct Known {
    /// Tokens that passed a gate.
    pub(super) gates: GateDraws,
}
