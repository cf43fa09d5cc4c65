//! DIMSE peers that want more than they are allowed.

use bytes::Bytes;
use gantry::demo::instance::Data;
use gantry::dicom::sop_class;
use gantry::dimse::association::Request;
use gantry::dimse::command::{Command, field};
use gantry::dimse::pdu::Role;

use super::Scene;
use crate::support::dimse::{Client, echo, find, identifier, proposal};
use crate::support::objects::{CT, EXPLICIT, Kind, object};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_contexts_of_objects_that_are_sent_to_a_client_are_no_leave_to_store() {
    let scene = Scene::new("[ae.READER]\nallow = [\"echo\", \"get\"]\n[ae.CT1]\nallow = [\"store\"]\n").await;
    let instance = object(9, 1, 1, &Kind::default());
    let Data::Memory(bytes) = &instance.data else { panic!("{:?}", instance.data) };
    for (calling, with_get, expected) in [("READER", true, 0x0124), ("CT1", false, 0)] {
        let mut proposals = vec![proposal(CT, &[EXPLICIT])];
        let mut roles = Vec::new();
        if with_get {
            proposals.push(proposal(sop_class::STUDY_ROOT_GET, &[EXPLICIT]));
            roles.push(Role { sop_class: CT.parse().unwrap(), scu: true, scp: true });
        }
        let (called, calling) = ("GANTRY".parse().unwrap(), calling.parse().unwrap());
        let request = Request { called, calling, proposals, extended: vec![], roles };
        let mut client = Client::asking(scene.app.dimse, &request).await.unwrap();
        let context = client.association.agreement().for_class(CT).expect("accepted").id;
        let store = Command {
            sop_instance: Some(instance.head.sop_instance.clone()),
            priority: Some(0),
            has_data_set: true,
            ..Command::request(field::C_STORE_RQ, CT, 7)
        };
        client.association.send(context, &store, Some(Bytes::clone(bytes)));
        let response = client.message().await.unwrap();
        assert_eq!(response.command.status, Some(expected));
        let stored = scene.archive.instance(&instance.head.sop_instance).is_some();
        assert_eq!(stored, expected == 0);
        client.release().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_a_client_does_nothing_that_it_is_not_allowed() {
    let scene =
        Scene::new("[ae.ECHOER]\nallow = [\"echo\"]\n[ae.NOWHERE]\narchives = []\n[ae.FINDER]\n").await;
    let keys = identifier("STUDY", &[(gantry::dicom::tags::STUDY_INSTANCE_UID, "")]);
    for (calling, finds) in [("ECHOER", false), ("NOWHERE", false), ("FINDER", true)] {
        let proposals = vec![
            proposal(sop_class::VERIFICATION, &[EXPLICIT]),
            proposal(sop_class::STUDY_ROOT_FIND, &[EXPLICIT]),
            proposal(CT, &[EXPLICIT]),
        ];
        let mut client = Client::to(scene.app.dimse, "GANTRY", calling, proposals).await.unwrap();
        assert_eq!(client.ask(echo(), None).await.unwrap().status(), 0, "{calling}");
        let agreement = client.association.agreement();
        assert_eq!(agreement.for_class(sop_class::STUDY_ROOT_FIND).is_some(), finds, "{calling}");
        assert_eq!(agreement.for_class(CT).is_some(), finds, "{calling}");
        if finds {
            assert_eq!(client.ask(find(), Some(&keys)).await.unwrap().status(), 0);
        }
        client.release().await;
    }
    assert_eq!(scene.archive.observations().finds, 1);
}
