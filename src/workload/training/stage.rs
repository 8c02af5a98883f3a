//! What a pipeline stage is made of, as far as its time is concerned.

use crate::model::ModelSpec;
use std::ops::Range;

/// The blocks of a stage. Two stages of equal shape take equally long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct StageShape {
    /// Whether it begins with the embedding.
    pub embedding: bool,
    /// Layers with a dense feed-forward network.
    pub dense_layers: u32,
    /// Layers with a mixture of experts.
    pub moe_layers: u32,
    /// Whether it ends with the output head.
    pub head: bool,
    /// Multi-token-prediction modules after the head, each a projection, a layer and the head again.
    pub mtp_modules: u32,
}

/// A part of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// Token embedding.
    Embedding,
    /// A layer with a dense feed-forward network.
    Dense,
    /// A layer with a mixture of experts.
    Moe,
    /// Output head and loss.
    Head,
    /// The projection in front of a multi-token-prediction module.
    Projection,
}

impl StageShape {
    /// The stage that holds `layers` of `model`; the last one also trains multi-token-prediction modules if `mtp`.
    pub fn new(model: &ModelSpec, layers: Range<u32>, mtp: bool) -> StageShape {
        let dense = model.dense_layers();
        let last = layers.end == model.layers.get();
        StageShape {
            embedding: layers.start == 0,
            dense_layers: layers.end.min(dense) - layers.start.min(dense),
            moe_layers: layers.end.max(dense) - layers.start.max(dense),
            head: last,
            mtp_modules: if last && mtp { model.mtp_modules } else { 0 },
        }
    }

    /// Layers with a mixture of experts, those of modules of a model that has such layers included.
    pub fn expert_layers(&self) -> usize {
        (self.moe_layers + self.mtp_modules) as usize
    }

    /// How many blocks a pass has.
    pub fn n_blocks(&self) -> usize {
        self.blocks(true).len()
    }

    /// The blocks in the order of a forward pass. Modules have layers of the model's last kind.
    pub(super) fn blocks(&self, modules_are_moe: bool) -> Vec<Block> {
        let mut blocks = Vec::new();
        blocks.extend(self.embedding.then_some(Block::Embedding));
        blocks.extend((0..self.dense_layers).map(|_| Block::Dense));
        blocks.extend((0..self.moe_layers).map(|_| Block::Moe));
        blocks.extend(self.head.then_some(Block::Head));
        for _ in 0..self.mtp_modules {
            let layer = if modules_are_moe { Block::Moe } else { Block::Dense };
            blocks.extend([Block::Projection, layer, Block::Head]);
        }
        blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::published;

    #[test]
    fn the_stages_of_a_model_hold_all_of_it() {
        let model = published::deepseek_v3();
        let first = StageShape::new(&model, 0..4, true);
        assert_eq!(first, StageShape { embedding: true, dense_layers: 3, moe_layers: 1, ..StageShape::default() });
        assert_eq!(StageShape::new(&model, 4..8, true), StageShape { moe_layers: 4, ..StageShape::default() });
        let last = StageShape::new(&model, 60..61, true);
        assert_eq!(last, StageShape { moe_layers: 1, head: true, mtp_modules: 1, ..StageShape::default() });
        assert_eq!(last.blocks(true), [Block::Moe, Block::Head, Block::Projection, Block::Moe, Block::Head]);
    }
}
