//! What failed, what that means, and what to do about it.

use crate::archive::{Error, Kind};
use crate::dimse::status;
use crate::front::http::error::{public_text, remedy};

/// A failure in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Explained {
    /// What happened.
    pub(super) what: String,
    /// What that means.
    pub(super) meaning: String,
    /// What to do.
    pub(super) remedy: Option<String>,
}

impl Explained {
    /// Of an archive's failure, without what the archive may have said of a patient.
    pub(super) fn of(error: &Error) -> Self {
        let remedy = remedy(error).map(sentence);
        Self { what: sentence(public_text(error.clone())), meaning: meaning(&error.kind), remedy }
    }
}

/// With a capital letter and a full stop.
pub(super) fn sentence(text: impl AsRef<str>) -> String {
    let text = text.as_ref().trim();
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return String::new() };
    let end = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    let text = format!("{}{}{end}", first.to_uppercase(), chars.as_str());
    quoted(&text)
}

/// With names in quotation marks, as people write, in place of those of code.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for (index, part) in text.split('`').enumerate() {
        quoted.push_str(match index {
            0 => "",
            odd if odd % 2 == 1 => "“",
            _ => "”",
        });
        quoted.push_str(part);
    }
    quoted
}

fn meaning(kind: &Kind) -> String {
    match kind {
        Kind::Status { code, .. } => {
            return sentence(format!("{} (PS3.4, PS3.7 Annex C)", status::meaning(*code)));
        }
        Kind::NotFound => "It was asked for what it does not, or no longer, have.",
        Kind::BadKeys(_) => "The search had a key that archives cannot match on.",
        Kind::NotAcceptable => "What it holds is encoded in a way that nobody asked for.",
        Kind::Unsupported(_) => "It has no such service, or does not offer it to us.",
        Kind::QueueFull | Kind::QueueTimeout => {
            "All associations that it may have are in use, and more requests wait than can be served in time."
        }
        Kind::Unreachable(_) => {
            "No connection came about: it is down, its address is wrong, or something in between does not let us pass."
        }
        Kind::Tls(_) => "A connection came about, but nobody can be sure who is at its other end.",
        Kind::BreakerOpen(_) => {
            "It let requests wait in vain several times in a row. They fail at once now, in place of waiting, until it \
             answers again, which is tried all the time."
        }
        Kind::Rejected { transient: true, .. } => "It is there, but takes no more associations for now.",
        Kind::Rejected { transient: false, .. } => {
            "It is there, but does not want to talk to us under these AE titles."
        }
        Kind::Timeout(_) => "It took the connection or the request and then said nothing for too long.",
        Kind::Aborted(_) => "It hung up, or the connection was lost, in the middle of its work.",
        Kind::Protocol(_) | Kind::Conflict(_) => "It sent what DICOM does not allow, and was not believed.",
        Kind::Incomplete { .. } => {
            "It said that there is more than it sent, also when it was asked once more for what was missing."
        }
        Kind::ClassRefused(_) => "It does not store this kind of object.",
        Kind::SyntaxRefused(_) => "It does not store objects that are encoded like this.",
        Kind::SourceBroke => "What was to be stored was not whole, or no DICOM object.",
        Kind::NotAuthorized => "Whoever stored it may not store it there.",
        Kind::ReaderStalled => "Whoever asked did not take what came.",
        Kind::Cancelled => "Somebody ended it, or nobody waited for it any more.",
        Kind::TooManyMatches => "It found more than can be shown.",
        Kind::ShuttingDown => "The bridge is about to end.",
        Kind::DriverDied => "This is a defect of the bridge; its log has more.",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_it_means_and_what_to_do_and_nothing_of_a_patient() {
        let comment = Some("no patient Doe^John".to_owned());
        let kind = Kind::Status { operation: "C-MOVE", code: 0xA801, comment, client_keys: false };
        let explained = Explained::of(&Error::new("main", kind));
        assert_eq!(explained.what, "Archive “main” answered C-MOVE with status A801.");
        assert!(explained.meaning.starts_with("Move destination unknown"), "{explained:?}");
        assert!(explained.remedy.as_ref().unwrap().contains("move destination"), "{explained:?}");
        assert!(!format!("{explained:?}").contains("Doe"));
    }

    #[test]
    fn advice_that_knows_better_comes_first() {
        let error = Error::new("main", Kind::Unreachable("refused".into())).advise("plug it in");
        assert_eq!(Explained::of(&error).remedy.as_deref(), Some("Plug it in."));
    }
}
