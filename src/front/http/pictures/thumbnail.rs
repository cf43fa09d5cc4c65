//! WADO-RS of thumbnails: one small picture that stands for a study, a series, an instance or a frame (PS3.18
//! 10.4.1.1.7).
//!
//! A series is shown by the image in its middle, a study by its first series with images. That takes a search or two,
//! and the retrieval of the one instance: never that of a series. Where it turns out to be none, the next few have their
//! turn. What has no pictures is 404, and viewers show something else; what has some that cannot be shown is an error.

use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;

use super::answer_with;
use super::asked::Asked;
use super::draw::{Drawing, Frames, NotDrawn, can_be_shown};
use super::thumbnails::{Key, Thumbnail};
use crate::archive::{Archive, Error, Form, Kind, Retrieval, Retrieve, Step};
use crate::caller::{Caller, Priority};
use crate::dicom::dataset::DataSet;
use crate::dicom::object::Object;
use crate::dicom::query::{Level, Target};
use crate::dicom::sop_class::is_image;
use crate::dicom::tags;
use crate::dicomweb::media_type::{JPEG, PNG};
use crate::dicomweb::request::{self, SearchResource};
use crate::event::Who;
use crate::front::http::Server;
use crate::front::http::body::Broken;
use crate::front::http::context::Context;
use crate::front::http::error::Problem;
use crate::front::http::parts::Rest;
use crate::front::http::record::Record;
use crate::image::bulk::is_video;
use crate::image::frames::{Error as FrameError, FrameList};
use crate::image::render::Viewport;

/// Width and height of a thumbnail, at most, where nobody says so.
const SIDE: u32 = 200;
/// How good it is, where nobody says so.
const QUALITY: u8 = 80;
/// Most instances of a series, or series of a study, that are looked at: more than a person scrolls through.
const MAX_MATCHES: usize = 20_000;

/// How many series of a study, and instances of each, have their turn until there is an image. What is none is mostly
/// known from its class: the rest are private objects, and such as lack their pixels.
const MAX_TURNS: usize = 3;

/// Modalities whose objects are no images (PS3.3 C.7.3.1.1.1).
const WITHOUT_IMAGES: [&str; 17] = [
    "SR", "PR", "KO", "DOC", "AU", "ECG", "EPS", "HD", "RESP", "EEG", "EMG", "RTSTRUCT", "RTPLAN",
    "RTRECORD", "REG", "FID", "PLAN",
];

/// Who wants a thumbnail, and of which archive.
pub(in crate::front::http) struct Wanted<'a> {
    pub(in crate::front::http) server: &'a Server,
    pub(in crate::front::http) archive: &'a dyn Archive,
    pub(in crate::front::http) record: &'a Record,
    pub(in crate::front::http) who: &'a Who,
    pub(in crate::front::http) caller: Caller,
    /// Only a part of the archive is seen: nothing is kept for others.
    pub(in crate::front::http) confined: bool,
    /// What the thumbnail is of.
    pub(in crate::front::http) target: Target,
    /// Of an instance: which frame, from 1.
    pub(in crate::front::http) frame: u32,
}

/// Answers with a thumbnail of what the path names.
pub(in crate::front::http) async fn retrieve(context: Context) -> Result<Response, Problem> {
    let target = context.target()?;
    let list = context.frames.as_deref().map(str::parse::<FrameList>).transpose();
    let list = list.map_err(|error| Problem::client(StatusCode::BAD_REQUEST, format!("{error}")))?;
    let frame = list.as_ref().and_then(|list| list.numbers().first().copied()).unwrap_or(1);
    let asked = asked(&context.query)?;
    let form = context.accept(&asked.accept).picture_form(&[JPEG, PNG], true).ok_or_else(|| {
        Problem::client(StatusCode::NOT_ACCEPTABLE, "thumbnails come in no form that was asked for")
            .advise("Accept image/jpeg or image/png.")
    })?;
    let wanted = Wanted {
        server: &context.server,
        archive: &*context.archive,
        record: &context.record,
        who: &context.who,
        caller: context.caller(Priority::Interactive),
        confined: context.restriction.is_some(),
        target,
        frame,
    };
    let file = wanted.thumbnail(&asked, form.media_type).await?.file;
    let location = location(&context);
    Ok(answer_with(&context, form, file, &location))
}

/// What is asked for in a query, or by who asks for nothing particular.
pub(in crate::front::http) fn asked(query: &str) -> Result<Asked, Problem> {
    let mut asked = Asked::read_with(query, QUALITY)?;
    let viewport = asked.options.viewport.unwrap_or(Viewport::at_most(SIDE, SIDE));
    if viewport.has_region() {
        let detail = "the `viewport` of a thumbnail is vw,vh: it shows all of its image";
        return Err(Problem::client(StatusCode::BAD_REQUEST, detail));
    }
    asked.options.viewport = Some(viewport.without_enlarging());
    Ok(asked)
}

