//! JSON, one event after the other (RFC 8259), without recursion and without copying what needs no unescaping.

use std::borrow::Cow;

use memchr::memchr2;

use crate::dicom::scan::MAX_DEPTH;
use crate::dicomweb::metadata::ReadErrorKind;

/// Deepest nesting of arrays and objects. An item costs three: the attribute, its array of values, the item.
const MAX_NESTING: usize = 3 * (MAX_DEPTH + 2);

/// A step through a JSON text. After a key comes its value: an event, or all between a begin and its end.
#[derive(Debug)]
pub(super) enum Event<'a> {
    BeginObject,
    Key(Text<'a>),
    EndObject,
    BeginArray,
    EndArray,
    Text(Text<'a>),
    /// As written.
    Number(&'a str),
    Bool,
    Null,
}

/// A string, unescaped.
#[derive(Debug)]
pub(super) struct Text<'a> {
    pub(super) text: Cow<'a, str>,
    /// It had half of a surrogate pair, for which U+FFFD stands now.
    pub(super) is_broken: bool,
}

/// The events of a JSON text.
#[derive(Debug)]
pub(super) struct Events<'a> {
    text: &'a str,
    at: usize,
    open: Vec<Container>,
    expected: Expected,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Array,
    Object,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Value,
    /// A container has begun: its first member, or its end.
    FirstOrEnd,
    /// A comma, or the end of the container.
    CommaOrEnd,
    Nothing,
}

