//! What a client takes of pictures (PS3.18 8.7.4).

use super::pixel::{covers, inner_essence};
use super::{Accept, MediaRange, ValueForm};

/// A single picture, with little loss: what is sent where nothing is said.
pub const JPEG: &str = "image/jpeg";
/// A single picture, without loss.
pub const PNG: &str = "image/png";
/// A single picture, or several that follow each other.
pub const GIF: &str = "image/gif";

impl Accept {
    /// The form of pictures that there are in these types, the one that is sent where nothing is said first; `single`
    /// where there is one picture. Several are parts: a client that takes bare pictures only would be sent something that it
    /// cannot show. `None` where it takes none that there is (406).
    pub fn picture_form(&self, offered: &[&'static str], single: bool) -> Option<ValueForm> {
        self.each_range(&MediaRange::any(), |range| {
            let essence = inner_essence(range);
            let media_type = offered.iter().copied().find(|own| covers(&essence, own))?;
            let single_part = self.single_part(range, single, true)?;
            Some(ValueForm { single_part, media_type })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(accept: &str, single: bool) -> Option<(&'static str, bool)> {
        let form = Accept::new([], [accept]).picture_form(&[JPEG, PNG, GIF], single)?;
        Some((form.media_type, form.single_part))
    }

    #[test]
    fn viewers_and_browsers_get_the_picture_that_they_ask_for() {
        let browser = "image/jxl,image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8";
        for (accept, media_type) in [
            ("", JPEG),
            ("*/*", JPEG),
            ("image/*", JPEG),
            (browser, JPEG),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", JPEG),
            ("image/png", PNG),
            ("image/webp, image/png;q=0.9, image/jpeg;q=0.5", PNG),
            ("image/gif", GIF),
        ] {
            assert_eq!(form(accept, true), Some((media_type, true)), "{accept}");
        }
        for accept in ["", "*/*", browser] {
            assert_eq!(form(accept, false), Some((JPEG, false)), "several: {accept}");
        }
        for accept in ["image/jpeg", "image/*"] {
            assert_eq!(form(accept, false), None, "several: {accept}");
        }
        for parts in ["multipart/related; type=\"image/png\"", "multipart/related;type=image/png"] {
            assert_eq!(form(parts, true), Some((PNG, false)), "{parts}");
            assert_eq!(form(parts, false), Some((PNG, false)), "{parts}");
        }
        for other in
            ["image/webp", "application/dicom", "video/mp4", "image/png;q=0", "application/octet-stream"]
        {
            assert_eq!(form(other, true), None, "{other}");
        }
    }

    #[test]
    fn the_query_says_it_before_the_headers() {
        let viewer = "multipart/related; type=\"application/octet-stream\"";
        let accept = Accept::new(["image/jpeg"], [viewer]);
        let form = accept.picture_form(&[JPEG, PNG], true).unwrap();
        assert_eq!((form.media_type, form.single_part), (JPEG, true));
    }
}
