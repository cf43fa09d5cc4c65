//! Bulk data that comes in parts beside metadata: kept until the metadata that refers to it can be composed with
//! it (PS3.18 8.6.1.2.1, 10.5.2).
//!
//! Values stay in memory up to [`MAX_IN_MEMORY`] a request, then go to a temporary file that has no name, so that
//! it is gone whatever happens. No BulkDataURI is ever fetched: what a client refers to, it has to send.

use std::collections::HashMap;
use std::io;
use std::ops::Range;

use bytes::Bytes;

use self::spool::{Spool, Spooled};
use self::uri::canonical;
use crate::dicom::Uid;

mod spool;
mod uri;

/// Most bytes of bulk data of a request that stay in memory.
pub const MAX_IN_MEMORY: usize = 8 << 20;
/// Most parts with bulk data of one request: each frame of a large multi-frame object may be one, and costs some
/// hundred bytes of memory.
pub const MAX_PARTS: usize = 100_000;
/// Most characters of the names of all parts of one request, Content-Locations and Content-IDs. They are kept
/// twice, as they came and as what they mean.
pub const MAX_NAMES: usize = 32 << 20;

/// What a part says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Label<'a> {
    /// Content-Location (RFC 2557), which a BulkDataURI names.
    pub location: Option<&'a str>,
    /// Content-ID (RFC 2392), which a BulkDataURI of the scheme `cid` names.
    pub id: Option<&'a str>,
    /// `type/subtype` in lower case; empty where the part does not say.
    pub media_type: &'a str,
    /// The `transfer-syntax` parameter of the media type.
    pub transfer_syntax: Option<Uid>,
}

/// Bulk data cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is more of it than one request may bring.
    #[error("the bulk data of one request is limited to {0} bytes")]
    TooLong(u64),
    /// There are more than [`MAX_PARTS`] parts, or their names are longer than [`MAX_NAMES`].
    #[error(
        "the bulk data of one request is limited to {MAX_PARTS} parts, and their names to {MAX_NAMES} characters"
    )]
    TooManyParts,
    /// The temporary file cannot be written or read: our fault.
    #[error("bulk data cannot be kept in a temporary file")]
    Io(#[from] io::Error),
}

/// The bulk data of one request while it comes.
#[derive(Debug)]
pub struct Intake {
    /// What relative URIs are relative to.
    base: String,
    max_length: u64,
    spool: Spool,
    parts: Vec<Part>,
    /// Of all names so far, in bytes.
    names_length: usize,
    given: HashMap<String, Vec<usize>>,
    canonical: HashMap<String, Vec<usize>>,
}

impl Intake {
    /// Takes at most `max_length` bytes. `base` is the URL of the request, which relative URIs are relative to.
    pub fn new(base: &str, max_length: u64) -> Self {
        Self {
            base: base.to_owned(),
            max_length,
            spool: Spool::new(MAX_IN_MEMORY),
            parts: Vec::new(),
            names_length: 0,
            given: HashMap::new(),
            canonical: HashMap::new(),
        }
    }

    /// Begins a part.
    ///
    /// # Errors
    /// There are too many, or their names are too long.
    pub fn begin(&mut self, label: &Label) -> Result<(), Error> {
        if self.parts.len() >= MAX_PARTS {
            return Err(Error::TooManyParts);
        }
        let index = self.parts.len();
        let id =
            label.id.map(|id| format!("cid:{}", id.trim().trim_start_matches('<').trim_end_matches('>')));
        for name in label.location.map(|l| l.trim().to_owned()).into_iter().chain(id) {
            self.names_length += name.len();
            if self.names_length > MAX_NAMES {
                return Err(Error::TooManyParts);
            }
            self.canonical.entry(canonical(&self.base, &name)).or_default().push(index);
            self.given.entry(name).or_default().push(index);
        }
        let start = self.spool.length();
        self.parts.push(Part {
            range: start..start,
            media_type: label.media_type.to_owned(),
            transfer_syntax: label.transfer_syntax.clone(),
            claimed: false,
        });
        Ok(())
    }

    /// Takes the next bytes of the part that was begun last. Those of a part that breaks off stay; the request
    /// breaks off with it.
    ///
    /// # Errors
    /// There are too many, or the temporary file cannot be written.
    pub async fn push(&mut self, bytes: Bytes) -> Result<(), Error> {
        let Some(part) = self.parts.last_mut() else { return Ok(()) };
        let length = self.spool.length() + bytes.len() as u64;
        if length > self.max_length {
            return Err(Error::TooLong(self.max_length));
        }
        part.range.end = length;
        Ok(self.spool.push(bytes).await?)
    }

    /// Says that no more parts come.
    ///
    /// # Errors
    /// The temporary file cannot be written.
    pub async fn finish(self) -> Result<BulkData, Error> {
        let Self { base, parts, given, canonical, .. } = self;
        let spooled = self.spool.finish().await?;
        Ok(BulkData { base, spooled, parts, given, canonical })
    }
}

/// The bulk data of one request.
#[derive(Debug)]
pub struct BulkData {
    base: String,
    spooled: Spooled,
    parts: Vec<Part>,
    given: HashMap<String, Vec<usize>>,
    canonical: HashMap<String, Vec<usize>>,
}

