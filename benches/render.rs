//! What a picture costs: a CT slice and a mammogram from the frame's bytes to a file, step by step.
//!
//! `cargo bench --bench render`. A slice of 512 × 512 pixels is to take at most 3 ms as PNG and 2 ms as JPEG. `GANTRY_SLICE`
//! names a file with the pixels of another slice of that size, signed, of 16 bits, in Hounsfield units.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use gantry::dicom::dataset::DataSet;
use gantry::dicom::{VR, tags};
use gantry::image::pixels::{Frame, Photometric, Shape};
use gantry::image::render::write::{DEFAULT_QUALITY, Gif, jpeg, png};
use gantry::image::render::{Head, Options, Picture, render};

/// A signed 16-bit image that looks like tissue in air: noise over a disc with smooth edges.
fn frame(side: u16) -> Frame {
    let shape = Shape {
        rows: side,
        columns: side,
        samples: 1,
        bits_allocated: 16,
        bits_stored: 16,
        high_bit: 15,
        signed: true,
        photometric: Photometric::Monochrome2,
        planar: false,
    };
    let mut noise = 1_u32;
    let middle = f64::from(side) / 2.0;
    let pixel = |at: usize| {
        let (x, y) = (at % usize::from(side), at / usize::from(side));
        let away = (x as f64 - middle).hypot(y as f64 - middle) / middle;
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let tissue = if away < 0.8 { 40.0 + 60.0 * (away * 20.0).sin() } else { -1000.0 };
        (tissue + f64::from(noise >> 27) - 16.0) as i16
    };
    let bytes = (0..shape.pixels()).map(pixel).flat_map(i16::to_le_bytes).collect();
    Frame { shape, bytes }
}

fn head() -> Head {
    let mut data_set = DataSet::new();
    for (tag, value) in [
        (tags::RESCALE_SLOPE, "1"),
        (tags::RESCALE_INTERCEPT, "0"),
        (tags::WINDOW_CENTER, "40"),
        (tags::WINDOW_WIDTH, "400"),
    ] {
        data_set.set_str(tag, VR::DS, value);
    }
    Head::of(data_set)
}

fn drawn(frame: &Frame, viewport: &str) -> Picture {
    let options = Options { viewport: viewport.parse().ok(), ..Options::default() };
    render(&head(), frame, 1, &options).expect("an image")
}

fn pictures(criterion: &mut Criterion) {
    let (mut slice, mammogram) = (frame(512), frame(4096));
    if let Some(file) = std::env::var_os("GANTRY_SLICE") {
        slice.bytes = std::fs::read(file).expect("a file");
        assert_eq!(slice.bytes.len() as u64, slice.shape.frame_length());
    }
    criterion.bench_function("slice/drawn", |b| b.iter(|| drawn(black_box(&slice), "")));
    criterion.bench_function("slice/png", |b| b.iter(|| png(&drawn(black_box(&slice), ""))));
    criterion
        .bench_function("slice/jpeg", |b| b.iter(|| jpeg(&drawn(black_box(&slice), ""), DEFAULT_QUALITY)));
    criterion
        .bench_function("slice/thumbnail", |b| b.iter(|| jpeg(&drawn(black_box(&slice), "200,200"), 80)));
    criterion.bench_function("slice/larger", |b| b.iter(|| drawn(black_box(&slice), "1024,1024")));
    let picture = drawn(&slice, "");
    criterion.bench_function("slice/gif", |b| {
        b.iter(|| {
            let mut gif = Gif::default();
            gif.add(black_box(&picture), 40.0).map(|()| gif.finish())
        })
    });
    criterion.bench_function("colour/png", |b| {
        let picture = picture.clone().into_rgb();
        b.iter(|| png(black_box(&picture)))
    });
    criterion.bench_function("colour/jpeg", |b| {
        let picture = picture.clone().into_rgb();
        b.iter(|| jpeg(black_box(&picture), DEFAULT_QUALITY))
    });
    criterion.bench_function("mammogram/thumbnail", |b| {
        b.iter(|| jpeg(&drawn(black_box(&mammogram), "200,200"), 80));
    });
    println!(
        "a slice is {} bytes as PNG and {} as JPEG",
        png(&picture).map_or(0, |file| file.len()),
        jpeg(&picture, DEFAULT_QUALITY).map_or(0, |file| file.len())
    );
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30);
    targets = pictures
}
criterion_main!(benches);
