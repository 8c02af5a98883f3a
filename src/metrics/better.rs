//! Which way a figure should go, judged by its unit.

/// Which way a figure should go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Times, money.
    Lower,
    /// Rates.
    Higher,
    /// Ratios and counts, of which the unit says nothing.
    Neither,
}

impl Better {
    /// What the unit of a metric says.
    pub fn of_unit(unit: &str) -> Better {
        match unit {
            "ps" | "ns" | "us" | "ms" | "s" | "h" | "days" | "USD" | "kUSD" | "MUSD" | "W" | "kW" | "MW" => {
                Better::Lower
            }
            _ if unit.ends_with("/s") => Better::Higher,
            _ => Better::Neither,
        }
    }

    /// Whether `a` is better than `b`.
    pub fn is_better(self, a: f64, b: f64) -> bool {
        match self {
            Better::Lower => a < b,
            Better::Higher => a > b,
            Better::Neither => false,
        }
    }
}
