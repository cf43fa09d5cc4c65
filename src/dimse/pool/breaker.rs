//! The circuit breaker: an archive that let us wait in vain is not asked again before it answers a probe.

/// Time-outs in a row that open the breaker. One may be bad luck; each costs its caller the whole time-out.
const TIMEOUTS_TO_OPEN: u32 = 2;

/// Whether the archive is asked at all. What fails at once (a refused connection) does not count: asking
/// again costs nothing, and the request after a restart must succeed.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    timeouts: u32,
    open: bool,
}

impl Breaker {
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// An association came about, or the probe was answered.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// An attempt to connect or associate timed out. `true`: the breaker has just opened, start to probe.
    pub(super) fn timed_out(&mut self) -> bool {
        self.timeouts += 1;
        let opens = !self.open && self.timeouts >= TIMEOUTS_TO_OPEN;
        self.open |= opens;
        opens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_once_after_timeouts_in_a_row() {
        let mut breaker = Breaker::default();
        assert!(!breaker.timed_out());
        breaker.succeeded();
        assert!(!breaker.timed_out());
        assert!(breaker.timed_out());
        assert!(breaker.is_open());
        assert!(!breaker.timed_out(), "one probe is enough");
        breaker.succeeded();
        assert!(!breaker.is_open());
    }
}
