//! What the responses of a C-GET or C-MOVE say of its sub-operations. No I/O.
//!
//! A pending response has all four counters. The last one has no Number of Remaining Sub-operations, unless the client
//! cancelled (PS3.4 C.4.2.1.6 to C.4.2.1.9, C.4.3.1.5 to C.4.3.1.8); where sub-operations have failed its identifier is
//! the Failed SOP Instance UID List (PS3.4 C.4.2.1.4.2, C.4.3.1.3.2).

use bytes::Bytes;

use crate::archive::transfer::{self, Failure, Tally};
use crate::dicom::charset::QueryCharset;
use crate::dicom::dataset::DataSet;
use crate::dicom::transfer_syntax::Layout;
use crate::dicom::{Uid, VR, tags};
use crate::dimse::command::Command;
use crate::dimse::status::{self, Class};
use crate::front::dimse::status::of;

/// Most UIDs of a Failed SOP Instance UID List: some 4 MiB, which is as much as peers can be trusted to read.
const MOST_FAILED_UIDS: usize = 60_000;

/// How a retrieval ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// There is nothing more to come.
    Whole,
    /// The client cancelled.
    Cancelled,
    /// With a failure: the status that says so where nothing was delivered, and Error Comment.
    Failed(u16, Option<String>),
}

impl Ending {
    /// How the transfer for a request with this Command Field ended.
    pub(super) fn of(ending: transfer::Ending, field: u16) -> Self {
        let out_of_resources = |comment| Self::Failed(status::OUT_OF_RESOURCES_SUB_OPERATIONS, Some(comment));
        match ending {
            transfer::Ending::Whole => Self::Whole,
            transfer::Ending::Cancelled => Self::Cancelled,
            transfer::Ending::Failed(Failure::Archive(error)) => {
                let (code, comment) = of(&error, field);
                Self::Failed(code, comment)
            }
            transfer::Ending::Failed(Failure::Receiver(why)) => out_of_resources(why),
            transfer::Ending::Failed(Failure::Vanished(archive)) => {
                out_of_resources(format!("{archive}: no longer has the rest"))
            }
        }
    }
}

/// The numbers of sub-operations in a response. They have 16 bits: what is more is told as 65,535.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counters {
    remaining: Option<u16>,
    completed: u16,
    failed: u16,
    warning: u16,
}

/// What the last response says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Last {
    pub(super) status: u16,
    pub(super) counters: Counters,
    pub(super) comment: Option<String>,
    /// The instances that failed, as far as they can be named.
    pub(super) failed: Vec<Uid>,
}

/// What a pending response says: something remains, as long as there is no last one. `None`: all have ended that
/// are expected, and the last response is to say so.
pub(super) fn pending(tally: &Tally) -> Option<Counters> {
    (tally.done() != tally.expected()).then(|| under_way(tally))
}

/// What a pending response says while a sub-operation is under way: it remains.
pub(super) fn under_way(tally: &Tally) -> Counters {
    Counters::of(tally, 0, Some(tally.left().max(1)))
}

/// What the last response says. Where a failure ended the retrieval, what was still expected has failed.
pub(super) fn last(tally: &Tally, ending: Ending) -> Last {
    let failed = tally.named_failures().take(MOST_FAILED_UIDS).cloned().collect();
    let (ended, besides, comment) = match ending {
        Ending::Cancelled => {
            let counters = Counters::of(tally, 0, Some(tally.left()));
            return Last { status: status::CANCEL, counters, comment: None, failed };
        }
        Ending::Whole => (None, 0, None),
        Ending::Failed(status, comment) => {
            let is_failure = status::class(status) == Class::Failure;
            let status = if is_failure { status } else { status::OUT_OF_RESOURCES_SUB_OPERATIONS };
            (Some(status), tally.left(), comment)
        }
    };
    let status = match (tally.delivered(), tally.failed() + besides) {
        (0, failed) if failed > 0 || ended.is_some() => {
            ended.unwrap_or(status::OUT_OF_RESOURCES_SUB_OPERATIONS)
        }
        (_, failed) if failed > 0 || tally.warning() > 0 || ended.is_some() => status::SUB_OPERATIONS_WARNING,
        _ => status::SUCCESS,
    };
    let comment = comment.filter(|_| status != status::SUCCESS);
    Last { status, counters: Counters::of(tally, besides, None), comment, failed }
}

impl Counters {
    /// Those of a tally, with so many failures besides.
    fn of(tally: &Tally, besides: usize, remaining: Option<usize>) -> Self {
        let number = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
        Self {
            remaining: remaining.map(number),
            completed: number(tally.completed()),
            failed: number(tally.failed() + besides),
            warning: number(tally.warning()),
        }
    }

    /// Writes them into a response.
    pub(super) fn write(self, response: &mut Command) {
        response.remaining = self.remaining;
        response.completed = Some(self.completed);
        response.failed = Some(self.failed);
        response.warning = Some(self.warning);
    }
}

