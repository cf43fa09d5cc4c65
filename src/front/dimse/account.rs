//! What one association did: counted while it lasts, and one line in the log at its end, fit for an audit.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Instant;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

use crate::dimse::command::field;
use crate::dimse::scp::Peer;
use crate::dimse::status::{Class, class};
use crate::metrics::{AtArchive, AtClient, Metrics};

/// Most different statuses that the line names; further ones are counted together. An archive has a few dozen.
const MAX_STATUSES: usize = 32;

/// Counts what happens on an association.
#[derive(Debug)]
pub(super) struct Account {
    metrics: Metrics,
    begin: Instant,
    /// The request that is being served, and since when.
    request: (&'static str, Instant),
    /// Contexts that were accepted, of how many, and those of them for which there is no archive.
    contexts: (usize, usize, usize),
    operations: BTreeMap<&'static str, usize>,
    statuses: BTreeMap<u16, usize>,
    more_statuses: usize,
    last_status: u16,
    objects: usize,
    bytes: u64,
    at_hand: AtHand,
}

/// The figures that were counted last, at hand, as most requests of an association are like the one before.
#[derive(Debug, Default)]
struct AtHand {
    operations: Option<(AtArchive, Counter)>,
    seconds: Option<(AtClient, Histogram)>,
}

impl Account {
    /// For an association of which so many contexts of so many were accepted; for `unrouted` of them no archive is
    /// configured.
    pub(super) fn new(accepted: usize, of: usize, unrouted: usize, metrics: Metrics) -> Self {
        metrics.dimse_associations.inc();
        metrics.dimse_accepted.inc();
        Self {
            metrics,
            begin: Instant::now(),
            request: ("other", Instant::now()),
            contexts: (accepted, of, unrouted),
            operations: BTreeMap::new(),
            statuses: BTreeMap::new(),
            more_statuses: 0,
            last_status: 0,
            objects: 0,
            bytes: 0,
            at_hand: AtHand::default(),
        }
    }

    /// A request with this Command Field has come.
    pub(super) fn operation(&mut self, request: u16) {
        let name = field::name(request);
        *self.operations.entry(name).or_default() += 1;
        self.request = (name, Instant::now());
    }

    /// A response with this status was given.
    pub(super) fn status(&mut self, code: u16) {
        self.last_status = code;
        let room = self.statuses.len() < MAX_STATUSES;
        match self.statuses.get_mut(&code) {
            Some(count) => *count += 1,
            None if room => drop(self.statuses.insert(code, 1)),
            None => self.more_statuses += 1,
        }
    }

    /// An object of so many bytes went through, in either direction.
    pub(super) fn object(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes += bytes;
        self.metrics.dimse_objects.inc();
        self.metrics.dimse_object_bytes.inc_by(bytes);
    }

    /// The status that was given last.
    pub(super) fn last_status(&self) -> u16 {
        self.last_status
    }

    /// The request that was answered last is done; it was for this archive.
    pub(super) fn done(&mut self, archive: &str) {
        self.done_with(archive, self.last_status);
    }

    /// A request, or its part for this archive, is done with this status.
    pub(super) fn done_with(&mut self, archive: &str, code: u16) {
        let outcome = match class(code) {
            Class::Success | Class::Pending => "success",
            Class::Warning => "warning",
            Class::Cancel => "cancelled",
            Class::Failure => "failure",
        };
        let operation = self.request.0;
        let is_same = |(of, _): &&(AtArchive, Counter)| {
            (&*of.archive, of.operation, of.outcome) == (archive, operation, outcome)
        };
        if let Some((_, counter)) = self.at_hand.operations.as_ref().filter(is_same) {
            counter.inc();
            return;
        }
        let of = AtArchive { archive: archive.to_owned(), operation, outcome };
        let counter = self.metrics.dimse_operations.get_or_create_owned(&of);
        counter.inc();
        self.at_hand.operations = Some((of, counter));
    }

    /// The request has been served, in whatever way.
    pub(super) fn served(&mut self) {
        let (operation, begin) = self.request;
        let of = AtClient { operation };
        let at_hand = self.at_hand.seconds.take().filter(|(at_hand, _)| *at_hand == of);
        let (of, seconds) = at_hand.unwrap_or_else(|| {
            let seconds = self.metrics.dimse_operation_seconds.of(&of);
            (of, seconds)
        });
        seconds.observe(begin.elapsed().as_secs_f64());
        self.at_hand.seconds = Some((of, seconds));
    }

