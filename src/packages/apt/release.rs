//! What a `Release` file says (the text of an `InRelease`, once its signature is accepted).

use super::{deb822, pin};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// The fields muster reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseFile {
    /// Who publishes it.
    pub origin: String,
    /// `Suite`, for example `oldstable`.
    pub suite: String,
    /// `Codename`, for example `bookworm`.
    pub codename: String,
    /// When it was made.
    pub date: Timestamp,
    /// After this it must not be believed.
    pub valid_until: Option<Timestamp>,
    /// The priority that apt gives what it lists, unless pins say otherwise.
    pub priority: i16,
    /// Whether indexes can be had by digest, so that an update in between does no harm.
    pub by_hash: bool,
    /// Whether `binary-all` has an index of its own that other indexes do not repeat.
    pub separate_all: bool,
    /// Path below the suite → SHA-256 and size.
    pub files: BTreeMap<String, Listed>,
}

/// One line of the `SHA256` field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Lower-case hex.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

/// A release file that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReleaseError {
    /// No such field.
    #[error("it has no field {0}")]
    Missing(&'static str),
    /// A date nobody can read.
    #[error("its {field} `{value}` is not a date")]
    Date {
        /// Field.
        field: &'static str,
        /// Its value.
        value: String,
    },
    /// A line of the list of files.
    #[error("its list of files has the line `{0}`")]
    Line(String),
}

/// Reads the fields.
pub fn parse(text: &str) -> Result<ReleaseFile, ReleaseError> {
    let stanza = deb822::stanzas(text)
        .next()
        .ok_or(ReleaseError::Missing("Date"))?;
    let text_of = |name| stanza.get(name).unwrap_or_default().to_owned();
    let yes = |name| text_of(name) == "yes";
    let date = stanza.get("Date").ok_or(ReleaseError::Missing("Date"))?;
    let list = stanza
        .get("SHA256")
        .ok_or(ReleaseError::Missing("SHA256"))?;
    let mut files = BTreeMap::new();
    for line in list.lines().filter(|line| !line.trim().is_empty()) {
        let bad = || ReleaseError::Line(line.trim().to_owned());
        let mut words = line.split_whitespace();
        let (Some(sha256), Some(size), Some(path)) = (words.next(), words.next(), words.next())
        else {
            return Err(bad());
        };
        if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(bad());
        }
        let listed = Listed {
            sha256: sha256.to_ascii_lowercase(),
            size: size.parse().map_err(|_| bad())?,
        };
        files.insert(path.to_owned(), listed);
    }
    let has_all = text_of("Architectures")
        .split_whitespace()
        .any(|architecture| architecture == "all");
    let repeats_all = text_of("No-Support-for-Architecture-all")
        .split_whitespace()
        .any(|file| file == "Packages");
    Ok(ReleaseFile {
        origin: text_of("Origin"),
        suite: text_of("Suite"),
        codename: text_of("Codename"),
        date: parse_date("Date", date)?,
        valid_until: stanza
            .get("Valid-Until")
            .map(|value| parse_date("Valid-Until", value))
            .transpose()?,
        priority: match (yes("NotAutomatic"), yes("ButAutomaticUpgrades")) {
            (false, _) => pin::USUAL,
            (true, false) => pin::ON_REQUEST,
            (true, true) => pin::UPGRADES,
        },
        by_hash: text_of("Acquire-By-Hash") == "yes",
        separate_all: has_all && !repeats_all,
        files,
    })
}

fn parse_date(field: &'static str, value: &str) -> Result<Timestamp, ReleaseError> {
    // Archives write `UTC`, which RFC 2822 does not know.
    let text = match value.strip_suffix(" UTC") {
        Some(rest) => format!("{rest} +0000"),
        None => value.to_owned(),
    };
    jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(&text)
        .map_err(|_| ReleaseError::Date {
            field,
            value: value.to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Origin: Debian\nSuite: oldstable\nCodename: bookworm\n\
        Date: Sat, 11 Jul 2026 10:16:37 UTC\nValid-Until: Sat, 18 Jul 2026 10:16:37 UTC\n\
        Acquire-By-Hash: yes\nNo-Support-for-Architecture-all: Packages\n\
        Architectures: all amd64\nSHA256:\n \
        aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa  12 main/binary-amd64/Packages\n";

    #[test]
    fn the_fields_of_a_release_are_read() {
        let release = parse(TEXT).unwrap();
        assert_eq!(release.date.to_string(), "2026-07-11T10:16:37Z");
        assert!(release.by_hash);
        assert!(!release.separate_all);
        assert_eq!(release.files["main/binary-amd64/Packages"].size, 12);
    }

    #[test]
    fn a_release_that_makes_no_sense_is_refused_in_words() {
        let words = |text: &str| parse(text).unwrap_err().to_string();
        assert_eq!(words("Origin: x\n"), "it has no field Date");
        assert_eq!(
            words(&TEXT.replace("Date: Sat, 11 Jul", "Date: someday")),
            "its Date `someday 2026 10:16:37 UTC` is not a date"
        );
        assert_eq!(
            words(&TEXT.replace("  12 ", "  many ")),
            format!(
                "its list of files has the line `{}  many main/binary-amd64/Packages`",
                "a".repeat(64)
            )
        );
    }
}
