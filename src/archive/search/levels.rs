//! Goes through the levels of the model: at once where the query or the archive allows it, else one below the
//! other (PS3.4 C.4.1.2.1, C.4.1.3.2.1).

use super::find::{Client, Find, Stop};
use super::identifier::Ask;
use super::output::Output;
use super::request::{Request, Root};
use super::shape::Shape;
use crate::archive::Kind;
use crate::dicom::dataset::{DataSet, vr_of};
use crate::dicom::query::Level;
use crate::dicom::tags;

/// Most entities of a level whose children are searched for one by one: so many C-FINDs a level, some seconds
/// of a slow archive.
const MAX_PARENTS: usize = 1000;

/// One search in progress.
pub(super) struct Searcher<'a> {
    pub(super) client: Client,
    pub(super) request: Request,
    output: &'a mut Output,
    pub(super) shape: Shape,
    /// Searches for completion that may still be made.
    pub(super) completions_left: usize,
}

/// Where matches of a level go.
pub(super) enum Sink {
    /// They are the answer.
    Answer,
    /// They are parents of what comes next.
    Parents(Vec<DataSet>),
}

/// What came of the matches of a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// More are welcome.
    Left,
    /// No more are wanted.
    Full,
}

impl<'a> Searcher<'a> {
    /// A search that passes its matches to `output`.
    pub(super) fn new(client: Client, request: Request, output: &'a mut Output) -> Self {
        Self { client, request, output, shape: Shape::default(), completions_left: MAX_PARENTS }
    }

    /// Runs it to its end.
    pub(super) async fn run(mut self) -> Result<(), Stop> {
        self.remember_patient();
        self.shape = Shape::of(&self.request);
        let open: Vec<Level> = self.request.parents().filter(|l| self.request.unique(*l).is_none()).collect();
        if open.is_empty() || !self.may_be_relational() {
            return self.hierarchical().await;
        }
        let is_proven = self.client.inner.knowledge.relational() == Some(true);
        match self.relational().await {
            Ok(matches) if matches > 0 => {
                self.client.inner.knowledge.learn_relational(true);
                Ok(())
            }
            Ok(_) if is_proven => Ok(()),
            // Some archives answer a query that they do not understand with nothing.
            Ok(_) => self.hierarchical_instead().await,
            Err(Stop::Failed(error)) if !self.output.is_open() && is_refusal(&error.kind) => {
                if open.contains(&Level::Patient) && !self.can_list_patients() {
                    let why = "it wants the Patient ID with every query, and none is known for this study; \
                               search for the study by its patient first";
                    return Err(self.client.inner.error(Kind::Unsupported(why.to_owned())).into());
                }
                self.hierarchical_instead().await
            }
            Err(stop) => Err(stop),
        }
    }

    /// One C-FIND at the level that is searched, with the keys of all levels.
    async fn relational(&mut self) -> Result<usize, Stop> {
        let level = self.request.query.level;
        let levels = || self.request.parents().chain([level]);
        let (mut parent, mut above) = (DataSet::new(), Vec::new());
        for level in self.request.parents() {
            if let Some(unique) = self.request.unique(level) {
                parent.set_str(level.unique_key(), vr_of(level.unique_key()), unique);
                above.push(level);
            }
        }
        let ask = Ask {
            level,
            parent,
            above,
            relational: true,
            keys: levels().flat_map(|l| self.request.keys_at(l)).collect(),
            returns: levels().flat_map(|l| self.request.returns_at(l)).collect(),
        };
        self.search_level(&ask, &mut Sink::Answer).await
    }

    async fn hierarchical_instead(&mut self) -> Result<(), Stop> {
        if self.request.parents().any(|l| l == Level::Patient && self.request.unique(l).is_none())
            && !self.can_list_patients()
        {
            return Ok(());
        }
        self.hierarchical().await?;
        let knowledge = &self.client.inner.knowledge;
        if self.output.is_open() && knowledge.relational().is_none() {
            knowledge.learn_relational(false);
        }
        Ok(())
    }

    /// Level by level: the entities of each are the parents of the next. A level whose entity the query names,
    /// and of which nothing else is wanted, is left out.
    async fn hierarchical(&mut self) -> Result<(), Stop> {
        let mut parents = vec![DataSet::new()];
        let mut above = Vec::new();
        for level in self.request.parents() {
            if let (Some(unique), false) = (self.request.unique(level), self.request.needs(level)) {
                let tag = level.unique_key();
                parents.iter_mut().for_each(|p| p.set_str(tag, vr_of(tag), unique));
            } else {
                let mut sink = Sink::Parents(Vec::new());
                for parent in parents {
                    let ask = self.ask(level, parent, &above);
                    self.search_level(&ask, &mut sink).await?;
                    if sink.room() == Room::Full {
                        self.cut_short(level)?;
                        break;
                    }
                }
                let Sink::Parents(children) = sink else { return Ok(()) };
                parents = children;
                parents.truncate(MAX_PARENTS);
            }
            above.push(level);
        }
        for parent in parents {
            let ask = self.ask(self.request.query.level, parent, &above);
            self.search_level(&ask, &mut Sink::Answer).await?;
        }
        Ok(())
    }

