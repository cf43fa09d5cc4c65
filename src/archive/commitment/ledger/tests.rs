use std::os::unix::fs::PermissionsExt as _;

use super::*;

const REPORT: &[u8] = b"what the archive says";

fn transaction(archive: &str, uid: &str) -> Transaction {
    Transaction { archive: archive.into(), uid: uid.parse().unwrap() }
}

fn asker(client: &str) -> Asker {
    Asker {
        client: client.parse().unwrap(),
        called: "GANTRY".parse().unwrap(),
        transfer_syntax: "1.2.840.10008.1.2".parse().unwrap(),
    }
}

fn event() -> Event {
    Event { event_type: 2, transfer_syntax: "1.2.840.10008.1.2.1".parse().unwrap() }
}

#[test]
fn what_was_asked_and_reported_survives_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("state");
    let (one, two) = (transaction("main", "1.2"), transaction("main", "1.3"));
    {
        let ledger = Ledger::open(Some(&path)).unwrap();
        ledger.ask(&one, asker("A")).unwrap();
        ledger.ask(&two, asker("B")).unwrap();
        assert_eq!(ledger.file(&one, event(), REPORT), Filed::Kept);
        assert!(matches!(Ledger::open(Some(&path)), Err(OpenError::InUse)));
    }
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    {
        let ledger = Ledger::open(Some(&path)).unwrap();
        assert_eq!(ledger.undelivered().len(), 1);
        assert_eq!(ledger.undelivered()[0].1, asker("A"));
        assert_eq!(ledger.report(&one), Some((event(), Bytes::from_static(REPORT))));
        assert_eq!(ledger.file(&two, event(), b""), Filed::Kept);
        ledger.delivered(&one);
    }
    let closed = Ledger::open(Some(&path)).unwrap();
    closed.close();
    assert_eq!(closed.ask(&transaction("main", "1.4"), asker("A")), Err(Refusal::NoRoom));
    let ledger = Ledger::open(Some(&path)).unwrap();
    assert_eq!(ledger.report(&one), None);
    assert_eq!(ledger.file(&one, event(), REPORT), Filed::Known, "the archive missed the answer");
    assert_eq!(ledger.report(&two), Some((event(), Bytes::new())));
}

#[test]
fn a_transaction_belongs_to_its_archive_and_to_one_client_at_a_time() {
    let ledger = Ledger::open(None).unwrap();
    let one = transaction("main", "1.2");
    assert_eq!(ledger.file(&one, event(), REPORT), Filed::Unknown);
    ledger.ask(&one, asker("A")).unwrap();
    assert_eq!(ledger.ask(&one, asker("B")), Err(Refusal::InUse));
    ledger.ask(&transaction("other", "1.2"), asker("B")).unwrap();
    assert_eq!(ledger.asked_with(&one.uid).len(), 2);
    assert!(ledger.ask(&one, asker("A")).unwrap().is_some(), "the same client again");
    ledger.file(&one, event(), REPORT);
    ledger.delivered(&one);
    assert_eq!(ledger.ask(&one, asker("B")), Ok(None), "it is over");
}

#[test]
fn a_refused_request_leaves_what_was_waited_for_before_and_what_has_come() {
    let ledger = Ledger::open(None).unwrap();
    let one = transaction("main", "1.2");
    let before = ledger.ask(&one, asker("A")).unwrap();
    let again = ledger.ask(&one, asker("A")).unwrap();
    ledger.refused(&one, again);
    assert_eq!(ledger.asked_with(&one.uid).len(), 1, "the first request stands");
    assert_eq!(ledger.file(&one, event(), REPORT), Filed::Kept);
    ledger.refused(&one, before.clone());
    assert!(ledger.report(&one).is_some());
    let two = transaction("main", "1.3");
    let before = ledger.ask(&two, asker("A")).unwrap();
    ledger.refused(&two, before);
    assert_eq!(ledger.file(&two, event(), REPORT), Filed::Unknown);
}

