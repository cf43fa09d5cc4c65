//! Text in any character set (PS3.5 6.1): no panic, and what a set writes it reads.

use gantry::dicom::VR;
use gantry::dicom::charset::Charset;

/// The sets, by the first byte of an input: alone, with extensions, in an order that nobody should write, unknown.
const SETS: [&[&str]; 16] = [
    &[],
    &["ISO_IR 100"],
    &["ISO_IR 192"],
    &["GB18030"],
    &["GBK"],
    &["ISO_IR 13"],
    &["ISO_IR 166"],
    &["ISO_IR 144"],
    &["", "ISO 2022 IR 87"],
    &["ISO 2022 IR 13", "ISO 2022 IR 87", "ISO 2022 IR 159"],
    &["", "ISO 2022 IR 149"],
    &["", "ISO 2022 IR 58"],
    &["ISO 2022 IR 100", "ISO 2022 IR 144", "ISO 2022 IR 127"],
    &["ISO 2022 IR 87", "ISO_IR 192"],
    &["klingon"],
    &["ISO_IR 192", "klingon"],
];
/// VRs whose text ends, splits or resets differently.
const VRS: [VR; 6] = [VR::PN, VR::LO, VR::LT, VR::SH, VR::UC, VR::CS];

/// Runs the target on one input.
pub(crate) fn run(data: &[u8]) {
    let [set, vr, bytes @ ..] = data else { return };
    let charset = Charset::from_values(SETS[usize::from(*set) % SETS.len()]);
    let vr = VRS[usize::from(*vr) % VRS.len()];
    let decoded = charset.decode(bytes, vr);
    assert!(decoded.text.len() <= 4 * bytes.len() + 4, "text grows by what a code point takes");
    if let Some(encoded) = charset.encode(&decoded.text, vr) {
        assert_eq!(charset.decode(&encoded, vr).text, decoded.text, "{set} {vr:?}");
    }
}
