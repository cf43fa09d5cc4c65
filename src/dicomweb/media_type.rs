//! Finds out from a request in which form the client wants its answer (PS3.18 8.7, RFC 9110 12.5.1).
//!
//! The parser takes what clients really send: unquoted parameters with a slash in them
//! (`type=application/dicom`), trailing semicolons, browsers' long lists. What it cannot read it passes over,
//! and it never fails: an unreadable range is one that matches nothing.

mod content_type;
mod picture;
mod pixel;

use crate::dicom::Uid;
use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, is_allowed_on_the_web, is_lossy};

pub use content_type::ContentType;
pub use picture::{GIF, JPEG, PNG};
pub use pixel::{FrameForm, OCTET_STREAM, ValueForm, pixel_type};

/// The DICOM JSON Model (PS3.18 Annex F).
pub const DICOM_JSON: &str = "application/dicom+json";
/// The Native DICOM Model (PS3.19 A.1).
pub const DICOM_XML: &str = "application/dicom+xml";
/// A PS3.10 file.
pub const DICOM: &str = "application/dicom";
/// An archive of PS3.10 files.
pub const ZIP: &str = "application/zip";
/// Plain JSON, as which a client may take DICOM JSON.
pub const JSON: &str = "application/json";

/// Most media ranges that are read of a request; a browser sends about ten, a viewer's longest list has seven.
const MAX_RANGES: usize = 64;
/// Most characters of all Accept values that are read.
const MAX_LENGTH: usize = 16 * 1024;

/// What a client accepts: the media ranges of its `accept` query parameter, then those of its headers, each
/// list with the most wanted first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accept {
    lists: Vec<Vec<MediaRange>>,
}

/// One media range with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
struct MediaRange {
    /// `type/subtype` in lower case, either of which may be `*`.
    essence: String,
    /// Names in lower case, values unquoted; without `q`.
    parameters: Vec<(String, String)>,
    /// The weight in thousandths.
    weight: u16,
}

/// The form of an answer with data sets: matches of a search, metadata, what became of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DataSetForm {
    /// `application/dicom+json`.
    DicomJson,
    /// The same text, labelled `application/json` for a client that takes no other.
    Json,
    /// `multipart/related; type="application/dicom+xml"`, a Native DICOM Model a part.
    Xml,
    /// One Native DICOM Model, bare: where there is one data set only.
    SingleXml,
}

impl DataSetForm {
    /// The media type of a data set, or of all of them.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::DicomJson => DICOM_JSON,
            Self::Json => JSON,
            Self::Xml | Self::SingleXml => DICOM_XML,
        }
    }
}

/// The form of an answer with PS3.10 files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectForm {
    /// What stands around the files.
    pub packaging: Packaging,
    /// The encodings that the client takes.
    pub syntax: SyntaxChoice,
    /// How many others it wants more, by their weight; forms of one rank it wants alike.
    pub rank: usize,
}

/// The form of a structured report as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportForm {
    /// `text/html`.
    Html,
    /// `text/plain`.
    Plain,
}

/// What stands around PS3.10 files in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packaging {
    /// `multipart/related`, one file a part.
    Multipart,
    /// `application/zip`, with as many files as there are.
    Zip,
    /// Nothing: one bare file.
    Bare,
}

/// The transfer syntaxes that a client takes for PS3.10 files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyntaxChoice {
    /// `transfer-syntax=*`: as they are stored (PS3.18 8.7.3.5.2).
    AsStored,
    /// The default: Explicit VR Little Endian, and what exists in a lossy form only as it is stored (PS3.18 8.7.3).
    Native,
    /// This one, of those that the web has.
    Only(Uid),
}

impl SyntaxChoice {
    /// The choice that the parameter says; `None`: one that the web does not have (PS3.18 8.7.3).
    pub fn read(parameter: Option<&str>) -> Option<Self> {
        match parameter {
            None => Some(Self::Native),
            Some("*") => Some(Self::AsStored),
            Some(uid) => uid.parse().ok().filter(is_allowed_on_the_web).map(Self::Only),
        }
    }

