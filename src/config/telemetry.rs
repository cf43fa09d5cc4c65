//! `[telemetry]` and `[health]`: what those are told who watch the bridge.

use super::section::Section;
use crate::front::http::ReadyConfig;
use crate::telemetry::TracesConfig;

/// `None`: no traces are sent.
pub(super) fn traces(mut section: Section<'_>) -> Option<TracesConfig> {
    let expected = "the http or https URL of an OTLP collector, such as \"http://127.0.0.1:4318\"";
    let otlp = section.checked("otlp", expected, TracesConfig::url);
    let sample = section.fraction("sample");
    let service_name = section.checked("service_name", "a name of 1 to 64 characters", |text| {
        let fits = (1..=64).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        fits.then(|| text.to_owned())
    });
    section.finish();
    let default = TracesConfig::to(otlp?);
    Some(TracesConfig {
        sample: sample.unwrap_or(default.sample),
        service_name: service_name.unwrap_or_else(|| default.service_name.clone()),
        ..default
    })
}

/// Which archives have to answer for requests to be welcome.
pub(super) fn health(mut section: Section<'_>) -> ReadyConfig {
    let rules = [
        ("none", ReadyConfig::None),
        ("any", ReadyConfig::Any),
        ("all", ReadyConfig::All),
        ("default", ReadyConfig::Default),
    ];
    let ready = section.choice("ready", &rules);
    section.finish();
    ready.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn parse(text: &str) -> Result<Config, Vec<String>> {
        let text = format!("[archive.main]\nae_title = \"PACS\"\naddress = \"pacs:104\"\n{text}");
        Config::parse(&text, []).map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn nothing_is_sent_anywhere_and_no_archive_counts_where_nothing_is_said() {
        let config = parse("").unwrap();
        assert_eq!((config.traces, config.http.front.ready), (None, ReadyConfig::None));
    }

    #[test]
    fn traces_go_where_they_are_wanted_and_as_many_as_are() {
        let text = "[telemetry]\notlp = \"http://127.0.0.1:4318/\"\n[health]\nready = \"any\"\n";
        let config = parse(text).unwrap();
        let traces = config.traces.unwrap();
        assert_eq!((traces.url.as_str(), traces.sample), ("http://127.0.0.1:4318/v1/traces", 1.0));
        assert_eq!((traces.service_name.as_str(), config.http.front.ready), ("gantry", ReadyConfig::Any));
        let text = "[telemetry]\notlp = \"https://otel.example\"\nsample = 0.05\nservice_name = \"west\"\n";
        let traces = parse(text).unwrap().traces.unwrap();
        assert_eq!((traces.sample, traces.service_name.as_str()), (0.05, "west"));
    }

    #[test]
    fn what_cannot_be_meant_is_an_error() {
        for (text, key) in [
            ("[telemetry]\notlp = \"grpc://x\"\n", "telemetry.otlp"),
            ("[telemetry]\notlp = \"127.0.0.1:4318\"\n", "telemetry.otlp"),
            ("[telemetry]\notlp = \"http://user:secret@x\"\n", "telemetry.otlp"),
            ("[telemetry]\notlp = \"http://x\"\nsample = 2\n", "telemetry.sample"),
            ("[telemetry]\nsamples = 1\n", "telemetry.samples"),
            ("[health]\nready = \"most\"\n", "health.ready"),
        ] {
            let errors = parse(text).unwrap_err();
            assert!(errors.iter().any(|error| error.contains(key)), "{text}: {errors:?}");
        }
    }
}
