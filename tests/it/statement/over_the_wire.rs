//! What the statement says of SOP classes and transfer syntaxes, before an archive that takes everything.

use gantry::dicom::transfer_syntax::{EXPLICIT_VR_LE, IMPLICIT_VR_LE};
use gantry::dimse::negotiation::Proposal;

use super::{column, table};
use crate::dimse::{GANTRY, Scripted, scripted_app};
use crate::support::app::TestApp;
use crate::support::dimse::{Client, proposal};
use crate::support::http::{self, Version};
use crate::support::objects::CT;

/// Fewer than fit into a request: each context of a class that is served on an association of its own takes one there too.
const AT_ONCE: usize = 60;

async fn scene() -> (Scripted, TestApp) {
    let archive = Scripted::new().await;
    let app = scripted_app(&archive, "").await;
    (archive, app)
}

/// Whether each proposal is accepted, with the first of its transfer syntaxes.
async fn accepted(app: &TestApp, proposals: &[Proposal]) -> Vec<bool> {
    let mut found = Vec::new();
    for some in proposals.chunks(AT_ONCE) {
        let client = Client::to(app.dimse, GANTRY, "CLIENT", some.to_vec()).await.unwrap();
        let agreement = client.association.agreement();
        found.extend(some.iter().map(|proposal| {
            let class = proposal.abstract_syntax.as_str();
            agreement.for_class_in(class, &proposal.transfer_syntaxes[0]).is_some()
        }));
        client.release().await;
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_are_granted_the_storage_classes_and_their_transfer_syntaxes() {
    let (_archive, app) = scene().await;
    let classes = column("Storage SOP classes", 1);
    let proposals: Vec<_> = classes.iter().map(|class| proposal(class, &[EXPLICIT_VR_LE])).collect();
    let granted = accepted(&app, &proposals).await;
    let refused: Vec<_> = classes.iter().zip(&granted).filter(|(_, granted)| !**granted).collect();
    assert!(refused.is_empty(), "{refused:?}");
    let syntaxes = column("Transfer syntaxes of objects", 1);
    let proposals: Vec<_> = syntaxes.iter().map(|syntax| proposal(CT, &[syntax])).collect();
    let granted = accepted(&app, &proposals).await;
    let refused: Vec<_> = syntaxes.iter().zip(&granted).filter(|(_, granted)| !**granted).collect();
    assert!(refused.is_empty(), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_are_granted_the_services_that_are_provided_and_no_others() {
    let (_archive, app) = scene().await;
    let rows = table("1.2.1 SOP classes");
    let proposals: Vec<_> =
        rows.iter().map(|row| proposal(&row[1], &[EXPLICIT_VR_LE, IMPLICIT_VR_LE])).collect();
    for (row, granted) in rows.iter().zip(accepted(&app, &proposals).await) {
        assert_eq!(granted, row[3] == "yes", "{row:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_proposed_to_an_archive_for_the_web_is_stated() {
    let (mut archive, app) = scene().await;
    let address = app.http;
    let search = tokio::spawn(async move {
        http::get_with(address, "/dicom-web/studies", Version::Http11, "Accept: */*").await
    });
    let (association, request) = archive.message().await;
    let proposed = archive.request(association);
    archive.answer(association, &request, 0);
    assert_eq!(search.await.unwrap().status, 204);
    let services = table("1.2.1 SOP classes");
    let stated = |class: &str| services.iter().any(|row| row[1] == class && row[2] == "yes");
    let (storage, syntaxes) = (column("Storage SOP classes", 1), column("Transfer syntaxes of objects", 1));
    let mut of_ct = 0;
    for context in &proposed.contexts {
        let class = context.abstract_syntax.as_ref().unwrap().as_str();
        assert!(stated(class) || storage.contains(class), "{class}");
        assert!(context.transfer_syntaxes.iter().all(|syntax| syntaxes.contains(syntax.as_str())), "{class}");
        of_ct += usize::from(class == CT);
    }
    assert!(of_ct > 20, "an image class in all that it can have: {of_ct}");
    let user = &proposed.user;
    assert!(user.extended.is_empty(), "nothing is negotiated beyond what is stated: {user:?}");
}
