//! Collectives of nccl-tests among GPUs of one NVLink domain.
//!
//! `size_bytes` is what nccl-tests calls the size: the buffer of an all-reduce or all-to-all, the whole output of an
//! all-gather, the whole input of a reduce-scatter. `time_us_median` is one out-of-place operation, with its launch, as seen by
//! the CPU over many iterations in a row.

use super::{Context, Measured, Point, Skip};
use crate::metrics::Metrics;
use crate::report::validation::Key;
use crate::scenario::{CollectiveSpec, WorkloadSpec};
use crate::units::{Bytes, Count, Duration};
use crate::workload::Collective;
use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct Row {
    system: String,
    op_name: String,
    num_gpus: u32,
    size_bytes: u64,
    time_us_median: f64,
}

impl Row {
    fn time(&self, context: &Context) -> Result<Duration, Skip> {
        let system = context.system(&self.system)?;
        let kind = match self.op_name.as_str() {
            "all_reduce" => Collective::AllReduce,
            "all_gather" => Collective::AllGather,
            "reduce_scatter" => Collective::ReduceScatter,
            "alltoall" | "all_to_all" => Collective::AllToAll,
            other => {
                return Err(Skip::unknown(
                    "op_name",
                    other,
                    ["all_reduce", "all_gather", "reduce_scatter", "alltoall", "all_to_all"],
                ));
            }
        };
        let bytes = Bytes::new(self.size_bytes);
        let spec = CollectiveSpec { kind, bytes, algorithm: None, protocol: None, groups: Count::ONE };
        let outcome = context.run(system, 1, self.num_gpus, WorkloadSpec::Collective(spec))?;
        let Metrics::Collective(metrics) = outcome.metrics else { unreachable!("a collective was asked for") };
        Ok(metrics.time)
    }
}

impl Measured for Row {
    const ID: &'static str = "nccl_one_domain";
    const TITLE: &'static str = "collectives of nccl-tests in one NVLink domain";
    const GROUP_BY: &'static [&'static str] = &["system", "op_name", "num_gpus"];
    const WORKLOAD: Option<&'static str> = Some("collective");

    fn system(&self) -> &str {
        &self.system
    }

    fn key(&self) -> Key {
        vec![
            ("system", self.system.clone()),
            ("op_name", self.op_name.clone()),
            ("num_gpus", self.num_gpus.to_string()),
            ("size_bytes", self.size_bytes.to_string()),
        ]
    }

    fn points(&self, context: &Context) -> Vec<Point> {
        vec![Point::micros("", self.time_us_median, self.time(context))]
    }
}
