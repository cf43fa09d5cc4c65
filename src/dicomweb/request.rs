//! Reads what a DICOMweb URL asks for: the entity it names and the query it carries (PS3.18 8.3.4, 10.6.1).
//!
//! Everything is percent-decoded before it is split: viewers encode the commas of a list. A `+` in a query is
//! a blank, as every HTML form and Python's `urlencode` mean it; clients that mean a plus send `%2B`. Only
//! the value of `accept` keeps its plus signs, which media types have.
//!
//! What cannot be understood is an error that names it. A filter that is silently left out would answer with
//! other patients' studies.

mod value;

use std::str::FromStr;

use percent_encoding::percent_decode_str;

use crate::dicom::dictionary::{is_group_length, tag_by_keyword, vr_of};
use crate::dicom::query::{AttributePath, Level, MatchingKey, Query, Target};
use crate::dicom::{Tag, Uid, VR, tags};

/// Longest query, in bytes as sent: some 400 UIDs. Longer ones are answered 414.
pub const MAX_QUERY_LENGTH: usize = 32 * 1024;
/// Most parameters of a query; viewers send about ten.
pub const MAX_PARAMETERS: usize = 128;
/// Most attributes named by all `includefield` parameters together.
pub const MAX_INCLUDE_FIELDS: usize = 256;

/// The request cannot be understood; the text names the part and says why, and repeats no values but those
/// that name attributes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadRequest(pub String);

/// The resource of a search: what is searched for, and the parents that the path names (PS3.18 10.6.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchResource {
    /// The level of the entities.
    pub level: Level,
    /// Study Instance UID in the path.
    pub study: Option<Uid>,
    /// Series Instance UID in the path.
    pub series: Option<Uid>,
}

/// A search as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchRequest {
    /// What to search for.
    pub query: Query,
    /// The values of the `accept` query parameter.
    pub accept: Vec<String>,
}

/// Reads a UID out of a path (percent-decoded), where `what` it identifies goes into the error.
///
/// # Errors
/// It is no UID.
pub fn path_uid(what: &str, text: &str) -> Result<Uid, BadRequest> {
    text.parse().map_err(|error| BadRequest(format!("the {what} in the path is {error}")))
}

/// The entity that a path names by the UIDs in it (percent-decoded).
///
/// # Errors
/// One of them is no UID.
pub fn target(study: &str, series: Option<&str>, instance: Option<&str>) -> Result<Target, BadRequest> {
    Ok(Target {
        study: path_uid("Study Instance UID", study)?,
        series: series.map(|uid| path_uid("Series Instance UID", uid)).transpose()?,
        instance: instance.map(|uid| path_uid("SOP Instance UID", uid)).transpose()?,
    })
}

/// The values of the `accept` parameter of a query, for resources that know no other parameter.
///
/// # Errors
/// The query is malformed or too long.
pub fn accept_parameters(raw_query: &str) -> Result<Vec<String>, BadRequest> {
    let parameters = split(raw_query)?;
    Ok(parameters.into_iter().filter(|p| p.name == "accept").map(|p| p.value).collect())
}

/// The parameters of a query, decoded.
///
/// # Errors
/// The query is malformed or too long.
pub fn parameters(raw_query: &str) -> Result<Vec<(String, String)>, BadRequest> {
    Ok(split(raw_query)?.into_iter().map(|parameter| (parameter.name, parameter.value)).collect())
}

/// Reads the query of a search for `resource`.
///
/// # Errors
/// The first part of the query that cannot be understood.
pub fn search(resource: &SearchResource, raw_query: &str) -> Result<SearchRequest, BadRequest> {
    let mut query = Query {
        level: resource.level,
        within: match (&resource.study, &resource.series) {
            (_, Some(_)) => Some(Level::Series),
            (Some(_), None) => Some(Level::Study),
            (None, None) => None,
        },
        keys: Vec::new(),
        include: Vec::new(),
        include_all: false,
        as_said: false,
        fuzzy: false,
        empty_value: false,
        multiple_value: false,
        offset: 0,
        limit: None,
    };
    let mut accept = Vec::new();
    let mut attributes = Vec::new();
    for parameter in split(raw_query)? {
        let Parameter { name, value } = parameter;
        match name.as_str() {
            "accept" => accept.push(value),
            // Answers are in UTF-8 whatever is asked for (PS3.18 8.8.1 lets the server choose).
            "charset" => {}
            "limit" => query.limit = Some(number(&name, &value)?),
            "offset" => query.offset = number(&name, &value)?,
            "fuzzymatching" => query.fuzzy = truth(&name, &value)?,
            "emptyvaluematching" => query.empty_value = truth(&name, &value)?,
            "multiplevaluematching" => query.multiple_value = truth(&name, &value)?,
            "includefield" => include(&mut query, &value)?,
            _ => attributes.push((name, value)),
        }
    }
    // After the options, which say how values are split, wherever they stand in the query.
    for (name, value) in attributes {
        add_attribute(&mut query, &name, &value)?;
    }
    add_parent(&mut query, tags::STUDY_INSTANCE_UID, resource.study.as_ref())?;
    add_parent(&mut query, tags::SERIES_INSTANCE_UID, resource.series.as_ref())?;
    Ok(SearchRequest { query, accept })
}

struct Parameter {
    name: String,
    value: String,
}

fn split(raw_query: &str) -> Result<Vec<Parameter>, BadRequest> {
    if raw_query.len() > MAX_QUERY_LENGTH {
        return Err(BadRequest(format!("the query is longer than {MAX_QUERY_LENGTH} bytes")));
    }
    let pieces: Vec<&str> = raw_query.split('&').filter(|piece| !piece.is_empty()).collect();
    if pieces.len() > MAX_PARAMETERS {
        return Err(BadRequest(format!("the query has more than {MAX_PARAMETERS} parameters")));
    }
    pieces.into_iter().map(parameter).collect()
}

