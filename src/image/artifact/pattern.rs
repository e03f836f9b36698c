//! Patterns of paths in an archive: `*` and `?` within one part, `**` for any number of parts. A
//! pattern takes what it names with everything below it.

/// Whether a pattern takes a path.
pub fn takes(pattern: &str, path: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('/').collect();
    let path: Vec<&str> = path.split('/').collect();
    // From the back: whether the rest of the pattern takes the path from this part on.
    let mut row = vec![true; path.len() + 1];
    for part in pattern.iter().rev() {
        let mut above = vec![false; path.len() + 1];
        for at in (0..=path.len()).rev() {
            let further = at < path.len();
            above[at] = match *part {
                "**" => row[at] || (further && above[at + 1]),
                part => further && row[at + 1] && part_takes(part, path[at]),
            };
        }
        row = above;
    }
    row[0]
}

/// The same for one part: the last `*` is widened until the rest fits, so that it ends soon.
fn part_takes(pattern: &str, part: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let part: Vec<char> = part.chars().collect();
    let (mut p, mut at) = (0, 0);
    let mut star = None;
    while at < part.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, at));
                p += 1;
            }
            Some(wanted) if *wanted == '?' || *wanted == part[at] => {
                p += 1;
                at += 1;
            }
            _ => {
                let Some((place, taken)) = star else {
                    return false;
                };
                star = Some((place, taken + 1));
                (p, at) = (place + 1, taken + 1);
            }
        }
    }
    pattern[p..].iter().all(|wanted| *wanted == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_takes_what_it_names_and_all_below() {
        for (pattern, path, taken) in [
            ("bin", "bin", true),
            ("bin", "bin/app", true),
            ("bin", "binary", false),
            ("bin", "usr/bin", false),
            ("bin/app", "bin", false),
            ("*.jar", "app.jar", true),
            ("*.jar", "lib/app.jar", false),
            ("**/*.jar", "lib/deep/app.jar", true),
            ("**/*.jar", "app.jar", true),
            ("**", "anything/at/all", true),
            ("lib/**/x", "lib/x", true),
            ("lib/**/x", "lib/a/b/x/y", true),
            ("lib/**/x", "lib/a/b", false),
            ("lib/*/x", "lib/a/x", true),
            ("lib/*/x", "lib/x", false),
            ("a?c*e", "abcdde", true),
            ("a?c*e", "abcdd", false),
            ("a*b*c", "aXbXbXc", true),
            ("*", "", true),
        ] {
            assert_eq!(takes(pattern, path), taken, "{pattern} {path}");
        }
    }

    #[test]
    fn a_pattern_of_many_stars_ends_soon() {
        let start = std::time::Instant::now();
        let path = "a/".repeat(2000) + &"a".repeat(2000);
        assert!(!takes(&format!("{}b", "**/".repeat(60)), &path));
        assert!(!takes(&format!("**/{}b", "a*".repeat(60)), &path));
        assert!(start.elapsed() < std::time::Duration::from_secs(20));
    }
}
