//! What is configured of the routes: `[[route]]`.

use crate::dicom::{AeTitle, Uid};

/// One rule. What is empty matches everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleConfig {
    /// Called AE titles.
    pub called: Vec<AeTitle>,
    /// Calling AE titles.
    pub calling: Vec<AeTitle>,
    /// SOP classes.
    pub sop_class: Vec<Uid>,
    /// Values of Modality (0008,0060); for C-STORE only.
    pub modality: Vec<String>,
    /// The archives, by name. C-STORE goes to all of them, everything else to the first.
    pub archives: Vec<String>,
}

impl RuleConfig {
    /// Whether it matches requests of a class under these titles, for some objects at least where it has modalities.
    /// Titles compare as they are, upper and lower case being different (PS3.5 6.2).
    pub fn matches(&self, called: &AeTitle, calling: &AeTitle, class: &Uid) -> bool {
        has(&self.called, called) && has(&self.calling, calling) && has(&self.sop_class, class)
    }

    /// Whether it matches objects of this modality; `None`: no object, or one that has none.
    pub fn matches_modality(&self, modality: Option<&str>) -> bool {
        self.modality.is_empty() || modality.is_some_and(|m| self.modality.iter().any(|one| one == m))
    }

    /// Whether it matches all that `other` does.
    pub fn covers(&self, other: &Self) -> bool {
        contains(&self.called, &other.called)
            && contains(&self.calling, &other.calling)
            && contains(&self.sop_class, &other.sop_class)
            && contains(&self.modality, &other.modality)
    }
}

fn has<T: PartialEq>(list: &[T], one: &T) -> bool {
    list.is_empty() || list.contains(one)
}

fn contains<T: PartialEq>(all: &[T], some: &[T]) -> bool {
    all.is_empty() || !some.is_empty() && some.iter().all(|one| all.contains(one))
}
