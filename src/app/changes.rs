//! What another configuration changes, in words for the log.

use std::fmt;

use crate::config::Config;

/// What is different now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Keys and sections, each with what became of it.
    taken: Vec<String>,
    /// Keys that are different, and take effect with the next start.
    restart: Vec<&'static str>,
}

impl Changes {
    /// From `before` to `after`; `restart`: keys that are left as they were.
    pub(super) fn between(before: &Config, after: &Config, restart: Vec<&'static str>) -> Self {
        let mut taken = Vec::new();
        let archives = |config: &Config| {
            let named = |one: &crate::archive::dimse::Config| (format!("archive.{}", one.name), one.clone());
            config.archives.iter().map(named).collect::<Vec<_>>()
        };
        compare(&archives(before), &archives(after), &mut taken);
        let aes = |config: &Config| {
            let aes = config.dimse.front.aes.iter();
            aes.map(|ae| (format!("ae.{}", ae.title), ae.clone())).collect::<Vec<_>>()
        };
        compare(&aes(before), &aes(after), &mut taken);
        let mut changed = |key: &str, same: bool| {
            if !same {
                taken.push(key.to_owned());
            }
        };
        changed("auth", before.auth == after.auth);
        changed("route", before.routes == after.routes);
        changed("default_archive", before.default_archive == after.default_archive);
        changed("http", before.http.front == after.http.front);
        let without_lists = |config: &Config| {
            let mut front = config.dimse.front.clone();
            (front.aes, front.archives, front.max_returns) = Default::default();
            front.titles.clear();
            front
        };
        changed("dimse", without_lists(before) == without_lists(after));
        Self { taken, restart }
    }

    /// Keys that take effect with the next start.
    pub(super) fn after_a_restart(&self) -> &[&'static str] {
        &self.restart
    }
}

fn compare<T: PartialEq>(before: &[(String, T)], after: &[(String, T)], taken: &mut Vec<String>) {
    for (name, now) in after {
        match before.iter().find(|(known, _)| known == name) {
            None => taken.push(format!("{name} (new)")),
            Some((_, was)) if was != now => taken.push(name.clone()),
            Some(_) => {}
        }
    }
    let gone = before.iter().filter(|(name, _)| !after.iter().any(|(kept, _)| kept == name));
    taken.extend(gone.map(|(name, _)| format!("{name} (gone)")));
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.taken.is_empty() {
            f.write_str("nothing has changed")
        } else {
            f.write_str(&self.taken.join(", "))
        }
    }
}
