use super::*;

const SIZE: u64 = 16 << 10;

fn records(reader: &mut Reader) -> Vec<String> {
    let mut found = Vec::new();
    while reader.has_more() {
        let batch = reader.read().unwrap();
        assert!(!batch.damaged);
        for (record, behind) in batch.records {
            found.push(String::from_utf8(record).unwrap());
            reader.acknowledge(behind);
        }
    }
    found
}

fn put(appender: &mut Appender, texts: impl IntoIterator<Item = String>) {
    for text in texts {
        assert!(appender.append(text.as_bytes()));
    }
    appender.flush().unwrap();
}

fn segments(path: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "segment"))
        .collect();
    found.sort();
    found
}

#[test]
fn every_sink_reads_every_record_in_order_and_what_all_have_is_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, mut appender) = open(directory.path(), SIZE, &["a", "b"]).unwrap();
    let (mut a, mut b) = (spool.reader("a"), spool.reader("b"));
    let mut expected = Vec::new();
    for round in 0..20 {
        let texts: Vec<String> = (0..10).map(|n| format!("{round}-{n}-{}", "x".repeat(50))).collect();
        put(&mut appender, texts.clone());
        expected.extend(texts.clone());
        assert_eq!(records(&mut a), texts);
        if round % 5 == 4 {
            let read = records(&mut b);
            assert_eq!(read, expected);
            expected.clear();
            appender.sweep().unwrap();
            assert!(segments(directory.path()).len() <= 2, "{:?}", segments(directory.path()));
        }
    }
}

#[test]
fn what_waits_is_what_the_slowest_sink_does_not_have() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, mut appender) = open(directory.path(), SIZE, &["a", "b"]).unwrap();
    let (mut a, mut b) = (spool.reader("a"), spool.reader("b"));
    assert_eq!(spool.waiting(), 0);
    for _ in 0..4 {
        put(&mut appender, (0..10).map(|n| format!("{n}-{}", "x".repeat(50))));
    }
    let all = spool.waiting();
    assert!(all > 40 * 50 && segments(directory.path()).len() > 1, "{all}");
    records(&mut a);
    assert_eq!(spool.waiting(), all, "the other has none of it");
    records(&mut b);
    assert_eq!(spool.waiting(), 0);
}

#[test]
fn hazard_after_a_crash_nothing_is_lost_but_the_record_that_was_being_written() {
    let directory = tempfile::tempdir().unwrap();
    let whole: Vec<String> = (0..5).map(|n| format!("record {n}")).collect();
    {
        let (spool, mut appender) = open(directory.path(), SIZE, &["a"]).unwrap();
        put(&mut appender, whole.clone());
        let mut reader = spool.reader("a");
        let first = reader.read().unwrap().records.swap_remove(0);
        reader.acknowledge(first.1);
        appender.sweep().unwrap();
    }
    let segment = segments(directory.path()).pop().unwrap();
    let bytes = fs::read(&segment).unwrap();
    for cut in 1..=(HEADER + "record 4".len()) {
        fs::write(&segment, &bytes[..bytes.len() - cut]).unwrap();
        let (spool, mut appender) = open(directory.path(), SIZE, &["a"]).unwrap();
        put(&mut appender, ["after".to_owned()]);
        let mut reader = spool.reader("a");
        let mut found = Vec::new();
        while reader.has_more() {
            found.extend(reader.read().unwrap().records.into_iter().map(|(record, _)| record));
        }
        let found: Vec<String> = found.into_iter().map(|record| String::from_utf8(record).unwrap()).collect();
        assert_eq!(found[..4], [&whole[1..4], &["after".to_owned()]].concat()[..], "cut by {cut}");
        // As it was, for the next round.
        drop((reader, appender, spool));
        for later in segments(directory.path()).into_iter().filter(|path| *path != segment) {
            fs::remove_file(later).unwrap();
        }
    }
}

#[test]
fn hazard_a_damaged_record_is_told_and_does_not_stop_what_comes_behind_its_segment() {
    let directory = tempfile::tempdir().unwrap();
    {
        let (_, mut appender) = open(directory.path(), SIZE, &["a"]).unwrap();
        put(&mut appender, (0..3).map(|n| format!("record {n}")));
    }
    let segment = segments(directory.path()).pop().unwrap();
    let (spool, mut appender) = open(directory.path(), SIZE, &["a"]).unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    bytes[HEADER + "record 0".len() + HEADER] ^= 1;
    fs::write(&segment, bytes).unwrap();
    put(&mut appender, ["after".to_owned()]);
    let mut reader = spool.reader("a");
    let (mut found, mut damaged) = (Vec::new(), 0);
    while reader.has_more() {
        let batch = reader.read().unwrap();
        damaged += usize::from(batch.damaged);
        found.extend(batch.records.into_iter().map(|(record, _)| String::from_utf8(record).unwrap()));
    }
    assert_eq!((found, damaged), (vec!["record 0".to_owned(), "after".to_owned()], 1));
}

#[test]
fn a_segment_that_somebody_took_away_is_told_and_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    {
        let (_, mut appender) = open(directory.path(), SIZE, &["a"]).unwrap();
        put(&mut appender, ["one".to_owned()]);
    }
    let segment = segments(directory.path()).pop().unwrap();
    let (spool, mut appender) = open(directory.path(), SIZE, &["a"]).unwrap();
    put(&mut appender, ["two".to_owned()]);
    fs::remove_file(segment).unwrap();
    let mut reader = spool.reader("a");
    assert!(reader.read().unwrap().damaged);
    assert_eq!(records(&mut reader), ["two"]);
}

