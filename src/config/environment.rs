//! Lays the environment's variables over the file: `GANTRY_ARCHIVE__MAIN__ADDRESS` is `archive.main.address`.

use toml::{Table, Value};

use super::{ConfigError, Variables, read};

/// What the variables begin with.
const PREFIX: &str = "GANTRY_";
/// Between the parts of a key. One underscore alone stands inside of names.
const SEPARATOR: &str = "__";
/// The end of a variable that names a file which has the value, as secrets are mounted.
const FROM_FILE: &str = "_FILE";
/// The keys outside of any section.
const TOP_LEVEL: [&str; 1] = ["default_archive"];

/// Puts the values of all `GANTRY_…` variables into `table`, and returns which keys they set.
///
/// A variable without a section that is no key is passed over: Kubernetes sets `GANTRY_PORT` and its like
/// for a service of this name.
pub(super) fn overlay(
    table: &mut Table,
    environment: impl IntoIterator<Item = (String, String)>,
    errors: &mut Vec<ConfigError>,
) -> Variables {
    let mut variables = Variables::new();
    for (variable, value) in environment {
        let Some(name) = variable.strip_prefix(PREFIX) else { continue };
        let (name, value) = match name.strip_suffix(FROM_FILE) {
            None => (name, value),
            Some(name) => match read(value.as_ref()) {
                Ok(text) => (name, text.trim_end_matches(['\r', '\n']).to_owned()),
                Err(error) => {
                    errors.push(ConfigError { key: variable, text: error.text });
                    continue;
                }
            },
        };
        let parts: Vec<String> = name.split(SEPARATOR).map(str::to_ascii_lowercase).collect();
        if parts.len() == 1 && !TOP_LEVEL.contains(&parts[0].as_str()) {
            continue;
        }
        match insert(table, &parts, value) {
            Some(path) => {
                variables.insert(path, variable);
            }
            None => errors.push(ConfigError { key: variable, text: "names no key".to_owned() }),
        }
    }
    variables
}

/// Sets the key, and returns its path as it is spelt in the file, which may have capitals.
fn insert(table: &mut Table, parts: &[String], value: String) -> Option<String> {
    let (last, sections) = parts.split_last()?;
    if parts.iter().any(String::is_empty) {
        return None;
    }
    let mut path = String::new();
    let mut inner = table;
    for section in sections {
        let key = spelling(inner, section);
        path.push_str(&key);
        path.push('.');
        inner = inner.entry(key).or_insert_with(|| Value::Table(Table::new())).as_table_mut()?;
    }
    let key = spelling(inner, last);
    path.push_str(&key);
    inner.insert(key, Value::String(value));
    Some(path)
}

fn spelling(table: &Table, name: &str) -> String {
    table.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned().unwrap_or_else(|| name.to_owned())
}
