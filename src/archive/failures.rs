//! Objects that failed lately, so that the next request is told beforehand (206) and a study with one bad
//! object stays readable.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::{Form, Retrieve};
use crate::dicom::Uid;

/// How long a failure is remembered. After that it is tried again, and a request may break again.
const MEMORY: Duration = Duration::from_secs(10 * 60);
/// Most objects that are remembered of one archive.
const MOST: usize = 10_000;

/// The failures of one archive.
#[derive(Debug, Default)]
pub(super) struct Failures {
    objects: VecDeque<Failure>,
}

#[derive(Debug)]
struct Failure {
    study: Uid,
    series: Option<Uid>,
    instance: Uid,
    form: Form,
    until: Instant,
}

impl Failures {
    /// What a retrieval is known not to bring. An instance that is asked for by name is always tried.
    pub(super) fn of(&mut self, retrieve: &Retrieve, now: Instant) -> BTreeSet<Uid> {
        self.objects.retain(|f| f.until > now);
        let target = &retrieve.target;
        if target.instance.is_some() || !retrieve.only.is_empty() {
            return BTreeSet::new();
        }
        let covers = |f: &&Failure| {
            f.study == target.study
                && f.form == retrieve.form
                && (target.series.is_none() || f.series == target.series)
        };
        self.objects.iter().filter(covers).map(|f| f.instance.clone()).collect()
    }

    /// Objects that a retrieval did not bring, with the series where that is known.
    pub(super) fn remember(
        &mut self,
        retrieve: &Retrieve,
        missing: &[Uid],
        series: Option<&BTreeMap<Uid, Uid>>,
        now: Instant,
    ) {
        for instance in missing {
            self.have_come(retrieve.form, |uid| uid == instance);
            let series = series.and_then(|all| all.get(instance)).or(retrieve.target.series.as_ref());
            self.objects.push_back(Failure {
                study: retrieve.target.study.clone(),
                series: series.cloned(),
                instance: instance.clone(),
                form: retrieve.form,
                until: now + MEMORY,
            });
            if self.objects.len() > MOST {
                self.objects.pop_front();
            }
        }
    }

    /// Objects for which `has` is true have come after all.
    pub(super) fn have_come(&mut self, form: Form, has: impl Fn(&Uid) -> bool) {
        self.objects.retain(|f| f.form != form || !has(&f.instance));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::query::Target;

    #[test]
    fn a_failure_is_announced_to_the_next_request_for_a_while_but_not_to_one_that_names_it() {
        let uid = |text: &str| text.parse::<Uid>().unwrap();
        let target = Target { study: uid("1"), series: None, instance: None };
        let study = Retrieve::new(target.clone(), Form::AsStored);
        let series = Retrieve::new(Target { series: Some(uid("1.2")), ..target.clone() }, Form::AsStored);
        let other = Retrieve::new(Target { series: Some(uid("1.9")), ..target.clone() }, Form::AsStored);
        let one = Target { series: Some(uid("1.2")), instance: Some(uid("1.2.3")), ..target };
        let one = Retrieve::new(one, Form::AsStored);
        let now = Instant::now();
        let mut failures = Failures::default();
        let known = BTreeMap::from([(uid("1.2.3"), uid("1.2"))]);
        failures.remember(&study, &[uid("1.2.3")], Some(&known), now);
        assert_eq!(failures.of(&study, now).len(), 1);
        assert_eq!(failures.of(&series, now).len(), 1);
        assert!(failures.of(&other, now).is_empty());
        assert!(failures.of(&one, now).is_empty());
        assert!(failures.of(&Retrieve { form: Form::Native, ..study.clone() }, now).is_empty());
        failures.have_come(Form::Native, |_| true);
        failures.have_come(Form::AsStored, |found| *found != uid("1.2.3"));
        assert_eq!(failures.of(&study, now).len(), 1, "it has not come");
        assert!(failures.of(&study, now + MEMORY).is_empty());
        failures.remember(&study, &[uid("1.2.3")], None, now);
        failures.have_come(Form::AsStored, |found| *found == uid("1.2.3"));
        assert!(failures.of(&study, now).is_empty(), "it has come after all");
    }
}
