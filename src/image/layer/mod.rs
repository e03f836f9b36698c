//! Layers: what packages leave in a root, kept in the cache for the next build.
//!
//! An image is made in three: the packages of the base, those of the role above them
//! (overlayfs), and above both what muster itself adds. The first two, and the initial RAM
//! filesystem of the base, are kept below `layers/` under the digest of everything that went
//! into them:
//!
//! ```text
//! layers/<key>/tree      the upper directory of the overlay mount it was made in
//! layers/<key>/survey    every entry of it: what it was when the layer was finished
//! layers/<key>/read      in which boot of this computer its contents were last compared
//! layers/<key>/used      touched by every build that stands on it
//! layers/<key>.new       one that is being made, held by a lock on it
//! layers/<key>.split     which packages a base brings
//! layers/<key>.parts     what the parts of a disk hold, which has this digest
//! ```
//!
//! A layer is compared with its survey by every build, entry by entry; and by content by the
//! first build after a boot, since what a power cut takes from a disk shows nowhere else. One
//! that differs is thrown away and made again.

pub mod key;
pub mod split;
mod survey;

use super::error::Error;
use super::namespace;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How long a layer is kept that no build uses.
const KEPT: Duration = Duration::from_secs(30 * 86_400);
/// Suffixes of what else is kept beside them.
const NOTES: [&str; 2] = ["split", super::former::SUFFIX];
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The layers of a cache.
#[derive(Debug, Clone)]
pub struct Layers {
    folder: PathBuf,
}

/// What a look at a layer found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Every entry is as it was left.
    Whole,
    /// The path below the layer's tree that is not.
    Differs(PathBuf),
    /// It was never finished, or is not a layer.
    Unfinished,
}

impl Layers {
    /// Those of the cache at `cache`, when they can be kept there.
    pub fn open(cache: &Path) -> Option<Layers> {
        let layers = Layers::at(cache);
        fs::create_dir_all(&layers.folder).ok()?;
        // Programs in a layer have the modes that their packages ask for, setuid among them.
        let own = fs::Permissions::from_mode(0o700);
        fs::set_permissions(&layers.folder, own).ok()?;
        tempfile::tempfile_in(&layers.folder).ok()?;
        Some(layers)
    }

    /// Those of the cache at `cache`, to be looked at.
    pub fn at(cache: &Path) -> Layers {
        Layers {
            folder: cache.join("layers"),
        }
    }

