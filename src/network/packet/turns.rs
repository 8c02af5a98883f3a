//! Whose turn it is: round robin over the inputs of a port, which are bits of words.

/// The next set bit of a word after `turn`, beginning again from the start; one is set.
pub(super) fn next_in_word(word: u64, turn: u16) -> u16 {
    let after = word & (u64::MAX << turn << 1);
    (if after != 0 { after } else { word }).trailing_zeros() as u16
}

/// The next set bit after `turn`, beginning again from the start; one is set.
pub(super) fn next_bit(words: &[u64], turn: u16) -> u16 {
    let from = usize::from(turn) + 1;
    let (first, bit) = (from / 64, from % 64);
    for (at, &word) in words.iter().enumerate().skip(first) {
        let word = if at == first { word & (u64::MAX << bit) } else { word };
        if word != 0 {
            return (at * 64) as u16 + word.trailing_zeros() as u16;
        }
    }
    let at = words.iter().position(|&word| word != 0).expect("a lane that waits has an input that waits");
    (at * 64) as u16 + words[at].trailing_zeros() as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_go_round() {
        let words = [1 << 3 | 1 << 63, 0, 1];
        assert_eq!(next_bit(&words, 0), 3);
        assert_eq!(next_bit(&words, 3), 63);
        assert_eq!(next_bit(&words, 63), 128);
        assert_eq!(next_bit(&words, 128), 3);
        assert_eq!(next_bit(&words, 200), 3);
        assert_eq!(next_bit(&[1], 0), 0);
    }

    #[test]
    fn one_word_and_several_take_the_same_turns() {
        for word in [1, 1 << 63, 0b1010_0110, u64::MAX, 1 << 31 | 1 << 32] {
            for turn in 0..64 {
                assert_eq!(next_in_word(word, turn), next_bit(&[word, 0], turn), "{word:b} after {turn}");
            }
        }
    }
}
