//! The weight matrices of a model: their shapes, and how tensor parallelism may cut them.
//!
//! This is the one place that derives shapes from a configuration; parameters, work and memory all add them up. It
//! must not know any parallel plan beyond the number of GPUs that share one matrix.

use super::{AttentionSpec, GqaSpec, MlaSpec, ModelSpec, MoeSpec};

/// One weight matrix, which multiplies every token that reaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Projection {
    /// What it produces: "query", "output", "gate and up".
    pub name: &'static str,
    /// Width of its input.
    pub input: u64,
    /// Width of its output.
    pub output: u64,
    /// How tensor parallelism cuts it.
    pub division: Division,
}

/// How the GPUs of a tensor-parallel group share one matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Division {
    /// Every GPU holds all of it.
    Whole,
    /// Each GPU holds some of so many equal pieces of the output (column parallel).
    Output(u32),
    /// Each GPU holds some of so many equal pieces of the input (row parallel); the results are then summed.
    Input(u32),
}

impl Projection {
    /// The number of weights.
    pub const fn parameters(&self) -> u64 {
        self.input * self.output
    }

    /// The part on the fullest of `tp` GPUs. A piece is never cut: four key-value heads on eight GPUs are held twice.
    pub fn shard(self, tp: u32) -> Projection {
        match self.division {
            Division::Whole => self,
            Division::Output(pieces) => {
                let held = pieces.div_ceil(tp);
                let output = self.output / u64::from(pieces) * u64::from(held);
                Projection { output, division: Division::Output(held), ..self }
            }
            Division::Input(pieces) => {
                let held = pieces.div_ceil(tp);
                let input = self.input / u64::from(pieces) * u64::from(held);
                Projection { input, division: Division::Input(held), ..self }
            }
        }
    }
}

impl ModelSpec {
    /// The matrices of one layer's attention.
    pub fn attention_projections(&self) -> Vec<Projection> {
        match &self.attention {
            AttentionSpec::Mla(mla) => mla.projections(self.hidden.wide()),
            AttentionSpec::Gqa(gqa) => gqa.projections(self.hidden.wide()),
        }
    }

    /// The matrices of one layer's dense feed-forward network; none where the model has no such layer.
    pub fn dense_ffn_projections(&self) -> Vec<Projection> {
        let width = self.dense_intermediate.filter(|_| self.dense_layers() > 0);
        width.map_or(Vec::new(), |width| swiglu(self.hidden.wide(), width.get()).to_vec())
    }

    /// The matrices of one expert, routed or shared; none without a mixture of experts.
    pub fn expert_projections(&self) -> Vec<Projection> {
        let moe = self.moe.as_ref();
        moe.map_or(Vec::new(), |moe| swiglu(self.hidden.wide(), moe.intermediate.get()).to_vec())
    }

    /// The gate (router) of one layer with a mixture of experts.
    pub fn gate_projection(&self) -> Option<Projection> {
        let experts = |moe: &MoeSpec| moe.routed_experts.wide();
        let gate = |output| Projection { name: "gate", input: self.hidden.wide(), output, division: Division::Whole };
        self.moe.as_ref().map(experts).map(gate)
    }

    /// The output head, tied to the embedding or not.
    pub fn head_projection(&self) -> Projection {
        Projection {
            name: "head",
            input: self.hidden.wide(),
            output: self.vocab.wide(),
            division: Division::Output(self.vocab.get()),
        }
    }

    /// The projection in front of a multi-token-prediction module: the hidden state beside the next token's embedding.
    pub fn mtp_projection(&self) -> Projection {
        let hidden = self.hidden.wide();
        Projection { name: "mtp", input: 2 * hidden, output: hidden, division: Division::Whole }
    }
}

impl MlaSpec {
    /// Width of one query or key head, rotary part included.
    pub fn qk_head_dim(&self) -> u64 {
        self.qk_nope_head_dim.wide() + self.qk_rope_head_dim.wide()
    }

    /// Arxiv 2405.04434, section 2.1 and appendix C. The down-projections make the latent that all heads share, so
    /// that tensor parallelism cannot cut them.
    fn projections(&self, hidden: u64) -> Vec<Projection> {
        let heads = self.heads;
        let by_head = Division::Output(heads.get());
        let of = |name, input, output, division| Projection { name, input, output, division };
        let query = heads.wide() * self.qk_head_dim();
        let mut projections = match self.q_lora_rank {
            Some(rank) => vec![
                of("query down", hidden, rank.wide(), Division::Whole),
                of("query up", rank.wide(), query, by_head),
            ],
            None => vec![of("query", hidden, query, by_head)],
        };
        let latent = self.kv_lora_rank.wide();
        let rope = self.qk_rope_head_dim.wide();
        let expanded = heads.wide() * (self.qk_nope_head_dim.wide() + self.v_head_dim.wide());
        let value = heads.wide() * self.v_head_dim.wide();
        projections.push(of("key-value down", hidden, latent + rope, Division::Whole));
        projections.push(of("key-value up", latent, expanded, by_head));
        projections.push(of("output", value, hidden, Division::Input(heads.get())));
        projections
    }
}

impl GqaSpec {
    fn projections(&self, hidden: u64) -> Vec<Projection> {
        let query = self.heads.wide() * self.head_dim.wide();
        let key = self.kv_heads.wide() * self.head_dim.wide();
        let (by_head, by_kv_head) = (Division::Output(self.heads.get()), Division::Output(self.kv_heads.get()));
        let of = |name, input, output, division| Projection { name, input, output, division };
        vec![
            of("query", hidden, query, by_head),
            of("key", hidden, key, by_kv_head),
            of("value", hidden, key, by_kv_head),
            of("output", query, hidden, Division::Input(self.heads.get())),
        ]
    }
}

/// A gated feed-forward network: two matrices in, one out (SwiGLU, arXiv 2002.05202).
fn swiglu(hidden: u64, width: u32) -> [Projection; 2] {
    let inner = u64::from(width);
    let (input, output) = (hidden, 2 * inner);
    [
        Projection { name: "gate and up", input, output, division: Division::Output(width) },
        Projection { name: "down", input: inner, output: hidden, division: Division::Input(width) },
    ]
}

#[cfg(test)]
mod tests {
    use super::super::published;
    use super::*;

    fn shards(projections: &[Projection], tp: u32) -> Vec<(&'static str, u64, u64)> {
        projections.iter().map(|p| p.shard(tp)).map(|p| (p.name, p.input, p.output)).collect()
    }

    #[test]
    fn tensor_parallelism_cuts_heads_but_not_the_latent() {
        let shards = shards(&published::deepseek_v3().attention_projections(), 4);
        assert_eq!(
            shards,
            [
                ("query down", 7168, 1536),
                ("query up", 1536, 32 * 192),
                ("key-value down", 7168, 576),
                ("key-value up", 512, 32 * 256),
                ("output", 32 * 128, 7168),
            ]
        );
    }

    #[test]
    fn key_value_heads_are_repeated_rather_than_cut() {
        let projections = published::llama3_1_405b().attention_projections();
        assert_eq!(shards(&projections, 8)[1], ("key", 16384, 128));
        assert_eq!(shards(&projections, 16)[1], ("key", 16384, 128));
        assert_eq!(shards(&projections, 16)[0], ("query", 16384, 8 * 128));
    }

    #[test]
    fn a_feed_forward_network_shrinks_by_its_width() {
        let ffn = published::llama3_1_70b().dense_ffn_projections();
        assert_eq!(shards(&ffn, 8), [("gate and up", 8192, 2 * 3584), ("down", 3584, 8192)]);
    }
}
