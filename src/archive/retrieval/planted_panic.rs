//! A defect of our own, for tests: the driver of a retrieval panics where the test says.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;

thread_local! {
    /// The poll before which the next driver on this thread panics; 0: none does.
    static PLANTED: Cell<usize> = const { Cell::new(0) };
}

/// Lets the next driver that is started on this thread panic before its `nth` poll, counted from 1: at the
/// await where it was waiting.
pub(crate) fn plant(nth: usize) {
    PLANTED.set(nth);
}

/// Whether what [`plant`] laid still waits for a driver.
pub(crate) fn is_planted() -> bool {
    PLANTED.get() != 0
}

/// Runs `driver` until the panic that is planted in it.
pub(super) fn planted<T>(driver: impl Future<Output = T>) -> impl Future<Output = T> {
    let nth = PLANTED.take();
    async move {
        let mut driver = pin!(driver);
        let mut polls = 0;
        poll_fn(|cx| {
            polls += 1;
            assert_ne!(polls, nth, "planted");
            driver.as_mut().poll(cx)
        })
        .await
    }
}
