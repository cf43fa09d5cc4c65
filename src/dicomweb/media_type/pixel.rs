//! In which form a client takes frames and bulk data (PS3.18 8.7.3.3 to 8.7.3.5).
//!
//! An image type without a transfer syntax takes every syntax of that type, and where pixel data is stored in none of them,
//! what Table 8.7.3-5 has for its default. Frames are transcoded; pixel data by the URL of its value comes as it is stored,
//! or native as the archive makes it.

use super::{Accept, MediaRange, SyntaxChoice};
use crate::dicom::Uid;
use crate::dicom::transfer_syntax::{Codec, EXPLICIT_VR_LE, codec, is_lossy};

/// Bytes of no further kind.
pub const OCTET_STREAM: &str = "application/octet-stream";

/// The form of an answer with frames or other values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueForm {
    /// Whether the answer is one bare value; else `multipart/related`.
    pub single_part: bool,
    /// The media type of a value, without its transfer syntax.
    pub media_type: &'static str,
}

/// The form of an answer with frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameForm {
    /// Of each of them.
    pub value: ValueForm,
    /// The transfer syntax that they are sent in.
    pub syntax: Uid,
}

/// The media type of pixel data under a transfer syntax (PS3.18 Tables 8.7.3-4 and 8.7.3-5); that of plain
/// bytes where it is not compressed.
pub fn pixel_type(syntax: &Uid) -> &'static str {
    match codec(syntax) {
        Codec::Other => OCTET_STREAM,
        Codec::Jpeg => "image/jpeg",
        Codec::JpegLs => "image/jls",
        Codec::Jpeg2000 => "image/jp2",
        Codec::Jpeg2000Part2 => "image/jpx",
        Codec::Htj2k => "image/jphc",
        Codec::JpegXl => "image/jxl",
        Codec::Rle => "image/dicom-rle",
        Codec::Mpeg2 => "video/mpeg2",
        Codec::Mpeg4 => "video/mp4",
        Codec::Hevc => "video/H265",
    }
}

impl Accept {
    /// In which forms pixel data may be asked of an archive, the most wanted first; none where the client takes
    /// no pixel data at all (406). Without an Accept header it is native (PS3.18 8.7.4).
    pub fn pixel_syntaxes(&self) -> Vec<SyntaxChoice> {
        let mut choices = Vec::new();
        self.each_range(&default_range(), |range| {
            let essence = inner_essence(range);
            let native_only = essence == OCTET_STREAM
                && matches!(range.parameter("transfer-syntax"), None | Some(EXPLICIT_VR_LE));
            let pixels = essence == OCTET_STREAM
                || ["*/*", "image/*", "application/*", "video/*"].contains(&essence.as_str())
                || essence.starts_with("image/")
                || essence.starts_with("video/");
            if pixels {
                choices.push(if native_only { SyntaxChoice::Native } else { SyntaxChoice::AsStored });
            }
            None::<()>
        });
        let mut first_of_its_kind = Vec::new();
        for choice in choices {
            if !first_of_its_kind.contains(&choice) {
                first_of_its_kind.push(choice);
            }
        }
        first_of_its_kind
    }

    /// The form of pixel data that has come in this transfer syntax, which is one of those of the web; `single`
    /// where there is one value, which alone may be a single part. `None` where the client takes it in none.
    ///
    /// Who asks for native bytes takes what exists in a lossy form only as it is stored (PS3.18 8.7.3.4).
    pub fn pixel_form(&self, syntax: &Uid, single: bool) -> Option<ValueForm> {
        self.form_of_pixels(&default_range(), syntax, single, false)
    }

