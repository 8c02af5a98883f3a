//! A list that grows at its end and whose items are given up one by one, in any order: their memory is freed while the list goes on.
//!
//! Items keep their places for ever. They are stored in chunks of consecutive places, and a chunk is freed when all its items have been
//! given up. One that is never given up keeps its neighbours' memory, and nobody else's. This module must not know what the items are.

use std::ops::{Index, IndexMut};

/// Items of a chunk.
pub const CHUNK: usize = 1 << 10;

/// A list of items that are given up one by one.
#[derive(Clone, Debug)]
pub struct Retiring<T> {
    /// A chunk that was freed is empty.
    chunks: Vec<Vec<T>>,
    /// Per chunk: how many of its items, those to come included, have not been given up.
    left: Vec<u32>,
    len: usize,
}

impl<T> Default for Retiring<T> {
    fn default() -> Retiring<T> {
        Retiring { chunks: Vec::new(), left: Vec::new(), len: 0 }
    }
}

impl<T> Retiring<T> {
    /// Adds an item.
    pub fn push(&mut self, item: T) {
        if self.len.is_multiple_of(CHUNK) {
            // The first chunk grows as it is needed: most lists are short.
            self.chunks.push(if self.len == 0 { Vec::new() } else { Vec::with_capacity(CHUNK) });
            self.left.push(CHUNK as u32);
        }
        self.chunks[self.len / CHUNK].push(item);
        self.len += 1;
    }

    /// How many items there have been, those given up included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there has been none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The item at a place, unless it is freed.
    pub fn get(&self, at: usize) -> Option<&T> {
        self.chunks.get(at / CHUNK)?.get(at % CHUNK)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.chunks.get_mut(at / CHUNK)?.get_mut(at % CHUNK)
    }

    /// Gives an item up, once.
    pub fn retire(&mut self, at: usize) {
        let left = &mut self.left[at / CHUNK];
        *left -= 1;
        if *left == 0 {
            self.chunks[at / CHUNK] = Vec::new();
        }
    }
}

impl<T> Index<usize> for Retiring<T> {
    type Output = T;

    /// # Panics
    /// Where the item is freed.
    fn index(&self, at: usize) -> &T {
        &self.chunks[at / CHUNK][at % CHUNK]
    }
}

impl<T> IndexMut<usize> for Retiring<T> {
    fn index_mut(&mut self, at: usize) -> &mut T {
        &mut self.chunks[at / CHUNK][at % CHUNK]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_go_when_all_their_items_have_gone() {
        let mut list = Retiring::default();
        (0..3 * CHUNK + 5).for_each(|item| list.push(item));
        (0..2 * CHUNK).filter(|&at| at != CHUNK + 7).for_each(|at| list.retire(at));
        assert_eq!((list.get(3), list.get(CHUNK + 3), list[CHUNK + 7]), (None, Some(&(CHUNK + 3)), CHUNK + 7));
        list.retire(CHUNK + 7);
        assert_eq!(list.get(CHUNK + 7), None);
        // Places that are still to come keep a chunk.
        (3 * CHUNK..3 * CHUNK + 5).for_each(|at| list.retire(at));
        list.push(0);
        assert_eq!((list[3 * CHUNK + 5], list.len()), (0, 3 * CHUNK + 6));
    }
}