    /// The transfer syntax that an object is sent in which is stored in this one; `None`: the client takes it in none.
    /// `can`: whether the first becomes the second.
    pub fn of(&self, stored: &Uid, can: impl Fn(&Uid, &Uid) -> bool) -> Option<Uid> {
        let native = Uid::from_static(EXPLICIT_VR_LE);
        match self {
            Self::AsStored if is_allowed_on_the_web(stored) => Some(stored.clone()),
            Self::Native if is_lossy(stored) => Some(stored.clone()),
            Self::AsStored | Self::Native => (*stored == native || can(stored, &native)).then_some(native),
            Self::Only(wanted) => (stored == wanted || can(stored, wanted)).then(|| wanted.clone()),
        }
    }
}

impl Accept {
    /// Reads the values of the `accept` query parameter (percent-decoded) and of the Accept headers.
    pub fn new<'a>(
        parameters: impl IntoIterator<Item = &'a str>,
        headers: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let mut budget = Budget { ranges: MAX_RANGES, length: MAX_LENGTH };
        let parameters = budget.read(parameters);
        let headers = budget.read(headers);
        Self { lists: [parameters, headers].into_iter().flatten().collect() }
    }

    /// The form for an answer with data sets; `single_item` where there is one of them at most, which alone may
    /// be a bare XML document (PS3.18 10.4.4). `None` where the client takes none that there is (406).
    pub fn data_set_form(&self, single_item: bool) -> Option<DataSetForm> {
        self.choose(|range| match range.essence.as_str() {
            DICOM_JSON | "application/*" | "*/*" => Some(DataSetForm::DicomJson),
            JSON => Some(DataSetForm::Json),
            DICOM_XML | "application/xml" | "text/xml" if single_item => Some(DataSetForm::SingleXml),
            "multipart/related" => {
                let inner = range.parameter("type")?.to_ascii_lowercase();
                matches!(inner.as_str(), DICOM_XML | "application/*" | "*/*").then_some(DataSetForm::Xml)
            }
            _ => None,
        })
    }

    /// The forms for an answer with PS3.10 files, the most wanted first; `single_item` where the resource is one
    /// instance, for which alone a single part may be asked (PS3.18 10.4.4). None where the client takes none that there
    /// is (406).
    pub fn object_forms(&self, single_item: bool) -> Vec<ObjectForm> {
        let form = |range: &MediaRange, rank| {
            let packaging = match range.essence.as_str() {
                "multipart/related" => {
                    let inner = range.parameter("type").map(str::to_ascii_lowercase);
                    if !matches!(inner.as_deref(), None | Some(DICOM | "application/*" | "*/*")) {
                        return None;
                    }
                    Packaging::Multipart
                }
                "*/*" | "multipart/*" => Packaging::Multipart,
                DICOM | "application/*" if single_item => Packaging::Bare,
                ZIP => Packaging::Zip,
                _ => return None,
            };
            let syntax = SyntaxChoice::read(range.parameter("transfer-syntax"))?;
            Some(ObjectForm { packaging, syntax, rank })
        };
        if self.lists.is_empty() {
            return form(&MediaRange::any(), 0).into_iter().collect();
        }
        let alike = self.alike().enumerate();
        alike.flat_map(|(rank, ranges)| ranges.iter().filter_map(move |range| form(range, rank))).collect()
    }

    /// The ranges, the most wanted first, those together that are wanted alike; without what is not wanted.
    fn alike(&self) -> impl Iterator<Item = &[MediaRange]> {
        let alike = |a: &MediaRange, b: &MediaRange| a.weight == b.weight;
        let all = self.lists.iter().flat_map(move |list| list.chunk_by(alike));
        all.filter(|ranges| ranges.first().is_some_and(|range| range.weight > 0))
    }

    /// The form for a structured report as text (PS3.18 8.7.4), which is a page where the client does not mind. `None`
    /// where it takes neither (406).
    pub fn report_form(&self) -> Option<ReportForm> {
        self.choose(|range| match range.essence.as_str() {
            "text/html" | "text/*" | "*/*" => Some(ReportForm::Html),
            "text/plain" => Some(ReportForm::Plain),
            _ => None,
        })
    }

    /// The first range that `offer` can serve, in the client's order of preference; without any range what
    /// `*/*` gets.
    fn choose<T>(&self, offer: impl FnMut(&MediaRange) -> Option<T>) -> Option<T> {
        self.each_range(&MediaRange::any(), offer)
    }
}

