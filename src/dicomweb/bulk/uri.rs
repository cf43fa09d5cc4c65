//! What a URI means: resolved against the request's own, without percent-encoding (RFC 3986 5.2).

use percent_encoding::percent_decode_str;

/// The same text for all URIs that name the same. `base` is absolute, with an authority and a path.
pub(super) fn canonical(base: &str, uri: &str) -> String {
    let resolved = resolve(base, uri);
    let decoded = percent_decode_str(&resolved).decode_utf8_lossy().into_owned();
    // Schemes and authorities are the same in either case.
    match decoded.find("://").and_then(|at| decoded[at + 3..].find('/').map(|path| at + 3 + path)) {
        Some(path) => decoded[..path].to_ascii_lowercase() + &decoded[path..],
        None => decoded,
    }
}

fn resolve(base: &str, uri: &str) -> String {
    if has_scheme(uri) {
        return uri.to_owned();
    }
    let authority = base.find("://").map_or(0, |at| at + 3);
    let path = base[authority..].find('/').map_or(base.len(), |at| authority + at);
    let path_end = base[path..].find(['?', '#']).map_or(base.len(), |at| path + at);
    if uri.starts_with("//") {
        return format!("{}{uri}", &base[..authority.saturating_sub(2)]);
    }
    let (reference, rest) = uri.split_at(uri.find(['?', '#']).unwrap_or(uri.len()));
    let whole = if reference.is_empty() {
        base[path..path_end].to_owned()
    } else if reference.starts_with('/') {
        reference.to_owned()
    } else {
        let folder = base[path..path_end].rfind('/').map_or(path, |at| path + at);
        format!("{}/{reference}", &base[path..folder])
    };
    format!("{}{}{rest}", &base[..path], without_dots(&whole))
}

fn has_scheme(uri: &str) -> bool {
    let Some((scheme, _)) = uri.split_once(':') else { return false };
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

/// A path from its root without `.` and `..` (RFC 3986 5.2.4).
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_resolved_as_rfc_3986_says() {
        for (uri, expected) in [
            ("g:h", "g:h"),
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g/x", "http://g/x"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p#s"),
            (";x", "http://a/b/c/;x"),
            ("", "http://a/b/c/d;p"),
            (".", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("g;x=1/../y", "http://a/b/c/y"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
        ] {
            assert_eq!(resolve("http://a/b/c/d;p?q", uri), expected, "{uri}");
        }
    }

    #[test]
    fn no_text_is_too_odd() {
        for base in ["http://a/b", "http://a", "", "x"] {
            for uri in ["", ":", "/", "//", "..", "/..", "?", "%", "%ff", "1:2", "ü/..", "://"] {
                canonical(base, uri);
            }
        }
    }
}
