//! WADO-RS of thumbnails: one small picture that stands for a study, a series, an instance or a frame (PS3.18
//! 10.4.1.1.7).
//!
//! A series is shown by the image in its middle, a study by its first series with images. That takes a search or two,
//! and the retrieval of the one instance: never that of a series. What has no pictures is 404, and viewers show
//! something else.

use axum::response::Response;
use http::StatusCode;

use super::answer_with;
use super::asked::Asked;
use super::draw::{Drawing, Frames, NotDrawn, can_be_shown};
use super::thumbnails::{Key, Thumbnail};
use crate::archive::{Archive, Error, Form, Kind, Retrieve, Step};
use crate::caller::{Caller, Priority};
use crate::dicom::Uid;
use crate::dicom::dataset::DataSet;
use crate::dicom::object::Object;
use crate::dicom::query::{Level, Target};
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

/// Modalities whose objects are no images (PS3.3 C.7.3.1.1.1).
const WITHOUT_IMAGES: [&str; 17] = [
    "SR", "PR", "KO", "DOC", "AU", "ECG", "EPS", "HD", "RESP", "EEG", "EMG", "RTSTRUCT", "RTPLAN",
    "RTRECORD", "REG", "FID", "PLAN",
];
/// SOP classes below the root of storage whose objects are no images, by the beginnings of their UIDs.
const CLASSES_WITHOUT_IMAGES: [&str; 14] = [
    "9.", "11.", "66.1", "66.2", "66.3", "66.5", "66.6", "67", "68.", "88.", "104.", "481.3", "481.5",
    "481.8",
];
const STORAGE: &str = "1.2.840.10008.5.1.4.1.1.";

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
        let instance = self.instance().await?;
        let thumbnail = match self.drawn(&instance, Form::AsStored, asked, media_type).await? {
            Some(thumbnail) => thumbnail,
            None => self.drawn(&instance, Form::Native, asked, media_type).await?.ok_or_else(no_picture)?,
        };
        if keeps {
            kept.keep(key, thumbnail.clone());
        }
        Ok(thumbnail)
    }

    /// The instance that stands for what is wanted.
    async fn instance(&self) -> Result<Target, Problem> {
        let mut target = self.target.clone();
        if target.series.is_none() {
            let series = self.matches(Level::Series, &target).await?;
            let first = series.iter().filter(|series| may_have_images(series));
            let first = first.min_by_key(|series| series.int(tags::SERIES_NUMBER).unwrap_or(i64::MAX));
            target.series =
                Some(first.and_then(|it| it.uid(tags::SERIES_INSTANCE_UID)).ok_or_else(no_picture)?);
        }
        if target.instance.is_none() {
            let mut images = self.matches(Level::Instance, &target).await?;
            images.retain(may_be_image);
            images.sort_by_key(|image| (image.int(tags::INSTANCE_NUMBER), image.uid(tags::SOP_INSTANCE_UID)));
            let middle = images.get(images.len() / 2);
            target.instance =
                Some(middle.and_then(|it| it.uid(tags::SOP_INSTANCE_UID)).ok_or_else(no_picture)?);
        }
        Ok(target)
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

    /// The thumbnail of an instance that comes in this form; `None`: the form is none that can be decoded.
    async fn drawn(
        &self,
        instance: &Target,
        form: Form,
        asked: &Asked,
        media_type: &'static str,
    ) -> Result<Option<Thumbnail>, Problem> {
        self.record.retrieval(self.who, self.archive.name(), instance, None);
        let retrieve = Retrieve::new(instance.clone(), form);
        let mut objects = match self.archive.retrieve(&self.caller, retrieve).await {
            Ok(retrieval) => retrieval.objects,
            Err(error) if matches!(error.kind, Kind::NotAcceptable) => return Ok(None),
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
            return if is_video { Err(no_picture()) } else { Ok(None) };
        }
        self.record.instance(&head);
        let workshop = self.server.0.kept.workshop.clone();
        let drawing = Drawing::new(workshop, &head, asked, media_type);
        let drawn = drawing.frames(Frames::Some(vec![self.frame])).file(&mut body).await;
        Rest::new(objects, body).let_it_end();
        match drawn {
            Ok(file) => Ok(Some(Thumbnail { head, file })),
            Err(Broken::Frames(FrameError::NoPixelData | FrameError::NoGeometry | FrameError::Video)) => {
                Err(no_picture())
            }
            Err(Broken::Picture(why)) if !matches!(why, NotDrawn::Lost(_)) => {
                tracing::debug!("there is no thumbnail: {why}");
                Err(no_picture())
            }
            Err(broken) => Err(Problem::broken(self.archive.name(), broken)),
        }
    }
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

fn may_have_images(series: &DataSet) -> bool {
    series.string(tags::MODALITY).is_none_or(has_images)
}

fn may_be_image(instance: &DataSet) -> bool {
    let class = instance.uid(tags::SOP_CLASS_UID);
    let class = class.as_ref().map_or("", Uid::as_str).strip_prefix(STORAGE).unwrap_or_default();
    !CLASSES_WITHOUT_IMAGES.iter().any(|beginning| match beginning.ends_with('.') {
        true => class.starts_with(beginning),
        false => class == *beginning,
    })
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
        for class in ["88.11", "11.1", "104.1", "9.1.1", "66.1", "481.3"] {
            assert!(!of_class(&format!("{STORAGE}{class}")), "{class}");
        }
        let mut series = DataSet::new();
        assert!(may_have_images(&series));
        series.set_str(tags::MODALITY, VR::CS, "SR");
        assert!(!may_have_images(&series));
    }
}
