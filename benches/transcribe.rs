//! How fast metadata is made of the bytes of a CT image, and how fast the walk passes over what nobody wants.
//!
//! `cargo bench --bench transcribe`. The other way to DICOM JSON is dicom-object with dicom-json, on the same
//! bytes, in the same run.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::TransferSyntaxIndex as _;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use gantry::dicom::charset::QueryCharset;
use gantry::dicom::dataset::{DataSet, Element, Value};
use gantry::dicom::scan::{Event, Scanner};
use gantry::dicom::transfer_syntax::{EXPLICIT_VR_LE, IMPLICIT_VR_LE, layout};
use gantry::dicom::{Tag, Uid, VR, tags};
use gantry::dicomweb::transcribe::{BulkData, Format, Transcriber};

/// What an archive sends at a time.
const PIECE: usize = 16 << 10;

/// A CT header: some 150 elements, those in items included, text beyond ASCII, private ones.
fn ct() -> DataSet {
    let mut ct = DataSet::new();
    let texts: &[(u32, VR, &str)] = &[
        (0x0008_0008, VR::CS, "ORIGINAL\\PRIMARY\\AXIAL\\CT_SOM5 SPI"),
        (0x0008_0012, VR::DA, "20260102"),
        (0x0008_0013, VR::TM, "101112.345000"),
        (0x0008_0016, VR::UI, "1.2.840.10008.5.1.4.1.1.2"),
        (0x0008_0018, VR::UI, "1.3.12.2.1107.5.1.4.50023.30000004091411331234500001234"),
        (0x0008_0020, VR::DA, "20260102"),
        (0x0008_0021, VR::DA, "20260102"),
        (0x0008_0022, VR::DA, "20260102"),
        (0x0008_0023, VR::DA, "20260102"),
        (0x0008_0030, VR::TM, "100501.000000"),
        (0x0008_0031, VR::TM, "100701.000000"),
        (0x0008_0032, VR::TM, "100801.000000"),
        (0x0008_0033, VR::TM, "100802.000000"),
        (0x0008_0050, VR::SH, "A20260102-17"),
        (0x0008_0060, VR::CS, "CT"),
        (0x0008_0070, VR::LO, "Manufacturer"),
        (0x0008_0080, VR::LO, "Universitätsklinikum"),
        (0x0008_0081, VR::ST, "Straße 1, 12345 Stadt"),
        (0x0008_0090, VR::PN, "Überweiser^Anna^^Dr."),
        (0x0008_1010, VR::SH, "CT54321"),
        (0x0008_1030, VR::LO, "Thorax^Routine"),
        (0x0008_103E, VR::LO, "Thorax 1.0 B70f"),
        (0x0008_1040, VR::LO, "Radiologie"),
        (0x0008_1050, VR::PN, "Arzt^Bernd"),
        (0x0008_1070, VR::PN, "MTRA^Carla"),
        (0x0008_1090, VR::LO, "Somatom"),
        (0x0010_0010, VR::PN, "Müller^Hans"),
        (0x0010_0020, VR::LO, "PID-0001234"),
        (0x0010_0030, VR::DA, "19600101"),
        (0x0010_0040, VR::CS, "M"),
        (0x0010_1010, VR::AS, "066Y"),
        (0x0010_1030, VR::DS, "81.5"),
        (0x0010_4000, VR::LT, "Made up for a benchmark; nobody is meant."),
        (0x0018_0015, VR::CS, "CHEST"),
        (0x0018_0050, VR::DS, "1"),
        (0x0018_0060, VR::DS, "120"),
        (0x0018_0090, VR::DS, "500"),
        (0x0018_1000, VR::LO, "54321"),
        (0x0018_1020, VR::LO, "syngo CT 2012B"),
        (0x0018_1030, VR::LO, "ThoraxRoutine"),
        (0x0018_1100, VR::DS, "375.3"),
        (0x0018_1110, VR::DS, "1040"),
        (0x0018_1111, VR::DS, "570"),
        (0x0018_1120, VR::DS, "0"),
        (0x0018_1130, VR::DS, "152.5"),
        (0x0018_1140, VR::CS, "CW"),
        (0x0018_1150, VR::IS, "500"),
        (0x0018_1151, VR::IS, "211"),
        (0x0018_1152, VR::IS, "105"),
        (0x0018_1160, VR::SH, "0"),
        (0x0018_1170, VR::IS, "25"),
        (0x0018_1190, VR::DS, "1.2"),
        (0x0018_1200, VR::DA, "20260101"),
        (0x0018_1201, VR::TM, "081602.000000"),
        (0x0018_1210, VR::SH, "B70f"),
        (0x0018_5100, VR::CS, "HFS"),
        (0x0020_000D, VR::UI, "1.3.12.2.1107.5.1.4.50023.30000004091411331234500000001"),
        (0x0020_000E, VR::UI, "1.3.12.2.1107.5.1.4.50023.30000004091411331234500000002"),
        (0x0020_0010, VR::SH, "1"),
        (0x0020_0011, VR::IS, "4"),
        (0x0020_0012, VR::IS, "2"),
        (0x0020_0013, VR::IS, "117"),
        (0x0020_0032, VR::DS, "-187.2666015625\\-352.2666015625\\-1214.5"),
        (0x0020_0037, VR::DS, "1\\0\\0\\0\\1\\0"),
        (0x0020_0052, VR::UI, "1.3.12.2.1107.5.1.4.50023.30000004091411331234500000003"),
        (0x0020_1040, VR::LO, ""),
        (0x0020_1041, VR::DS, "-1214.5"),
        (0x0028_0004, VR::CS, "MONOCHROME2"),
        (0x0028_0030, VR::DS, "0.7330078125\\0.7330078125"),
        (0x0028_1050, VR::DS, "-600\\40"),
        (0x0028_1051, VR::DS, "1200\\400"),
        (0x0028_1052, VR::DS, "-1024"),
        (0x0028_1053, VR::DS, "1"),
        (0x0028_1055, VR::LO, "WINDOW1\\WINDOW2"),
        (0x0032_1060, VR::LO, "CT Thorax"),
        (0x0040_0244, VR::DA, "20260102"),
        (0x0040_0245, VR::TM, "100501.000000"),
        (0x0040_0253, VR::SH, "PPS-17"),
        (0x0040_0254, VR::LO, "Thorax^Routine"),
    ];
    for &(tag, vr, text) in texts {
        ct.set_strings(tag_of(tag), vr, text.split('\\').map(str::to_owned).collect());
    }
    for (element, word) in
        [(0x0002, 1), (0x0010, 512), (0x0011, 512), (0x0100, 16), (0x0101, 12), (0x0102, 11), (0x0103, 0)]
    {
        ct.set_u16(Tag(0x0028, element), word);
    }
    let reference = |n: u32| {
        let mut item = DataSet::new();
        item.set_str(tags::REFERENCED_SOP_CLASS_UID, VR::UI, "1.2.840.10008.3.1.2.3.3");
        item.set_str(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, format!("1.3.12.2.1107.5.1.4.50023.{n}"));
        item
    };
    let code = |value: &str, meaning: &str| {
        let mut item = DataSet::new();
        item.set_str(tags::CODE_VALUE, VR::SH, value);
        item.set_str(tags::CODING_SCHEME_DESIGNATOR, VR::SH, "SRT");
        item.set_str(tags::CODE_MEANING, VR::LO, meaning);
        item
    };
    ct.set_items(tags::REFERENCED_STUDY_SEQUENCE, vec![reference(1)]);
    ct.set_items(tags::REFERENCED_IMAGE_SEQUENCE, (2..8).map(reference).collect());
    ct.set_items(tags::SOURCE_IMAGE_SEQUENCE, (8..11).map(reference).collect());
    ct.set_items(tags::PROCEDURE_CODE_SEQUENCE, vec![code("P5-08000", "CT Thorax")]);
    let mut request = DataSet::new();
    request.set_str(tags::REQUESTED_PROCEDURE_ID, VR::SH, "RP-17");
    request.set_str(tags::SCHEDULED_PROCEDURE_STEP_ID, VR::SH, "SPS-17");
    request.set_items(tags::SCHEDULED_PROTOCOL_CODE_SEQUENCE, vec![code("1", "Routine"), code("2", "Lung")]);
    ct.set_items(tags::REQUEST_ATTRIBUTES_SEQUENCE, vec![request]);
    for (group, owner) in [(0x0019, "SIEMENS CT VA0  COAD"), (0x0021, "SIEMENS MED"), (0x0029, "SIEMENS CSA")]
    {
        ct.set_str(Tag(group, 0x0010), VR::LO, owner);
        for element in 0x1010..0x1018 {
            let value = Value::Bytes(Bytes::copy_from_slice(&[0x5A; 24]));
            ct.insert(Tag(group, element), Element { vr: VR::UN, value });
        }
    }
    ct
}