    /// The form of frames that are stored in this transfer syntax, which is one of those of the web; `single` where one is
    /// asked for, which alone may be a single part. `None` where the client takes them in none. `can`: whether the
    /// first transfer syntax becomes the second. Among forms that the client wants alike, that goes first which they are
    /// stored in.
    pub fn frame_form(
        &self,
        stored: &Uid,
        single: bool,
        can: impl Fn(&Uid, &Uid) -> bool,
    ) -> Option<FrameForm> {
        let offer = |range: &MediaRange| {
            let single_part = self.single_part(range, single, false)?;
            let asked = range.parameter("transfer-syntax");
            let essence = inner_essence(range);
            let of_its_own = || covers(&essence, pixel_type(stored)).then(|| stored.clone());
            let become_one = |syntax: Uid| (*stored == syntax || can(stored, &syntax)).then_some(syntax);
            let (syntax, octets) = match asked {
                _ if covers(&essence, OCTET_STREAM) && essence != "*/*" => {
                    (SyntaxChoice::read(asked)?.of(stored, &can)?, true)
                }
                Some("*") => (of_its_own()?, false),
                Some(asked) => (
                    asked.parse().ok().filter(|it| covers(&essence, pixel_type(it))).and_then(become_one)?,
                    false,
                ),
                None => {
                    let default = || default_syntax(&essence).map(Uid::from_static).and_then(become_one);
                    (of_its_own().or_else(default)?, false)
                }
            };
            let media_type = if octets { OCTET_STREAM } else { pixel_type(&syntax) };
            let form = FrameForm { value: ValueForm { single_part, media_type }, syntax };
            (!self.excludes(media_type)).then_some(form)
        };
        let default = default_range();
        if self.lists.is_empty() {
            return offer(&default);
        }
        self.alike().find_map(|ranges| {
            let mut forms = ranges.iter().filter_map(offer).collect::<Vec<_>>();
            forms.sort_by_key(|form| form.syntax != *stored);
            forms.into_iter().next()
        })
    }

    /// Whether the client says of this media type that it does not take it.
    fn excludes(&self, media_type: &str) -> bool {
        self.lists.iter().flatten().any(|range| range.weight == 0 && inner_essence(range) == media_type)
    }

    /// As [`Self::pixel_form`], of pixel data by the URL of its value: a single part unless the client asks for
    /// parts.
    pub fn bulk_pixel_form(&self, syntax: &Uid, single: bool) -> Option<ValueForm> {
        self.form_of_pixels(&MediaRange::any(), syntax, single, true)
    }

    /// Whether the client takes a value of any type, so that pixel data comes as it is stored.
    pub fn takes_any_value(&self) -> bool {
        self.each_range(&MediaRange::any(), |range| Some(inner_essence(range) == "*/*")) == Some(true)
    }

    fn form_of_pixels(
        &self,
        default: &MediaRange,
        syntax: &Uid,
        single: bool,
        wildcard: bool,
    ) -> Option<ValueForm> {
        let own = pixel_type(syntax);
        let native = syntax.as_str() == EXPLICIT_VR_LE;
        self.each_range(default, |range| {
            let single_part = self.single_part(range, single, wildcard)?;
            let asked = range.parameter("transfer-syntax");
            let of_its_own = matches!(asked, None | Some("*")) || asked == Some(syntax.as_str());
            let essence = inner_essence(range);
            let media_type = match essence.as_str() {
                OCTET_STREAM => {
                    let fits = of_its_own && (asked.is_some() || native || is_lossy(syntax));
                    fits.then_some(OCTET_STREAM)
                }
                other => (of_its_own && covers(other, own)).then_some(own),
            }?;
            (!self.excludes(media_type)).then_some(ValueForm { single_part, media_type })
        })
    }

    /// The form of a value of this media type that is no pixel data; `single` where there is one value, which
    /// alone may be a single part, and is one unless the client asks for parts.
    pub fn value_form(&self, own: &'static str, single: bool) -> Option<ValueForm> {
        self.each_range(&MediaRange::any(), |range| {
            let single_part = self.single_part(range, single, true)?;
            let media_type = match inner_essence(range).as_str() {
                OCTET_STREAM => OCTET_STREAM,
                other if covers(other, own) => own,
                _ => return None,
            };
            Some(ValueForm { single_part, media_type })
        })
    }

    /// Whether the range asks for a single part; `None`: it does, and there are several. What a bare `*/*`
    /// means, where there is a single value, `wildcard` says; of a browser, which names types of single files
    /// besides, it is a single part.
    pub(super) fn single_part(&self, range: &MediaRange, single: bool, wildcard: bool) -> Option<bool> {
        match range.essence.as_str() {
            "multipart/related" | "multipart/*" => Some(false),
            "*/*" => Some(single && (wildcard || self.names_single_parts())),
            _ if single => Some(true),
            _ => None,
        }
    }

