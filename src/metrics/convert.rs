//! Units of metrics, and what one is in another.

/// What a unit measures, and how much of the least unit of its kind, a whole number so that factors are exact; none for a unit that is not known.
fn measures(unit: &str) -> Option<(&'static str, f64)> {
    Some(match unit {
        "ps" => ("time", 1.0),
        "ns" => ("time", 1e3),
        "us" => ("time", 1e6),
        "ms" => ("time", 1e9),
        "s" => ("time", 1e12),
        "min" => ("time", 6e13),
        "h" => ("time", 3.6e15),
        "k h" => ("time", 3.6e18),
        "days" => ("time", 8.64e16),
        "" | "x" => ("number", 1e2),
        "%" => ("number", 1.0),
        "k" => ("number", 1e5),
        "M" => ("number", 1e8),
        "G" => ("number", 1e11),
        "B" => ("bytes", 1.0),
        "KB" => ("bytes", 1e3),
        "MB" => ("bytes", 1e6),
        "GB" => ("bytes", 1e9),
        "B/s" => ("bandwidth", 1.0),
        "MB/s" => ("bandwidth", 1e6),
        "GB/s" => ("bandwidth", 1e9),
        "TB/s" => ("bandwidth", 1e12),
        "Gb/s" => ("bandwidth", 1.25e8),
        "tokens/s" => ("token rate", 1.0),
        "k tokens/s" => ("token rate", 1e3),
        "GFLOP" => ("operations", 1e9),
        "TFLOP" => ("operations", 1e12),
        "GFLOP/s" => ("operation rate", 1e9),
        "TFLOP/s" => ("operation rate", 1e12),
        "PFLOP/s" => ("operation rate", 1e15),
        "USD" => ("money", 1.0),
        "k USD" => ("money", 1e3),
        "M USD" => ("money", 1e6),
        "Wh" => ("energy", 1.0),
        "kWh" => ("energy", 1e3),
        "MWh" => ("energy", 1e6),
        "W" => ("power", 1.0),
        "kW" => ("power", 1e3),
        "MW" => ("power", 1e6),
        _ => return None,
    })
}

/// What `from` is to be multiplied by to be in `to`; none where the two do not measure the same.
pub fn unit_factor(from: &str, to: &str) -> Option<f64> {
    if from == to {
        return Some(1.0);
    }
    let ((kind, own), (wanted, other)) = (measures(from)?, measures(to)?);
    (kind == wanted).then_some(own / other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::catalog;

    #[test]
    fn units_of_one_kind_become_each_other_and_no_others() {
        assert_eq!(unit_factor("ms", "us"), Some(1e3));
        assert_eq!(unit_factor("%", ""), Some(0.01));
        assert_eq!(unit_factor("USD", "M USD"), Some(1e-6));
        assert_eq!(unit_factor("ms", "USD"), None);
        assert_eq!(unit_factor("furlongs", "ms"), None);
        assert_eq!(unit_factor("furlongs", "furlongs"), Some(1.0));
    }

    #[test]
    fn the_unit_of_every_metric_is_known() {
        for def in catalog() {
            assert!(measures(def.unit).is_some(), "{}: {}", def.name, def.unit);
        }
    }
}