impl Wanted<'_> {
    /// The thumbnail, which may have been kept.
    ///
    /// # Errors
    /// There is none: 404. The archive fails.
    pub(in crate::front::http) async fn thumbnail(
        &self,
        asked: &Asked,
        media_type: &'static str,
    ) -> Result<Thumbnail, Problem> {
        let key = Key {
            scope: self.archive.scope().to_owned(),
            target: self.target.clone(),
            frame: self.frame,
            options: asked.options,
            quality: asked.quality,
            media_type,
        };
        let (kept, cache) = (&self.server.0.thumbnails, self.server.0.cache.config());
        let keeps = !self.confined && cache.memory > 0;
        if let Some(found) = kept.find(&key, cache.ttl).filter(|_| keeps) {
            self.record.retrieval(self.who, self.archive.name(), &self.target, None);
            self.record.instance(&found.head);
            return Ok(found);
        }
        let thumbnail = self.first(asked, media_type).await?.ok_or_else(no_picture)?;
        if keeps {
            kept.keep(key, thumbnail.clone());
        }
        Ok(thumbnail)
    }

    /// The thumbnail of the first of what may stand for what is wanted that is an image; `None`: none of it is.
    async fn first(&self, asked: &Asked, media_type: &'static str) -> Result<Option<Thumbnail>, Problem> {
        for series in self.series().await? {
            for instance in self.instances(series).await? {
                let mut drawn = self.drawn(&instance, Form::AsStored, asked, media_type).await?;
                if matches!(drawn, Drawn::NotDecoded) {
                    drawn = self.drawn(&instance, Form::Native, asked, media_type).await?;
                }
                match drawn {
                    Drawn::Thumbnail(thumbnail) => return Ok(Some(*thumbnail)),
                    Drawn::NoImage => {}
                    Drawn::NotDecoded => return Err(not_decoded()),
                }
            }
        }
        Ok(None)
    }

    /// The series that may stand for what is wanted, the best first.
    async fn series(&self) -> Result<Vec<Target>, Problem> {
        if self.target.series.is_some() {
            return Ok(vec![self.target.clone()]);
        }
        let mut found = self.matches(Level::Series, &self.target).await?;
        found.retain(may_have_images);
        found.sort_by_key(|series| series.int(tags::SERIES_NUMBER).unwrap_or(i64::MAX));
        let uids = found.iter().filter_map(|series| series.uid(tags::SERIES_INSTANCE_UID)).take(MAX_TURNS);
        Ok(uids.map(|uid| Target { series: Some(uid), ..self.target.clone() }).collect())
    }

    /// The instances that may stand for a series, or the one that is wanted, the best first.
    async fn instances(&self, series: Target) -> Result<Vec<Target>, Problem> {
        if series.instance.is_some() {
            return Ok(vec![series]);
        }
        let mut images = self.matches(Level::Instance, &series).await?;
        images.retain(may_be_image);
        images.sort_by_key(|image| (image.int(tags::INSTANCE_NUMBER), image.uid(tags::SOP_INSTANCE_UID)));
        // From the middle on, then those before it.
        let middle = images.len() / 2;
        images.rotate_left(middle);
        let uids = images.iter().filter_map(|image| image.uid(tags::SOP_INSTANCE_UID)).take(MAX_TURNS);
        Ok(uids.map(|uid| Target { instance: Some(uid), ..series.clone() }).collect())
    }

    /// What the archive finds within the target, of each what says whether it is an image and where it stands.
    async fn matches(&self, level: Level, within: &Target) -> Result<Vec<DataSet>, Problem> {
        let resource =
            SearchResource { level, study: Some(within.study.clone()), series: within.series.clone() };
        let include = match level {
            Level::Series => "includefield=Modality,SeriesNumber",
            _ => "includefield=SOPClassUID,InstanceNumber",
        };
        let query = request::search(&resource, include)?.query;
        let mut found = Vec::new();
        let mut matches = self.archive.search(&self.caller, query).await?.matches;
        loop {
            match matches.next().await {
                Step::Item(item) if found.len() < MAX_MATCHES => {
                    let mut item = DataSet::clone(&item);
                    item.retain(|tag| WHICH.contains(&tag));
                    found.push(item);
                }
                Step::Item(_) | Step::End(Ok(_)) => return Ok(found),
                Step::End(Err(error)) => return Err(error.into()),
            }
        }
    }

    /// The thumbnail of an instance that comes in this form.
    async fn drawn(
        &self,
        instance: &Target,
        form: Form,
        asked: &Asked,
        media_type: &'static str,
    ) -> Result<Drawn, Problem> {
        self.record.retrieval(self.who, self.archive.name(), instance, None);
        let retrieve = Retrieve::new(instance.clone(), form);
        let Retrieval { mut objects, assumed_charset, .. } =
            match self.archive.retrieve(&self.caller, retrieve).await {
                Ok(retrieval) => retrieval,
                Err(error) if matches!(error.kind, Kind::NotAcceptable) => return Ok(Drawn::NotDecoded),
                Err(error) => return Err(error.into()),
            };
        let Object { head, mut body, .. } = match objects.next().await {
            Step::Item(object) => object,
            Step::End(Ok(_)) => return Err(Error::new(self.archive.name(), Kind::NotFound).into()),
            Step::End(Err(error)) => return Err(error.into()),
        };
        if is_video(&head.transfer_syntax) || !can_be_shown(&head.transfer_syntax) {
            let is_video = is_video(&head.transfer_syntax);
            Rest::new(objects, body).let_it_end();
            return Ok(if is_video { Drawn::NoImage } else { Drawn::NotDecoded });
        }
        self.record.instance(&head);
        let workshop = self.server.0.kept.workshop.clone();
        let drawing = Drawing::new(workshop, &head, asked, media_type, assumed_charset.as_ref());
        let drawn = drawing.frames(Frames::Some(vec![self.frame])).file(&mut body).await;
        Rest::new(objects, body).let_it_end();
        match drawn {
            Ok(file) => {
                // What is kept has bounds of its own, and no place among pictures that are on their way.
                let file = Bytes::copy_from_slice(&file);
                Ok(Drawn::Thumbnail(Box::new(Thumbnail { head, file })))
            }
            Err(
                Broken::Frames(FrameError::NoPixelData | FrameError::Video)
                | Broken::Picture(NotDrawn::NoImage),
            ) => Ok(Drawn::NoImage),
            Err(broken) => Err(Problem::broken(self.archive.name(), broken)),
        }
    }
}

