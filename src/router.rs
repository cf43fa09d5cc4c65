//! Finds the archive that a request is meant for.
//!
//! Web requests name it in their path. DIMSE requests do by the titles under which they come: the first rule that
//! matches decides, then the title by which an archive is called, then the default.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::archive::Archive;
use crate::dicom::{AeTitle, Uid};
use config::RuleConfig;

pub mod config;

/// The archives by their names in the configuration, and the rules. Cheap to clone.
#[derive(Clone)]
pub struct Router {
    archives: Arc<BTreeMap<String, Arc<dyn Archive>>>,
    default: Option<Arc<dyn Archive>>,
    rules: Arc<[Rule]>,
    called_as: Arc<BTreeMap<AeTitle, Arc<dyn Archive>>>,
    /// The archives that a client may reach, by its title; all of them where its title is not here.
    reach: Arc<BTreeMap<AeTitle, Vec<String>>>,
}

struct Rule {
    config: RuleConfig,
    archives: Vec<Arc<dyn Archive>>,
}

/// Where requests go, and what says so.
#[derive(Clone, Copy)]
pub struct Route<'a> {
    /// What decides.
    pub reason: Reason,
    /// The archives; never none.
    pub archives: &'a [Arc<dyn Archive>],
}

/// What decides about where requests go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The rule of this index.
    Rule(usize),
    /// The called title is one of the archive's.
    CalledAs,
    /// Nothing else did.
    Default,
}

impl Router {
    /// A router over `archives`, of which `default` names the one for requests that name none; without it a
    /// single archive is the default.
    pub fn new(archives: impl IntoIterator<Item = Arc<dyn Archive>>, default: Option<&str>) -> Self {
        let archives: BTreeMap<_, _> = archives.into_iter().map(|a| (a.name().to_owned(), a)).collect();
        let default = match default {
            Some(name) => archives.get(name),
            None if archives.len() == 1 => archives.values().next(),
            None => None,
        };
        let (rules, called_as, reach) = (Arc::default(), Arc::default(), Arc::default());
        Self { default: default.cloned(), archives: Arc::new(archives), rules, called_as, reach }
    }

    /// The same with rules, and with titles by which archives are called, each with the archive's name.
    pub fn with_routes<'a>(
        self,
        rules: &[RuleConfig],
        called_as: impl IntoIterator<Item = (&'a AeTitle, &'a str)>,
    ) -> Self {
        let named = |name: &str| self.archives.get(name).cloned();
        let rule = |config: &RuleConfig| {
            let archives: Vec<_> = config.archives.iter().filter_map(|name| named(name)).collect();
            Rule { config: config.clone(), archives }
        };
        let called_as =
            called_as.into_iter().filter_map(|(title, name)| Some((title.clone(), named(name)?))).collect();
        let rules = rules.iter().map(rule).collect();
        Self { rules, called_as: Arc::new(called_as), ..self }
    }

    /// The same for clients that may reach some archives only: their titles, each with the archives' names.
    pub fn with_reach<'a>(self, reach: impl IntoIterator<Item = (&'a AeTitle, &'a [String])>) -> Self {
        let reach = reach.into_iter().map(|(title, names)| (title.clone(), names.to_vec())).collect();
        Self { reach: Arc::new(reach), ..self }
    }

    /// Whether a client of this title may reach an archive.
    pub fn reaches(&self, calling: &AeTitle, archive: &dyn Archive) -> bool {
        self.reach.get(calling).is_none_or(|names| names.iter().any(|name| name == archive.name()))
    }

    /// The archive for requests that name none.
    pub fn default_archive(&self) -> Option<&Arc<dyn Archive>> {
        self.default.as_ref()
    }

    /// The archive of this name.
    pub fn by_name(&self, name: &str) -> Option<&Arc<dyn Archive>> {
        self.archives.get(name)
    }

    /// Where requests of a class go that come under these titles, objects aside; `None`: nowhere, or not for this
    /// client.
    pub fn for_service(&self, called: &AeTitle, calling: &AeTitle, class: &Uid) -> Option<&Arc<dyn Archive>> {
        let first = self.route(called, calling, class, None)?.archives.first();
        first.filter(|archive| self.reaches(calling, &***archive))
    }

    /// The archives at which objects of a class may be stored, whatever their modality, each once.
    pub fn candidates(&self, called: &AeTitle, calling: &AeTitle, class: &Uid) -> Vec<Arc<dyn Archive>> {
        let mut found: Vec<Arc<dyn Archive>> = Vec::new();
        for archive in self.routes(called, calling, class).iter().flat_map(|route| route.archives) {
            let is_new = !found.iter().any(|known| known.name() == archive.name());
            if is_new && self.reaches(calling, &**archive) {
                found.push(Arc::clone(archive));
            }
        }
        found
    }

    /// The archives at which an object is to be stored, all of them that the client may reach. `modality`: as its data set says.
    pub fn for_object(
        &self,
        called: &AeTitle,
        calling: &AeTitle,
        class: &Uid,
        modality: Option<&str>,
    ) -> Vec<Arc<dyn Archive>> {
        let route = self.route(called, calling, class, modality);
        let archives = route.iter().flat_map(|route| route.archives);
        archives.filter(|archive| self.reaches(calling, &***archive)).cloned().collect()
    }

    /// Whether an object's modality has a say in where it is stored.
    pub fn asks_for_modality(&self, called: &AeTitle, calling: &AeTitle, class: &Uid) -> bool {
        self.routes(called, calling, class).len() > 1
    }

    /// What decides about objects of a class, in order: rules for some modalities, and what is for all others.
    pub fn routes(&self, called: &AeTitle, calling: &AeTitle, class: &Uid) -> Vec<Route<'_>> {
        let mut found = Vec::new();
        for (index, rule) in self.rules.iter().enumerate() {
            if rule.config.matches(called, calling, class) {
                found.push(Route { reason: Reason::Rule(index), archives: &rule.archives });
                if rule.config.modality.is_empty() {
                    return found;
                }
            }
        }
        found.extend(self.without_rule(called));
        found
    }

    /// What decides about a request, or about an object of this modality.
    pub fn route(
        &self,
        called: &AeTitle,
        calling: &AeTitle,
        class: &Uid,
        modality: Option<&str>,
    ) -> Option<Route<'_>> {
        let matches = |rule: &Rule| {
            rule.config.matches(called, calling, class) && rule.config.matches_modality(modality)
        };
        let rule = self.rules.iter().enumerate().find(|(_, rule)| matches(rule));
        let by_rule =
            rule.map(|(index, rule)| Route { reason: Reason::Rule(index), archives: &rule.archives });
        by_rule.or_else(|| self.without_rule(called))
    }

    fn without_rule(&self, called: &AeTitle) -> Option<Route<'_>> {
        let by_title = self.called_as.get(called).map(|archive| (Reason::CalledAs, archive));
        let (reason, archive) = by_title.or(self.default.as_ref().map(|a| (Reason::Default, a)))?;
        Some(Route { reason, archives: std::slice::from_ref(archive) })
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.archives.keys().map(String::as_str)
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let default = self.default.as_ref().map(|archive| archive.name());
        f.debug_struct("Router").field("archives", &self.archives.keys()).field("default", &default).finish()
    }
}

#[cfg(test)]
mod tests;
