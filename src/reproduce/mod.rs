//! Published figures, worked out again by the same code that runs scenarios.
//!
//! Printed values live in `validation/` and are read there; this module knows ways to work figures out, never a printed value.

mod evaluate;
mod evaluator;
mod printed;
mod spec;

pub use evaluate::{Evaluated, evaluate};
pub use printed::Printed;
pub use spec::{
    AssumptionSpec, FigureSpec, From, GroupSpec, ModelQuantity, NodeDays, PaperSpec, RunMetric, SettingSpec,
    TokenRevenue, TopologyQuantity, WishSpec,
};
