use super::*;

type Case = (&'static [&'static str], &'static str, &'static [u8]);

/// Names, and their bytes as an encoder of another author (pydicom) makes them.
const NAMES: &[Case] = &[
    (&[], "SMITH^JOHN^ALBERT^DR^JR", b"SMITH^JOHN^ALBERT^DR^JR"),
    (&[], "", b""),
    (&[], "O'BRIEN^MARY-ANN", b"O'BRIEN^MARY-ANN"),
    (&["ISO_IR 100"], "Müller^Jürgen", b"M\xFCller^J\xFCrgen"),
    (&["ISO_IR 100"], "Núñez^María José", b"N\xFA\xF1ez^Mar\xEDa Jos\xE9"),
    (&["ISO_IR 101"], "Wałęsa^Łukasz", b"Wa\xB3\xEAsa^\xA3ukasz"),
    (&["ISO_IR 109"], "Ġorġ^Ħal", b"\xD5or\xF5^\xA1al"),
    (&["ISO_IR 110"], "Bērziņš^Jānis", b"B\xBArzi\xF1\xB9^J\xE0nis"),
    (&["ISO_IR 126"], "Διονυσιος^Μαρια", b"\xC4\xE9\xEF\xED\xF5\xF3\xE9\xEF\xF2^\xCC\xE1\xF1\xE9\xE1"),
    (&["ISO_IR 127"], "قباني^لنزار", b"\xE2\xC8\xC7\xE6\xEA^\xE4\xE6\xD2\xC7\xD1"),
    (&["ISO_IR 138"], "שרון^דבורה", b"\xF9\xF8\xE5\xEF^\xE3\xE1\xE5\xF8\xE4"),
    (&["ISO_IR 144"], "Люкceмбypг^Анна", b"\xBB\xEE\xDAce\xDC\xD1yp\xD3^\xB0\xDD\xDD\xD0"),
    (&["ISO_IR 148"], "Çavuşoğlu^İpek", b"\xC7avu\xFEo\xF0lu^\xDDpek"),
    (&["ISO_IR 166"], "นามสกุล^ชื่อ", b"\xB9\xD2\xC1\xCA\xA1\xD8\xC5^\xAA\xD7\xE8\xCD"),
    (&["ISO_IR 203"], "Lefœuvre^Zoé€", b"Lef\xBDuvre^Zo\xE9\xA4"),
    (&["ISO_IR 13"], "ﾔﾏﾀﾞ^ﾀﾛｳ", b"\xD4\xCF\xC0\xDE^\xC0\xDB\xB3"),
    (
        &["", "ISO 2022 IR 87"],
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
        b"Yamada^Tarou=\x1B$B;3ED\x1B(B^\x1B$BB@O:\x1B(B=\x1B$B$d$^$@\x1B(B^\x1B$B$?$m$&\x1B(B",
    ),
    (
        &["ISO 2022 IR 13", "ISO 2022 IR 87"],
        "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
        b"\xD4\xCF\xC0\xDE^\xC0\xDB\xB3=\x1B$B;3ED\x1B(J^\x1B$BB@O:\x1B(J=\x1B$B$d$^$@\x1B(J^\x1B$B$?$m$&\x1B(J",
    ),
    (
        &["", "ISO 2022 IR 149"],
        "Hong^Gildong=洪^吉洞=홍^길동",
        b"Hong^Gildong=\x1B$)C\xFB\xF3^\x1B$)C\xD1\xCE\xD4\xD7=\x1B$)C\xC8\xAB^\x1B$)C\xB1\xE6\xB5\xBF",
    ),
    (
        &["", "ISO 2022 IR 58"],
        "Zhang^XiaoDong=张^小东=",
        b"Zhang^XiaoDong=\x1B$)A\xD5\xC5^\x1B$)A\xD0\xA1\xB6\xAB=",
    ),
    (&["GB18030"], "Wang^XiaoDong=王^小东", b"Wang^XiaoDong=\xCD\xF5^\xD0\xA1\xB6\xAB"),
    (&["GB18030"], "Wu=吴^㐀𠀀", b"Wu=\xCE\xE2^\x819\xEE9\x952\x826"),
    (&["GBK"], "Zhang^Wei=张^伟", b"Zhang^Wei=\xD5\xC5^\xCE\xB0"),
    (&["ISO_IR 192"], "Wang^XiaoDong=王^小東", b"Wang^XiaoDong=\xE7\x8E\x8B^\xE5\xB0\x8F\xE6\x9D\xB1"),
    (
        &["ISO 2022 IR 6", "ISO 2022 IR 126", "ISO 2022 IR 144"],
        "Διονυσιος^Люкceмбypг",
        b"\x1B-F\xC4\xE9\xEF\xED\xF5\xF3\xE9\xEF\xF2^\x1B-L\xBB\xEE\xDAce\xDC\xD1yp\xD3",
    ),
    (
        &["ISO 2022 IR 100", "ISO 2022 IR 126"],
        "Müller^Διονυσιος",
        b"M\xFCller^\x1B-F\xC4\xE9\xEF\xED\xF5\xF3\xE9\xEF\xF2",
    ),
];

