//! Names for contents: the same bytes have the same name on every machine.

/// 128-bit FNV-1a of what is fed to it, as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint(u128);

impl Fingerprint {
    /// The fingerprint of nothing.
    pub const fn new() -> Fingerprint {
        Fingerprint(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }

    /// That of all so far, and `bytes` after it.
    #[must_use]
    pub fn then(self, bytes: &[u8]) -> Fingerprint {
        const PRIME: u128 = (1 << 88) + 0x13b;
        Fingerprint(bytes.iter().fold(self.0, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME)))
    }

    /// That of `bytes` alone.
    pub fn of(bytes: &[u8]) -> Fingerprint {
        Fingerprint::new().then(bytes)
    }
}

impl Default for Fingerprint {
    fn default() -> Fingerprint {
        Fingerprint::new()
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}