    fn ask(&self, level: Level, parent: DataSet, above: &[Level]) -> Ask {
        let (keys, returns) = (self.request.keys_at(level), self.request.returns_at(level));
        Ask { level, parent, above: above.to_vec(), relational: false, keys, returns }
    }

    /// Passes a match on.
    pub(super) async fn deliver(
        &mut self,
        ask: &Ask,
        mut data_set: DataSet,
        sink: &mut Sink,
        find: Option<&mut Find>,
    ) -> Result<Room, Stop> {
        inherit(self.request.root, &mut data_set, &ask.parent);
        match sink {
            Sink::Parents(parents) => {
                // What cannot be named has no children that could be asked for.
                if data_set.string(ask.level.unique_key()).is_some() {
                    parents.push(data_set);
                }
            }
            Sink::Answer => {
                if self.client.optional_keys_ignored && ask.has_client_keys() {
                    self.output.warn("The archive does not support all of the attributes in this query.");
                }
                self.shape.give(&mut data_set);
                self.output.item(data_set).await?;
                if let Some(find) = find {
                    find.forgive_silence();
                }
            }
        }
        Ok(sink.room())
    }

    /// Not everything can be searched; the client is told, or the search fails.
    pub(super) fn cut_short(&mut self, level: Level) -> Result<(), Stop> {
        let what = match level {
            Level::Patient => "patients",
            Level::Study => "studies",
            Level::Series => "series",
            Level::Instance => "instances",
        };
        let text = format!(
            "Only the first {MAX_PARENTS} {what} were looked into: the archive cannot search below them at once."
        );
        if self.output.warn(&text) {
            return Ok(());
        }
        let error = self.client.inner.error(Kind::TooManyMatches);
        Err(error.advise("name a study, or narrow the search by its date or patient").into())
    }

    fn may_be_relational(&self) -> bool {
        self.client.inner.knowledge.relational() != Some(false)
    }

    /// Whether the patients can be listed to find what the query asks for: it does not name a study whose
    /// patient could be any.
    fn can_list_patients(&self) -> bool {
        self.request.unique(Level::Study).is_none() || !self.request.keys_at(Level::Patient).is_empty()
    }

    /// In Patient Root, a study that was seen before has a known patient.
    fn remember_patient(&mut self) {
        use crate::dicom::VR;
        use crate::dicom::query::MatchingKey;
        if self.request.root != Root::Patient || self.request.unique(Level::Patient).is_some() {
            return;
        }
        let study = self.request.query.single_uid(tags::STUDY_INSTANCE_UID);
        let patient = study.and_then(|study| self.client.inner.knowledge.patients.patient_of(&study));
        let has_key = self.request.query.keys.iter().any(|k| k.path.tags() == [tags::PATIENT_ID]);
        if let (Some(patient), false) = (patient, has_key) {
            let path = tags::PATIENT_ID.into();
            self.request.query.keys.push(MatchingKey { path, vr: VR::LO, values: vec![patient] });
        }
    }
}

impl Sink {
    /// Whether more matches are wanted.
    pub(super) fn room(&self) -> Room {
        match self {
            Self::Parents(parents) if parents.len() > MAX_PARENTS => Room::Full,
            _ => Room::Left,
        }
    }
}

/// Gives a match the attributes of an entity above it, where it has none of its own.
pub(super) fn inherit(root: Root, data_set: &mut DataSet, parent: &DataSet) {
    for (tag, element) in parent {
        let is_its_own = root.level_of(tag).is_some();
        if is_its_own && data_set.get(tag).is_none_or(|own| own.value.is_empty()) {
            data_set.insert(tag, element.clone());
        }
    }
}

/// Whether an archive may refuse a relational query with this: not what tells of its load or of our rights.
fn is_refusal(kind: &Kind) -> bool {
    let Kind::Status { code, .. } = kind else { return false };
    matches!(
        code,
        0xA900..=0xA9FF | 0xC000..=0xCFFF | 0x0105 | 0x0106 | 0x0110 | 0x0120..=0x0122 | 0x0211 | 0x0212
    )
}
