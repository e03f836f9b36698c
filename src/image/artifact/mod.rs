//! Artifacts in an image: what of them is placed, where, and what is refused. The same reading
//! serves the build, which places it, and `verify-image`, which looks whether it is still so.

mod inspect;
mod oci;
mod pattern;
mod place;
mod tar;
mod zip;

pub use oci::layout;
pub use place::{Places, owner};

use super::deb::{self, truncated};
use super::error::Error;
use super::member::member_path;
use super::store::Store;
use crate::packages::lock::{Artifact, Lock, OciImage};
use crate::profile::Stack;
use crate::profile::artifact::{Kind, Placing};
use pattern::takes;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

/// setuid and setgid.
const SET_ID: u32 = 0o6000;

/// An artifact of a role: which file it is, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Placed {
    /// What the lock pins.
    pub file: Artifact,
    /// What becomes of it.
    pub placing: Placing,
}

/// Something that an artifact places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Path below the root, without a leading slash.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// Seconds since 1970; of what has no time of its own, nothing.
    pub mtime: Option<i64>,
    /// What it is.
    pub what: What,
}

/// What a piece is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A directory.
    Directory,
    /// A file; its content is beside.
    File,
    /// A symbolic link and its target.
    Symlink(String),
    /// Another name of a piece that was placed before: its path below the root.
    HardLink(String),
}

/// Why a member of an archive is not placed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its path cannot be.
    #[error(transparent)]
    Path(#[from] super::error::Refusal),
    /// Its path, or the target of a link, is no text.
    #[error("its path is not UTF-8, or has control characters in it")]
    NotText,
    /// A device.
    #[error("it is a device node")]
    Device,
    /// Something that software has no use for.
    #[error("its type `{0}` has no place in an image")]
    Type(char),
    /// It was there before.
    #[error("it is in the archive twice")]
    Twice,
    /// What stands above it in the archive is no directory.
    #[error("its path leads through {0}, which is no directory in the same archive")]
    Through(String),
    /// A link that leads elsewhere.
    #[error("it is a link to {0}, which may lead out of the folder that it is unpacked into")]
    LinkOut(String),
    /// A hard link to something else.
    #[error("it is a hard link to {0}, which was not taken from the archive before it")]
    HardLink(String),
    /// setuid or setgid, and nobody asked for it.
    #[error("it is setuid or setgid, and `setuid` does not name it")]
    SetId,
    /// Something is in its place.
    #[error("there is something in its place: {0}")]
    Occupied(String),
}

/// A member of an archive as it stands there.
struct Member {
    path: Vec<u8>,
    holds: Holds,
    /// Permission bits, where the archive knows them.
    mode: Option<u32>,
    mtime: i64,
}

/// What a member is.
enum Holds {
    Directory,
    File,
    Symlink(Vec<u8>),
    HardLink(Vec<u8>),
    Device,
    Other(char),
}

/// What takes members with their contents.
type Take<'t> = &'t mut dyn FnMut(Member, &mut dyn Read) -> Result<(), Error>;

/// What takes pieces with their contents.
pub type TakePiece<'t> = &'t mut dyn FnMut(&Piece, &mut dyn Read) -> Result<(), Error>;

/// The artifacts of a role, in the order in which they are placed.
pub fn placed(stack: &Stack, role: &str, lock: &Lock) -> Result<Vec<Placed>, Error> {
    let found = services(stack, role).flat_map(|service| {
        let artifacts = service.artifacts.iter();
        artifacts.map(|artifact| {
            let is =
                |file: &&Artifact| (&file.service, &file.name) == (&service.name, &artifact.name);
            let file = lock.artifacts.iter().find(is);
            Ok(Placed {
                file: file
                    .ok_or_else(|| unlocked(role, &service.name, &artifact.name))?
                    .clone(),
                placing: artifact.placing.clone(),
            })
        })
    });
    found.collect()
}

/// The container images of a role.
pub fn images(stack: &Stack, role: &str, lock: &Lock) -> Result<Vec<OciImage>, Error> {
    let found = services(stack, role).flat_map(|service| {
        service.oci.iter().map(|image| {
            let is =
                |found: &&OciImage| (&found.service, &found.name) == (&service.name, &image.name);
            let found = lock.images.iter().find(is);
            found
                .cloned()
                .ok_or_else(|| unlocked(role, &service.name, &image.name))
        })
    });
    found.collect()
}

