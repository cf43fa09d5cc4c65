//! Says where the requests of a DIMSE client go, as the bridge decides it, without asking anybody.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::archive::Archive;
use crate::archive::dimse::DimseArchive;
use crate::archive::dimse::config::{Config as ArchiveConfig, Endpoint};
use crate::archive::relay::Service;
use crate::config::Config;
use crate::dicom::{AeTitle, Uid, sop_class};
use crate::front::dimse::config::{AeConfig, Moves, Operation};
use crate::metrics::Metrics;
use crate::router::config::RuleConfig;
use crate::router::{Reason, Route, Router};

/// A class that no rule names.
const ANY_OTHER: &str = "2.25.0";

/// Services, each with the SOP classes that may be routed apart.
const SERVICES: [(&str, Service, &[&str]); 5] = [
    (
        "searches",
        Service::Query,
        &[sop_class::STUDY_ROOT_FIND, sop_class::PATIENT_ROOT_FIND, sop_class::PATIENT_STUDY_ONLY_FIND],
    ),
    ("worklist", Service::Worklist, &[sop_class::MODALITY_WORKLIST_FIND]),
    ("MPPS", Service::Mpps, &[sop_class::MPPS, sop_class::MPPS_RETRIEVE]),
    ("commitment", Service::Commit, &[sop_class::STORAGE_COMMITMENT]),
    (
        "C-GET",
        Service::Retrieve,
        &[sop_class::STUDY_ROOT_GET, sop_class::PATIENT_ROOT_GET, sop_class::PATIENT_STUDY_ONLY_GET],
    ),
];

/// C-MOVE's.
const MOVES: &[&str] =
    &[sop_class::STUDY_ROOT_MOVE, sop_class::PATIENT_ROOT_MOVE, sop_class::PATIENT_STUDY_ONLY_MOVE];

/// Where everything goes that comes from `calling` and calls us `called`.
pub(super) fn explain(config: &Config, calling: &AeTitle, called: &AeTitle) -> String {
    let metrics = Metrics::default();
    let archive = |archive: &ArchiveConfig| -> Arc<dyn Archive> {
        Arc::new(DimseArchive::new(archive.clone(), None, None, metrics.clone()))
    };
    let called_as = config
        .archives
        .iter()
        .flat_map(|archive| archive.called_as.iter().map(|title| (title, archive.name.as_str())));
    let router = Router::new(config.archives.iter().map(archive), config.default_archive.as_deref())
        .with_routes(&config.routes, called_as)
        .with_reach(config.dimse.front.reach());
    let explanation = Explanation { config, calling, called, router };
    let mut lines = Lines(format!("{calling} calls {called}\n"));
    match explanation.admission() {
        Ok(how) => {
            lines.add("association", format!("accepted: {how}"));
            explanation.services(&mut lines);
        }
        Err(why) => lines.add("association", format!("rejected: {why}")),
    }
    lines.0
}

/// The lines so far, each below its label.
struct Lines(String);

impl Lines {
    fn add(&mut self, label: &str, text: impl AsRef<str>) {
        writeln!(self.0, "{label:<14}{}", text.as_ref()).expect("a String takes everything");
    }
}

struct Explanation<'a> {
    config: &'a Config,
    calling: &'a AeTitle,
    called: &'a AeTitle,
    router: Router,
}

