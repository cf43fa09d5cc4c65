//! Few associations: searches and retrievals share them, and an instance costs one C-GET where its class is known.

use super::*;

/// The transfer syntax in which an instance comes, or the error, wherever it came.
async fn syntax_of(archive: &DimseArchive, series: &str, number: usize, form: Form) -> Result<Uid, Error> {
    let target = Target {
        study: STUDY.parse().unwrap(),
        series: Some(series.parse().unwrap()),
        instance: Some(format!("{series}.{number}").parse().unwrap()),
    };
    let caller = Caller { client: None, priority: Priority::Interactive, title: None };
    let mut retrieval = archive.retrieve(&caller, Retrieve::new(target, form)).await?;
    let mut syntax = None;
    loop {
        match retrieval.objects.next().await {
            Step::Item(mut object) => {
                while let Some(bytes) = object.body.next().await {
                    bytes.unwrap();
                }
                syntax = Some(object.head.transfer_syntax);
            }
            Step::End(end) => return end.map(|_| syntax.expect("an object")),
        }
    }
}

#[tokio::test]
async fn hazard_an_association_for_objects_as_stored_serves_no_retrieval_of_native_ones() {
    let pacs = Arc::new(Pacs { decompresses: true, ..Pacs::with(JPEG, 1, Mutex::default()) });
    let archive = pacs.archive();
    for _ in 0..2 {
        let stored = syntax_of(&archive, SERIES[0], 1, Form::AsStored).await.unwrap();
        let native = syntax_of(&archive, SERIES[0], 1, Form::Native).await.unwrap();
        assert_eq!((stored.as_str(), native.as_str()), (JPEG, EXPLICIT_VR_LE));
    }
}

#[tokio::test]
async fn a_search_opens_the_association_on_which_the_images_come() {
    let pacs = Pacs::new(JPEG, &[]);
    let archive = pacs.archive();
    run(&archive, Some(SERIES[0]), Form::AsStored).await.unwrap();
    for series in SERIES {
        syntax_of(&archive, series, 1, Form::AsStored).await.unwrap();
    }
    assert!(*pacs.associations.lock().unwrap() <= 2, "{:?}", pacs.associations);
}

#[tokio::test]
async fn an_archive_that_aborts_at_many_contexts_is_searched_with_few_and_not_offered_many_again() {
    let many = Pacs::new(EXPLICIT_VR_LE, &[]).archive().inner.query_contexts();
    let most_contexts = many.offer.len() - 1;
    let pacs = Arc::new(Pacs { most_contexts, ..Pacs::with(EXPLICIT_VR_LE, 1, Mutex::default()) });
    let archive = pacs.archive();
    let target = Target { study: STUDY.parse().unwrap(), series: None, instance: None };
    let caller = Caller { client: None, priority: Priority::Interactive, title: None };
    assert_eq!(archive.inner.series_of(&caller, &target).await.unwrap().len(), 2);
    assert_eq!(*pacs.associations.lock().unwrap(), 1);
    assert_eq!(archive.inner.query_contexts().offer.len(), many.want.len());
}

#[tokio::test]
async fn an_instance_of_a_series_of_which_objects_came_costs_one_c_get_and_no_search() {
    let pacs = Arc::new(Pacs::with(EXPLICIT_VR_LE, 3, Mutex::default()));
    let archive = pacs.archive();
    syntax_of(&archive, SERIES[0], 1, Form::AsStored).await.unwrap();
    let finds = *pacs.finds.lock().unwrap();
    for number in [2, 3] {
        syntax_of(&archive, SERIES[0], number, Form::AsStored).await.unwrap();
    }
    assert_eq!((*pacs.finds.lock().unwrap(), pacs.gets()), (finds, 3));
    syntax_of(&archive, SERIES[1], 1, Form::AsStored).await.unwrap();
    assert_eq!(*pacs.finds.lock().unwrap(), finds + 1, "of another series nothing is known");
}

#[tokio::test]
async fn hazard_an_instance_that_is_not_there_is_not_found_though_the_class_of_its_series_is_known() {
    let pacs = Pacs::new(EXPLICIT_VR_LE, &[]);
    let archive = pacs.archive();
    syntax_of(&archive, SERIES[0], 1, Form::AsStored).await.unwrap();
    let error = syntax_of(&archive, SERIES[0], 2, Form::AsStored).await.unwrap_err();
    assert_eq!(error.kind, Kind::NotFound);
}

#[tokio::test]
async fn hazard_an_instance_of_another_class_than_those_of_its_series_before_comes() {
    // Else images are offered beside what is wanted.
    let pacs = Arc::new(Pacs { most_contexts: 64, ..Pacs::with(EXPLICIT_VR_LE, 1, Mutex::default()) });
    let archive = pacs.archive();
    let sr = "1.2.840.10008.5.1.4.1.1.88.11".parse().unwrap();
    archive.inner.knowledge.classes.learn(&SERIES[0].parse().unwrap(), &sr);
    syntax_of(&archive, SERIES[0], 1, Form::AsStored).await.unwrap();
    assert_eq!(pacs.gets(), 2);
}

#[tokio::test]
async fn hazard_an_instance_that_fails_is_an_error_though_the_class_of_its_series_is_known() {
    let pacs = Pacs::new(EXPLICIT_VR_LE, &[Get::Serve, Get::Fail, Get::Fail, Get::Fail]);
    let archive = pacs.archive();
    syntax_of(&archive, SERIES[0], 1, Form::AsStored).await.unwrap();
    let error = syntax_of(&archive, SERIES[0], 1, Form::AsStored).await.unwrap_err();
    assert!(matches!(error.kind, Kind::Status { code: 0xC000, .. }), "{error:?}");
}

#[tokio::test]
async fn hazard_an_archive_that_aborts_at_many_contexts_is_not_offered_many_by_retrievals_either() {
    let pacs = Arc::new(Pacs { most_contexts: 100, ..Pacs::with(EXPLICIT_VR_LE, 1, Mutex::default()) });
    let archive = pacs.archive();
    for form in [Form::AsStored, Form::Native] {
        syntax_of(&archive, SERIES[0], 1, form).await.unwrap();
    }
    assert_eq!(*pacs.aborted.lock().unwrap(), 1);
}

#[tokio::test]
async fn hazard_the_syntax_in_which_a_native_object_comes_is_not_taken_for_that_in_which_it_lies() {
    let pacs = Arc::new(Pacs { decompresses: true, ..Pacs::with(JPEG, 1, Mutex::default()) });
    let archive = pacs.archive();
    for (form, learnt) in [(Form::Native, vec![]), (Form::AsStored, vec![JPEG])] {
        syntax_of(&archive, SERIES[0], 1, form).await.unwrap();
        assert_eq!(archive.inner.learnt().syntaxes(CT), learnt, "{form:?}");
    }
}

#[tokio::test]
async fn hazard_a_number_of_instances_that_no_series_can_hold_is_none() {
    let pacs = Pacs { tells: Some(i64::MAX), ..Pacs::with(EXPLICIT_VR_LE, 1, Mutex::default()) };
    let archive = Arc::new(pacs).archive();
    let target = Target { study: STUDY.parse().unwrap(), series: None, instance: None };
    let caller = Caller { client: None, priority: Priority::Interactive, title: None };
    let series = archive.inner.series_of(&caller, &target).await.unwrap();
    assert!(series.iter().all(|series| series.count.is_none()), "{series:?}");
}
