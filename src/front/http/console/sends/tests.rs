use bytes::Bytes;

use super::*;
use crate::archive::dimse::config::Timeouts;
use crate::archive::testing::{Driver, Fake};
use crate::archive::{Destinations, Error, Expected, Kind, Place, Retrieval};
use crate::caller::Priority;
use crate::dicom::object::{Budget, Object, ObjectLog};
use crate::event::Recorder;
use crate::metrics::Metrics;

/// A destination that nobody listens at.
fn away() -> Destinations {
    let title = "WORKSTATION".parse().unwrap();
    let address = "127.0.0.1:9".to_owned();
    let place = Place { title, address, max_associations: 1, tls: None };
    Destinations::new([place], Timeouts::default(), Metrics::default())
}

fn order(archive: &Arc<Fake>, to: &Destinations) -> (Order, Recorder) {
    let (title, calling): (AeTitle, AeTitle) = ("WORKSTATION".parse().unwrap(), "GANTRY".parse().unwrap());
    let (events, recorder) = Events::recorded();
    let order = Order {
        archive: archive.clone(),
        study: Uid::from_static("1.2"),
        destination: to.get(&title, &calling).unwrap().visit(),
        title,
        caller: Caller { client: None, priority: Priority::Bulk, title: None },
        who: Who::default(),
        events,
    };
    (order, recorder)
}

fn lay(archive: &Fake) -> Driver<Object> {
    let (driver, objects) = Driver::new();
    archive.push_retrieval(Ok(Retrieval {
        objects,
        missing: Vec::new(),
        confirmed: Default::default(),
        assumed_charset: None,
        without_bulk: false,
        expected: Expected::default(),
    }));
    driver
}

async fn object(n: usize) -> Object {
    let head = Head {
        sop_class: Uid::from_static("1.2.840.10008.5.1.4.1.1.2"),
        sop_instance: format!("1.2.3.{n}").parse().unwrap(),
        transfer_syntax: Uid::from_static("1.2.840.10008.1.2.1"),
    };
    let (log, object) = ObjectLog::new(head, &Budget::new(1000));
    log.append(&Bytes::from_static(b"\x08\0\x05\0CS\0\0")).await;
    log.finish();
    object
}

#[tokio::test]
async fn a_destination_that_is_away_ends_it_with_what_to_do_and_is_told_in_the_audit_trail() {
    let (archive, to, sends) = (Fake::named("main"), away(), Sends::default());
    let driver = lay(&archive);
    for n in 1..=5 {
        driver.item(object(n).await);
    }
    // What was not sent, nobody can name.
    archive.push_search(Err(Error::new("main", Kind::NotFound)));
    let (order, recorder) = order(&archive, &to);
    let (sending, work) = sends.begin(order).unwrap();
    work.await;
    let progress = sending.progress();
    let Some((_, End::Failed(why))) = progress.ended else { panic!("{progress:?}") };
    assert_eq!((progress.delivered, progress.failed), (0, 3));
    assert!(why.what.contains("WORKSTATION cannot be reached"), "{why:?}");
    assert!(why.remedy.unwrap().contains("[ae.WORKSTATION]"));
    let events = recorder.take();
    assert!(matches!(&events[0].what, What::BeginTransferring(_)), "{events:?}");
    let What::InstancesTransferred(told) = &events[1].what else { panic!("{events:?}") };
    assert_eq!(told.way, Way::Moved { to: "WORKSTATION".parse().unwrap() });
    assert_eq!((events.len(), events[1].outcome), (2, Outcome::SeriousFailure));
    assert!(driver.cancelled.is_cancelled(), "the archive sends no more");
}

#[tokio::test]
async fn what_is_dropped_before_its_end_is_not_called_sent() {
    let (archive, to, sends) = (Fake::named("main"), away(), Sends::default());
    let _driver = lay(&archive);
    let (order, recorder) = order(&archive, &to);
    let (sending, work) = sends.begin(order).unwrap();
    drop(work);
    assert!(matches!(sending.progress().ended, Some((_, End::Failed(_)))));
    assert_eq!(recorder.take()[0].outcome, Outcome::SeriousFailure);
}

#[tokio::test]
async fn hazard_so_many_are_sent_at_a_time_and_so_many_are_remembered() {
    let (archive, to, sends) = (Fake::named("main"), away(), Sends::default());
    let begin = || sends.begin(order(&archive, &to).0);
    let mut running: Vec<_> = (0..MOST_RUNNING).map(|_| begin().unwrap()).collect();
    assert!(begin().is_err());
    let (first, work) = running.remove(0);
    first.cancel();
    lay(&archive);
    work.await;
    assert_eq!(first.progress().ended.map(|(_, end)| end), Some(End::Cancelled));
    running.push(begin().unwrap());
    for _ in 0..2 * MOST_ENDED {
        let (_, work) = running.pop().unwrap();
        drop(work);
        running.push(begin().unwrap());
    }
    assert!(sends.all().len() <= MOST_RUNNING + MOST_ENDED);
    assert!(sends.find(first.id).is_none(), "the oldest give way");
}
