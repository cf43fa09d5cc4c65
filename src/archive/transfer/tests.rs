use super::*;
use crate::archive::testing::Fake;
use crate::caller::Priority;

/// Who asks for nothing further and never calls it off.
struct Nobody;

impl Requestor for Nobody {
    type Gone = ();

    async fn cancelled(&mut self) -> Result<(), ()> {
        std::future::pending().await
    }

    async fn tell(&mut self, _tally: &Tally) -> Result<bool, ()> {
        Ok(false)
    }

    fn tell_under_way(&mut self, _tally: &Tally) {}
    fn study(&mut self, _study: &Uid, _patient: Option<&str>) {}
    fn next(&mut self, _head: &Head) {}
    fn passed(&mut self, _bytes: u64) {}
    fn delivered(&mut self) {}
}

/// Takes nothing.
struct Nowhere;

impl Delivery<Nobody> for Nowhere {
    async fn deliver(
        &mut self,
        _requestor: &mut Nobody,
        _object: Object,
        _tally: &Tally,
        _cancelled: &mut bool,
    ) -> Result<Delivered, ()> {
        Err(())
    }

    fn given_up(&self) -> Option<String> {
        None
    }
}

#[tokio::test]
async fn hazard_a_study_that_vanishes_before_its_rest_is_asked_for_has_not_come_well() {
    let target = Target { study: "1.2.3".parse().unwrap(), series: None, instance: None };
    let retrieve = Retrieve::new(target, Form::AsStored);
    let uid = |n: usize| format!("1.2.3.{n}").parse::<Uid>().unwrap();
    for (settled, only, ends_well, failed) in
        [(0, 0, true, 0), (1, 0, false, 0), (1, 1, true, 0), (1, 3, true, 2)]
    {
        let retrieve = Retrieve { only: (0..only).map(uid).collect(), ..retrieve.clone() };
        let caller = Caller { client: None, priority: Priority::Bulk, title: None };
        let mut nobody = Nobody;
        let mut work = Transfer::new(Fake::named("main"), caller, &mut nobody, Nowhere);
        let mut progress = Progress::default();
        for n in 0..settled {
            work.tally.expect(5);
            work.settle(&uid(n), Outcome::Completed, &mut progress);
        }
        let not_found = Err(Error::new("main", Kind::NotFound));
        let flow = work.conclude(&retrieve, not_found, &mut progress).await;
        let expected = match ends_well {
            true => Flow::On,
            false => Flow::Over(Ending::Failed(Failure::Vanished("main".to_owned()))),
        };
        assert_eq!((flow, work.tally.failed()), (expected, failed), "{settled} of {only} had come");
    }
}