/// The identifier of a last response, without Specific Character Set; `None`: there is nothing to name, and no data set
/// then.
pub(super) fn identifier(failed: &[Uid], layout: Layout) -> Option<Bytes> {
    if failed.is_empty() {
        return None;
    }
    let mut list = DataSet::new();
    let uids = failed.iter().map(|uid| uid.as_str().to_owned()).collect();
    list.set_strings(tags::FAILED_SOP_INSTANCE_UID_LIST, VR::UI, uids);
    Some(list.encode(layout, QueryCharset::Auto).into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::archive::transfer::Outcome;

    fn uid(n: usize) -> Uid {
        format!("1.2.{n}").parse().unwrap()
    }

    fn tally(expected: usize, outcomes: &[Outcome]) -> Tally {
        let mut tally = Tally::default();
        tally.expect(expected);
        outcomes.iter().enumerate().for_each(|(n, outcome)| tally.count(&uid(n), *outcome));
        tally
    }

    use Outcome::{Completed, Failed, Warning};

    #[test]
    fn the_last_status_says_what_was_delivered() {
        let out_of_resources = || Ending::Failed(0xA700, Some("no more".into()));
        for (outcomes, ending, wanted) in [
            (&[Completed, Completed][..], Ending::Whole, 0x0000),
            (&[Completed, Failed], Ending::Whole, 0xB000),
            (&[Completed, Warning], Ending::Whole, 0xB000),
            (&[Warning, Failed], Ending::Whole, 0xB000),
            (&[Failed, Failed], Ending::Whole, 0xA702),
            (&[Completed], Ending::Cancelled, 0xFE00),
            (&[], Ending::Cancelled, 0xFE00),
            (&[Completed], out_of_resources(), 0xB000),
            (&[Failed], out_of_resources(), 0xA700),
            (&[], out_of_resources(), 0xA700),
            // What is no failure does not end what brought nothing well.
            (&[], Ending::Failed(0xB000, None), 0xA702),
            (&[], Ending::Whole, 0x0000),
        ] {
            let expected = if ending == Ending::Whole { 0 } else { 2 };
            let last = last(&tally(expected, outcomes), ending.clone());
            assert_eq!(last.status, wanted, "{outcomes:?} {ending:?}");
        }
    }

    #[test]
    fn only_pending_and_cancelled_responses_tell_what_remains() {
        let remaining =
            |expected| pending(&tally(expected, &[Completed, Failed])).map(|counters| counters.remaining);
        assert_eq!(remaining(5), Some(Some(3)));
        assert_eq!(remaining(1), Some(Some(1)), "it still runs");
        assert_eq!(remaining(2), None, "nothing remains, which is for the last response to say");
        assert_eq!(last(&tally(5, &[Completed]), Ending::Cancelled).counters.remaining, Some(4));
        for ending in [Ending::Whole, Ending::Failed(0xC000, None)] {
            assert_eq!(last(&tally(5, &[Completed]), ending).counters.remaining, None);
        }
    }

    #[test]
    fn hazard_what_did_not_come_has_failed_where_the_archive_broke_off() {
        let ending = Ending::Failed(0xA702, Some("it is gone".into()));
        let last = last(&tally(500, &[Completed; 50]), ending);
        assert_eq!((last.status, last.counters.completed, last.counters.failed), (0xB000, 50, 450));
        assert_eq!((last.comment.as_deref(), last.failed.len()), (Some("it is gone"), 0));
    }

    #[test]
    fn the_identifier_names_what_failed_and_nothing_else() {
        for layout in [Layout::ExplicitLe, Layout::ImplicitLe] {
            assert_eq!(identifier(&[], layout), None);
            let bytes = identifier(&[uid(1), uid(2)], layout).unwrap();
            let list = DataSet::parse(&bytes, layout, None).unwrap().data_set;
            assert_eq!(list.strings(tags::FAILED_SOP_INSTANCE_UID_LIST), ["1.2.1", "1.2.2"]);
            assert_eq!(list.len(), 1);
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Expect(usize),
        Count(usize, Outcome),
        FailUnnamed(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let outcome = prop_oneof![Just(Completed), Just(Warning), Just(Failed)];
        let step = prop_oneof![
            (0..200_usize).prop_map(Step::Expect),
            (0..50_usize, outcome).prop_map(|(n, outcome)| Step::Count(n, outcome)),
            (0..5_usize).prop_map(Step::FailUnnamed),
        ];
        proptest::collection::vec(step, 0..100)
    }

    fn sum(counters: Counters) -> usize {
        let Counters { remaining, completed, failed, warning } = counters;
        [remaining.unwrap_or(0), completed, failed, warning].into_iter().map(usize::from).sum()
    }

    proptest! {
        #[test]
        fn counters_add_up_and_never_go_back(steps in steps()) {
            let mut tally = Tally::default();
            let mut before = None::<Counters>;
            for step in steps {
                match step {
                    Step::Expect(count) => tally.expect(count),
                    Step::Count(n, outcome) => tally.count(&uid(n), outcome),
                    Step::FailUnnamed(count) => tally.fail_unnamed(count),
                }
                let Some(now) = pending(&tally) else {
                    prop_assert_eq!(tally.left(), 0);
                    continue;
                };
                prop_assert_eq!(sum(now), tally.expected().max(tally.done() + 1));
                if let Some(before) = before {
                    prop_assert!(now.completed >= before.completed && now.failed >= before.failed);
                    prop_assert!(now.warning >= before.warning && sum(now) >= sum(before));
                }
                before = Some(now);
            }
            let (expected, done) = (tally.expected(), tally.done());
            let last = last(&tally, Ending::Cancelled);
            prop_assert_eq!(sum(last.counters), expected.max(done));
        }
    }

    #[test]
    fn hazard_counters_of_more_objects_than_sixteen_bits_can_tell_stay_at_their_largest() {
        let mut tally = Tally::default();
        tally.expect(usize::MAX);
        tally.fail_unnamed(70_000);
        let counters = pending(&tally).unwrap();
        assert_eq!((counters.remaining, counters.failed), (Some(u16::MAX), u16::MAX));
    }
}
