//! The colours of a picture by ICC profiles (PS3.3 C.11.15, PS3.18 8.3.5.1.5).

use std::str::FromStr;

use bytes::Bytes;
use moxcms::{ColorProfile, DataColorSpace, Layout, TransformOptions};

use super::Error;
use super::head::Head;
use super::picture::{Colours, Picture};
use crate::dicom::dataset::Value;
use crate::dicom::tags;

/// What a picture's colours are to be, and whether its file says so. Grey pictures have no profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Profile {
    /// As they are, and nothing is said of them.
    #[default]
    No,
    /// As they are, with the image's own profile where it has one.
    Yes,
    /// Those of sRGB.
    Srgb,
    /// Those of Adobe RGB (1998).
    AdobeRgb,
    /// Those of ROMM RGB, also called ProPhoto.
    RommRgb,
    /// Those of Display P3.
    DisplayP3,
}

/// When the profiles were made that are given out, as their header has it: the first second of 2026.
const CREATION: [u8; 12] = [0x07, 0xEA, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0];

/// It is none of the profiles that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a profile is no, yes, srgb, adobergb, rommrgb or displayp3")]
pub struct BadProfile;

/// As the parameter `iccprofile` has it.
impl FromStr for Profile {
    type Err = BadProfile;

    fn from_str(text: &str) -> Result<Self, BadProfile> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "no" => Self::No,
            "yes" => Self::Yes,
            "srgb" => Self::Srgb,
            "adobergb" => Self::AdobeRgb,
            "rommrgb" => Self::RommRgb,
            "displayp3" => Self::DisplayP3,
            _ => return Err(BadProfile),
        })
    }
}

/// The picture in these colours. One that has no profile is taken for sRGB, which most of them are.
///
/// # Errors
/// The image's profile is none that can be followed.
pub(super) fn coloured(
    mut picture: Picture,
    head: &Head,
    number: u32,
    wanted: Profile,
) -> Result<Picture, Error> {
    let target = match wanted {
        _ if picture.colours == Colours::Grey => return Ok(picture),
        Profile::No => return Ok(picture),
        Profile::Yes => {
            picture.icc_profile = own(head, number).cloned();
            return Ok(picture);
        }
        Profile::Srgb => ColorProfile::new_srgb(),
        Profile::AdobeRgb => ColorProfile::new_adobe_rgb(),
        Profile::RommRgb => ColorProfile::new_pro_photo_rgb(),
        Profile::DisplayP3 => ColorProfile::new_display_p3(),
    };
    let error = Error::Attribute(tags::ICC_PROFILE);
    let source = match own(head, number) {
        Some(profile) => ColorProfile::new_from_slice(profile).map_err(|_| error)?,
        None => ColorProfile::new_srgb(),
    };
    if source.color_space != DataColorSpace::Rgb {
        return Err(error);
    }
    let transform =
        source.create_transform_8bit(Layout::Rgb, &target, Layout::Rgb, TransformOptions::default());
    let mut pixels = vec![0; picture.pixels.len()];
    transform.and_then(|transform| transform.transform(&picture.pixels, &mut pixels)).map_err(|_| error)?;
    picture.pixels = pixels;
    picture.icc_profile = Some(written(&target).ok_or(error)?);
    Ok(picture)
}

/// The bytes of a profile that was made here. The library writes into them when it does so (ICC.1 7.2.8): the same picture
/// would be other bytes from one second to the next.
fn written(profile: &ColorProfile) -> Option<Bytes> {
    let mut bytes = profile.encode().ok()?;
    bytes.get_mut(24..36)?.copy_from_slice(&CREATION);
    Some(bytes.into())
}

