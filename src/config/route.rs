//! `[[route]]`: which archive a DIMSE client's requests go to.

use std::str::FromStr;

use super::section::{AE_TITLE, Report, Section};
use crate::archive::dimse::config::Config as ArchiveConfig;
use crate::dicom::{AeTitle, Uid, sop_class};
use crate::router::config::RuleConfig;

/// Most rules: more than a hospital has modalities to tell apart.
const MAX_RULES: usize = 256;
/// Most archives to which one object goes: each is sent a copy at the same time.
const MAX_ARCHIVES: usize = 8;

/// A value of Modality (0008,0060), which is of VR CS (PS3.5 6.2).
struct Modality(String);

impl FromStr for Modality {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let fits = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b" _".contains(&b);
        let good = (1..=16).contains(&text.len()) && text.trim() == text && text.bytes().all(fits);
        if good { Ok(Self(text.to_owned())) } else { Err(()) }
    }
}

/// Reads the rules, in order.
pub(super) fn read(
    sections: Vec<Section<'_>>,
    archives: &[ArchiveConfig],
    report: &Report,
) -> Vec<RuleConfig> {
    if sections.len() > MAX_RULES {
        report.add("route", format!("at most {MAX_RULES} rules; one may name several titles and classes"));
    }
    let rules: Vec<RuleConfig> =
        sections.into_iter().take(MAX_RULES).map(|section| rule(section, archives)).collect();
    for (later, rule) in rules.iter().enumerate() {
        if let Some(earlier) = rules[..later].iter().position(|earlier| earlier.covers(rule)) {
            let text = format!("can never match: `route[{earlier}]` matches all that it does; reorder them");
            report.add(&format!("route[{later}]"), text);
        }
    }
    rules
}

fn rule(mut section: Section<'_>, archives: &[ArchiveConfig]) -> RuleConfig {
    let called: Vec<AeTitle> = some(&mut section, "called", AE_TITLE);
    let calling: Vec<AeTitle> = some(&mut section, "calling", AE_TITLE);
    let expected = "SOP class UIDs such as \"1.2.840.10008.5.1.4.1.1.2\", not their names";
    let sop_class: Vec<Uid> = some(&mut section, "sop_class", expected);
    let modality: Vec<Modality> = some(&mut section, "modality", "modalities such as \"CT\"");
    let of_standard = |class: &&Uid| class.as_str().starts_with("1.2.840.10008.");
    let other = sop_class.iter().filter(of_standard).find(|class| !sop_class::is_storage(class));
    if let (Some(class), false) = (other, modality.is_empty()) {
        section.error("modality", format!("only objects have one, and {class} is no storage SOP class"));
    }
    let names = archive_names(&mut section, archives);
    section.finish();
    let modality = modality.into_iter().map(|modality| modality.0).collect();
    RuleConfig { called, calling, sop_class, modality, archives: names }
}

fn archive_names(section: &mut Section<'_>, archives: &[ArchiveConfig]) -> Vec<String> {
    let expected = "an archive's name, or a list of names";
    if !section.has("archive") {
        section.error("archive", format!("missing: give {expected}"));
    }
    let Some(names) = section.one_or_list::<String>("archive", expected) else { return Vec::new() };
    if !(1..=MAX_ARCHIVES).contains(&names.len()) {
        section.error("archive", format!("name 1 to {MAX_ARCHIVES} archives"));
    }
    for (at, name) in names.iter().enumerate() {
        if !archives.iter().any(|archive| archive.name == *name) {
            section.error("archive", format!("there is no valid archive `{name}`"));
        } else if names[..at].contains(name) {
            section.error("archive", format!("names `{name}` twice"));
        }
    }
    names
}

