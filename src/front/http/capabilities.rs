//! What this service can do, as `OPTIONS` on its root tells a machine: WADL (PS3.18 8.9, Annex H).

use std::fmt::Write as _;

use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use quick_xml::escape::escape;

use super::context::Context;
use super::{RESOURCES, Resource, STORES};

/// The Web Application Description Language.
const WADL: &str = "application/vnd.sun.wadl+xml";

/// One thing that a client may do with a resource.
struct Method {
    /// What the transaction does.
    verb: &'static str,
    name: &'static str,
    /// Query parameters.
    query: &'static [&'static str],
    /// Media types of what is sent; none for GET.
    takes: &'static [&'static str],
    /// Media types of the answer, the default one first.
    gives: &'static [&'static str],
    /// Statuses of good answers that have the representations above.
    statuses: &'static str,
}

/// Answers `OPTIONS` on the root of a service.
pub(super) async fn describe(context: Context) -> Response {
    ([(CONTENT_TYPE, WADL)], document(&context.service_url)).into_response()
}

/// The description of the service at `base`.
fn document(base: &str) -> String {
    let mut out = String::with_capacity(16 * 1024);
    out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    out.push_str("<application xmlns=\"http://wadl.dev.java.net/2009/02\" ");
    out.push_str("xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\">\n");
    let _ = writeln!(out, " <resources base=\"{}\">", escape(base));
    for (path, resource) in RESOURCES {
        let _ = writeln!(out, "  <resource path=\"{}\">", escape(path.trim_start_matches('/')));
        let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        for name in names.map(|name| name.trim_start_matches('*')) {
            let _ = writeln!(
                out,
                "   <param name=\"{name}\" style=\"template\" required=\"true\" type=\"xsd:string\"/>"
            );
        }
        for method in methods(path, resource) {
            write_method(&mut out, &id(method, path), method);
        }
        if STORES.contains(&path) {
            write_method(&mut out, &id(&STORE, path), &STORE);
        }
        out.push_str("  </resource>\n");
    }
    out.push_str(" </resources>\n</application>\n");
    out
}

fn write_method(out: &mut String, id: &str, method: &Method) {
    let _ = writeln!(out, "   <method name=\"{}\" id=\"{id}\">\n    <request>", method.name);
    let default = method.gives.first().unwrap_or(&"*/*");
    let _ = writeln!(out, "     <param name=\"Accept\" style=\"header\" default=\"{}\">", escape(*default));
    for media_type in method.gives {
        let _ = writeln!(out, "      <option value=\"{}\"/>", escape(*media_type));
    }
    out.push_str("     </param>\n");
    for parameter in method.query {
        let _ = writeln!(out, "     <param name=\"{parameter}\" style=\"query\" type=\"xsd:string\"/>");
    }
    for media_type in method.takes {
        let _ = writeln!(out, "     <representation mediaType=\"{}\"/>", escape(*media_type));
    }
    let _ = writeln!(out, "    </request>\n    <response status=\"{}\">", method.statuses);
    for media_type in method.gives {
        let _ = writeln!(out, "     <representation mediaType=\"{}\"/>", escape(*media_type));
    }
    out.push_str("    </response>\n   </method>\n");
}

/// A name for a method that no other has: what it does, and with what.
fn id(method: &Method, path: &str) -> String {
    let mut id = method.verb.to_owned();
    for part in path.split(['/', '{', '}', '*']).filter(|part| !part.is_empty()) {
        let (first, rest) = part.split_at(1);
        id.push_str(&first.to_ascii_uppercase());
        id.push_str(rest);
    }
    id
}

const DATA_SETS: &[&str] =
    &["application/dicom+json", "multipart/related; type=\"application/dicom+xml\"", "application/json"];
