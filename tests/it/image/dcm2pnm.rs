//! Pictures against those that DCMTK makes: `dcm2pnm` and its sisters for JPEG and JPEG-LS, of every file of the corpus
//! that they can read, under the same window.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use gantry::dicom::part10::MetaReader;
use gantry::dicom::transfer_syntax::{Codec, codec};
use gantry::dicom::{Tag, Uid, tags};
use gantry::image::codec::decode;
use gantry::image::frames::{Cut, Cutter, Step};
use gantry::image::pixels::Frame;
use gantry::image::render::attributes::shape;
use gantry::image::render::{Colours, Head, HeadReader, Options, Picture, render};

use crate::support::peers::data;
use crate::support::process::{Scratch, bounded};

/// Most frames of an object that are compared: the first ones.
const FRAMES: u32 = 2;
/// Of a picture's samples, so many of a thousand may differ by two, the others by one: both programs round.
const BY_TWO: usize = 1;

/// A file, a view of it, and why the pictures are not the same. One that is the same after all fails the test.
type Excuse = (&'static str, &'static str, &'static str);

/// The standard has 128 as the zero of a chrominance of 8 bits (PS3.3 C.7.6.3.1.2).
const ZERO: &str = "DCMTK takes 127.5 for the zero of chrominances, which makes up to 3 of 255";
const WORDS: &str =
    "32-bit cells in big endian: DCMTK turns words of 16 bits around, pydicom wrote ones of 32";
const SUPPLEMENT: &str = "DCMTK does not know supplemental palettes, and takes colours for grey values";
const LOSSY: &str =
    "decoders of lossy JPEG differ by one of 4096, which the range of few values makes two of 256";
const EXCUSED: &[Excuse] = &[
    ("JPEG-lossy.dcm", "Range", LOSSY),
    ("JPGExtended.dcm", "Range", LOSSY),
    ("SC_rgb_dcmtk_+eb+cy+n1.dcm", "Own", ZERO),
    ("SC_rgb_dcmtk_+eb+cy+np.dcm", "Own", ZERO),
    ("SC_rgb_jpeg_lossy_gdcm.dcm", "Own", ZERO),
    ("SC_ybr_full_uncompressed.dcm", "Own", ZERO),
    ("color3d_jpeg_baseline.dcm", "Own", ZERO),
    ("examples_ybr_color.dcm", "Own", ZERO),
    ("rtdose_expb.dcm", "Range", WORDS),
    ("rtdose_expb_1frame.dcm", "Range", WORDS),
    ("eCT_Supplemental.dcm", "Range", SUPPLEMENT),
    ("eCT_Supplemental.dcm", "Linear", SUPPLEMENT),
    ("eCT_Supplemental.dcm", "Sigmoid", SUPPLEMENT),
];

/// A way to look at an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View {
    /// As it says itself.
    Own,
    /// From its least to its greatest value.
    Range,
    /// A window of the request.
    Linear,
    Sigmoid,
    /// With its overlays.
    Overlays,
}

const VIEWS: [View; 5] = [View::Own, View::Range, View::Linear, View::Sigmoid, View::Overlays];

/// The two pictures of a frame.
pub(super) struct Pair {
    pub(super) file: String,
    view: View,
    pub(super) frame: u32,
    pub(super) ours: Picture,
    pub(super) theirs: Picture,
}

/// An object of the corpus, with its frames.
struct Object {
    path: PathBuf,
    name: String,
    syntax: Uid,
    head: Head,
    frames: Vec<Frame>,
}