#[test]
fn when_there_are_too_many_the_oldest_without_a_report_goes() {
    let ledger = Ledger::open(None).unwrap();
    ledger.lock().most = 3;
    for n in 1..=4 {
        ledger.ask(&transaction("main", &format!("1.{n}")), asker("A")).unwrap();
        std::thread::sleep(Duration::from_millis(2));
        if n == 1 {
            ledger.file(&transaction("main", "1.1"), event(), REPORT);
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    let left: Vec<_> = ledger.lock().records.keys().map(|t| t.uid.to_string()).collect();
    assert_eq!(left, ["1.1", "1.3", "1.4"]);
}

#[test]
fn hazard_reports_for_clients_that_are_away_are_bounded() {
    let ledger = Ledger::open(None).unwrap();
    let one = transaction("main", "1.2");
    ledger.ask(&one, asker("A")).unwrap();
    ledger.lock().reported = MAX_REPORTED;
    assert_eq!(ledger.file(&one, event(), REPORT), Filed::NoRoom);
    ledger.lock().reported = 0;
    assert_eq!(ledger.file(&one, event(), REPORT), Filed::Kept);
    assert_eq!(ledger.lock().reported, REPORT.len());
    ledger.delivered(&one);
    assert_eq!(ledger.lock().reported, 0);
}

#[test]
fn what_has_waited_too_long_goes_and_is_told() {
    let ledger = Ledger::open(None).unwrap();
    let (one, two) = (transaction("main", "1.2"), transaction("main", "1.3"));
    ledger.ask(&one, asker("A")).unwrap();
    ledger.ask(&two, asker("B")).unwrap();
    ledger.file(&two, event(), REPORT);
    std::thread::sleep(Duration::from_millis(3));
    let day = Duration::from_secs(86_400);
    assert_eq!(ledger.expire(day, day).len(), 0);
    let expired = ledger.expire(day, Duration::from_millis(1));
    assert_eq!(expired.iter().map(|(t, _)| t).collect::<Vec<_>>(), [&two]);
    assert_eq!(ledger.expire(Duration::from_millis(1), day).len(), 1);
    assert!(ledger.lock().records.is_empty() && ledger.lock().reported == 0);
}

#[test]
fn hazard_a_damaged_record_is_dropped_and_another_file_is_not_overwritten() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("state");
    let one = transaction("main", "1.2");
    {
        let ledger = Ledger::open(Some(&path)).unwrap();
        ledger.ask(&one, asker("A")).unwrap();
        let inner = ledger.lock();
        inner.commit(b"main\x001.9", Some(b"\x01garbage"), Some(Some(REPORT))).unwrap();
        inner.commit(b"no such key", Some(b""), None).unwrap();
    }
    let ledger = Ledger::open(Some(&path)).unwrap();
    assert_eq!(ledger.lock().records.len(), 1);
    assert_eq!(ledger.ask(&one, asker("A")).unwrap().map(|before| before.record.asker), Some(asker("A")));
    let other = home.path().join("notes.txt");
    std::fs::write(&other, "milk, bread").unwrap();
    let error = Ledger::open(Some(&other)).unwrap_err().to_string();
    assert!(error.starts_with("state.path"), "{error}");
    assert_eq!(std::fs::read(&other).unwrap(), b"milk, bread");
}

#[test]
fn hazard_a_report_whose_client_asks_once_more_in_vain_is_not_lost() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("state");
    let one = transaction("main", "1.2");
    {
        let ledger = Ledger::open(Some(&path)).unwrap();
        ledger.ask(&one, asker("A")).unwrap();
        assert_eq!(ledger.file(&one, event(), REPORT), Filed::Kept);
        let before = ledger.ask(&one, asker("A")).unwrap();
        assert_eq!(ledger.report(&one), None, "a new one is waited for");
        ledger.refused(&one, before);
        assert_eq!(ledger.report(&one), Some((event(), Bytes::from_static(REPORT))));
    }
    let ledger = Ledger::open(Some(&path)).unwrap();
    assert_eq!(ledger.report(&one), Some((event(), Bytes::from_static(REPORT))));
    assert_eq!(ledger.undelivered().len(), 1);
}