const FATES: &[&str] = &["application/dicom+json", "application/dicom+xml", "application/json"];
const OBJECTS: &[&str] = &["multipart/related; type=\"application/dicom\""];
const INSTANCE: &[&str] = &["multipart/related; type=\"application/dicom\"", "application/dicom"];
const PIXELS: &[&str] = &[
    "multipart/related; type=\"application/octet-stream\"",
    "multipart/related; type=\"image/jpeg\"",
    "multipart/related; type=\"image/jls\"",
    "multipart/related; type=\"image/jp2\"",
    "multipart/related; type=\"image/jpx\"",
    "multipart/related; type=\"image/jphc\"",
    "multipart/related; type=\"image/jxl\"",
    "multipart/related; type=\"image/dicom-rle\"",
];
const VALUE: &[&str] = &["application/octet-stream", "multipart/related; type=\"application/octet-stream\""];
const RENDERED: &[&str] = &[
    "image/jpeg",
    "image/png",
    "image/gif",
    "multipart/related; type=\"image/jpeg\"",
    "multipart/related; type=\"image/png\"",
    "multipart/related; type=\"image/gif\"",
    "application/pdf",
    "video/mp4",
    "video/mpeg2",
    "video/H265",
];
const PICTURES: &[&str] = &["image/jpeg", "image/png"];
const RENDERING: &[&str] = &["accept", "annotation", "iccprofile", "quality", "viewport", "window"];
const FILE: &[&str] = &["application/dicom"];
const WADO_URI: &[&str] =
    &["requestType", "studyUID", "seriesUID", "objectUID", "contentType", "transferSyntax"];
const ACCEPT: &[&str] = &["accept"];
const STORE: Method = Method {
    verb: "Store",
    name: "POST",
    query: ACCEPT,
    takes: INSTANCE,
    gives: FATES,
    statuses: "200 202 409",
};
const SEARCH: &[&str] = &[
    "accept",
    "limit",
    "offset",
    "includefield",
    "fuzzymatching",
    "emptyvaluematching",
    "multiplevaluematching",
];

/// What can be done with a resource.
fn methods(path: &str, resource: Resource) -> &'static [Method] {
    const fn get(
        verb: &'static str,
        query: &'static [&'static str],
        gives: &'static [&'static str],
        statuses: &'static str,
    ) -> Method {
        Method { verb, name: "GET", query, takes: &[], gives, statuses }
    }
    match resource {
        Resource::Search(_) => const { &[get("Search", SEARCH, DATA_SETS, "200")] },
        Resource::Retrieve if path.ends_with("{instance}") => {
            const { &[get("Retrieve", ACCEPT, INSTANCE, "200")] }
        }
        Resource::Metadata => const { &[get("Retrieve", ACCEPT, DATA_SETS, "200 206")] },
        Resource::Retrieve => const { &[get("Retrieve", ACCEPT, OBJECTS, "200 206")] },
        Resource::Frames => const { &[get("Retrieve", ACCEPT, PIXELS, "200")] },
        Resource::Value => const { &[get("Retrieve", ACCEPT, VALUE, "200 206")] },
        Resource::BulkData => const { &[get("Retrieve", ACCEPT, PIXELS, "200 206")] },
        Resource::PixelData => const { &[get("Retrieve", ACCEPT, PIXELS, "200 206")] },
        Resource::Rendered => const { &[get("Retrieve", RENDERING, RENDERED, "200 206")] },
        Resource::Thumbnail => const { &[get("Retrieve", RENDERING, PICTURES, "200")] },
        Resource::WadoUri => const { &[get("Retrieve", WADO_URI, FILE, "200")] },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_resource_is_described_and_the_document_is_well_formed() {
        let text = document("http://a.example/x?\"<&");
        let mut reader = quick_xml::Reader::from_str(&text);
        let (mut resources, mut methods) = (0, 0);
        loop {
            match reader.read_event().unwrap() {
                quick_xml::events::Event::Start(tag) => match tag.name().as_ref() {
                    "resource" => resources += 1,
                    "method" => methods += 1,
                    _ => {}
                },
                quick_xml::events::Event::Eof => break,
                _ => {}
            }
        }
        let ids: Vec<&str> = text.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(ids.len(), ids.iter().collect::<std::collections::BTreeSet<_>>().len(), "{ids:?}");
        assert_eq!(resources, RESOURCES.len());
        assert!(methods >= resources + STORES.len());
        assert!(text.contains("base=\"http://a.example/x?&quot;&lt;&amp;\""));
    }
}