/// What a file holds, where it is an image that can be decoded here.
fn read(path: &Path) -> Option<Object> {
    let name = path.file_name()?.to_str()?.to_owned();
    let mut meta = MetaReader::new();
    let (meta, data) = meta.push(Bytes::from(fs::read(path).unwrap())).ok()??;
    let syntax = meta.transfer_syntax?;
    let mut cutter = Cutter::all(&syntax);
    let mut reader = HeadReader::new(&syntax, None);
    cutter.push(data.clone());
    reader.push(data).ok()?;
    let mut head = reader.finish()?;
    let shape = shape(&head.data_set).ok()?;
    let mut frames = Vec::new();
    let mut bytes = Vec::new();
    while let Ok(Step::Cut(cut)) = cutter.next() {
        match cut {
            Cut::Begin { number, .. } if number > FRAMES => break,
            Cut::Begin { .. } => bytes.clear(),
            Cut::Bytes(piece) => bytes.extend(piece),
            Cut::End => {
                frames.push(if codec(&syntax) == Codec::Other {
                    Frame { shape, bytes: bytes.clone() }
                } else {
                    decode(&syntax, &bytes, &shape).ok()?
                });
            }
        }
    }
    // DCMTK takes no notice of these here.
    for tag in [
        tags::PIXEL_SPACING,
        tags::IMAGER_PIXEL_SPACING,
        tags::NOMINAL_SCANNED_PIXEL_SPACING,
        tags::PIXEL_ASPECT_RATIO,
        tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE,
        tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE,
        tags::PIXEL_PADDING_VALUE,
    ] {
        head.data_set.remove(tag);
    }
    (!frames.is_empty()).then_some(Object { path: path.to_owned(), name, syntax, head, frames })
}

impl Object {
    fn is_grey(&self) -> bool {
        self.frames[0].shape.photometric.name().starts_with("MONOCHROME")
    }

    /// Whether there is this view of it.
    fn has(&self, view: View) -> bool {
        let says = |tag| self.head.data_set.contains(tag);
        match view {
            View::Own => !self.is_grey() || says(tags::WINDOW_CENTER) || says(tags::VOILUT_SEQUENCE),
            View::Range | View::Linear | View::Sigmoid => self.is_grey(),
            View::Overlays => self.is_grey() && says(Tag(0x6000, 0x0010)),
        }
    }

    /// What both programs are told.
    fn told(&self, view: View) -> (Vec<String>, Options, Head) {
        let mut head = self.head.clone();
        let window = |function: &str| Options {
            window: format!("300,777,{function}").parse().ok(),
            ..Options::default()
        };
        let (arguments, options): (&[&str], Options) = match view {
            View::Own if !self.is_grey() => (&[], Options::default()),
            View::Own if head.data_set.contains(tags::VOILUT_SEQUENCE) => (&["+Wl", "1"], Options::default()),
            View::Own => (&["+Wi", "1"], Options::default()),
            View::Range => {
                head.data_set.retain(|tag| {
                    ![tags::WINDOW_CENTER, tags::WINDOW_WIDTH, tags::VOILUT_SEQUENCE].contains(&tag)
                });
                (&["+Wm"], Options::default())
            }
            View::Linear => (&["+Wfl", "+Ww", "300", "777"], window("linear")),
            View::Sigmoid => (&["+Wfs", "+Ww", "300", "777"], window("sigmoid")),
            View::Overlays => {
                let annotation = "overlays".parse().unwrap();
                let arguments = &["+Wfl", "+Ww", "300", "777", "+O", "0", "+Omr", "+Osf", "1.0"];
                (arguments, Options { annotation, ..window("linear") })
            }
        };
        let no_overlays = (view != View::Overlays).then_some("-O");
        let arguments = no_overlays.iter().chain(arguments).map(|&argument| argument.to_owned());
        (arguments.collect(), options, head)
    }

    /// DCMTK's picture; `None`: it makes none.
    fn theirs(&self, scratch: &Path, arguments: &[String], frame: u32) -> Option<Picture> {
        let program = match codec(&self.syntax) {
            Codec::Jpeg => "dcmj2pnm",
            Codec::JpegLs => "dcml2pnm",
            _ => "dcm2pnm",
        };
        let file = scratch.join("theirs.pnm");
        let _ = fs::remove_file(&file);
        let frame = frame.to_string();
        let mut command = bounded(program);
        command.args(["--quiet", "--frame", &frame]).args(arguments);
        command.arg(&self.path).arg(&file).output().unwrap();
        pnm(&fs::read(&file).ok()?)
    }
}

