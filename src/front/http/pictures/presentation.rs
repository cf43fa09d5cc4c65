//! Presentation states, which WADO-URI names beside an image (PS3.18 9.5.11).

use std::sync::Arc;

use http::StatusCode;

use crate::archive::{Form, Retrieve};
use crate::caller::Priority;
use crate::dicom::dataset::DataSet;
use crate::dicom::query::Target;
use crate::dicom::transfer_syntax::layout;
use crate::front::http::body::Broken;
use crate::front::http::context::Context;
use crate::front::http::error::Problem;
use crate::front::http::parts::Rest;
use crate::front::http::wado::{Begun, begin};
use crate::image::render::presentation::{COLOR, GRAYSCALE};

/// Longest presentation state that is read, in bytes: one with a bitmap for the largest image.
const LONGEST: usize = 8 << 20;

/// The presentation state that is this instance.
///
/// # Errors
/// It is another kind of object, or cannot be had or read.
pub(in crate::front::http) async fn state(
    context: &Context,
    target: Target,
) -> Result<Arc<DataSet>, Problem> {
    let retrieve = Retrieve::new(target, Form::Native);
    let Begun { first, rest } = begin(context, Priority::Interactive, retrieve).await?;
    let (head, mut body) = (first.head, first.body);
    if ![GRAYSCALE, COLOR].contains(&head.sop_class.as_str()) {
        Rest::new(rest.objects, body).let_it_end();
        let detail = "`presentationUID` is no softcopy presentation state, of grey or of colours";
        return Err(Problem::client(StatusCode::BAD_REQUEST, detail));
    }
    let broken = |broken| Problem::broken(context.archive.name(), broken);
    let mut bytes = Vec::new();
    while let Some(piece) = body.next().await {
        bytes.extend_from_slice(&piece.map_err(|error| broken(Broken::Object(error)))?);
        if bytes.len() > LONGEST {
            let detail = format!("the presentation state is longer than {} MiB", LONGEST >> 20);
            return Err(Problem::client(StatusCode::PAYLOAD_TOO_LARGE, detail));
        }
    }
    Rest::new(rest.objects, body).let_it_end();
    let assumed = rest.assumed_charset.as_ref();
    let parsed = DataSet::parse(&bytes, layout(&head.transfer_syntax), assumed);
    parsed.map(|parsed| Arc::new(parsed.data_set)).map_err(|error| broken(Broken::Encoding(error)))
}
