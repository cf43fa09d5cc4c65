//! Objects on their way to archives that do as a test says.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::archive::{Archive, Error, Fut, Kind, Result, Retrieval, Retrieve, Search, Stored};
use crate::caller::Caller;
use crate::dicom::object::Object;
use crate::dicom::query::Query;

/// What an archive does with an object.
#[derive(Debug, Clone, Copy)]
enum Does {
    /// It takes the object, and answers so.
    Answer(u16),
    /// It takes a piece each time so much time has passed.
    Crawl(Duration),
    /// It takes nothing.
    Nothing,
    /// It fails at once.
    Fail(u16),
}

struct Scripted {
    name: &'static str,
    does: Does,
    /// What came, and whether it was whole.
    got: Mutex<(Vec<u8>, bool)>,
}

impl Scripted {
    fn new(name: &'static str, does: Does) -> Arc<Self> {
        Arc::new(Self { name, does, got: Mutex::default() })
    }

    fn destination(self: &Arc<Self>) -> Destination {
        let caller = Caller { client: None, priority: Priority::Bulk, title: None };
        Destination { archive: Arc::clone(self) as _, caller, manner: Manner::default() }
    }

    fn got(&self) -> (usize, bool) {
        let got = self.got.lock().unwrap();
        (got.0.len(), got.1)
    }
}

impl Archive for Scripted {
    fn name(&self) -> &str {
        self.name
    }

    fn search(&self, _: &Caller, _: Query) -> Fut<'_, Result<Search>> {
        unreachable!("nobody searches")
    }

    fn retrieve(&self, _: &Caller, _: Retrieve) -> Fut<'_, Result<Retrieval>> {
        unreachable!("nobody retrieves")
    }

    fn store(&self, _: &Caller, mut object: Object) -> Fut<'_, Result<Stored>> {
        Box::pin(async move {
            let code = match self.does {
                Does::Nothing => std::future::pending().await,
                Does::Fail(code) => return Err(failure(self.name, code)),
                Does::Answer(code) => code,
                Does::Crawl(_) => 0,
            };
            while let Some(piece) = object.body.next().await {
                let Ok(piece) = piece else { return Err(Error::new(self.name, Kind::SourceBroke)) };
                self.got.lock().unwrap().0.extend_from_slice(&piece);
                if let Does::Crawl(pause) = self.does {
                    tokio::time::sleep(pause).await;
                }
            }
            self.got.lock().unwrap().1 = true;
            Ok(Stored { status: code, comment: None })
        })
    }

    fn verify(&self, _: &Caller) -> Fut<'_, Result<()>> {
        unreachable!("nobody asks")
    }
}

fn failure(archive: &str, code: u16) -> Error {
    let comment = Some("no room".to_owned());
    Error::new(archive, Kind::Status { operation: "C-STORE", code, comment, client_keys: false })
}

fn fan(archives: &[&Arc<Scripted>]) -> Fan {
    let uid = |text: &str| text.parse::<Uid>().unwrap();
    let head = Head {
        sop_class: uid("1.2"),
        sop_instance: uid("1.2.3"),
        transfer_syntax: uid("1.2.840.10008.1.2.1"),
    };
    Fan::new(&head, archives.iter().map(|archive| archive.destination()))
}

