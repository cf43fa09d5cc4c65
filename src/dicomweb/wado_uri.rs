//! Reads the query of a WADO-URI request (PS3.18 chapter 9).

use std::str::FromStr;

use crate::dicom::Uid;
use crate::dicom::query::Target;

use super::media_type::{DICOM, SyntaxChoice};
use super::request::{self, BadRequest, parameters};

/// An object that is asked for by WADO-URI.
#[derive(Debug, Clone, PartialEq)]
pub struct WadoUri {
    /// The instance.
    pub target: Target,
    /// The media types of `contentType`, most wanted first; none where it is not there.
    pub content_types: Vec<String>,
    /// `charset`: those that text may come in, most wanted first; none where it is not there.
    pub charsets: Vec<String>,
    /// `transferSyntax`, of a PS3.10 file; `None`: one that the web does not have.
    pub syntax: Option<SyntaxChoice>,
    /// `anonymize`, of a PS3.10 file.
    pub is_anonymized: bool,
    /// How a picture is to be.
    pub picture: Picture,
}

/// How a picture is asked for (PS3.18 9.5).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Picture {
    /// `frameNumber`, from 1.
    pub frame: Option<u32>,
    /// `rows` and `columns`: most pixels of the picture.
    pub rows: Option<u32>,
    /// See `rows`.
    pub columns: Option<u32>,
    /// `region`: left, top, right and bottom edge of the part that is wanted, in fractions of the image.
    pub region: Option<[f64; 4]>,
    /// `windowCenter` and `windowWidth`.
    pub window: Option<(f64, f64)>,
    /// `imageQuality`, from 1 to 100.
    pub quality: Option<u8>,
    /// `annotation`: what is to be written into the picture.
    pub annotation: Vec<String>,
    /// `presentationSeriesUID` and `presentationUID`: the presentation state that says how it is shown.
    pub presentation: Option<(Uid, Uid)>,
}

impl WadoUri {
    /// Whether a PS3.10 file is wanted more than anything else.
    pub fn wants_dicom(&self) -> bool {
        self.content_types.first().is_some_and(|one| is_dicom(one))
    }

    /// Whether text may come in UTF-8, which is what it comes in.
    pub fn takes_utf8(&self) -> bool {
        let name = |one: &str| one.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let is_utf8 = |one: &String| matches!(name(one).as_str(), "utf-8" | "utf8" | "*");
        self.charsets.is_empty() || self.charsets.iter().any(is_utf8)
    }
}

/// Whether a query on the root of the service is one of WADO-URI.
pub fn is_wado_uri(raw_query: &str) -> bool {
    raw_query.split('&').any(|piece| piece.starts_with("requestType="))
}

/// Reads the query. Parameters that are not known are ignored.
///
/// # Errors
/// It is malformed, what is mandatory is not there, a value is none that its parameter may have, or parameters stand
/// together that must not.
pub fn read(raw_query: &str) -> Result<WadoUri, BadRequest> {
    let query = Query(parameters(raw_query)?);
    query.none_is_twice()?;
    if !query.need("requestType")?.eq_ignore_ascii_case("WADO") {
        return Err(BadRequest("`requestType` is not `WADO`".to_owned()));
    }
    let (study, series, instance) =
        (query.need("studyUID")?, query.need("seriesUID")?, query.need("objectUID")?);
    let target = request::target(study, Some(series), Some(instance))?;
    let content_types = query.list("contentType");
    let may_be_dicom = content_types.iter().any(|one| is_dicom(one));
    if !may_be_dicom {
        let of_files = "the object as a file, with contentType=application/dicom";
        query.none_of(&["transferSyntax", "anonymize"], of_files)?;
    }
    if content_types.iter().all(|one| is_dicom(one)) && may_be_dicom {
        query.none_of(&PICTURE, "pictures, and not of contentType=application/dicom")?;
    }
    let syntax = SyntaxChoice::read(query.get("transferSyntax"));
    let is_anonymized = match query.get("anonymize") {
        None => false,
        Some(text) if text.eq_ignore_ascii_case("yes") => true,
        Some(_) => return Err(BadRequest("`anonymize` is not `yes`".to_owned())),
    };
    let (charsets, picture) = (query.list("charset"), picture(&query)?);
    Ok(WadoUri { target, content_types, charsets, syntax, is_anonymized, picture })
}

/// The parameters of pictures.
const PICTURE: [&str; 10] = [
    "frameNumber",
    "rows",
    "columns",
    "region",
    "windowCenter",
    "windowWidth",
    "imageQuality",
    "annotation",
    "presentationSeriesUID",
    "presentationUID",
];

