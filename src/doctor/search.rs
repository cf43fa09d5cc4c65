//! C-FIND at each level, for little: a handful of studies of the last days, one of their series, and its instances.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Examination;
use super::contexts::few;
use super::finding::{Code, Finding, Level as Severity};
use super::talk::{Found, Talk, Trouble};
use crate::dicom::calendar;
use crate::dicom::dataset::{DataSet, Parsed, Value, WarningKind};
use crate::dicom::query::{Level, Target};
use crate::dicom::{Uid, VR, sop_class, tags};

/// How far back studies are looked for, in days: no further than until some are found, as a search over all there is
/// may keep an archive busy for long.
const DAYS: [u64; 4] = [3, 30, 365, 20 * 365];
/// Matches after which a search for studies or series is cancelled.
const MOST_MATCHES: usize = 20;
/// The same, for instances: the numbers of a series.
const MOST_INSTANCES: usize = 200;

/// What is looked at more closely.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) study: Uid,
    pub(super) patient: Option<String>,
    pub(super) series: Option<Uid>,
    pub(super) instance: Option<Uid>,
}

impl Sample {
    /// The one instance, or as much as is known of where it is.
    pub(super) fn target(&self) -> Target {
        let instance = self.series.as_ref().and(self.instance.clone());
        Target { study: self.study.clone(), series: self.series.clone(), instance }
    }
}

/// How text came.
#[derive(Debug, Default)]
pub(super) struct Texts {
    /// The values of Specific Character Set, each once.
    named: Vec<String>,
    matches: usize,
    undecodable: usize,
    unknown: usize,
    /// Matches with text beyond ASCII and no character set.
    unnamed: usize,
}

impl Texts {
    fn look_at(&mut self, parsed: &Parsed) {
        self.matches += 1;
        let data_set = &parsed.data_set;
        let named = data_set.strings(tags::SPECIFIC_CHARACTER_SET).join("\\");
        let beyond_ascii = data_set
            .iter()
            .any(|(_, element)| matches!(&element.value, Value::Strings(texts) if texts.iter().any(|text| !text.is_ascii())));
        self.unnamed += usize::from(named.is_empty() && beyond_ascii);
        let has = |kind| parsed.warnings.iter().any(|warning| warning.kind == kind);
        self.undecodable += usize::from(has(WarningKind::UndecodableText));
        self.unknown += usize::from(has(WarningKind::UnknownCharset));
        let named = if named.is_empty() { "none".to_owned() } else { named };
        if !self.named.contains(&named) {
            self.named.push(named);
        }
    }
}

impl Examination {
    /// Searches at every level.
    pub(super) async fn search(&mut self, talk: Option<Talk>) {
        let Some(class) = self.accepted.find(self.config.model) else {
            if let Some(talk) = talk {
                talk.release().await;
            }
            return;
        };
        self.talk = talk;
        if let Some(mut sample) = self.find_study(class).await {
            if class == sop_class::PATIENT_ROOT_FIND {
                self.find_patient(class, &sample).await;
            }
            self.find_series(class, &mut sample).await;
            self.find_instances(class, &mut sample).await;
            self.find_relational(class, &sample).await;
            self.sample = Some(sample);
        }
        if let Some(talk) = self.talk.take() {
            talk.release().await;
        }
        self.tell_charsets();
    }

    /// A search on the association that is open, or on a new one where it was lost.
    async fn find(
        &mut self,
        class: &'static str,
        level: Level,
        mut keys: DataSet,
        most: usize,
    ) -> Result<Found, Trouble> {
        keys.set_str(tags::QUERY_RETRIEVE_LEVEL, VR::CS, level.as_str());
        let mut talk = match self.talk.take() {
            Some(talk) => talk,
            None => self.reach_again(few()).await.map_err(|error| Trouble::Protocol(error.to_string()))?,
        };
        let (charset, assumed) = (self.config.query_charset.clone(), self.config.assume_charset.clone());
        let found = talk.find(class, &keys, &charset, assumed.as_ref(), most).await;
        match &found {
            Ok(found) if found.has_ended() => self.talk = Some(talk),
            _ => talk.abort().await,
        }
        if let Ok(found) = &found {
            found.matches.iter().for_each(|parsed| self.texts.look_at(parsed));
        }
        found
    }