fn services<'s>(stack: &'s Stack, role: &str) -> impl Iterator<Item = &'s crate::profile::Service> {
    let role = stack.roles.iter().find(|found| found.name == role);
    let names = role.into_iter().flat_map(|role| &role.services);
    names.filter_map(|name| stack.services.get(name))
}

fn unlocked(role: &str, service: &str, name: &str) -> Error {
    Error::Unlocked {
        role: role.to_owned(),
        key: format!("{service}/{name}"),
    }
}

/// An archive that cannot be read on.
fn damaged(artifact: &str, error: &std::io::Error) -> Error {
    Error::Artifact {
        artifact: artifact.to_owned(),
        reason: truncated("the archive", error),
    }
}

/// What the readers of packages say, said of an artifact.
fn of_artifact(error: Error) -> Error {
    match error {
        Error::Package { package, reason } => Error::Artifact {
            artifact: package,
            reason,
        },
        other => other,
    }
}

/// Bytes that an archive of this size may hold: packers of text save nine parts in ten, not
/// ninety-nine in a hundred; 256 MiB of the smallest, and never more than [`deb::LARGEST`].
fn room(size: u64) -> u64 {
    size.saturating_mul(100).clamp(256 << 20, deb::LARGEST)
}

/// Gives everything that an artifact places to `take`, each directory before what is in it if
/// the archive has it at all.
pub fn pieces(placed: &Placed, store: &Store, take: TakePiece<'_>) -> Result<(), Error> {
    let Placed { file, placing } = placed;
    let name = file.key();
    let mut content = store.verified_file(&name, &file.sha256)?;
    if placing.kind == Kind::File {
        let piece = Piece {
            path: placing.to.trim_start_matches('/').to_owned(),
            mode: placing.mode,
            mtime: None,
            what: What::File,
        };
        return take(&piece, &mut content);
    }
    let mut selection = Selection::new(placing);
    let mut each = |member: Member, content: &mut dyn Read| {
        let path = shown(&member.path);
        let piece = selection.piece(member).map_err(|refusal| Error::Member {
            artifact: name.clone(),
            member: path,
            refusal,
        })?;
        match piece {
            Some(piece) => take(&piece, content),
            None => Ok(()),
        }
    };
    match placing.kind {
        Kind::Zip => zip::each(&name, content, room(file.size), &mut each)?,
        _ => tar::each(&name, content, room(file.size), &mut each)?,
    }
    selection.end().map_err(|reason| Error::Artifact {
        artifact: name,
        reason,
    })
}

/// What of an archive is taken, and what was.
struct Selection<'p> {
    placing: &'p Placing,
    /// Paths below `to`; whether they are directories.
    seen: BTreeMap<String, bool>,
    /// Those that another name may be given to.
    files: BTreeSet<String>,
    /// Patterns that have taken nothing yet.
    idle: BTreeSet<(&'static str, &'p str)>,
}

