//! `gantry find`: searches an archive, and shows what it finds as a table or as DICOM JSON.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::Failure;
use super::peer::{Opened, Peer, caller, failed, told};
use super::terminal::{self, Table};
use crate::archive::error::Kind;
use crate::archive::{Archive, Search, Step};
use crate::caller::Priority;
use crate::dicom::dataset::{DataSet, Element};
use crate::dicom::dictionary::keyword_of;
use crate::dicom::query::{AttributePath, Level, Query};
use crate::dicom::{Tag, Uid, tags};
use crate::dicomweb::json;
use crate::dicomweb::request::{self, SearchResource};

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    peer: Peer,
    /// What to match, such as PatientName=M* or StudyDate=20260101-: keywords or tags, wildcards and ranges as the
    /// archive has them.
    #[arg(value_name = "KEY=VALUE")]
    keys: Vec<String>,
    /// What to search for.
    #[arg(long, value_enum, default_value_t = What::Studies)]
    level: What,
    /// Within this study.
    #[arg(long, value_name = "UID")]
    study: Option<Uid>,
    /// Within this series of the study.
    #[arg(long, value_name = "UID", requires = "study")]
    series: Option<Uid>,
    /// Show this attribute besides. Repeatable.
    #[arg(long = "include", value_name = "KEY")]
    include: Vec<String>,
    /// End the search after so many matches.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Print DICOM JSON (PS3.18 Annex F) in place of a table.
    #[arg(long)]
    json: bool,
}

/// A level, as people call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// Studies.
    Studies,
    /// Series.
    Series,
    /// Instances.
    Instances,
}

/// Runs the command.
pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let query = query(&arguments).map_err(|error| Failure::Usage(error.to_string()))?;
    let columns = columns(&query);
    let opened = arguments.peer.open()?;
    let found = find(&opened, query, arguments.limit as usize).await;
    opened.close().await;
    let (matches, is_all) = found?;
    if arguments.json {
        println!("{}", String::from_utf8_lossy(&json::write_array(&matches)));
    } else {
        let width = terminal::is_terminal().then(terminal::width);
        print!("{}", table(&columns, &matches).text(width));
    }
    let how_many = match (matches.len(), is_all) {
        (0, _) => "nothing matches".to_owned(),
        (1, true) => "1 match".to_owned(),
        (1, false) => "the first match; --limit gives more".to_owned(),
        (count, true) => format!("{count} matches"),
        (count, false) => format!("the first {count} matches; --limit gives more"),
    };
    eprintln!("{how_many}");
    Ok(())
}

/// The matches, at most `limit`, and whether they are all.
async fn find(opened: &Opened, query: Query, limit: usize) -> Result<(Vec<DataSet>, bool), Failure> {
    let search = opened.archive.search(&caller(Priority::Interactive), query).await;
    let Search { matches: mut feed, warnings } = search.map_err(|error| match error.kind {
        Kind::BadKeys(_) => Failure::Usage(told(&error)),
        _ => failed(&error),
    })?;
    for warning in warnings {
        eprintln!("note: {}", terminal::harmless(&warning));
    }
    let mut matches: Vec<DataSet> = Vec::new();
    loop {
        match feed.next().await {
            // Dropping the feed cancels the search.
            Step::Item(_) if matches.len() >= limit => return Ok((matches, false)),
            Step::Item(one) => matches.push(DataSet::clone(&one)),
            Step::End(Ok(_)) => return Ok((matches, true)),
            Step::End(Err(error)) => return Err(failed(&error)),
        }
    }
}

/// The search, read as a URL's would be: the same keys mean the same.
fn query(arguments: &Arguments) -> Result<Query, request::BadRequest> {
    let level = match arguments.level {
        What::Studies => Level::Study,
        What::Series => Level::Series,
        What::Instances => Level::Instance,
    };
    let within = (arguments.study.clone(), arguments.series.clone());
    let (study, series) = if level == Level::Study { (None, None) } else { within };
    let mut raw: Vec<String> = Vec::new();
    let mut add = |name: &str, value: &str| {
        let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        raw.push(format!("{}={}", encoded(name), encoded(value)));
    };
    for key in &arguments.keys {
        let bad = || request::BadRequest(format!("{key} is not KEY=VALUE, such as PatientName=M*"));
        let (name, value) = key.split_once('=').ok_or_else(bad)?;
        add(name, value);
    }
    if let (Level::Study, Some(study)) = (level, &arguments.study) {
        add("StudyInstanceUID", study.as_str());
    }
    arguments.include.iter().for_each(|key| add("includefield", key));
    let resource = SearchResource { level, study, series };
    Ok(request::search(&resource, &raw.join("&"))?.query)
}

