use super::*;
use crate::archive::relay::Service;
use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, IMPLICIT_VR_LE};
use crate::dimse::negotiation::AcceptedContext;

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const RLE: &str = "1.2.840.10008.1.2.5";

fn uid(text: &str) -> Uid {
    text.parse().unwrap()
}

fn view(title: Option<&str>) -> View {
    (0, title.map(|title| title.parse().unwrap()))
}

fn proposal(class: &str, syntaxes: &[&str]) -> Proposal {
    let transfer_syntaxes = syntaxes.iter().map(|syntax| uid(syntax)).collect();
    Proposal { abstract_syntax: uid(class), transfer_syntaxes, as_scp: false }
}

/// What was agreed on of these: the syntax chosen, or why not.
fn agreement(offered: &[Proposal], results: &[Result<&str, u8>]) -> Agreement {
    let mut agreement = Agreement::default();
    for ((proposal, result), n) in offered.iter().zip(results).zip(0_u8..) {
        match result {
            Ok(syntax) => agreement.contexts.push(AcceptedContext {
                id: 2 * n + 1,
                abstract_syntax: proposal.abstract_syntax.clone(),
                transfer_syntax: uid(syntax),
                requestor_is_scu: true,
                requestor_is_scp: false,
            }),
            Err(reason) => agreement.refused.push((proposal.abstract_syntax.clone(), *reason)),
        }
    }
    agreement
}

fn asked(class: &str, syntaxes: &[&str]) -> Asked {
    Asked {
        service: Service::Store,
        abstract_syntax: uid(class),
        transfer_syntaxes: syntaxes.iter().map(|syntax| uid(syntax)).collect(),
        extended: None,
    }
}

fn learnt(offered: &[Proposal], results: &[Result<&str, u8>]) -> Learnt {
    let mut learnt = Learnt::default();
    learnt.learn(&view(None), offered, &[], &agreement(offered, results));
    learnt
}

fn accepted(syntaxes: &[&str]) -> Option<Taken> {
    Some(Taken::Accepted(syntaxes.iter().map(|syntax| uid(syntax)).collect(), None))
}

#[tokio::test(start_paused = true)]
async fn a_proposal_of_two_syntaxes_teaches_the_accepted_one_and_nothing_of_the_other() {
    let learnt = learnt(&[proposal(CT, &[RLE, EXPLICIT_VR_LE])], &[Ok(EXPLICIT_VR_LE)]);
    assert_eq!(learnt.verdict(&view(None), &asked(CT, &[EXPLICIT_VR_LE])), accepted(&[EXPLICIT_VR_LE]));
    assert_eq!(learnt.verdict(&view(None), &asked(CT, &[RLE, EXPLICIT_VR_LE])), None);
    let both = asked(CT, &[IMPLICIT_VR_LE, EXPLICIT_VR_LE]);
    assert_eq!(learnt.verdict(&view(None), &both), accepted(&[EXPLICIT_VR_LE]), "as good as the other");
    assert_eq!(learnt.verdict(&view(None), &asked(CT, &[IMPLICIT_VR_LE])), None, "if it was asked about");
}

#[tokio::test(start_paused = true)]
async fn a_class_is_refused_as_such_only_where_nothing_of_it_was_taken() {
    let offered = [proposal(CT, &[RLE]), proposal(CT, &[EXPLICIT_VR_LE])];
    let asks = asked(CT, &[RLE, EXPLICIT_VR_LE]);
    for (results, verdict) in [
        ([Err(3), Ok(EXPLICIT_VR_LE)], accepted(&[EXPLICIT_VR_LE])),
        ([Err(3), Err(3)], Some(Taken::Refused(3))),
        ([Err(4), Err(4)], Some(Taken::Refused(4))),
        ([Err(1), Err(4)], Some(Taken::Refused(4))),
        ([Err(2), Err(2)], Some(Taken::Refused(2))),
    ] {
        assert_eq!(learnt(&offered, &results).verdict(&view(None), &asks), verdict);
    }
    let refused = learnt(&offered[..1], &[Err(4)]);
    assert_eq!(refused.verdict(&view(None), &asked(CT, &[RLE])), Some(Taken::Refused(4)));
    assert_eq!(refused.verdict(&view(None), &asks), None);
}

