//! Files of packages that images of a base do without: dpkg's `path-exclude` and `path-include`
//! (dpkg(1), `filter_should_skip` in its filters.c).

use crate::profile::Exclude;
use crate::profile::glob::fits;

/// The MD5 digest that dpkg records of a configuration file that was never there.
pub const NEVER_THERE: &str = "newconffile";

impl Exclude {
    /// Whether a member of a package stays out: by its path as the package has it, whatever
    /// diversions there are. A folder stays where something below it may stay, and so does a
    /// symbolic link, which may stand for one.
    pub fn skips(&self, path: &str, leads_on: bool) -> bool {
        let fit = |patterns: &[String]| patterns.iter().any(|pattern| fits(pattern, path));
        if !fit(&self.paths) || fit(&self.keep) {
            return false;
        }
        let on_the_way = |pattern: &String| {
            let end = pattern.find(['*', '?']).unwrap_or(pattern.len());
            path.starts_with(pattern[..end].trim_end_matches('/'))
        };
        !(leads_on && self.keep.iter().any(on_the_way))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_kept_and_so_are_the_folders_that_lead_to_it() {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let exclude = Exclude {
            paths: texts(&["/usr/share/doc/*", "/usr/share/man/*"]),
            keep: texts(&["/usr/share/doc/*/copyright"]),
        };
        let table = [
            ("/usr/share/doc", true, false),
            ("/usr/share/doc/p", true, false),
            ("/usr/share/doc/p/copyright", false, false),
            ("/usr/share/doc/p/changelog.gz", false, true),
            ("/usr/share/doc/p/changelog.gz", true, false),
            ("/usr/share/man", true, false),
            ("/usr/share/man/man1", true, true),
            ("/usr/share/man/man1/p.1.gz", false, true),
            ("/usr/bin/p", false, false),
            ("", true, false),
        ];
        for (path, leads_on, skipped) in table {
            assert_eq!(exclude.skips(path, leads_on), skipped, "{path} {leads_on}");
        }
        assert!(!Exclude::default().skips("/usr/share/doc/p/x", false));
    }
}
