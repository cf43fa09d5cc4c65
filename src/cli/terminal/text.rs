//! Text for a terminal.

use console::measure_text_width;

/// What a terminal shows of text that others have chosen, and does nothing else by: control characters are commands to
/// it, and those that turn the direction of writing hide what stands there.
pub(in crate::cli) fn harmless(text: &str) -> String {
    let is_command = |c: char| {
        c.is_control()
            || matches!(c, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if is_command(c) { '\u{FFFD}' } else { c }).collect()
}

/// The lines of `text` where none may be wider than `width`; none ends at a no-break space, which becomes a common one. A word that is wider by itself stays whole: it may be what
/// somebody wants to copy.
pub(in crate::cli) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split(' ').filter(|word| !word.is_empty()) {
            let fits = measure_text_width(&line) + 1 + measure_text_width(word) <= width;
            if !line.is_empty() && !fits {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines.iter().map(|line| line.replace('\u{a0}', " ")).collect()
}

/// An amount of bytes, in decimal units.
pub(super) fn amount(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && value < 9.95);
    format!("{value:.digits$} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hazard_what_comes_from_the_wire_gives_the_terminal_no_commands() {
        for bad in ["\u{1b}[2J", "a\nb", "\u{9b}31m", "\u{7}", "x\u{202e}y", "\r"] {
            let shown = harmless(&format!("Doe{bad}^John"));
            assert!(
                !shown.contains(bad) && shown.starts_with("Doe") && shown.ends_with("^John"),
                "{shown:?}"
            );
        }
        assert_eq!(harmless("Müller^Jürgen=山田^太郎"), "Müller^Jürgen=山田^太郎");
    }

    #[test]
    fn lines_are_no_wider_than_they_may_be_but_for_one_word() {
        let text = "one two three fourteen\nfive";
        assert_eq!(wrapped(text, 9), ["one two", "three", "fourteen", "five"]);
        assert_eq!(wrapped("a-word-that-is-long b", 5), ["a-word-that-is-long", "b"]);
        assert_eq!(wrapped("", 5), Vec::<String>::new());
        assert_eq!(wrapped("it took 1\u{a0}ms", 9), ["it took", "1 ms"]);
    }

    #[test]
    fn amounts_have_the_unit_that_reads_best() {
        let shown = [0, 999, 1000, 9949, 10_000, 999_600, 5_300_000_000].map(amount);
        assert_eq!(shown, ["0 B", "999 B", "1.0 kB", "9.9 kB", "10 kB", "1.0 MB", "5.3 GB"]);
    }
}