impl<'a> Events<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, open: Vec::new(), expected: Expected::Value }
    }

    /// How many bytes were read.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// The next event; an error where none is left.
    pub(super) fn next(&mut self) -> Result<Event<'a>, ReadErrorKind> {
        let mut byte = self.peek()?;
        if self.expected == Expected::CommaOrEnd {
            match byte {
                b',' => {
                    self.at += 1;
                    byte = self.peek()?;
                }
                b']' | b'}' => return self.end(byte),
                _ => return Err(ReadErrorKind::Json),
            }
        } else if self.expected == Expected::FirstOrEnd && matches!(byte, b']' | b'}') {
            return self.end(byte);
        }
        let is_member = self.expected != Expected::Value && self.open.last() == Some(&Container::Object);
        if is_member {
            return self.key(byte);
        }
        match byte {
            b'{' => self.begin(Container::Object),
            b'[' => self.begin(Container::Array),
            b'"' => self.string().map(|text| self.value(Event::Text(text))),
            b'-' | b'0'..=b'9' => self.number().map(|number| self.value(Event::Number(number))),
            b't' => self.literal("true", Event::Bool),
            b'f' => self.literal("false", Event::Bool),
            b'n' => self.literal("null", Event::Null),
            _ => Err(ReadErrorKind::Json),
        }
    }

    /// Skips a whole value.
    pub(super) fn skip_value(&mut self) -> Result<(), ReadErrorKind> {
        match self.next()? {
            Event::BeginArray | Event::BeginObject => self.skip_container(),
            _ => Ok(()),
        }
    }

    /// Skips what is left of the array or object that was begun last.
    pub(super) fn skip_container(&mut self) -> Result<(), ReadErrorKind> {
        let around = self.open.len().saturating_sub(1);
        while self.open.len() > around {
            self.next()?;
        }
        Ok(())
    }

    /// Says that there should be nothing more.
    pub(super) fn finish(&mut self) -> Result<(), ReadErrorKind> {
        match self.peek() {
            Err(ReadErrorKind::Truncated) => Ok(()),
            _ => Err(ReadErrorKind::Json),
        }
    }

    /// The first byte of the next token.
    fn peek(&mut self) -> Result<u8, ReadErrorKind> {
        let rest = &self.text.as_bytes()[self.at..];
        let blanks = rest.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r')).count();
        self.at += blanks;
        rest.get(blanks).copied().ok_or(ReadErrorKind::Truncated)
    }

    fn begin(&mut self, container: Container) -> Result<Event<'a>, ReadErrorKind> {
        if self.open.len() >= MAX_NESTING {
            return Err(ReadErrorKind::TooDeep);
        }
        self.at += 1;
        self.open.push(container);
        self.expected = Expected::FirstOrEnd;
        Ok(match container {
            Container::Array => Event::BeginArray,
            Container::Object => Event::BeginObject,
        })
    }

    fn end(&mut self, byte: u8) -> Result<Event<'a>, ReadErrorKind> {
        let event = match (self.open.last(), byte) {
            (Some(Container::Array), b']') => Event::EndArray,
            (Some(Container::Object), b'}') => Event::EndObject,
            _ => return Err(ReadErrorKind::Json),
        };
        self.at += 1;
        self.open.pop();
        Ok(self.value(event))
    }

    /// Goes on behind a value.
    fn value(&mut self, event: Event<'a>) -> Event<'a> {
        self.expected = if self.open.is_empty() { Expected::Nothing } else { Expected::CommaOrEnd };
        event
    }

    fn key(&mut self, byte: u8) -> Result<Event<'a>, ReadErrorKind> {
        if byte != b'"' {
            return Err(ReadErrorKind::Json);
        }
        let key = self.string()?;
        if self.peek()? != b':' {
            return Err(ReadErrorKind::Json);
        }
        self.at += 1;
        self.expected = Expected::Value;
        Ok(Event::Key(key))
    }

    fn literal(&mut self, word: &str, event: Event<'a>) -> Result<Event<'a>, ReadErrorKind> {
        let rest = &self.text[self.at..];
        if rest.starts_with(word) {
            self.at += word.len();
            Ok(self.value(event))
        } else if word.starts_with(rest) {
            Err(ReadErrorKind::Truncated)
        } else {
            Err(ReadErrorKind::Json)
        }
    }

    fn number(&mut self) -> Result<&'a str, ReadErrorKind> {
        let rest = &self.text[self.at..];
        let is_of_number = |b: &u8| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
        let number = &rest[..rest.bytes().take_while(is_of_number).count()];
        if !is_number(number) {
            return Err(ReadErrorKind::Json);
        }
        self.at += number.len();
        Ok(number)
    }

    /// The string that begins here. Control characters in it are taken as they stand.
    fn string(&mut self) -> Result<Text<'a>, ReadErrorKind> {
        self.at += 1;
        let mut unescaped = String::new();
        let mut is_broken = false;
        loop {
            let rest = &self.text[self.at..];
            let stop = memchr2(b'"', b'\\', rest.as_bytes()).ok_or(ReadErrorKind::Truncated)?;
            let plain = &rest[..stop];
            self.at += stop + 1;
            if rest.as_bytes()[stop] == b'"' {
                let text = if unescaped.is_empty() {
                    Cow::Borrowed(plain)
                } else {
                    unescaped.push_str(plain);
                    Cow::Owned(unescaped)
                };
                return Ok(Text { text, is_broken });
            }
            unescaped.push_str(plain);
            let character = self.escape()?;
            is_broken |= character.is_none();
            unescaped.push(character.unwrap_or(char::REPLACEMENT_CHARACTER));
        }
    }

    /// The character of the escape whose backslash was read; `None` for half of a surrogate pair.
    fn escape(&mut self) -> Result<Option<char>, ReadErrorKind> {
        let byte = *self.text.as_bytes().get(self.at).ok_or(ReadErrorKind::Truncated)?;
        let character = match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{C}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                let first = self.code_unit(self.at)?;
                self.at += 4;
                let follows = self.text.as_bytes()[self.at..].starts_with(b"\\u");
                if (0xD800..0xDC00).contains(&first) && follows {
                    let second = self.code_unit(self.at + 2)?;
                    if let Some(Ok(character)) = char::decode_utf16([first, second]).next() {
                        self.at += 6;
                        return Ok(Some(character));
                    }
                }
                return Ok(char::from_u32(first.into()));
            }
            _ => return Err(ReadErrorKind::Json),
        };
        self.at += 1;
        Ok(Some(character))
    }

    /// Four hexadecimal digits.
    fn code_unit(&self, at: usize) -> Result<u16, ReadErrorKind> {
        let digits = self.text.as_bytes().get(at..at + 4).ok_or(ReadErrorKind::Truncated)?;
        let digits = std::str::from_utf8(digits).map_err(|_| ReadErrorKind::Json)?;
        let is_hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
        is_hex.then(|| u16::from_str_radix(digits, 16).ok()).flatten().ok_or(ReadErrorKind::Json)
    }
}

