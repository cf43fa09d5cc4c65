use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant as StdInstant, SystemTime};

use super::*;
use crate::dicom::{AeTitle, Uid};
use crate::event::{Action, Procedure, Query, Transfer, Way};

mod schema;

/// Longest message, in bytes (PS3.15 A.6).
const MAX_MESSAGE: usize = 32 << 10;

fn uid(text: &str) -> Uid {
    text.parse().unwrap()
}

fn title(text: &str) -> AeTitle {
    text.parse().unwrap()
}

fn author() -> Author {
    Author {
        source: "gantry".into(),
        site: Some("St. Elsewhere".into()),
        patient_names: false,
        instances: true,
        archives: [("main".into(), title("PACS"))].into(),
        own: vec![title("GANTRY"), title("GANTRY2")],
    }
}

fn who() -> Who {
    Who {
        user: Some("jane".into()),
        title: None,
        address: Some([10, 1, 2, 3].into()),
        certificate: Some("CN=viewer,O=x".into()),
    }
}

fn transfer(instances: usize) -> Transfer {
    let mut study = Study::new(Some(uid("1.2.3")), Some("4711".into()));
    for n in 0..instances {
        let class = uid(&format!("1.2.840.10008.5.1.4.1.1.{}", n % 3));
        study.count(&class, Some(&uid(&format!("1.2.3.{n}"))));
    }
    Transfer { archive: "main".into(), way: Way::Retrieved, studies: vec![study] }
}

fn query(text: &str) -> What {
    What::Query(Query { archive: "main".into(), level: None, encoded: None, text: text.into() })
}

fn procedure(class: &str, action: Action, studies: &[&str]) -> What {
    What::Procedure(Procedure {
        archive: "main".into(),
        action,
        step: (uid(class), Some(uid("1.9"))),
        studies: studies.iter().map(|study| uid(study)).collect(),
        patient: (!studies.is_empty()).then(|| "4711".into()),
    })
}

fn all_kinds() -> Vec<What> {
    let alert = |kind| What::SecurityAlert { kind, text: "something".into() };
    let identifier = Query {
        archive: "main".into(),
        level: Some(crate::dicom::query::Level::Study),
        encoded: Some((uid("1.2.840.10008.5.1.4.1.2.2.1"), uid("1.2.840.10008.1.2"))),
        text: Vec::new(),
    };
    vec![
        What::Started,
        What::Stopped,
        What::Authentication,
        What::Entry { called: title("GANTRY") },
        query("studies?PatientID=4711"),
        What::Query(identifier),
        What::BeginTransferring(transfer(0)),
        What::InstancesTransferred(transfer(5)),
        What::InstancesTransferred(Transfer { way: Way::Stored, ..transfer(5) }),
        What::InstancesTransferred(Transfer { way: Way::Moved { to: title("WS1") }, ..transfer(5) }),
        What::InstancesTransferred(Transfer { studies: vec![Study::new(None, None)], ..transfer(0) }),
        What::InstancesAccessed { archive: "main".into(), study: transfer(5).studies.remove(0) },
        procedure("1.2.840.10008.3.1.2.3.3", Action::Created, &["1.2.3", "1.2.4"]),
        procedure("1.2.840.10008.3.1.2.3.3", Action::Updated, &[]),
        procedure("1.2.840.10008.5.1.4.34.6.1", Action::Read, &["1.2.3"]),
        alert(Alert::NodeAuthentication),
        alert(Alert::RestrictedFunction),
        alert(Alert::SecurityConfiguration),
        alert(Alert::AuditStopped),
        alert(Alert::AuditStarted),
    ]
}

#[test]
fn every_kind_of_event_becomes_messages_of_the_standards_schema() {
    for who in [who(), Who::default(), Who { title: Some(title("CT1")), ..Who::default() }] {
        for what in all_kinds() {
            for event in [
                Event::now(who.clone(), what.clone()),
                Event::now(who.clone(), what.clone()).failed(Outcome::MinorFailure, "it was not to be"),
            ] {
                let messages = author().messages(&event);
                assert!(!messages.is_empty());
                for message in messages {
                    schema::check(&message.to_xml());
                    let json = serde_json::to_vec(&message).unwrap();
                    assert_eq!(serde_json::from_slice::<message::Message>(&json).unwrap(), message);
                }
            }
        }
    }
}

