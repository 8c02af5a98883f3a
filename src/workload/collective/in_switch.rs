//! All-reduce inside a scale-up switch: every GPU reads its part of the result, reduced by the switch from all GPUs, and writes
//! it back once for all.
//!
//! Towards the switch a GPU sends all its data, for others to read, and its reduced part; it receives its part and the whole
//! result. Reading and writing overlap.

use super::desk::{Desk, Front};
use crate::hardware::InSwitchSpec;
use crate::units::{Bytes, Fraction};

/// All-reduce of `bytes` among all ranks of one domain.
pub(super) fn in_switch_all_reduce(
    desk: &mut Desk<'_>,
    bytes: Bytes,
    spec: Option<&InSwitchSpec>,
    front: &Front,
) -> Front {
    let n = desk.group.len();
    let passed = passed(bytes, n);
    let share = spec.map_or(Fraction::ONE, |spec| spec.wire_share);
    let mut arrived: Vec<_> = Vec::new();
    let mut returned = Vec::new();
    for (rank, ready) in front.iter().enumerate() {
        let device = desk.group.ranks[rank];
        let switch = desk.group.switches[rank].expect("an in-switch collective has a switch");
        arrived.push(desk.move_between(device, switch, passed, share, ready));
        returned.push(desk.move_between(switch, device, passed, share, ready));
    }
    // No rank has its result before the last has sent its data.
    (0..n).map(|rank| arrived.iter().copied().chain([returned[rank]]).collect()).collect()
}

/// What passes a GPU's port in each direction.
pub(super) fn passed(bytes: Bytes, n: usize) -> Bytes {
    bytes + Bytes::new(bytes.get().div_ceil(n as u64))
}
