//! A disk that cannot be used, fails or has no room: the cache says so and goes on.

use super::*;

#[tokio::test]
async fn what_cannot_be_used_is_told_and_the_cache_goes_on_without() {
    let (home, path) = directory();
    let file = home.path().join("file");
    fs::write(&file, "").unwrap();
    let open = home.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let first = at(&path, MIB, 10 * MIB);
    ready(&first).await;
    let cases = [
        (path.clone(), "another process"),
        (file, "cannot be made"),
        (PathBuf::from("/proc/gantry"), "cannot be made"),
        (open, "others may write"),
    ];
    for (path, words) in cases {
        let cache = at(&path, MIB, 10 * MIB);
        until("it is told", || cache.state().disk.unwrap().problem.is_some()).await;
        let problem = cache.state().disk.unwrap().problem.unwrap();
        assert!(problem.contains(words), "{problem}");
        put(&cache, "1.2.1.1", &bytes(1000)).await;
        assert_eq!(read(&cache, "1.2.1.1").await.unwrap().unwrap(), bytes(1000));
    }
}

#[tokio::test]
async fn a_disk_that_fails_is_told_and_left_alone() {
    let (_home, path) = directory();
    let cache = at(&path, 8 * MIB, 10 * MIB);
    ready(&cache).await;
    cache.disk().unwrap().fails.store(true, std::sync::atomic::Ordering::Relaxed);
    put(&cache, "1.2.1.1", &bytes(MIB)).await;
    until("it is told", || cache.state().disk.unwrap().problem.is_some()).await;
    assert!(cache.state().disk.unwrap().problem.unwrap().contains("make room"));
    put(&cache, "1.2.1.2", &bytes(MIB)).await;
    for instance in ["1.2.1.1", "1.2.1.2"] {
        assert_eq!(read(&cache, instance).await.unwrap().unwrap(), bytes(MIB));
    }
    until("nothing is left", || objects(&path).is_empty() && cache.state().disk.unwrap().bytes == 0).await;
    assert!(!cache.with(|memory| memory.can_save));
}

#[tokio::test]
async fn files_never_exceed_their_size_and_the_longest_unused_make_room() {
    let (_home, path) = directory();
    let size = 3 * MIB + MIB / 2;
    let cache = at(&path, 64 * MIB, size);
    ready(&cache).await;
    let on_disk = || {
        let files = objects(&path).into_iter().filter_map(|path| fs::metadata(path).ok());
        files.map(|file| file.len()).sum::<u64>()
    };
    for n in 0..6 {
        put(&cache, &format!("1.2.1.{n}"), &bytes(MIB)).await;
        until("the writer rests", || cache.with(|memory| memory.queued == 0)).await;
        assert!(on_disk() <= size as u64 && cache.state().disk.unwrap().bytes <= size as u64);
        // What is in memory as well is in use, and its file makes no room.
        cache.with(|memory| while memory.evict() {});
    }
    let here: Vec<u32> = (0..6).filter(|n| cache.has(&key(&format!("1.2.1.{n}")))).collect();
    assert_eq!(here, [3, 4, 5]);
    assert_eq!(on_disk(), cache.state().disk.unwrap().bytes);
    put(&cache, "1.2.2.1", &bytes(4 * MIB)).await;
    until("the writer rests", || cache.with(|memory| memory.queued == 0)).await;
    assert!(on_disk() <= size as u64, "what is larger than all is not written");
}

#[tokio::test]
async fn a_slow_reader_holds_no_memory_and_gets_everything_from_disk() {
    for (objects, length) in [(1, 24 * MIB), (24, MIB)] {
        let (_home, path) = directory();
        let cache = at(&path, 3 * MIB, 100 * MIB);
        ready(&cache).await;
        let (reader, reserve) = (cache.reader(), cache.reserve());
        let content = bytes(length);
        let mut cursors = Vec::new();
        let begin = Instant::now();
        for n in 0..objects {
            let instance = format!("1.2.1.{n}");
            let mut writer = cache.begin(key(&instance), head(&instance), None, &reserve);
            cursors.push(writer.claim_for(&reader).read());
            for at in (0..length).step_by(64 << 10) {
                writer.append(content.slice(at..at + (64 << 10)).to_vec().into()).await;
                assert!(cache.state().memory <= 3 * MIB as u64);
            }
            writer.finish();
        }
        assert!(begin.elapsed() < Duration::from_secs(15), "nobody waited for the reader");
        assert!(!reader.is_cut());
        for cursor in cursors {
            assert!(all(cursor).await.unwrap() == content);
        }
    }
}

#[tokio::test]
async fn where_one_file_after_the_other_cannot_be_written_the_disk_is_at_fault() {
    let (_home, path) = directory();
    let cache = at(&path, 8 * MIB, 10 * MIB);
    ready(&cache).await;
    for n in 1..=9 {
        let instance = format!("1.2.1.{n}");
        fs::create_dir(path.join(format!("{}.obj", Description::name(&key(&instance))))).unwrap();
        assert_eq!(cache.state().disk.unwrap().problem, None, "{n}");
        put(&cache, &instance, &bytes(1000)).await;
        until("the writer rests", || cache.with(|memory| memory.queued == 0)).await;
    }
    until("it is told", || cache.state().disk.unwrap().problem.is_some()).await;
    assert_eq!(read(&cache, "1.2.1.9").await.unwrap().unwrap(), bytes(1000));
}

#[tokio::test]
async fn a_directory_that_is_gone_is_told_at_once() {
    let (_home, path) = directory();
    let cache = at(&path, 8 * MIB, 10 * MIB);
    ready(&cache).await;
    fs::remove_dir_all(&path).unwrap();
    put(&cache, "1.2.1.1", &bytes(1000)).await;
    until("it is told", || cache.state().disk.unwrap().problem.is_some()).await;
    assert!(cache.state().disk.unwrap().problem.unwrap().contains("gone"));
    assert_eq!(read(&cache, "1.2.1.1").await.unwrap().unwrap(), bytes(1000));
}
