//! Sifts the matches of a level: drops those that do not match, holds back those that it cannot tell of until
//! the C-FIND is over, and passes the others on as they come.
//!
//! A match is dropped at once only when an attribute in it certainly differs from a key. Where an attribute is
//! missing, empty, or differs by letter case or accents, the archive's own matching counts, if it does match
//! on the key. Whether it does is found out by asking: for one such match, with a value that nothing has. What
//! comes back all the same was not matched on. The answer is remembered for a while.

use std::collections::HashSet;

use super::find::Stop;
use super::identifier::{Ask, Identifiers};
use super::levels::{Room, Searcher, Sink};
use super::request::Root;
use crate::archive::Kind;
use crate::archive::knowledge::Treatment;
use crate::dicom::dataset::{DataSet, vr_of};
use crate::dicom::matching::{Criterion, Verdict, criteria};
use crate::dicom::query::{AttributePath, MatchingKey};
use crate::dicom::{Tag, VR, tags};

/// Most that is held back, as encoded: some 16,000 matches, which take about ten times as much in memory.
const MAX_HELD_BYTES: usize = 8 << 20;
/// Most matches whose union is made: their Unique Keys are kept.
const MAX_UNION: usize = 200_000;

/// What becomes of a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sifted {
    Keep,
    Drop,
    Hold,
}

