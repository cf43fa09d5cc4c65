//! Reads a Rust file as far as its imports go: words and signs, without comments and literals.

use std::path::Path;

/// A Rust file, as far as imports go.
pub(super) struct Source {
    /// Where the file stands: `["archive", "dimse"]` for `archive/dimse.rs`, empty for `lib.rs`.
    pub(super) module: Vec<String>,
    /// What it imports from its own crate.
    pub(super) imports: Vec<Import>,
    tokens: Vec<Token>,
}

/// A path into the own crate.
pub(super) struct Import {
    /// From the crate's root on: `["dicom", "Uid"]`.
    pub(super) path: Vec<String>,
    /// Counted from 1.
    pub(super) line: usize,
    /// Whether it stands in code that only tests compile.
    pub(super) in_tests: bool,
}

/// A word or a sign. `::` is one sign, kept as `:`; a single colon is dropped.
#[derive(Debug, PartialEq)]
enum Kind {
    Word(String),
    Sign(char),
}

struct Token {
    kind: Kind,
    line: usize,
}

impl Source {
    /// Reads `text`, the content of `file` (relative to `src/`).
    pub(super) fn read(file: &Path, text: &str) -> Self {
        let tokens = tokens(text);
        let module = module_path(file);
        let imports = imports(&tokens, module.clone());
        Self { module, imports, tokens }
    }

    /// The first line that names `word` in code.
    pub(super) fn first_line_naming(&self, word: &str) -> Option<usize> {
        self.tokens.iter().find(|token| is_word(token, word)).map(|token| token.line)
    }
}

/// The module that `file` holds: `main.rs` is `main`, `lib.rs` the root, `a/mod.rs` and `a.rs` are `a`.
pub(super) fn module_path(file: &Path) -> Vec<String> {
    let mut path: Vec<String> =
        file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if path.last().is_some_and(|last| last == "mod") || path == ["lib"] {
        path.pop();
    }
    path
}

/// Every path that leads to the crate's root, through `crate`, the crate's name, or enough `super`s.
fn imports(tokens: &[Token], file: Vec<String>) -> Vec<Import> {
    let mut found = Vec::new();
    // Modules open at this place, with the depth of braces at which each ends.
    let mut inline: Vec<(usize, bool)> = Vec::new();
    let mut braces = 0;
    let mut cfg_test = false;
    let whole_file = file.iter().any(|part| part == "tests" || part.ends_with("_tests"));
    let mut at = 0;
    while at < tokens.len() {
        let token = &tokens[at];
        match &token.kind {
            Kind::Sign('{') => braces += 1,
            Kind::Sign('}') => {
                braces -= 1;
                inline.pop_if(|(depth, _)| *depth > braces);
            }
            Kind::Sign(';') => cfg_test = false,
            Kind::Word(word) if word == "cfg" && next_is(tokens, at + 2, "test") => cfg_test = true,
            Kind::Word(word) if word == "mod" && tokens.get(at + 2).is_some_and(|t| is_sign(t, '{')) => {
                braces += 1;
                inline.push((braces, cfg_test));
                cfg_test = false;
                at += 2;
            }
            Kind::Word(word) => {
                let depth = file.len() + inline.len();
                let ups = supers(tokens, at);
                // `main.rs` is the root of its own crate, and names the library by its name.
                let to_root = word == "crate" || word == "gantry" || (ups > 0 && ups == depth);
                let after = at + if ups > 0 { 2 * ups - 1 } else { 1 };
                let starts = at == 0 || !is_sign(&tokens[at - 1], ':');
                if to_root && starts && tokens.get(after).is_some_and(|t| is_sign(t, ':')) {
                    let in_tests = whole_file || inline.iter().any(|(_, tests)| *tests);
                    let paths = paths(&tokens[after..]);
                    found.extend(paths.into_iter().map(|path| Import { path, line: token.line, in_tests }));
                    at = after;
                } else if ups > 0 {
                    at += 2 * (ups - 1);
                }
            }
            Kind::Sign(_) => {}
        }
        at += 1;
    }
    found
}

/// How many `super`s stand in a row from `at` on.
fn supers(tokens: &[Token], at: usize) -> usize {
    (0..).take_while(|n| next_is(tokens, at + 2 * n, "super")).count()
}

/// Every path of the tree that follows a root: `::a::{b, c::D}` gives `a::b` and `a::c::D`.
fn paths(tokens: &[Token]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut path: Vec<String> = Vec::new();
    let mut groups: Vec<usize> = Vec::new();
    let mut segment_follows = false;
    let mut renamed = false;
    let mut group_ended = false;
    for token in tokens {
        match &token.kind {
            Kind::Sign(':') => segment_follows = true,
            Kind::Sign('{') if segment_follows => groups.push(path.len()),
            Kind::Word(word) if segment_follows => {
                path.push(word.clone());
                segment_follows = false;
                group_ended = false;
            }
            Kind::Word(word) if word == "as" => renamed = true,
            Kind::Word(_) if renamed => renamed = false,
            Kind::Sign('*') if segment_follows => segment_follows = false,
            Kind::Sign(sign @ (',' | '}')) if !groups.is_empty() => {
                // After an inner group, or a last comma, there is no path of its own to end.
                let base = groups.last().copied().unwrap_or_default();
                if path.len() > base && !group_ended {
                    found.push(path.clone());
                }
                path.truncate(base);
                group_ended = *sign == '}';
                segment_follows = *sign == ',';
                if group_ended {
                    groups.pop();
                    if groups.is_empty() {
                        return found;
                    }
                }
            }
            _ => break,
        }
    }
    found.push(path);
    found
}

fn is_word(token: &Token, word: &str) -> bool {
    matches!(&token.kind, Kind::Word(found) if found == word)
}

fn is_sign(token: &Token, sign: char) -> bool {
    token.kind == Kind::Sign(sign)
}

fn next_is(tokens: &[Token], at: usize, word: &str) -> bool {
    tokens.get(at).is_some_and(|token| is_word(token, word))
}

/// The words and signs of `text`, without comments, strings, characters and lifetimes.
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let mut push = |kind| tokens.push(Token { kind, line });
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = raw_string(rest) {
            length
        } else if first == '"' {
            quoted(rest, '"')
        } else if first == '\'' {
            character_or_lifetime(rest)
        } else if first.is_alphanumeric() || first == '_' {
            let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            push(Kind::Word(rest[..length].to_owned()));
            length
        } else if rest.starts_with("::") {
            push(Kind::Sign(':'));
            2
        } else {
            if !first.is_whitespace() && first != ':' {
                push(Kind::Sign(first));
            }
            first.len_utf8()
        };
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    tokens
}

/// The length of the block comment that `text` begins with; they nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let here = &text.as_bytes()[at..];
        if here.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// The length of the raw string that `text` begins with, if it does.
fn raw_string(text: &str) -> Option<usize> {
    let after = ["br", "cr", "r"].iter().find_map(|prefix| text.strip_prefix(prefix))?;
    let body = after.trim_start_matches('#');
    let hashes = after.len() - body.len();
    let body = body.strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let close = body.find(&end).map_or(body.len(), |at| at + end.len());
    Some(text.len() - body.len() + close)
}

/// The length of the literal between two `quote`s that `text` begins with.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

/// The length of `'x'`, `'\n'` or `'lifetime`.
fn character_or_lifetime(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), _) | (Some(_), Some((_, '\''))) => quoted(text, '\''),
        _ => 1,
    }
}
