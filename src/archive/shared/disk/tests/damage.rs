//! Files that were damaged, torn or replaced: none of their bytes is used, and nothing else suffers.

use super::*;

#[test]
fn hazard_every_byte_that_is_changed_is_found_out() {
    let home = tempfile::tempdir().unwrap();
    let (space, path) = sample(home.path(), &bytes(1000));
    assert_eq!(load(&space, &path).unwrap(), bytes(1000));
    let good = fs::read(&path).unwrap();
    for n in 0..good.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[n] ^= flip;
            fs::write(&path, bad).unwrap();
            assert_eq!(load(&space, &path), Err(Damaged), "byte {n}");
        }
    }
}

#[test]
fn hazard_a_file_cut_anywhere_or_too_long_is_found_out() {
    let home = tempfile::tempdir().unwrap();
    let (space, path) = sample(home.path(), &bytes(1000));
    let good = fs::read(&path).unwrap();
    for length in 0..good.len() {
        fs::write(&path, &good[..length]).unwrap();
        assert_eq!(load(&space, &path), Err(Damaged), "{length} bytes");
    }
    fs::write(&path, [&good[..], &[0]].concat()).unwrap();
    assert_eq!(load(&space, &path), Err(Damaged));
}

#[test]
fn blocks_that_changed_places_are_found_out() {
    let home = tempfile::tempdir().unwrap();
    let (space, path) = sample(home.path(), &Bytes::from(vec![7; 2 * BLOCK as usize]));
    let mut bytes = fs::read(&path).unwrap();
    let start = bytes.len() - 24 - 2 * (BLOCK as usize + 16);
    let (first, rest) = bytes[start..].split_at_mut(BLOCK as usize + 16);
    first.swap_with_slice(&mut rest[..BLOCK as usize + 16]);
    fs::write(&path, bytes).unwrap();
    assert_eq!(load(&space, &path), Err(Damaged));
}

#[tokio::test]
async fn hazard_what_was_damaged_while_it_lay_there_is_fetched_again() {
    let (_home, path) = directory();
    let content = bytes(6 * MIB);
    for (instance, content, at_end) in [("1.2.1.1", bytes(1000), 500), ("1.2.1.2", content, 3 * MIB)] {
        let cache = at(&path, 8 * MIB, 100 * MIB);
        ready(&cache).await;
        put(&cache, instance, &content).await;
        written(&cache, 1).await;
        end(cache).await;
        let file = only_object(&path);
        let mut bad = fs::read(&file).unwrap();
        let place = bad.len() - at_end;
        bad[place] ^= 1;
        fs::write(&file, bad).unwrap();

        let cache = at(&path, 8 * MIB, 100 * MIB);
        ready(&cache).await;
        match read(&cache, instance).await {
            None => assert_eq!(content.len(), 1000, "small ones are verified before they are claimed"),
            Some(read) => assert_eq!((read, content.len()), (Err(BrokenObject), 6 * MIB)),
        }
        assert_eq!(damaged(&cache), 1);
        assert!(!cache.has(&key(instance)) && read(&cache, instance).await.is_none());
        until("the file is removed", || !file.exists()).await;
        put(&cache, instance, &content).await;
        assert_eq!(read(&cache, instance).await.unwrap().unwrap(), content);
        written(&cache, 1).await;
        cache.purge(&Purge::default());
        end(cache).await;
        fs::remove_dir_all(&path).unwrap();
    }
}

#[tokio::test]
async fn hazard_what_a_killed_process_left_is_removed_and_what_is_foreign_is_left_alone() {
    let (home, path) = directory();
    let cache = at(&path, MIB, 10 * MIB);
    ready(&cache).await;
    put(&cache, "1.2.1.1", &bytes(1000)).await;
    written(&cache, 1).await;
    end(cache).await;
    let file = only_object(&path);
    let torn = path.join(format!("{}.7.tmp", file.file_stem().unwrap().to_str().unwrap()));
    fs::copy(&file, &torn).unwrap();
    let misnamed = path.join(format!("{}.obj", "0".repeat(32)));
    fs::copy(&file, &misnamed).unwrap();
    let outside = home.path().join("outside");
    fs::write(&outside, "precious").unwrap();
    let link = path.join(format!("{}.obj", "1".repeat(32)));
    symlink(&outside, &link).unwrap();
    let foreign = path.join("notes.txt");
    fs::write(&foreign, "mine").unwrap();

    let cache = at(&path, MIB, 10 * MIB);
    ready(&cache).await;
    assert!(!torn.exists() && !misnamed.exists());
    assert!(link.is_symlink() && foreign.exists() && outside.exists());
    assert_eq!(cache.state().objects, 1);
    assert_eq!(cache.state().disk.unwrap().bytes, fs::metadata(&file).unwrap().len());
    assert_eq!(read(&cache, "1.2.1.1").await.unwrap().unwrap(), bytes(1000));
}

/// The one file of an object.
fn only_object(path: &Path) -> PathBuf {
    objects(path).into_iter().find(|path| path.extension().unwrap() == "obj").unwrap()
}

/// Puts a directory that is not empty in the place of a file.
fn replace(file: &Path) {
    fs::remove_file(file).unwrap();
    fs::create_dir(file).unwrap();
    fs::write(file.join("notes.txt"), "mine").unwrap();
}

#[tokio::test]
async fn hazard_a_directory_in_place_of_a_file_costs_this_one_object_its_place_on_disk_and_no_other() {
    let (_home, path) = directory();
    let cache = at(&path, 0, 10 * MIB);
    ready(&cache).await;
    put(&cache, "1.2.1.1", &bytes(MIB)).await;
    written(&cache, 1).await;
    let file = only_object(&path);
    // Somebody reads it.
    let in_use = cache.disk().unwrap().take(&key("1.2.1.1"));
    replace(&file);
    assert!(read(&cache, "1.2.1.1").await.is_none());
    assert_eq!((damaged(&cache), cache.state().objects), (1, 0));
    put(&cache, "1.2.1.1", &bytes(MIB)).await;
    until("it is given up", || damaged(&cache) == 2).await;
    drop(in_use);
    until("no bytes are counted for it", || cache.state().disk.unwrap().bytes == 0).await;
    put(&cache, "1.2.1.2", &bytes(MIB)).await;
    written(&cache, 1).await;
    assert_eq!(read(&cache, "1.2.1.2").await.unwrap().unwrap(), bytes(MIB));
    assert_eq!((damaged(&cache), cache.state().disk.unwrap().problem), (2, None));
    assert!(file.join("notes.txt").exists(), "what is foreign is left alone");
    until("its draft is removed", || objects(&path).len() == 2).await;
}

#[tokio::test]
async fn hazard_a_directory_that_lay_there_at_the_start_costs_this_one_object_too() {
    let (_home, path) = directory();
    let cache = at(&path, MIB, 10 * MIB);
    ready(&cache).await;
    put(&cache, "1.2.1.1", &bytes(1000)).await;
    written(&cache, 1).await;
    end(cache).await;
    replace(&only_object(&path));
    let cache = at(&path, MIB, 10 * MIB);
    ready(&cache).await;
    for instance in ["1.2.1.1", "1.2.1.2"] {
        put(&cache, instance, &bytes(1000)).await;
        until("the writer rests", || cache.with(|memory| memory.queued == 0)).await;
        assert_eq!(read(&cache, instance).await.unwrap().unwrap(), bytes(1000));
    }
    assert_eq!((damaged(&cache), cache.disk().unwrap().objects()), (1, 1));
    assert_eq!(cache.state().disk.unwrap().problem, None);
}
