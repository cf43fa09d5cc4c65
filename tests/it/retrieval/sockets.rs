//! An archive with Nagle's algorithm on that sends a command and its data set apart waits for our acknowledgement of
//! every object: 40 ms each, unless our sockets see to it.

use std::time::Duration;

use tokio::time::Instant;

use super::{METHODS, Outcome, configuration, judge, pacs, study_path};
use crate::support::app::TestApp;
use crate::support::http::get;
use crate::support::objects::{Kind, expected, study};
use crate::support::process::free_port;

/// How many objects are retrieved.
const OBJECTS: usize = 200;
/// Far less than the shortest delayed acknowledgement for each of them, which is 40 ms.
const LIMIT: Duration = Duration::from_millis(OBJECTS as u64 * 40 / 4);
/// On a machine that is busy otherwise, one of so many retrievals is in time.
const ATTEMPTS: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_nagle_at_the_archive_and_split_writes_cost_no_delayed_acknowledgements() {
    for method in METHODS {
        let (instances, port) = (study(1, 1, OBJECTS, &Kind::default()), free_port());
        let archive = pacs("PACS", &instances, port, &[]).nagle().start().await.unwrap();
        let app = TestApp::start(&configuration(archive.addr(), port, method, "")).await;
        let mut fastest = Duration::MAX;
        for _ in 0..ATTEMPTS {
            let begin = Instant::now();
            let reply = get(app.http, &study_path(1)).await;
            fastest = fastest.min(begin.elapsed());
            assert_eq!(judge(&reply, &expected(&instances), "with Nagle on"), Outcome::Complete);
            if fastest < LIMIT {
                break;
            }
        }
        assert!(fastest < LIMIT, "{method:?}: {fastest:?}");
    }
}