/// Descriptions, made likewise.
const TEXTS: &[Case] = &[
    (&["", "ISO 2022 IR 87"], "胸部単純", b"\x1B$B6;ItC1=c\x1B(B"),
    (&["ISO 2022 IR 13", "ISO 2022 IR 87"], "頭部CT", b"\x1B$BF,It\x1B(JCT"),
    (&["ISO_IR 13"], "ﾋﾞｮｳｲﾝ", b"\xCB\xDE\xAE\xB3\xB2\xDD"),
    (&["", "ISO 2022 IR 149"], "흉부", b"\x1B$)C\xC8\xE4\xBA\xCE"),
    (&["ISO_IR 166"], "โรงพยาบาล", b"\xE2\xC3\xA7\xBE\xC2\xD2\xBA\xD2\xC5"),
    (&["ISO_IR 192"], "胸部 🩻", b"\xE8\x83\xB8\xE9\x83\xA8 \xF0\x9F\xA9\xBB"),
    (&["ISO_IR 148"], "Göğüs", b"G\xF6\xF0\xFCs"),
];

fn decoded(values: &[&str], bytes: &[u8], vr: VR) -> String {
    let decoded = Charset::from_values(values).decode(bytes, vr);
    assert!(!decoded.damaged, "{values:?}: {}", decoded.text);
    decoded.text
}

#[test]
fn names_of_every_character_set_come_out_right() {
    for (values, text, bytes) in NAMES {
        assert_eq!(decoded(values, bytes, VR::PN), *text, "{values:?}");
        assert!(Charset::from_values(values).is_known(), "{values:?}");
    }
    for (values, text, bytes) in TEXTS {
        assert_eq!(decoded(values, bytes, VR::LO), *text, "{values:?}");
    }
}

#[test]
fn names_are_encoded_as_another_encoder_does() {
    for (values, text, bytes) in NAMES {
        assert_eq!(Charset::from_values(values).encode(text, VR::PN).as_deref(), Some(*bytes), "{values:?}");
    }
    for (values, text, bytes) in TEXTS {
        assert_eq!(Charset::from_values(values).encode(text, VR::LO).as_deref(), Some(*bytes), "{values:?}");
    }
}

#[test]
fn jis_x_0212_is_read() {
    let name = b"Kusaka=\x1B$(D0!0\x22\x1B(B^\x1B$(D1)\x1B(B";
    assert_eq!(decoded(&["", "ISO 2022 IR 159"], name, VR::PN), "Kusaka=丂丄^侔");
}

#[test]
fn a_second_byte_5c_splits_no_value() {
    assert_eq!(decoded(&["GBK"], b"\x81\\\\X", VR::LO), "乗\\X");
    assert_eq!(decoded(&["GB18030"], b"\x82\\^\x83\\", VR::PN), "俓^僜");
    // JIS X 0208, row 0x21 column 0x5C, and the value after it.
    assert_eq!(decoded(&["", "ISO 2022 IR 87"], b"\x1B$B!\\;3\x1B(B\\A", VR::LO), "＋山\\A");
}

