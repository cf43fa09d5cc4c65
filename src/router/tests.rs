use super::*;
use crate::archive::testing::Fake;

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const MR: &str = "1.2.840.10008.5.1.4.1.1.4";

fn router(names: &[&str], default: Option<&str>) -> Router {
    Router::new(names.iter().map(|name| Fake::named(name) as Arc<dyn Archive>), default)
}

fn title(text: &str) -> AeTitle {
    text.parse().unwrap()
}

fn list<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> Vec<T> {
    text.split_whitespace().map(|one| one.parse().unwrap()).collect()
}

/// Called, calling, class, modality and archives, each a list with spaces.
fn rule([called, calling, class, modality, archives]: [&str; 5]) -> RuleConfig {
    RuleConfig {
        called: list(called),
        calling: list(calling),
        sop_class: list(class),
        modality: list(modality),
        archives: list(archives),
    }
}

/// Archives `a` to `d`, of which `d` is the default and `c` is called C.
fn routed(rules: &[[&str; 5]]) -> Router {
    let rules: Vec<RuleConfig> = rules.iter().map(|parts| rule(*parts)).collect();
    router(&["a", "b", "c", "d"], Some("d")).with_routes(&rules, [(&title("C"), "c")])
}

fn names<'a>(archives: impl IntoIterator<Item = &'a Arc<dyn Archive>>) -> String {
    archives.into_iter().map(|archive| archive.name()).collect::<Vec<_>>().join(" ")
}

fn stored(router: &Router, called: &str, calling: &str, class: &str, modality: Option<&str>) -> String {
    names(&router.for_object(&title(called), &title(calling), &class.parse().unwrap(), modality))
}

#[test]
fn a_single_archive_is_the_default_and_one_of_several_must_be_named() {
    let name = |router: &Router| router.default_archive().map(|archive| archive.name().to_owned());
    assert_eq!(name(&router(&["a"], None)).as_deref(), Some("a"));
    assert_eq!(name(&router(&["a", "b"], None)), None);
    assert_eq!(name(&router(&["a", "b"], Some("b"))).as_deref(), Some("b"));
    assert!(router(&["a", "b"], None).by_name("a").is_some());
    assert!(router(&["a"], None).by_name("b").is_none());
}

#[test]
fn the_first_rule_that_matches_decides() {
    let router =
        routed(&[["GANTRY", "CT1 CT2", CT, "", "a"], ["", "CT1", "", "", "b"], ["X", "", "", "", "c"]]);
    assert_eq!(stored(&router, "GANTRY", "CT1", CT, None), "a");
    assert_eq!(stored(&router, "GANTRY", "CT1", MR, None), "b");
    assert_eq!(stored(&router, "OTHER", "CT1", CT, None), "b");
    assert_eq!(stored(&router, "X", "CT2", CT, None), "c");
    assert_eq!(stored(&router, "GANTRY", "ct1", CT, None), "d", "case counts");
}

#[test]
fn without_a_rule_the_called_title_decides_and_then_the_default() {
    let router = routed(&[["", "CT1", "", "", "a"]]);
    assert_eq!(stored(&router, "C", "CT1", CT, None), "a");
    assert_eq!(stored(&router, "C", "CT2", CT, None), "c");
    assert_eq!(stored(&router, "GANTRY", "CT2", CT, None), "d");
    let none = self::router(&["a", "b"], None);
    assert_eq!(stored(&none, "GANTRY", "CT2", CT, None), "");
    assert!(none.for_service(&title("GANTRY"), &title("CT2"), &CT.parse().unwrap()).is_none());
}

#[test]
fn an_objects_modality_decides_and_everything_else_passes_such_rules_by() {
    let router = routed(&[["", "", "", "CT MR", "a b"], ["", "", "", "US", "b"], ["", "", MR, "", "c"]]);
    let to = |class, modality| stored(&router, "GANTRY", "CT1", class, modality);
    assert_eq!((to(CT, Some("MR")), to(CT, Some("US"))), ("a b".into(), "b".into()));
    assert_eq!((to(CT, Some("XA")), to(CT, None), to(MR, None)), ("d".into(), "d".into(), "c".into()));
    let (called, calling) = (title("GANTRY"), title("CT1"));
    let service = |class: &str| router.for_service(&called, &calling, &class.parse().unwrap());
    assert_eq!(service("1.2.840.10008.5.1.4.1.2.2.1").unwrap().name(), "d");
    assert!(router.asks_for_modality(&called, &calling, &CT.parse().unwrap()));
    assert!(!routed(&[["", "", CT, "", "a"]]).asks_for_modality(&called, &calling, &CT.parse().unwrap()));
}

#[test]
fn candidates_are_all_archives_that_an_object_of_the_class_may_go_to() {
    let router = routed(&[["", "", "", "CT", "a b"], ["", "", "", "US", "b c"], ["", "", MR, "", "c"]]);
    let of =
        |class: &str| names(&router.candidates(&title("GANTRY"), &title("CT1"), &class.parse().unwrap()));
    assert_eq!((of(CT), of(MR)), ("a b c d".into(), "a b c".into()));
}

#[test]
fn a_client_is_routed_to_no_archive_that_it_may_not_reach() {
    let may = vec!["b".to_owned(), "d".to_owned()];
    let router = routed(&[["", "", CT, "", "a b"], ["", "", MR, "", "a"]])
        .with_reach([(&title("CT1"), may.as_slice()), (&title("WS1"), &[])]);
    let to = |calling, class| stored(&router, "GANTRY", calling, class, None);
    assert_eq!((to("CT1", CT), to("CT1", MR), to("CT1", "1.2")), ("b".into(), "".into(), "d".into()));
    assert_eq!((to("WS1", CT), to("OTHER", CT)), ("".into(), "a b".into()));
    let service = |calling: &str| {
        let found = router.for_service(&title("GANTRY"), &title(calling), &CT.parse().unwrap());
        found.map(|archive| archive.name().to_owned())
    };
    assert_eq!(service("CT1"), None, "the second archive of a rule is no substitute for the first");
    assert_eq!(service("OTHER").as_deref(), Some("a"));
    let candidates =
        |calling| names(&router.candidates(&title("GANTRY"), &title(calling), &CT.parse().unwrap()));
    assert_eq!((candidates("CT1"), candidates("OTHER")), ("b".into(), "a b".into()));
}

#[test]
fn a_rule_covers_what_asks_for_no_less() {
    let all = rule(["", "", "", "", "a"]);
    let ct = rule(["", "CT1 CT2", CT, "", "a"]);
    let one = rule(["GANTRY", "CT1", CT, "CT", "b"]);
    assert!(all.covers(&ct) && all.covers(&all) && ct.covers(&one));
    assert!(!ct.covers(&all) && !one.covers(&ct) && !ct.covers(&rule(["", "CT1 X", CT, "", "a"])));
}
