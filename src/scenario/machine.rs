//! What the machine has on which a simulation runs.

use super::spec::Scenario;
use crate::units::Bytes;
use std::fs;

/// Memory that a simulation of `scenario` may use: what it says, else four fifths of what the machine, or the container, has. None
/// where that is not known.
pub fn simulation_memory(scenario: &Scenario) -> Option<Bytes> {
    scenario.simulation_memory.or_else(|| Some(Bytes::new(machine_memory()? / 5 * 4)))
}

/// Bytes of memory of this machine, or those that the container is limited to.
fn machine_memory() -> Option<u64> {
    let read = |path: &str| fs::read_to_string(path).ok();
    let whole = read("/proc/meminfo").and_then(|text| total(&text));
    let limit = |path: &str| read(path)?.trim().parse::<u64>().ok();
    let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"].map(limit);
    limits.into_iter().chain([whole]).flatten().min()
}

/// The line `MemTotal:  131072 kB` of /proc/meminfo.
fn total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_read_from_its_line() {
        assert_eq!(total("MemFree: 7 kB\nMemTotal:       131072 kB\n"), Some(128 << 20));
        assert_eq!(total("MemFree: 7 kB\n"), None);
    }
}
