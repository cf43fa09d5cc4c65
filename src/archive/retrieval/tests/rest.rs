//! Retrievals of which some is at hand already.

use super::*;

/// Objects of series `series` with these numbers.
fn uids(series: usize, numbers: std::ops::RangeInclusive<usize>) -> BTreeSet<Uid> {
    numbers.map(|n| format!("{}.{n}", SERIES[series]).parse().unwrap()).collect()
}

/// An archive with ten objects in each of its two series.
fn pacs(change: impl FnOnce(&mut Pacs)) -> Arc<Pacs> {
    let mut pacs = Pacs::with(EXPLICIT_VR_LE, 10, Mutex::default());
    change(&mut pacs);
    Arc::new(pacs)
}

/// Asks for a series, or for the study, some of which is at hand; how many objects come, and what is confirmed.
async fn ask(
    pacs: &Arc<Pacs>,
    series: Option<&str>,
    having: &BTreeSet<Uid>,
) -> Result<(usize, BTreeSet<Uid>), Error> {
    let series = series.map(|uid| uid.parse().unwrap());
    let target = Target { study: STUDY.parse().unwrap(), series, instance: None };
    let retrieve = Retrieve { having: having.clone(), ..Retrieve::new(target, Form::AsStored) };
    let caller = Caller { client: None, priority: Priority::Bulk, title: None };
    bring(&pacs.archive(), &caller, retrieve).await.map(|(came, confirmed)| {
        assert!(came.iter().all(|uid| !confirmed.contains(&uid.parse().unwrap())), "brought what is at hand");
        (came.len(), confirmed)
    })
}

#[tokio::test]
async fn of_what_is_all_at_hand_nothing_is_brought_and_the_end_is_good() {
    let pacs = pacs(|_| {});
    let having: BTreeSet<Uid> = uids(0, 1..=10).into_iter().chain(uids(1, 1..=10)).collect();
    assert_eq!(ask(&pacs, None, &having).await.unwrap(), (0, having));
    assert_eq!(pacs.gets(), 0);
}

#[tokio::test]
async fn a_small_rest_is_asked_for_by_name() {
    let pacs = pacs(|_| {});
    let having = uids(0, 1..=7);
    assert_eq!(ask(&pacs, Some(SERIES[0]), &having).await.unwrap(), (3, having));
    assert_eq!(*pacs.gets.lock().unwrap(), [("IMAGE".to_owned(), 3)]);
}

#[tokio::test]
async fn where_most_is_missing_the_series_is_asked_for_and_what_is_at_hand_is_dropped() {
    let pacs = pacs(|_| {});
    let having = uids(0, 1..=3);
    assert_eq!(ask(&pacs, Some(SERIES[0]), &having).await.unwrap(), (7, having));
    assert_eq!(*pacs.gets.lock().unwrap(), [("SERIES".to_owned(), 0)]);
}

#[tokio::test]
async fn of_a_study_only_the_series_that_lack_something_are_asked_for() {
    let pacs = pacs(|_| {});
    let having = uids(0, 1..=10);
    assert_eq!(ask(&pacs, None, &having).await.unwrap(), (10, having));
    assert_eq!(*pacs.gets.lock().unwrap(), [("SERIES".to_owned(), 0)]);
}

#[tokio::test]
async fn what_the_archive_lists_no_more_is_not_confirmed() {
    let pacs = pacs(|_| {});
    let gone: Uid = "1.1.1.99".parse().unwrap();
    let mut having = uids(0, 1..=10);
    having.insert(gone.clone());
    assert_eq!(ask(&pacs, Some(SERIES[0]), &having).await.unwrap(), (0, uids(0, 1..=10)));
    assert_eq!(pacs.gets(), 0, "the archive's own count says that the list is whole");
}

#[tokio::test]
async fn hazard_a_list_that_the_archive_caps_without_a_word_does_not_make_a_short_series_whole() {
    for counts in [true, false] {
        let pacs = pacs(|pacs| (pacs.lists, pacs.counts) = (Some(5), counts));
        let (came, confirmed) = ask(&pacs, Some(SERIES[0]), &uids(0, 1..=8)).await.unwrap();
        assert_eq!((came, confirmed), (5, uids(0, 1..=5)), "{counts}");
    }
}

#[tokio::test]
async fn hazard_an_archive_that_was_seen_to_cap_its_lists_is_not_believed_again() {
    let pacs = pacs(|pacs| (pacs.lists, pacs.counts) = (Some(5), false));
    let archive = pacs.archive();
    let caller = Caller { client: None, priority: Priority::Bulk, title: None };
    let target =
        Target { study: STUDY.parse().unwrap(), series: Some(SERIES[0].parse().unwrap()), instance: None };
    let all = Retrieve::new(target, Form::AsStored);
    assert_eq!(bring(&archive, &caller, all.clone()).await.unwrap().0.len(), 10);
    let some = Retrieve { having: uids(0, 1..=4), ..all };
    let (came, confirmed) = bring(&archive, &caller, some).await.unwrap();
    assert_eq!((came.len(), confirmed), (6, uids(0, 1..=4)));
}

#[tokio::test]
async fn an_archive_that_cannot_list_brings_everything() {
    let pacs = pacs(|pacs| pacs.lists = None);
    let having = uids(0, 1..=10);
    assert_eq!(ask(&pacs, Some(SERIES[0]), &having).await.unwrap(), (10, BTreeSet::new()));
}

#[tokio::test]
async fn one_instance_at_hand_is_confirmed_without_being_brought() {
    let pacs = pacs(|_| {});
    let [study, series, instance] = [STUDY, SERIES[0], "1.1.1.2"].map(|uid| uid.parse::<Uid>().unwrap());
    let target = Target { study, series: Some(series), instance: Some(instance.clone()) };
    let retrieve = Retrieve { having: [instance.clone()].into(), ..Retrieve::new(target, Form::AsStored) };
    let caller = Caller { client: None, priority: Priority::Interactive, title: None };
    let (came, confirmed) = bring(&pacs.archive(), &caller, retrieve).await.unwrap();
    assert_eq!((came.len(), confirmed), (0, [instance].into()));
    assert_eq!(pacs.gets(), 0);
}