    async fn find_study(&mut self, class: &'static str) -> Option<Sample> {
        let wanted = self.study.clone();
        let windows: Vec<Option<u64>> = match &wanted {
            Some(_) => vec![None],
            None => DAYS.iter().copied().map(Some).collect(),
        };
        for days in windows {
            let mut keys = DataSet::new();
            keys.set_str(tags::STUDY_DATE, VR::DA, days.map_or(String::new(), since));
            keys.set_str(tags::STUDY_INSTANCE_UID, VR::UI, wanted.as_ref().map_or("", Uid::as_str));
            keys.set_empty(tags::PATIENT_ID, VR::LO);
            // For how they are encoded; nobody is shown them.
            keys.set_empty(tags::PATIENT_NAME, VR::PN);
            keys.set_empty(tags::STUDY_DESCRIPTION, VR::LO);
            keys.set_empty(tags::NUMBER_OF_STUDY_RELATED_INSTANCES, VR::IS);
            let found = match self.find(class, Level::Study, keys, MOST_MATCHES).await {
                Ok(found) => found,
                Err(trouble) => {
                    self.found(failed(Code::FindFailed, "studies", &trouble.to_string()));
                    return None;
                }
            };
            if let Some((code, comment)) = found.failure() {
                self.found(failed(Code::FindFailed, "studies", &status(code, comment)));
                return None;
            }
            let of_study = |parsed: &Parsed| {
                let study = parsed.data_set.uid(tags::STUDY_INSTANCE_UID)?;
                let is_wanted = wanted.as_ref().is_none_or(|wanted| *wanted == study);
                let count =
                    parsed.data_set.int(tags::NUMBER_OF_STUDY_RELATED_INSTANCES).filter(|count| *count > 0);
                let patient = parsed.data_set.string(tags::PATIENT_ID).map(str::to_owned);
                is_wanted.then_some((
                    count.unwrap_or(i64::MAX),
                    Sample { study, patient, series: None, instance: None },
                ))
            };
            // The smallest, so that as little as possible is asked for further on.
            let sample = found.matches.iter().filter_map(of_study).min_by_key(|(count, _)| *count);
            let Some((_, sample)) = sample else { continue };
            let window = match (days, &wanted) {
                (Some(days), _) => format!("of the last {days} days"),
                (None, _) => "with this UID".to_owned(),
            };
            let more = if found.is_cancelled { "at least " } else { "" };
            let studies = if found.matches.len() == 1 { "study" } else { "studies" };
            let what = format!("{more}{} {studies} {window}", found.matches.len());
            self.found(Finding::new(Code::FoundStudies, what).took(found.first));
            if found.is_cancelled && !found.has_ended() {
                let finding = Finding::new(
                    Code::CancelIgnored,
                    "a search goes on, or breaks off, after it was cancelled",
                )
                .means("who ends a search early costs an association; Gantry cuts it and goes on by another");
                self.found(finding);
            }
            return Some(sample);
        }
        let finding = match wanted {
            Some(_) => Finding::new(Code::StudyUnknown, "the study of --study is not found")
                .means("the archive does not hold it, or does not show it to us")
                .remedy("check the Study Instance UID, and whether our AE title may see everything there"),
            None => Finding::new(Code::NoStudies, "no study is found, though the search ends well")
                .means("the archive is empty, shows us nothing, or does not match dates; what follows cannot be tried without a study")
                .remedy("give the UID of a study that is there by --study; check whether our AE title may see everything there"),
        };
        self.found(finding);
        None
    }

