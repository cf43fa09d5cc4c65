//! The storage classes and transfer syntaxes that an archive's objects may have, and those that it has sent before.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use crate::archive::Form;
use crate::dicom::transfer_syntax::{
    DEFLATED_EXPLICIT_VR_LE, EXPLICIT_VR_BE, EXPLICIT_VR_LE, IMPLICIT_VR_LE, LOSSLESS, LOSSY,
};
use crate::dicom::{Uid, sop_class};

/// Most pairs of class and syntax that are remembered of one archive.
const MOST_LEARNT: usize = 512;
/// Modalities whose objects have no pixels: nothing compresses them.
const WITHOUT_PIXELS: [&str; 16] = [
    "SR", "KO", "PR", "DOC", "REG", "RWV", "ECG", "HD", "EPS", "AU", "RTSTRUCT", "RTPLAN", "RTRECORD", "RAW",
    "FID", "M3D",
];
/// Image classes whose objects have one frame each: none of them is a video.
const SINGLE_FRAME: [&str; 11] = [
    "1.2.840.10008.5.1.4.1.1.1",
    "1.2.840.10008.5.1.4.1.1.1.1",
    "1.2.840.10008.5.1.4.1.1.1.1.1",
    "1.2.840.10008.5.1.4.1.1.1.2",
    "1.2.840.10008.5.1.4.1.1.1.2.1",
    "1.2.840.10008.5.1.4.1.1.1.3",
    "1.2.840.10008.5.1.4.1.1.1.3.1",
    "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.1.4",
    "1.2.840.10008.5.1.4.1.1.6.1",
    "1.2.840.10008.5.1.4.1.1.128",
];
/// What the UIDs of the video syntaxes (MPEG2, MPEG-4, HEVC) begin with.
const VIDEO: &str = "1.2.840.10008.1.2.4.10";

/// The syntaxes in which all archives send, the better one first.
pub(super) const NATIVE: [&str; 2] = [EXPLICIT_VR_LE, IMPLICIT_VR_LE];

/// Pairs of storage class and transfer syntax of what an archive has sent, with how often; `None`: the syntax in which
/// it lies there is not known.
#[derive(Debug, Default)]
pub(in crate::archive) struct Learnt {
    seen: HashMap<(Uid, Option<Uid>), u64>,
}

impl Learnt {
    /// An object came. `syntax`: the one in which it lies, where that is known.
    pub(in crate::archive) fn saw(&mut self, class: &Uid, syntax: Option<&Uid>) {
        let key = (class.clone(), syntax.cloned());
        if self.seen.len() < MOST_LEARNT || self.seen.contains_key(&key) {
            *self.seen.entry(key).or_default() += 1;
        }
    }

    /// How many pairs are known.
    pub(in crate::archive) fn kinds(&self) -> usize {
        self.seen.len()
    }

    /// Whether anything of a class was seen.
    pub(super) fn has(&self, class: &str) -> bool {
        self.seen.keys().any(|(known, _)| known.as_str() == class)
    }

    /// Syntaxes in which objects of a class lie. Sorted, so that equal knowledge gives equal proposals.
    pub(in crate::archive) fn syntaxes(&self, class: &str) -> Vec<&str> {
        let of_class = self.seen.keys().filter(|(c, _)| c.as_str() == class);
        let mut syntaxes: Vec<&str> = of_class.filter_map(|(_, s)| s.as_ref().map(Uid::as_str)).collect();
        syntaxes.sort_unstable();
        syntaxes
    }

    /// Image classes of our table that were seen, the most frequent first.
    pub(super) fn images(&self) -> Vec<&'static str> {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for ((class, _), count) in &self.seen {
            *counts.entry(class.as_str()).or_default() += count;
        }
        let mut images = table(|class, hints| has_pixels(class, hints) && counts.contains_key(class));
        images.sort_by_key(|class| Reverse(counts[class]));
        images
    }

    /// Classes seen that are not in our table, private ones among them.
    pub(super) fn others(&self) -> Vec<&str> {
        let known = |class: &str| sop_class::STORAGE.iter().any(|(c, _)| *c == class);
        let mut classes: Vec<&str> =
            self.seen.keys().map(|(c, _)| c.as_str()).filter(|c| !known(c)).collect();
        classes.sort_unstable();
        classes.dedup();
        classes
    }
}

/// The classes of our table that are `wanted`, by their UID and the modalities that hint at them.
pub(super) fn table(wanted: impl Fn(&str, &[&str]) -> bool) -> Vec<&'static str> {
    let rows = sop_class::STORAGE.iter().filter(|(class, hints)| wanted(class, hints));
    rows.map(|(class, _)| *class).collect()
}

/// The modality that a class is most typical of; `None`: any, or not known.
pub(super) fn modality(class: &str) -> Option<&'static str> {
    let row = sop_class::STORAGE.iter().find(|(known, _)| *known == class);
    row.and_then(|(_, hints)| hints.first().copied())
}

/// Classes that studies of every modality hold.
pub(super) fn is_anywhere(hints: &[&str]) -> bool {
    hints.is_empty() || hints.iter().any(|hint| matches!(*hint, "SR" | "KO" | "PR" | "DOC"))
}

/// Whether objects of a class of our table have pixels.
pub(super) fn has_pixels(class: &str, hints: &[&str]) -> bool {
    class != sop_class::RAW_DATA && !hints.iter().any(|hint| WITHOUT_PIXELS.contains(hint))
}

/// The syntaxes in which objects of a class are offered at a first attempt, in a form: of what may be compressed, for
/// objects as they are stored, every one.
pub(super) fn syntaxes(form: Form, class: &str) -> Vec<&'static str> {
    let hints = sop_class::STORAGE.iter().find(|(known, _)| *known == class).map(|(_, hints)| *hints);
    if form == Form::Native || hints.is_some_and(|hints| !has_pixels(class, hints)) {
        return NATIVE.to_vec();
    }
    let single = SINGLE_FRAME.contains(&class);
    every_syntax().into_iter().filter(|syntax| !single || !syntax.starts_with(VIDEO)).collect()
}

/// Every syntax that is known here, native ones first.
pub(super) fn every_syntax() -> Vec<&'static str> {
    let rare = [EXPLICIT_VR_BE, DEFLATED_EXPLICIT_VR_LE];
    NATIVE.into_iter().chain(LOSSLESS).chain(rare).chain(LOSSY).collect()
}