    /// The folder they stand in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Keys of finished layers, sorted.
    pub fn keys(&self) -> io::Result<Vec<String>> {
        let mut keys = Vec::new();
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(keys),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.len() == 64 && entry.file_type()?.is_dir() {
                keys.push(name);
            }
        }
        keys.sort();
        Ok(keys)
    }

    /// The tree of the layer `key`, if it is there and whole. One that is not is removed.
    pub fn find(&self, key: &str) -> Result<Option<PathBuf>, Error> {
        let folder = self.folder.join(key);
        if !folder.is_dir() {
            return Ok(None);
        }
        let boot = fs::read_to_string(BOOT_ID).unwrap_or_default();
        let read = fs::read_to_string(folder.join("read")).unwrap_or_default();
        let by_content = boot.is_empty() || boot != read;
        match self.look(key, by_content)? {
            State::Whole => {
                if by_content {
                    let _ = fs::write(folder.join("read"), boot);
                }
                let _ = fs::write(folder.join("used"), "");
                Ok(Some(folder.join("tree")))
            }
            State::Differs(_) | State::Unfinished => {
                self.remove(key)?;
                Ok(None)
            }
        }
    }

    /// Compares a layer with what it was when it was finished.
    pub fn look(&self, key: &str, by_content: bool) -> Result<State, Error> {
        let folder = self.folder.join(key);
        let survey = folder.join("survey");
        let Ok(then) = fs::read(&survey) else {
            return Ok(State::Unfinished);
        };
        let tree = folder.join("tree");
        let differs = survey::compare(&tree, &then, by_content);
        Ok(match differs.map_err(Error::io("cannot read", &tree))? {
            None => State::Whole,
            Some(path) => State::Differs(path),
        })
    }

    /// Bytes of the files of a layer.
    pub fn size(&self, key: &str) -> u64 {
        let survey = fs::read(self.folder.join(key).join("survey"));
        survey.map_or(0, |survey| survey::size(&survey))
    }

    /// When a build last stood on a layer.
    pub fn used(&self, key: &str) -> io::Result<SystemTime> {
        let folder = self.folder.join(key);
        let used = fs::metadata(folder.join("used")).or_else(|_| fs::metadata(&folder));
        used?.modified()
    }

    /// Small notes beside the layers, and when they were written: which packages a base brings
    /// (`<key>.split`), what the parts of a disk hold (`<digest>.parts`).
    pub fn notes(&self) -> io::Result<Vec<(PathBuf, SystemTime)>> {
        let mut found = Vec::new();
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return Ok(found);
        };
        for entry in entries {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|end| NOTES.iter().any(|note| end == *note))
            {
                let used = path.metadata()?.modified()?;
                found.push((path, used));
            }
        }
        Ok(found)
    }

    /// Removes a layer.
    pub fn remove(&self, key: &str) -> Result<(), Error> {
        let folder = self.folder.join(key);
        // From here on it is unfinished, whatever happens to the rest.
        match fs::remove_file(folder.join("survey")) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Error::io("cannot remove", &folder)(error))
            }
            _ => namespace::remove(&folder),
        }
    }

    /// Begins the layer `key`; waits for another build that makes the same one.
    pub fn begin(&self, key: &str) -> Result<Growing, Error> {
        let path = self.folder.join(format!("{key}.new"));
        loop {
            fs::create_dir_all(&path).map_err(Error::io("cannot make", &path))?;
            let opened = File::open(&path).map_err(Error::io("cannot read", &path))?;
            let held = Flock::lock(opened, FlockArg::LockExclusive)
                .map_err(|(_, errno)| Error::io("cannot lock", &path)(errno.into()))?;
            // The other one may have finished or removed it.
            if !same(&held, &path) {
                continue;
            }
            for name in ["tree", "work"] {
                let left = path.join(name);
                if left.exists() {
                    namespace::remove(&left)?;
                }
                fs::create_dir(&left).map_err(Error::io("cannot make", &left))?;
            }
            return Ok(Growing {
                path,
                place: self.folder.join(key),
                held,
            });
        }
    }

    /// Removes layers that no build has stood on for [`KEPT`], and notes as old: each new lock and
    /// each new version of this program makes its own.
    pub fn forget(&self, now: SystemTime) -> Result<(), Error> {
        let failed = || Error::io("cannot read", self.folder());
        for key in self.keys().map_err(failed())? {
            let used = self.used(&key).map_err(failed())?;
            if now.duration_since(used).is_ok_and(|unused| unused > KEPT) {
                self.remove(&key)?;
            }
        }
        for (path, written) in self.notes().map_err(failed())? {
            if now.duration_since(written).is_ok_and(|age| age > KEPT) {
                let _ = fs::remove_file(path);
            }
        }
        Ok(())
    }

    /// Removes what interrupted builds left.
    pub fn sweep(&self) -> Result<(), Error> {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return Ok(());
        };
        for entry in entries.flatten() {
            let path = entry.path();
            let left = path.extension().is_some_and(|end| end == "new");
            if !left {
                continue;
            }
            if let Ok(file) = File::open(&path)
                && let Ok(_held) = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            {
                namespace::remove(&path)?;
            }
        }
        Ok(())
    }
}

/// Whether an open folder is still the one with this name.
fn same(open: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |found: fs::Metadata| (found.dev(), found.ino());
    let open = open.metadata().map(identity);
    let named = fs::metadata(path).map(identity);
    matches!((open, named), (Ok(open), Ok(named)) if open == named)
}

/// A layer that is being made.
#[derive(Debug)]
pub struct Growing {
    path: PathBuf,
    place: PathBuf,
    held: Flock<File>,
}

impl Growing {
    /// The upper directory.
    pub fn tree(&self) -> PathBuf {
        self.path.join("tree")
    }

    /// The working directory of the overlay mount.
    pub fn work(&self) -> PathBuf {
        self.path.join("work")
    }

