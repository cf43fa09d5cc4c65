//! OpenMetrics 1.0 → the text format of Prometheus, version 0.0.4.
//!
//! The two differ in how they name counters: there the type is told of `x` and the sample is `x_total`, here both are
//! `x_total`; and in what only the newer one has.

use std::fmt::Write as _;

/// What `text`, which is ours, says, in the older format.
pub(super) fn from_open_metrics(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // The help of a figure comes before its type.
    let mut help = None;
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(_), text) => help = text,
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let (suffix, kind) = match kind {
                    "counter" => ("_total", "counter"),
                    "info" => ("_info", "gauge"),
                    other => ("", other),
                };
                if let Some(help) = help.take() {
                    let _ = writeln!(out, "# HELP {name}{suffix} {help}");
                }
                let _ = writeln!(out, "# TYPE {name}{suffix} {kind}");
            }
            (Some("#"), ..) => {}
            _ => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_and_versions_have_their_whole_name_and_nothing_is_there_that_is_newer() {
        let text = "# HELP g_b The version.\n# TYPE g_b info\ng_b_info{version=\"1\"} 1\n\
                    # HELP g_r Requests # by \"all\".\n# TYPE g_r counter\ng_r_total{a=\"# x\"} 2\n\
                    # HELP g_s Seconds.\n# TYPE g_s histogram\n# UNIT g_s seconds\ng_s_sum 0.5\n# EOF\n";
        let expected = "# HELP g_b_info The version.\n# TYPE g_b_info gauge\ng_b_info{version=\"1\"} 1\n\
                        # HELP g_r_total Requests # by \"all\".\n# TYPE g_r_total counter\ng_r_total{a=\"# x\"} 2\n\
                        # HELP g_s Seconds.\n# TYPE g_s histogram\ng_s_sum 0.5\n";
        assert_eq!(from_open_metrics(text), expected);
    }
}
