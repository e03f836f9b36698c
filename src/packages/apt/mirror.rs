//! Where an archive is fetched from. The choice never reaches the lock.

use super::deb822;
use crate::profile::{Archive, Base};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The URL of every archive of every base of a stack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirrors {
    chosen: BTreeMap<(String, String), Places>,
}

/// Where the files of one archive are.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Places {
    url: String,
    snapshot: Option<String>,
}

/// One URL and suite of the machine's own apt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AptSource {
    /// Base URL.
    pub uri: String,
    /// Suite.
    pub suite: String,
    /// `Origin` of its release file, when apt has fetched it.
    pub origin: Option<String>,
}

/// Everything a person or the machine says about mirrors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preferences {
    /// `--mirror`: `URL` or `ARCHIVE=URL`.
    pub given: Vec<String>,
    /// `[mirrors]` of the user's configuration: archive → URL.
    pub configured: BTreeMap<String, String>,
    /// The machine's apt.
    pub apt: Vec<AptSource>,
}

/// The user's configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PreferencesError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not what is expected.
    #[error("{} cannot be used: {reason}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
    /// `--mirror ARCHIVE=URL` for an archive that no base has.
    #[error("--mirror names the archive {name}, and there is none of that name: {}", known.join(", "))]
    NoArchive {
        /// What was given.
        name: String,
        /// Archives there are.
        known: Vec<String>,
    },
}

/// The part of `config.toml` that speaks of mirrors; other rooms read their own tables.
#[derive(Debug, Default, Deserialize)]
struct Configuration {
    #[serde(default)]
    mirrors: BTreeMap<String, String>,
}

impl Mirrors {
    /// Chooses for each archive: what was given, what is configured, what the machine's apt
    /// uses for the same distribution, what the base says.
    pub fn choose<'b>(bases: impl IntoIterator<Item = &'b Base>, from: &Preferences) -> Mirrors {
        let mut chosen = BTreeMap::new();
        for base in bases {
            for archive in &base.archives {
                let url = given(base, archive, &from.given)
                    .or_else(|| from.configured.get(&archive.name).cloned())
                    .or_else(|| of_apt(archive, &from.apt))
                    .unwrap_or_else(|| archive.mirror.clone());
                let places = Places {
                    url: url.trim_end_matches('/').to_owned(),
                    snapshot: archive.snapshot.clone(),
                };
                chosen.insert((base.name.clone(), archive.name.clone()), places);
            }
        }
        Mirrors { chosen }
    }

    /// The URL of an archive, without a slash at the end.
    pub fn url(&self, base: &str, archive: &str) -> Option<&str> {
        Some(&self.places(base, archive)?.url)
    }

    /// Where the archive's snapshot service keeps a file of a suite whose release file was
    /// made at `date`. A day later the service has seen that release, and the archive has not
    /// yet removed what it replaced.
    pub fn snapshot(
        &self,
        base: &str,
        archive: &str,
        path: &str,
        date: jiff::Timestamp,
    ) -> Option<String> {
        let pattern = self.places(base, archive)?.snapshot.as_ref()?;
        let later = date
            .checked_add(jiff::SignedDuration::from_hours(24))
            .ok()?;
        let moment = later.strftime("%Y%m%dT%H%M%SZ").to_string();
        Some(pattern.replace("{moment}", &moment).replace("{path}", path))
    }

    fn places(&self, base: &str, archive: &str) -> Option<&Places> {
        self.chosen.get(&(base.to_owned(), archive.to_owned()))
    }
}

impl Preferences {
    /// What is said about the archives of these bases.
    ///
    /// # Errors
    /// `--mirror` names an archive that none of them has: it would silently not be used.
    pub fn fit<'b>(
        self,
        bases: impl IntoIterator<Item = &'b Base>,
    ) -> Result<Preferences, PreferencesError> {
        let archives = bases.into_iter().flat_map(|base| &base.archives);
        let known: BTreeSet<&str> = archives.map(|archive| archive.name.as_str()).collect();
        let names = self.given.iter().filter_map(|text| named(text));
        match names
            .map(|(name, _)| name)
            .find(|name| !known.contains(name))
        {
            Some(name) => Err(PreferencesError::NoArchive {
                name: name.to_owned(),
                known: known.into_iter().map(str::to_owned).collect(),
            }),
            None => Ok(self),
        }
    }

    /// Reads the user's configuration and the machine's apt.
    pub fn read(given: &[String]) -> Result<Preferences, PreferencesError> {
        Ok(Preferences {
            given: given.to_vec(),
            configured: read_configuration(&configuration_path())?,
            apt: read_apt(Path::new("/etc/apt"), Path::new("/var/lib/apt/lists")),
        })
    }
}

/// `ARCHIVE=URL` for this archive, else a bare URL: it is for the archive its last word names
/// (`…/debian-security`), else for the first of the base.
fn given(base: &Base, archive: &Archive, given: &[String]) -> Option<String> {
    given.iter().rev().find_map(|text| match named(text) {
        Some((name, url)) => (name == archive.name).then(|| url.to_owned()),
        None => {
            let named = base.archives.iter().find(|a| a.name == last_word(text));
            let meant = named.or(base.archives.first());
            (meant.map(|meant| &meant.name) == Some(&archive.name)).then(|| text.clone())
        }
    })
}