/// What became of an instance.
enum Drawn {
    Thumbnail(Box<Thumbnail>),
    /// It has no pixels, or is a video.
    NoImage,
    /// It comes in no form that is decoded here.
    NotDecoded,
}

/// What is kept of matches.
const WHICH: [crate::dicom::Tag; 6] = [
    tags::SOP_CLASS_UID,
    tags::SOP_INSTANCE_UID,
    tags::MODALITY,
    tags::SERIES_INSTANCE_UID,
    tags::SERIES_NUMBER,
    tags::INSTANCE_NUMBER,
];

/// Whether there may be images in a series of this modality.
pub(in crate::front::http) fn has_images(modality: &str) -> bool {
    !WITHOUT_IMAGES.contains(&modality)
}

fn no_picture() -> Problem {
    Problem::client(StatusCode::NOT_FOUND, "there is no image that a thumbnail could show")
}

fn not_decoded() -> Problem {
    let detail =
        "the image is in a transfer syntax that is not rendered, and the archive does not decompress it";
    Problem::bridge(StatusCode::NOT_IMPLEMENTED, detail)
}

fn may_have_images(series: &DataSet) -> bool {
    series.string(tags::MODALITY).is_none_or(has_images)
}

fn may_be_image(instance: &DataSet) -> bool {
    instance.uid(tags::SOP_CLASS_UID).is_none_or(|class| is_image(&class))
}

/// The URL of the thumbnail.
fn location(context: &Context) -> String {
    let parts = [
        ("studies", &context.study),
        ("series", &context.series),
        ("instances", &context.instance),
        ("frames", &context.frames),
    ];
    let path: String =
        parts.iter().filter_map(|(name, uid)| Some(format!("/{name}/{}", uid.as_deref()?))).collect();
    format!("{}{path}/thumbnail", context.service_url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::VR;

    #[test]
    fn what_has_no_pixels_stands_for_nothing() {
        let of_class = |class: &str| {
            let mut instance = DataSet::new();
            instance.set_str(tags::SOP_CLASS_UID, VR::UI, class);
            may_be_image(&instance)
        };
        assert!(of_class("1.2.840.10008.5.1.4.1.1.2") && of_class("1.2.840.10008.5.1.4.1.1.66.4"), "CT, SEG");
        assert!(
            of_class("1.2.840.10008.5.1.4.1.1.481.1") && may_be_image(&DataSet::new()),
            "RT Image, unknown"
        );
        for class in ["88.11", "11.1", "104.1", "9.1.1", "66.1", "66.8", "481.3", "481.4", "78.7"] {
            assert!(!of_class(&format!("1.2.840.10008.5.1.4.1.1.{class}")), "{class}");
        }
        let mut series = DataSet::new();
        assert!(may_have_images(&series));
        series.set_str(tags::MODALITY, VR::CS, "SR");
        assert!(!may_have_images(&series));
    }
}
