//! Text whose character sets are switched by escape sequences (PS3.5 6.1.2.5, ISO/IEC 2022).

use super::sets::{Half, Set};
use super::{Decoded, Delimiters, ESC, is_format_effector};

/// What a value begins with, and which further sets were announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CodeExtensions {
    initial: Designated,
    /// The sets of every value of (0008,0005), the first included.
    announced: Vec<Set>,
}

/// The sets that bytes below and above 0x80 belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Designated {
    g0: Set,
    g1: Option<Set>,
}

impl CodeExtensions {
    /// From the values of (0008,0005) in their order; `None` for one that is unknown.
    pub(super) fn new(values: impl Iterator<Item = Option<Set>>) -> Self {
        let values: Vec<Set> = values.map(|set| set.unwrap_or(Set::Ascii)).collect();
        let initial = match values.first().copied().unwrap_or(Set::Ascii) {
            Set::Katakana | Set::JisRoman => Designated { g0: Set::JisRoman, g1: Some(Set::Katakana) },
            first if first.half() == Half::G1 => Designated { g0: Set::Ascii, g1: Some(first) },
            // Double-byte sets are never designated to G0 at the beginning, not even where they stand first.
            _ => Designated { g0: Set::Ascii, g1: None },
        };
        Self { initial, announced: values }
    }

    pub(super) fn begins_with_ascii(&self) -> bool {
        self.initial.g0 == Set::Ascii
    }

    pub(super) fn decode(&self, bytes: &[u8], delimiters: Delimiters) -> Decoded {
        // Some senders leave the escape sequence out where one announced set alone can be meant.
        let undesignated = self.announced.iter().copied().find(|s| s.half() == Half::G1);
        if undesignated.is_none()
            && !bytes.contains(&ESC)
            && let Ok(text) = std::str::from_utf8(bytes)
        {
            return Decoded { text: text.to_owned(), damaged: false };
        }
        let mut out = Decoded { text: String::with_capacity(bytes.len()), damaged: false };
        let mut now = self.initial;
        let mut rest = bytes;
        while let Some(&byte) = rest.first() {
            if byte == ESC {
                rest = &rest[self.escape(rest, &mut now, &mut out)..];
                continue;
            }
            let ends_reach =
                if now.g0.is_double_byte() { is_format_effector(byte) } else { delimiters.contains(byte) };
            if ends_reach {
                now = self.initial;
            }
            if ends_reach || byte <= b' ' {
                out.text.push(char::from(byte));
                rest = &rest[1..];
                continue;
            }
            let length = run_length(rest, now, delimiters);
            let (run, after) = rest.split_at(length);
            rest = after;
            match if byte < 0x80 { Some(now.g0) } else { now.g1.or(undesignated) } {
                Some(set) => out.damaged |= set.decode(run, &mut out.text),
                None => out.replace(run.len()),
            }
        }
        out
    }

    /// Encodes one value; `None` when no announced set has one of its characters.
    pub(super) fn encode(&self, text: &str, delimiters: Delimiters) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(text.len());
        let mut now = self.initial;
        for character in text.chars() {
            // It would be read as the beginning of an escape sequence.
            if character == char::from(ESC) {
                return None;
            }
            let control = u8::try_from(character).ok().filter(|b| *b < 0x80);
            if let Some(byte) = control.filter(|b| *b <= b' ' || delimiters.contains(*b)) {
                // Delimiters stand in the initial set, and every value after them begins anew.
                self.return_to_initial(&mut now, &mut out);
                out.push(byte);
                if delimiters.contains(byte) {
                    now = self.initial;
                }
                continue;
            }
            let candidates = [Some(self.initial.g0), self.initial.g1];
            let candidates = candidates.into_iter().flatten().chain(self.announced.iter().copied());
            // The yen sign of JIS X 0201 has the backslash's place, and would be read as one where that separates values.
            let is_read_back = |set: Set, bytes: &[u8]| {
                set.is_double_byte() || !bytes.iter().any(|b| delimiters.contains(*b))
            };
            let (set, bytes) = candidates.into_iter().find_map(|set| {
                let bytes = set.encode(character).filter(|bytes| is_read_back(set, bytes))?;
                Some((set, bytes))
            })?;
            let designated = match set.half() {
                Half::G0 => std::mem::replace(&mut now.g0, set) == set,
                Half::G1 => now.g1.replace(set) == Some(set),
            };
            if !designated {
                out.extend(set.escape());
            }
            out.extend(bytes);
        }
        self.return_to_initial(&mut now, &mut out);
        Some(out)
    }

    /// Designates G0 as it was at the beginning, which delimiters and the value's end demand (PS3.5
    /// 6.1.2.5.3).
    fn return_to_initial(&self, now: &mut Designated, out: &mut Vec<u8>) {
        if now.g0 != self.initial.g0 {
            now.g0 = self.initial.g0;
            out.extend(now.g0.escape());
        }
    }

    /// Takes the escape sequence at the beginning of `rest` and tells its length.
    fn escape(&self, rest: &[u8], now: &mut Designated, out: &mut Decoded) -> usize {
        let Some((set, length)) = Set::designated(rest) else {
            out.replace(1);
            return 1;
        };
        match set.half() {
            Half::G0 => now.g0 = set,
            Half::G1 => now.g1 = Some(set),
        }
        length
    }
}

impl Decoded {
    fn replace(&mut self, count: usize) {
        self.damaged = true;
        self.text.extend(std::iter::repeat_n(char::REPLACEMENT_CHARACTER, count));
    }
}

/// How many bytes at the beginning of `rest` belong to the same set as the first, which is a graphic
/// character.
fn run_length(rest: &[u8], now: Designated, delimiters: Delimiters) -> usize {
    let high = rest[0] >= 0x80;
    let same = |b: &u8| *b > b' ' && *b != ESC && (*b >= 0x80) == high;
    if high || now.g0.is_double_byte() {
        return rest.iter().take_while(|b| same(b)).count();
    }
    rest.iter().take_while(|b| same(b) && !delimiters.contains(**b)).count()
}
