//! The retrieval engine, proven over the wire: one retrieval for many readers, and an archive that is asked no more
//! than it has to be.

mod disk;
mod leaving;
mod opening;
mod peers;
mod slow;
mod turns;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use gantry::demo::Observations;
use gantry::dicom::{sop_class, tags};

use crate::support::http::Reply;
use crate::support::peers::{data, manifest};
use crate::support::viewer::{FRAMES, get_all, only_part};

/// Bytes of a frame of [`Ct`].
const FRAME: usize = 256 * 256 * 2;

/// The C-GETs and C-MOVEs that an archive was asked, by their Query/Retrieve Level (0008,0052).
fn retrievals(seen: &Observations) -> BTreeMap<String, usize> {
    let mut count = BTreeMap::new();
    for request in &seen.requests {
        if [sop_class::STUDY_ROOT_GET, sop_class::STUDY_ROOT_MOVE].contains(&request.sop_class.as_str()) {
            let level = request.identifier.string(tags::QUERY_RETRIEVE_LEVEL).unwrap();
            *count.entry(level.to_owned()).or_default() += 1;
        }
    }
    count
}

/// A series of CT slices, the only one of its study, as it lies on disk.
struct Ct {
    /// The folder that holds it.
    folder: PathBuf,
    study: String,
    series: String,
    /// SOP Instance UIDs and PS3.10 files, in the order of the slices.
    slices: Vec<(String, Vec<u8>)>,
}

impl Ct {
    /// 120 slices of 256 x 256 pixels.
    fn new() -> Self {
        let folder = data("ct", &["--slices", "120", "--rows", "256"]);
        let entries = manifest(&folder);
        let of = |at: usize, key: &str| entries[at][key].as_str().unwrap().to_owned();
        let slice = |at| (of(at, "instance"), fs::read(folder.join(of(at, "file"))).unwrap());
        let slices = (0..entries.len()).map(slice).collect();
        Self { study: of(0, "study"), series: of(0, "series"), slices, folder }
    }

    /// The path of the study.
    fn study(&self) -> String {
        format!("/dicom-web/studies/{}", self.study)
    }

    /// The path of the series.
    fn series(&self) -> String {
        format!("{}/series/{}", self.study(), self.series)
    }

    /// The path of a slice.
    fn instance(&self, slice: usize) -> String {
        format!("{}/instances/{}", self.series(), self.slices[slice].0)
    }

    /// The slices as a viewer wants them: the one in the middle for the thumbnail, the first, then the others.
    fn order(&self) -> Vec<usize> {
        let middle = self.slices.len() / 2;
        let others = (1..self.slices.len()).filter(|slice| *slice != middle);
        [middle, 0].into_iter().chain(others).collect()
    }

    /// Asks for every frame, six at a time, and sees that each is what the file has.
    async fn view(&self, address: SocketAddr) {
        let order = self.order();
        let paths: Vec<_> = order.iter().map(|slice| format!("{}/frames/1", self.instance(*slice))).collect();
        let replies = get_all(address, &paths, FRAMES).await;
        for (slice, reply) in order.iter().zip(&replies) {
            self.assert_frame(*slice, reply);
        }
    }

    fn assert_frame(&self, slice: usize, reply: &Reply) {
        assert_eq!((reply.status, reply.whole), (200, true), "frame of slice {slice}: {}", reply.text());
        let frame = only_part(reply);
        // Pixel Data is the last element of these files.
        assert!(
            frame.len() == FRAME && self.slices[slice].1.ends_with(frame),
            "frame of slice {slice}: other pixels"
        );
    }
}
