//! Holds the conformance statement against the program: its tables against the code, and in [`over_the_wire`] against what is
//! negotiated.

mod over_the_wire;

use std::collections::{BTreeMap, BTreeSet};

use gantry::dicom::charset::Charset;
use gantry::dicom::transfer_syntax::{
    DEFLATED_EXPLICIT_VR_LE, EXPLICIT_VR_BE, EXPLICIT_VR_LE, IMPLICIT_VR_LE, LOSSLESS, LOSSY,
    is_allowed_on_the_web, is_encapsulated, is_lossy,
};
use gantry::dicom::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, sop_class};
use gantry::dimse::negotiation::OUR_MAX_PDU;
use gantry::dimse::pdu::{APPLICATION_CONTEXT, AssociateRj, MAX_CONTEXTS};
use gantry::dimse::status;
use gantry::front::http::{RESOURCES, STORES};
use gantry::image::codec;

const TEXT: &str = include_str!("../../docs/conformance-statement.md");
const CONFIGURATION: &str = include_str!("../../docs/configuration.md");
const OPENAPI: &str = include_str!("../../openapi/gantry.yaml");

/// The rows of the first table below a heading, without the marks of code.
fn table(heading: &str) -> Vec<Vec<String>> {
    let lines = TEXT.lines().skip_while(|line| !(line.starts_with('#') && line.ends_with(heading)));
    let rows = lines.skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split(" | ").map(|cell| cell.trim().replace('`', "")).collect()
    };
    let rows: Vec<_> = rows.skip(2).map(cells).collect();
    assert!(!rows.is_empty(), "{heading}");
    rows
}

/// One column of a table; nothing stands in it twice.
fn column(heading: &str, number: usize) -> BTreeSet<String> {
    let rows = table(heading);
    let found: BTreeSet<String> = rows.iter().map(|row| row[number].clone()).collect();
    assert_eq!(found.len(), rows.len(), "{heading}");
    found
}

fn owned<'a>(texts: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    texts.into_iter().map(str::to_owned).collect()
}

#[test]
fn the_storage_classes_are_those_that_are_proposed() {
    assert_eq!(column("Storage SOP classes", 1), owned(sop_class::STORAGE.iter().map(|(class, _)| *class)));
}

#[test]
fn the_transfer_syntaxes_are_those_that_are_proposed() {
    let native = [IMPLICIT_VR_LE, EXPLICIT_VR_LE, EXPLICIT_VR_BE, DEFLATED_EXPLICIT_VR_LE];
    assert_eq!(
        column("Transfer syntaxes of objects", 1),
        owned(native.into_iter().chain(LOSSLESS).chain(LOSSY))
    );
    for row in table("Transfer syntaxes of objects") {
        let syntax = row[1].parse().unwrap();
        assert_eq!(row[2] == "may be", is_lossy(&syntax), "{row:?}");
        assert_eq!(row[3] == "yes", is_allowed_on_the_web(&syntax), "{row:?}");
        assert_eq!(row[4] == "yes", !is_encapsulated(&syntax) || codec::can_decode(&syntax), "{row:?}");
        assert_eq!(row[5] == "yes", syntax.as_str() == EXPLICIT_VR_LE || codec::encodes(&syntax), "{row:?}");
    }
}

#[test]
fn the_resources_are_those_that_are_served() {
    let stated: Vec<(String, String)> =
        table("Resources").iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    let served = RESOURCES.iter().flat_map(|(path, _)| {
        let stores = STORES.contains(path).then_some("POST");
        ["GET"].into_iter().chain(stores).map(|method| ((*path).to_owned(), method.to_owned()))
    });
    assert_eq!(stated, served.collect::<Vec<_>>());
}

#[test]
fn every_character_set_is_read() {
    let stated = column("5.7 Specific Character Sets", 0);
    for term in &stated {
        let values: Vec<&str> = if term == "(none)" { vec![] } else { vec![term] };
        let charset = Charset::from_values(&values);
        assert!(charset.is_known(), "{term}");
        let names_it = charset.values().iter().any(|value| value == term);
        assert!(values.is_empty() || names_it, "{term}: {:?}", charset.values());
    }
    // Those of PS3.3 Tables C.12-2 to C.12-5, by their numbers.
    let numbers = [13, 58, 87, 100, 101, 109, 110, 126, 127, 138, 144, 148, 149, 159, 166, 192, 203];
    for number in numbers {
        let terms = [format!("ISO_IR {number}"), format!("ISO 2022 IR {number}")];
        assert!(terms.iter().any(|term| stated.contains(term)), "{number}");
    }
    assert_eq!(stated.len(), numbers.len() + ["(none)", "GB18030", "GBK"].len());
}