/// The profile that the image of a frame, from 1, has: its own, or that of the frame's optical path (PS3.3 C.8.12.5,
/// C.8.12.6.1.3).
fn own(head: &Head, number: u32) -> Option<&Bytes> {
    let paths = head.data_set.items(tags::OPTICAL_PATH_SEQUENCE);
    let named = head.group(number, tags::OPTICAL_PATH_IDENTIFICATION_SEQUENCE);
    let path = match named.and_then(|item| item.string(tags::OPTICAL_PATH_IDENTIFIER)) {
        Some(name) => paths.iter().find(|path| path.string(tags::OPTICAL_PATH_IDENTIFIER) == Some(name)),
        None => paths.first(),
    };
    [Some(&head.data_set), path].into_iter().flatten().find_map(|it| {
        match &it.get(tags::ICC_PROFILE)?.value {
            Value::Bytes(bytes) if !bytes.is_empty() => Some(bytes),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::VR;
    use crate::dicom::dataset::{DataSet, Element};

    fn picture(colours: Colours) -> Picture {
        let pixels = vec![255, 0, 0, 128, 128, 128];
        let width = if colours == Colours::Rgb { 2 } else { 6 };
        Picture { width, height: 1, colours, pixels, icc_profile: None }
    }

    fn head(profile: Option<Vec<u8>>) -> Head {
        let mut data_set = DataSet::new();
        if let Some(profile) = profile {
            let value = Value::Bytes(profile.into());
            data_set.insert(tags::ICC_PROFILE, Element { vr: VR::OB, value });
        }
        Head::of(data_set)
    }

    #[test]
    fn colours_are_converted_and_say_what_they_are() {
        let p3 = ColorProfile::new_display_p3().encode().unwrap();
        let srgb = coloured(picture(Colours::Rgb), &head(Some(p3.clone())), 1, Profile::Srgb).unwrap();
        // A red that sRGB does not have is its own; grey stays grey.
        assert_eq!(srgb.pixels, [255, 0, 0, 128, 128, 128]);
        assert!(srgb.icc_profile.is_some());
        let wider = coloured(picture(Colours::Rgb), &head(None), 1, Profile::DisplayP3).unwrap();
        let near = |ours: u8, theirs: u8| ours.abs_diff(theirs) <= 2;
        assert!(near(wider.pixels[0], 234) && near(wider.pixels[1], 51) && near(wider.pixels[2], 35));
        assert!(near(wider.pixels[3], 128) && near(wider.pixels[5], 128), "{:?}", wider.pixels);
        for profile in [Profile::AdobeRgb, Profile::RommRgb] {
            let other = coloured(picture(Colours::Rgb), &head(None), 1, profile).unwrap();
            assert!(other.icc_profile.is_some() && other.pixels[..3] != [255, 0, 0]);
        }
    }

    #[test]
    fn hazard_the_same_picture_has_the_same_bytes_at_any_time() {
        for profile in [Profile::Srgb, Profile::AdobeRgb, Profile::RommRgb, Profile::DisplayP3] {
            let picture = coloured(picture(Colours::Rgb), &head(None), 1, profile).unwrap();
            let bytes = picture.icc_profile.unwrap();
            assert_eq!(bytes[24..36], CREATION);
            // It is still one that the library reads.
            let read = ColorProfile::new_from_slice(&bytes).unwrap();
            assert_eq!((read.creation_date_time.year, read.creation_date_time.month), (2026, 1));
        }
    }

    #[test]
    fn a_frame_has_the_profile_of_its_own_optical_path() {
        let named = |name: &str, profile: Option<&[u8]>| {
            let mut item = DataSet::new();
            item.set_str(tags::OPTICAL_PATH_IDENTIFIER, VR::SH, name);
            if let Some(profile) = profile {
                let value = Value::Bytes(Bytes::copy_from_slice(profile));
                item.insert(tags::ICC_PROFILE, Element { vr: VR::OB, value });
            }
            item
        };
        let frame = |name: &str| {
            let mut group = DataSet::new();
            group.set_items(tags::OPTICAL_PATH_IDENTIFICATION_SEQUENCE, vec![named(name, None)]);
            group
        };
        let mut slide = DataSet::new();
        let paths = vec![named("1", Some(b"first")), named("2", Some(b"second"))];
        slide.set_items(tags::OPTICAL_PATH_SEQUENCE, paths);
        slide.set_items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, vec![frame("2"), frame("1"), frame("3")]);
        let slide = Head::of(slide);
        let profile = |number| {
            let shown = coloured(picture(Colours::Rgb), &slide, number, Profile::Yes).unwrap();
            shown.icc_profile.map(|profile| String::from_utf8(profile.to_vec()).unwrap())
        };
        let profiles = [1, 2, 3].map(profile);
        assert_eq!(profiles, [Some("second".to_owned()), Some("first".to_owned()), None]);
    }

    #[test]
    fn an_images_own_profile_is_kept_or_left_out_and_a_bad_one_is_seen() {
        let bytes = || Some(b"no profile at all".to_vec());
        let own = coloured(picture(Colours::Rgb), &head(bytes()), 1, Profile::Yes).unwrap();
        assert_eq!(own.icc_profile.as_deref(), Some(&b"no profile at all"[..]));
        assert_eq!(
            coloured(picture(Colours::Rgb), &head(bytes()), 1, Profile::No),
            Ok(picture(Colours::Rgb))
        );
        let error = Err(Error::Attribute(tags::ICC_PROFILE));
        assert_eq!(coloured(picture(Colours::Rgb), &head(bytes()), 1, Profile::Srgb), error);
        let grey = coloured(picture(Colours::Grey), &head(bytes()), 1, Profile::Srgb);
        assert_eq!(grey, Ok(picture(Colours::Grey)));
        assert_eq!("sRGB".parse(), Ok(Profile::Srgb));
        assert_eq!("cmyk".parse::<Profile>(), Err(BadProfile));
    }
}