#[test]
fn hazard_a_full_spool_takes_no_more_until_a_sink_has_gone_on() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, mut appender) = open(directory.path(), SIZE, &["a"]).unwrap();
    let text = "x".repeat(500);
    let mut count = 0;
    while appender.append(text.as_bytes()) {
        appender.flush().unwrap();
        appender.sweep().unwrap();
        count += 1;
    }
    assert_eq!(count, SIZE as usize / (HEADER + 500));
    let on_disk: u64 = segments(directory.path()).iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!(on_disk <= SIZE);
    assert_eq!(records(&mut spool.reader("a")).len(), count);
    appender.sweep().unwrap();
    assert!(appender.append(text.as_bytes()));
}

#[test]
fn what_was_acknowledged_is_remembered_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    {
        let (spool, mut appender) = open(directory.path(), SIZE, &["a"]).unwrap();
        put(&mut appender, ["one".to_owned()]);
        assert_eq!(records(&mut spool.reader("a")), ["one"]);
        put(&mut appender, ["two".to_owned()]);
        appender.sweep().unwrap();
    }
    let (spool, _appender) = open(directory.path(), SIZE, &["a", "new"]).unwrap();
    assert_eq!(records(&mut spool.reader("a")), ["two"]);
    assert_eq!(records(&mut spool.reader("new")), Vec::<String>::new());
}

#[cfg(unix)]
#[test]
fn its_files_are_for_our_user_alone_and_its_directory_for_one_process() {
    use std::os::unix::fs::PermissionsExt;

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("spool");
    let (_spool, mut appender) = open(&path, SIZE, &["a"]).unwrap();
    put(&mut appender, ["one".to_owned()]);
    appender.sweep().unwrap();
    for entry in fs::read_dir(&path).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
    }
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let error = open(&path, SIZE, &["a"]).unwrap_err().to_string();
    assert!(error.contains("another process"), "{error}");
}

#[test]
fn hazard_a_sink_that_is_away_misses_the_oldest_and_silences_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, mut appender) = open(directory.path(), SIZE, &["away", "here"]).unwrap();
    let (mut here, mut missed, mut appended) = (spool.reader("here"), 0, 0);
    for n in 0..200 {
        let text = format!("{n:03}{}", "x".repeat(500));
        if !appender.append(text.as_bytes()) {
            appender.flush().unwrap();
            for it in appender.make_room().unwrap() {
                assert_eq!(it.sink, "away");
                missed += it.records;
            }
            assert!(appender.append(text.as_bytes()), "{n}");
        }
        appender.flush().unwrap();
        assert_eq!(records(&mut here), [text]);
        appended += 1;
    }
    let left = records(&mut spool.reader("away"));
    assert!(missed > 0 && left.last().unwrap().starts_with("199"), "{missed}");
    assert_eq!(missed + left.len() as u64, appended);
}

#[test]
fn where_all_sinks_are_away_no_older_record_makes_way_for_a_newer_one() {
    let directory = tempfile::tempdir().unwrap();
    let (_, mut appender) = open(directory.path(), SIZE, &["a", "b"]).unwrap();
    let text = "x".repeat(500);
    while appender.append(text.as_bytes()) {
        appender.flush().unwrap();
    }
    assert_eq!(appender.make_room().unwrap(), []);
}

#[test]
fn hazard_a_reader_is_moved_on_while_it_reads_and_never_back() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, mut appender) = open(directory.path(), SIZE, &["away", "here"]).unwrap();
    let mut away = spool.reader("away");
    put(&mut appender, ["one".to_owned()]);
    let behind = away.read().unwrap().records.pop().unwrap().1;
    (0..4).for_each(|n| put(&mut appender, [format!("{n}{}", "x".repeat(500))]));
    records(&mut spool.reader("here"));
    let missed = appender.make_room().unwrap();
    assert_eq!(missed.iter().map(|it| it.records).collect::<Vec<_>>(), [3], "of the first segment");
    away.acknowledge(behind);
    away.go_back();
    let batch = away.read().unwrap();
    assert!(!batch.damaged && batch.records[0].0.starts_with(b"2"));
}

#[test]
fn hazard_where_nobody_says_how_far_the_sinks_were_they_begin_at_the_first_record() {
    for damage in
        [None, Some(""), Some("a 3"), Some("b 1 0\na 99999999999999999999999999 0\n"), Some("\0\0\0\0")]
    {
        let directory = tempfile::tempdir().unwrap();
        {
            let (_, mut appender) = open(directory.path(), SIZE, &["a"]).unwrap();
            put(&mut appender, ["one".to_owned()]);
            appender.sweep().unwrap();
        }
        let positions = directory.path().join("positions");
        match damage {
            None => fs::remove_file(positions).unwrap(),
            Some(text) => fs::write(positions, text).unwrap(),
        }
        let (spool, _appender) = open(directory.path(), SIZE, &["a"]).unwrap();
        assert_eq!(records(&mut spool.reader("a")), ["one"], "{damage:?}");
    }
}

#[test]
fn hazard_positions_that_cannot_be_read_are_not_taken_for_none() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path(), SIZE, &["a"]).unwrap());
    let positions = directory.path().join("positions");
    fs::remove_file(&positions).unwrap();
    fs::create_dir(&positions).unwrap();
    open(directory.path(), SIZE, &["a"]).unwrap_err();
}
