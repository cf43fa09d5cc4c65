//! Reads one table of the configuration, and gathers what is wrong in place of stopping at it.

use std::cell::RefCell;
use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use toml::{Table, Value};

use super::{ConfigError, Variables};

/// What an AE title looks like.
pub(super) const AE_TITLE: &str = "an AE title: 1 to 16 ASCII characters without backslash";
/// Longest duration that a key may say.
const MAX_DURATION: Duration = Duration::from_secs(24 * 3600);

/// The errors found so far.
pub(super) struct Report {
    variables: Variables,
    errors: RefCell<Vec<ConfigError>>,
    notes: RefCell<Vec<ConfigError>>,
}

impl Report {
    /// A report that begins with `errors`; `variables` tells which keys the environment set.
    pub(super) fn new(variables: Variables, errors: Vec<ConfigError>) -> Self {
        Self { variables, errors: RefCell::new(errors), notes: RefCell::default() }
    }

    /// Adds an error about the key at `path`.
    pub(super) fn add(&self, path: &str, text: impl Into<String>) {
        self.errors.borrow_mut().push(self.about(path, text.into()));
    }

    fn about(&self, path: &str, text: String) -> ConfigError {
        let key = match self.variables.get(path) {
            Some(variable) => format!("{path} ({variable})"),
            None => path.to_owned(),
        };
        ConfigError { key, text }
    }

    /// Notes something about the key at `path` that is not wrong and may yet not be meant so.
    pub(super) fn note(&self, path: &str, text: &str) {
        let note = self.about(path, text.to_owned());
        self.notes.borrow_mut().push(note);
    }

    /// What the configuration says in vain, so far.
    pub(super) fn notes(&self) -> Vec<ConfigError> {
        self.notes.borrow().clone()
    }

    /// Everything that is wrong.
    pub(super) fn into_errors(self) -> Vec<ConfigError> {
        self.errors.into_inner()
    }
}

/// One table, out of which keys are taken until none must be left.
pub(super) struct Section<'a> {
    path: String,
    table: Table,
    known: Vec<&'static str>,
    was_empty: bool,
    report: &'a Report,
}

impl<'a> Section<'a> {
    /// The table of the whole file.
    pub(super) fn root(table: Table, report: &'a Report) -> Self {
        Self { path: String::new(), was_empty: table.is_empty(), table, known: Vec::new(), report }
    }