impl Explanation<'_> {
    /// On what terms who calls so is accepted, or why not.
    fn admission(&self) -> Result<String, String> {
        let front = &self.config.dimse.front;
        if !front.titles.contains(self.called) {
            let ours: Vec<&str> = front.titles.iter().map(AeTitle::as_str).collect();
            return Err(format!("{} is none of our titles: {}", self.called, ours.join(", ")));
        }
        let terms = |of: Option<&AeConfig>| {
            let own = of.and_then(|ae| ae.max_associations).unwrap_or(front.max_associations_per_ae);
            format!("{own} at a time, {} of all clients", front.max_associations)
        };
        if let Some(ae) = front.ae(self.calling) {
            let networks: Vec<String> = ae.allow_from.iter().map(ToString::to_string).collect();
            let from = if networks.is_empty() { "anywhere".to_owned() } else { networks.join(", ") };
            return Ok(format!("[ae.{}] from {from}; {}", self.calling, terms(Some(ae))));
        }
        if front.accept_any {
            return Ok(format!("everybody is, from anywhere; {}", terms(None)));
        }
        if self.config.archives.iter().any(|archive| has_title(archive, self.calling)) {
            return Ok("an archive's title; verification, reports, and what a C-MOVE brings".to_owned());
        }
        Err(format!("{} is not known; add [ae.{}]", self.calling, self.calling))
    }

    fn services(&self, lines: &mut Lines) {
        let echo = self.refusal(&[Operation::Echo]).unwrap_or_else(|| "answered here".to_owned());
        lines.add("verification", echo);
        for (label, service, classes) in SERVICES {
            let operation = match service {
                Service::Query | Service::Worklist => Operation::Find,
                Service::Retrieve => Operation::Get,
                Service::Store => Operation::Store,
                Service::Mpps | Service::Commit => Operation::Normalized,
            };
            self.service(lines, (label, operation), service, classes);
        }
        self.service(lines, ("C-MOVE", Operation::Move), Service::Retrieve, MOVES);
        for ae in &self.config.dimse.front.aes {
            let how = match (ae.moves, &ae.address) {
                (Moves::Direct, _) => "the archive sends to it itself".to_owned(),
                (Moves::Relay, Some(address)) => format!("relayed to {address}"),
                (Moves::Relay, None) => "refused: it has no address".to_owned(),
            };
            lines.add("", format!("to {}: {how}", ae.title));
        }
        self.storage(lines);
        if let Some(refusal) = self.refusal(&[Operation::Normalized]) {
            return lines.add("other classes", refusal);
        }
        for class in self.other_classes() {
            lines.add("other classes", format!("{class}: {}", self.first(Service::Query, class.as_str())));
        }
        lines.add("other classes", self.first(Service::Query, ANY_OTHER));
    }

    /// One line where all classes of the service go to the same archive, else one for each.
    fn service(
        &self,
        lines: &mut Lines,
        (label, operation): (&str, Operation),
        service: Service,
        classes: &[&str],
    ) {
        if let Some(refusal) = self.refusal(&[operation]) {
            return lines.add(label, refusal);
        }
        let targets: Vec<String> = classes.iter().map(|class| self.first(service, class)).collect();
        if targets.iter().all(|target| *target == targets[0]) {
            return lines.add(label, &targets[0]);
        }
        for (class, target) in classes.iter().zip(&targets) {
            lines.add(label, format!("{class}: {target}"));
        }
    }

    /// What decides about objects, in order.
    fn storage(&self, lines: &mut Lines) {
        if let Some(refusal) = self.refusal(&[Operation::Store]) {
            return lines.add("storage", refusal);
        }
        for (index, rule) in self.config.routes.iter().enumerate() {
            let named_storage =
                rule.sop_class.iter().filter(|class| may_be_stored(class)).collect::<Vec<_>>();
            let of_titles = RuleConfig { sop_class: Vec::new(), ..rule.clone() };
            let is_for_objects = rule.sop_class.is_empty() || !named_storage.is_empty();
            if !of_titles.matches(self.called, self.calling, &any_other()) || !is_for_objects {
                continue;
            }
            let archives: Vec<Arc<dyn Archive>> =
                rule.archives.iter().filter_map(|name| self.router.by_name(name)).cloned().collect();
            let route = Route { reason: Reason::Rule(index), archives: &archives };
            let target = self.told(Service::Store, route, &archives);
            if named_storage.is_empty() && rule.modality.is_empty() {
                return lines.add("storage", target);
            }
            let classes = named_storage.iter().map(|class| class.to_string());
            let what = rule.modality.iter().cloned().chain(classes).collect::<Vec<_>>().join(", ");
            lines.add("storage", format!("{what}: {target}"));
        }
        let rest = self.router.route(self.called, self.calling, &any_other(), None);
        let target = rest.map(|route| self.told(Service::Store, route, route.archives));
        lines.add("storage", target.unwrap_or_else(nowhere));
    }

    /// Why the client may not do this; `None`: it may.
    fn refusal(&self, operations: &[Operation]) -> Option<String> {
        let front = &self.config.dimse.front;
        let key = if front.ae(self.calling).is_some() { "`allow`" } else { "`dimse.allow_any`" };
        (!front.allows(self.calling, operations)).then(|| format!("refused: not in {key}"))
    }

    /// Classes that rules name and that are of no service above.
    fn other_classes(&self) -> Vec<&Uid> {
        let known = |class: &Uid| {
            let of_services = SERVICES.iter().flat_map(|(_, _, classes)| *classes);
            may_be_stored(class)
                || of_services.chain(MOVES).any(|known| *known == class.as_str())
                || class.as_str() == sop_class::VERIFICATION
        };
        let mut classes: Vec<&Uid> = self.config.routes.iter().flat_map(|rule| &rule.sop_class).collect();
        classes.retain(|class| !known(class));
        classes.sort();
        classes.dedup();
        classes
    }

    /// Where requests of a class go, objects aside.
    fn first(&self, service: Service, class: &str) -> String {
        let class: Uid = class.parse().expect("a UID");
        let route = self.router.route(self.called, self.calling, &class, None);
        route.map_or_else(nowhere, |route| self.told(service, route, &route.archives[..1]))
    }

    fn told(&self, service: Service, route: Route<'_>, archives: &[Arc<dyn Archive>]) -> String {
        let reached = archives.iter().filter(|archive| self.router.reaches(self.calling, &***archive));
        let targets: Vec<String> = reached.map(|archive| self.target(service, archive.name())).collect();
        if targets.is_empty() {
            return format!("refused: its archive is not in `archives` of [ae.{}]", self.calling);
        }
        let reason = match route.reason {
            Reason::Rule(index) => format!("route[{index}]"),
            Reason::CalledAs => "called_as".to_owned(),
            Reason::Default => "default_archive".to_owned(),
        };
        format!("{} ({reason})", targets.join(" and "))
    }

    fn target(&self, service: Service, name: &str) -> String {
        let Some(archive) = self.config.archives.iter().find(|archive| archive.name == name) else {
            return name.to_owned();
        };
        let Endpoint { ae_title, address } = archive.endpoint(service);
        let calling = if archive.calling_client { self.calling } else { &archive.calling };
        format!("{name}: {ae_title} at {address}, as {calling}")
    }
}

