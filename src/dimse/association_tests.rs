use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;
use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, IMPLICIT_VR_LE};
use crate::dimse::command::field;
use crate::dimse::pdu::context_result;

const FIND: &str = "1.2.840.10008.5.1.4.1.2.2.1";
const ECHO: &str = "1.2.840.10008.1.1";

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

fn ask() -> Request {
    let proposal = |class: &str| Proposal {
        abstract_syntax: class.parse().unwrap(),
        transfer_syntaxes: vec![EXPLICIT_VR_LE.parse().unwrap(), IMPLICIT_VR_LE.parse().unwrap()],
        as_scp: false,
    };
    Request {
        called: "PACS".parse().unwrap(),
        calling: "GANTRY".parse().unwrap(),
        proposals: vec![proposal(ECHO), proposal(FIND)],
        extended: vec![],
        roles: vec![],
    }
}

/// An association between two tasks; FIND is accepted, ECHO not.
async fn pair() -> (Association, Association) {
    let (ours, theirs) = duplex(4096);
    let acceptor = tokio::spawn(async move {
        let requested = Requested::read(theirs, soon()).await.unwrap();
        assert_eq!(requested.request().called.as_str(), "PACS");
        let decide = |class: &Uid, syntaxes: &[Uid]| {
            if class.as_str() == FIND {
                Ok(syntaxes[1].clone())
            } else {
                Err(context_result::ABSTRACT_SYNTAX)
            }
        };
        requested.accept(decide, |_| true, soon()).await.unwrap()
    });
    let requestor = Association::request(ours, &ask(), soon()).await.unwrap();
    (requestor, acceptor.await.unwrap())
}

#[tokio::test]
async fn a_message_with_a_large_data_set_passes_through_a_small_pipe_both_ways_at_once() {
    let (mut scu, mut scp) = pair().await;
    assert!(scu.agreement().for_class(ECHO).is_none());
    let context = scu.agreement().for_class(FIND).unwrap().clone();
    assert_eq!(context.transfer_syntax.as_str(), IMPLICIT_VR_LE);
    let data = Bytes::from(vec![7; 300_000]);
    let mut rq = Command::request(field::C_FIND_RQ, FIND, 1);
    rq.has_data_set = true;
    let mut rsp = rq.response(0xFF00);
    rsp.has_data_set = true;
    scu.send(context.id, &rq, Some(data.clone()));
    scp.send(context.id, &rsp, Some(data.clone()));
    async fn read(association: &mut Association) -> (Command, usize) {
        let Event::Command { command, .. } = association.event().await.unwrap() else { panic!("no command") };
        let mut length = 0;
        loop {
            match association.event().await.unwrap() {
                Event::Data { bytes, last } => {
                    length += bytes.len();
                    if last {
                        return (command, length);
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }
    let (at_scp, at_scu) = tokio::join!(
        async {
            let got = read(&mut scp).await;
            scp.flush().await.unwrap();
            got
        },
        async {
            let got = read(&mut scu).await;
            scu.flush().await.unwrap();
            got
        }
    );
    assert_eq!(at_scp, (rq, data.len()));
    assert_eq!(at_scu, (rsp, data.len()));
    let release = tokio::spawn(async move { scu.release(soon()).await });
    assert_eq!(scp.event().await.unwrap(), Event::ReleaseRequested);
    scp.confirm_release(soon()).await;
    release.await.unwrap();
}

#[tokio::test]
async fn an_abort_is_told_as_such() {
    let (scu, mut scp) = pair().await;
    scu.abort().await;
    assert!(matches!(scp.event().await, Err(AssociationError::Aborted { by: 0, .. })));
}

#[tokio::test]
async fn a_rejection_tells_its_reason_and_whether_to_try_again() {
    let (ours, theirs) = duplex(4096);
    tokio::spawn(async move {
        Requested::read(theirs, soon()).await.unwrap().reject(AssociateRj::LOCAL_LIMIT, soon()).await;
    });
    match Association::request(ours, &ask(), soon()).await {
        Err(EstablishError::Rejected(rj)) => {
            assert!(rj.is_transient());
            assert_eq!(rj.reason_text(), "local limit exceeded");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn hazard_half_a_pdu_and_silence_ends_with_the_deadline() {
    let (ours, mut theirs) = duplex(4096);
    theirs.write_all(&[2, 0, 0, 0, 1, 0, 9]).await.unwrap();
    let result = Association::request(ours, &ask(), soon()).await;
    assert!(matches!(result, Err(EstablishError::Timeout)), "{result:?}");
}

/// What a requestor makes of `wire`, sent by a peer right after the association was accepted.
async fn after_acceptance(wire: Vec<u8>) -> Vec<Result<Event, AssociationError>> {
    let (ours, mut theirs) = duplex(1 << 20);
    let peer = tokio::spawn(async move {
        let mut header = [0; 6];
        theirs.read_exact(&mut header).await.unwrap();
        let mut body = vec![0; u32::from_be_bytes(header[2..].try_into().unwrap()) as usize];
        theirs.read_exact(&mut body).await.unwrap();
        let rq = pdu::decode_associate_rq(&body).unwrap();
        let given = Answer::new(&rq, |_, s| Ok(s[0].clone()), |_| true);
        let (contexts, ..) = negotiation::answer(&rq, &given);
        let ac = AssociateAc { contexts, user: our_user_information() };
        theirs.write_all(&pdu::encode_associate_ac(&ac, &rq)).await.unwrap();
        theirs.write_all(&wire).await.unwrap();
    });
    let mut association = Association::request(ours, &ask(), soon()).await.unwrap();
    peer.await.unwrap();
    let mut events = Vec::new();
    loop {
        events.push(association.event().await);
        if events.last().unwrap().is_err() {
            return events;
        }
    }
}

fn pdv(context: u8, control: u8, value: &[u8]) -> Vec<u8> {
    let mut wire = vec![4, 0];
    wire.extend((value.len() as u32 + 6).to_be_bytes());
    wire.extend((value.len() as u32 + 2).to_be_bytes());
    wire.extend([context, control]);
    wire.extend(value);
    wire
}

#[tokio::test]
async fn hazard_pdvs_for_a_context_that_was_not_accepted_break_the_protocol() {
    let events = after_acceptance(pdv(77, 3, &Command::cancel(1).encode())).await;
    assert!(matches!(&events[..], [Err(AssociationError::Protocol(_))]), "{events:?}");
}

#[tokio::test]
async fn hazard_a_data_set_where_none_was_announced_breaks_the_protocol() {
    let mut wire = pdv(1, 3, &Command::request(field::C_ECHO_RQ, ECHO, 1).response(0).encode());
    wire.extend(pdv(1, 2, b"surprise"));
    let events = after_acceptance(wire).await;
    assert!(
        matches!(&events[..], [Ok(Event::Command { .. }), Err(AssociationError::Protocol(_))]),
        "{events:?}"
    );
}

#[tokio::test]
async fn a_command_and_its_data_set_in_one_pdu_are_told_apart() {
    let mut rsp = Command::request(field::C_FIND_RQ, FIND, 1).response(0xFF00);
    rsp.has_data_set = true;
    let (one, two) = (pdv(3, 3, &rsp.encode()), pdv(3, 2, b"data"));
    let mut wire = vec![4, 0];
    wire.extend((one.len() as u32 + two.len() as u32 - 12).to_be_bytes());
    wire.extend(&one[6..]);
    wire.extend(&two[6..]);
    let events = after_acceptance(wire).await;
    assert_eq!(events[1].as_ref().unwrap(), &Event::Data { bytes: Bytes::from_static(b"data"), last: true });
}
