//! Which blocks of a forward and a backward pass go together in an overlapped chunk.
//!
//! Layers go in pairs, so that each hides the all-to-alls of the other. Where one pass has more layers than the other, dense ones, which have
//! nothing to hide, go by themselves before any with experts does.

use super::Block;

/// What a chunk does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// A block of the forward pass by itself.
    Forward(Block),
    /// A block of the backward pass by itself.
    Backward(Block),
    /// A layer forward and one backward.
    Pair(Block, Block),
}

/// The turns of two passes, each of which keeps its order.
pub(super) fn turns(forward: Vec<Block>, backward: Vec<Block>) -> Vec<Turn> {
    let pairs = [&forward, &backward].map(|blocks| blocks.iter().filter(|block| is_layer(**block)).count());
    let pairs = pairs[0].min(pairs[1]);
    let mut forward = partnered(forward, pairs).into_iter().peekable();
    let mut backward = partnered(backward, pairs).into_iter().peekable();
    let mut turns = Vec::new();
    loop {
        while let Some((block, _)) = forward.next_if(|(_, paired)| !paired) {
            turns.push(Turn::Forward(block));
        }
        while let Some((block, _)) = backward.next_if(|(_, paired)| !paired) {
            turns.push(Turn::Backward(block));
        }
        match (forward.next(), backward.next()) {
            (Some((one, _)), Some((other, _))) => turns.push(Turn::Pair(one, other)),
            (None, None) => return turns,
            odd => panic!("as many layers of one pass as of the other are paired, but there is {odd:?}"),
        }
    }
}

fn is_layer(block: Block) -> bool {
    matches!(block, Block::Dense | Block::Moe)
}

/// The blocks, and whether each is one of `pairs` layers that have a partner: the last ones with experts go without one only where there are not
/// enough dense ones.
fn partnered(blocks: Vec<Block>, pairs: usize) -> Vec<(Block, bool)> {
    let layers = blocks.iter().filter(|block| is_layer(**block)).count();
    let mut alone = layers - pairs;
    let mut paired: Vec<bool> = blocks.iter().map(|block| is_layer(*block)).collect();
    let dense = (0..blocks.len()).filter(|&place| blocks[place] == Block::Dense);
    let rest = (0..blocks.len()).rev().filter(|&place| blocks[place] == Block::Moe);
    for place in dense.chain(rest) {
        if alone == 0 {
            break;
        }
        paired[place] = false;
        alone -= 1;
    }
    blocks.into_iter().zip(paired).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Block::{Dense, Embedding, Head, Moe, Projection};

    #[test]
    fn layers_with_experts_have_partners_before_dense_ones() {
        let found = turns(vec![Embedding, Dense, Dense, Dense, Moe], vec![Head, Moe, Projection, Head, Moe]);
        let alone = [Embedding, Dense, Dense].map(Turn::Forward).into_iter().chain([Turn::Backward(Head)]);
        let rest = [Turn::Pair(Dense, Moe), Turn::Backward(Projection), Turn::Backward(Head), Turn::Pair(Moe, Moe)];
        assert_eq!(found, alone.chain(rest).collect::<Vec<Turn>>());
    }

    #[test]
    fn every_block_has_its_turn_and_keeps_its_order() {
        let passes = [vec![Moe; 4], vec![Dense, Dense, Moe], vec![Moe, Head], vec![Head], vec![]];
        for (forward, backward) in passes.iter().flat_map(|one| passes.iter().map(move |other| (one, other))) {
            let (mut one, mut other, mut pairs) = (Vec::new(), Vec::new(), 0);
            for turn in turns(forward.clone(), backward.clone()) {
                match turn {
                    Turn::Forward(block) => one.push(block),
                    Turn::Backward(block) => other.push(block),
                    Turn::Pair(a, b) => {
                        pairs += 1;
                        one.push(a);
                        other.push(b);
                    }
                }
            }
            assert_eq!((&one, &other), (forward, backward));
            let layers = |blocks: &[Block]| blocks.iter().filter(|block| is_layer(**block)).count();
            assert_eq!(pairs, layers(forward).min(layers(backward)));
        }
    }
}
