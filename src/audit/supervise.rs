//! A sink's thread, which begins anew after a fault of its own: what it had not brought is brought again, and a message
//! on which it breaks down time and again is left out.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::Loss;
use super::spool::{Reader, Spool};

/// The first pause before a sink begins anew, which doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How often a sink begins anew when nothing more comes: enough to leave one message out.
const LAST_ATTEMPTS: usize = 4;

/// Starts the thread of a sink. `run` brings what its reader has until there is no more; it is told how to count what is
/// lost, and is called again where it panics or cannot begin.
///
/// # Errors
/// The system has no thread left.
pub(super) fn sink(
    spool: &Spool,
    name: &'static str,
    loss: &Arc<Loss>,
    mut run: impl FnMut(Reader, &dyn Fn(u64)) -> io::Result<()> + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let (spool, loss) = (spool.clone(), Arc::clone(loss));
    let supervised = move || {
        let (mut pause, mut last) = (FIRST_PAUSE, 0);
        loop {
            let (reader, began) = (spool.reader(name), Instant::now());
            // Whatever it leaves behind is dropped, and made anew.
            let ended = catch_unwind(AssertUnwindSafe(|| run(reader, &|count| loss.count(count))));
            match ended {
                Ok(Ok(())) => return,
                Ok(Err(error)) => {
                    tracing::error!(sink = name, %error, "the audit trail cannot be written; it is kept in the spool");
                }
                Err(_) => tell(name, spool.broke_down(name), &loss),
            }
            if began.elapsed() > LONGEST_PAUSE {
                pause = FIRST_PAUSE;
            }
            if spool.rest(pause) {
                last += 1;
                if last > LAST_ATTEMPTS {
                    return;
                }
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    };
    thread::Builder::new().name(format!("audit-{name}")).spawn(supervised)
}

fn tell(sink: &str, left_out: bool, loss: &Loss) {
    tracing::error!(
        sink,
        left_out,
        "a sink of the audit trail has broken down by a fault of its own, and begins anew: please report it"
    );
    loss.broke_down(sink);
    if left_out {
        loss.count(1);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::lines::{self, Lines};
    use super::super::spool;
    use super::*;
    use crate::metrics::Metrics;

    /// Lines that panic over some of them.
    struct Fragile {
        kept: Arc<Mutex<Vec<String>>>,
        over: fn(&[String], &str) -> bool,
    }

    impl Lines for Fragile {
        fn write(&mut self, lines: &[u8]) -> io::Result<()> {
            for line in String::from_utf8_lossy(lines).lines() {
                let mut kept = self.kept.lock().unwrap();
                let breaks = (self.over)(&kept, line);
                if !breaks {
                    kept.push(line.to_owned());
                }
                drop(kept);
                assert!(!breaks, "on purpose");
            }
            Ok(())
        }

        fn sync(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is kept of a hundred records, and what is counted, where a sink panics over those.
    fn kept_of_a_hundred(over: fn(&[String], &str) -> bool) -> (Vec<String>, Arc<Loss>) {
        let directory = tempfile::tempdir().unwrap();
        let (spool, mut appender) = spool::open(directory.path(), 1 << 20, &["file"]).unwrap();
        for n in 0..100 {
            assert!(appender.append(format!("record {n}").as_bytes()));
        }
        appender.flush().unwrap();
        appender.close();
        let loss = Arc::new(Loss::new(Metrics::default()));
        let kept = Arc::<Mutex<Vec<String>>>::default();
        let lines = Arc::clone(&kept);
        let run = move |reader: Reader, lost: &dyn Fn(u64)| {
            lines::run(reader, Fragile { kept: Arc::clone(&lines), over }, "file", lost);
            Ok(())
        };
        sink(&spool, "file", &loss, run).unwrap().join().unwrap();
        let kept = kept.lock().unwrap().clone();
        (kept, loss)
    }

    #[test]
    fn hazard_a_sink_that_panics_begins_anew_and_nothing_is_missing() {
        let once = |kept: &[String], line: &str| {
            line == "record 41" && kept.iter().filter(|line| *line == "record 40").count() == 1
        };
        let (mut kept, loss) = kept_of_a_hundred(once);
        assert_eq!(loss.metrics.audit_lost.get(), 0);
        assert_eq!(loss.broken().get("file"), Some(&1));
        kept.sort();
        kept.dedup();
        assert_eq!(kept.len(), 100);
    }

    #[test]
    fn hazard_a_message_on_which_a_sink_breaks_down_every_time_silences_no_other() {
        let (mut kept, loss) = kept_of_a_hundred(|_, line| line == "record 41");
        assert_eq!(loss.metrics.audit_lost.get(), 1, "it is counted");
        assert_eq!(loss.broken().get("file"), Some(&3));
        assert_eq!(kept.last().map(String::as_str), Some("record 99"));
        kept.sort();
        kept.dedup();
        assert_eq!((kept.len(), kept.contains(&"record 41".to_owned())), (99, false));
    }

    #[test]
    fn a_sink_that_cannot_begin_is_tried_again() {
        let directory = tempfile::tempdir().unwrap();
        let (spool, mut appender) = spool::open(directory.path(), 1 << 20, &["file"]).unwrap();
        assert!(appender.append(b"record"));
        appender.flush().unwrap();
        appender.close();
        let loss = Arc::new(Loss::new(Metrics::default()));
        let (mut attempts, kept) = (0, Arc::<Mutex<Vec<String>>>::default());
        let lines = Arc::clone(&kept);
        let run = move |reader: Reader, lost: &dyn Fn(u64)| {
            attempts += 1;
            if attempts == 1 {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            lines::run(reader, Fragile { kept: Arc::clone(&lines), over: |_, _| false }, "file", lost);
            Ok(())
        };
        sink(&spool, "file", &loss, run).unwrap().join().unwrap();
        assert_eq!(*kept.lock().unwrap(), ["record"]);
    }
}
