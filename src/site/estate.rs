//! What makes a host the lead of its site: the files below the agent's folder that no other host
//! has. The site's answers, its secrets, its authority, the table of its hosts, their token, and
//! the recovery words. Not the journal: that says what one host has done.

use super::durable;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The site's answers.
pub const SITE: &str = "site.json";
/// The certificate of the site's authority.
pub const CA: &str = "ca/ca.pem";
/// Its key.
pub const CA_KEY: &str = "ca/ca.key";
/// The table of the site's hosts.
pub const MEMBERS: &str = "mesh/members.json";
/// The token with which they join.
pub const TOKEN: &str = "mesh/token";

/// Files that every lead has.
const NEEDED: [&str; 4] = [SITE, CA, CA_KEY, "recovery/words"];
/// Files that it may have.
const OTHERS: [&str; 2] = [MEMBERS, TOKEN];
/// A folder, with all below it.
const SECRETS: &str = "secrets";

/// Longer than any filesystem's clock takes to its next tick.
const TICK: Duration = Duration::from_secs(2);

/// What is seen of the files without reading them: another whenever any of them was changed,
/// replaced, added or removed.
#[derive(Debug, PartialEq, Eq)]
pub struct Trace {
    files: BTreeMap<String, Mark>,
    is_settled: bool,
}

/// One file: device, inode, size, and the seconds and nanoseconds of its last change and of its
/// inode's.
type Mark = [i128; 7];

impl Trace {
    /// Looks at the files of a lead.
    pub fn of(state: &Path) -> Result<Trace, EstateError> {
        let (now, mut is_settled) = (SystemTime::now(), true);
        let files = each(state, |path| {
            let file = std::fs::metadata(path)?;
            let age = now.duration_since(file.modified()?);
            is_settled &= age.is_ok_and(|age| age >= TICK);
            Ok([
                file.dev().into(),
                file.ino().into(),
                file.size().into(),
                file.mtime().into(),
                file.mtime_nsec().into(),
                file.ctime().into(),
                file.ctime_nsec().into(),
            ])
        })?;
        Ok(Trace { files, is_settled })
    }

    /// Whether the next change is seen for certain: a filesystem's clock ticks a few hundred times
    /// a second, and two changes within one tick leave the same times.
    pub fn is_settled(&self) -> bool {
        self.is_settled
    }
}

/// The files, by their path below the agent's folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Estate {
    /// Path → content.
    pub files: BTreeMap<String, String>,
}

