//! What holds now, where it may be replaced while others use it: a configuration that is read again.

use std::sync::{Arc, PoisonError, RwLock};

/// A value that can be replaced. Whoever has taken it keeps what they have taken. Cheap to clone; all clones are the
/// same.
#[derive(Debug, Default)]
pub struct Current<T>(Arc<RwLock<Arc<T>>>);

impl<T> Current<T> {
    /// Begins with this value.
    pub fn new(value: T) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(value))))
    }

    /// The value that holds now.
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on this one holds.
    pub fn set(&self, value: T) {
        let value = Arc::new(value);
        let before = std::mem::replace(&mut *self.0.write().unwrap_or_else(PoisonError::into_inner), value);
        // Outside the lock: it may be the last that has it, and much may end with it.
        drop(before);
    }
}

impl<T> Clone for Current<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_taken_a_value_keeps_it() {
        let current = Current::new(1);
        let (taken, clone) = (current.get(), current.clone());
        current.set(2);
        assert_eq!((*taken, *clone.get()), (1, 2));
    }
}