#[tokio::test(start_paused = true)]
async fn a_class_that_was_split_over_two_associations_is_taken_where_one_of_them_takes_it() {
    let parts = [(proposal(CT, &[EXPLICIT_VR_LE]), Ok(EXPLICIT_VR_LE)), (proposal(CT, &[RLE]), Err(3))];
    let asks = asked(CT, &[RLE, EXPLICIT_VR_LE]);
    for order in [[0, 1], [1, 0]] {
        let mut learnt = Learnt::default();
        let mut learn = |n: usize| {
            let (offered, result) = &parts[n];
            let offered = std::slice::from_ref(offered);
            learnt.learn(&view(None), offered, &[], &agreement(offered, &[*result]));
        };
        order.into_iter().for_each(&mut learn);
        assert_eq!(learnt.verdict(&view(None), &asks), accepted(&[EXPLICIT_VR_LE]), "{order:?}");
        let rle = learnt.verdict(&view(None), &asked(CT, &[RLE]));
        assert!(matches!(rle, Some(Taken::Refused(_))), "{order:?}: {rle:?}");
        // What was taken is now refused: the class is taken no more.
        let offered = [proposal(CT, &[RLE]), proposal(CT, &[EXPLICIT_VR_LE])];
        learnt.learn(&view(None), &offered, &[], &agreement(&offered, &[Err(3), Err(3)]));
        assert_eq!(learnt.verdict(&view(None), &asks), Some(Taken::Refused(3)), "{order:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn hazard_what_an_archive_sends_is_not_held_for_what_it_takes() {
    let offered = [Proposal { as_scp: true, ..proposal(CT, &[RLE]) }];
    for result in [Ok(RLE), Err(3)] {
        assert_eq!(learnt(&offered, &[result]).verdict(&view(None), &asked(CT, &[RLE])), None);
    }
}

#[tokio::test(start_paused = true)]
async fn an_acceptance_holds_for_an_hour_and_a_refusal_for_ten_minutes() {
    let offered = [proposal(CT, &[RLE]), proposal(CT, &[EXPLICIT_VR_LE]), proposal("1.2.3", &[RLE])];
    let learnt = learnt(&offered, &[Err(4), Ok(EXPLICIT_VR_LE), Err(3)]);
    let asks = [asked(CT, &[EXPLICIT_VR_LE]), asked(CT, &[RLE]), asked("1.2.3", &[RLE])];
    let known = || asks.each_ref().map(|asks| learnt.verdict(&view(None), asks).is_some());
    assert_eq!(known(), [true; 3]);
    tokio::time::advance(REFUSAL_VALID).await;
    assert_eq!(known(), [true, false, false]);
    tokio::time::advance(ACCEPTANCE_VALID - REFUSAL_VALID).await;
    assert_eq!(known(), [false; 3]);
}

#[tokio::test(start_paused = true)]
async fn hazard_what_one_title_may_is_not_told_to_another() {
    let offered = [proposal(CT, &[RLE])];
    let learnt = learnt(&offered, &[Ok(RLE)]);
    assert!(learnt.verdict(&view(None), &asked(CT, &[RLE])).is_some());
    assert_eq!(learnt.verdict(&view(Some("CT1")), &asked(CT, &[RLE])), None);
    assert_eq!(learnt.verdict(&(1, None), &asked(CT, &[RLE])), None);
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_extended_negotiation_belongs_to_what_was_proposed() {
    let offered = [proposal(CT, &[RLE])];
    let extended = [(uid(CT), Bytes::from_static(&[1, 1]))];
    let mut agreement = agreement(&offered, &[Ok(RLE)]);
    agreement.extended = vec![(uid(CT), Bytes::from_static(&[1, 0]))];
    let mut learnt = Learnt::default();
    learnt.learn(&view(None), &offered, &extended, &agreement);
    let with = Asked { extended: Some(Bytes::from_static(&[1, 1])), ..asked(CT, &[RLE]) };
    let answer = Some(Taken::Accepted(vec![uid(RLE)], Some(Bytes::from_static(&[1, 0]))));
    assert_eq!(learnt.verdict(&view(None), &with), answer);
    assert_eq!(learnt.verdict(&view(None), &asked(CT, &[RLE])), None);
}

#[tokio::test(start_paused = true)]
async fn hazard_what_is_remembered_is_bounded_and_the_oldest_goes() {
    let mut learnt = Learnt::default();
    let mut learn = |title: String, class: usize, syntax: usize| {
        let syntax = format!("1.2.{syntax}");
        let offered = [proposal(&format!("1.3.{class}"), &[&syntax])];
        learnt.learn(&view(Some(&title)), &offered, &[], &agreement(&offered, &[Ok(&syntax)]));
    };
    let advance = || tokio::time::advance(Duration::from_millis(1));
    for title in 0..=MOST_VIEWS {
        learn(format!("T{title}"), 0, 0);
        advance().await;
    }
    let last = format!("T{MOST_VIEWS}");
    for class in 1..=MOST_CLASSES {
        learn(last.clone(), class, 0);
        advance().await;
    }
    (1..=MOST_SYNTAXES).for_each(|syntax| learn(last.clone(), MOST_CLASSES, syntax));
    let knows = |title: &str, class: usize, syntax: usize| {
        let asks = asked(&format!("1.3.{class}"), &[&format!("1.2.{syntax}")]);
        learnt.verdict(&view(Some(title)), &asks).is_some()
    };
    assert!(!knows("T0", 0, 0) && knows("T1", 0, 0));
    assert!(!knows(&last, 0, 0) && knows(&last, 1, 0));
    assert!(!knows(&last, MOST_CLASSES, 0) && knows(&last, MOST_CLASSES, 1));
    assert_eq!(learnt.views.len(), MOST_VIEWS);
    assert_eq!(learnt.views[&view(Some(&last))].len(), MOST_CLASSES);
}