/// Why files are none of a lead.
#[derive(Debug, thiserror::Error)]
pub enum EstateError {
    /// Reading or writing failed.
    #[error("{path}: {error}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file that every lead has is not there.
    #[error("{0} is missing: the lead had not come so far")]
    Missing(&'static str),
    /// A name that no lead has.
    #[error("`{0}` is no file of a lead")]
    Strange(String),
    /// The copy is no list of files.
    #[error("what was sealed cannot be read: {0}")]
    Garbled(serde_json::Error),
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> EstateError {
    let path = path.to_owned();
    move |error| EstateError::Io { path, error }
}

impl Estate {
    /// Reads the files of a lead.
    pub fn gather(state: &Path) -> Result<Estate, EstateError> {
        let files = each(state, |path| std::fs::read_to_string(path))?;
        let estate = Estate { files };
        estate.is_whole()?;
        Ok(estate)
    }

    /// Reads what was sealed.
    pub fn parse(text: &[u8]) -> Result<Estate, EstateError> {
        let estate: Estate = serde_json::from_slice(text).map_err(EstateError::Garbled)?;
        for name in estate.files.keys() {
            let known = NEEDED.iter().chain(&OTHERS).any(|known| known == name);
            if !known && !is_secret(name) {
                return Err(EstateError::Strange(name.clone()));
            }
        }
        estate.is_whole()?;
        Ok(estate)
    }

    fn is_whole(&self) -> Result<(), EstateError> {
        let missing = NEEDED.iter().find(|name| !self.files.contains_key(**name));
        missing.map_or(Ok(()), |name| Err(EstateError::Missing(name)))
    }

    /// What is sealed.
    pub fn text(&self) -> Result<Vec<u8>, EstateError> {
        serde_json::to_vec(&self.files).map_err(EstateError::Garbled)
    }

    /// SHA-256 of all of it, hex: another one when anything has changed.
    pub fn digest(&self) -> Result<String, EstateError> {
        Ok(hex::encode(Sha256::digest(self.text()?)))
    }

    /// Writes the files below a folder; each is whole or as it was.
    pub fn put(&self, state: &Path) -> Result<(), EstateError> {
        for (name, text) in &self.files {
            let path = state.join(name);
            // The certificate of the authority is for everybody, what is beside it is not.
            let (folder, mode) = match name.as_str() {
                CA => (0o755, 0o644),
                CA_KEY => (0o755, 0o600),
                _ => (0o700, 0o600),
            };
            let above = path.parent().unwrap_or(state);
            durable::make_directory(above, folder)
                .and_then(|()| durable::write(&path, text.as_bytes(), mode, None))
                .map_err(at(&path))?;
        }
        Ok(())
    }
}

/// Whether a path leads to a file among the secrets, and nowhere else.
fn is_secret(name: &str) -> bool {
    let path = Path::new(name);
    let mut parts = path.components();
    parts.next() == Some(Component::Normal(SECRETS.as_ref()))
        && parts.clone().next().is_some()
        && parts.all(|part| matches!(part, Component::Normal(_)))
        && !name.ends_with('/')
        && !name.contains("/.")
}

/// What `look` finds in every file of a lead that is there.
fn each<T>(
    state: &Path,
    mut look: impl FnMut(&Path) -> io::Result<T>,
) -> Result<BTreeMap<String, T>, EstateError> {
    let mut names: Vec<String> = NEEDED
        .iter()
        .chain(&OTHERS)
        .map(ToString::to_string)
        .collect();
    below(&state.join(SECRETS), SECRETS, &mut names)?;
    let mut files = BTreeMap::new();
    for name in names {
        let path = state.join(&name);
        match look(&path) {
            Ok(found) => {
                files.insert(name, found);
            }
            // It may have been there a moment ago.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(at(&path)(error)),
        }
    }
    Ok(files)
}

/// Names every file below a folder that is not half written.
fn below(folder: &Path, name: &str, names: &mut Vec<String>) -> Result<(), EstateError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(at(folder)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(at(folder))?;
        let own = entry.file_name().to_string_lossy().into_owned();
        if own.starts_with('.') {
            continue;
        }
        let (path, name) = (entry.path(), format!("{name}/{own}"));
        match path.is_dir() {
            true => below(&path, &name, names)?,
            false => names.push(name),
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn put(state: &Path, name: &str, text: &str) {
        let path = state.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn lead(state: &Path) {
        for name in NEEDED {
            put(state, name, name);
        }
        put(state, "secrets/core/data/own", "secret");
        // What was cut off by the power, and what is the host's own.
        put(state, "secrets/core/data/.own.new", "half");
        put(state, "mesh/host.key", "key");
        put(state, "journal", "done");
    }

    #[test]
    fn what_is_gathered_on_one_host_is_put_on_another() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        lead(from.path());
        let estate = Estate::gather(from.path()).unwrap();
        let names: Vec<&str> = estate.files.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "ca/ca.key",
                "ca/ca.pem",
                "recovery/words",
                "secrets/core/data/own",
                "site.json"
            ]
        );
        let read = Estate::parse(&estate.text().unwrap()).unwrap();
        assert_eq!(read, estate);
        for _ in 0..2 {
            read.put(to.path()).unwrap();
            assert_eq!(Estate::gather(to.path()).unwrap(), estate);
        }
        let mode = |name: &str| {
            let metadata = std::fs::metadata(to.path().join(name)).unwrap();
            metadata.permissions().mode() & 0o7777
        };
        assert_eq!(mode("ca/ca.pem"), 0o644);
        for name in ["ca/ca.key", "site.json", "secrets/core/data/own"] {
            assert_eq!(mode(name), 0o600, "{name}");
        }
        assert_eq!(mode("secrets/core"), 0o700);
    }

    #[test]
    fn any_change_gives_another_digest() {
        let from = tempfile::tempdir().unwrap();
        lead(from.path());
        let digest = || Estate::gather(from.path()).unwrap().digest().unwrap();
        let before = digest();
        assert_eq!(digest(), before);
        put(from.path(), "journal", "more is done");
        assert_eq!(digest(), before, "the journal is the host's own");
        put(from.path(), "mesh/members.json", "{}");
        let joined = digest();
        assert_ne!(joined, before);
        put(from.path(), "secrets/core/data/other", "secret");
        assert_ne!(digest(), joined);
    }

    #[test]
    fn any_change_is_seen_without_reading() {
        let from = tempfile::tempdir().unwrap();
        let state = from.path();
        lead(state);
        let trace = || Trace::of(state).unwrap();
        let mut before = trace();
        assert_eq!(trace(), before);
        put(state, "journal", "more is done");
        assert_eq!(trace(), before, "the journal is the host's own");
        // Of the same size, and as old as what it replaces.
        let modified = |name: &str| std::fs::metadata(state.join(name)).unwrap().modified();
        put(state, ".site.json.new", "other.one");
        let beside = std::fs::File::open(state.join(".site.json.new")).unwrap();
        beside.set_modified(modified(SITE).unwrap()).unwrap();
        std::fs::rename(state.join(".site.json.new"), state.join(SITE)).unwrap();
        let changes: [&dyn Fn(); 4] = [
            &|| (),
            &|| put(state, "secrets/core/data/own", "longer than it was"),
            &|| put(state, MEMBERS, "{}"),
            &|| std::fs::remove_file(state.join(MEMBERS)).unwrap(),
        ];
        for change in changes {
            change();
            let now = trace();
            assert_ne!(now, before);
            before = now;
        }
        // A change within the same tick might leave no trace.
        assert!(!before.is_settled());
        let then = SystemTime::now() - TICK;
        for name in before.files.keys() {
            let file = std::fs::File::open(state.join(name)).unwrap();
            file.set_modified(then).unwrap();
        }
        assert!(trace().is_settled());
    }

    #[test]
    fn half_a_lead_and_strange_files_are_refused() {
        let from = tempfile::tempdir().unwrap();
        lead(from.path());
        let whole = Estate::gather(from.path()).unwrap();
        std::fs::remove_file(from.path().join(CA_KEY)).unwrap();
        assert_eq!(
            Estate::gather(from.path()).unwrap_err().to_string(),
            "ca/ca.key is missing: the lead had not come so far"
        );
        for name in [
            "../etc/passwd",
            "/etc/passwd",
            "secrets/../site.json",
            "secrets",
            "secrets/a/../../b",
            "secrets/.hidden",
            "mesh/host.key",
        ] {
            let mut strange = whole.clone();
            strange.files.insert(name.into(), String::new());
            let told = Estate::parse(&strange.text().unwrap()).unwrap_err();
            assert_eq!(told.to_string(), format!("`{name}` is no file of a lead"));
        }
    }
}
