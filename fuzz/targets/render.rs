//! Images that are shown: no panic, the size of the pieces changes nothing, and a picture has as many pixels as it says.

use bytes::Bytes;
use gantry::dicom::dataset::DataSet;
use gantry::dicom::transfer_syntax::layout;
use gantry::dicom::{Uid, tags};
use gantry::image::frames::{Cut, Cutter, Step};
use gantry::image::pixels::Frame;
use gantry::image::render::attributes::shape;
use gantry::image::render::viewport::pixels_of;
use gantry::image::render::write::{jpeg, png};
use gantry::image::render::{Head, HeadReader, Options, Picture, Presentation, render, render_as};

const SYNTAXES: [&str; 3] = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"];
const VIEWPORTS: [&str; 4] = ["", "7,5", "40,40,1,0,-2,3", "3,9,0.5,0.5,99,-1"];
const WINDOWS: [&str; 4] = ["", "40,400,linear", "1,0.5,linear-exact", "0,1,sigmoid"];
const PROFILES: [&str; 3] = ["no", "yes", "srgb"];
/// Frames and pictures with more pixels are not worked on: a few bytes may say that they have any size.
const MAX_WORK: u64 = 1 << 16;

/// Runs the target on one input: transfer syntax and options, the size of the pieces, and the data set.
pub(crate) fn run(data: &[u8]) {
    let [choice, size, bytes @ ..] = data else { return };
    let syntax: Uid = SYNTAXES[usize::from(*choice) % SYNTAXES.len()].parse().expect("a UID");
    let options = Options {
        window: WINDOWS[usize::from(choice / 16 % 4)].parse().ok(),
        viewport: VIEWPORTS[usize::from(choice / 64)].parse().ok(),
        annotation: "patient,technique,overlays".parse().expect("an annotation"),
        profile: PROFILES[usize::from(choice / 5 % 3)].parse().expect("a profile"),
    };
    let whole = read(&syntax, bytes, usize::MAX);
    let pieces = read(&syntax, bytes, usize::from(*size) + 1);
    let Some((head, frame)) = whole else {
        assert!(pieces.is_none());
        return;
    };
    if frame.shape.pixels() as u64 > MAX_WORK
        || pixels_of(&head, 1, &frame.shape, options.viewport, None) > MAX_WORK
    {
        return;
    }
    let picture = render(&head, &frame, 1, &options);
    let (again, same) = pieces.expect("what came in one piece");
    assert_eq!(render(&again, &same, 1, &options), picture);
    let Ok(picture) = picture else { return };
    hold(&picture);
    // The object is as good a presentation state as any.
    if let Ok(state) = DataSet::parse(bytes, layout(&syntax), None)
        && let Some(instance) = head.data_set.uid(tags::SOP_INSTANCE_UID)
        && let Some(presentation) = Presentation::read(&state.data_set, &instance, 1)
        && let Ok(picture) = render_as(&head, &frame, 1, &options, &presentation)
    {
        hold(&picture);
    }
}

fn hold(picture: &Picture) {
    let pixels = picture.width as usize * picture.height as usize;
    assert_eq!(picture.pixels.len(), pixels * picture.colours.bytes());
    png(picture).expect("a small picture");
    jpeg(picture, 50).expect("a small picture");
}

/// An image and its first frame, as native pixels.
fn read(syntax: &Uid, bytes: &[u8], size: usize) -> Option<(Head, Frame)> {
    let mut cutter = Cutter::new(syntax, vec![1]);
    let mut reader = HeadReader::new(syntax, Some(vec![1]));
    let mut pixels = Vec::new();
    for piece in bytes.chunks(size) {
        reader.push(Bytes::copy_from_slice(piece)).ok()?;
        cutter.push(Bytes::copy_from_slice(piece));
        loop {
            match cutter.next().ok()? {
                Step::MoreBytes => break,
                Step::Cut(Cut::Bytes(bytes)) => pixels.extend(bytes),
                Step::Cut(_) => {}
                Step::Done(_) => {
                    let head = reader.finish()?;
                    let shape = shape(&head.data_set).ok()?;
                    return Some((head, Frame { shape, bytes: pixels }));
                }
            }
        }
    }
    None
}