#[test]
fn escape_sequences_reach_to_the_next_delimiter_only() {
    let charset = Charset::from_values(&["ISO 2022 IR 100", "ISO 2022 IR 144"]);
    let text = |bytes: &[u8], vr| charset.decode(bytes, vr).text;
    assert_eq!(text(b"\x1B-L\xB0\\\xC4", VR::LO), "А\\Ä");
    assert_eq!(text(b"\x1B-L\xB0^\xC4=\xC4", VR::PN), "А^Ä=Ä");
    assert_eq!(text(b"\x1B-L\xB0^\xB0=", VR::LO), "А^А=", "^ and = are text outside of names");
    assert_eq!(text(b"\x1B-L\xB0\\\xB0", VR::LT), "А\\А", "so is the backslash in long text");
    for delimiter in ['\r', '\n', '\x0C', '\t'] {
        let bytes = [b"\x1B-L\xB0", &[delimiter as u8][..], b"\xC4"].concat();
        assert_eq!(text(&bytes, VR::UT), format!("А{delimiter}Ä"));
    }
}

#[test]
fn yen_is_a_delimiter_where_values_are_several_and_a_yen_elsewhere() {
    assert_eq!(decoded(&["ISO_IR 13"], b"\xB1\\\xB2", VR::LO), "ｱ\\ｲ");
    assert_eq!(decoded(&["ISO_IR 13"], b"\xB1\\\xB2~", VR::ST), "ｱ¥ｲ‾");
    assert_eq!(decoded(&["ISO_IR 13"], b"http://x/~a", VR::UR), "http://x/~a");
}

#[test]
fn labels_are_taken_as_archives_write_them() {
    for label in
        ["ISO-IR 100", "iso_ir 100", " ISO_IR 100 ", "ISO_IR_100", "ISO 2022 IR 100", "ISO_IR100", "latin1"]
    {
        assert_eq!(decoded(&[label], b"\xFC", VR::LO), "ü", "{label}");
        assert_eq!(Charset::from_values(&[label]).values(), ["ISO_IR 100"], "{label}");
    }
    for label in ["utf-8", "UTF8", "ISO_IR 192", "iso 2022 ir 192"] {
        assert_eq!(decoded(&[label], "ü".as_bytes(), VR::LO), "ü", "{label}");
    }
    for label in ["", "ISO_IR 6", "ISO 2022 IR 6"] {
        assert_eq!(Charset::from_values(&[label]).values(), [""; 0], "{label}");
    }
    assert_eq!(decoded(&["ISO 2022 GBK"], b"\xCD\xF5", VR::LO), "王");
    assert_eq!(decoded(&["\\ISO 2022 IR 87", "ISO 2022 IR 58"], b"\xCD\xF5", VR::LO), "王");
}

#[test]
fn an_unknown_label_and_undecodable_bytes_fail_nothing() {
    let charset = Charset::from_values(&["KLINGON"]);
    assert!(!charset.is_known());
    assert_eq!(charset.decode(b"A\xFCB", VR::LO), Decoded { text: "A\u{FFFD}B".into(), damaged: true });
    assert_eq!(charset.decode("Aü".as_bytes(), VR::LO), Decoded { text: "Aü".into(), damaged: false });
    let broken: &[(&[&str], &[u8], &str)] = &[
        (&["ISO_IR 192"], b"A\xFF", "A\u{FFFD}"),
        (&["", "ISO 2022 IR 87"], b"A\x1B%G", "A\u{FFFD}%G"),
        (&["", "ISO 2022 IR 87"], b"\x1B$B;3E\x1B(BX", "山\u{FFFD}X"),
        (&["ISO_IR 13"], b"\xFF", "\u{FFFD}"),
        (&["", "ISO 2022 IR 149"], b"\x1B$)C\xFB", "\u{FFFD}"),
    ];
    for (values, bytes, text) in broken {
        let decoded = Charset::from_values(values).decode(bytes, VR::LO);
        assert_eq!((decoded.text.as_str(), decoded.damaged), (*text, true), "{values:?}");
    }
}