/// Whether the text is a number of JSON's. One with leading zeros or a plus sign is not (RFC 8259 section 6).
fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|e| digits(e.strip_prefix(['+', '-']).unwrap_or(e)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the events say, in a short form, or the error.
    fn run(text: &str) -> Result<String, ReadErrorKind> {
        let mut events = Events::new(text);
        let mut out = String::new();
        loop {
            match events.next()? {
                Event::BeginObject => out.push('{'),
                Event::EndObject => out.push('}'),
                Event::BeginArray => out.push('['),
                Event::EndArray => out.push(']'),
                Event::Key(key) => out.extend([&key.text, ":"]),
                Event::Text(text) => out.extend(["'", &text.text, "'"]),
                Event::Number(number) => out.extend([number, " "]),
                Event::Bool => out.push_str("bool "),
                Event::Null => out.push_str("null "),
            }
            if events.open.is_empty() {
                events.finish()?;
                return Ok(out);
            }
        }
    }

    #[test]
    fn every_construct_of_json_is_one_event() {
        let text = " { \"a\" : [ 1.50e+3 , -0, \"x\\n\\u00e9\\ud83d\\ude00\", true,false, null, {}, [] ] , \"\" : \"/\\/\" }\n";
        assert_eq!(run(text).unwrap(), "{a:[1.50e+3 -0 'x\né😀'bool bool null {}[]]:'//'}");
    }

    #[test]
    fn half_a_surrogate_pair_is_one_replacement_character() {
        for (text, expected) in [
            (r#""\ud800x""#, "\u{FFFD}x"),
            (r#""\udc00\ud800""#, "\u{FFFD}\u{FFFD}"),
            (r#""\ud800\u0041""#, "\u{FFFD}A"),
        ] {
            let Ok(Event::Text(read)) = Events::new(text).next() else { panic!("{text}") };
            assert_eq!((read.text.as_ref(), read.is_broken), (expected, true), "{text}");
        }
    }

    #[test]
    fn nesting_is_bounded_and_costs_no_stack() {
        let deep = |levels| "[".repeat(levels) + &"]".repeat(levels);
        assert!(run(&deep(MAX_NESTING)).is_ok());
        assert_eq!(run(&deep(MAX_NESTING + 1)), Err(ReadErrorKind::TooDeep));
        assert_eq!(run(&"[".repeat(1_000_000)), Err(ReadErrorKind::TooDeep));
    }

    #[test]
    fn every_beginning_of_a_text_is_truncated() {
        let text = r#"{"a":[1,"\u00e9",null,true,{"b":{}}]}"#;
        for end in 0..text.len() {
            // A number may go on, a literal must.
            assert_eq!(run(&text[..end]), Err(ReadErrorKind::Truncated), "{}", &text[..end]);
        }
    }

    proptest! {
        #[test]
        fn takes_what_another_reader_takes_and_refuses_what_it_refuses(
            tokens in prop::collection::vec(
                prop::sample::select(vec![
                    "[", "]", "{", "}", ",", ":", "\"a\"", "\"\\u00", "41\"", "0", "-1.5", "01", "1e", "+1", "null",
                    "true", "fals", " ",
                ]),
                0..12,
            ),
        ) {
            let text = tokens.concat();
            let other = serde_json::from_str::<serde_json::Value>(&text).is_ok();
            prop_assert_eq!(run(&text).is_ok(), other, "{}", text);
        }
    }
}
