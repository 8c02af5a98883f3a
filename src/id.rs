//! Typed indices. An id has no arithmetic: it is only compared, stored and used to look something up.

use std::fmt;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident, $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u32);

        impl $name {
            /// The id of the `index`-th item.
            pub fn new(index: usize) -> $name {
                $name(u32::try_from(index).unwrap_or_else(|_| panic!("{index} exceeds the range of an id")))
            }

            /// The item's place in its table.
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )*};
}

ids! {
    /// A vertex of the topology: GPU, NIC, switch or CPU.
    DeviceId, "device";
    /// A directed edge of the topology.
    LinkId, "link";
    /// One direction of one cable; a link may stand for several parallel ones.
    CableId, "cable";
    /// A logical worker of a parallel plan.
    Rank, "rank";
    /// An operation of the op graph.
    OpId, "op";
    /// A transfer in the network.
    FlowId, "flow";
    /// An in-order queue of operations on one device.
    StreamId, "stream";
    /// One collective call; the sends that it expands into carry it as a tag.
    CollectiveId, "collective";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stay_small() {
        assert_eq!(size_of::<Option<OpId>>(), 8);
        assert_eq!(OpId::new(7).to_string(), "op7");
    }
}
