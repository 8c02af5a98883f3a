//! How much memory there is for a run: what the machine, the control group and the address-space limit leave.

use super::spec::Scenario;
use crate::units::{Bytes, MemoryRoom};
use std::fs;

/// The part of a machine's memory that a run takes at most, in per cent.
const SHARE: u64 = 80;

/// What a simulation of `scenario` may use: what it says, for whoever names a limit knows why, else `left`.
pub fn simulation_room(scenario: &Scenario, left: MemoryRoom) -> MemoryRoom {
    let named = scenario.simulation_memory.map(|bytes| MemoryRoom { bytes, limit: "`simulation_memory`" });
    named.unwrap_or(left)
}

/// What is left for a run, by the narrowest of the limits that this system tells of.
pub fn memory_room() -> MemoryRoom {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let limits = [
        machine(&read("/proc/meminfo")),
        group(&read("/sys/fs/cgroup/memory.max"), &read("/sys/fs/cgroup/memory.current")),
        address_space(&read("/proc/self/limits"), &read("/proc/self/status")),
    ];
    limits.into_iter().flatten().min_by_key(|room| room.bytes).unwrap_or(MemoryRoom::UNLIMITED)
}

/// The share of the machine's memory, if so much is available.
fn machine(meminfo: &str) -> Option<MemoryRoom> {
    let share = kib(meminfo, "MemTotal:")? / 100 * SHARE;
    let available = kib(meminfo, "MemAvailable:").unwrap_or(share);
    Some(if available < share {
        MemoryRoom { bytes: Bytes::new(available), limit: "the memory that is available on this machine" }
    } else {
        MemoryRoom { bytes: Bytes::new(share), limit: "80 % of the memory of this machine" }
    })
}

/// What a control group leaves.
fn group(most: &str, current: &str) -> Option<MemoryRoom> {
    let [most, current] = [most, current].map(|text| text.trim().parse::<u64>().ok());
    let left = (most? / 100 * SHARE).saturating_sub(current?);
    Some(MemoryRoom { bytes: Bytes::new(left), limit: "80 % of the memory of the control group" })
}

/// What a limit of the address space leaves. Tables that grow take up to twice what they hold.
fn address_space(limits: &str, status: &str) -> Option<MemoryRoom> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    let soft: u64 = line.split_whitespace().next()?.parse().ok()?;
    let left = soft.saturating_sub(kib(status, "VmSize:").unwrap_or(0)) / 2;
    Some(MemoryRoom {
        bytes: Bytes::new(left),
        limit: "half of what the limit of the address space (`ulimit -v`) leaves",
    })
}

/// The bytes of a line such as `MemTotal:       32650756 kB`.
fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(room: Option<MemoryRoom>) -> Option<u64> {
        room.map(|room| room.bytes.get())
    }

    #[test]
    fn what_is_left_is_read_from_what_the_system_tells() {
        let meminfo = "MemTotal:       1000 kB\nMemFree:    10 kB\nMemAvailable:   900 kB\n";
        assert_eq!(left(machine(meminfo)), Some(1_024_000 / 100 * 80));
        assert_eq!(left(machine("MemTotal: 1000 kB\nMemAvailable: 500 kB\n")), Some(512_000));
        assert_eq!(left(machine("")), None);
        assert_eq!(left(group("1000\n", "300\n")), Some(500));
        assert_eq!(left(group("max\n", "300\n")), None);
        let limits = |soft: &str| {
            format!("Max cpu time  unlimited unlimited seconds\nMax address space  {soft} unlimited bytes\n")
        };
        assert_eq!(left(address_space(&limits("10240"), "Name: x\nVmSize:\t2 kB\n")), Some(4096));
        assert_eq!(left(address_space(&limits("1024"), "VmSize:\t2 kB\n")), Some(0));
        assert_eq!(left(address_space(&limits("unlimited"), "")), None);
    }
}