    /// PATIENT level, of the Patient Root model alone.
    async fn find_patient(&mut self, class: &'static str, sample: &Sample) {
        let Some(patient) = &sample.patient else { return };
        let mut keys = DataSet::new();
        keys.set_str(tags::PATIENT_ID, VR::LO, patient.clone());
        let found = self.find(class, Level::Patient, keys, MOST_MATCHES).await;
        let finding = match outcome(&found) {
            Ok((1.., first)) => Finding::new(Code::FoundPatient, "the patient of the study").took(first),
            Ok((0, _)) => failed(Code::PatientFindFailed, "the patient of a study", "no match").remedy(""),
            Err(why) => failed(Code::PatientFindFailed, "the patient of a study", &why).remedy(""),
        };
        self.found(finding);
    }

    async fn find_series(&mut self, class: &'static str, sample: &mut Sample) {
        let mut keys = above(class, sample);
        keys.set_empty(tags::SERIES_INSTANCE_UID, VR::UI);
        keys.set_empty(tags::MODALITY, VR::CS);
        keys.set_empty(tags::SERIES_DESCRIPTION, VR::LO);
        keys.set_empty(tags::NUMBER_OF_SERIES_RELATED_INSTANCES, VR::IS);
        let found = self.find(class, Level::Series, keys, MOST_MATCHES).await;
        let finding = match outcome(&found) {
            Ok((count @ 1.., first)) => {
                let series = found.iter().flat_map(|found| &found.matches);
                let size = |data_set: &DataSet| {
                    data_set.int(tags::NUMBER_OF_SERIES_RELATED_INSTANCES).filter(|count| *count > 0)
                };
                sample.series = series
                    .min_by_key(|parsed| size(&parsed.data_set).unwrap_or(i64::MAX))
                    .and_then(|parsed| parsed.data_set.uid(tags::SERIES_INSTANCE_UID));
                Finding::new(Code::FoundSeries, format!("{count} series of one study")).took(first)
            }
            Ok((0, _)) => failed(Code::SeriesFindFailed, "series", "a study that is there has none"),
            Err(why) => failed(Code::SeriesFindFailed, "series", &why),
        };
        self.found(finding);
    }

    async fn find_instances(&mut self, class: &'static str, sample: &mut Sample) {
        let Some(series) = sample.series.clone() else { return };
        let mut keys = above(class, sample);
        keys.set_str(tags::SERIES_INSTANCE_UID, VR::UI, series.as_str());
        keys.set_empty(tags::SOP_INSTANCE_UID, VR::UI);
        keys.set_empty(tags::SOP_CLASS_UID, VR::UI);
        let found = self.find(class, Level::Instance, keys, MOST_INSTANCES).await;
        let meaning =
            "Gantry then relies on what the archive counts, and cannot name what is missing of a study";
        let finding = match outcome(&found) {
            Ok((count @ 1.., first)) => {
                let of = found.iter().flat_map(|found| &found.matches);
                sample.instance = of.filter_map(|parsed| parsed.data_set.uid(tags::SOP_INSTANCE_UID)).next();
                let at_least = if count >= MOST_INSTANCES { "at least " } else { "" };
                let instances = if count == 1 { "instance" } else { "instances" };
                Finding::new(Code::FoundInstances, format!("{at_least}{count} {instances} of one series"))
                    .took(first)
            }
            Ok((0, _)) => failed(Code::InstanceFindFailed, "instances", "a series that is there has none")
                .means(meaning),
            Err(why) => failed(Code::InstanceFindFailed, "instances", &why).means(meaning),
        };
        self.found(finding);
    }

    /// The same series and instance without the keys of the levels above (PS3.4 C.4.1.3.2.1).
    async fn find_relational(&mut self, class: &'static str, sample: &Sample) {
        let Some(series) = &sample.series else { return };
        let mut keys = DataSet::new();
        keys.set_str(tags::SERIES_INSTANCE_UID, VR::UI, series.as_str());
        keys.set_empty(tags::STUDY_INSTANCE_UID, VR::UI);
        let of_series = self.find(class, Level::Series, keys, MOST_MATCHES).await;
        let mut by_itself = matches!(outcome(&of_series), Ok((1.., _)));
        if let Some(instance) = sample.instance.as_ref().filter(|_| by_itself) {
            let mut keys = DataSet::new();
            keys.set_str(tags::SOP_INSTANCE_UID, VR::UI, instance.as_str());
            keys.set_empty(tags::SERIES_INSTANCE_UID, VR::UI);
            let found = self.find(class, Level::Instance, keys, MOST_MATCHES).await;
            by_itself = matches!(outcome(&found), Ok((1.., _)));
        }
        let finding = if by_itself {
            Finding::new(
                Code::Relational,
                "series and instances are found by their own UIDs, without the study's",
            )
        } else {
            Finding::new(Code::HierarchicalOnly, "series and instances are found below their study only")
                .means("the archive has no relational queries; Gantry goes down the levels by itself, at the cost of a search each")
        };
        self.found(finding);
    }