    fn names_single_parts(&self) -> bool {
        self.lists
            .iter()
            .flatten()
            .any(|range| range.essence != "*/*" && !range.essence.starts_with("multipart/"))
    }

    /// What `offer` makes of the first range that it takes; of `default` where the client said nothing.
    pub(super) fn each_range<T>(
        &self,
        default: &MediaRange,
        mut offer: impl FnMut(&MediaRange) -> Option<T>,
    ) -> Option<T> {
        if self.lists.is_empty() {
            return offer(default);
        }
        self.lists.iter().flatten().filter(|range| range.weight > 0).find_map(offer)
    }
}

/// What a client wants that does not say: parts of native bytes.
fn default_range() -> MediaRange {
    let parameters = vec![("type".to_owned(), OCTET_STREAM.to_owned())];
    MediaRange { essence: "multipart/related".to_owned(), parameters, weight: 1000 }
}

/// The type of a value that the range asks for, in lower case, by the name that the standard has for it now.
pub(super) fn inner_essence(range: &MediaRange) -> String {
    let essence = match range.essence.as_str() {
        "multipart/related" => range.parameter("type").unwrap_or("*/*").trim().to_ascii_lowercase(),
        "multipart/*" => "*/*".to_owned(),
        other => other.to_owned(),
    };
    // Of earlier editions; some clients know no others.
    match essence.as_str() {
        "image/x-dicom-rle" => "image/dicom-rle".to_owned(),
        "image/x-jls" => "image/jls".to_owned(),
        "image/jhc" => "image/jphc".to_owned(),
        _ => essence,
    }
}

/// The default transfer syntax of an image type (PS3.18 Table 8.7.3-5).
fn default_syntax(media_type: &str) -> Option<&'static str> {
    Some(match media_type {
        "image/jpeg" => "1.2.840.10008.1.2.4.70",
        "image/dicom-rle" => "1.2.840.10008.1.2.5",
        "image/jls" => "1.2.840.10008.1.2.4.80",
        "image/jp2" => "1.2.840.10008.1.2.4.90",
        "image/jphc" => "1.2.840.10008.1.2.4.201",
        "image/jxl" => "1.2.840.10008.1.2.4.110",
        _ => return None,
    })
}

