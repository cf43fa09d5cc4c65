use tokio::io::{AsyncReadExt, DuplexStream, duplex};

use super::super::spool;
use super::*;

/// What is left to be brought of one record, after a receiver has done with its connection as `receiver` does.
async fn left_after<F: Future<Output = ()> + Send + 'static>(receiver: fn(DuplexStream) -> F) -> bool {
    let directory = tempfile::tempdir().unwrap();
    let (spool, mut appender) = spool::open(directory.path(), 1 << 20, &["syslog"]).unwrap();
    assert!(appender.append(b"{}"));
    appender.flush().unwrap();
    appender.close();
    let (ours, theirs) = duplex(1 << 20);
    let mut session = Session { stream: Box::new(ours), written: VecDeque::new() };
    let receiving = tokio::spawn(receiver(theirs));
    let mut reader = spool.reader("syslog");
    let _ = session.run(&Header::new(10, "host"), &mut reader, &|_| ()).await;
    assert!(reader.is_at_the_end());
    receiving.abort();
    spool.reader("syslog").has_more()
}

#[tokio::test(start_paused = true)]
async fn hazard_a_receiver_that_does_not_close_at_the_end_has_confirmed_nothing() {
    let closes = |mut stream: DuplexStream| async move {
        stream.read_to_end(&mut Vec::new()).await.unwrap();
    };
    assert!(!left_after(closes).await);
    let stays = |mut stream: DuplexStream| async move {
        stream.read_to_end(&mut Vec::new()).await.unwrap();
        std::future::pending::<()>().await;
    };
    assert!(left_after(stays).await);
}
