//! dpkg's diversions (dpkg-divert(1)): files of one package that land elsewhere because
//! another package's scripts said so.

use super::member::canonical;
use std::collections::BTreeMap;

/// The content of `/var/lib/dpkg/diversions`.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Diversions {
    entries: BTreeMap<String, (String, String)>,
}

impl Diversions {
    /// Three lines per diversion: from, to, package (`:` for a local one).
    pub fn parse(text: &str) -> Diversions {
        let lines: Vec<&str> = text.lines().collect();
        let entries = lines.chunks_exact(3).map(|entry| {
            let from = canonical(entry[0].trim_start_matches('/'));
            (from, (entry[1].to_owned(), entry[2].to_owned()))
        });
        Diversions {
            entries: entries.collect(),
        }
    }

    /// Where `package`'s file at the absolute `path` is written.
    pub fn landing<'a>(&'a self, path: &'a str, package: &str) -> &'a str {
        match self.entries.get(&canonical(path.trim_start_matches('/'))) {
            Some((to, diverter)) if diverter != package => to,
            _ => path,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_files_are_diverted_and_the_diverters_own_are_not() {
        let found = Diversions::parse("/bin/sh\n/bin/sh.distrib\ndash\n");
        assert_eq!(found.landing("/usr/bin/sh", "bash"), "/bin/sh.distrib");
        assert_eq!(found.landing("/usr/bin/sh", "dash"), "/usr/bin/sh");
        assert_eq!(found.landing("/bin/ls", "coreutils"), "/bin/ls");
    }
}
