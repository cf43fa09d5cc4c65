//! Why a TLS connection did not come about, or ended, in words that say what to do.

use std::fmt;
use std::io;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

/// What the library says of a certificate that is marked as an authority's, as those are that `openssl req -x509` has sign
/// themselves; it has no variant of its own for that.
const OF_AN_AUTHORITY: &str = "CaUsedAsEndEntity";

/// What is wrong with TLS between a peer and us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What happened.
    pub what: String,
    /// What a person should do next: one sentence without its full stop.
    pub advice: Option<String>,
    /// The handshake was not finished in time.
    pub is_timeout: bool,
    /// The peer's certificate may be a good one, and nobody whom we trust vouches for it.
    pub is_untrusted: bool,
}

/// Which end we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Client,
    Server,
}

impl Failure {
    /// The failure within an error of a connection, if it is one of TLS.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    pub(super) fn new(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..Self::without_advice(what) }
    }

    fn without_advice(what: impl Into<String>) -> Self {
        Self { what: what.into(), advice: None, is_timeout: false, is_untrusted: false }
    }

    /// The handshake took too long.
    pub(super) fn late(end: End) -> Self {
        let advice = match end {
            End::Client => {
                "check that TLS is spoken at this port of the peer, or raise the time for connections"
            }
            End::Server => "check what connects from there",
        };
        Self { is_timeout: true, ..Self::new("the peer did not answer the TLS handshake in time", advice) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        self.advice.as_ref().map_or(Ok(()), |advice| write!(f, ": {advice}"))
    }
}

impl std::error::Error for Failure {}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        let kind = if failure.is_timeout { io::ErrorKind::TimedOut } else { io::ErrorKind::InvalidData };
        Self::new(kind, failure)
    }
}

/// An error of the handshake, or of what was said later, in words; what is none of TLS stays as it is.
pub(super) fn explain(error: io::Error, end: End) -> io::Error {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match cause {
        Some(cause) => failure(cause, end).into(),
        None => error,
    }
}

/// As [`explain`], for what ends a handshake.
pub(super) fn explain_handshake(error: io::Error, end: End) -> io::Error {
    let is_cut = matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset);
    match end {
        End::Client if is_cut => Failure::new(
            "the peer closed the connection during the TLS handshake",
            "check that TLS is spoken at this port of the peer, and whether it wants a client certificate",
        )
        .into(),
        _ => explain(error, end),
    }
}

fn failure(error: &Error, end: End) -> Failure {
    match error {
        Error::InvalidCertificate(error) => of_certificate(error, end),
        Error::InvalidCertRevocationList(error) => Failure::new(
            format!(
                "the list of revoked certificates of the authority that signed the peer's is no good ({error:?})"
            ),
            "fetch it again from that authority, which must be allowed to sign lists (key usage cRLSign)",
        ),
        Error::NoCertificatesPresented => {
            Failure::new("the peer showed no certificate", "give the peer a certificate to show")
        }
        Error::AlertReceived(alert) => of_alert(*alert, end),
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => {
            let what = "the peer does not speak TLS here: it sent something else";
            let advice = match end {
                End::Client => {
                    "turn TLS on at this port of the peer, or give the port where it is on, or configure no TLS towards it"
                }
                End::Server => "turn TLS on at the peer, or let it come to a port without TLS",
            };
            Failure::new(what, advice)
        }
        Error::PeerIncompatible(how) => of_incompatible(how),
        other => Failure::without_advice(format!("TLS: {other}")),
    }
}

fn of_incompatible(how: &PeerIncompatible) -> Failure {
    let what = match how {
        PeerIncompatible::Tls12NotOfferedOrEnabled | PeerIncompatible::SupportedVersionsExtensionRequired => {
            "the peer speaks neither TLS 1.2 nor 1.3".to_owned()
        }
        PeerIncompatible::NoCipherSuitesInCommon => {
            "the peer offers no cipher suite with forward secrecy and authenticated encryption".to_owned()
        }
        other => format!("the peer's TLS does not fit to ours ({other:?})"),
    };
    Failure::new(what, "update the peer, or allow TLS 1.2 with ECDHE and AES-GCM there (BCP 195)")
}

