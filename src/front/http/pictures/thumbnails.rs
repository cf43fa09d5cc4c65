//! Small pictures that are kept for a while: a list of studies asks for the same ones again and again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::dicom::object::Head;
use crate::dicom::query::Target;
use crate::image::render::Options;

/// Most pictures that are kept, the oldest give way: those of some hundred studies with their series.
const MAX_KEPT: usize = 2048;
/// Most bytes of them all.
const MAX_BYTES: usize = 32 << 20;

/// Which picture it is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Key {
    /// Under what the archive's objects are kept.
    pub(super) scope: String,
    pub(super) target: Target,
    pub(super) frame: u32,
    pub(super) options: Options,
    pub(super) quality: u8,
    pub(super) media_type: &'static str,
}

/// A small picture.
#[derive(Debug, Clone)]
pub(in crate::front::http) struct Thumbnail {
    /// The object that it is of.
    pub(super) head: Head,
    /// The file.
    pub(in crate::front::http) file: Bytes,
}

/// The pictures that are kept.
#[derive(Debug, Default)]
pub(in crate::front::http) struct Thumbnails(Mutex<Shelf>);

#[derive(Debug, Default)]
struct Shelf {
    /// The oldest first.
    kept: VecDeque<Kept>,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    key: Arc<Key>,
    since: Instant,
    thumbnail: Thumbnail,
}

impl Thumbnails {
    /// The picture of this key that has been kept no longer than so.
    pub(super) fn find(&self, key: &Key, ttl: Duration) -> Option<Thumbnail> {
        let shelf = self.lock();
        let mut newest = shelf.kept.iter().rev();
        let found = newest.find(|kept| *kept.key == *key)?;
        (found.since.elapsed() < ttl).then(|| found.thumbnail.clone())
    }

    /// Keeps a picture.
    pub(super) fn keep(&self, key: Key, thumbnail: Thumbnail) {
        let mut shelf = self.lock();
        shelf.bytes += thumbnail.file.len();
        shelf.kept.push_back(Kept { key: Arc::new(key), since: Instant::now(), thumbnail });
        while shelf.kept.len() > MAX_KEPT || shelf.bytes > MAX_BYTES {
            let Some(oldest) = shelf.kept.pop_front() else { break };
            shelf.bytes -= oldest.thumbnail.file.len();
        }
    }

    /// Drops all.
    pub(in crate::front::http) fn clear(&self) {
        *self.lock() = Shelf::default();
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::Uid;

    fn key(frame: u32) -> Key {
        let target = Target { study: Uid::from_static("1.2"), series: None, instance: None };
        let scope = "main".to_owned();
        Key { scope, target, frame, options: Options::default(), quality: 80, media_type: "image/jpeg" }
    }

    fn thumbnail(length: usize) -> Thumbnail {
        let uid = || Uid::from_static("1.2");
        let head = Head { sop_class: uid(), sop_instance: uid(), transfer_syntax: uid() };
        Thumbnail { head, file: vec![0; length].into() }
    }

    #[test]
    fn pictures_are_kept_within_bounds_and_for_a_while() {
        let kept = Thumbnails::default();
        let hour = Duration::from_secs(3600);
        for frame in 0..u32::try_from(MAX_KEPT).unwrap() + 5 {
            kept.keep(key(frame), thumbnail(10));
        }
        assert!(kept.find(&key(4), hour).is_none() && kept.find(&key(5), hour).is_some());
        assert!(kept.find(&key(5), Duration::ZERO).is_none(), "too old");
        kept.keep(key(1), thumbnail(MAX_BYTES));
        assert!(kept.find(&key(5), hour).is_none() && kept.find(&key(1), hour).is_some());
        assert_eq!(kept.lock().bytes, MAX_BYTES);
        kept.clear();
        assert!(kept.find(&key(1), hour).is_none());
    }
}
