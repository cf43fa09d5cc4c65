//! Figures at hand for whoever counts often.
//!
//! To find a figure by its labels takes memory for the labels and a lock. Where an object or a frame is counted, it is
//! found once and is at hand from then on.

use std::sync::OnceLock;

/// At most `N` figures, each found once. To have one of them takes neither a lock nor memory.
#[derive(Debug)]
pub(super) struct Few<K, F, const N: usize>([OnceLock<(K, F)>; N]);

impl<K, F, const N: usize> Default for Few<K, F, N> {
    fn default() -> Self {
        Self([const { OnceLock::new() }; N])
    }
}

impl<K: Copy + PartialEq, F: Clone, const N: usize> Few<K, F, N> {
    /// The figure that stands for `key`, and that `find` finds. One more than `N` is found anew each time.
    pub(super) fn get(&self, key: K, find: impl Fn() -> F) -> F {
        for place in &self.0 {
            let (of, figure) = place.get_or_init(|| (key, find()));
            if *of == key {
                return figure.clone();
            }
        }
        find()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_figure_is_found_once_and_one_too_many_is_still_the_right_one() {
        let (few, found) = (Few::<&str, usize, 2>::default(), Cell::new(0));
        let get = |key: &'static str| {
            few.get(key, || {
                found.set(found.get() + 1);
                key.len()
            })
        };
        for _ in 0..3 {
            assert_eq!([get("a"), get("bb")], [1, 2]);
        }
        assert_eq!(found.get(), 2);
        assert_eq!([get("ccc"), get("ccc"), get("a")], [3, 3, 1]);
        assert_eq!(found.get(), 4);
    }
}