fn of_certificate(error: &CertificateError, end: End) -> Failure {
    let (peer, trust) = match end {
        End::Client => ("the peer's certificate", "`ca`"),
        End::Server => ("the client's certificate", "`client_ca`"),
    };
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Failure::new(
            format!("{peer} has expired"),
            "renew it; if it is new, check the clocks of both machines",
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Failure::new(format!("{peer} is not valid yet"), "check the clocks of both machines")
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            let advice = format!(
                "put the certificate of the authority that signed it, or itself, into the file of {trust}"
            );
            let what = format!("{peer} is signed by nobody whom we trust");
            Failure { is_untrusted: true, ..Failure::new(what, advice) }
        }
        CertificateError::Other(cause) if cause.to_string().contains(OF_AN_AUTHORITY) => {
            let what = format!("{peer} has signed itself, or is an authority's own, and is not listed here");
            let advice = format!("if it is the right one, put it itself into the file of {trust}");
            Failure { is_untrusted: true, ..Failure::new(what, advice) }
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let (expected, presented) = (expected.to_str(), listed(presented));
            Failure::new(
                format!("{peer} is not for {expected} but for {presented}"),
                "connect to it by a name in its certificate, or say in `server_name` which of them it has",
            )
        }
        CertificateError::NotValidForName => {
            Failure::new(format!("{peer} is for another name"), "say in `server_name` which one it has")
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => Failure::new(
            format!("{peer} is not for this purpose"),
            match end {
                End::Client => "have one issued whose extended key usage has serverAuth",
                End::Server => "have one issued whose extended key usage has clientAuth",
            },
        ),
        CertificateError::Revoked => Failure::new(
            format!("{peer} has been revoked by the authority that signed it"),
            "have another one issued",
        ),
        CertificateError::UnknownRevocationStatus => {
            let lists = match end {
                End::Client => "`revoked`",
                End::Server => "`client_revoked`",
            };
            Failure::new(
                format!("{peer} is signed by an authority of which the file of {lists} has no list"),
                "put the authority's list (CRL) into that file, of each authority up to the root",
            )
        }
        CertificateError::BadEncoding | CertificateError::UnhandledCriticalExtension => {
            Failure::new(format!("{peer} cannot be read ({error:?})"), "have another one issued")
        }
        CertificateError::ExpiredRevocationList | CertificateError::ExpiredRevocationListContext { .. } => {
            Failure::new(
                format!("the list of revoked certificates that covers {peer} is past its time"),
                "fetch it again from the authority that signed it",
            )
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => Failure::new(
            format!("{peer} is signed in a way that is no longer safe, or with a key of an unusual kind"),
            "have another one issued, with SHA-256 and RSA of 2048 bits or more, or ECDSA P-256",
        ),
        other => Failure::new(format!("{peer} cannot be used ({other:?})"), "have another one issued"),
    }
}

/// The names that a certificate holds.
fn listed(names: &[String]) -> String {
    const MOST: usize = 5;
    match names.len() {
        0 => "no host at all (it has no Subject Alternative Name)".to_owned(),
        1..=MOST => names.join(", "),
        more => format!("{} and {} more", names[..MOST].join(", "), more - MOST),
    }
}

fn of_alert(alert: AlertDescription, end: End) -> Failure {
    use AlertDescription as Alert;
    let ours = match end {
        End::Client => "our client certificate",
        End::Server => "our certificate",
    };
    match alert {
        Alert::CertificateRequired => {
            let advice = "configure `certificate` and `key` towards it";
            Failure::new("the peer wants a client certificate, and we have none", advice)
        }
        Alert::UnknownCA => Failure::new(
            format!("the peer does not trust the authority that signed {ours}"),
            "make that authority known to the peer",
        ),
        Alert::CertificateExpired => {
            Failure::new(format!("the peer says that {ours} has expired"), "renew it")
        }
        Alert::BadCertificate
        | Alert::CertificateUnknown
        | Alert::CertificateRevoked
        | Alert::UnsupportedCertificate
        | Alert::AccessDenied => {
            let advice = match end {
                End::Client => "check `certificate` and `key` towards it, and whom the peer trusts",
                End::Server => "check whom the peer trusts, and by which name it connects",
            };
            Failure::new(format!("the peer refuses {ours} ({alert:?})"), advice)
        }
        Alert::ProtocolVersion | Alert::HandshakeFailure | Alert::InsufficientSecurity => {
            let advice = match end {
                End::Client => {
                    "allow TLS 1.2 or 1.3 with ECDHE and AES-GCM there (BCP 195), and see whether it wants a client certificate"
                }
                End::Server => "allow TLS 1.2 or 1.3 with ECDHE and AES-GCM there (BCP 195)",
            };
            Failure::new(format!("the peer ended the TLS handshake ({alert:?})"), advice)
        }
        other => Failure::without_advice(format!("the peer ended TLS ({other:?})")),
    }
}