/// A binary PGM or PPM.
fn pnm(file: &[u8]) -> Option<Picture> {
    let mut fields = Vec::new();
    let mut rest = file;
    while fields.len() < 4 {
        let end = rest.iter().position(u8::is_ascii_whitespace)?;
        let (field, behind) = rest.split_at(end);
        if field.starts_with(b"#") {
            let line = rest.iter().position(|&b| b == b'\n')?;
            rest = &rest[line + 1..];
            continue;
        }
        rest = &behind[1..];
        if !field.is_empty() {
            fields.push(std::str::from_utf8(field).ok()?);
        }
    }
    let colours = if fields[0] == "P6" { Colours::Rgb } else { Colours::Grey };
    let (width, height) = (fields[1].parse().ok()?, fields[2].parse().ok()?);
    assert_eq!(fields[3], "255");
    Some(Picture { width, height, colours, pixels: rest.to_vec(), icc_profile: None })
}

/// What is different; `None`: nothing that counts.
fn difference(ours: &Picture, theirs: &Picture) -> Option<String> {
    if (ours.width, ours.height) != (theirs.width, theirs.height) {
        return Some(format!("{}×{} and {}×{}", ours.width, ours.height, theirs.width, theirs.height));
    }
    let (ours, theirs) = (ours.clone().into_rgb().pixels, theirs.clone().into_rgb().pixels);
    if ours.len() != theirs.len() {
        return Some(format!("{} and {} samples", ours.len(), theirs.len()));
    }
    let differences = || ours.iter().zip(&theirs).map(|(a, b)| a.abs_diff(*b));
    let beyond = differences().filter(|&by| by > 1).count();
    let most = differences().max().unwrap_or_default();
    let fits = most <= 2 && beyond * 1000 <= ours.len() * BY_TWO;
    (!fits).then(|| format!("{beyond} of {} samples differ by more than 1, the most by {most}", ours.len()))
}

/// Every view of every frame that both programs show; and what only one of them does, or none.
pub(super) fn each(mut seen: impl FnMut(Pair)) -> BTreeMap<String, &'static str> {
    let folder = data("corpus", &[]);
    let scratch = Scratch::new("dcm2pnm");
    let mut unseen = BTreeMap::new();
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for path in files {
        let Some(object) = read(&path) else { continue };
        for view in VIEWS.into_iter().filter(|view| object.has(*view)) {
            let (arguments, options, head) = object.told(view);
            for (frame, number) in object.frames.iter().zip(1..) {
                let file = object.name.split_once('-').map_or("", |(_, name)| name).to_owned();
                let ours = render(&head, frame, number, &options);
                let theirs = object.theirs(scratch.path(), &arguments, number);
                match (ours, theirs) {
                    (Ok(ours), Some(theirs)) => seen(Pair { file, view, frame: number, ours, theirs }),
                    (Err(_), Some(_)) => drop(unseen.insert(file, "is shown by DCMTK only")),
                    (_, None) => drop(unseen.insert(file, "is not shown by DCMTK")),
                }
            }
        }
    }
    unseen
}

#[test]
fn pictures_are_those_of_dcmtk_under_the_same_window() {
    let (mut problems, mut excused, mut seen) = (Vec::new(), Vec::new(), BTreeMap::<String, usize>::new());
    let unseen = each(|pair| {
        *seen.entry(pair.file.clone()).or_default() += 1;
        let Some(how) = difference(&pair.ours, &pair.theirs) else { return };
        let view = format!("{:?}", pair.view);
        match EXCUSED.iter().find(|(file, of, _)| (*file, *of) == (&pair.file, &view)) {
            Some(excuse) => excused.push(*excuse),
            None => problems.push(format!("{}, {view}, frame {}: {how}", pair.file, pair.frame)),
        }
    });
    for (file, why) in &unseen {
        println!("{file} {why}");
    }
    println!("{} files, {} pictures", seen.len(), seen.values().sum::<usize>());
    let grown = EXCUSED.iter().filter(|excuse| !excused.contains(excuse));
    problems.extend(
        grown.map(|(file, view, reason)| format!("{file}, {view}: is the same, and was excused: {reason}")),
    );
    assert!(problems.is_empty(), "{} differ:\n{}", problems.len(), problems.join("\n"));
    assert!(seen.len() >= 100, "only {} files were compared", seen.len());
}
