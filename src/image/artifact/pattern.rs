//! Patterns of paths in an archive: `*` and `?` within one part, `**` for any number of parts. A
//! pattern takes what it names with everything below it.

use crate::profile::glob::fits;

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
                part => further && row[at + 1] && fits(part, path[at]),
            };
        }
        row = above;
    }
    row[0]
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
    fn a_pattern_of_many_stars_ends() {
        let path = "a/".repeat(2000) + &"a".repeat(2000);
        assert!(!takes(&format!("{}b", "**/".repeat(60)), &path));
        assert!(!takes(&format!("**/{}b", "a*".repeat(60)), &path));
    }
}
