//! Why a frame is not decoded, or not encoded.

use std::borrow::Cow;

/// Why there is no frame, in words that may go into a log or an answer: they have nothing of the image in them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The codestream breaks a rule of its format, or ends too soon: the fault of who wrote it.
    #[error("the codestream is damaged: {0}")]
    Damaged(Cow<'static, str>),
    /// The codestream may be right, but has something that is not built here.
    #[error("not supported: {0}")]
    Unsupported(Cow<'static, str>),
    /// The codestream is of another image than the data set describes.
    #[error("the codestream and the data set do not agree: {0}")]
    Disagrees(Cow<'static, str>),
    /// Decoding it would take more memory than a frame may.
    #[error("too large: {0}")]
    TooLarge(Cow<'static, str>),
    /// The decoder failed in a way it should not: ours, or that of a library.
    #[error("the decoder failed")]
    Failed,
}

impl Refusal {
    pub(super) fn damaged(why: impl Into<Cow<'static, str>>) -> Self {
        Self::Damaged(why.into())
    }

    pub(super) fn unsupported(why: impl Into<Cow<'static, str>>) -> Self {
        Self::Unsupported(why.into())
    }

    pub(super) fn disagrees(why: impl Into<Cow<'static, str>>) -> Self {
        Self::Disagrees(why.into())
    }
}
