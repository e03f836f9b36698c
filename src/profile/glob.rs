//! Patterns for names of packages and for paths.

/// Whether `text` is what `pattern` says, in which `*` stands for any characters, slashes among
/// them, and `?` for one: fnmatch(3) without flags, as apt and dpkg use it.
pub fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut here) = (0, 0);
    // Where the last star stood, and how far its characters go so far.
    let mut star = None;
    while here < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, here));
                at += 1;
            }
            Some(sign) if *sign == '?' || *sign == text[here] => {
                at += 1;
                here += 1;
            }
            _ => match star {
                Some((of, end)) => {
                    star = Some((of, end + 1));
                    at = of + 1;
                    here = end + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|sign| *sign == '*')
}

/// Whether a pattern has a wildcard that means more to fnmatch(3) than `*` and `?`.
pub fn is_odd(pattern: &str) -> bool {
    pattern.contains(['[', ']', '\\'])
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn stars_and_question_marks_fit_what_they_fit_in_a_shell() {
        let fitting = [
            ("", ""),
            ("*", ""),
            ("a*", "a"),
            ("*a*b", "xaxabab"),
            ("/usr/share/doc/*", "/usr/share/doc/a/b"),
            ("/usr/*/copyright", "/usr/share/doc/x/copyright"),
            ("?b*?", "abc"),
            ("a**", "a"),
        ];
        for (pattern, text) in fitting {
            assert!(fits(pattern, text), "{pattern} {text}");
        }
        let others = [
            ("", "a"),
            ("?", ""),
            ("a", "ab"),
            ("a*b", "abc"),
            ("/usr/share/doc/*", "/usr/share/doc"),
            ("*.de.*", "ade."),
            ("??", "a"),
        ];
        for (pattern, text) in others {
            assert!(!fits(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_take_no_longer_than_one() {
        let pattern = "*a".repeat(50) + "b";
        assert!(!fits(&pattern, &"a".repeat(5_000)));
    }
}
