//! How long packets take on ports, and what is left of a port's rate.

use super::params::PacketParams;
use super::ports::Ports;
use crate::id::CableId;
use crate::topology::LinkKind;
use crate::units::{BytesPerSec, PS_PER_SEC};

/// What a rate that changes is worked out from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    pub(super) bandwidth: BytesPerSec,
    pub(super) achievable: BytesPerSec,
    pub(super) kind: LinkKind,
    pub(super) share: f64,
}

impl Ports {
    /// Sets what is left of a port's rate; none makes it dead.
    pub(super) fn set_share(&mut self, id: CableId, share: f64, params: &PacketParams) {
        let at = id.index();
        self.rates[at].share = share;
        self.all[at].dead = share == 0.0;
        self.odd[at] = (0, 0);
        if share > 0.0 {
            let full = self.work_out(at, self.all[at].full_bytes, params);
            let port = &mut self.all[at];
            port.full = u32::try_from(full).unwrap_or(u32::MAX);
            self.loads[at].per_byte = (port.full / port.full_bytes.max(1)).max(1);
        }
    }

    /// How long `bytes` of data take on a port, in ps.
    pub(super) fn service(&mut self, at: u32, bytes: u32, params: &PacketParams) -> u64 {
        let port = &self.all[at as usize];
        if bytes == port.full_bytes && port.full < u32::MAX {
            return u64::from(port.full);
        }
        let (known, time) = self.odd[at as usize];
        if bytes == known && time > 0 {
            return time;
        }
        let time = self.work_out(at as usize, bytes, params);
        self.odd[at as usize] = (bytes, time);
        time
    }

    /// The longer of two limits: everything on the wire at the line's rate, and the data at the rate that its ends sustain.
    fn work_out(&self, at: usize, bytes: u32, params: &PacketParams) -> u64 {
        let rate = &self.rates[at];
        let data = u64::from(bytes);
        let wire = params.wire(rate.kind).map_or(data, |wire| wire.on_wire(data));
        let time =
            |bytes: u64, rate: BytesPerSec| (u128::from(bytes) * PS_PER_SEC).div_ceil(u128::from(rate.get())) as u64;
        let healthy = time(wire, rate.bandwidth).max(time(data, rate.achievable));
        if rate.share == 1.0 { healthy } else { (healthy as f64 / rate.share).ceil() as u64 }
    }
}
