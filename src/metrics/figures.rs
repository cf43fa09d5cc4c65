//! Each figure, by the name that it has in the text (without `gantry_` and `_total`), with the words that stand beside it
//! there.

use prometheus_client::encoding::EncodeMetric as _;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::labels::{
    AtArchive, AtClient, Durations, InState, Of, OfOperation, OfRoute, OfRouteEnd, Outcome, Reason, Request,
    Tier, Went,
};

macro_rules! figures {
    ($($name:ident: $type:ty = $help:literal;)*) => {
        /// What is counted.
        #[derive(Debug, Clone, Default)]
        #[non_exhaustive]
        pub struct Figures {
            $(#[doc = $help] pub $name: $type,)*
        }

        impl Figures {
            pub(super) fn register(&self, registry: &mut Registry) {
                $(registry.register(stringify!($name), $help, self.$name.clone());)*
            }

            /// Their names, and of what type they are.
            pub(super) fn names(&self) -> impl Iterator<Item = (&'static str, MetricType)> {
                [$((stringify!($name), self.$name.metric_type()),)*].into_iter()
            }
        }
    };
}

figures! {
    // Archives.
    associations: Family<InState, Gauge> =
        "Associations towards archives: open (all of them, those being opened too), idle of these, and requests that are \
         waiting for one";
    association_requests: Family<Outcome, Counter> =
        "Requests for an association towards an archive, by what they got: idle (one that was there), opened, or why none";
    association_wait_seconds: Durations<Of> =
        "Seconds until a request had an association towards an archive, in the queue and while it was opened";
    breaker_open: Family<Of, Gauge> =
        "Endpoints of an archive that are not asked for now, as they let us wait in vain; 0 when all is well";
    operations: Family<AtArchive, Counter> =
        "DIMSE operations at archives, by kind and by how they went: success, warning, failure, cancelled, refused (no \
         presentation context), aborted, timeout, protocol";
    operation_seconds: Durations<OfOperation> =
        "Seconds from a DIMSE operation's request to its final response, or to where it broke off";
    retrievals: Family<Outcome, Counter> =
        "Retrievals at archives by how they ended: complete, incomplete, cancelled, failed";
    first_object_seconds: Durations<Of> =
        "Seconds until the first object of a retrieval had begun to come";
    retrieval_seconds: Durations<Of> =
        "Seconds until a retrieval had ended, well or not";
    objects: Family<Of, Counter> =
        "Objects that came whole from archives";
    object_bytes: Family<Of, Counter> =
        "Bytes of objects that came from archives";
    asked_again: Family<Of, Counter> =
        "Objects that were asked for once more, one by one, because they had not come";
    missing: Family<Of, Counter> =
        "Objects that did not come in the end";
    searches: Family<Outcome, Counter> =
        "Searches by how they were answered: asked (a C-FIND), shared (that of another request), remembered";
    stores: Family<Outcome, Counter> =
        "Objects given to archives, by what became of them: stored, warning (stored, with reservations), failed";
    stored_bytes: Family<Of, Counter> =
        "Bytes of objects that were sent to archives, of those too that were not stored";

    // The cache.
    cache_requests: Family<Outcome, Counter> =
        "Requests to the cache: hit (it was there), attached (it was on its way), miss (the archive was asked), ahead (an \
         instance was fetched ahead of its running retrieval)";
    cache_bytes: Family<Tier, Gauge> =
        "Bytes that the cache holds";
    cache_limit_bytes: Family<Tier, Gauge> =
        "Bytes that the cache may hold";
    cache_objects: Family<Tier, Gauge> =
        "Objects that the cache holds";
    cache_evictions: Family<Tier, Counter> =
        "Objects that made room for others in the cache";
    cache_damaged: Counter =
        "Objects found damaged on the cache's disk, which were fetched again, and those that could not be written";
    readers_cut: Family<Of, Counter> =
        "Readers that were cut off, as they took nothing for too long while others waited";

    // HTTP.
    http_requests: Family<Request, Counter> =
        "Requests over HTTP by route, method and class of the answer's status";
    http_requests_open: Gauge =
        "Requests over HTTP that are being answered, to the last byte";
    http_first_byte_seconds: Durations<OfRoute> =
        "Seconds until the head of an answer was there";
    http_request_seconds: Durations<OfRoute> =
        "Seconds until the last byte of an answer was handed to the connection";
    http_request_bytes: Family<OfRoute, Counter> =
        "Bytes of bodies that clients sent over HTTP, as far as they were read";
    http_response_bytes: Family<OfRoute, Counter> =
        "Bytes of bodies that went out over HTTP, compressed where they were";
    http_unfinished: Family<OfRouteEnd, Counter> =
        "Answers over HTTP that did not come to their end: broken (by the archive or the bridge), left (by the client, who \
         was gone or did not read)";
    http_refused: Family<Reason, Counter> =
        "Requests over HTTP turned away at once: rate and client (429, one client's share), all (503, the whole server's)";

    // DIMSE clients.
    dimse_associations: Gauge =
        "Associations of DIMSE clients, and of archives that bring what we asked for, that are open";
    dimse_accepted: Counter =
        "Associations of DIMSE clients, and of archives that bring what we asked for, that were accepted";
    dimse_rejected: Family<Reason, Counter> =
        "Associations that were rejected, by the reason that the client was told (PS3.8 Table 9-21), and connections \
         that came to no request for one";
    dimse_operations: Family<AtArchive, Counter> =
        "Requests of DIMSE clients by the archive that served them, kind and status: success, warning, failure, cancelled";
    dimse_operation_seconds: Durations<AtClient> =
        "Seconds from a DIMSE client's request to the last response to it";
    dimse_objects: Counter =
        "Objects that DIMSE clients sent or were sent, and that archives brought";
    dimse_object_bytes: Counter =
        "Bytes of objects that DIMSE clients sent or were sent, and that archives brought";

    // The audit trail.
    audit_spool_bytes: Gauge =
        "Bytes of audit messages on disk that not every sink has yet";
    audit_lost: Counter =
        "Events that are missing in the audit trail: there was no room for them, or the disk failed";

    // The bridge itself.
    config_reloads: Family<Went, Counter> =
        "Configurations that were read anew: applied, or refused, where the one before stays in use";
    config_loaded_timestamp_seconds: Gauge =
        "When the configuration in use was read, in seconds since 1970";
    ready: Gauge =
        "Whether requests are welcome: 1, or 0 while the bridge shuts down";
    spans_sent: Counter =
        "Spans of traces that the collector has taken";
    spans_lost: Counter =
        "Spans of traces that were dropped: the collector is slow or away";
}
