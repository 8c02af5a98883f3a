//! The models under `models/`, for tests.

use super::ModelSpec;

macro_rules! models {
    ($($name:ident),*) => {
        $(pub(crate) fn $name() -> ModelSpec {
            let text = include_str!(concat!("../../models/", stringify!($name), ".toml"));
            toml::from_str(text).unwrap_or_else(|e| panic!("{}: {e}", stringify!($name)))
        })*

        pub(crate) fn all() -> Vec<(&'static str, ModelSpec)> {
            vec![$((stringify!($name), $name())),*]
        }
    };
}

models!(
    deepseek_v2,
    deepseek_v2_lite,
    deepseek_v3,
    llama3_1_405b,
    llama3_1_70b,
    mixtral_8x7b,
    qwen2_5_72b,
    qwen3_235b_a22b
);
