//! What an examination finds: a stable code, how bad it is, what it means and what to do.

use serde::{Deserialize, Serialize};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing; nothing has to be done.
    Note,
    /// It works, and something should be done.
    Warning,
    /// It does not work.
    Error,
}

/// What is looked at, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// The archive's name becomes addresses.
    Resolve,
    /// A TCP connection.
    Connect,
    /// TLS on it.
    Tls,
    /// An association (PS3.8 7.1).
    Association,
    /// C-ECHO, and how long an exchange takes.
    Echo,
    /// What the archive accepts.
    Contexts,
    /// C-FIND.
    Find,
    /// How text is encoded.
    Charset,
    /// C-GET.
    Get,
    /// C-MOVE to us: whether the way back is open.
    Move,
    /// What can be done with all this.
    Retrieval,
}

impl Step {
    /// What it is called in a table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "TLS",
            Self::Association => "association",
            Self::Echo => "C-ECHO",
            Self::Contexts => "contexts",
            Self::Find => "C-FIND",
            Self::Charset => "character set",
            Self::Get => "C-GET",
            Self::Move => "C-MOVE",
            Self::Retrieval => "retrieval",
        }
    }
}

/// Makes the codes, each with its text and its step, and how bad it is unless something makes it better or worse.
macro_rules! codes {
    ($($name:ident $text:literal $step:ident $level:ident,)*) => {
        /// What was found. The text of a code never changes its meaning; later versions may have more of them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[expect(missing_docs, reason = "each is described in docs/doctor.md, which a test compares")]
        pub enum Code {
            $(#[serde(rename = $text)] $name,)*
        }

        impl Code {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its stable text.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            /// The step that finds it.
            pub fn step(self) -> Step {
                match self { $(Self::$name => Step::$step),* }
            }

            /// How bad it mostly is.
            pub fn level(self) -> Level {
                match self { $(Self::$name => Level::$level),* }
            }
        }
    };
}

codes! {
    Resolved "resolved" Resolve Ok,
    NameUnknown "name-unknown" Resolve Error,
    Connected "connected" Connect Ok,
    ConnectRefused "connect-refused" Connect Error,
    ConnectTimeout "connect-timeout" Connect Error,
    ConnectFailed "connect-failed" Connect Error,
    TlsAgreed "tls-agreed" Tls Ok,
    TlsNotSpoken "tls-not-spoken" Tls Error,
    TlsRequired "tls-required" Tls Error,
    TlsUntrusted "tls-untrusted" Tls Error,
    TlsFailed "tls-failed" Tls Error,
    Associated "associated" Association Ok,
    CalledTitleRefused "called-title-refused" Association Error,
    CallingTitleRefused "calling-title-refused" Association Error,
    AssociationLimit "association-limit" Association Error,
    AssociationRejected "association-rejected" Association Error,
    AssociationAborted "association-aborted" Association Error,
    AssociationTimeout "association-timeout" Association Error,
    NotDicom "not-dicom" Association Error,
    Echoed "echoed" Echo Ok,
    EchoFailed "echo-failed" Echo Warning,
    SlowExchange "slow-exchange" Echo Note,
    QueryContexts "query-contexts" Contexts Ok,
    NoFind "no-find" Contexts Error,
    NoRetrieve "no-retrieve" Contexts Error,
    PatientRootOnly "patient-root-only" Contexts Note,
    StorageContexts "storage-contexts" Contexts Ok,
    StorageRefused "storage-refused" Contexts Note,
    ContextsRefused "contexts-refused" Contexts Note,
    FoundStudies "found-studies" Find Ok,
    NoStudies "no-studies" Find Warning,
    StudyUnknown "study-unknown" Find Error,
    FindFailed "find-failed" Find Error,
    CancelIgnored "cancel-ignored" Find Note,
    FoundPatient "found-patient" Find Ok,
    PatientFindFailed "patient-find-failed" Find Note,
    FoundSeries "found-series" Find Ok,
    SeriesFindFailed "series-find-failed" Find Error,
    FoundInstances "found-instances" Find Ok,
    InstanceFindFailed "instance-find-failed" Find Warning,
    Relational "relational" Find Ok,
    HierarchicalOnly "hierarchical-only" Find Note,
    CharsetGood "charset-good" Charset Ok,
    CharsetMissing "charset-missing" Charset Warning,
    CharsetWrong "charset-wrong" Charset Warning,
    GetWorks "get-works" Get Ok,
    GetRefused "get-refused" Get Note,
    GetFailed "get-failed" Get Warning,
    GetUntried "get-untried" Get Note,
    MoveWorks "move-works" Move Ok,
    DestinationUnknown "destination-unknown" Move Error,
    ReturnBlocked "return-blocked" Move Error,
    ReturnRefusedHere "return-refused-here" Move Error,
    ReturnElsewhere "return-elsewhere" Move Error,
    MoveFailed "move-failed" Move Error,
    MoveRefused "move-refused" Move Note,
    MoveUntried "move-untried" Move Note,
    ListenLoopback "listen-loopback" Move Error,
    PortOfGantry "port-of-gantry" Move Ok,
    PortTaken "port-taken" Move Error,
    BridgeUnaware "bridge-unaware" Move Warning,
    RetrievalWorks "retrieval-works" Retrieval Ok,
    RetrievalImpossible "retrieval-impossible" Retrieval Error,
    RetrievalUntried "retrieval-untried" Retrieval Warning,
    Rate "rate" Retrieval Ok,
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The step that found it.
    pub step: Step,
    /// What it is.
    pub code: Code,
    /// How bad it is.
    pub level: Level,
    /// What was seen: no patient's name, and no text that the archive has chosen but for its error comments.
    pub what: String,
    /// What that means; empty where nothing needs to be said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub meaning: String,
    /// What to do about it; empty where there is nothing to be done.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub remedy: String,
    /// How long it took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub milliseconds: Option<f64>,
}

impl Finding {
    /// A finding as bad as its code mostly is.
    pub fn new(code: Code, what: impl Into<String>) -> Self {
        let (meaning, remedy, milliseconds) = (String::new(), String::new(), None);
        Self {
            step: code.step(),
            code,
            level: code.level(),
            what: what.into(),
            meaning,
            remedy,
            milliseconds,
        }
    }

    /// What it means.
    #[must_use]
    pub fn means(self, meaning: impl Into<String>) -> Self {
        Self { meaning: meaning.into(), ..self }
    }

    /// What to do.
    #[must_use]
    pub fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: remedy.into(), ..self }
    }

    /// How long it took.
    #[must_use]
    pub fn took(self, time: std::time::Duration) -> Self {
        Self { milliseconds: Some((time.as_secs_f64() * 1e5).round() / 1e2), ..self }
    }

    /// As bad as this.
    #[must_use]
    pub fn at(self, level: Level) -> Self {
        Self { level, ..self }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_has_a_row_in_the_documentation_and_every_row_a_code() {
        let text = include_str!("../../docs/doctor.md");
        let rows: BTreeSet<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(code, _)| code))
            .filter(|code| !code.contains(' '))
            .collect();
        let codes: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(codes.len(), Code::ALL.len(), "a text stands there twice");
        assert_eq!(rows, codes);
    }

    #[test]
    fn a_finding_is_read_back_as_it_was_written() {
        let finding = Finding::new(Code::ReturnBlocked, "nothing came").means("closed").remedy("open");
        let text = serde_json::to_string(&finding).unwrap();
        assert!(text.contains(r#""code":"return-blocked""#) && text.contains(r#""level":"error""#), "{text}");
        assert_eq!(serde_json::from_str::<Finding>(&text).unwrap(), finding);
    }
}
