//! A panic at each await of a retrieval's driver: a defect of our own is an error for the reader, and costs
//! nothing that outlives it.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::super::*;
use crate::archive::Archive as _;
use crate::archive::testing::planted_panic;
use crate::archive::{Form, Kind, Retrieve, Step};
use crate::caller::{Caller, Priority};
use crate::demo;
use crate::dicom::query::Target;
use crate::dicom::tags;

const OBJECTS: usize = 3;
/// No retrieval of three small objects takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The application with its parts at hand.
struct Running {
    _archive: demo::Running,
    main: DimseArchive,
    moves: MoveDestination,
    target: Target,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    async fn start(method: &str) -> Self {
        // The archive has to know where the bridge listens before it is there.
        let reserved = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let own = reserved.local_addr().unwrap();
        drop(reserved);
        let objects = demo::Plain::new(1, 1, OBJECTS, 1000).make();
        let archive = demo::Archive::builder()
            .ae_title("PACS".parse().unwrap())
            .studies(objects.clone())
            .destination("GANTRY".parse().unwrap(), own)
            .start()
            .await
            .unwrap();
        let study = objects[0].attributes.uid(tags::STUDY_INSTANCE_UID).unwrap();
        let text = format!(
            "[http]\nlisten = \"127.0.0.1:0\"\n[dimse]\nlisten = \"{own}\"\n[archive.main]\nae_title = \"PACS\"\n\
             address = \"{}\"\nretrieve = \"{method}\"\n",
            archive.addr()
        );
        let app = App::bind(Config::parse(&text, []).unwrap()).await.unwrap();
        let (main, moves) = (app.archives()[0].clone(), app.moves().clone());
        let task = tokio::spawn(app.run(CancellationToken::new()));
        let target = Target { study, series: None, instance: None };
        Self { _archive: archive, main, moves, target, task }
    }

    /// Reads a study to its end: how many objects came whole, and how it ended.
    async fn retrieve(&self) -> (usize, Result<(), Kind>) {
        let caller = Caller { client: None, priority: Priority::Bulk, title: None };
        let retrieve = Retrieve::new(self.target.clone(), Form::AsStored);
        let mut objects = match self.main.retrieve(&caller, retrieve).await {
            Ok(retrieval) => retrieval.objects,
            Err(error) => return (0, Err(error.kind)),
        };
        let mut whole = 0;
        loop {
            match objects.next().await {
                Step::Item(mut object) => {
                    let mut broken = false;
                    while let Some(bytes) = object.body.next().await {
                        broken |= bytes.is_err();
                    }
                    whole += usize::from(!broken);
                }
                Step::End(end) => return (whole, end.map(drop).map_err(|error| error.kind)),
            }
        }
    }

    /// Waits until no association is in use and no move under way.
    async fn settle(&self, what: &str) {
        let begin = Instant::now();
        loop {
            let ((open, idle), moves) = (self.main.associations(), self.moves.under_way());
            if open == idle && moves == 0 {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "{what}: {open} open, {idle} idle, {moves} moves");
            sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn a_panic_at_each_await(method: &str) {
    let app = Running::start(method).await;
    let mut died = 0;
    for nth in 1.. {
        let what = format!("{method}, panic before poll {nth}");
        planted_panic::plant(nth);
        let (whole, end) =
            timeout(PATIENCE, app.retrieve()).await.unwrap_or_else(|_| panic!("{what}: hangs"));
        assert!(!planted_panic::is_planted(), "{what}: no driver took it");
        app.settle(&what).await;
        if end.is_ok() {
            assert_eq!(whole, OBJECTS, "{what}");
            break;
        }
        assert_eq!(end, Err(Kind::DriverDied), "{what}");
        died += 1;
        let next =
            timeout(PATIENCE, app.retrieve()).await.unwrap_or_else(|_| panic!("{what}: the next hangs"));
        assert_eq!(next, (OBJECTS, Ok(())), "{what}: the next");
        app.settle(&what).await;
    }
    // The searches, the lease of a new association, and the operation with its messages: each waits at least once. One
    // that was in use a moment ago is there at once.
    assert!(died >= 5, "{method}: {died}");
}

#[tokio::test]
async fn hazard_a_panic_at_any_await_of_a_c_get_is_an_error_and_leaves_nothing_behind() {
    a_panic_at_each_await("get").await;
}

#[tokio::test]
async fn hazard_a_panic_at_any_await_of_a_c_move_is_an_error_and_leaves_nothing_behind() {
    a_panic_at_each_await("move").await;
}