/// Pushes so many MiB, in small pieces.
async fn push(fan: &mut Fan, mebibytes: usize) {
    for _ in 0..mebibytes * 64 {
        fan.push(&Bytes::from_static(&[7; 16 << 10])).await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_archive_gets_all_of_it_and_all_answers_are_waited_for() {
    let (a, b) =
        (Scripted::new("a", Does::Answer(0)), Scripted::new("b", Does::Crawl(Duration::from_secs(1))));
    let mut fan = fan(&[&a, &b]);
    push(&mut fan, 3).await;
    fan.finish();
    fan.run().await;
    assert_eq!(worst(&fan.into_outcomes()), (0, None));
    assert_eq!((a.got(), b.got()), ((3 << 20, true), (3 << 20, true)));
}

#[tokio::test(start_paused = true)]
async fn hazard_an_archive_that_takes_nothing_holds_the_others_up_for_a_while_only() {
    let (deaf, well) = (Scripted::new("deaf", Does::Nothing), Scripted::new("well", Does::Answer(0)));
    let mut fan = fan(&[&deaf, &well]);
    let begin = Instant::now();
    push(&mut fan, 5).await;
    assert!((15..30).contains(&begin.elapsed().as_secs()), "{:?}", begin.elapsed());
    fan.finish();
    fan.run().await;
    let outcomes = fan.into_outcomes();
    assert!(outcomes[1].result.is_ok());
    assert_eq!(well.got(), (5 << 20, true));
    let (code, comment) = worst(&outcomes);
    assert_eq!(
        status::class(code),
        status::Class::Failure,
        "the other has it, and yet no object is lost silently"
    );
    assert!(comment.unwrap().contains("deaf"));
}

#[tokio::test(start_paused = true)]
async fn an_archive_on_its_own_takes_the_time_that_it_takes() {
    let slow = Scripted::new("slow", Does::Crawl(Duration::from_secs(25)));
    let mut fan = fan(&[&slow]);
    push(&mut fan, 2).await;
    fan.finish();
    fan.run().await;
    assert_eq!(worst(&fan.into_outcomes()), (0, None));
    assert_eq!(slow.got(), (2 << 20, true));
}

#[tokio::test(start_paused = true)]
async fn an_archive_that_has_failed_is_sent_no_more_and_holds_up_nobody() {
    let (full, well) = (Scripted::new("full", Does::Fail(0xA700)), Scripted::new("well", Does::Answer(0)));
    let mut fan = fan(&[&full, &well]);
    let begin = Instant::now();
    push(&mut fan, 5).await;
    assert!(fan.is_under_way());
    fan.finish();
    fan.run().await;
    assert_eq!(begin.elapsed(), Duration::ZERO);
    assert_eq!(worst(&fan.into_outcomes()), (0xA700, Some("full: no room".into())));
    assert_eq!(well.got(), (5 << 20, true));
}

#[tokio::test(start_paused = true)]
async fn hazard_what_breaks_off_is_whole_at_no_archive() {
    let (a, b) = (Scripted::new("a", Does::Answer(0)), Scripted::new("b", Does::Nothing));
    let mut fan = fan(&[&a, &b]);
    push(&mut fan, 1).await;
    fan.break_off().await;
    assert_eq!(a.got(), (1 << 20, false));
    assert!(!b.got().1);
}

#[test]
fn the_worst_status_is_told_and_of_equals_that_of_the_first_archive() {
    let good = |code, comment: Option<&str>| Ok(Stored { status: code, comment: comment.map(str::to_owned) });
    let outcomes = |results: Vec<Result<Stored>>| {
        let outcome = |(name, result): (&str, _)| Outcome { archive: name.to_owned(), result };
        ["a", "b", "c"].into_iter().zip(results).map(outcome).collect::<Vec<_>>()
    };
    let bad = |code| Err(failure("x", code));
    for (results, code, comment) in [
        (vec![good(0, Some("fine"))], 0, Some("fine")),
        (vec![good(0xB007, None)], 0xB007, None),
        (vec![bad(0xA900)], 0xA900, Some("no room")),
        (vec![good(0, None), good(0, None)], 0, None),
        (vec![good(0, None), good(0xB000, None), good(0xB007, Some("odd"))], 0xB000, Some("b")),
        (vec![good(0xB000, None), bad(0xC001), bad(0xA700)], 0xC001, Some("b: no room")),
        (vec![good(0, None), good(0, None), bad(0xA700)], 0xA700, Some("c: no room")),
    ] {
        assert_eq!(worst(&outcomes(results)), (code, comment.map(str::to_owned)));
    }
}