/// Whether a range of types, in lower case, has this type in it.
pub(super) fn covers(range: &str, media_type: &str) -> bool {
    let main = media_type.split('/').next().unwrap_or_default();
    range == "*/*" || range.eq_ignore_ascii_case(media_type) || range.strip_suffix("/*") == Some(main)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_earlier_editions_are_those_of_this_one() {
        for (asked, syntax, named) in [
            ("image/x-jls", JLS, "image/jls"),
            ("image/x-dicom-rle", "1.2.840.10008.1.2.5", "image/dicom-rle"),
            ("image/jhc", "1.2.840.10008.1.2.4.201", "image/jphc"),
        ] {
            let header = format!("multipart/related; type=\"{asked}\"");
            let form = Accept::new([], [header.as_str()]).pixel_form(&Uid::from_static(syntax), true);
            assert_eq!(form, Some(ValueForm { single_part: false, media_type: named }), "{asked}");
        }
    }

    const NATIVE: &str = EXPLICIT_VR_LE;
    const JPEG: &str = "1.2.840.10008.1.2.4.50";
    const JLS: &str = "1.2.840.10008.1.2.4.80";
    const J2K: &str = "1.2.840.10008.1.2.4.90";
    const MP4: &str = "1.2.840.10008.1.2.4.102";

    fn accept(header: &str) -> Accept {
        if header.is_empty() { Accept::new([], []) } else { Accept::new([], [header]) }
    }

    fn parts(media_type: &'static str) -> Option<ValueForm> {
        Some(ValueForm { single_part: false, media_type })
    }

    fn bare(media_type: &'static str) -> Option<ValueForm> {
        Some(ValueForm { single_part: true, media_type })
    }

    const BROWSER: &str =
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/jxl,image/avif,*/*;q=0.8";
    const IMAGE_TAG: &str = "image/jxl,image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8";
    const SLIDES: &str = "multipart/related; type=\"image/jls\"; transfer-syntax=1.2.840.10008.1.2.4.80, \
                          multipart/related; type=\"image/jls\"; transfer-syntax=1.2.840.10008.1.2.4.81, \
                          multipart/related; type=\"image/jp2\"; transfer-syntax=1.2.840.10008.1.2.4.90, \
                          multipart/related; type=\"application/octet-stream\"; transfer-syntax=*, \
                          multipart/related; type=\"image/jpeg\"; transfer-syntax=1.2.840.10008.1.2.4.50";

    /// What is asked of the archive first, and the form of what came in each syntax.
    #[test]
    fn takes_the_accept_headers_that_viewers_send_for_frames() {
        use SyntaxChoice::{AsStored, Native};
        let octets = OCTET_STREAM;
        for (header, choices, native, jpeg, jls, j2k) in [
            (
                "multipart/related; type=application/octet-stream; transfer-syntax=*",
                vec![AsStored],
                parts(octets),
                parts(octets),
                parts(octets),
                parts(octets),
            ),
            (
                "multipart/related; type=\"application/octet-stream\"; transfer-syntax=\"*\"",
                vec![AsStored],
                parts(octets),
                parts(octets),
                parts(octets),
                parts(octets),
            ),
            (
                "multipart/related; type=image/jp2; transfer-syntax=1.2.840.10008.1.2.4.90",
                vec![AsStored],
                None,
                None,
                None,
                parts("image/jp2"),
            ),
            (
                "multipart/related; type=\"application/octet-stream\"; transfer-syntax=\"1.2.840.10008.1.2.1\"",
                vec![Native],
                parts(octets),
                None,
                None,
                None,
            ),
            (
                "multipart/related; type=image/jls; q=1,multipart/related; type=application/octet-stream; q=0.1",
                vec![AsStored, Native],
                parts(octets),
                parts(octets),
                parts("image/jls"),
                None,
            ),
            (SLIDES, vec![AsStored], parts(octets), parts(octets), parts("image/jls"), parts("image/jp2")),
            (
                "multipart/related; type=\"application/octet-stream\"",
                vec![Native],
                parts(octets),
                parts(octets),
                None,
                None,
            ),
            ("", vec![Native], parts(octets), parts(octets), None, None),
            (
                "multipart/related; type=\"*/*\"",
                vec![AsStored],
                parts(octets),
                parts("image/jpeg"),
                parts("image/jls"),
                parts("image/jp2"),
            ),
            (
                "*/*",
                vec![AsStored],
                parts(octets),
                parts("image/jpeg"),
                parts("image/jls"),
                parts("image/jp2"),
            ),
            ("application/octet-stream", vec![Native], bare(octets), bare(octets), None, None),
            ("image/jpeg", vec![AsStored], None, bare("image/jpeg"), None, None),
            (BROWSER, vec![AsStored], bare(octets), bare("image/jpeg"), bare("image/jls"), bare("image/jp2")),
            (
                IMAGE_TAG,
                vec![AsStored],
                bare(octets),
                bare("image/jpeg"),
                bare("image/jls"),
                bare("image/jp2"),
            ),
            ("multipart/related; type=\"application/dicom\"", vec![], None, None, None, None),
            ("text/html", vec![], None, None, None, None),
        ] {
            let accept = accept(header);
            assert_eq!(accept.pixel_syntaxes(), choices, "{header}");
            for (syntax, expected) in [(NATIVE, native), (JPEG, jpeg), (JLS, jls), (J2K, j2k)] {
                assert_eq!(accept.pixel_form(&syntax.parse().unwrap(), true), expected, "{header} {syntax}");
            }
        }
    }

    #[test]
    fn frames_come_in_what_the_client_takes_of_what_they_can_become() {
        let octets = OCTET_STREAM;
        let can = |from: &Uid, to: &Uid| from.as_str() != MP4 && [NATIVE, JLS].contains(&to.as_str());
        let form = |header: &str, stored: &'static str| {
            let form = accept(header).frame_form(&Uid::from_static(stored), true, can);
            form.map(|form| (form.value.media_type, form.syntax.to_string(), form.value.single_part))
        };
        let all = |media_type, syntax: &str| Some((media_type, syntax.to_owned(), false));
        let one = |media_type, syntax: &str| Some((media_type, syntax.to_owned(), true));
        for (header, stored, expected) in [
            ("", J2K, all(octets, NATIVE)),
            ("", JPEG, all(octets, JPEG)),
            ("", MP4, all(octets, MP4)),
            ("application/octet-stream", J2K, one(octets, NATIVE)),
            ("multipart/related; type=application/octet-stream; transfer-syntax=*", J2K, all(octets, J2K)),
            (
                "multipart/related; type=application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1",
                JPEG,
                all(octets, NATIVE),
            ),
            (
                "multipart/related; type=application/octet-stream; transfer-syntax=1.2.840.10008.1.2.4.80",
                NATIVE,
                all(octets, JLS),
            ),
            (
                "multipart/related; type=application/octet-stream; transfer-syntax=1.2.840.10008.1.2.4.90",
                NATIVE,
                None,
            ),
            ("multipart/related; type=image/jls", J2K, all("image/jls", JLS)),
            ("image/jls", NATIVE, one("image/jls", JLS)),
            ("image/jls; transfer-syntax=1.2.840.10008.1.2.4.81", NATIVE, None),
            ("image/jls; transfer-syntax=1.2.840.10008.1.2.4.90", J2K, None),
            ("image/jls; transfer-syntax=*", J2K, None),
            ("image/jp2", J2K, one("image/jp2", J2K)),
            ("image/jpeg", JPEG, one("image/jpeg", JPEG)),
            ("image/png", J2K, None),
            ("*/*", J2K, all("image/jp2", J2K)),
            // What is wanted alike comes as it is stored.
            (SLIDES, NATIVE, all(octets, NATIVE)),
            (SLIDES, J2K, all("image/jp2", J2K)),
            ("image/jls, application/octet-stream;q=0.5", NATIVE, one("image/jls", JLS)),
            ("application/*", J2K, one(octets, NATIVE)),
            ("*/*, image/jp2;q=0", J2K, None),
            ("image/*, application/octet-stream;q=0.1, image/jp2;q=0", J2K, one(octets, NATIVE)),
            (IMAGE_TAG, JPEG, one("image/jpeg", JPEG)),
        ] {
            assert_eq!(form(header, stored), expected, "{header} of {stored}");
        }
    }

    #[test]
    fn several_values_never_are_a_single_part() {
        for header in ["application/octet-stream", "image/jpeg"] {
            assert_eq!(accept(header).pixel_form(&JPEG.parse().unwrap(), false), None);
            assert_eq!(accept(header).value_form(OCTET_STREAM, false), None);
        }
        assert_eq!(accept(BROWSER).pixel_form(&JPEG.parse().unwrap(), false), parts("image/jpeg"));
        assert_eq!(accept("*/*").value_form(OCTET_STREAM, false), parts(OCTET_STREAM));
    }

    #[test]
    fn takes_the_accept_headers_that_viewers_send_for_bulk_data() {
        let pdf = "application/pdf";
        for (header, plain, document) in [
            (
                "multipart/related; type=\"application/octet-stream\"",
                parts(OCTET_STREAM),
                parts(OCTET_STREAM),
            ),
            ("multipart/related; type=\"*/*\"", parts(OCTET_STREAM), parts(pdf)),
            (
                "multipart/related; type=\"application/pdf\", multipart/related; type=\"application/octet-stream\"",
                parts(OCTET_STREAM),
                parts(pdf),
            ),
            ("application/octet-stream", bare(OCTET_STREAM), bare(OCTET_STREAM)),
            ("*/*", bare(OCTET_STREAM), bare(pdf)),
            ("", bare(OCTET_STREAM), bare(pdf)),
            (BROWSER, bare(OCTET_STREAM), bare(pdf)),
            ("application/pdf", None, bare(pdf)),
            ("application/*", bare(OCTET_STREAM), bare(pdf)),
            ("image/png", None, None),
        ] {
            assert_eq!(accept(header).value_form(OCTET_STREAM, true), plain, "{header}");
            assert_eq!(accept(header).value_form(pdf, true), document, "{header}");
        }
    }

    #[test]
    fn a_video_is_taken_by_its_type_and_by_a_video_element() {
        let mp4 = MP4.parse().unwrap();
        assert_eq!(accept("video/mp4").pixel_form(&mp4, true), bare("video/mp4"));
        assert_eq!(accept("video/*").pixel_form(&mp4, true), bare("video/mp4"));
        assert_eq!(pixel_type(&"1.2.840.10008.1.2.4.107".parse().unwrap()), "video/H265");
    }
}
