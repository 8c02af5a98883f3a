//! stub
use crate::topology::FabricMeasures;
pub fn compare_text(_: &[(String, FabricMeasures)]) -> String {
    String::new()
}
pub fn fabric_text(_: &str, _: &FabricMeasures) -> String {
    String::new()
}
pub fn fabric_json(_: &str, _: &FabricMeasures) -> serde_json::Value {
    serde_json::Value::Null
}