    /// Makes it a layer and returns its tree. Nothing is mounted on it any more.
    pub fn finish(self) -> Result<PathBuf, Error> {
        let Growing { path, place, held } = self;
        let tree = path.join("tree");
        namespace::remove(&path.join("work"))?;
        let survey = survey::take(&tree).map_err(Error::io("cannot read", &tree))?;
        let written = fs::write(path.join("survey"), survey)
            .and_then(|()| fs::write(path.join("used"), ""))
            .and_then(|()| fs::write(path.join("read"), fs::read(BOOT_ID).unwrap_or_default()));
        written.map_err(Error::io("cannot write", &path))?;
        if place.exists() {
            namespace::remove(&place)?;
        }
        fs::rename(&path, &place).map_err(Error::io("cannot write", &place))?;
        drop(held);
        Ok(place.join("tree"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn made(cache: &Path) -> (Layers, String) {
        let layers = Layers::open(cache).unwrap();
        let key = "ab".repeat(32);
        let growing = layers.begin(&key).unwrap();
        fs::create_dir(growing.tree().join("etc")).unwrap();
        fs::write(growing.tree().join("etc/passwd"), "root\n").unwrap();
        std::os::unix::fs::symlink("passwd", growing.tree().join("etc/link")).unwrap();
        growing.finish().unwrap();
        (layers, key)
    }

    #[test]
    fn a_layer_is_found_while_it_is_as_it_was_left() {
        let cache = tempfile::tempdir().unwrap();
        let (layers, key) = made(cache.path());
        let found = layers.find(&key).unwrap().unwrap();
        assert_eq!(fs::read(found.join("etc/passwd")).unwrap(), b"root\n");
        assert_eq!(layers.keys().unwrap(), std::slice::from_ref(&key));
        assert!(layers.find(&"cd".repeat(32)).unwrap().is_none());
    }

    #[test]
    fn a_layer_that_was_touched_is_thrown_away() {
        let touches: [fn(&Path); 5] = [
            |tree| fs::write(tree.join("etc/passwd"), "toor\n").unwrap(),
            |tree| fs::write(tree.join("etc/more"), "").unwrap(),
            |tree| fs::remove_file(tree.join("etc/link")).unwrap(),
            |tree| {
                let mode = fs::Permissions::from_mode(0o600);
                fs::set_permissions(tree.join("etc/passwd"), mode).unwrap();
            },
            |tree| fs::remove_file(tree.join("../survey")).unwrap(),
        ];
        for touch in touches {
            let cache = tempfile::tempdir().unwrap();
            let (layers, key) = made(cache.path());
            touch(&layers.folder.join(&key).join("tree"));
            assert!(layers.find(&key).unwrap().is_none());
            assert!(layers.keys().unwrap().is_empty());
        }
    }

    #[test]
    fn a_file_that_a_power_cut_emptied_shows_after_the_next_boot() {
        let cache = tempfile::tempdir().unwrap();
        let (layers, key) = made(cache.path());
        let folder = layers.folder.join(&key);
        // As if the disk had lost what the file holds, and nothing else.
        let survey = fs::read(folder.join("survey")).unwrap();
        let text = String::from_utf8_lossy(&survey).replace(
            &hex::encode(<sha2::Sha256 as sha2::Digest>::digest(b"root\n")),
            &"0".repeat(64),
        );
        fs::write(folder.join("survey"), text).unwrap();
        assert!(
            layers.find(&key).unwrap().is_some(),
            "not read in this boot"
        );
        fs::write(folder.join("read"), "another boot").unwrap();
        assert_eq!(
            layers.look(&key, true).unwrap(),
            State::Differs("etc/passwd".into())
        );
        assert!(layers.find(&key).unwrap().is_none());
    }

    #[test]
    fn a_layer_that_no_build_used_for_a_month_is_forgotten() {
        let cache = tempfile::tempdir().unwrap();
        let (layers, key) = made(cache.path());
        let now = SystemTime::now();
        layers.forget(now + KEPT - Duration::from_secs(60)).unwrap();
        assert!(layers.find(&key).unwrap().is_some());
        layers.forget(now + KEPT + Duration::from_secs(60)).unwrap();
        assert!(layers.find(&key).unwrap().is_none());
    }

    #[test]
    fn what_an_interrupted_build_left_is_not_a_layer() {
        let cache = tempfile::tempdir().unwrap();
        let layers = Layers::open(cache.path()).unwrap();
        let key = "ab".repeat(32);
        let growing = layers.begin(&key).unwrap();
        fs::write(growing.tree().join("half"), "").unwrap();
        layers.sweep().unwrap();
        assert!(growing.tree().join("half").exists(), "it is held");
        drop(growing);
        assert!(layers.find(&key).unwrap().is_none());
        let again = layers.begin(&key).unwrap();
        assert!(!again.tree().join("half").exists());
        drop(again);
        layers.sweep().unwrap();
        assert_eq!(fs::read_dir(&layers.folder).unwrap().count(), 0);
    }
}
