use super::*;
use crate::archive::commitment::Config as CommitmentConfig;
use crate::dicom::{AeTitle, Uid, sop_class, transfer_syntax};
use crate::dimse::association::{Request as AssociationRequest, Requested};
use crate::dimse::negotiation::Proposal;
use crate::dimse::scp::Service as _;

#[tokio::test]
async fn hazard_answers_that_nobody_reads_do_not_pile_up() {
    let title = |text: &str| text.parse::<AeTitle>().unwrap();
    let moves = MoveDestination::new(title("GANTRY"), "127.0.0.1:104", [], []);
    let mut config = Config { accept_any: true, ..Config::new(title("GANTRY")) };
    config.timeouts.write = Duration::from_millis(50);
    let router = Router::new([], None);
    let commitments = Commitments::open(None, CommitmentConfig::default(), &[]).unwrap();
    let (metrics, shutdown) = (Metrics::default(), CancellationToken::new());
    let events = Events::none();
    let services = Services { router, moves, commitments, metrics, events, shutdown };
    let front = Front::new(config, services);
    let (ours, theirs) = tokio::io::duplex(1024);
    let deadline = Instant::now() + Duration::from_secs(10);
    tokio::spawn(async move {
        let requested = Requested::read(ours, deadline).await.unwrap();
        let peer = Peer {
            address: [127, 0, 0, 1].into(),
            calling: title("FLOOD"),
            called: title("GANTRY"),
            certificate: None,
        };
        let seat = front.admit(&peer, requested.request()).unwrap();
        let (answer, plan) = front.negotiate(&peer, &seat, requested.request()).await.unwrap();
        let accepted = requested.answer(answer, deadline).await.unwrap();
        front.serve(peer, accepted, plan, CancellationToken::new()).await;
    });
    let verification = Proposal {
        abstract_syntax: Uid::from_static(sop_class::VERIFICATION),
        transfer_syntaxes: vec![Uid::from_static(transfer_syntax::IMPLICIT_VR_LE)],
        as_scp: false,
    };
    let request = AssociationRequest {
        called: title("GANTRY"),
        calling: title("FLOOD"),
        proposals: vec![verification],
        extended: Vec::new(),
        roles: Vec::new(),
    };
    let mut flood = Association::request(theirs, &request, deadline).await.unwrap();
    for id in 1..10_000 {
        flood.send(1, &Command::request(field::C_ECHO_RQ, sop_class::VERIFICATION, id), None);
    }
    assert!(flood.flush().await.is_err(), "all requests were taken, and their answers kept");
}