fn tag_of(number: u32) -> Tag {
    Tag((number >> 16) as u16, (number & 0xFFFF) as u16)
}

fn transcribe(format: Format, syntax: &Uid, pieces: &[Bytes]) -> Vec<u8> {
    let bulk = BulkData { inline: 1024, url: "http://localhost/dicom-web/studies/1/bulkdata".into() };
    let mut transcriber = Transcriber::new(format, syntax, None, bulk);
    for piece in pieces {
        transcriber.push(piece.clone());
    }
    transcriber.finish().text
}

fn pieces(bytes: Vec<u8>) -> Vec<Bytes> {
    let whole = Bytes::from(bytes);
    (0..whole.len()).step_by(PIECE).map(|at| whole.slice(at..whole.len().min(at + PIECE))).collect()
}

fn metadata(c: &mut Criterion) {
    let ct = ct();
    let mut group = c.benchmark_group("metadata of a CT image");
    for (name, syntax) in [("explicit VR", EXPLICIT_VR_LE), ("implicit VR", IMPLICIT_VR_LE)] {
        let syntax = Uid::from_static(syntax);
        let header = ct.encode(layout(&syntax), QueryCharset::Auto);
        group.throughput(Throughput::Bytes(header.len() as u64));
        let input = pieces(header.clone());
        group.bench_function(BenchmarkId::new("JSON", name), |b| {
            b.iter(|| black_box(transcribe(Format::Json, &syntax, &input)));
        });
        group.bench_function(BenchmarkId::new("XML", name), |b| {
            b.iter(|| black_box(transcribe(Format::Xml, &syntax, &input)));
        });
        let mut with_pixels = ct.clone();
        let pixels = Value::Bytes(vec![0; 512 << 10].into());
        with_pixels.insert(tags::PIXEL_DATA, Element { vr: VR::OW, value: pixels });
        let input = pieces(with_pixels.encode(layout(&syntax), QueryCharset::Auto));
        group.bench_function(BenchmarkId::new("JSON, 512 KiB of pixels passed over", name), |b| {
            b.iter(|| black_box(transcribe(Format::Json, &syntax, &input)));
        });
        let other = TransferSyntaxRegistry.get(syntax.as_str()).expect("everybody knows it");
        group.bench_function(BenchmarkId::new("JSON by dicom-object and dicom-json", name), |b| {
            b.iter(|| {
                let object = InMemDicomObject::read_dataset_with_ts(&header[..], other).expect("it is whole");
                black_box(dicom_json::to_vec(&object).expect("it has a JSON form"))
            });
        });
    }
    group.finish();
}

