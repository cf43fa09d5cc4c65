//! How far a transfer has come, on one line of the standard error that is only drawn for a person.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::text::amount;

/// How often the line is drawn anew.
const TICK: Duration = Duration::from_millis(120);

/// A line that tells how far a transfer has come.
#[derive(Debug)]
pub(in crate::cli) struct Progress {
    bar: ProgressBar,
    begin: Instant,
    objects: usize,
    bytes: u64,
    told: Option<usize>,
}

impl Progress {
    /// A line that says `what` goes on.
    pub(in crate::cli) fn new(what: &str) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(style("{spinner} {prefix}  {msg}"));
        bar.set_prefix(what.to_owned());
        bar.enable_steady_tick(TICK);
        Self { bar, begin: Instant::now(), objects: 0, bytes: 0, told: None }
    }

    /// So many objects are going to come, as far as is known. Not known, there is no bar, but numbers that grow.
    pub(in crate::cli) fn expect(&mut self, expected: Option<usize>) {
        // Some archives tell less than they send.
        let expected = expected.map(|count| count.max(self.objects));
        if expected == self.told {
            return;
        }
        if let Some(count) = expected {
            if self.told.is_none() {
                self.bar.set_style(style("{spinner} {prefix} [{bar:30}] {pos}/{len}  {msg}"));
            }
            self.bar.set_length(count as u64);
        }
        self.told = expected;
    }

    /// Bytes of an object have come.
    pub(in crate::cli) fn bytes(&mut self, count: usize) {
        self.bytes += count as u64;
        self.bar.set_message(self.message());
    }

    /// An object is whole.
    pub(in crate::cli) fn object(&mut self) {
        self.objects += 1;
        self.expect(self.told);
        self.bar.set_position(self.objects as u64);
        self.bar.set_message(self.message());
    }

    /// Says this, above the line.
    pub(in crate::cli) fn say(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }

    /// What has come so far: objects, bytes, and how fast.
    pub(in crate::cli) fn summary(&self) -> String {
        let seconds = self.begin.elapsed().as_secs_f64();
        let objects = if self.objects == 1 { "object" } else { "objects" };
        let digits = if seconds < 1.0 { 2 } else { 1 };
        let (bytes, rate) = (amount(self.bytes), self.rate());
        format!("{} {objects}, {bytes} in {seconds:.digits$} s ({rate})", self.objects)
    }

    /// Objects that are whole.
    pub(in crate::cli) fn objects(&self) -> usize {
        self.objects
    }

    fn message(&self) -> String {
        let counted = if self.told.is_none() { format!("{} objects, ", self.objects) } else { String::new() };
        format!("{counted}{}, {}", amount(self.bytes), self.rate())
    }

    fn rate(&self) -> String {
        let seconds = self.begin.elapsed().as_secs_f64().max(1e-3);
        format!("{}/s", amount((self.bytes as f64 / seconds) as u64))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_makes_sense_when_nobody_tells_how_much_there_is_or_too_little() {
        let mut progress = Progress::new("fetching");
        progress.expect(None);
        progress.bytes(500);
        progress.object();
        assert_eq!(progress.bar.length(), None);
        assert!(progress.message().starts_with("1 objects, 500 B"), "{}", progress.message());
        progress.expect(Some(2));
        for _ in 0..3 {
            progress.object();
        }
        assert_eq!((progress.bar.length(), progress.bar.position()), (Some(4), 4));
        assert!(progress.summary().starts_with("4 objects, 500 B in "));
    }
}