    /// A table in this one; an empty one where it is absent.
    pub(super) fn section(&mut self, key: &'static str) -> Section<'a> {
        let value = self.take(key);
        self.open(key, value)
    }

    /// A table in this one, where it is there.
    pub(super) fn optional_section(&mut self, key: &'static str) -> Option<Section<'a>> {
        let value = self.take(key)?;
        Some(self.open(key, Some(value)))
    }

    /// The tables in a table, as the archives in `[archive.…]`.
    pub(super) fn named_sections(&mut self, key: &'static str) -> Vec<(String, Section<'a>)> {
        let mut outer = self.section(key);
        let table = std::mem::take(&mut outer.table);
        let open = |(name, value): (String, Value)| {
            let section = outer.open(&name, Some(value));
            (name, section)
        };
        table.into_iter().map(open).collect()
    }

    /// The tables in an array of tables, or of inline ones.
    pub(super) fn section_list(&mut self, key: &'static str) -> Vec<Section<'a>> {
        match self.take(key) {
            None => Vec::new(),
            Some(Value::Array(values)) => {
                let open = |(n, value)| self.open(&format!("{key}[{n}]"), Some(value));
                values.into_iter().enumerate().map(open).collect()
            }
            Some(_) => {
                self.error(key, "expected a list of tables");
                Vec::new()
            }
        }
    }

    /// A text.
    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        self.checked(key, "a text", |text| Some(text.to_owned()))
    }

    /// A text that `check` turns into a value; `expected` says what it should be.
    pub(super) fn checked<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        check: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let value = self.take(key)?;
        let found = value.as_str().and_then(check);
        if found.is_none() {
            self.error(key, format!("expected {expected}"));
        }
        found
    }

    /// A text that is parsed.
    pub(super) fn parsed<T: FromStr>(&mut self, key: &'static str, expected: &str) -> Option<T> {
        self.checked(key, expected, |text| text.parse().ok())
    }

    /// As [`Section::parsed`], of a key that must be there.
    pub(super) fn required<T: FromStr>(&mut self, key: &'static str, expected: &str) -> Option<T> {
        if !self.has(key) {
            self.known.push(key);
            self.error(key, format!("missing: give {expected}"));
            return None;
        }
        self.parsed(key, expected)
    }

    /// An address to listen on.
    pub(super) fn listen(&mut self, key: &'static str) -> Option<SocketAddr> {
        self.parsed(key, "an IP address and a port, such as \"127.0.0.1:8080\", or \"0.0.0.0:8080\" for all")
    }

    /// A number in this range.
    pub(super) fn number(&mut self, key: &'static str, range: RangeInclusive<usize>) -> Option<usize> {
        let value = self.take(key)?;
        let number = match &value {
            Value::Integer(number) => usize::try_from(*number).ok(),
            Value::String(text) if self.set_by_environment(key) => text.trim().parse().ok(),
            _ => None,
        };
        let found = number.filter(|number| range.contains(number));
        if found.is_none() {
            self.error(key, format!("expected a number from {} to {}", range.start(), range.end()));
        }
        found
    }

    /// A part of the whole, from 0 to 1.
    pub(super) fn fraction(&mut self, key: &'static str) -> Option<f64> {
        let value = self.take(key)?;
        let number = match &value {
            Value::Float(number) => Some(*number),
            Value::Integer(number) => Some(*number as f64),
            Value::String(text) if self.set_by_environment(key) => text.trim().parse().ok(),
            _ => None,
        };
        let found = number.filter(|number| (0.0..=1.0).contains(number));
        if found.is_none() {
            self.error(key, "expected a number from 0.0 to 1.0");
        }
        found
    }

    /// Yes or no.
    pub(super) fn flag(&mut self, key: &'static str) -> Option<bool> {
        let value = self.take(key)?;
        let found = match &value {
            Value::Boolean(flag) => Some(*flag),
            Value::String(text) if self.set_by_environment(key) => text.trim().parse().ok(),
            _ => None,
        };
        if found.is_none() {
            self.error(key, "expected true or false");
        }
        found
    }

    /// A duration such as `"5s"`.
    pub(super) fn duration(&mut self, key: &'static str) -> Option<Duration> {
        self.checked(
            key,
            "a duration above zero and up to a day, such as \"500ms\", \"5s\", \"30m\" or \"1h\"",
            duration,
        )
    }

    /// A number of bytes, with a unit.
    pub(super) fn size(&mut self, key: &'static str, range: RangeInclusive<usize>) -> Option<usize> {
        let (least, most) = (range.start(), range.end());
        let expected =
            format!("a size of {least} to {most} bytes, such as \"0\", \"800B\", \"4KiB\" or \"1MiB\"");
        self.checked(key, &expected, |text| size(text).filter(|bytes| range.contains(bytes)))
    }

    /// A list of texts that are parsed.
    pub(super) fn list<T: FromStr>(&mut self, key: &'static str, expected: &str) -> Option<Vec<T>> {
        let value = self.take(key)?;
        let texts: Option<Vec<String>> = match &value {
            Value::Array(values) => values.iter().map(|v| v.as_str().map(str::to_owned)).collect(),
            // An environment variable has its list with commas.
            Value::String(text) if self.set_by_environment(key) => {
                Some(text.split(',').map(|one| one.trim().to_owned()).filter(|one| !one.is_empty()).collect())
            }
            _ => None,
        };
        let parse =
            |texts: Vec<String>| texts.iter().map(|text| text.parse().ok()).collect::<Option<Vec<T>>>();
        let found = texts.and_then(parse);
        if found.is_none() {
            self.error(key, format!("expected {expected}"));
        }
        found
    }

    /// As [`Section::list`], of which a single one may stand there without brackets.
    pub(super) fn one_or_list<T: FromStr>(&mut self, key: &'static str, expected: &str) -> Option<Vec<T>> {
        let by_environment = self.set_by_environment(key);
        if let Some(value @ Value::String(_)) = self.table.get_mut(key)
            && !by_environment
        {
            *value = Value::Array(vec![value.clone()]);
        }
        self.list(key, expected)
    }

    /// All keys of a table whose keys the configuration makes up, each with its list.
    pub(super) fn lists<T: FromStr>(mut self, expected: &str) -> Vec<(String, Vec<T>)> {
        let mut found = Vec::new();
        for (key, value) in std::mem::take(&mut self.table) {
            let parse = |value: &Value| value.as_str()?.parse().ok();
            match value.as_array().and_then(|values| values.iter().map(parse).collect()) {
                Some(list) => found.push((key, list)),
                None => self.error(&key, format!("expected {expected}")),
            }
        }
        found
    }

    /// One of these words.
    pub(super) fn choice<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let names: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let expected = names.join(" or ");
        self.checked(key, &expected, |text| {
            words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value)
        })
    }

    /// Notes something that is not wrong and may yet not be meant so.
    pub(super) fn note(&self, key: &str, text: &str) {
        self.report.note(&join(&self.path, key), text);
    }

    /// Refuses a key that would do nothing yet; `what` comes with a later version.
    pub(super) fn later(&mut self, key: &'static str, what: &str) {
        if self.table.remove(key).is_some() {
            self.error(key, format!("{what} with a later version; take the key out"));
        }
    }

    /// Whether a key is there that has not been taken yet.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Whether the table had no keys at all.
    pub(super) fn was_empty(&self) -> bool {
        self.was_empty
    }

    /// Adds an error about a key; an empty one stands for the table itself.
    pub(super) fn error(&self, key: &str, text: impl Display) {
        self.report.add(&join(&self.path, key), text.to_string());
    }

    /// Refuses what is left: keys that nobody knows.
    pub(super) fn finish(self) {
        for key in self.table.keys() {
            self.error(key, format!("unknown key; known here are: {}", self.known.join(", ")));
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.table.remove(key)
    }

    fn open(&self, key: &str, value: Option<Value>) -> Section<'a> {
        let path = join(&self.path, key);
        let table = match value {
            None => Table::new(),
            Some(Value::Table(table)) => table,
            Some(_) => {
                self.report.add(&path, "expected a table");
                Table::new()
            }
        };
        Section { path, was_empty: table.is_empty(), table, known: Vec::new(), report: self.report }
    }

    fn set_by_environment(&self, key: &str) -> bool {
        self.report.variables.contains_key(&join(&self.path, key))
    }
}

fn join(path: &str, key: &str) -> String {
    let dot = if path.is_empty() || key.is_empty() { "" } else { "." };
    format!("{path}{dot}{key}")
}

/// A duration such as `5s`: a whole number with `ms`, `s`, `m` or `h`.
fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let milliseconds = match unit.trim() {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let found = Duration::from_millis(number.checked_mul(milliseconds)?);
    (!found.is_zero() && found <= MAX_DURATION).then_some(found)
}

fn size(text: &str) -> Option<usize> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: usize = number.parse().ok()?;
    let bytes = match unit.trim() {
        "" if number == 0 => 1,
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit() {
        for (text, bytes) in [("0", 0), ("800B", 800), ("4KiB", 4096), ("512 MiB", 512 << 20)] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for bad in ["", "5", "KiB", "-5B", "5KB", "99999999999999999999B", "1.5KiB"] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations_have_a_unit_and_bounds() {
        for (text, milliseconds) in [("500ms", 500), ("5s", 5_000), ("30m", 1_800_000), ("1 h", 3_600_000)] {
            assert_eq!(duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for bad in ["", "5", "s", "-5s", "5 days", "0s", "25h", "99999999999999999999s", "1.5s"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}