impl Searcher<'_> {
    /// Searches one level below one parent. Tells how many matches the archive sent.
    pub(super) async fn search_level(&mut self, ask: &Ask, sink: &mut Sink) -> Result<usize, Stop> {
        let Identifiers { data_sets, unasked } = ask.identifiers();
        let criteria = criteria(&ask.keys);
        let mut seen = (data_sets.len() > 1).then(HashSet::new);
        let (mut held, mut held_bytes) = (Vec::new(), 0);
        let mut matches = 0;
        'finds: for identifier in data_sets {
            let mut find = self.client.find(identifier, ask.has_client_keys()).await?;
            while let Some(mut data_set) = self.client.next(&mut find).await? {
                matches += 1;
                if !self.adopt(ask, &mut data_set) || !is_new(&mut seen, &data_set) {
                    continue;
                }
                if seen.as_ref().is_some_and(|seen| seen.len() > MAX_UNION) || held_bytes > MAX_HELD_BYTES {
                    find.cancel().await;
                    let advice = "narrow the search, for example by a range of dates";
                    return Err(self.client.inner.error(Kind::TooManyMatches).advise(advice).into());
                }
                let room = match self.sift(ask, &criteria, &unasked, &data_set) {
                    Sifted::Keep => self.deliver(ask, data_set, sink, Some(&mut find)).await,
                    Sifted::Drop => continue,
                    Sifted::Hold => {
                        held.push(data_set);
                        held_bytes += find.last_length;
                        continue;
                    }
                };
                match room {
                    Ok(Room::Left) => {}
                    Ok(Room::Full) => {
                        find.cancel().await;
                        break 'finds;
                    }
                    Err(stop) => {
                        find.cancel().await;
                        return Err(stop);
                    }
                }
            }
        }
        self.complete(ask, &mut held).await?;
        for data_set in held {
            if self.settle(ask, &criteria, &unasked, &data_set).await?
                && self.deliver(ask, data_set, sink, None).await? == Room::Full
            {
                break;
            }
        }
        Ok(matches)
    }

    /// Whether a match lies below the parent that was asked for. A parent that it does not name is filled in.
    fn adopt(&mut self, ask: &Ask, data_set: &mut DataSet) -> bool {
        for (tag, value) in ask.fixed() {
            match data_set.string(tag) {
                // Of a Patient ID the archive may have its own spelling.
                Some(own) if own == value || vr_of(tag) != VR::UI => {}
                Some(_) => return false,
                None if self.has_to_be_said(tag) => return false,
                None => data_set.set_str(tag, vr_of(tag), value),
            }
        }
        if self.request.root == Root::Patient
            && let (Some(study), Some(patient)) =
                (data_set.uid(tags::STUDY_INSTANCE_UID), data_set.string(tags::PATIENT_ID))
        {
            self.client.inner.knowledge.patients.learn(study, patient.to_owned());
        }
        true
    }

    /// Whether a match has to say this itself: what was asked for is no word of the archive on whose it is.
    fn has_to_be_said(&self, tag: Tag) -> bool {
        let query = &self.request.query;
        query.as_said && (tag == tags::PATIENT_ID || query.is_for_lower_uids())
    }

    fn sift(
        &self,
        ask: &Ask,
        criteria: &[Criterion],
        unasked: &[AttributePath],
        data_set: &DataSet,
    ) -> Sifted {
        let verdicts: Vec<Verdict> = criteria.iter().map(|c| c.judge(data_set)).collect();
        if verdicts.contains(&Verdict::Differs) {
            return Sifted::Drop;
        }
        if self.is_incomplete(ask, data_set) {
            return Sifted::Hold;
        }
        let doubtful = criteria.iter().zip(verdicts).filter(|(_, verdict)| *verdict == Verdict::Doubtful);
        let mut sifted = Sifted::Keep;
        for (criterion, _) in doubtful {
            match self.treatment(ask, criterion, unasked) {
                Some(Treatment::Honoured) => {}
                Some(Treatment::Ignored) => return Sifted::Drop,
                None => sifted = Sifted::Hold,
            }
        }
        sifted
    }

    /// Decides about a match that was held back.
    async fn settle(
        &mut self,
        ask: &Ask,
        criteria: &[Criterion],
        unasked: &[AttributePath],
        data_set: &DataSet,
    ) -> Result<bool, Stop> {
        for criterion in criteria {
            match criterion.judge(data_set) {
                Verdict::Differs => return Ok(false),
                Verdict::Matches | Verdict::Likely => continue,
                Verdict::Doubtful => {}
            }
            let treatment = match self.treatment(ask, criterion, unasked) {
                Some(known) => known,
                None => self.probe(ask, criterion, data_set).await?,
            };
            if treatment == Treatment::Ignored {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn treatment(&self, ask: &Ask, criterion: &Criterion, unasked: &[AttributePath]) -> Option<Treatment> {
        if criterion.keys().iter().any(|key| unasked.contains(&key.path)) {
            return Some(Treatment::Ignored);
        }
        self.client.inner.knowledge.treatment(ask.level, &paths(criterion))
    }

    /// Finds out whether the archive matches on a key: asks for one entity with a value that it does not have.
    async fn probe(
        &mut self,
        ask: &Ask,
        criterion: &Criterion,
        data_set: &DataSet,
    ) -> Result<Treatment, Stop> {
        let levels = self.request.root.levels().iter().filter(|level| **level <= ask.level);
        let unique: Vec<Tag> = levels.map(|level| level.unique_key()).collect();
        let own = ask.level.unique_key();
        let concerns_uids = criterion.keys().iter().any(|key| unique.contains(&key.path.leaf()));
        if data_set.string(own).is_none() || concerns_uids {
            return Ok(Treatment::Honoured);
        }
        let known = unique.iter().filter_map(|tag| Some((*tag, data_set.string(*tag)?)));
        let fixed = known.map(|(tag, value)| MatchingKey {
            path: tag.into(),
            vr: vr_of(tag),
            values: vec![value.to_owned()],
        });
        let impossible = criterion
            .keys()
            .iter()
            .map(|key| MatchingKey { values: vec![nobody_has(key.vr).to_owned()], ..key.clone() });
        let probe = Ask {
            level: ask.level,
            parent: DataSet::new(),
            above: Vec::new(),
            relational: false,
            keys: fixed.chain(impossible).collect(),
            returns: Vec::new(),
        };
        let Some(identifier) = probe.identifiers().data_sets.pop() else { return Ok(Treatment::Honoured) };
        let treatment = match self.client.all(identifier, false, 2).await {
            Ok(matches) if matches.iter().any(|m| m.string(own) == data_set.string(own)) => {
                Treatment::Ignored
            }
            Ok(_) => Treatment::Honoured,
            // It minds the key, at any rate.
            Err(Stop::Failed(error)) if matches!(error.kind, Kind::Status { .. }) => Treatment::Honoured,
            Err(stop) => return Err(stop),
        };
        self.client.inner.knowledge.learn_treatment(ask.level, paths(criterion), treatment);
        Ok(treatment)
    }
}

fn paths(criterion: &Criterion) -> Vec<AttributePath> {
    criterion.keys().iter().map(|key| key.path.clone()).collect()
}

/// Whether the entity has not been in the union yet.
fn is_new(seen: &mut Option<HashSet<[String; 3]>>, data_set: &DataSet) -> bool {
    let Some(seen) = seen else { return true };
    let uids = [tags::STUDY_INSTANCE_UID, tags::SERIES_INSTANCE_UID, tags::SOP_INSTANCE_UID];
    let name = uids.map(|tag| data_set.string(tag).unwrap_or_default().to_owned());
    seen.insert(name)
}

/// A valid value of the VR that no entity has.
fn nobody_has(vr: VR) -> &'static str {
    match vr {
        VR::UI => "2.25.1",
        VR::DA => "10000101",
        VR::TM => "000000.000001",
        VR::DT => "10000101000000.000001",
        VR::AT => "FFFFFFFE",
        VR::US => "65533",
        VR::IS | VR::SL | VR::SV => "-2147483647",
        VR::UL | VR::UV => "4294967293",
        VR::SS => "-32767",
        VR::DS | VR::FL | VR::FD => "-987654321.5",
        VR::AS => "999Y",
        _ => "NOBODY HAS THIS",
    }
}
