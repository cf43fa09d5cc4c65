//! Holds `openapi/gantry.yaml` against the routes that are served.

use std::collections::BTreeSet;

use gantry::front::http::{PAGES, Page, RESOURCES, Resource, STORES};

const TEXT: &str = include_str!("../../openapi/gantry.yaml");

/// The paths of the description with the lines below each of them.
fn described() -> Vec<(&'static str, Vec<&'static str>)> {
    let paths = TEXT.split("\npaths:\n").nth(1).and_then(|rest| rest.split("\ncomponents:\n").next());
    let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in paths.expect("a section with paths").lines() {
        match line.strip_prefix("  /").and_then(|rest| rest.strip_suffix(':')) {
            Some(rest) => found.push((&line[2..3 + rest.len()], Vec::new())),
            None => found.last_mut().expect("a path comes first").1.push(line.trim()),
        }
    }
    found
}

#[test]
fn every_route_is_described_and_every_described_path_is_served() {
    let described: BTreeSet<&str> = described().into_iter().map(|(path, _)| path).collect();
    // What a parameter may have in it, slashes or not, is the router's own matter.
    let resources = RESOURCES.iter().map(|(path, _)| path.replace("{*", "{"));
    let served: BTreeSet<String> =
        resources.chain(PAGES.iter().map(|(path, _)| (*path).to_owned())).collect();
    assert_eq!(described.into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), served);
}

#[test]
fn a_path_is_described_as_what_it_does() {
    for (path, lines) in described() {
        let resource = RESOURCES.iter().find(|(served, _)| served.replace("{*", "{") == path);
        let tag = match resource {
            Some((_, Resource::Search(_))) => "tags: [QIDO-RS]",
            Some(_) => "tags: [WADO-RS]",
            None => "tags: [Server]",
        };
        assert!(lines.contains(&tag), "{path}");
        let methods: Vec<&&str> = lines
            .iter()
            .filter(|line| ["get:", "put:", "post:", "delete:", "patch:"].contains(line))
            .collect();
        let stores = STORES.contains(&path);
        let page = PAGES.iter().find(|(served, _)| *served == path).map(|(_, page)| page);
        let expected: &[&str] = match page {
            Some(Page::Cache) => &["get:", "delete:"],
            Some(Page::ReturnPath) => &["post:"],
            _ if stores => &["get:", "post:"],
            _ => &["get:"],
        };
        assert_eq!(methods, expected.iter().collect::<Vec<_>>(), "{path}");
        assert_eq!(lines.contains(&"tags: [STOW-RS]"), stores, "{path}");
        for name in path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
            let reference = format!("- $ref: \"#/components/parameters/{name}\"");
            assert!(lines.contains(&reference.as_str()), "{path}: {name}");
        }
    }
}

#[test]
fn every_reference_has_its_target() {
    for reference in TEXT.split("\"#/components/").skip(1) {
        let target = reference.split('"').next().unwrap_or_default();
        let (kind, name) = target.split_once('/').expect("a kind and a name");
        let section = TEXT.split(&format!("\n  {kind}:\n")).nth(1).expect("the kind is there");
        let mut inside = section.lines().take_while(|line| line.starts_with("    "));
        assert!(inside.any(|line| line == format!("    {name}:")), "{target}");
    }
}
