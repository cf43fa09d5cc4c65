//! `docs/operations.md`, the alert rules and the dashboard are about the figures that there are.

use std::collections::BTreeSet;

use gantry::dimse::status::meaning;
use gantry::metrics::Metrics;
use serde_json::Value;

use super::check;

const OPERATIONS: &str = include_str!("../../../docs/operations.md");
const ALERTS: &str = include_str!("../../../helm/gantry/alerts.yaml");
const DASHBOARD: &str = include_str!("../../../helm/gantry/dashboards/gantry.json");

/// The figures that there are, by the names that Prometheus has them under; a histogram by its own.
fn figures() -> BTreeSet<String> {
    Metrics::default().names()
}

/// What `text` says of figures.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let of_ours = |word: &&str| word.starts_with("gantry_") || word.starts_with("process_");
    words.filter(of_ours).map(str::to_owned).collect()
}

/// Whether this is the name of a figure, or of a part of a histogram.
fn is_figure(figures: &BTreeSet<String>, name: &str) -> bool {
    let part = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part));
    figures.contains(name) || part.is_some_and(|name| figures.contains(name))
}

#[test]
fn every_figure_has_a_row_and_every_row_a_figure() {
    let rows = OPERATIONS.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let rows: BTreeSet<String> = rows.map(str::to_owned).filter(|name| named(name).contains(name)).collect();
    assert_eq!(rows, figures());
}

#[test]
fn the_text_about_figures_and_the_rules_and_the_dashboard_name_none_that_is_not_there() {
    let figures = figures();
    for (document, text) in
        [("operations.md", OPERATIONS), ("alerts.yaml", ALERTS), ("gantry.json", DASHBOARD)]
    {
        let unknown: Vec<String> =
            named(text).into_iter().filter(|name| !is_figure(&figures, name)).collect();
        assert!(unknown.is_empty(), "{document}: {unknown:?}");
    }
}

#[test]
fn every_figure_of_ours_is_on_the_dashboard() {
    let shown = named(DASHBOARD);
    let parts = ["", "_bucket"].map(|part| move |name: &String| format!("{name}{part}"));
    for name in figures().iter().filter(|name| name.starts_with("gantry_")) {
        assert!(parts.iter().any(|part| shown.contains(&part(name))), "{name}");
    }
}

#[test]
fn every_alert_says_what_to_do() {
    let alerts = ALERTS.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let alerts: BTreeSet<&str> = alerts.collect();
    let (_, section) = OPERATIONS.split_once("\n## Alerts\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let described: BTreeSet<&str> = section.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert!(alerts.len() > 10);
    assert_eq!(alerts, described);
}

#[test]
fn the_links_within_the_document_lead_somewhere() {
    let anchors: BTreeSet<String> = OPERATIONS
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .map(|line| line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-"))
        .collect();
    for link in OPERATIONS.split("](#").skip(1).filter_map(|rest| rest.split(')').next()) {
        assert!(anchors.contains(link), "{link}");
    }
}

#[test]
fn every_status_that_has_a_meaning_has_a_row() {
    let (_, section) = OPERATIONS.split_once("\n### DIMSE statuses\n").unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let told: BTreeSet<&str> = rows.flat_map(|codes| codes.split(", ")).collect();
    let unknown = meaning(0x1234);
    for code in 0..=0xFFFF {
        // Of these the first stands for all.
        let is_first = !matches!(code, 0xA901..=0xA9FF | 0xC001..=0xCFFF);
        if is_first && meaning(code) != unknown {
            assert!(told.contains(format!("{code:04X}").as_str()), "{code:04X}");
        }
    }
}

#[test]
fn the_dashboard_is_json_and_no_two_panels_are_one() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
}

#[test]
fn prometheus_takes_the_alert_rules() {
    check("promtool", &["check", "rules", "helm/gantry/alerts.yaml"]);
}
