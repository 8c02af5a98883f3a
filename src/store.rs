//! Values that are costly to work out and that their users go on working out: tables of routes, prices of kernels.
//!
//! A value belongs to one user at a time. Who finds none begins one, and whoever ends gives it back. What a user finds depends on who came before; what
//! it answers must not: a value is a memory of what would be worked out again.

use std::sync::{Arc, Mutex, PoisonError};

/// Values that are kept of equal keys, for as many users at a time.
const ALIKE_MAX: usize = 4;

/// A value that can be kept.
pub trait Keep {
    /// Memory that it takes, in bytes; the more of it, the more was worked out.
    fn bytes(&self) -> usize;
}

/// Values that nobody uses at the moment.
#[derive(Debug)]
pub struct Store<K, V> {
    /// Those of the latest user last.
    kept: Mutex<Vec<(K, V)>>,
    /// Memory that they may take, in bytes.
    bytes_max: usize,
}

impl<K: PartialEq, V: Keep> Store<K, V> {
    /// A store that keeps no more than so many bytes.
    pub fn new(bytes_max: usize) -> Store<K, V> {
        Store { kept: Mutex::new(Vec::new()), bytes_max }
    }

    fn take(&self, key: &K) -> Option<V> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().rposition(|(other, _)| other == key)?;
        Some(kept.remove(at).1)
    }

    fn put(&self, key: K, value: V) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let alike = kept.iter().enumerate().filter(|(_, (other, _))| *other == key);
        let sizes: Vec<(usize, usize)> = alike.map(|(at, (_, value))| (value.bytes(), at)).collect();
        if sizes.len() >= ALIKE_MAX
            && let Some(&(_, least)) = sizes.iter().min()
        {
            kept.remove(least);
        }
        kept.push((key, value));
        let mut bytes: usize = kept.iter().map(|(_, value)| value.bytes()).sum();
        while bytes > self.bytes_max {
            bytes -= kept.remove(0).1.bytes();
        }
    }

    /// How many values are kept.
    pub fn len(&self) -> usize {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Where a value comes from and goes back to.
#[derive(Debug)]
pub struct Home<K, V> {
    store: Arc<Store<K, V>>,
    key: K,
}

impl<K: Clone, V> Clone for Home<K, V> {
    fn clone(&self) -> Self {
        Home { store: Arc::clone(&self.store), key: self.key.clone() }
    }
}

impl<K: PartialEq, V: Keep> Home<K, V> {
    /// The place of values with `key` in `store`.
    pub fn of(store: &Arc<Store<K, V>>, key: K) -> Home<K, V> {
        Home { store: Arc::clone(store), key }
    }

    /// A value that was worked out before, if there is one that nobody uses.
    pub fn take(&self) -> Option<V> {
        self.store.take(&self.key)
    }

    /// Gives a value back.
    pub fn put(self, value: V) {
        self.store.put(self.key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Keep for Vec<u8> {
        fn bytes(&self) -> usize {
            self.len()
        }
    }

    #[test]
    fn a_value_has_one_user_at_a_time_and_the_fullest_are_kept() {
        let store = Arc::new(Store::new(100));
        let home = || Home::of(&store, "a");
        assert_eq!(home().take(), None);
        for size in [3, 1, 2, 4, 5] {
            home().put(vec![0_u8; size]);
        }
        let sizes = std::iter::from_fn(|| home().take()).map(|value| value.len());
        assert_eq!(sizes.collect::<Vec<_>>(), [5, 4, 2, 3], "the latest first, without the least");
        assert!(store.is_empty());
    }

    #[test]
    fn the_oldest_go_where_there_is_no_room() {
        let store = Arc::new(Store::new(100));
        for key in 0..10 {
            Home::of(&store, key).put(vec![0_u8; 30]);
        }
        assert_eq!(store.len(), 3);
        assert_eq!((Home::of(&store, 6).take().is_some(), Home::of(&store, 7).take().is_some()), (false, true));
    }
}