/// What a rule asks for; nothing where the key is not there.
fn some<T: FromStr>(section: &mut Section<'_>, key: &'static str, expected: &str) -> Vec<T> {
    let expected = format!("{expected}, or a list");
    let found = section.one_or_list(key, &expected);
    if found.as_ref().is_some_and(Vec::is_empty) {
        section.error(key, "an empty list matches nothing; leave the key out to match all");
    }
    found.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, ConfigError};
    use crate::router::config::RuleConfig;

    const ARCHIVES: &str = "default_archive = \"a\"\n\
        [archive.a]\nae_title = \"A\"\naddress = \"a:104\"\n\
        [archive.b]\nae_title = \"B\"\naddress = \"b:104\"\n";

    fn parse(routes: &str) -> Result<Vec<RuleConfig>, Vec<String>> {
        let config = Config::parse(&format!("{ARCHIVES}{routes}"), []);
        config
            .map(|config| config.routes)
            .map_err(|errors| errors.iter().map(ConfigError::to_string).collect())
    }

    /// The one error of these routes.
    fn error(routes: &str) -> String {
        let errors = parse(routes).unwrap_err();
        assert_eq!(errors.len(), 1, "{errors:?}");
        errors[0].clone()
    }

    #[test]
    fn a_rule_has_lists_or_single_texts() {
        let rules = parse(
            "[[route]]\ncalled = \"GANTRY\"\ncalling = [\"CT 1\", \"ct2\"]\nsop_class = \"1.2.840.10008.5.1.4.1.1.2\"\n\
             modality = [\"CT\"]\narchive = [\"b\", \"a\"]\n[[route]]\narchive = \"b\"\n",
        );
        let first = RuleConfig {
            called: vec!["GANTRY".parse().unwrap()],
            calling: vec!["CT 1".parse().unwrap(), "ct2".parse().unwrap()],
            sop_class: vec!["1.2.840.10008.5.1.4.1.1.2".parse().unwrap()],
            modality: vec!["CT".into()],
            archives: vec!["b".into(), "a".into()],
        };
        let second = RuleConfig { archives: vec!["b".into()], ..RuleConfig::default() };
        assert_eq!(rules.unwrap(), [first, second]);
    }

    #[test]
    fn what_is_wrong_with_a_rule_is_said_where_it_is() {
        for (route, key, said) in [
            ("calling = \"CT1\"", "archive", "missing"),
            ("archive = \"c\"", "archive", "`c`"),
            ("archive = []", "archive", "name 1 to 8"),
            ("archive = [\"a\", \"a\"]", "archive", "twice"),
            ("archive = \"a\"\ncalling = []", "calling", "leave the key out"),
            ("archive = \"a\"\ncalled = \"A\\\\B\"", "called", "an AE title"),
            ("archive = \"a\"\nsop_class = \"CTImageStorage\"", "sop_class", "not their names"),
            ("archive = \"a\"\nmodality = \"ct\"", "modality", "such as \"CT\""),
            (
                "archive = \"a\"\nmodality = \"CT\"\nsop_class = \"1.2.840.10008.5.1.4.31\"",
                "modality",
                "no storage",
            ),
            ("archive = \"a\"\nport = 1", "port", "unknown key"),
        ] {
            let error = error(&format!("[[route]]\n{route}\n"));
            assert!(error.starts_with(&format!("route[0].{key}: ")) && error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_rule_that_can_never_match_is_an_error() {
        let routes = "[[route]]\ncalled = \"X\"\narchive = \"a\"\n[[route]]\nmodality = [\"CT\", \"MR\"]\narchive = \"a\"\n\
                      [[route]]\nmodality = \"MR\"\ncalling = \"MR1\"\narchive = \"b\"\n";
        let error = error(routes);
        assert!(error.starts_with("route[2]: can never match: `route[1]`"), "{error}");
        assert!(parse("[[route]]\nmodality = \"CT\"\narchive = \"a\"\n[[route]]\narchive = \"b\"\n").is_ok());
    }

    #[test]
    fn there_are_at_most_so_many_rules() {
        let many =
            (0..=super::MAX_RULES).map(|n| format!("[[route]]\ncalling = \"AE{n}\"\narchive = \"a\"\n"));
        let error = error(&many.collect::<String>());
        assert!(error.starts_with("route: at most 256 rules"), "{error}");
    }
}
