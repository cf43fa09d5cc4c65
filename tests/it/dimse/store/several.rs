//! Objects that go to one archive or another, and to several at once.

use gantry::demo::Archive;

use super::*;
use crate::support::app::TestApp;
use crate::support::dimse::Destination;
use crate::support::objects::study;
use crate::support::{DEADLINE, until};

/// CT images go to one, MR images to the other, the rest to both.
const BY_MODALITY: &str = "[[route]]\nmodality = \"CT\"\narchive = \"main\"\n\
                           [[route]]\nmodality = \"MR\"\narchive = \"other\"\n\
                           [[route]]\narchive = [\"main\", \"other\"]\n";
/// All to both.
const BOTH: &str = "[[route]]\narchive = [\"main\", \"other\"]\n";

/// The bridge before two archives.
struct Two {
    main: Running,
    other: Running,
    app: TestApp,
}

impl Two {
    /// With the faults of the second archive, and these routes.
    async fn new(faults: &[Fault], routes: &str) -> Self {
        let main = Archive::builder().ae_title("MAIN".parse().unwrap()).start().await.unwrap();
        let other = Archive::builder().ae_title("OTHER".parse().unwrap());
        let other = faults.iter().fold(other, |archive, fault| archive.fault(*fault)).start().await.unwrap();
        let archives = [("main", &main), ("other", &other)].map(|(name, archive)| {
            format!(
                "[archive.{name}]\nae_title = \"{}\"\naddress = \"{}\"\ntimeouts = {{ silence = \"1s\", idle = \"50ms\" }}\n",
                archive.ae_title(),
                archive.addr()
            )
        });
        let app = TestApp::start(&format!(
            "default_archive = \"main\"\n[dimse]\nlisten = \"127.0.0.1:0\"\nae_title = \"{GANTRY}\"\n\
             [ae.CLIENT]\n{}{routes}",
            archives.concat()
        ))
        .await;
        Self { main, other, app }
    }

    async fn client(&self) -> Client {
        Client::to(self.app.dimse, GANTRY, "CLIENT", vec![proposal(CT, &[EXPLICIT])]).await.unwrap()
    }
}

/// An object of this modality; all else is of a CT image.
fn of_modality(number: usize, modality: &str) -> Instance {
    let instance = object(1, 1, number, &Kind::default());
    let bytes = bytes_of(&instance);
    let at = bytes.windows(10).position(|w| w == b"\x08\0\x60\0CS\x02\0CT").unwrap() + 8;
    let bytes = [&bytes[..at], modality.as_bytes(), &bytes[at + 2..]].concat();
    Instance::from_bytes(instance.head.transfer_syntax, bytes.into()).unwrap()
}

#[tokio::test]
async fn modality_decides_where_an_object_goes() {
    let two = Two::new(&[], BY_MODALITY).await;
    let mut client = two.client().await;
    let objects = [of_modality(1, "CT"), of_modality(2, "MR"), of_modality(3, "US")];
    for object in &objects {
        assert_eq!(status(&mut client, object).await, 0);
    }
    let held = |archive: &Running| objects.each_ref().map(|object| holds(archive, object));
    assert_eq!(held(&two.main), [true, false, true]);
    assert_eq!(held(&two.other), [false, true, true]);
}

#[tokio::test]
async fn of_several_archives_the_worst_status_is_told_after_all_have_answered() {
    let pause = Duration::from_millis(300);
    for (fault, wanted, comment) in [
        (Fault::StoreSlow(300), 0, None),
        (Fault::StoreWarning(0xB006), 0xB006, Some("other")),
        (Fault::StoreFailure(0xA700), 0xA700, Some("other")),
    ] {
        let two = Two::new(&[fault, Fault::StoreSlow(300)], BOTH).await;
        let mut client = two.client().await;
        for object in study(1, 1, 3, &Kind::default()) {
            let begin = Instant::now();
            let response = store(&mut client, &object).await.unwrap();
            assert_eq!(response.status, Some(wanted));
            assert_eq!(response.comment.as_deref(), comment);
            assert!(begin.elapsed() >= pause, "before all have answered");
            assert!(holds(&two.main, &object));
            assert_eq!(holds(&two.other, &object), class(wanted) != Class::Failure);
        }
    }
}

#[tokio::test]
async fn one_archive_that_hangs_is_a_failure_and_the_others_have_the_object() {
    for fault in [Fault::StoreStall, Fault::StoreDeafIn(1)] {
        let two = Two::new(&[fault], BOTH).await;
        let mut client = two.client().await;
        // What fails on an association that was idle may have died there, and is tried once more on a new one.
        let is_alone = async || two.other.observations().associations.open == 0;
        until("the association by which it was asked is released", DEADLINE, is_alone).await;
        let object = object(1, 1, 1, &Kind { pixels: 6 << 20, ..Kind::default() });
        let response = store(&mut client, &object).await.unwrap();
        let code = response.status.unwrap();
        assert_eq!(class(code), Class::Failure, "{fault}: {code:04X}");
        assert!(response.comment.unwrap().contains("other"), "{fault}");
        assert!(holds(&two.main, &object) && !holds(&two.other, &object), "{fault}");
    }
}

#[tokio::test]
async fn a_private_class_and_a_private_syntax_pass_by_configuration() {
    let (class, syntax) = ("1.2.826.0.1.3680043.9.1", "1.2.826.0.1.3680043.9.2");
    let mut sink = Destination::new().await;
    let app = TestApp::start(&format!(
        "[dimse]\nlisten = \"127.0.0.1:0\"\nae_title = \"{GANTRY}\"\n\
         storage_classes = [\"{class}\"]\ntransfer_syntaxes = [\"{syntax}\"]\n[ae.CLIENT]\n\
         [archive.main]\nae_title = \"SINK\"\naddress = \"{}\"\n",
        sink.address
    ))
    .await;
    let mut client = Client::to(app.dimse, GANTRY, "CLIENT", vec![proposal(class, &[syntax])]).await.unwrap();
    let bytes = Bytes::from_static(b"whatever such an object is made of");
    let command =
        Command { sop_instance: "1.2.3".parse().ok(), ..request(&object(1, 1, 1, &Kind::default()), 3) };
    client.association.send(1, &Command { sop_class: class.parse().ok(), ..command }, Some(bytes.clone()));
    assert_eq!(client.message().await.unwrap().command.status, Some(0));
    assert_eq!(sink.next().await.data, Some(bytes));
}