/// Elements of the data set only, values and sequences passed over.
fn skip(pieces: &[Bytes]) -> u64 {
    let mut scanner = Scanner::new(gantry::dicom::transfer_syntax::Layout::ExplicitLe);
    let mut elements = 0;
    for piece in pieces {
        scanner.push(piece.clone());
        while let Some(event) = scanner.next().expect("it can be followed") {
            if let Event::Element(_) = event {
                elements += 1;
                scanner.skip();
            }
        }
    }
    elements
}

/// Every event of the walk.
fn walk(pieces: &[Bytes]) -> u64 {
    let mut scanner = Scanner::new(gantry::dicom::transfer_syntax::Layout::ExplicitLe);
    let mut events = 0;
    for piece in pieces {
        scanner.push(piece.clone());
        while scanner.next().expect("it can be followed").is_some() {
            events += 1;
        }
    }
    events
}

fn walking(c: &mut Criterion) {
    let mut group = c.benchmark_group("walk in pieces of 16 KiB");
    for length in [16_u16, 64, 1024] {
        let mut bytes = Vec::new();
        while bytes.len() < 8 << 20 {
            bytes.extend(b"\x09\x00\x01\x10LO");
            bytes.extend(length.to_le_bytes());
            bytes.resize(bytes.len() + usize::from(length), b'x');
        }
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        let input = pieces(bytes);
        group.bench_function(BenchmarkId::new("passing over values of", length), |b| {
            b.iter(|| black_box(skip(&input)));
        });
        group.bench_function(BenchmarkId::new("every event, values of", length), |b| {
            b.iter(|| black_box(walk(&input)));
        });
    }
    group.finish();
}

criterion_group!(benches, metadata, walking);
criterion_main!(benches);
