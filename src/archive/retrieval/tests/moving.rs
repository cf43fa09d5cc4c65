//! Retrievals by C-MOVE: what its final response overtakes, and what never comes.

use super::*;
use crate::archive::{Arrival, Origin};
use crate::dicom::object::Head;

/// How long after the final response what it has overtaken comes.
const LATE: Duration = Duration::from_secs(1);

/// What an archive does with the first C-MOVE; all others bring what they name.
pub(super) struct Moving {
    to: MoveDestination,
    /// So many objects come before the final response.
    in_time: Mutex<Option<usize>>,
    /// The others come late, and not never.
    late: bool,
    /// The final response says how many there are.
    counted: bool,
}

impl Moving {
    /// Sends objects; the final response.
    pub(super) async fn serve(&self, request: &Command, objects: Vec<DataSet>) -> Command {
        let in_time = self.in_time.lock().unwrap().take().unwrap_or(objects.len());
        let (to, id) = (self.to.clone(), request.message_id);
        let completed = self.counted.then_some(objects.len() as u16);
        let mut rest = objects;
        let others = rest.split_off(in_time.min(rest.len()));
        store(&to, id, rest).await;
        if self.late && !others.is_empty() {
            tokio::spawn(async move {
                tokio::time::sleep(LATE).await;
                store(&to, id, others).await;
            });
        }
        Command { completed, failed: completed.map(|_| 0), ..request.response(0) }
    }
}

async fn store(to: &MoveDestination, id: u16, objects: Vec<DataSet>) {
    for object in objects {
        let head = Head {
            sop_class: CT.parse().unwrap(),
            sop_instance: object.uid(tags::SOP_INSTANCE_UID).unwrap(),
            transfer_syntax: EXPLICIT_VR_LE.parse().unwrap(),
        };
        let origin = Origin {
            address: [127, 0, 0, 1].into(),
            calling: "PACS".parse().unwrap(),
            originator: Some(("GANTRY".parse().unwrap(), id)),
        };
        let mut arrival = Arrival::of_move(head, to.clone(), origin);
        arrival.push(object.encode(Layout::ExplicitLe, QueryCharset::Auto).into(), true).await;
        assert_eq!(arrival.finish(), 0);
    }
}

/// An archive of two series of two objects each, of which two come in time.
fn archive(tells: i64, late: bool, counted: bool) -> (Arc<Pacs>, DimseArchive) {
    let config = Config { address: "127.0.0.1:104".into(), ..Pacs::config(Method::Move) };
    let to = MoveDestination::new("GANTRY".parse().unwrap(), "127.0.0.1:11112", [&config], []);
    let moving = Moving { to: to.clone(), in_time: Mutex::new(Some(2)), late, counted };
    let pacs = Pacs::with(EXPLICIT_VR_LE, 2, Mutex::default());
    let pacs = Arc::new(Pacs { tells: Some(tells), moving: Some(moving), ..pacs });
    let connected = Arc::clone(&pacs);
    let connect = move |_| connector(Arc::clone(&connected));
    (pacs, DimseArchive::over(config, Some(to), None, Metrics::default(), connect))
}

#[tokio::test(start_paused = true)]
async fn hazard_objects_that_a_response_without_counters_overtakes_come_though_the_series_tell_of_fewer() {
    let (pacs, archive) = archive(1, true, false);
    assert_eq!(run(&archive, None, Form::AsStored).await.unwrap().len(), 4);
    assert_eq!(*pacs.moves.lock().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_never_comes_is_waited_for_as_long_as_an_archive_may_be_silent_and_no_longer() {
    let (pacs, archive) = archive(2, false, true);
    let begin = Instant::now();
    assert_eq!(run(&archive, None, Form::AsStored).await.unwrap().len(), 4);
    let silence = archive.config().timeouts.silence;
    assert!(begin.elapsed() < silence * 3 / 2, "{:?}", begin.elapsed());
    assert!(*pacs.moves.lock().unwrap() > 1, "it is asked for by name");
}