#[test]
fn identifiers_and_limits_are_those_of_the_program() {
    let stated: BTreeMap<String, String> =
        table("General parameters").into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    let equal = [
        ("Application Context Name", APPLICATION_CONTEXT.to_owned()),
        ("Implementation Class UID", IMPLEMENTATION_CLASS_UID.to_owned()),
        ("Implementation Version Name", IMPLEMENTATION_VERSION_NAME.to_owned()),
        ("Maximum PDU length that is offered", OUR_MAX_PDU.to_string()),
        ("Presentation contexts in a request", MAX_CONTEXTS.to_string()),
    ];
    for (parameter, value) in equal {
        assert_eq!(stated[parameter], value, "{parameter}");
    }
    // The configuration's own tables are held against the code elsewhere.
    let default = |section: &str, key: &str| {
        let rows = CONFIGURATION.split(section).nth(1).unwrap();
        let row = rows.lines().find(|line| line.starts_with(&format!("| `{key}` |"))).unwrap();
        row.split(" | ").nth(1).unwrap().trim_matches(['`', '"']).to_owned()
    };
    let with_unit =
        |text: &str| text.replace(" min", "m").replace(" s", "s").split(' ').next().unwrap().to_owned();
    for (parameter, section, key) in [
        ("Associations that are accepted", "## `[dimse]`", "max_associations"),
        ("Associations that are requested of an archive", "## `[archive.NAME]`", "max_associations"),
        ("Time for A-ASSOCIATE-RQ (ARTIM)", "`[dimse.timeouts]`", "artim"),
        ("Idle association of a client", "`[dimse.timeouts]`", "idle"),
        ("Idle association with an archive", "`[archive.NAME.timeouts]`:", "idle"),
        ("Silence in an operation", "`[archive.NAME.timeouts]`:", "silence"),
    ] {
        assert_eq!(with_unit(&stated[parameter]), default(section, key), "{parameter}");
    }
    for (key, words) in
        [("max_associations_per_ae", "from one title"), ("max_associations_per_address", "from one address")]
    {
        let said = format!("{} {words}", default("## `[dimse]`", key));
        assert!(stated["Associations that are accepted"].contains(&said), "{said}");
    }
}

#[test]
fn rejections_have_the_numbers_of_the_standard() {
    let known = [
        AssociateRj::CALLED_TITLE,
        AssociateRj::CALLING_TITLE,
        AssociateRj::APPLICATION_CONTEXT,
        AssociateRj::PROTOCOL_VERSION,
        AssociateRj::CONGESTION,
        AssociateRj::LOCAL_LIMIT,
    ];
    let numbers = known.map(|rj| format!("{}, {}, {}", rj.result, rj.source, rj.reason));
    let stated: Vec<String> = table("Association policies").into_iter().map(|row| row[1].clone()).collect();
    assert_eq!(stated, numbers);
}

#[test]
fn statuses_are_ones_that_the_program_knows() {
    for row in table("7.3.1 DIMSE") {
        for code in row[0].split(", ") {
            let code = u16::from_str_radix(code, 16).unwrap();
            // One that the standard lists for the operation alone.
            let is_listed = code == status::TRANSFER_SYNTAX_NOT_SUPPORTED
                || !status::meaning(code).starts_with("a status that");
            assert!(is_listed, "{row:?}");
        }
    }
    let stated: BTreeSet<String> = table("7.3.2 DICOM web services")
        .iter()
        .flat_map(|row| row[0].split(", ").map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let described = OPENAPI.lines().filter_map(|line| {
        let code = line.trim().split(':').next()?.trim_matches(['"', '\'']);
        (code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit())).then(|| code.to_owned())
    });
    for status in described {
        assert!(stated.contains(&status), "{status}");
    }
}
