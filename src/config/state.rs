//! `[state]`, and what is kept there: storage commitment under way.

use std::path::PathBuf;
use std::time::Duration;

use super::section::Section;
use crate::archive::commitment::Config as Commitment;

/// `state.path`.
pub(super) fn state(mut section: Section<'_>) -> Option<PathBuf> {
    let path = section.parsed("path", "a file that is the bridge's own, in a directory that it may write");
    section.finish();
    path
}

/// `dimse.commitment`.
pub(super) fn commitment(mut section: Section<'_>) -> Commitment {
    let defaults = Commitment::default();
    let mut duration = |key, default: Duration| section.duration(key).unwrap_or(default);
    let commitment = Commitment {
        wait: duration("wait", defaults.wait),
        retry_for: duration("retry_for", defaults.retry_for),
        retry_after: duration("retry_after", defaults.retry_after),
    };
    section.finish();
    commitment
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const SMALLEST: &str = "[archive.main]\nae_title = \"PACS\"\naddress = \"pacs:104\"\n";

    #[test]
    fn what_must_survive_a_restart_has_a_file_and_times() {
        let config = Config::parse(SMALLEST, []).unwrap();
        assert_eq!((config.state, config.dimse.commitment), (None, Commitment::default()));
        let text = format!(
            "{SMALLEST}[state]\npath = \"/var/lib/gantry/state\"\n[dimse.commitment]\nwait = \"1h\"\nretry_for = \"2h\"\nretry_after = \"200ms\"\n"
        );
        let config = Config::parse(&text, []).unwrap();
        assert_eq!(config.state, Some("/var/lib/gantry/state".into()));
        let hour = Duration::from_secs(3600);
        let expected =
            Commitment { wait: hour, retry_for: 2 * hour, retry_after: Duration::from_millis(200) };
        assert_eq!(config.dimse.commitment, expected);
        let errors = Config::parse(&format!("{SMALLEST}[state]\nfile = \"x\"\n"), []).unwrap_err();
        assert!(errors.iter().any(|error| error.key.starts_with("state")), "{errors:?}");
    }
}