/// What the table shows: what tells entities of the level apart, and whatever was asked for by name.
fn columns(query: &Query) -> Vec<AttributePath> {
    let of_level: &[Tag] = match query.level {
        Level::Patient | Level::Study => &[
            tags::STUDY_DATE,
            tags::PATIENT_NAME,
            tags::PATIENT_ID,
            tags::MODALITIES_IN_STUDY,
            tags::STUDY_DESCRIPTION,
            tags::STUDY_INSTANCE_UID,
        ],
        Level::Series => &[
            tags::MODALITY,
            tags::SERIES_NUMBER,
            tags::SERIES_DESCRIPTION,
            tags::NUMBER_OF_SERIES_RELATED_INSTANCES,
            tags::SERIES_INSTANCE_UID,
        ],
        Level::Instance => &[tags::INSTANCE_NUMBER, tags::SOP_CLASS_UID, tags::SOP_INSTANCE_UID],
    };
    let mut columns: Vec<AttributePath> = query.include.clone();
    // What is the same in every row tells nothing.
    let is_one = |path: &AttributePath| query.single_uid(path.leaf()).is_some();
    let asked = query.keys.iter().map(|key| key.path.clone());
    columns.extend(asked.filter(|path| path.sequences().is_empty() && !is_one(path)));
    columns.extend(of_level.iter().copied().map(AttributePath::from));
    // What stands there by itself keeps its place.
    let mut ordered: Vec<AttributePath> = of_level.iter().copied().map(AttributePath::from).collect();
    for path in columns {
        if !ordered.contains(&path) {
            ordered.insert(ordered.len() - 1, path);
        }
    }
    ordered
}

fn table(columns: &[AttributePath], matches: &[DataSet]) -> Table {
    let head = columns.iter().map(|path| {
        let tag = path.leaf();
        keyword_of(tag).map_or_else(|| format!("{:04X}{:04X}", tag.group(), tag.element()), str::to_owned)
    });
    let mut table = Table::new(head);
    for one in matches {
        table.row(
            columns.iter().map(|path| one.at(path).into_iter().map(shown).collect::<Vec<_>>().join(", ")),
        );
    }
    table
}

/// A value in words.
fn shown(element: &Element) -> String {
    match element.int() {
        Some(number) => number.to_string(),
        None => element.strings().join("\\"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn arguments(line: &[&str]) -> Arguments {
        Line::try_parse_from([&["find", "PACS@pacs:104"], line].concat()).unwrap().arguments
    }

    #[test]
    fn keys_on_the_command_line_mean_what_they_mean_in_a_url() {
        let read = query(&arguments(&["PatientName=Mü* &+", "00080060=CT", "--include", "StudyID"])).unwrap();
        let values: Vec<&str> = read.keys.iter().map(|key| key.values[0].as_str()).collect();
        assert_eq!(values, ["Mü* &+", "CT"]);
        assert_eq!(read.include, [AttributePath::from(tags::STUDY_ID)]);
        let within = query(&arguments(&["--level", "series", "--study", "1.2"])).unwrap();
        assert_eq!(
            (within.level, within.single_uid(tags::STUDY_INSTANCE_UID)),
            (Level::Series, "1.2".parse().ok())
        );
        let one = query(&arguments(&["--study", "1.2"])).unwrap();
        assert_eq!(one.single_uid(tags::STUDY_INSTANCE_UID), "1.2".parse().ok());
        assert!(query(&arguments(&["PatientName"])).is_err());
        assert!(query(&arguments(&["PatientNam=x"])).is_err());
    }

    #[test]
    fn the_table_has_what_was_asked_for_and_ends_with_the_uid() {
        console::set_colors_enabled(false);
        let query = query(&arguments(&["PatientName=M*", "--include", "StudyID"])).unwrap();
        let mut one = DataSet::new();
        one.set_str(tags::PATIENT_NAME, crate::dicom::VR::PN, "Müller^Jürgen");
        one.set_str(tags::STUDY_ID, crate::dicom::VR::SH, "7");
        one.set_str(tags::STUDY_INSTANCE_UID, crate::dicom::VR::UI, "1.2.3");
        let text = table(&columns(&query), &[one]).text(None);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].ends_with("StudyID  StudyInstanceUID"), "{text}");
        assert_eq!(lines[0].matches("PatientName").count(), 1);
        assert!(lines[1].contains("Müller^Jürgen") && lines[1].ends_with("1.2.3"), "{text}");
    }
}