/// How much of a request's Accept values is still to be read.
struct Budget {
    ranges: usize,
    length: usize,
}

impl Budget {
    /// The ranges of `values`, most wanted first; `None` where there is nothing but blanks.
    fn read<'a>(&mut self, values: impl IntoIterator<Item = &'a str>) -> Option<Vec<MediaRange>> {
        let mut ranges = Vec::new();
        let mut said_something = false;
        for value in values {
            said_something |= !value.trim().is_empty();
            let mut scanner = Scanner { rest: value };
            while self.ranges > 0 && self.length >= value.len() {
                let Some(range) = scanner.range() else { break };
                self.ranges -= 1;
                ranges.extend(range);
            }
            self.length = self.length.saturating_sub(value.len());
        }
        // A stable sort: among equals the client's order stands. Wildcards come last (RFC 9110 12.5.1).
        ranges.sort_by_key(|range: &MediaRange| (std::cmp::Reverse(range.weight), range.vagueness()));
        said_something.then_some(ranges)
    }
}

impl MediaRange {
    fn any() -> Self {
        Self { essence: "*/*".to_owned(), parameters: Vec::new(), weight: 1000 }
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    fn vagueness(&self) -> usize {
        self.essence.bytes().filter(|&b| b == b'*').count()
    }
}

/// Reads media ranges one after the other.
struct Scanner<'a> {
    rest: &'a str,
}

impl Scanner<'_> {
    /// The next member of the list; `Some(None)` for one that is no media range.
    fn range(&mut self) -> Option<Option<MediaRange>> {
        self.rest = self.rest.trim_start_matches([',', ' ', '\t']);
        if self.rest.is_empty() {
            return None;
        }
        let essence = self.until(&[';', ',']).trim().to_ascii_lowercase();
        let mut range = MediaRange { essence, parameters: Vec::new(), weight: 1000 };
        let mut readable = is_essence(&range.essence);
        while self.skip(';') {
            let name = self.until(&['=', ';', ',']).trim().to_ascii_lowercase();
            let value = if self.skip('=') { self.value() } else { String::new() };
            match name.as_str() {
                "" => {}
                "q" => match weight(&value) {
                    Some(weight) => range.weight = weight,
                    None => readable = false,
                },
                _ => range.parameters.push((name, value)),
            }
        }
        Some(readable.then_some(range))
    }

    /// The value of a parameter: a quoted string, or everything up to the next delimiter.
    fn value(&mut self) -> String {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
        if !self.skip('"') {
            return self.until(&[';', ',']).trim().to_owned();
        }
        let mut value = String::new();
        let mut characters = self.rest.chars();
        while let Some(c) = characters.next() {
            match c {
                '"' => break,
                '\\' => value.extend(characters.next()),
                other => value.push(other),
            }
        }
        self.rest = characters.as_str();
        // What stands between the closing quote and the next delimiter means nothing.
        self.until(&[';', ',']);
        value
    }

    fn until(&mut self, stops: &[char]) -> String {
        let end = self.rest.find(stops).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken.to_owned()
    }

    fn skip(&mut self, wanted: char) -> bool {
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }
}