#[test]
fn a_retrieval_says_who_got_how_much_of_which_study_from_where() {
    let event = Event::now(who(), What::InstancesTransferred(transfer(5)));
    let event = event.failed(Outcome::SeriousFailure, "the archive broke off");
    let xml = author().messages(&event).remove(0).to_xml();
    for part in [
        r#"<EventID csd-code="110104" codeSystemName="DCM" originalText="DICOM Instances Transferred"/>"#,
        r#"EventOutcomeIndicator="8""#,
        "<EventOutcomeDescription>the archive broke off</EventOutcomeDescription>",
        r#"<ActiveParticipant UserID="main" AlternativeUserID="AETITLES=PACS" UserIsRequestor="false"><RoleIDCode csd-code="110153""#,
        r#"<ActiveParticipant UserID="jane" UserName="CN=viewer,O=x" UserIsRequestor="true" NetworkAccessPointID="10.1.2.3" NetworkAccessPointTypeCode="2"><RoleIDCode csd-code="110152""#,
        r#"AuditEnterpriseSiteID="St. Elsewhere" AuditSourceID="gantry""#,
        r#"ParticipantObjectID="1.2.3" ParticipantObjectTypeCode="2" ParticipantObjectTypeCodeRole="3""#,
        r#"<SOPClass UID="1.2.840.10008.5.1.4.1.1.0" NumberOfInstances="2">"#,
        r#"ParticipantObjectID="4711" ParticipantObjectTypeCode="1" ParticipantObjectTypeCodeRole="1""#,
    ] {
        assert!(xml.contains(part), "{part}\n{xml}");
    }
}

