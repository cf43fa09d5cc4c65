//! Finds the archive that a request is meant for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::archive::Archive;
use crate::dicom::{AeTitle, Uid};

pub mod config;

/// The archives by their names in the configuration. Cheap to clone.
#[derive(Clone)]
pub struct Router {
    archives: Arc<BTreeMap<String, Arc<dyn Archive>>>,
    default: Option<Arc<dyn Archive>>,
}

impl Router {
    /// A router over `archives`, of which `default` names the one for requests that name none; without it a
    /// single archive is the default.
    pub fn new(archives: impl IntoIterator<Item = Arc<dyn Archive>>, default: Option<&str>) -> Self {
        let archives: BTreeMap<_, _> = archives.into_iter().map(|a| (a.name().to_owned(), a)).collect();
        let default = match default {
            Some(name) => archives.get(name),
            None if archives.len() == 1 => archives.values().next(),
            None => None,
        };
        Self { default: default.cloned(), archives: Arc::new(archives) }
    }

    /// The archive for requests that name none.
    pub fn default_archive(&self) -> Option<&Arc<dyn Archive>> {
        self.default.as_ref()
    }

    /// The archive of this name.
    pub fn by_name(&self, name: &str) -> Option<&Arc<dyn Archive>> {
        self.archives.get(name)
    }

    /// The archives to which requests of a class may go that come under these titles, the first choice first.
    pub fn candidates(&self, _called: &AeTitle, _calling: &AeTitle, _class: &Uid) -> Vec<Arc<dyn Archive>> {
        self.default.iter().cloned().collect()
    }

    /// Whether [`Self::for_object`] wants to know the modality of such objects.
    pub fn asks_for_modality(&self, _called: &AeTitle, _calling: &AeTitle, _class: &Uid) -> bool {
        false
    }

    /// The archives at which an object is to be stored. `modality`: as its data set says.
    pub fn for_object(
        &self,
        called: &AeTitle,
        calling: &AeTitle,
        class: &Uid,
        _modality: Option<&str>,
    ) -> Vec<Arc<dyn Archive>> {
        self.candidates(called, calling, class)
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.archives.keys().map(String::as_str)
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let default = self.default.as_ref().map(|archive| archive.name());
        f.debug_struct("Router").field("archives", &self.archives.keys()).field("default", &default).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::testing::Fake;

    fn router(names: &[&str], default: Option<&str>) -> Router {
        Router::new(names.iter().map(|name| Fake::named(name) as Arc<dyn Archive>), default)
    }

    #[test]
    fn a_single_archive_is_the_default_and_one_of_several_must_be_named() {
        let name = |router: &Router| router.default_archive().map(|archive| archive.name().to_owned());
        assert_eq!(name(&router(&["a"], None)).as_deref(), Some("a"));
        assert_eq!(name(&router(&["a", "b"], None)), None);
        assert_eq!(name(&router(&["a", "b"], Some("b"))).as_deref(), Some("b"));
        assert!(router(&["a", "b"], None).by_name("a").is_some());
        assert!(router(&["a"], None).by_name("b").is_none());
    }
}