    fn tell_charsets(&mut self) {
        let texts = std::mem::take(&mut self.texts);
        if texts.matches == 0 {
            return;
        }
        let (name, named) = (&self.config.name, texts.named.join("; "));
        let finding = if texts.undecodable > 0 || texts.unknown > 0 {
            let what = format!(
                "{} of {} matches have text that is not in the character set that they name: {named}",
                texts.undecodable.max(texts.unknown),
                texts.matches
            );
            Finding::new(Code::CharsetWrong, what)
                .means("letters of names are lost, and shown as \u{FFFD}")
                .remedy(format!(
                    "ask what the archive's database is encoded in: where matches name no character set, set archive.{name}.assume_charset (such as \"ISO_IR 100\"); else it is to be mended at the archive"
                ))
        } else if texts.unnamed > 0 && self.config.assume_charset.is_none() {
            let what = format!(
                "{} of {} matches have text beyond ASCII and name no character set",
                texts.unnamed, texts.matches
            );
            Finding::new(Code::CharsetMissing, what)
                .means("it reads as UTF-8, which may be right by chance; the standard has it for ASCII")
                .remedy(format!("say what the archive sends: archive.{name}.assume_charset = \"ISO_IR 192\" (UTF-8) if names look right"))
        } else {
            Finding::new(Code::CharsetGood, format!("character sets of the matches: {named}"))
                .at(Severity::Ok)
        };
        self.found(finding);
    }
}

/// The unique keys above the level of series.
fn above(class: &str, sample: &Sample) -> DataSet {
    let mut keys = DataSet::new();
    keys.set_str(tags::STUDY_INSTANCE_UID, VR::UI, sample.study.as_str());
    if class == sop_class::PATIENT_ROOT_FIND {
        keys.set_str(tags::PATIENT_ID, VR::LO, sample.patient.clone().unwrap_or_default());
    }
    keys
}

/// How many matches there are and how soon, or why there are none.
fn outcome(found: &Result<Found, Trouble>) -> Result<(usize, Duration), String> {
    match found {
        Err(trouble) => Err(trouble.to_string()),
        Ok(found) => match found.failure() {
            Some((code, comment)) => Err(status(code, comment)),
            None => Ok((found.matches.len(), found.first)),
        },
    }
}

/// A failure status in words.
pub(super) fn status(code: u16, comment: Option<&str>) -> String {
    let comment = comment.map_or(String::new(), |text| format!(" ({text})"));
    format!("status {code:04X}{comment}")
}

fn failed(code: Code, what: &str, why: &str) -> Finding {
    Finding::new(code, format!("C-FIND for {what} fails: {why}"))
        .means("searches of viewers fail in the same way")
        .remedy("see the archive's log of this moment for why; a lack of rights of our AE title is the usual reason")
}

/// The range of dates from so many days ago on.
fn since(days: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / 86_400;
    // Tomorrow, where the archive's clock is: a range without an end also finds studies without a date at some.
    format!("{}-{}", date(now.saturating_sub(days)), date(now + 1))
}

/// A day since 1970 as a value of VR DA.
fn date(days: u64) -> String {
    let (year, month, day) = calendar::date(days);
    format!("{year:04}{month:02}{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_since_1970_are_dates() {
        let known = [
            (0, "19700101"),
            (59, "19700301"),
            (11_016, "20000229"),
            (20_779, "20261122"),
            (47_540, "21000228"),
            (47_541, "21000301"),
        ];
        for (days, text) in known {
            assert_eq!(date(days), text);
        }
    }
}