fn picture(query: &Query) -> Result<Picture, BadRequest> {
    let presentation =
        query.pair("presentationSeriesUID", "presentationUID", "a UID", |text| text.parse::<Uid>().ok())?;
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    let window = query.pair("windowCenter", "windowWidth", "a number", number)?;
    if presentation.is_some() && window.is_some() {
        return Err(BadRequest("a window contradicts the presentation state".to_owned()));
    }
    if window.is_some_and(|(_, width)| width <= 0.0) {
        return Err(BadRequest("`windowWidth` is not greater than 0".to_owned()));
    }
    let whole = "a whole number from 1";
    let annotation = query.list("annotation");
    if annotation.iter().any(|one| !matches!(one.as_str(), "patient" | "technique")) {
        return Err(BadRequest("`annotation` is neither `patient` nor `technique`".to_owned()));
    }
    Ok(Picture {
        frame: query.parsed("frameNumber", whole, |frame: &u32| *frame > 0)?,
        rows: query.parsed("rows", whole, |rows: &u32| *rows > 0)?,
        columns: query.parsed("columns", whole, |columns: &u32| *columns > 0)?,
        region: query.get("region").map(region).transpose()?,
        window,
        quality: query
            .parsed("imageQuality", "a whole number from 1 to 100", |it: &u8| (1..=100).contains(it))?,
        annotation,
        presentation,
    })
}

fn region(text: &str) -> Result<[f64; 4], BadRequest> {
    let numbers: Option<Vec<f64>> = text.split(',').map(|number| number.trim().parse().ok()).collect();
    let edges: Option<[f64; 4]> = numbers.and_then(|numbers| numbers.try_into().ok());
    edges
        .filter(|[left, top, right, bottom]| {
            let within = |from: f64, to: f64| (0.0..=1.0).contains(&from) && to <= 1.0 && from < to;
            within(*left, *right) && within(*top, *bottom)
        })
        .ok_or_else(|| {
            let text =
                "`region` is not left,top,right,bottom from 0.0 to 1.0, the first two less than the others";
            BadRequest(text.to_owned())
        })
}

fn is_dicom(media_type: &str) -> bool {
    media_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(DICOM)
}

/// The parameters of a query. What is there without a value is not there.
struct Query(Vec<(String, String)>);

impl Query {
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    fn need(&self, name: &str) -> Result<&str, BadRequest> {
        self.get(name).ok_or_else(|| BadRequest(format!("`{name}` is missing")))
    }

    fn list(&self, name: &str) -> Vec<String> {
        let values = self.get(name).unwrap_or_default().split(',');
        values.map(|one| one.trim().to_owned()).filter(|one| !one.is_empty()).collect()
    }

