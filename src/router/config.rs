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
