//! `[http.limits]`: how much a web client may ask for.

use super::section::Section;
use crate::front::http::LimitsConfig;

/// Largest bound of a body or part: more than any archive has.
const MOST_BYTES: usize = 1 << 50;
/// Smallest bound of a request's head: what a browser sends with cookies. The largest stays below what HTTP/2 can say.
const HEAD: (usize, usize) = (8 << 10, 1 << 20);
/// Largest bound of requests at once: what comes over the most connections there may be, 32 over each.
const MOST_REQUESTS: usize = 65_536 * 32;
/// Largest bound of a search's matches. They are held in memory, and bounded there as well.
const MOST_RESULTS: usize = 1_000_000;
/// Most bytes of a request's head where nothing is said: the longest query, and room for cookies and tokens.
const DEFAULT_HEAD: usize = 64 << 10;

/// Reads `[http.limits]`: what the front end bounds, and the longest head.
pub(super) fn read(mut section: Section<'_>) -> (LimitsConfig, usize) {
    // Where these are the most that is read, they may be lowered only.
    let default = LimitsConfig::default();
    let max_head = section.size("max_head", HEAD.0..=HEAD.1).unwrap_or(DEFAULT_HEAD);
    let bytes = |size: Option<usize>, default| size.map_or(default, |size| size as u64);
    let max_body = section.size("max_body", 1..=MOST_BYTES);
    let max_part = section.size("max_part", 1..=MOST_BYTES);
    let max_query = section.size("max_query", 256..=default.max_query);
    let max_results = section.number("max_results", 1..=MOST_RESULTS);
    let max_frames = section.number("max_frames", 1..=default.max_frames);
    let max_requests = section.number("max_requests", 1..=MOST_REQUESTS);
    let per_client = section.number("max_requests_per_client", 1..=MOST_REQUESTS);
    let rate = section.number("rate", 1..=1_000_000);
    section.finish();
    let limits = LimitsConfig {
        max_body: bytes(max_body, default.max_body),
        max_part: bytes(max_part, default.max_part),
        max_query: max_query.unwrap_or(default.max_query),
        max_results: max_results.unwrap_or(default.max_results),
        max_frames: max_frames.unwrap_or(default.max_frames),
        max_requests: max_requests.unwrap_or(default.max_requests),
        max_requests_per_client: per_client.unwrap_or(default.max_requests_per_client),
        rate: rate.and_then(|rate| u32::try_from(rate).ok()),
    };
    (limits, max_head)
}