    /// The association has ended so.
    pub(super) fn finish(&self, peer: &Peer, end: &str) {
        let Peer { address, calling, called, .. } = peer;
        let (accepted, of, unrouted) = self.contexts;
        let mut contexts = format!("{accepted} of {of}");
        if unrouted > 0 {
            contexts.push_str(&format!(", {unrouted} for no configured archive"));
        }
        let operations = listed(self.operations.iter());
        let mut statuses = listed(self.statuses.iter().map(|(code, count)| (format!("{code:04X}"), count)));
        if self.more_statuses > 0 {
            statuses.push_str(&format!(", more {}", self.more_statuses));
        }
        let Self { objects, bytes, .. } = self;
        let ms = u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(
            %calling, %called, %address, contexts, operations, statuses, objects, bytes, ms, end,
            "association ended"
        );
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.metrics.dimse_associations.dec();
    }
}

fn listed<'a, T: Display>(counts: impl Iterator<Item = (T, &'a usize)>) -> String {
    counts.map(|(what, count)| format!("{what} {count}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What is logged while `run` runs.
    fn logged(run: impl FnOnce()) -> String {
        #[derive(Clone, Default)]
        struct Log(Arc<Mutex<Vec<u8>>>);
        impl Write for Log {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let log = Log::default();
        let writer = log.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, run);
        String::from_utf8(log.0.lock().unwrap().clone()).unwrap()
    }

    fn peer() -> Peer {
        let title = |text: &str| text.parse().unwrap();
        Peer {
            address: [10, 0, 0, 7].into(),
            calling: title("CT1"),
            called: title("GANTRY"),
            certificate: None,
        }
    }

    #[test]
    fn one_line_says_who_came_what_was_done_and_how_it_ended() {
        let mut account = Account::new(2, 3, 0, Metrics::default());
        for _ in 0..2 {
            account.operation(field::C_FIND_RQ);
            [0xFF00, 0xFF00, 0].into_iter().for_each(|code| account.status(code));
        }
        account.operation(field::C_STORE_RQ);
        account.status(0xA700);
        account.object(1024);
        let log = logged(|| account.finish(&peer(), "released"));
        assert_eq!(log.lines().count(), 1, "{log}");
        for part in [
            "calling=CT1",
            "called=GANTRY",
            "address=10.0.0.7",
            "contexts=\"2 of 3\"",
            "operations=\"C-FIND 2, C-STORE 1\"",
            "statuses=\"0000 2, A700 1, FF00 4\"",
            "objects=1 bytes=1024",
            "end=\"released\"",
        ] {
            assert!(log.contains(part), "{part}: {log}");
        }
    }

    #[test]
    fn a_peer_that_makes_up_statuses_does_not_make_the_line_long() {
        let mut account = Account::new(1, 5, 3, Metrics::default());
        (0..1000).for_each(|code| account.status(code));
        account.status(5);
        let log = logged(|| account.finish(&peer(), "released"));
        assert!(log.contains("contexts=\"1 of 5, 3 for no configured archive\""), "{log}");
        assert!(log.contains("0005 2") && log.contains("001F 1, more 968") && !log.contains("0020"), "{log}");
    }

    #[test]
    fn associations_and_operations_are_counted() {
        let metrics = Metrics::default();
        let mut account = Account::new(1, 1, 0, metrics.clone());
        for code in [0, 0xB000, 0xC000, 0] {
            account.operation(field::C_FIND_RQ);
            account.status(code);
            account.done("main");
        }
        let text = metrics.text();
        let counted = |outcome: &str, count| {
            text.contains(&format!(
                "gantry_dimse_operations_total{{archive=\"main\",operation=\"C-FIND\",outcome=\"{outcome}\"}} {count}\n"
            ))
        };
        assert!(counted("success", 2) && counted("warning", 1) && counted("failure", 1), "{text}");
        assert!(text.contains("gantry_dimse_associations 1\n"), "{text}");
        drop(account);
        assert!(metrics.text().contains("gantry_dimse_associations 0\n"));
    }
}