#[test]
fn a_dicom_application_has_its_title_and_what_is_stored_is_not_said_to_be_new() {
    let who = Who { user: None, title: Some(title("CT1")), ..who() };
    let stored = What::InstancesTransferred(Transfer { way: Way::Stored, ..transfer(1) });
    let moved = What::InstancesTransferred(Transfer { way: Way::Moved { to: title("WS1") }, ..transfer(1) });
    for (what, part) in [
        (stored.clone(), r#"EventActionCode="R""#),
        (stored, r#"UserID="CT1" AlternativeUserID="AETITLES=CT1" UserName="CN=viewer,O=x""#),
        (moved, r#"UserID="WS1" AlternativeUserID="AETITLES=WS1" UserIsRequestor="false""#),
        (What::Entry { called: title("GANTRY") }, r#"AlternativeUserID="AETITLES=GANTRY""#),
        (What::Started, r#"AlternativeUserID="AETITLES=GANTRY;GANTRY2" UserName="gantry""#),
        (procedure("1.2.840.10008.3.1.2.3.3", Action::Updated, &[]), r#"<MPPS UID="1.9"/>"#),
        (
            procedure("1.2.840.10008.5.1.4.34.6.1", Action::Created, &["1.2.3"]),
            r#"<SOPClass UID="1.2.840.10008.5.1.4.34.6.1" NumberOfInstances="1"><Instance UID="1.9"/></SOPClass>"#,
        ),
    ] {
        let xml = author().messages(&Event::now(who.clone(), what)).remove(0).to_xml();
        assert!(xml.contains(part), "{part}\n{xml}");
    }
}

#[test]
fn hazard_a_part_of_the_trail_that_breaks_down_is_told() {
    let loss = Arc::new(Loss::new(Metrics::default()));
    start("broken".into(), &loss, || panic!("on purpose")).unwrap().join().unwrap();
    assert_eq!((loss.metrics.audit_lost.get(), loss.untold.load(Ordering::Relaxed)), (1, 1));
}

#[test]
fn hazard_foreign_text_begins_no_new_message_line_or_element() {
    let evil = "x\r\n<85>1 - - - - - - \u{1}\u{0}\u{85}\u{2028}\"/><AuditMessage a='&";
    let who = Who { user: Some(evil.into()), certificate: Some(evil.into()), ..who() };
    let study = Study { patient: Some(evil.into()), ..Study::new(Some(uid("1.2")), None) };
    for what in [
        query(evil),
        What::SecurityAlert { kind: Alert::NodeAuthentication, text: evil.into() },
        What::InstancesTransferred(Transfer { archive: evil.into(), way: Way::Stored, studies: vec![study] }),
    ] {
        let event = Event::now(who.clone(), what).failed(Outcome::MinorFailure, evil);
        for message in author().messages(&event) {
            let xml = message.to_xml();
            schema::check(&xml);
            let frame = syslog::Header::new(10, evil).frame(&message);
            for text in
                [&xml[..], std::str::from_utf8(&frame).unwrap(), &serde_json::to_string(&message).unwrap()]
            {
                assert!(!text.chars().any(|c| c.is_control() || c == '\u{2028}'), "{text:?}");
            }
        }
    }
}

#[test]
fn hazard_no_message_is_longer_than_a_receiver_takes_and_no_instance_or_byte_is_lost() {
    let long = "<&>".repeat(1000);
    let who = Who { user: Some(long.as_str().into()), certificate: Some(long.as_str().into()), ..who() };
    for count in [0, 1, 250, 5_000] {
        let mut event = Event::now(who.clone(), What::InstancesTransferred(transfer(count)));
        event.why = Some(long.clone());
        let messages = author().messages(&event);
        let mut named = BTreeSet::new();
        let mut numbers = 0;
        for message in &messages {
            let xml = message.to_xml();
            assert!(xml.len() + 300 <= MAX_MESSAGE, "{} bytes for {count}", xml.len());
            assert!(serde_json::to_vec(message).unwrap().len() <= spool::MAX_RECORD);
            for class in &message.participant_object_identification[0].classes {
                numbers += class.number;
                named.extend(class.instances.iter().cloned());
            }
        }
        assert_eq!((numbers, named.len()), (count, count));
    }
    let text = "studies?ModalitiesInStudy=".to_owned() + &"x".repeat(100_000);
    let mut found = String::new();
    for message in author().messages(&Event::now(who, query(&text))) {
        assert!(message.to_xml().len() + 300 <= MAX_MESSAGE);
        let part = message.participant_object_identification[0].participant_object_query.clone().unwrap();
        let part = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, part).unwrap();
        found.push_str(std::str::from_utf8(&part).unwrap());
    }
    assert_eq!(found, text);
}

#[test]
fn names_of_patients_are_recorded_only_where_that_is_configured() {
    for (patient_names, expected) in
        [(false, "studies?PatientName=WITHHELD"), (true, "studies?PatientName=DOE")]
    {
        let author = Author { patient_names, ..author() };
        let message = author.messages(&Event::now(who(), query("studies?PatientName=DOE"))).remove(0);
        let found = message.participant_object_identification[0].participant_object_query.clone().unwrap();
        let found = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, found).unwrap();
        assert_eq!(String::from_utf8(found).unwrap(), expected);
    }
}

fn config(directory: &Path) -> Config {
    Config {
        author: author(),
        spool: directory.join("spool"),
        spool_size: 64 << 20,
        file: None,
        stdout: false,
        syslog: None,
    }
}

fn to_syslog(directory: &Path, address: &str) -> Config {
    let syslog = Some(SyslogConfig { address: address.to_owned(), facility: 10, tls: None });
    Config { syslog, ..config(directory) }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

/// The messages of a connection, by their octet counts, until it ends or `most` have come.
fn receive(stream: &TcpStream, most: usize) -> Vec<String> {
    let mut reader = BufReader::new(stream);
    let mut found = Vec::new();
    while found.len() < most {
        let mut length = Vec::new();
        if reader.read_until(b' ', &mut length).unwrap_or(0) == 0 {
            break;
        }
        let length: usize = std::str::from_utf8(&length).unwrap().trim().parse().unwrap();
        let mut message = vec![0; length];
        reader.read_exact(&mut message).unwrap();
        found.push(String::from_utf8(message).unwrap());
    }
    found
}

fn numbered(n: usize) -> Event {
    Event::now(who(), What::SecurityAlert { kind: Alert::RestrictedFunction, text: format!("event {n}") })
}

/// The number of an event of [`numbered`].
fn number_in(message: &str) -> usize {
    let value =
        message.split("type=\"Alert Description\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let text = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, value).unwrap();
    String::from_utf8(text).unwrap().strip_prefix("event ").unwrap().parse().unwrap()
}

#[tokio::test]
async fn the_file_has_a_line_of_json_for_each_event_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let file = Some(FileConfig { path: path.clone(), size: 1 << 30, keep: 0 });
    let (audit, events) =
        Audit::open(Config { file, ..config(directory.path()) }, Metrics::default()).unwrap();
    for n in 0..2_000 {
        events.send(numbered(n));
    }
    audit.close(soon()).await;
    let text = fs::read_to_string(&path).unwrap();
    let numbers: Vec<usize> = text
        .lines()
        .map(|line| number_in(&serde_json::from_str::<message::Message>(line).unwrap().to_xml()))
        .collect();
    assert_eq!(numbers, (0..2_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_receiver_that_is_away_gets_everything_in_order_once_when_it_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (audit, events) =
        Audit::open(to_syslog(directory.path(), &address.to_string()), Metrics::default()).unwrap();
    let first = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let found = receive(&stream, 100);
        // Long enough that nothing can have crossed with its end.
        thread::sleep(syslog::CROSSED + Duration::from_millis(200));
        found
    });
    (0..100).for_each(|n| events.send(numbered(n)));
    let mut found = tokio::task::spawn_blocking(move || first.join().unwrap()).await.unwrap();
    (100..5_000).for_each(|n| events.send(numbered(n)));
    let listener = TcpListener::bind(address).unwrap();
    let second = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        receive(&stream, usize::MAX)
    });
    audit.close(Instant::now() + Duration::from_secs(30)).await;
    found.extend(tokio::task::spawn_blocking(move || second.join().unwrap()).await.unwrap());
    for message in &found {
        let begin = "<85>1 ";
        assert!(message.starts_with(begin) && message.contains(" gantry "), "{message}");
        let (header, xml) = message.split_once('\u{FEFF}').unwrap();
        assert!(header.ends_with(" DICOM+RFC3881 - "), "{header}");
        schema::check(xml);
    }
    let numbers: Vec<usize> = found.iter().map(|message| number_in(message)).collect();
    assert_eq!(numbers, (0..5_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn hazard_a_receiver_that_never_reads_and_a_full_spool_hold_nobody_up_and_the_loss_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let held = thread::spawn(move || listener.accept().unwrap());
    let metrics = Metrics::default();
    let mut config = to_syslog(directory.path(), &address);
    config.spool_size = 1 << 20;
    let (audit, events) = Audit::open(config, metrics.clone()).unwrap();
    let begin = StdInstant::now();
    for n in 0..40_000 {
        events.send(numbered(n));
    }
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    let deadline = StdInstant::now() + Duration::from_secs(20);
    while metrics.audit_lost.get() == 0 {
        assert!(StdInstant::now() < deadline, "nothing is lost");
        thread::sleep(Duration::from_millis(10));
    }
    let (stream, _) = held.join().unwrap();
    let reading = thread::spawn(move || receive(&stream, usize::MAX));
    events.send(numbered(40_000));
    audit.close(Instant::now() + Duration::from_secs(30)).await;
    let found = reading.join().unwrap();
    let told: usize = found.iter().filter_map(|message| missing_in(message)).sum();
    let came = found.iter().filter(|message| missing_in(message).is_none()).count();
    let lost = usize::try_from(metrics.audit_lost.get()).unwrap();
    assert_eq!(came + lost, 40_001);
    assert!(told > 0 && told <= lost, "{told} of {lost}");
}

/// How many events are missing by this message; `None`: it says something else.
fn missing_in(message: &str) -> Option<usize> {
    let (_, text) = message.split_once("<EventOutcomeDescription>")?;
    text.split_once(" events are missing")?.0.parse().ok()
}

#[tokio::test]
async fn what_no_receiver_has_got_is_brought_after_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let config = to_syslog(directory.path(), &address.to_string());
    let (audit, events) = Audit::open(config.clone(), Metrics::default()).unwrap();
    (0..10).for_each(|n| events.send(numbered(n)));
    audit.close(soon()).await;
    let listener = TcpListener::bind(address).unwrap();
    let (audit, events) = Audit::open(config, Metrics::default()).unwrap();
    events.send(numbered(10));
    let reading = thread::spawn(move || receive(&listener.accept().unwrap().0, usize::MAX));
    audit.close(soon()).await;
    let found = reading.join().unwrap();
    let numbers: Vec<usize> = found.iter().map(|message| number_in(message)).collect();
    assert_eq!(numbers, (0..11).collect::<Vec<_>>());
}

#[test]
fn plain_tcp_is_for_this_machine_alone() {
    for (address, expected) in [
        ("127.0.0.1:514", true),
        ("[::1]:514", true),
        ("localhost:514", true),
        ("10.0.0.1:514", false),
        ("localhost.example:514", false),
    ] {
        assert_eq!(SyslogConfig::is_loopback(address), expected, "{address}");
    }
}

#[test]
fn a_syslog_header_says_who_when_and_what() {
    let event = Event { at: SystemTime::UNIX_EPOCH, ..numbered(1) };
    let message = author().messages(&event).remove(0);
    let frame = String::from_utf8(syslog::Header::new(10, "host.example").frame(&message)).unwrap();
    let (length, text) = frame.split_once(' ').unwrap();
    assert_eq!(length.parse::<usize>().unwrap(), text.len());
    let begin = format!(
        "<85>1 1970-01-01T00:00:00.000Z host.example gantry {} DICOM+RFC3881 - \u{FEFF}<?xml",
        std::process::id()
    );
    assert!(text.starts_with(&begin), "{text}");
}
