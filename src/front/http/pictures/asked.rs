//! How a picture is asked for: the query parameters of rendered resources (PS3.18 8.3.5.1).

use std::sync::Arc;

use http::StatusCode;

use crate::dicom::dataset::DataSet;
use crate::dicomweb::request;
use crate::dicomweb::wado_uri::{Picture, WadoUri};
use crate::front::http::error::Problem;
use crate::image::render::viewport::MAX_SIDE;
use crate::image::render::write::DEFAULT_QUALITY;
use crate::image::render::{Annotation, Options, Viewport, Window};

/// What the query of a rendered resource says.
#[derive(Debug, Clone)]
pub(in crate::front::http) struct Asked {
    /// The values of `accept`.
    pub(in crate::front::http) accept: Vec<String>,
    /// `window`, `viewport`, `annotation` and `iccprofile`.
    pub(super) options: Options,
    /// `quality`, of JPEG.
    pub(super) quality: u8,
    /// The presentation state that says how the image is shown, which WADO-URI may name.
    pub(in crate::front::http) presentation: Option<Arc<DataSet>>,
}

impl Asked {
    /// What a query of WADO-URI says in other words (PS3.18 9.5).
    ///
    /// # Errors
    /// A value is none that a picture can have.
    pub(in crate::front::http) fn of_wado_uri(asked: &WadoUri) -> Result<Self, Problem> {
        let bad = |why: String| Problem::client(StatusCode::BAD_REQUEST, why);
        let Picture { rows, columns, region, window, quality, .. } = asked.picture;
        let is_whole = rows.is_none() && columns.is_none() && region.is_none();
        let viewport = Viewport::of_fractions(columns, rows, region)
            .ok_or_else(|| bad(format!("`rows` or `columns` is greater than {MAX_SIDE}")))?;
        let window = window.map(|(center, width)| format!("{center},{width}").parse::<Window>());
        let window = window.transpose().map_err(|error| bad(format!("`windowWidth`: {error}")))?;
        let accept = match asked.content_types.is_empty() {
            true => vec!["*/*".to_owned()],
            false => asked.content_types.clone(),
        };
        let annotation = match &asked.picture.annotation[..] {
            [] => Annotation::default(),
            wanted => (wanted.join(",").parse()).map_err(|error| bad(format!("`annotation`: {error}")))?,
        };
        let viewport = (!is_whole).then_some(viewport);
        let options = Options { window, viewport, annotation, ..Options::default() };
        Ok(Self { accept, options, quality: quality.unwrap_or(DEFAULT_QUALITY), presentation: None })
    }

    /// Reads the query. Parameters that are not known are ignored.
    ///
    /// # Errors
    /// A value is none that its parameter may have, or one stands there twice.
    pub(in crate::front::http) fn read(raw_query: &str) -> Result<Self, Problem> {
        Self::read_with(raw_query, DEFAULT_QUALITY)
    }

    /// The same, where another quality is the default.
    pub(super) fn read_with(raw_query: &str, default_quality: u8) -> Result<Self, Problem> {
        let bad = |why: String| Problem::client(StatusCode::BAD_REQUEST, why);
        let (mut accept, mut options, mut quality) = (Vec::new(), Options::default(), None);
        let (mut annotation, mut profile) = (None, None);
        for (name, value) in request::parameters(raw_query)? {
            let is_new = match name.as_str() {
                "accept" => {
                    accept.push(value);
                    true
                }
                "window" => {
                    let window = value.parse().map_err(|error| bad(format!("`window`: {error}")))?;
                    options.window.replace(window).is_none()
                }
                "viewport" => {
                    let viewport = value.parse().map_err(|error| bad(format!("`viewport`: {error}")))?;
                    options.viewport.replace(viewport).is_none()
                }
                "annotation" => {
                    let wanted = value.parse().map_err(|error| bad(format!("`annotation`: {error}")))?;
                    annotation.replace(wanted).is_none()
                }
                "iccprofile" => {
                    let wanted = value.parse().map_err(|error| bad(format!("`iccprofile`: {error}")))?;
                    profile.replace(wanted).is_none()
                }
                "quality" => match value.parse() {
                    Ok(number @ 1..=100) => quality.replace(number).is_none(),
                    _ => return Err(bad("`quality` is a whole number from 1 to 100".to_owned())),
                },
                _ => true,
            };
            if !is_new {
                return Err(bad(format!("`{name}` stands there twice")));
            }
        }
        options.annotation = annotation.unwrap_or_default();
        options.profile = profile.unwrap_or_default();
        Ok(Self { accept, options, quality: quality.unwrap_or(default_quality), presentation: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_and_what_is_wrong_with_it_is_named() {
        let query = "viewport=128%2C64&window=40,400,linear&quality=80&accept=image/png&nonsense=1";
        let asked = Asked::read(query).unwrap();
        assert_eq!((asked.quality, asked.accept.as_slice()), (80, &["image/png".to_owned()][..]));
        assert_eq!(asked.options.window, "40,400".parse().ok());
        assert_eq!(asked.options.viewport, "128,64".parse().ok());
        assert_eq!(Asked::read("").unwrap().quality, DEFAULT_QUALITY);
        for (query, named) in [
            ("window=40", "`window`"),
            ("viewport=0,1", "`viewport`"),
            ("annotation=all", "`annotation`"),
            ("iccprofile=cmyk", "`iccprofile`"),
            ("quality=0", "`quality`"),
            ("quality=101", "`quality`"),
            ("quality=80&quality=80", "`quality` stands there twice"),
        ] {
            let problem = Asked::read(query).unwrap_err();
            assert_eq!(problem.status(), 400);
            assert!(problem.detail().contains(named), "{query}: {}", problem.detail());
        }
    }
}
