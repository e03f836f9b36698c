//! Putting artifacts into a root. Nothing that is there is replaced; a file of an overlay wins.

use super::{Piece, Placed, Refusal, What, damaged, layout, pieces};
use crate::image::error::Error;
use crate::image::ground::Ground;
use crate::image::member::{Meta, canonical};
use crate::image::store::Store;
use crate::packages::lock::OciImage;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

/// Places artifacts in a root one after the other.
pub struct Places<'a> {
    root: PathBuf,
    store: &'a Store,
    /// Files of overlays, below the root and by their one name.
    overlay: BTreeSet<String>,
    /// The image's time, seconds since 1970: that of what has none of its own.
    epoch: i64,
    ground: Ground,
}

/// The artifact that is being placed.
struct Current<'c> {
    /// `service/name`.
    name: &'c str,
    /// Where it goes, below the root; what is above belongs to root.
    to: &'c str,
    owner: (u32, u32),
    /// Directories that were made, set up when nothing is added to them any more.
    made: BTreeMap<PathBuf, Meta>,
}

/// The ids behind `user:group`, by the accounts of a root or as numbers.
///
/// # Errors
/// What there is none of, in words.
pub fn owner(root: &Path, owner: &str) -> Result<(u32, u32), String> {
    let (user, group) = owner.split_once(':').unwrap_or((owner, owner));
    let id = |file: &str, kind: &str, name: &str| {
        if let Ok(number) = name.parse() {
            return Ok(number);
        }
        let path = root.join(file);
        let text = fs::read_to_string(&path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        // passwd(5) and group(5) have the id in the same place.
        let line = text.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
        });
        line.ok_or_else(|| format!("the image has no {kind} `{name}`"))
    };
    Ok((
        id("etc/passwd", "user", user)?,
        id("etc/group", "group", group)?,
    ))
}

