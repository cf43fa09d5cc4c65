//! Rude behaviour on demand: what real archives were seen doing, and what none should.

use std::fmt;
use std::mem::discriminant;
use std::str::FromStr;
use std::time::Duration;

/// One line of the list of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultKind {
    /// How it is written: `name`, or `name:N` where it takes a number.
    pub name: &'static str,
    /// The number when none is written; `None` where the fault takes none.
    pub default: Option<u32>,
    /// What happens.
    pub doc: &'static str,
}

/// The text names no fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no such fault: {0}; see `gantry pacs --help`")]
pub struct UnknownFault(String);

macro_rules! faults {
    ($( $(#[doc = $doc:literal])+ $variant:ident $(($number:ty = $default:literal))? => $name:literal, )+) => {
        /// A rude behaviour of the archive. Objects and matches are counted from 1.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Fault {
            $( $(#[doc = $doc])+ $variant $(($number))?, )+
        }

        impl Fault {
            /// Every fault there is.
            pub const KINDS: &[FaultKind] = &[
                $( FaultKind {
                    name: $name,
                    default: faults!(@default $($default)?),
                    doc: concat!($($doc),+),
                }, )+
            ];
        }

        impl FromStr for Fault {
            type Err = UnknownFault;

            /// Takes `name` or `name:N`, N in decimal or, after `0x`, in hexadecimal digits.
            fn from_str(text: &str) -> Result<Self, UnknownFault> {
                let (name, number) = parts(text)?;
                match name {
                    $( $name => {
                        let takes_number = false $(|| { let _: $number = $default; true })?;
                        if number.is_some() && !takes_number {
                            return Err(UnknownFault(text.to_owned()));
                        }
                        Ok(Self::$variant $((number.unwrap_or($default as $number)))?)
                    } )+
                    _ => Err(UnknownFault(text.to_owned())),
                }
            }
        }

        impl fmt::Display for Fault {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let number: Option<u32> = self.number();
                let name = match self {
                    $( faults!(@pattern $variant $($number)?) => $name, )+
                };
                match number {
                    Some(number) => write!(f, "{name}:{number}"),
                    None => f.write_str(name),
                }
            }
        }

        impl Fault {
            /// The fault's number, where it has one.
            pub fn number(&self) -> Option<u32> {
                match self {
                    $( faults!(@number_pattern $variant number $($number)?) =>
                        faults!(@number_value number $($number)?), )+
                }
            }
        }
    };
    (@default) => { None };
    (@default $default:literal) => { Some($default) };
    (@pattern $variant:ident) => { Self::$variant };
    (@pattern $variant:ident $number:ty) => { Self::$variant(_) };
    (@number_pattern $variant:ident $n:ident) => { Self::$variant };
    (@number_pattern $variant:ident $n:ident $number:ty) => { Self::$variant($n) };
    (@number_value $n:ident) => { None };
    (@number_value $n:ident $number:ty) => { Some(*$n) };
}

faults! {
    /// Associations are refused for good.
    Refuse => "refuse",
    /// Associations are refused for now: a local limit is reached.
    RefuseTransient => "refuse-transient",
    /// After N associations all further ones are refused for now.
    RefuseAfter(u32 = 1) => "refuse-after",
    /// Connections are closed in answer to the association request.
    CloseOnAssociate => "close-on-associate",
    /// Association requests are never answered.
    NoAnswer => "no-answer",
    /// Association requests are answered with garbage.
    GarbageAnswer => "garbage-answer",
    /// Association requests are answered with half a PDU, then silence.
    HalfAnswer => "half-answer",
    /// An association that has served something and then been idle for N ms is closed.
    CloseIdle(u32 = 100) => "close-idle",
    /// An association that has served something and then been idle for N ms is aborted.
    AbortIdle(u32 = 100) => "abort-idle",
    /// A-RELEASE is never answered.
    NoRelease => "no-release",

    /// Garbage in place of message N of an operation.
    Garbage(u32 = 1) => "garbage",
    /// Message N of an operation is a PDU of unknown type.
    UnknownPdu(u32 = 1) => "unknown-pdu",
    /// Message N of an operation claims a PDU length of 4 GiB.
    Pdu4GiB(u32 = 1) => "pdu-4gib",
    /// Message N of an operation has a PDV of length 0.
    PdvLength0(u32 = 1) => "pdv-length-0",
    /// Message N of an operation has a PDV of length 1.
    PdvLength1(u32 = 1) => "pdv-length-1",
    /// Message N of an operation comes in a presentation context that was not accepted.
    OtherContext(u32 = 1) => "other-context",
    /// Half a PDU in place of message N of an operation, then silence.
    HalfPdu(u32 = 1) => "half-pdu",
    /// Message N of an operation has a data set that its command does not announce.
    UnannouncedDataSet(u32 = 1) => "unannounced-data-set",
    /// Message N of an operation answers a message ID that nobody used.
    WrongMessageId(u32 = 1) => "wrong-message-id",
    /// The final response comes twice.
    AfterFinal => "after-final",

    /// C-ECHO fails with status N.
    EchoFailure(u32 = 0x0110) => "echo-failure",
    /// C-FIND fails at once, with status N.
    FindFailure(u32 = 0xA700) => "find-failure",
    /// C-FIND fails after N matches, with status A700.
    FindFailureAfter(u32 = 1) => "find-failure-after",
    /// C-FIND falls silent after N matches.
    FindStallAfter(u32 = 1) => "find-stall-after",
    /// The association is aborted after N matches.
    FindAbortAfter(u32 = 1) => "find-abort-after",
    /// The connection is closed after N matches.
    FindCloseAfter(u32 = 1) => "find-close-after",
    /// C-FIND ends with success after N matches, as archives do that cap their results without a word.
    FindCap(u32 = 100) => "find-cap",
    /// The numbers of related objects, as 0020,1209, are told N too low.
    FindTellsFewer(u32 = 1) => "find-tells-fewer",
    /// N ms pass before each match.
    FindSlow(u32 = 10) => "find-slow",
    /// C-STORE fails with status N.
    StoreFailure(u32 = 0xA700) => "store-failure",
    /// The C-STORE of object N, counted over all that come, fails with status A700.
    StoreFailureAt(u32 = 1) => "store-failure-at",
    /// Objects are stored with the warning status N.
    StoreWarning(u32 = 0xB000) => "store-warning",
    /// N ms pass before each object is answered.
    StoreSlow(u32 = 100) => "store-slow",
    /// The final response, of status N, comes in the middle of the object.
    StoreEarly(u32 = 0xA700) => "store-early",
    /// C-STORE is never answered.
    StoreStall => "store-stall",
    /// Nothing more is read in the middle of stored object N.
    StoreDeafIn(u32 = 1) => "store-deaf-in",
    /// The association is aborted in the middle of stored object N.
    StoreAbortIn(u32 = 1) => "store-abort-in",
    /// The connection is closed in the middle of stored object N.
    StoreCloseIn(u32 = 1) => "store-close-in",
    /// No storage class is accepted.
    StoreNoClass => "store-no-class",
    /// Storage classes are accepted in Implicit VR Little Endian only.
    StoreOnlyImplicit => "store-only-implicit",
    /// Storage classes are accepted in Explicit and Implicit VR Little Endian only.
    StoreOnlyNative => "store-only-native",
    /// Stored objects of any size are answered with success and thrown away.
    StoreDiscard => "store-discard",
    /// C-GET and C-MOVE fail at once, with status N.
    RetrieveFailure(u32 = 0xA702) => "retrieve-failure",

    /// C-MOVE: the final response comes before the first object.
    FinalFirst => "final-first",
    /// The last object comes N ms late.
    LastLate(u32 = 20_000) => "last-late",
    /// N ms pass before each object.
    ObjectsSlow(u32 = 100) => "objects-slow",
    /// No response has sub-operation counters.
    NoCounters => "no-counters",
    /// The counters of pending responses go backwards.
    CountersBackwards => "counters-backwards",
    /// No pending responses to C-GET and C-MOVE.
    NoPending => "no-pending",
    /// C-MOVE: objects come without Move Originator.
    NoOriginator => "no-originator",
    /// C-MOVE: objects come with the Move Originator Message ID N, whatever the request's was.
    WrongOriginatorId(u32 = 1) => "wrong-originator-id",
    /// C-MOVE: objects come with the archive's own title as Move Originator.
    WrongOriginatorTitle => "wrong-originator-title",

    /// Object N is left out without a word, and not counted.
    LeaveOut(u32 = 1) => "leave-out",
    /// Object N is not sent, and counted as failed.
    FailObject(u32 = 1) => "fail-object",
    /// An object of another study comes after object N.
    Foreign(u32 = 1) => "foreign",
    /// Object N comes twice.
    Twice(u32 = 1) => "twice",
    /// Object N comes twice, the second time with other bytes.
    TwiceDifferent(u32 = 1) => "twice-different",
    /// Object N is announced with another SOP Instance UID than it has.
    OtherInstance(u32 = 1) => "other-instance",
    /// Object N is in another transfer syntax than its presentation context says.
    OtherSyntax(u32 = 1) => "other-syntax",
    /// The associations are aborted after N objects.
    AbortAfter(u32 = 1) => "abort-after",
    /// The associations are aborted in the middle of object N.
    AbortIn(u32 = 1) => "abort-in",
    /// The connections are closed after N objects.
    CloseAfter(u32 = 1) => "close-after",
    /// The connections are closed in the middle of object N.
    CloseIn(u32 = 1) => "close-in",
    /// Nothing more comes after N objects, not even responses.
    StallAfter(u32 = 1) => "stall-after",
    /// Nothing more comes in the middle of object N.
    StallIn(u32 = 1) => "stall-in",
    /// C-CANCEL is ignored.
    IgnoreCancel => "ignore-cancel",
    /// The association is aborted N ms after a C-CANCEL, which is otherwise ignored.
    AbortOnCancel(u32 = 20_000) => "abort-on-cancel",
}

fn parts(text: &str) -> Result<(&str, Option<u32>), UnknownFault> {
    let Some((name, number)) = text.split_once(':') else { return Ok((text, None)) };
    let parsed = match number.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => number.parse(),
    };
    Ok((name, Some(parsed.map_err(|_| UnknownFault(text.to_owned()))?)))
}

/// The faults that an operation has, as they were when it began.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn new(faults: &[Fault]) -> Self {
        Self(faults.to_vec())
    }

    pub(super) fn has(&self, fault: Fault) -> bool {
        self.0.contains(&fault)
    }

    /// The number of the fault of this kind, as in `number(Fault::LastLate)`.
    pub(super) fn number(&self, kind: fn(u32) -> Fault) -> Option<u32> {
        self.0.iter().find(|fault| discriminant(*fault) == discriminant(&kind(0)))?.number()
    }

    pub(super) fn milliseconds(&self, kind: fn(u32) -> Fault) -> Option<Duration> {
        self.number(kind).map(|ms| Duration::from_millis(ms.into()))
    }

    /// The fault's number as a status.
    pub(super) fn status(&self, kind: fn(u32) -> Fault) -> Option<u16> {
        self.number(kind).map(|status| u16::try_from(status).unwrap_or(u16::MAX))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Fault> {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_written_and_read_by_its_name() {
        for kind in Fault::KINDS {
            let fault: Fault = kind.name.parse().unwrap();
            assert_eq!(fault.number(), kind.default, "{}", kind.name);
            assert_eq!(fault.to_string().parse(), Ok(fault));
            assert!(!kind.doc.is_empty());
        }
        assert_eq!("last-late:5".parse(), Ok(Fault::LastLate(5)));
        assert_eq!("find-failure:0xC000".parse(), Ok(Fault::FindFailure(0xC000)));
        for bad in ["", "nonsense", "refuse:3", "last-late:", "last-late:x", "last-late:-1"] {
            assert!(bad.parse::<Fault>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_fault_is_found_by_its_kind() {
        let faults = Faults::new(&[Fault::NoPending, Fault::LastLate(7)]);
        assert!(faults.has(Fault::NoPending) && !faults.has(Fault::NoCounters));
        assert_eq!(faults.number(Fault::LastLate), Some(7));
        assert_eq!(faults.number(Fault::AbortAfter), None);
    }
}
