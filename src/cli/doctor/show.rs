//! An examination on a terminal: one row a finding, as it is found.

use std::time::Duration;

use console::{Style, style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::archive::dimse::config::Config as ArchiveConfig;
use crate::cli::terminal::{harmless, is_terminal, width, wrapped};
use crate::doctor::{Finding, Level, News, Report, Watch};

/// Before what was found: the mark, the step, and the blanks around them.
const INDENT: usize = 2 + 7 + 2 + 13 + 2;

/// Shows what happens, while it happens.
pub(super) fn watch(archive: &ArchiveConfig) -> Watch {
    println!("{}", heading(&format!("{}: {} at {}", archive.name, archive.ae_title, archive.address)));
    let target = if is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let spinner = ProgressBar::with_draw_target(None, target);
    let template = ProgressStyle::with_template("  {spinner} {msg}");
    spinner.set_style(template.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    spinner.enable_steady_tick(Duration::from_millis(120));
    Box::new(move |news| match news {
        News::Begins(step) => spinner.set_message(format!("{} …", step.as_str())),
        News::Found(finding) => spinner.suspend(|| print!("{}", row(finding, width()))),
    })
}

/// Shows what comes of it.
pub(super) fn conclusion(report: &Report) {
    let width = width();
    println!("\n{}", heading("What the PACS administrator has to enter:"));
    for line in wrapped(&harmless(&report.entry.shown()), width - 2) {
        println!("  {line}");
    }
    println!("\n{}", heading("What fits in gantry.toml:"));
    for line in report.suggested.lines() {
        println!("  {line}");
    }
    println!();
}

fn heading(text: &str) -> String {
    style(harmless(text)).bold().to_string()
}

/// A finding: its level, its step, what was seen; then, where there is something, what it means and what to do.
fn row(finding: &Finding, width: usize) -> String {
    let (word, look) = match finding.level {
        Level::Ok => ("ok", Style::new().green()),
        Level::Note => ("note", Style::new().cyan()),
        Level::Warning => ("warning", Style::new().yellow()),
        Level::Error => ("ERROR", Style::new().red().bold()),
    };
    let room = width.saturating_sub(INDENT).max(20);
    let time = match finding.milliseconds {
        // A number and its unit stay together.
        Some(time) if time >= 1000.0 => format!(" ({:.1}\u{a0}s)", time / 1e3),
        Some(time) => format!(" ({time:.1}\u{a0}ms)"),
        None => String::new(),
    };
    let mut lines = wrapped(&harmless(&format!("{}{time}", finding.what)), room);
    let mut more = |word: &str, text: &str| {
        if !text.is_empty() {
            let mut wrapped = wrapped(&harmless(&format!("{word}: {text}")), room);
            if let Some(rest) = wrapped[0].strip_prefix(word) {
                wrapped[0] = format!("{}{rest}", style(word).bold());
            }
            lines.append(&mut wrapped);
        }
    };
    more("meaning", &finding.meaning);
    more("to do", &finding.remedy);
    if finding.level > Level::Note {
        more("code", finding.code.as_str());
    }
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        match number {
            0 => {
                let mark = look.apply_to(format!("{word:<7}"));
                text.push_str(&format!("  {mark}  {:<13}  {line}\n", finding.step.as_str()));
            }
            _ => text.push_str(&format!("{:INDENT$}{line}\n", "")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Code;
    use console::measure_text_width;

    #[test]
    fn a_row_fits_the_terminal_and_tells_the_remedy() {
        console::set_colors_enabled(false);
        let finding = Finding::new(Code::ReturnBlocked, "nothing came back to GANTRY from the archive")
            .means("a firewall lies between")
            .remedy("open it for TCP from there to port 11112 of this machine");
        let text = row(&finding, 60);
        assert!(text.lines().all(|line| measure_text_width(line) <= 60), "{text}");
        assert!(text.starts_with("  ERROR    C-MOVE         nothing came"), "{text}");
        assert!(text.contains("to do: open it") && text.contains("code: return-blocked"), "{text}");
    }

    #[test]
    fn hazard_a_comment_of_the_archive_gives_the_terminal_no_commands() {
        console::set_colors_enabled(false);
        let text = row(&Finding::new(Code::FindFailed, "status C000 (\u{1b}[2J)"), 80);
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
}