    fn parsed<T: FromStr>(
        &self,
        name: &str,
        expected: &str,
        fits: impl Fn(&T) -> bool,
    ) -> Result<Option<T>, BadRequest> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let value = text.trim().parse().ok().filter(fits);
        value.map(Some).ok_or_else(|| BadRequest(format!("`{name}` is not {expected}")))
    }

    /// Two values of which there is none without the other.
    fn pair<T>(
        &self,
        first: &str,
        second: &str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<(T, T)>, BadRequest> {
        let value =
            |name: &str, text| parse(text).ok_or_else(|| BadRequest(format!("`{name}` is not {expected}")));
        match (self.get(first), self.get(second)) {
            (None, None) => Ok(None),
            (Some(one), Some(other)) => Ok(Some((value(first, one)?, value(second, other)?))),
            (None, Some(_)) => Err(BadRequest(format!("`{second}` is there without `{first}`"))),
            (Some(_), None) => Err(BadRequest(format!("`{first}` is there without `{second}`"))),
        }
    }

    /// Fails where one of these is there; `what` they are for.
    fn none_of(&self, names: &[&str], what: &str) -> Result<(), BadRequest> {
        match names.iter().find(|name| self.get(name).is_some()) {
            Some(name) => Err(BadRequest(format!("`{name}` is for {what}"))),
            None => Ok(()),
        }
    }

    /// Fails where one of the parameters of WADO-URI is there twice: it would not be known which is meant.
    fn none_is_twice(&self) -> Result<(), BadRequest> {
        let others = [
            "requestType",
            "studyUID",
            "seriesUID",
            "objectUID",
            "contentType",
            "charset",
            "transferSyntax",
            "anonymize",
        ];
        let count = |name: &str| self.0.iter().filter(|(key, _)| key == name).count();
        match others.iter().chain(&PICTURE).find(|name| count(name) > 1) {
            Some(name) => Err(BadRequest(format!("`{name}` stands there twice"))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OBJECT: &str = "requestType=WADO&studyUID=1.2&seriesUID=1.3&objectUID=1.4";

    fn asked(more: &str) -> Result<WadoUri, BadRequest> {
        read(&format!("{OBJECT}&{more}"))
    }

    #[test]
    fn reads_what_viewers_send() {
        let query = format!("{OBJECT}&contentType=application%2Fdicom&transferSyntax=*&anonymize=yes");
        let read = read(&query).unwrap();
        assert_eq!(read.target.instance.as_ref().unwrap().as_str(), "1.4");
        assert!(read.wants_dicom() && is_wado_uri(&query) && read.is_anonymized);
        assert_eq!(read.syntax, Some(SyntaxChoice::AsStored));
        let plain = asked("").unwrap();
        assert!(!plain.wants_dicom() && plain.content_types.is_empty() && !is_wado_uri("limit=3"));
        assert_eq!((plain.syntax, plain.picture), (Some(SyntaxChoice::Native), Picture::default()));
    }

    #[test]
    fn reads_how_a_picture_is_to_be() {
        let read = asked(
            "contentType=image/png,image/jpeg;q=0.5&frameNumber=3&rows=512&columns=256&region=0,0.25,1.0,0.5\
             &windowCenter=40&windowWidth=400&imageQuality=80&annotation=patient,technique&charset=UTF-8",
        );
        let read = read.unwrap();
        let expected = Picture {
            frame: Some(3),
            rows: Some(512),
            columns: Some(256),
            region: Some([0.0, 0.25, 1.0, 0.5]),
            window: Some((40.0, 400.0)),
            quality: Some(80),
            annotation: vec!["patient".to_owned(), "technique".to_owned()],
            presentation: None,
        };
        assert_eq!(read.picture, expected);
        assert_eq!(read.content_types, ["image/png", "image/jpeg;q=0.5"]);
        assert!(read.takes_utf8());
        let state = asked("presentationSeriesUID=1.5&presentationUID=1.6").unwrap().picture.presentation;
        assert_eq!(state, Some(("1.5".parse().unwrap(), "1.6".parse().unwrap())));
        for (charset, takes) in
            [("", true), ("iso-8859-1", false), ("iso-8859-1,utf-8;q=0.5", true), ("*", true)]
        {
            assert_eq!(asked(&format!("charset={charset}")).unwrap().takes_utf8(), takes, "{charset}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for (query, named) in [
            ("studyUID=1.2", "requestType"),
            ("requestType=X&studyUID=1.2&seriesUID=1.3&objectUID=1.4", "requestType"),
            ("requestType=WADO&seriesUID=1.3&objectUID=1.4", "studyUID"),
            ("requestType=WADO&studyUID=1.2&seriesUID=&objectUID=1.4", "seriesUID"),
            ("requestType=WADO&studyUID=1.2&seriesUID=1.3&objectUID=x", "SOP Instance UID"),
        ] {
            assert!(read(query).unwrap_err().0.contains(named), "{query}");
        }
    }

    #[test]
    fn what_does_not_go_together_or_is_no_value_is_named() {
        for (more, named) in [
            ("transferSyntax=*", "`transferSyntax`"),
            ("anonymize=yes&contentType=image/jpeg", "`anonymize`"),
            ("anonymize=no&contentType=application/dicom", "`anonymize`"),
            ("contentType=application/dicom&frameNumber=1", "`frameNumber`"),
            ("contentType=application/dicom&annotation=patient", "`annotation`"),
            ("windowCenter=40", "`windowCenter`"),
            ("windowWidth=40", "`windowWidth`"),
            ("windowCenter=40&windowWidth=0", "`windowWidth`"),
            ("windowCenter=x&windowWidth=1", "`windowCenter`"),
            ("windowCenter=1&windowWidth=inf", "`windowWidth`"),
            ("presentationUID=1.5", "`presentationUID`"),
            ("presentationUID=1.5&presentationSeriesUID=1.6&windowCenter=1&windowWidth=2", "window"),
            ("frameNumber=0", "`frameNumber`"),
            ("rows=-1", "`rows`"),
            ("columns=1.5", "`columns`"),
            ("imageQuality=101", "`imageQuality`"),
            ("annotation=everything", "`annotation`"),
            ("region=0,0,1", "`region`"),
            ("region=0,0,1,2", "`region`"),
            ("region=0.5,0,0.5,1", "`region`"),
            ("region=NaN,0,1,1", "`region`"),
            ("rows=1&rows=2", "`rows` stands there twice"),
            ("studyUID=1.2", "`studyUID` stands there twice"),
        ] {
            let error = asked(more).unwrap_err();
            assert!(error.0.contains(named), "{more}: {error}");
        }
        assert!(asked("contentType=image/jpeg,application/dicom&anonymize=yes&rows=1").is_ok());
    }

    proptest! {
        #[test]
        fn never_panics(name in "(region|rows|windowCenter|windowWidth|contentType|charset)", value in "\\PC{0,20}") {
            let _ = asked(&format!("{name}={value}"));
        }
    }
}
