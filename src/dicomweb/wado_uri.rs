//! Reads the query of a WADO-URI request (PS3.18 chapter 9).

use crate::dicom::query::Target;

use super::media_type::DICOM;
use super::request::{self, BadRequest, parameters};

/// An object that is asked for by WADO-URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WadoUri {
    /// The instance.
    pub target: Target,
    /// The media types of `contentType`, most wanted first; none where it is not there.
    pub content_types: Vec<String>,
    /// `transferSyntax`: a UID, or `*`.
    pub transfer_syntax: Option<String>,
}

impl WadoUri {
    /// Whether a PS3.10 file is wanted.
    pub fn wants_dicom(&self) -> bool {
        self.content_types.iter().any(|one| {
            let essence = one.split(';').next().unwrap_or_default().trim();
            essence.eq_ignore_ascii_case(DICOM)
        })
    }
}

/// Whether a query on the root of the service is one of WADO-URI.
pub fn is_wado_uri(raw_query: &str) -> bool {
    raw_query.split('&').any(|piece| piece.starts_with("requestType="))
}

/// Reads the query.
///
/// # Errors
/// It is malformed, or what is mandatory is not there.
pub fn read(raw_query: &str) -> Result<WadoUri, BadRequest> {
    let parameters = parameters(raw_query)?;
    let get = |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let need = |name: &str| {
        get(name).filter(|value| !value.is_empty()).ok_or_else(|| BadRequest(format!("`{name}` is missing")))
    };
    if !need("requestType")?.eq_ignore_ascii_case("WADO") {
        return Err(BadRequest("`requestType` is not `WADO`".to_owned()));
    }
    let target = request::target(need("studyUID")?, Some(need("seriesUID")?), Some(need("objectUID")?))?;
    let content_types = get("contentType").unwrap_or_default().split(',');
    let content_types =
        content_types.map(|one| one.trim().to_owned()).filter(|one| !one.is_empty()).collect();
    let transfer_syntax = get("transferSyntax").filter(|value| !value.is_empty()).map(str::to_owned);
    Ok(WadoUri { target, content_types, transfer_syntax })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_viewers_send() {
        let query = "requestType=WADO&studyUID=1.2&seriesUID=1.3&objectUID=1.4&contentType=application%2Fdicom&transferSyntax=*";
        let read = read(query).unwrap();
        assert_eq!(read.target.instance.as_ref().unwrap().as_str(), "1.4");
        assert!(read.wants_dicom() && is_wado_uri(query));
        assert_eq!(read.transfer_syntax.as_deref(), Some("*"));
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
        let plain = read("requestType=WADO&studyUID=1.2&seriesUID=1.3&objectUID=1.4").unwrap();
        assert!(!plain.wants_dicom() && plain.content_types.is_empty());
        assert!(!is_wado_uri("limit=3"));
    }
}
