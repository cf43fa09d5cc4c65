//! What one association did, for the line in the log at its end.

use std::time::Instant;

use crate::dimse::scp::Peer;

/// Counts what happens on an association.
#[derive(Debug)]
pub(super) struct Account {
    begin: Instant,
    accepted: (usize, usize),
    operations: usize,
    failures: usize,
    objects: usize,
    bytes: u64,
}

impl Account {
    /// For an association of which so many contexts of so many were accepted.
    pub(super) fn new(accepted: usize, of: usize) -> Self {
        let begin = Instant::now();
        Self { begin, accepted: (accepted, of), operations: 0, failures: 0, objects: 0, bytes: 0 }
    }

    /// A request with this Command Field has come.
    pub(super) fn operation(&mut self, _field: u16) {
        self.operations += 1;
    }

    /// A response with this status was given.
    pub(super) fn status(&mut self, code: u16) {
        use crate::dimse::status::{Class, class};
        self.failures += usize::from(class(code) == Class::Failure);
    }

    /// An object of so many bytes went through.
    pub(super) fn object(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes += bytes;
    }

    /// The association has ended so.
    pub(super) fn finish(&self, peer: &Peer, end: &str) {
        let Peer { address, calling, called } = peer;
        let (accepted, of) = self.accepted;
        let Self { operations, failures, objects, bytes, .. } = self;
        let ms = self.begin.elapsed().as_millis() as u64;
        tracing::info!(
            %calling, %called, %address, contexts = format!("{accepted} of {of}"), operations, failures, objects, bytes,
            ms, end, "association ended"
        );
    }
}