impl<'p> Selection<'p> {
    fn new(placing: &'p Placing) -> Selection<'p> {
        let only = placing.only.iter().map(|pattern| ("only", &**pattern));
        let setuid = placing.setuid.iter().map(|pattern| ("setuid", &**pattern));
        Selection {
            placing,
            seen: BTreeMap::new(),
            files: BTreeSet::new(),
            idle: only.chain(setuid).collect(),
        }
    }

    /// Whether one of the patterns takes a path; those that do are idle no more.
    fn takes(&mut self, key: &'static str, patterns: &'p [String], path: &str) -> bool {
        let mut taken = false;
        for pattern in patterns.iter().filter(|pattern| takes(pattern, path)) {
            self.idle.remove(&(key, pattern));
            taken = true;
        }
        taken
    }

    /// The path below `to` of a path in the archive, if it is taken.
    fn below(&mut self, raw: &[u8]) -> Result<Option<String>, Refusal> {
        let whole = member_path(text(raw)?.as_bytes())?;
        let strip = usize::try_from(self.placing.strip).unwrap_or(usize::MAX);
        let path = whole.splitn(strip.saturating_add(1), '/').nth(strip);
        let Some(path) = path.filter(|path| !path.is_empty()) else {
            return Ok(None);
        };
        let Placing { only, except, .. } = self.placing;
        let wanted = only.is_empty() || self.takes("only", only, path);
        let left_out = except.iter().any(|pattern| takes(pattern, path));
        Ok((wanted && !left_out).then(|| path.to_owned()))
    }

    /// What becomes of a member.
    fn piece(&mut self, member: Member) -> Result<Option<Piece>, Refusal> {
        let Some(path) = self.below(&member.path)? else {
            return Ok(None);
        };
        let directory = matches!(member.holds, Holds::Directory);
        for (at, _) in path.match_indices('/') {
            let above = &path[..at];
            if self.seen.get(above) == Some(&false) {
                return Err(Refusal::Through(above.to_owned()));
            }
            self.seen.insert(above.to_owned(), true);
        }
        if let Some(before) = self.seen.insert(path.clone(), directory)
            && !(before && directory)
        {
            return Err(Refusal::Twice);
        }
        let mode = member.mode.unwrap_or(if directory { 0o755 } else { 0o644 });
        let mut kept = mode & 0o755;
        let what = match member.holds {
            Holds::Directory => {
                kept |= 0o700;
                What::Directory
            }
            Holds::File => {
                if mode & SET_ID != 0 {
                    if !self.takes("setuid", &self.placing.setuid, &path) {
                        return Err(Refusal::SetId);
                    }
                    kept |= mode & SET_ID;
                }
                self.files.insert(path.clone());
                What::File
            }
            Holds::Symlink(target) => {
                kept = 0o777;
                What::Symlink(within(&path, &target)?)
            }
            Holds::HardLink(target) => {
                let written = shown(&target);
                let source = self.below(&target)?;
                let source = source.filter(|source| self.files.contains(source));
                self.files.insert(path.clone());
                What::HardLink(self.landing(&source.ok_or(Refusal::HardLink(written))?))
            }
            Holds::Device => return Err(Refusal::Device),
            Holds::Other(kind) => return Err(Refusal::Type(kind)),
        };
        Ok(Some(Piece {
            path: self.landing(&path),
            mode: kept,
            mtime: Some(member.mtime),
            what,
        }))
    }

    fn landing(&self, path: &str) -> String {
        format!("{}/{path}", &self.placing.to[1..])
    }

    /// # Errors
    /// What was asked for and is not in the archive.
    fn end(self) -> Result<(), String> {
        if let Some((key, pattern)) = self.idle.first() {
            return Err(format!(
                "nothing in the archive is `{pattern}`, which `{key}` names"
            ));
        }
        match self.seen.is_empty() {
            true => Err("`strip`, `only` and `except` leave nothing of the archive".into()),
            false => Ok(()),
        }
    }
}

/// A path of an archive as it may be shown: a terminal obeys control characters.
fn shown(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(raw);
    let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(plain).collect()
}

fn text(raw: &[u8]) -> Result<&str, Refusal> {
    let text = std::str::from_utf8(raw).map_err(|_| Refusal::NotText)?;
    match text.contains(char::is_control) {
        true => Err(Refusal::NotText),
        false => Ok(text),
    }
}

/// The target of a link at `path`, if it leads to something below the folder of the archive
/// whatever else is in it: up first, and then down only.
fn within(path: &str, target: &[u8]) -> Result<String, Refusal> {
    let target = text(target)?;
    let out = || Refusal::LinkOut(target.to_owned());
    let mut up = 0;
    let mut down = false;
    for part in target.split('/') {
        match part {
            ".." if down => return Err(out()),
            ".." => up += 1,
            "" | "." => {}
            _ => down = true,
        }
    }
    let deep = path.matches('/').count();
    match target.is_empty() || target.starts_with('/') || up > deep {
        true => Err(out()),
        false => Ok(target.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_something_beside_or_below() {
        for target in ["app-1", "../lib/x", "./x", "sub/dir/", "../../top"] {
            assert_eq!(within("a/b/link", target.as_bytes()), Ok(target.to_owned()));
        }
        for target in ["", "/etc/passwd", "../../../x", "sub/../../../x", "x/.."] {
            let refused = Err(Refusal::LinkOut(target.to_owned()));
            assert_eq!(within("a/b/link", target.as_bytes()), refused);
        }
        assert_eq!(within("link", b"a\nb"), Err(Refusal::NotText));
    }
}