/// The two halves of `ARCHIVE=URL`.
fn named(text: &str) -> Option<(&str, &str)> {
    text.split_once('=').filter(|(name, _)| !name.contains('/'))
}

/// What `--mirror` takes.
///
/// # Errors
/// Its URL is none that can be fetched from.
pub fn option(text: &str) -> Result<String, String> {
    let (_, url) = named(text).unwrap_or(("", text));
    match is_fetchable(url) {
        true => Ok(text.to_owned()),
        false => Err(
            "a mirror is a URL like http://HOST/debian, https://… or file:///DIR, or ARCHIVE=URL"
                .into(),
        ),
    }
}

fn last_word(url: &str) -> &str {
    let url = url.trim_end_matches('/');
    url.rsplit_once('/').map_or(url, |(_, word)| word)
}

fn is_security(suite: &str) -> bool {
    suite.ends_with("-security") || suite.ends_with("/updates")
}

/// The machine's source for the same distribution and the same kind of suite; the very suite
/// if it is there, since one mirror holds all suites of an archive.
fn of_apt(archive: &Archive, sources: &[AptSource]) -> Option<String> {
    let security = archive.suites.iter().any(|suite| is_security(suite));
    let fits = |source: &&AptSource| {
        is_security(&source.suite) == security
            && match &source.origin {
                Some(origin) => *origin == archive.origin,
                // Vendors call theirs `debian` too.
                None => {
                    archive.services.is_empty()
                        && last_word(&source.uri) == last_word(&archive.mirror)
                }
            }
    };
    sources
        .iter()
        .filter(fits)
        .min_by_key(|source| !archive.suites.contains(&source.suite))
        .map(|source| source.uri.clone())
}

fn configuration_path() -> PathBuf {
    std::env::var_os("XDG_CONFIG_HOME")
        .filter(|value| Path::new(value).is_absolute())
        .map(PathBuf::from)
        .unwrap_or_else(|| {
            PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into()))
                .join(".config")
        })
        .join("muster/config.toml")
}

fn read_configuration(path: &Path) -> Result<BTreeMap<String, String>, PreferencesError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(source) => {
            let path = path.to_owned();
            return Err(PreferencesError::Read { path, source });
        }
    };
    let parsed: Configuration =
        toml::from_str(&text).map_err(|source| PreferencesError::Parse {
            path: path.to_owned(),
            reason: source.to_string().trim_end().to_owned(),
        })?;
    Ok(parsed.mirrors)
}

/// The sources of an apt configuration. What cannot be read does not count: the machine's apt
/// is only a hint, and need not be there at all.
fn read_apt(etc: &Path, lists: &Path) -> Vec<AptSource> {
    let mut files = vec![etc.join("sources.list")];
    if let Ok(entries) = std::fs::read_dir(etc.join("sources.list.d")) {
        let mut more: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        more.sort();
        files.extend(more);
    }
    let mut sources = Vec::new();
    for file in files {
        let Ok(text) = std::fs::read_to_string(&file) else {
            continue;
        };
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => sources.extend(parse_list(&text)),
            Some("sources") => sources.extend(parse_sources(&text)),
            _ => {}
        }
    }
    for source in &mut sources {
        source.origin = ["InRelease", "Release"].iter().find_map(|name| {
            let file = lists.join(list_name(source, name));
            let text = std::fs::read_to_string(file).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix("Origin:"))?;
            Some(line.trim().to_owned())
        });
    }
    sources
}

/// How apt names the file it keeps of a suite.
fn list_name(source: &AptSource, name: &str) -> String {
    let uri = source.uri.trim_end_matches('/');
    let place = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    let place = place.replace('_', "%5f").replace('/', "_");
    format!("{place}_dists_{}_{name}", source.suite.replace('/', "_"))
}

fn is_fetchable(uri: &str) -> bool {
    ["http://", "https://", "file://"]
        .iter()
        .any(|scheme| uri.starts_with(scheme))
}

/// One-line style: `deb [options] uri suite components…` (sources.list(5)).
pub fn parse_list(text: &str) -> Vec<AptSource> {
    let mut sources = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let Some(rest) = line
            .strip_prefix("deb")
            .filter(|rest| rest.starts_with([' ', '\t', '[']))
        else {
            continue;
        };
        let rest = rest.trim_start();
        let rest = match rest.strip_prefix('[') {
            Some(options) => options.split_once(']').map_or("", |(_, after)| after),
            None => rest,
        };
        let mut words = rest.split_whitespace();
        if let (Some(uri), Some(suite)) = (words.next(), words.next())
            && is_fetchable(uri)
        {
            sources.push(AptSource {
                uri: uri.to_owned(),
                suite: suite.to_owned(),
                origin: None,
            });
        }
    }
    sources
}

/// deb822 style (`.sources`).
pub fn parse_sources(text: &str) -> Vec<AptSource> {
    let mut sources = Vec::new();
    for stanza in deb822::stanzas(text) {
        let words = |name| stanza.get(name).unwrap_or_default().split_whitespace();
        let off = words("Enabled").any(|word| word.eq_ignore_ascii_case("no"));
        if off || !words("Types").any(|word| word == "deb") {
            continue;
        }
        for uri in words("URIs").filter(|uri| is_fetchable(uri)) {
            for suite in words("Suites") {
                sources.push(AptSource {
                    uri: uri.to_owned(),
                    suite: suite.to_owned(),
                    origin: None,
                });
            }
        }
    }
    sources
}
