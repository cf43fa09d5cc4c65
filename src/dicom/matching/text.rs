//! Text against a pattern: `*` stands for any characters, `?` for any one (PS3.4 C.2.2.2.4).

use super::Verdict;

/// Most component groups of a name: alphabetic, ideographic, phonetic (PS3.5 6.2.1).
const NAME_GROUPS: usize = 3;

/// A pattern against one value of a text attribute other than a name. Literal matching keeps to letter case;
/// archives that do not are in doubt, as is text that lost characters on its way through one.
pub(super) fn judge(pattern: &str, value: &str) -> Verdict {
    if glob(pattern, value) {
        Verdict::Matches
    } else if glob(&pattern.to_lowercase(), &value.to_lowercase()) || may_be_lossy(pattern, value) {
        Verdict::Doubtful
    } else {
        Verdict::Differs
    }
}

/// A pattern against one name (PS3.4 C.2.2.2.1). A pattern with one component group is held against each
/// group of the name. Letter case does not count; trailing delimiters and blanks around components do not.
pub(super) fn judge_name(pattern: &str, name: &str) -> Verdict {
    let (pattern, name) = (normalized(pattern), normalized(name));
    let matches = if pattern.contains('=') {
        let mut groups = name.split('=');
        pattern.split('=').take(NAME_GROUPS).all(|wanted| {
            let group = groups.next().unwrap_or("");
            wanted.is_empty() || glob(wanted, group)
        }) || glob(&pattern, &name)
    } else {
        name.split('=').any(|group| glob(&pattern, group)) || glob(&pattern, &name)
    };
    if matches {
        return Verdict::Matches;
    }
    // Some archives take a family name for the whole, or any delimiter for another.
    let (words, wanted) = (words(&name), words(&pattern));
    let begins = glob(&wanted, &words) || glob(&format!("{wanted} *"), &words);
    if begins || may_be_lossy(&pattern, &name) { Verdict::Doubtful } else { Verdict::Differs }
}

/// Whether what differs may be the work of a character set: archives answer `?` for what theirs has not, and
/// some fold accents.
fn may_be_lossy(pattern: &str, value: &str) -> bool {
    !pattern.is_ascii() || !value.is_ascii() || value.contains('?')
}

fn normalized(name: &str) -> String {
    let group = |group: &str| {
        let components: Vec<&str> = group.split('^').map(str::trim).collect();
        components.join("^").trim_end_matches('^').to_lowercase()
    };
    name.split('=').map(group).collect::<Vec<_>>().join("=").trim_end_matches('=').to_owned()
}

fn words(name: &str) -> String {
    name.split(['^', ' ', ',', '=']).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Whether the whole of `text` fits the pattern. Time is bounded by the product of the lengths.
fn glob(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    // What follows the last `*`, and where in the text it was tried last.
    let mut retry: Option<(&str, &str)> = None;
    loop {
        let (mut rest_of_pattern, mut rest_of_text) = (pattern.chars(), text.chars());
        match (rest_of_pattern.next(), rest_of_text.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                pattern = rest_of_pattern.as_str();
                retry = Some((pattern, text));
            }
            (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {
                (pattern, text) = (rest_of_pattern.as_str(), rest_of_text.as_str());
            }
            _ => {
                let Some((after_star, tried)) = retry else { return false };
                let mut rest = tried.chars();
                if rest.next().is_none() {
                    return false;
                }
                (pattern, text) = (after_star, rest.as_str());
                retry = Some((after_star, text));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, by dynamic programming.
    fn glob_by_definition(pattern: &[char], text: &[char]) -> bool {
        let mut fits = vec![vec![false; text.len() + 1]; pattern.len() + 1];
        fits[0][0] = true;
        for (p, wanted) in pattern.iter().enumerate() {
            for t in 0..=text.len() {
                fits[p + 1][t] = match wanted {
                    '*' => fits[p][t] || (t > 0 && fits[p + 1][t - 1]),
                    one => t > 0 && (*one == '?' || *one == text[t - 1]) && fits[p][t - 1],
                };
            }
        }
        fits[pattern.len()][text.len()]
    }

    proptest! {
        #[test]
        fn wildcards_match_by_their_definition(pattern in "[abü*?]{0,10}", text in "[abü]{0,14}") {
            let chars = |s: &str| s.chars().collect::<Vec<_>>();
            prop_assert_eq!(glob(&pattern, &text), glob_by_definition(&chars(&pattern), &chars(&text)));
        }
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        assert!(!glob(&format!("{}b", "a*".repeat(100)), &"a".repeat(1000)));
    }

    #[test]
    fn names_match_in_each_component_group_and_in_any_case() {
        let yamada = "Yamada^Tarou=山田^太郎=やまだ^たろう";
        for pattern in [
            "yamada^tarou",
            "YAMADA*",
            "山田^太郎",
            "山田*",
            "=山田*",
            "Yamada^Tarou=山田^太郎",
            "*たろう",
            "Yamada^Tarou^^",
        ] {
            assert_eq!(judge_name(pattern, yamada), Verdict::Matches, "{pattern}");
        }
        assert_eq!(judge_name("Suzuki*", "Yamada^Tarou"), Verdict::Differs);
        assert_eq!(judge_name("Doe^J*", "Doe^Mary"), Verdict::Differs);
        assert_eq!(judge_name("Doe^John", "Doe ^ JOHN^^^"), Verdict::Matches);
    }

    #[test]
    fn what_another_rule_than_the_literal_one_would_match_is_in_doubt() {
        for (pattern, name) in [
            ("Doe", "Doe^John"),
            ("Doe John", "Doe^John"),
            ("Muller*", "Müller^Jürgen"),
            ("Müller*", "Muller^Jurgen"),
            ("山田*", "Yamada^Tarou=??^??"),
        ] {
            assert_eq!(judge_name(pattern, name), Verdict::Doubtful, "{pattern}");
        }
        assert_eq!(judge("ct", "CT"), Verdict::Doubtful);
        assert_eq!(judge("MR", "CT"), Verdict::Differs);
    }
}