fn is_essence(text: &str) -> bool {
    let token = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
    text.split_once('/').is_some_and(|(main, sub)| token(main) && token(sub))
}

/// A qvalue (RFC 9110 12.4.2) in thousandths.
fn weight(text: &str) -> Option<u16> {
    let value: f32 = text.trim().parse().ok()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1000")]
    (0.0..=1.0).contains(&value).then(|| (value * 1000.0).round() as u16)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn accept(header: &str) -> Accept {
        Accept::new([], [header])
    }

    fn objects(header: &str) -> Option<ObjectForm> {
        first(accept(header), false)
    }

    fn first(accept: Accept, single_item: bool) -> Option<ObjectForm> {
        accept.object_forms(single_item).into_iter().next().map(|form| ObjectForm { rank: 0, ..form })
    }

    const NATIVE: Option<ObjectForm> =
        Some(ObjectForm { packaging: Packaging::Multipart, syntax: SyntaxChoice::Native, rank: 0 });
    const STORED: Option<ObjectForm> =
        Some(ObjectForm { packaging: Packaging::Multipart, syntax: SyntaxChoice::AsStored, rank: 0 });

    #[test]
    fn searches_answer_in_dicom_json_and_say_so() {
        for header in [
            "application/dicom+json",
            "application/dicom+json, application/json",
            "application/json, application/dicom+json",
            "application/dicom+json, multipart/related; type=application/octet-stream; transfer-syntax=*",
            "*/*",
            "",
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/jxl,image/avif,*/*;q=0.8",
        ] {
            let expected = if header.starts_with("application/json") {
                DataSetForm::Json
            } else {
                DataSetForm::DicomJson
            };
            assert_eq!(accept(header).data_set_form(false), Some(expected), "{header}");
        }
        assert_eq!(Accept::new([], []).data_set_form(false), Some(DataSetForm::DicomJson));
        assert_eq!(accept("application/json").data_set_form(false), Some(DataSetForm::Json));
        for header in [
            "application/dicom+xml",
            "text/html",
            "application/dicom+json;q=0",
            "nonsense",
            "application/dicom+json;q=x",
        ] {
            assert_eq!(accept(header).data_set_form(false), None, "{header}");
        }
    }

    #[test]
    fn native_xml_comes_in_parts_and_bare_where_there_is_one_data_set() {
        for header in [
            "multipart/related; type=\"application/dicom+xml\"",
            "multipart/related;type=application/dicom+xml, application/dicom+json;q=0.5",
        ] {
            assert_eq!(accept(header).data_set_form(false), Some(DataSetForm::Xml), "{header}");
            assert_eq!(accept(header).data_set_form(true), Some(DataSetForm::Xml), "{header}");
        }
        assert_eq!(accept("application/dicom+xml").data_set_form(true), Some(DataSetForm::SingleXml));
        let viewer =
            "application/dicom+json, multipart/related; type=application/octet-stream; transfer-syntax=*";
        assert_eq!(accept(viewer).data_set_form(false), Some(DataSetForm::DicomJson));
    }

    #[test]
    fn takes_the_accept_headers_that_viewers_send_for_objects() {
        for header in [
            "multipart/related; type=\"application/dicom\"",
            "multipart/related; type=application/dicom",
            "multipart/related;type=application/dicom;",
            "Multipart/Related; Type=\"Application/DICOM\"",
            "multipart/related; type=\"*/*\"",
            "multipart/related",
            "*/*",
            "",
        ] {
            assert_eq!(objects(header), NATIVE, "{header}");
        }
        for header in [
            "multipart/related; type=\"application/dicom\"; transfer-syntax=*;",
            "multipart/related; type=application/dicom; transfer-syntax=\"*\"",
            "multipart/related; type=\"image/jls\"; transfer-syntax=1.2.840.10008.1.2.4.80, multipart/related; type=application/dicom; transfer-syntax=*",
        ] {
            assert_eq!(objects(header), STORED, "{header}");
        }
        for header in [
            "multipart/related; type=application/octet-stream; transfer-syntax=*",
            "multipart/related; type=\"application/dicom\"; transfer-syntax=1.2.840.10008.1.2",
            "multipart/related; type=\"application/dicom\"; transfer-syntax=1.2.840.10008.1.2.2",
            "multipart/related; type=\"application/dicom\"; transfer-syntax=nonsense",
            "application/dicom",
            "image/jpeg",
        ] {
            assert_eq!(objects(header), None, "{header}");
        }
    }

    #[test]
    fn one_instance_may_come_as_a_single_part_and_a_study_may_not() {
        let single = accept("application/dicom; transfer-syntax=*");
        let expected = ObjectForm { packaging: Packaging::Bare, syntax: SyntaxChoice::AsStored, rank: 0 };
        assert_eq!(first(single.clone(), true), Some(expected));
        assert_eq!(first(single, false), None);
    }

    #[test]
    fn several_syntaxes_are_told_in_the_order_of_their_weights() {
        let header = "multipart/related; type=\"application/dicom\"; transfer-syntax=1.2.840.10008.1.2.4.80; q=0.5, \
                      multipart/related; type=\"application/dicom\"; transfer-syntax=1.2.840.10008.1.2.4.90";
        let syntaxes: Vec<_> =
            accept(header).object_forms(false).into_iter().map(|form| form.syntax).collect();
        let [jls, j2k] = ["1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"].map(Uid::from_static);
        assert_eq!(syntaxes, [SyntaxChoice::Only(j2k), SyntaxChoice::Only(jls)]);
    }

    #[test]
    fn what_an_object_is_sent_in_depends_on_how_it_is_stored() {
        let uid = Uid::from_static;
        let (native, implicit, baseline, j2k, hidden) = (
            uid(EXPLICIT_VR_LE),
            uid("1.2.840.10008.1.2"),
            uid("1.2.840.10008.1.2.4.50"),
            uid("1.2.840.10008.1.2.4.90"),
            uid("1.2.840.10008.1.2.4.94"),
        );
        let can = |from: &Uid, to: &Uid| *from != hidden && *to == native;
        for (choice, stored, sent) in [
            (SyntaxChoice::AsStored, &j2k, Some(&j2k)),
            (SyntaxChoice::AsStored, &implicit, Some(&native)),
            (SyntaxChoice::AsStored, &hidden, Some(&hidden)),
            (SyntaxChoice::Native, &j2k, Some(&native)),
            (SyntaxChoice::Native, &implicit, Some(&native)),
            (SyntaxChoice::Native, &baseline, Some(&baseline)),
            (SyntaxChoice::Native, &hidden, None),
            (SyntaxChoice::Only(native.clone()), &baseline, Some(&native)),
            (SyntaxChoice::Only(native.clone()), &native, Some(&native)),
            (SyntaxChoice::Only(native.clone()), &hidden, None),
            (SyntaxChoice::Only(j2k.clone()), &j2k, Some(&j2k)),
            (SyntaxChoice::Only(j2k.clone()), &native, None),
        ] {
            assert_eq!(choice.of(stored, can).as_ref(), sent, "{choice:?} of {stored}");
        }
    }

    #[test]
    fn a_report_is_a_page_for_browsers_and_plain_text_for_who_asks_for_it() {
        for (header, form) in [
            ("text/html,application/xhtml+xml,*/*;q=0.8", Some(ReportForm::Html)),
            ("", Some(ReportForm::Html)),
            ("image/jpeg, */*;q=0.1", Some(ReportForm::Html)),
            ("text/plain, text/html;q=0.5", Some(ReportForm::Plain)),
            ("image/jpeg", None),
        ] {
            assert_eq!(accept(header).report_form(), form, "{header}");
        }
    }

    #[test]
    fn a_zip_archive_comes_where_it_is_named() {
        for (header, syntax) in [
            ("application/zip", SyntaxChoice::Native),
            ("Application/Zip; transfer-syntax=*, multipart/related", SyntaxChoice::AsStored),
            (
                "application/dicom+json, application/zip;transfer-syntax=1.2.840.10008.1.2.1",
                SyntaxChoice::Only(Uid::from_static(EXPLICIT_VR_LE)),
            ),
        ] {
            let expected = Some(ObjectForm { packaging: Packaging::Zip, syntax, rank: 0 });
            assert_eq!(objects(header), expected, "{header}");
            assert_eq!(first(accept(header), true), expected, "{header}");
        }
        assert_eq!(
            objects("application/*"),
            None,
            "a study is no bare file, and a zip archive is asked for by name"
        );
        assert_eq!(objects("application/zip;transfer-syntax=1.2.840.10008.1.2"), None);
    }

    #[test]
    fn the_query_parameter_beats_the_header_and_the_header_is_the_second_choice() {
        let header = ["multipart/related; type=\"application/dicom\""];
        let both = Accept::new(["multipart/related; type=application/dicom; transfer-syntax=*"], header);
        assert_eq!(first(both, false), STORED);
        let useless = Accept::new(["image/jpeg"], header);
        assert_eq!(first(useless, false), NATIVE);
        assert_eq!(first(Accept::new(["image/jpeg"], []), false), None, "no wildcard matches");
    }

    #[test]
    fn forms_that_are_wanted_alike_have_one_rank() {
        let ranks = |accept: &Accept| -> Vec<usize> {
            accept.object_forms(false).iter().map(|form| form.rank).collect()
        };
        let dicom = "multipart/related; type=\"application/dicom\"";
        let alike = format!("{dicom}; transfer-syntax=1.2.840.10008.1.2.4.80, {dicom}; transfer-syntax=*");
        assert!(matches!(ranks(&accept(&alike))[..], [a, b] if a == b));
        assert!(
            matches!(ranks(&accept(&format!("{dicom}, {alike}; q=0.5")))[..], [a, b, c] if a == b && b < c)
        );
        let parameter = format!("{dicom}; transfer-syntax=1.2.840.10008.1.2.1");
        let both = Accept::new([parameter.as_str()], ["*/*"]);
        assert!(matches!(ranks(&both)[..], [a, b] if a < b), "the parameter is the first choice");
    }

    #[test]
    fn weights_and_wildcards_order_the_choice() {
        let header = "multipart/related; type=application/dicom; q=0.1, \
                      multipart/related; type=application/dicom; transfer-syntax=*; q=0.9";
        assert_eq!(objects(header), STORED);
        let wildcard_first = "*/*, multipart/related; type=\"application/dicom\"; transfer-syntax=*";
        assert_eq!(objects(wildcard_first), STORED);
        let headers = ["image/jpeg", "multipart/related; type=application/dicom; transfer-syntax=*"];
        assert_eq!(first(Accept::new([], headers), false), STORED, "repeated headers");
    }

    #[test]
    fn a_quoted_comma_and_an_escaped_quote_do_not_end_a_range() {
        let header =
            r#"text/plain; note="a, \"b; c", multipart/related; type="application/dicom"; transfer-syntax=*"#;
        assert_eq!(objects(header), STORED);
    }

    #[test]
    fn a_flood_of_ranges_is_cut_off() {
        let flood = "a/b,".repeat(MAX_RANGES) + "*/*";
        assert_eq!(objects(&flood), None);
        assert_eq!(objects(&format!("{}*/*", " ".repeat(MAX_LENGTH))), None);
    }

    proptest! {
        #[test]
        fn never_panics(parameter in "\\PC*", header in "[a-z*/;,=\" \\\\q0-9.]*") {
            let accept = Accept::new([parameter.as_str()], [header.as_str()]);
            let _ = (accept.data_set_form(false), accept.object_forms(true), accept.object_forms(false));
        }
    }
}