/// One part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// Where it lies.
    pub(super) range: Range<u64>,
    pub(super) media_type: String,
    pub(super) transfer_syntax: Option<Uid>,
    claimed: bool,
}

impl Part {
    pub(super) fn length(&self) -> u64 {
        self.range.end - self.range.start
    }
}

impl BulkData {
    /// How many parts no metadata has referred to so far.
    pub fn unclaimed(&self) -> usize {
        self.parts.iter().filter(|part| !part.claimed).count()
    }

    /// How many parts a BulkDataURI names.
    pub(super) fn count(&self, uri: &str) -> usize {
        self.named(uri).len()
    }

    /// The parts that a BulkDataURI names, in the order in which they came: the name as it was given, else what
    /// it means as a URI. Several are the frames of one value.
    pub(super) fn claim(&mut self, uri: &str) -> Vec<Part> {
        let indices = self.named(uri).to_vec();
        for &index in &indices {
            self.parts[index].claimed = true;
        }
        indices.into_iter().map(|index| self.parts[index].clone()).collect()
    }

    /// Their places.
    fn named(&self, uri: &str) -> &[usize] {
        let uri = uri.trim();
        let meant = || {
            let uuid = ["urn:uuid:", "cid:"].map(|scheme| format!("{scheme}{uri}"));
            let names = [canonical(&self.base, uri)].into_iter().chain(uuid);
            names.into_iter().find_map(|name| self.canonical.get(&name))
        };
        self.given.get(uri).or_else(meant).map_or(&[], Vec::as_slice)
    }

    pub(super) fn spooled(&self) -> &Spooled {
        &self.spooled
    }
}

pub(super) use self::spool::Spooled as Values;

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "https://pacs.example/dicom-web/studies";

    async fn bulk_data(locations: &[&str]) -> BulkData {
        let mut intake = Intake::new(BASE, 1 << 20);
        for location in locations {
            intake.begin(&Label { location: Some(location), ..Label::default() }).unwrap();
            intake.push(Bytes::copy_from_slice(location.as_bytes())).await.unwrap();
        }
        intake.finish().await.unwrap()
    }

    async fn found(bulk: &mut BulkData, uri: &str) -> Vec<String> {
        let mut found = Vec::new();
        for part in bulk.claim(uri) {
            let bytes = bulk.spooled().read(part.range).await.unwrap();
            found.push(String::from_utf8(bytes.to_vec()).unwrap());
        }
        found
    }

    #[tokio::test]
    async fn a_part_is_found_as_given_resolved_and_decoded() {
        for (location, uri) in [
            ("bulk/1", "bulk/1"),
            ("bulk/1", "https://pacs.example/dicom-web/bulk/1"),
            ("/dicom-web/bulk/1", "bulk/1"),
            ("https://PACS.example/dicom-web/a%20b", "./a b"),
            ("urn:uuid:0F1E", "0F1E"),
            ("bulkdata:x/y", " bulkdata:x%2Fy"),
        ] {
            let mut bulk = bulk_data(&["other", location]).await;
            assert_eq!(found(&mut bulk, uri).await, [location], "{uri}");
            assert_eq!(bulk.unclaimed(), 1);
            assert!(found(&mut bulk, "bulk/2").await.is_empty());
        }
    }

    #[tokio::test]
    async fn a_name_as_it_was_given_beats_what_it_means() {
        let mut bulk = bulk_data(&["a%2Fb", "a/b"]).await;
        assert_eq!(found(&mut bulk, "a/b").await, ["a/b"]);
        assert_eq!(found(&mut bulk, "a%2Fb").await, ["a%2Fb"]);
    }

    #[tokio::test]
    async fn parts_of_one_name_come_in_their_order() {
        let mut bulk = bulk_data(&["f", "g", "f"]).await;
        assert_eq!(bulk.claim("f").iter().map(|p| p.range.clone()).collect::<Vec<_>>(), [0..1, 2..3]);
    }

    #[tokio::test]
    async fn a_content_id_is_a_name_too() {
        let mut intake = Intake::new(BASE, 100);
        intake.begin(&Label { id: Some("<x@y>"), ..Label::default() }).unwrap();
        let mut bulk = intake.finish().await.unwrap();
        assert_eq!(bulk.claim("cid:x@y").len(), 1);
    }

    #[tokio::test]
    async fn the_bulk_data_of_a_request_is_bounded() {
        let mut intake = Intake::new(BASE, 10);
        intake.begin(&Label::default()).unwrap();
        intake.push(Bytes::from_static(b"123456")).await.unwrap();
        intake.begin(&Label::default()).unwrap();
        assert!(matches!(intake.push(Bytes::from_static(b"78901")).await, Err(Error::TooLong(10))));
        let long = "x".repeat(8000);
        let mut named = Intake::new(BASE, 10);
        let label = Label { location: Some(&long), ..Label::default() };
        let begun = (0..MAX_PARTS).take_while(|_| named.begin(&label).is_ok()).count();
        assert!(begun * long.len() <= MAX_NAMES, "{begun}");
        let mut many = Intake::new(BASE, 10);
        (0..MAX_PARTS).for_each(|_| many.begin(&Label::default()).unwrap());
        assert!(matches!(many.begin(&Label::default()), Err(Error::TooManyParts)));
    }
}