impl<'a> Places<'a> {
    /// Places below `root`, where the files of `overlay` (absolute paths) are already.
    pub fn new<'o>(
        root: &Path,
        store: &'a Store,
        overlay: impl Iterator<Item = &'o str>,
        epoch: i64,
    ) -> Places<'a> {
        Places {
            root: root.to_path_buf(),
            store,
            overlay: overlay
                .map(|path| canonical(path.trim_start_matches('/')))
                .collect(),
            epoch,
            ground: Ground::default(),
        }
    }

    /// Places an artifact.
    pub fn artifact(&self, placed: &Placed) -> Result<(), Error> {
        let name = placed.file.key();
        let owner = owner(&self.root, &placed.placing.owner);
        let mut current = Current {
            name: &name,
            to: &placed.placing.to[1..],
            owner: owner.map_err(|reason| Error::Owner {
                artifact: name.clone(),
                owner: placed.placing.owner.clone(),
                reason,
            })?,
            made: BTreeMap::new(),
        };
        pieces(placed, self.store, &mut |piece, content| {
            self.piece(piece, content, &mut current)
        })?;
        settle(current)
    }

    /// Places a container image.
    pub fn image(&self, image: &OciImage) -> Result<(), Error> {
        let name = image.key();
        let mut current = Current {
            name: &name,
            to: "",
            owner: (0, 0),
            made: BTreeMap::new(),
        };
        layout(image, self.store, &mut |piece, content| {
            self.piece(piece, content, &mut current)
        })?;
        settle(current)
    }

    fn piece(
        &self,
        piece: &Piece,
        content: &mut dyn Read,
        current: &mut Current,
    ) -> Result<(), Error> {
        let refused = |refusal: Refusal| Error::Member {
            artifact: current.name.to_owned(),
            member: format!("/{}", piece.path),
            refusal,
        };
        let real = |path: &str| {
            let settled = self.ground.settle(&self.root, path, &BTreeSet::new());
            settled.map_err(|refusal| refused(refusal.into()))
        };
        let landing = real(&piece.path)?;
        if piece.what != What::Directory && self.overlay.contains(&canonical(&landing)) {
            return Ok(());
        }
        let target = self.root.join(&landing);
        let failed = |error: io::Error| match error.kind() {
            ErrorKind::AlreadyExists => refused(Refusal::Occupied(format!("/{landing}"))),
            _ => Error::io("cannot unpack", &target)(error),
        };
        let meta = Meta {
            order: 0,
            mode: piece.mode,
            uid: current.owner.0,
            gid: current.owner.1,
            mtime: piece.mtime.unwrap_or(self.epoch).min(self.epoch),
        };
        let parents = self.parents(&piece.path, &landing, meta, current);
        current.made.extend(parents.map_err(failed)?);
        match &piece.what {
            What::Directory => match fs::create_dir(&target) {
                Ok(()) => {
                    current.made.insert(target, meta);
                }
                // One of the image stays as it is; one that was made on the way is described here.
                Err(error) if error.kind() == ErrorKind::AlreadyExists && target.is_dir() => {
                    if let Some(made) = current.made.get_mut(&target) {
                        *made = meta;
                    }
                }
                Err(error) => return Err(failed(error)),
            },
            What::File => {
                let mut options = OpenOptions::new();
                let options = options.write(true).create_new(true).mode(0o600);
                let mut file = options.open(&target).map_err(failed)?;
                let mut buffer = vec![0; 64 * 1024];
                loop {
                    let read = content.read(&mut buffer);
                    let read = read.map_err(|error| damaged(current.name, &error))?;
                    if read == 0 {
                        break;
                    }
                    file.write_all(&buffer[..read]).map_err(failed)?;
                }
                meta.apply_to(&file).map_err(failed)?;
            }
            What::Symlink(link) => {
                symlink(link, &target).map_err(failed)?;
                lchown(&target, Some(meta.uid), Some(meta.gid)).map_err(failed)?;
                let time = TimeSpec::new(meta.mtime, 0);
                let own = UtimensatFlags::NoFollowSymlink;
                utimensat(AT_FDCWD, &target, &time, &time, own)
                    .map_err(|errno| failed(errno.into()))?;
            }
            What::HardLink(source) => {
                let source = self.root.join(real(source)?);
                fs::hard_link(source, &target).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Makes the directories above a piece that are not there. Those above the folder that the
    /// artifact goes to are root's.
    fn parents(
        &self,
        path: &str,
        landing: &str,
        meta: Meta,
        current: &Current,
    ) -> io::Result<Vec<(PathBuf, Meta)>> {
        let above = landing.rsplit_once('/').map_or("", |(above, _)| above);
        // Links of the image may have made the path longer, but not what follows that folder.
        let below = path.strip_prefix(current.to).unwrap_or_default();
        let below = below.matches('/').count();
        let depth = landing.matches('/').count();
        let mut made = Vec::new();
        let mut folder = self.root.clone();
        for (index, part) in above.split('/').enumerate() {
            folder.push(part);
            match fs::create_dir(&folder) {
                Ok(()) => {
                    let own = index + below >= depth;
                    let (uid, gid) = if own { (meta.uid, meta.gid) } else { (0, 0) };
                    let plain = Meta {
                        mode: 0o755,
                        mtime: self.epoch,
                        uid,
                        gid,
                        ..meta
                    };
                    made.push((folder.clone(), plain));
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(made)
    }
}

/// Sets up the directories that were made, the inner ones first.
fn settle(current: Current) -> Result<(), Error> {
    for (path, meta) in current.made.iter().rev() {
        meta.apply(path).map_err(Error::io("cannot set up", path))?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_those_of_the_image_or_numbers() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        let passwd = "root:x:0:0:root:/root:/bin/sh\nwiki:x:420:421::/:/bin/false\n";
        fs::write(root.path().join("etc/passwd"), passwd).unwrap();
        fs::write(root.path().join("etc/group"), "root:x:0:\nwww-data:x:33:\n").unwrap();
        assert_eq!(owner(root.path(), "wiki:www-data"), Ok((420, 33)));
        assert_eq!(owner(root.path(), "7:8"), Ok((7, 8)));
        let none = |text: &str| owner(root.path(), text).unwrap_err();
        assert_eq!(none("wikki:root"), "the image has no user `wikki`");
        assert_eq!(none("wiki:wiki"), "the image has no group `wiki`");
    }
}