#[test]
fn sets_that_need_no_announcement_are_told_by_their_escape_sequence() {
    assert_eq!(decoded(&[], b"\x1B$B;3ED\x1B(B", VR::PN), "山田");
    assert_eq!(decoded(&["ISO 2022 IR 149"], b"\xFB\xF3", VR::PN), "洪", "without any escape sequence");
    assert_eq!(decoded(&["", "ISO 2022 IR 149"], b"A^\xFB\xF3", VR::PN), "A^洪");
}

#[test]
fn what_a_set_has_not_is_not_encoded() {
    assert_eq!(Charset::ascii().encode("ü", VR::LO), None);
    assert_eq!(Charset::latin1().encode("€", VR::LO), None, "only the Windows superset has it");
    assert_eq!(Charset::latin1().encode("ł", VR::LO), None);
    assert_eq!(Charset::from_values(&["ISO_IR 13"]).encode("~", VR::LO), None);
    assert_eq!(Charset::from_values(&["", "ISO 2022 IR 87"]).encode("길", VR::LO), None);
}

#[test]
fn text_smuggles_no_escape_sequence_in() {
    assert_eq!(Charset::ascii().encode("a\x1B$B;3", VR::LO), None);
    assert_eq!(Charset::utf8().encode("a\x1B$B;3", VR::LO).as_deref(), Some(&b"a\x1B$B;3"[..]));
    assert_eq!(decoded(&["ISO_IR 192"], b"a\x1B$B;3", VR::LO), "a\x1B$B;3");
}

#[test]
fn configuration_takes_standard_labels_only() {
    assert_eq!("auto".parse(), Ok(QueryCharset::Auto));
    assert_eq!("ISO_IR 192".parse(), Ok(QueryCharset::Forced(Charset::utf8())));
    assert_eq!(
        "\\ISO 2022 IR 87".parse::<Charset>().map(|c| c.values().to_vec()),
        Ok(vec![String::new(), "ISO 2022 IR 87".into()])
    );
    for bad in ["KLINGON", "Shift_JIS", "ISO_IR 999"] {
        assert_eq!(bad.parse::<Charset>(), Err(UnknownCharset), "{bad}");
    }
}

#[test]
fn a_yen_sign_is_not_sent_as_the_backslash_that_separates_values() {
    let jis = Charset::from_values(&["ISO 2022 IR 13", "ISO 2022 IR 87"]);
    assert_eq!(jis.encode("1¥2", VR::LO), None);
    assert_eq!(jis.encode("1¥2", VR::LT).as_deref(), Some(&b"1\\2"[..]), "where no value is separated");
    assert_eq!(jis.decode(b"1\\2", VR::LT).text, "1¥2");
    for label in ["EUC-JP", "Shift_JIS"] {
        let whole = Charset::from_values(&[label]);
        assert_eq!(whole.encode("1¥2", VR::LO), None, "{label}");
        assert!(whole.encode("山田", VR::LO).is_some(), "{label}");
    }
}

#[test]
fn a_character_is_not_sent_as_one_that_looks_like_it() {
    let jis = Charset::from_values(&["", "ISO 2022 IR 87"]);
    assert_eq!(jis.encode("\u{2212}", VR::LO), None, "a minus sign is no full-width hyphen");
    assert!(jis.encode("\u{FF0D}", VR::LO).is_some());
}

#[test]
fn hazard_an_overline_is_not_written_where_it_would_be_read_as_a_tilde() {
    let charset = Charset::from_values(&["ISO_IR 13"]);
    assert_eq!(charset.encode("A‾", VR::CS), None);
    assert_eq!(charset.encode("A~", VR::CS), None, "which the set has not, and must not become an overline");
    let written = charset.encode("A‾", VR::LO).unwrap();
    assert_eq!(charset.decode(&written, VR::LO).text, "A‾");
}