fn nowhere() -> String {
    "refused: no route".to_owned()
}

fn any_other() -> Uid {
    Uid::from_static(ANY_OTHER)
}

/// Whether objects of the class are stored: private ones may be anything.
fn may_be_stored(class: &Uid) -> bool {
    sop_class::is_storage(class) || !class.as_str().starts_with("1.2.840.10008.")
}

fn has_title(archive: &ArchiveConfig, title: &AeTitle) -> bool {
    let services = [
        Service::Query,
        Service::Retrieve,
        Service::Store,
        Service::Worklist,
        Service::Mpps,
        Service::Commit,
    ];
    services.iter().any(|service| archive.endpoint(*service).ae_title == *title)
        || archive.store_from.iter().any(|from| from.ae_title.as_ref() == Some(title))
        || archive.ae_title == *title
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARCHIVES: &str = "default_archive = \"main\"\n\
        [archive.main]\nae_title = \"PACS\"\naddress = \"pacs:104\"\n\
        [archive.main.endpoint.query]\nae_title = \"QUERY\"\naddress = \"pacs:105\"\n\
        [archive.vna]\nae_title = \"VNA\"\naddress = \"vna:104\"\n";

    fn explained(more: &str, calling: &str, called: &str) -> String {
        let mut config = Config::parse(&format!("{ARCHIVES}{more}"), []).unwrap();
        let ae = |title: &str, address: Option<&str>, moves| AeConfig {
            title: title.parse().unwrap(),
            address: address.map(str::to_owned),
            allow_from: Vec::new(),
            moves,
            max_associations: None,
            allow: None,
            archives: None,
            tls: None,
            certificate_subject: None,
        };
        let front = &mut config.dimse.front;
        front.accept_any = false;
        front.aes = vec![
            AeConfig { allow_from: vec!["10.1.0.0/16".parse().unwrap()], ..ae("CT1", None, Moves::Relay) },
            ae("WS1", Some("ws1:104"), Moves::Relay),
            ae("WS2", None, Moves::Direct),
        ];
        explain(&config, &calling.parse().unwrap(), &called.parse().unwrap())
    }

    #[test]
    fn explain_says_what_is_refused_to_whom() {
        let text = format!(
            "{ARCHIVES}[ae.WS1]\nallow = [\"find\", \"get\"]\narchives = [\"main\"]\n\
             [[route]]\nsop_class = \"1.2.840.10008.5.1.4.31\"\narchive = \"vna\"\n"
        );
        let config = Config::parse(&text, []).unwrap();
        let text = explain(&config, &"WS1".parse().unwrap(), &"GANTRY".parse().unwrap());
        for line in [
            "verification  refused: not in `allow`",
            "searches      main: QUERY at pacs:105, as GANTRY (default_archive)",
            "worklist      refused: its archive is not in `archives` of [ae.WS1]",
            "C-MOVE        refused: not in `allow`",
            "storage       refused: not in `allow`",
            "other classes refused: not in `allow`",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}\n{text}");
        }
    }

    #[test]
    fn explain_says_where_each_service_goes() {
        let text = explained(
            "[[route]]\ncalling = \"CT1\"\nmodality = [\"CT\", \"MR\"]\narchive = [\"vna\", \"main\"]\n\
             [[route]]\nsop_class = \"1.2.840.10008.5.1.4.31\"\narchive = \"vna\"\n\
             [[route]]\ncalling = \"US1\"\narchive = \"vna\"\n",
            "CT1",
            "GANTRY",
        );
        let expected = "\
CT1 calls GANTRY
association   accepted: [ae.CT1] from 10.1.0.0/16; 3 at a time, 64 of all clients
verification  answered here
searches      main: QUERY at pacs:105, as GANTRY (default_archive)
worklist      vna: VNA at vna:104, as GANTRY (route[1])
MPPS          main: PACS at pacs:104, as GANTRY (default_archive)
commitment    main: PACS at pacs:104, as GANTRY (default_archive)
C-GET         main: PACS at pacs:104, as GANTRY (default_archive)
C-MOVE        main: PACS at pacs:104, as GANTRY (default_archive)
              to CT1: refused: it has no address
              to WS1: relayed to ws1:104
              to WS2: the archive sends to it itself
storage       CT, MR: vna: VNA at vna:104, as GANTRY and main: PACS at pacs:104, as GANTRY (route[0])
storage       main: PACS at pacs:104, as GANTRY (default_archive)
other classes main: QUERY at pacs:105, as GANTRY (default_archive)
";
        assert_eq!(text, expected);
    }

    #[test]
    fn explain_tells_services_apart_that_rules_do() {
        let text = explained(
            "[[route]]\nsop_class = [\"1.2.840.10008.5.1.4.1.2.1.1\", \"1.2.840.10008.5.1.4.33\"]\narchive = \"vna\"\n\
             [[route]]\ncalled = \"ALL\"\narchive = \"vna\"\n",
            "WS1",
            "ALL",
        );
        for (what, route) in [
            ("searches      1.2.840.10008.5.1.4.1.2.2.1: ", "route[1]"),
            ("searches      1.2.840.10008.5.1.4.1.2.1.1: ", "route[0]"),
            ("other classes 1.2.840.10008.5.1.4.33: ", "route[0]"),
            ("C-GET         ", "route[1]"),
            ("storage       ", "route[1]"),
        ] {
            let line = format!("\n{what}vna: VNA at vna:104, as GANTRY ({route})\n");
            assert!(text.contains(&line), "{line}{text}");
        }
    }

    #[test]
    fn explain_says_why_somebody_is_rejected() {
        let rejected = |calling, called| explained("", calling, called).lines().nth(1).unwrap().to_owned();
        assert_eq!(rejected("CT1", "X"), "association   rejected: X is none of our titles: GANTRY");
        assert_eq!(rejected("CT9", "GANTRY"), "association   rejected: CT9 is not known; add [ae.CT9]");
        assert!(rejected("QUERY", "GANTRY").contains("an archive's title"));
    }
}