fn parameter(piece: &str) -> Result<Parameter, BadRequest> {
    let (raw_name, raw_value) = piece.split_once('=').unwrap_or((piece, ""));
    let name = decode(raw_name).ok_or_else(|| BadRequest("a parameter's name is not UTF-8".to_owned()))?;
    let blanks = if name == "accept" { raw_value.to_owned() } else { raw_value.replace('+', " ") };
    let value = decode(&blanks)
        .ok_or_else(|| BadRequest(format!("the value of `{}` is not UTF-8", printable(&name))))?;
    Ok(Parameter { name, value })
}

fn decode(text: &str) -> Option<String> {
    Some(percent_decode_str(text).decode_utf8().ok()?.into_owned())
}

/// A name as it may be repeated in an error: short and without control characters.
fn printable(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(64).collect()
}

fn number(name: &str, value: &str) -> Result<usize, BadRequest> {
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    let bad = || BadRequest(format!("`{name}` is not an unsigned integer"));
    if digits { usize::from_str(value).map_err(|_| bad()) } else { Err(bad()) }
}

fn truth(name: &str, value: &str) -> Result<bool, BadRequest> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(BadRequest(format!("`{name}` is neither `true` nor `false`"))),
    }
}

fn include(query: &mut Query, value: &str) -> Result<(), BadRequest> {
    for field in value.split(',').map(str::trim).filter(|field| !field.is_empty()) {
        if field == "all" {
            // Alone by the standard; beside others it still means more than they do.
            query.include_all = true;
            continue;
        }
        add_return_key(query, attribute_path(field)?)?;
    }
    Ok(())
}

fn add_return_key(query: &mut Query, path: AttributePath) -> Result<(), BadRequest> {
    if query.include.contains(&path) {
        return Ok(());
    }
    if query.include.len() == MAX_INCLUDE_FIELDS {
        return Err(BadRequest(format!("more than {MAX_INCLUDE_FIELDS} attributes are asked for")));
    }
    query.include.push(path);
    Ok(())
}

fn add_attribute(query: &mut Query, name: &str, value: &str) -> Result<(), BadRequest> {
    let path = attribute_path(name)?;
    let vr = match vr_of(path.leaf()) {
        // An attribute that only its creator knows: matched as text.
        VR::UN => VR::LO,
        known => known,
    };
    let values = value::parse(&printable(name), vr, value, query.multiple_value)?;
    if values.is_empty() {
        return add_return_key(query, path);
    }
    match query.keys.iter_mut().find(|key| key.path == path) {
        // Clients write a list of UIDs either way.
        Some(key) if vr == VR::UI => {
            key.values.extend(values);
            value::check_count(name, &key.values)
        }
        Some(_) => Err(BadRequest(format!("`{}` is in the query twice", printable(name)))),
        None => {
            query.keys.push(MatchingKey { path, vr, values });
            Ok(())
        }
    }
}

/// Adds a parent in the path as a Matching Key. A query that names others besides means those in both.
fn add_parent(query: &mut Query, tag: Tag, parent: Option<&Uid>) -> Result<(), BadRequest> {
    let Some(uid) = parent else { return Ok(()) };
    let path = AttributePath::from(tag);
    let in_path = vec![uid.as_str().to_owned()];
    match query.keys.iter_mut().find(|key| key.path == path) {
        Some(key) if key.values.contains(&in_path[0]) => key.values = in_path,
        Some(_) => return Err(BadRequest(format!("the query's {tag} contradicts the path"))),
        None => query.keys.push(MatchingKey { path, vr: VR::UI, values: in_path }),
    }
    Ok(())
}

/// Reads `{attributeID}`: a tag, a keyword, or several of them joined with dots (PS3.18 8.3.4.1).
fn attribute_path(text: &str) -> Result<AttributePath, BadRequest> {
    let path = text.split('.').map(|part| attribute(part, text)).collect::<Result<Vec<_>, _>>()?;
    let (leaf, sequences) = path.split_last().expect("a split has at least one part");
    if let Some(other) = sequences.iter().find(|&&tag| !matches!(vr_of(tag), VR::SQ | VR::UN)) {
        return Err(BadRequest(format!("`{}`: {other} is not a sequence", printable(text))));
    }
    if is_group_length(*leaf) || *leaf == tags::QUERY_RETRIEVE_LEVEL {
        return Err(BadRequest(format!("`{}` cannot be asked for", printable(text))));
    }
    AttributePath::new(path).ok_or_else(|| {
        BadRequest(format!("`{}` lies deeper than {} levels", printable(text), AttributePath::MAX_DEPTH))
    })
}

fn attribute(part: &str, whole: &str) -> Result<Tag, BadRequest> {
    let tag = hexadecimal(part).or_else(|| tag_by_keyword(part));
    // Groups 0000 to 0007 belong to commands, files and directories, FFFE to the encoding.
    tag.filter(|tag| (0x0008..0xFFFE).contains(&tag.group())).ok_or_else(|| {
        BadRequest(format!("`{}` is neither a parameter, a tag nor a keyword known here", printable(whole)))
    })
}

fn hexadecimal(part: &str) -> Option<Tag> {
    let all_digits = part.len() == 8 && part.bytes().all(|b| b.is_ascii_hexdigit());
    let number = u32::from_str_radix(part, 16).ok().filter(|_| all_digits)?;
    Some(Tag((number >> 16) as u16, (number & 0xFFFF) as u16))
}

#[cfg(test)]
mod tests;
