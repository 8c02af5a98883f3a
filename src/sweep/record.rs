//! What is known of a point once it is over, and how it is kept: one JSON object per line, so that a log can only grow.

use crate::metrics::Metric;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A point that is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Fingerprint of the resolved scenario; none where there is none, because the point's input makes no sense.
    pub inputs: Option<String>,
    /// Version of the program.
    pub version: String,
    /// Seed of the scenario.
    pub seed: Option<u64>,
    /// What the point overlays.
    pub set: Vec<String>,
    /// What came of it.
    pub answer: Answer,
}

/// What came of a point.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Its metrics.
    Metrics(Vec<Kept>),
    /// Why there are none.
    Error(String),
}

/// One metric of a point.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// Its name.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// Its value; none where it is not finite.
    pub value: Option<f64>,
}

impl From<&Metric> for Kept {
    fn from(metric: &Metric) -> Kept {
        let value = Some(metric.value).filter(|value| value.is_finite());
        Kept { name: metric.def.name.to_owned(), unit: metric.def.unit.to_owned(), value }
    }
}

impl Record {
    /// The record as a line of a log, without its end.
    pub fn line(&self) -> String {
        let mut object = json!({
            "schema": crate::report::json::SCHEMA,
            "inputs": self.inputs,
            "version": self.version,
            "seed": self.seed,
            "set": self.set,
        });
        match &self.answer {
            Answer::Metrics(metrics) => {
                object["metrics"] = metrics.iter().map(|kept| json!([kept.name, kept.unit, kept.value])).collect();
            }
            Answer::Error(message) => object["error"] = json!(message),
        }
        object.to_string()
    }

    fn parse(line: &str) -> Option<Record> {
        let object: Value = serde_json::from_str(line).ok()?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let kept = |metric: &Value| {
            let [name, unit, value] = metric.as_array()?.as_slice() else { return None };
            Some(Kept { name: text(name)?, unit: text(unit)?, value: value.as_f64() })
        };
        let answer = match &object["error"] {
            Value::String(message) => Answer::Error(message.clone()),
            _ => Answer::Metrics(object["metrics"].as_array()?.iter().map(kept).collect::<Option<_>>()?),
        };
        Some(Record {
            inputs: text(&object["inputs"]),
            version: text(&object["version"])?,
            seed: object["seed"].as_u64(),
            set: object["set"].as_array()?.iter().map(text).collect::<Option<_>>()?,
            answer,
        })
    }
}

/// The records of a log by the fingerprint of their inputs, and how many lines are no records. A process that is killed may leave
/// half a line at the end, and nothing else.
pub fn read_log(bytes: &[u8]) -> (BTreeMap<String, Record>, usize) {
    let mut records = BTreeMap::new();
    let mut torn = 0;
    for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
        let whole = piece.strip_suffix(b"\n").and_then(|line| std::str::from_utf8(line).ok());
        match whole.and_then(Record::parse) {
            Some(record) => {
                if let Some(inputs) = record.inputs.clone() {
                    records.insert(inputs, record);
                }
            }
            None => torn += 1,
        }
    }
    (records, torn)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(inputs: &str, value: Option<f64>) -> Record {
        let kept = Kept { name: "tpot".to_owned(), unit: "ms".to_owned(), value };
        Record {
            inputs: Some(inputs.to_owned()),
            version: "1".to_owned(),
            seed: Some(7),
            set: vec!["a.b = \"1 µs\"".to_owned()],
            answer: Answer::Metrics(vec![kept]),
        }
    }

    #[test]
    fn a_record_survives_its_line() {
        let failed = Record { answer: Answer::Error("error: no\n  such thing".to_owned()), ..record("b", None) };
        for record in [record("a", Some(0.1 + 0.2)), record("b", None), failed] {
            assert!(!record.line().contains('\n'));
            assert_eq!(Record::parse(&record.line()), Some(record));
        }
    }

    #[test]
    fn a_log_cut_anywhere_loses_only_its_last_record() {
        let log = format!("{}\n{}\n", record("a", Some(1.0)).line(), record("b", Some(2.0)).line());
        let first = log.find('\n').expect("two lines") + 1;
        for cut in first..log.len() {
            let (records, torn) = read_log(&log.as_bytes()[..cut]);
            assert_eq!(records.keys().collect::<Vec<_>>(), ["a"], "cut at {cut}");
            assert_eq!(torn, usize::from(cut > first));
        }
        assert_eq!(read_log(log.as_bytes()).0.len(), 2);
    }
}
